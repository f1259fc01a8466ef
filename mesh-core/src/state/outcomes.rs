//! How the requests to one endpoint ended lately, as outlier detection counts: failures in a row, and shares.
//!
//! Requests count here, on whatever thread; the sweep reads and resets. Which outcome is counted as what is said in
//! [`crate::engine::outlier_detection`].

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A row of failures that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Streak {
    /// Status 502, 503 or 504.
    GatewayFailure,
    /// Any status 5xx.
    FiveXx,
    /// Failures of our own.
    LocalOrigin,
}

impl Streak {
    /// All, in the order in which one outcome counts for several.
    pub const ALL: [Self; 3] = [Self::GatewayFailure, Self::FiveXx, Self::LocalOrigin];
}

/// Whose failures a share is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// What hosts answered (and our own failures, unless they are told apart).
    External,
    /// Our own: no connection, a timeout.
    Local,
}

/// Requests of an interval and how many of them succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Volume {
    /// All.
    pub requests: u32,
    /// Those that succeeded.
    pub successes: u32,
}

impl Volume {
    /// Percent of success; `None` without requests.
    #[must_use]
    pub fn success_rate(self) -> Option<f64> {
        (self.requests > 0).then(|| 100.0 * f64::from(self.successes.min(self.requests)) / f64::from(self.requests))
    }
}

/// The counters of one endpoint.
#[derive(Debug, Default)]
pub struct Outcomes {
    in_a_row: [AtomicU32; 3],
    detected: [AtomicU32; 3],
    /// Requests in the upper half, successes in the lower.
    volumes: [AtomicU64; 2],
    /// Percent of success plus one as the bits of a float, as last computed; 0 is none.
    rates: [AtomicU32; 2],
}

impl Outcomes {
    /// Counts one more failure in a row; at `limit` the row is over and was detected. 0 is no limit.
    ///
    /// Whether it was detected.
    pub(crate) fn add(&self, streak: Streak, limit: u32) -> bool {
        let row = &self.in_a_row[streak as usize];
        if row.fetch_add(1, Ordering::Relaxed).wrapping_add(1) != limit || limit == 0 {
            return false;
        }
        row.store(0, Ordering::Relaxed);
        self.detected[streak as usize].fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Ends a row.
    pub(crate) fn end(&self, streak: Streak) {
        let row = &self.in_a_row[streak as usize];
        // A host that is well costs a read of a line that is there anyway.
        if row.load(Ordering::Relaxed) != 0 {
            row.store(0, Ordering::Relaxed);
        }
    }

    /// Counts a request for a share.
    pub(crate) fn count(&self, origin: Origin, success: bool) {
        self.volumes[origin as usize].fetch_add((1 << 32) | u64::from(success), Ordering::Relaxed);
    }

    /// How often a row was detected since this was asked.
    pub(crate) fn take_detected(&self, streak: Streak) -> u32 {
        let detected = &self.detected[streak as usize];
        if detected.load(Ordering::Relaxed) == 0 { 0 } else { detected.swap(0, Ordering::Relaxed) }
    }

    /// What was counted since this was asked.
    pub(crate) fn take_volume(&self, origin: Origin) -> Volume {
        let both = self.volumes[origin as usize].swap(0, Ordering::Relaxed);
        #[allow(clippy::cast_possible_truncation, reason = "the two halves")]
        let volume = Volume { requests: (both >> 32) as u32, successes: both as u32 };
        volume
    }

    /// Ends every row and forgets what was detected: the host returns, or is judged by other rules from now on.
    pub(crate) fn end_all(&self) {
        for streak in Streak::ALL {
            self.end(streak);
            self.take_detected(streak);
        }
    }

    pub(crate) fn set_success_rate(&self, origin: Origin, rate: Option<f64>) {
        #[allow(clippy::cast_possible_truncation, reason = "a percentage, for people")]
        let bits = rate.map_or(0, |rate| (rate as f32 + 1.0).to_bits());
        self.rates[origin as usize].store(bits, Ordering::Relaxed);
    }

    /// Percent of success in the last interval, if there were enough requests to say.
    #[must_use]
    pub fn success_rate(&self, origin: Origin) -> Option<f64> {
        match self.rates[origin as usize].load(Ordering::Relaxed) {
            0 => None,
            bits => Some(f64::from(f32::from_bits(bits)) - 1.0),
        }
    }
}

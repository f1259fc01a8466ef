//! What outlier detection did in one cluster: counts for admin pages and metrics. Written by the sweep only.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Origin;

/// Why a host is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EjectionCause {
    /// Failures in a row of status 5xx.
    Consecutive5xx,
    /// Failures in a row of status 502, 503 or 504.
    ConsecutiveGatewayFailure,
    /// Failures in a row of our own.
    ConsecutiveLocalOriginFailure,
    /// A success rate far below the others'.
    SuccessRate,
    /// The same, of our own failures.
    LocalOriginSuccessRate,
    /// Too large a share of failures.
    FailurePercentage,
    /// The same, of our own failures.
    LocalOriginFailurePercentage,
}

impl EjectionCause {
    /// All.
    pub const ALL: [Self; 7] = [
        Self::Consecutive5xx,
        Self::ConsecutiveGatewayFailure,
        Self::ConsecutiveLocalOriginFailure,
        Self::SuccessRate,
        Self::LocalOriginSuccessRate,
        Self::FailurePercentage,
        Self::LocalOriginFailurePercentage,
    ];

    /// As Envoy's statistics end: `ejections_enforced_consecutive_5xx`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consecutive5xx => "consecutive_5xx",
            Self::ConsecutiveGatewayFailure => "consecutive_gateway_failure",
            Self::ConsecutiveLocalOriginFailure => "consecutive_local_origin_failure",
            Self::SuccessRate => "success_rate",
            Self::LocalOriginSuccessRate => "local_origin_success_rate",
            Self::FailurePercentage => "failure_percentage",
            Self::LocalOriginFailurePercentage => "local_origin_failure_percentage",
        }
    }
}

/// The counts.
#[derive(Debug, Default)]
pub struct Ejections {
    active: AtomicU64,
    overflow: AtomicU64,
    detected: [AtomicU64; 7],
    enforced: [AtomicU64; 7],
    /// Bits of (mean, threshold) by origin; zeros are none.
    rates: [[AtomicU64; 2]; 2],
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EjectionCounts {
    /// Hosts ejected now (`ejections_active`).
    pub active: u64,
    /// Ejections that the largest share forbade (`ejections_overflow`).
    pub overflow: u64,
    /// How often something was detected, by [`EjectionCause::ALL`] (`ejections_detected_*`).
    pub detected: [u64; 7],
    /// How often a host was ejected for it (`ejections_enforced_*`).
    pub enforced: [u64; 7],
}

impl EjectionCounts {
    /// All ejections (`ejections_enforced_total`).
    #[must_use]
    pub fn enforced_total(&self) -> u64 {
        self.enforced.iter().sum()
    }

    /// How often a cause was detected.
    #[must_use]
    pub const fn detected_of(&self, cause: EjectionCause) -> u64 {
        self.detected[cause as usize]
    }

    /// How often it led to an ejection.
    #[must_use]
    pub const fn enforced_of(&self, cause: EjectionCause) -> u64 {
        self.enforced[cause as usize]
    }
}

impl Ejections {
    /// The counts now.
    #[must_use]
    pub fn counts(&self) -> EjectionCounts {
        let all = |of: &[AtomicU64; 7]| std::array::from_fn(|at| of[at].load(Ordering::Relaxed));
        EjectionCounts {
            active: self.active.load(Ordering::Relaxed),
            overflow: self.overflow.load(Ordering::Relaxed),
            detected: all(&self.detected),
            enforced: all(&self.enforced),
        }
    }

    /// The mean of the hosts' success rates and the rate below which they are ejected, of the last interval, if enough
    /// hosts had enough requests.
    #[must_use]
    pub fn success_rates(&self, origin: Origin) -> Option<(f64, f64)> {
        let [mean, threshold] = &self.rates[origin as usize];
        match (mean.load(Ordering::Relaxed), threshold.load(Ordering::Relaxed)) {
            (0, 0) => None,
            (mean, threshold) => Some((f64::from_bits(mean), f64::from_bits(threshold))),
        }
    }

    pub(crate) fn set_success_rates(&self, origin: Origin, rates: Option<(f64, f64)>) {
        let [mean, threshold] = &self.rates[origin as usize];
        // A mean of zero is told from none by the sign.
        let (a, b) = rates.map_or((0, 0), |(a, b)| ((if a == 0.0 { -0.0 } else { a }).to_bits(), b.to_bits()));
        mean.store(a, Ordering::Relaxed);
        threshold.store(b, Ordering::Relaxed);
    }

    pub(crate) fn set_active(&self, active: usize) {
        self.active.store(active as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_detected(&self, cause: EjectionCause) {
        self.detected[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_enforced(&self, cause: EjectionCause) {
        self.enforced[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_overflow(&self) {
        self.overflow.fetch_add(1, Ordering::Relaxed);
    }
}

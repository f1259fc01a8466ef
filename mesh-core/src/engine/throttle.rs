//! How many bytes of a body may pass by now: Envoy's stream rate limiter.
//!
//! A second has 16 slices, each lets its share of the bytes pass; slices that nobody used are good for one second.
//! The first slice is free, so that a short body is not delayed.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

const SLICES: u64 = 16;
const SLICE: Duration = Duration::from_nanos(1_000_000_000 / SLICES);

/// The rate of one body.
#[derive(Clone, Copy, Debug)]
pub struct Throttle {
    per_slice: u64,
    free: u64,
    /// Up to when slices have been handed out.
    since: Instant,
}

/// What may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// So many bytes.
    Bytes(u64),
    /// Nothing before this time.
    NotBefore(Instant),
}

impl Throttle {
    /// Starts now.
    #[must_use]
    pub fn new(bytes_per_second: NonZeroU64, now: Instant) -> Self {
        Self { per_slice: (bytes_per_second.get() / SLICES).max(1), free: 1, since: now }
    }

    /// Takes what there is for `wanted` bytes.
    pub fn take(&mut self, wanted: u64, now: Instant) -> Allowance {
        let passed = now.saturating_duration_since(self.since).as_nanos() / SLICE.as_nanos();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        if u64::from(passed) >= SLICES {
            (self.free, self.since) = (SLICES, now);
        } else {
            self.free = (self.free + u64::from(passed)).min(SLICES);
            self.since += SLICE * passed;
        }
        if self.free == 0 {
            return Allowance::NotBefore(self.since + SLICE);
        }
        let slices = wanted.div_ceil(self.per_slice).clamp(1, self.free);
        self.free -= slices;
        Allowance::Bytes(slices.saturating_mul(self.per_slice).min(wanted))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "any instant will do to count from")]
mod tests {
    use super::*;

    #[test]
    fn a_body_takes_as_long_as_its_rate_says() {
        let start = Instant::now();
        let mut throttle = Throttle::new(NonZeroU64::new(16_000).unwrap(), start);
        let (mut left, mut now, mut waits) = (32_500, start, 0);
        while left > 0 {
            match throttle.take(left, now) {
                Allowance::Bytes(bytes) => left -= bytes,
                Allowance::NotBefore(at) => {
                    assert!(at > now);
                    (now, waits) = (at, waits + 1);
                }
            }
        }
        // The first of the 33 slices is free.
        assert_eq!((now - start, waits), (Duration::from_secs(2), 32));
    }

    #[test]
    fn what_was_not_used_is_good_for_one_second_and_no_longer() {
        let start = Instant::now();
        let mut throttle = Throttle::new(NonZeroU64::new(1_600).unwrap(), start);
        assert_eq!(throttle.take(40, start), Allowance::Bytes(40));
        assert_eq!(throttle.take(40, start), Allowance::NotBefore(start + SLICE));
        let later = start + Duration::from_secs(3600);
        assert_eq!(throttle.take(1_000_000, later), Allowance::Bytes(1_600));
        assert_eq!(throttle.take(1, later), Allowance::NotBefore(later + SLICE));
    }

    #[test]
    fn the_smallest_rate_still_moves() {
        let start = Instant::now();
        let mut throttle = Throttle::new(NonZeroU64::MIN, start);
        assert_eq!(throttle.take(u64::MAX, start), Allowance::Bytes(1));
        let mut fast = Throttle::new(NonZeroU64::MAX, start);
        assert_eq!(fast.take(u64::MAX, start), Allowance::Bytes(u64::MAX / SLICES));
    }
}

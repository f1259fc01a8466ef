//! How long to wait before the next try to reach a server: 1 s, then 1.6 times as long each time, up to 120 s, ±20 %.
//!
//! The figures are gRPC's connection back-off. Only a response starts over: a server that takes connections and then
//! drops them is as absent as one that takes none (F03, F05).

use std::time::Duration;

use mesh_core::engine::random::Random;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(120);
const FACTOR: f64 = 1.6;
const JITTER: f64 = 0.2;

/// The wait before the next try.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// The wait now; the next one is longer.
    pub(super) fn next(&mut self, random: &mut Random) -> Duration {
        let wait = self.0;
        self.0 = wait.mul_f64(FACTOR).min(LONGEST);
        wait.mul_f64(1.0 - JITTER + 2.0 * JITTER * random.fraction())
    }

    /// The server answered: the next wait is the first one again.
    pub(super) fn reset(&mut self) {
        self.0 = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_two_minutes_with_a_fifth_of_jitter() {
        let (mut backoff, mut random) = (Backoff::default(), Random::from_seed(7));
        let waits: Vec<f64> = (0..30).map(|_| backoff.next(&mut random).as_secs_f64()).collect();
        assert!((0.8..=1.2).contains(&waits[0]), "{waits:?}");
        assert!((1.28..=1.92).contains(&waits[1]), "{waits:?}");
        assert!(waits[12..].iter().all(|wait| (96.0..=144.0).contains(wait)), "{waits:?}");
        assert!(waits[12..].windows(2).any(|two| (two[0] - two[1]).abs() > 1.0), "jitter: {waits:?}");
        backoff.reset();
        assert!(backoff.next(&mut random).as_secs_f64() <= 1.2);
    }
}

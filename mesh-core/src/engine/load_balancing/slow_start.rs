//! `slow_start_config`: a host that has just become ready gets little at first, and its whole part when its window ends.
//!
//! Its weight is `weight × max(min_weight_percent, (elapsed / window)^(1 / aggression))`, at least a millisecond having
//! elapsed. Hosts that all warm up at the same time share as ever.

use std::time::{Duration, Instant};

use super::least_request::{Deadlines, under_load};
use super::set::HostSet;
use crate::engine::random::Random;
use crate::resource::cluster::SlowStart;
use crate::state::Lane;

/// Hosts some of which warm up.
pub(super) struct Warming {
    config: SlowStart,
    /// Of least request: how weights shrink under load.
    bias: Option<f64>,
    /// Weight and when ready, by position.
    members: Box<[(u32, Option<Instant>)]>,
    until: Instant,
    deadlines: Deadlines,
    warm: HostSet,
}

impl Warming {
    /// `warm` itself when nobody has a window.
    pub(super) fn new(
        config: SlowStart,
        bias: Option<f64>,
        members: Box<[(u32, Option<Instant>)]>,
        warm: HostSet,
    ) -> Result<Self, HostSet> {
        let last = members.iter().filter_map(|(_, since)| *since).max();
        let Some(until) = last.and_then(|last| last.checked_add(config.window)).filter(|_| !config.window.is_zero())
        else {
            return Err(warm);
        };
        Ok(Self { config, bias, deadlines: Deadlines::new(members.len()), members, until, warm })
    }

    /// The hosts when all are warm.
    pub(super) const fn warm(&self) -> &HostSet {
        &self.warm
    }

    /// The position of the next host; `None` when all are warm.
    pub(super) fn pick(
        &self,
        now: Option<Instant>,
        lane: Lane,
        random: &mut Random,
        active: impl Fn(usize) -> u32,
    ) -> Option<usize> {
        let now = now.filter(|now| *now < self.until)?;
        let weight = |at: usize| {
            let (weight, since) = self.members[at];
            let full = self.bias.map_or(f64::from(weight), |bias| under_load(weight, active(at), bias));
            full * since.map_or(1.0, |since| factor(&self.config, now.saturating_duration_since(since)))
        };
        Some(self.deadlines.pick(lane, random, weight))
    }
}

/// The part of its weight that a host has so long after it became ready.
fn factor(config: &SlowStart, elapsed: Duration) -> f64 {
    if elapsed >= config.window {
        return 1.0;
    }
    let elapsed = elapsed.max(Duration::from_millis(1)).as_secs_f64() / config.window.as_secs_f64();
    let grown =
        if (config.aggression - 1.0).abs() < f64::EPSILON { elapsed } else { elapsed.powf(1.0 / config.aggression) };
    grown.max(config.min_weight_percent / 100.0).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_grows_from_its_least_part_to_the_whole() {
        let config = SlowStart { window: Duration::from_secs(10), aggression: 1.0, min_weight_percent: 10.0 };
        let at = |millis| factor(&config, Duration::from_millis(millis));
        assert!((at(0) - 0.1).abs() < 1e-9 && (at(5_000) - 0.5).abs() < 1e-9 && (at(10_000) - 1.0).abs() < 1e-9);
        let eager = SlowStart { aggression: 2.0, ..config };
        assert!((factor(&eager, Duration::from_millis(2_500)) - 0.5).abs() < 1e-9);
    }
}

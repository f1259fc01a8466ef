//! How the load of a cluster is divided over its priorities, and which of them panic.
//!
//! In whole percents, by whole numbers, as Envoy reckons: a priority takes what its available hosts can carry, reckoned
//! with some more than their number (`overprovisioning_factor`), and the next one what is left; healthy hosts before
//! degraded ones. A priority with too few available hosts uses all of them (`healthy_panic_threshold`) while the cluster
//! as a whole cannot carry its load.

use smallvec::SmallVec;

/// The hosts of one priority, counted; by weight where the cluster says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// All, for a level in panic.
    pub(super) hosts: u64,
    /// Those that count: hosts before their first check do not.
    pub(super) counted: u64,
    pub(super) healthy: u64,
    pub(super) degraded: u64,
    /// What stands for `counted`, `healthy` and `degraded` when load is divided.
    pub(super) weight: u64,
    pub(super) healthy_weight: u64,
    pub(super) degraded_weight: u64,
}

/// What one priority takes, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) healthy: u32,
    pub(super) degraded: u32,
    pub(super) panics: bool,
}

/// The shares of priorities in their order; those that `left_out` names take nothing.
pub(super) fn shares(
    priorities: &[Counts],
    overprovisioning: u32,
    panic_threshold: f64,
    left_out: impl Fn(usize) -> bool,
) -> SmallVec<[Share; 8]> {
    let health = |part: u64, one: &Counts| match one.weight {
        0 => 0,
        weight => {
            let percent = u128::from(overprovisioning) * u128::from(part) / u128::from(weight);
            u32::try_from(percent.min(100)).unwrap_or(100)
        }
    };
    let available: SmallVec<[(u32, u32); 8]> =
        priorities
            .iter()
            .enumerate()
            .map(|(at, one)| {
                if left_out(at) { (0, 0) } else { (health(one.healthy_weight, one), health(one.degraded_weight, one)) }
            })
            .collect();
    let mut shares: SmallVec<[Share; 8]> = priorities.iter().map(|_| Share::default()).collect();
    let whole = available.iter().map(|(healthy, degraded)| healthy + degraded).sum::<u32>().min(100);
    let mut left = 100;
    let part = |of: u32| (of * 100).checked_div(whole).unwrap_or_default();
    if whole > 0 {
        for (share, (healthy, _)) in shares.iter_mut().zip(&available) {
            share.healthy = left.min(part(*healthy));
            left -= share.healthy;
        }
        for (share, (_, degraded)) in shares.iter_mut().zip(&available) {
            share.degraded = left.min(part(*degraded));
            left -= share.degraded;
        }
        // What whole percents leave over.
        if let Some(first) = available.iter().position(|(healthy, _)| *healthy > 0) {
            shares[first].healthy += left;
        } else if let Some(first) = available.iter().position(|(_, degraded)| *degraded > 0) {
            shares[first].degraded += left;
        }
    }
    let in_panic = |one: &Counts| {
        #[allow(clippy::cast_precision_loss, reason = "a number of hosts fits")]
        let percent = match one.counted {
            0 => 0.0,
            counted => 100.0 * (one.healthy + one.degraded) as f64 / counted as f64,
        };
        percent < panic_threshold
    };
    for (share, one) in shares.iter_mut().zip(priorities) {
        share.panics = whole < 100 && panic_threshold > 0.0 && in_panic(one);
    }
    if shares.iter().enumerate().all(|(at, share)| share.panics || left_out(at)) {
        by_number(&mut shares, priorities, left_out);
    } else if whole == 0
        && let Some(first) = shares.first_mut()
    {
        // Nobody is there and nobody panics: the load belongs to the first, which has no host for it.
        first.healthy = 100;
    }
    shares
}

/// Everybody panics: by how many hosts there are.
fn by_number(shares: &mut [Share], priorities: &[Counts], left_out: impl Fn(usize) -> bool) {
    let hosts = |at: usize| if left_out(at) { 0 } else { priorities[at].hosts };
    let all: u64 = (0..priorities.len()).map(hosts).sum();
    let mut left = 100;
    for (at, share) in shares.iter_mut().enumerate() {
        let percent = (100 * hosts(at)).checked_div(all).unwrap_or_default();
        (share.healthy, share.degraded) = (u32::try_from(percent).unwrap_or_default(), 0);
        left -= share.healthy;
    }
    let first = (0..priorities.len()).find(|at| hosts(*at) > 0).unwrap_or_default();
    if let Some(first) = shares.get_mut(first) {
        first.healthy += left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(healthy: u64, degraded: u64, hosts: u64) -> Counts {
        Counts {
            hosts,
            counted: hosts,
            healthy,
            degraded,
            weight: hosts,
            healthy_weight: healthy,
            degraded_weight: degraded,
        }
    }

    fn of(priorities: &[Counts], threshold: f64) -> Vec<(u32, u32, bool)> {
        let shares = shares(priorities, 140, threshold, |_| false);
        shares.iter().map(|share| (share.healthy, share.degraded, share.panics)).collect()
    }

    #[test]
    fn load_goes_over_to_the_next_priority_as_hosts_fail() {
        for (healthy, first, second) in
            [(100, 100, 0), (72, 100, 0), (71, 99, 1), (50, 70, 30), (25, 35, 65), (0, 0, 100)]
        {
            let shares = of(&[counts(healthy, 0, 100), counts(100, 0, 100)], 50.0);
            assert_eq!(shares, [(first, 0, false), (second, 0, false)], "{healthy}");
        }
    }

    #[test]
    fn degraded_hosts_take_what_the_healthy_ones_of_all_priorities_leave() {
        assert_eq!(of(&[counts(0, 4, 4), counts(4, 0, 4)], 50.0), [(0, 0, false), (100, 0, false)]);
        assert_eq!(of(&[counts(1, 3, 4), Counts::default()], 50.0)[0], (35, 65, false));
        assert_eq!(of(&[counts(1, 1, 4), counts(1, 0, 4)], 50.0), [(35, 30, false), (35, 0, false)]);
    }

    #[test]
    fn too_few_hosts_panic_only_while_the_whole_cluster_is_short() {
        assert_eq!(of(&[counts(1, 0, 4), counts(1, 0, 4)], 50.0), [(50, 0, true), (50, 0, true)]);
        assert_eq!(of(&[counts(1, 0, 4), counts(1, 0, 4)], 0.0), [(50, 0, false), (50, 0, false)]);
        assert_eq!(of(&[counts(2, 0, 4)], 80.0), [(100, 0, true)]);
        assert_eq!(of(&[counts(3, 0, 4)], 80.0), [(100, 0, false)]);
        assert_eq!(of(&[counts(0, 0, 4), counts(1, 0, 8)], 50.0), [(34, 0, true), (66, 0, true)]);
        assert_eq!(of(&[counts(0, 0, 4), counts(0, 0, 8)], 0.0), [(100, 0, false), (0, 0, false)]);
        assert_eq!(of(&[Counts::default()], 50.0), [(100, 0, true)]);
        assert_eq!(of(&[], 50.0), []);
    }

    #[test]
    fn whatever_the_numbers_all_of_the_load_goes_somewhere() {
        let mut random = crate::engine::random::Random::from_seed(9);
        for _ in 0..20_000 {
            let priorities: Vec<Counts> = (0..random.below(6))
                .map(|_| {
                    let counted = random.below(20);
                    let healthy = random.below(counted + 1);
                    let degraded = random.below(counted - healthy + 1) as u64;
                    let (counted, healthy) = (counted as u64, healthy as u64);
                    let scale = [1, u64::from(u32::MAX) * 1000][random.below(2)];
                    Counts {
                        hosts: counted + random.below(3) as u64,
                        weight: counted * scale,
                        healthy_weight: healthy * scale,
                        degraded_weight: degraded * scale,
                        ..counts(healthy, degraded, counted)
                    }
                })
                .collect();
            let threshold = [0.0, 50.0, 100.0, f64::NAN][random.below(4)];
            let factor = [100, 140, u32::MAX, 0][random.below(4)];
            let left = random.below(7);
            let shares = shares(&priorities, factor, threshold, |at| at == left);
            let sum: u32 = shares.iter().map(|share| share.healthy + share.degraded).sum();
            assert!(sum == 100 || priorities.is_empty(), "{priorities:?}: {shares:?}");
        }
    }
}

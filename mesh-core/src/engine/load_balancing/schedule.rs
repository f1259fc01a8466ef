//! The order in which weighted hosts take their turns: Envoy's earliest deadline first, worked out once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Longest cycle that is written out.
const LONGEST: u64 = 1 << 14;

/// Positions in the order of one full cycle: each position as often as its weight, spread evenly. `None` when the cycle
/// would be longer than it is worth.
///
/// Earliest deadline first: a host's deadline grows by `1/weight` per turn, ties go to the one that became due
/// first. Weights 1, 2, 3 give 3 2 3 1 2 3.
pub(super) fn cycle(weights: &[u64]) -> Option<Box<[u32]>> {
    let divisor = weights.iter().fold(0, |a, b| gcd(a, (*b).max(1))).max(1);
    let weights: Vec<u64> = weights.iter().map(|weight| (*weight).max(1) / divisor).collect();
    let total = weights.iter().try_fold(0u64, |sum, weight| sum.checked_add(*weight)).filter(|sum| *sum <= LONGEST)?;
    // Deadlines are multiples of 1/weight; as integers of a common scale they compare exactly.
    let mut due: BinaryHeap<_> =
        (0u32..).zip(&weights).map(|(at, weight)| Reverse((SCALE / weight, at, 1u64))).collect();
    let mut order = Vec::with_capacity(usize::try_from(total).unwrap_or_default());
    for _ in 0..total {
        let Some(Reverse((_, at, turns))) = due.pop() else { break };
        order.push(at);
        due.push(Reverse((SCALE * (turns + 1) / weights[at as usize], at, turns + 1)));
    }
    Some(order.into())
}

/// Fine enough that no two different deadlines of weights up to [`LONGEST`] collapse into one.
const SCALE: u64 = 1 << 40;

const fn gcd(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_serves_each_host_its_weight() {
        for weights in [vec![1, 2, 5], vec![10, 20, 50], vec![7], vec![1, 1], vec![3, 9_000]] {
            let order = cycle(&weights).unwrap();
            let sum: u64 = weights.iter().sum();
            for (at, weight) in (0u32..).zip(&weights) {
                let share = order.iter().filter(|one| **one == at).count() as f64 / order.len() as f64;
                assert!((share - *weight as f64 / sum as f64).abs() < 1e-9, "{weights:?} {at} {share}");
            }
        }
        assert_eq!(cycle(&[1, 1_000_000]), None);
        assert_eq!(cycle(&[u64::MAX, u64::MAX - 1]), None);
    }

    #[test]
    fn weights_one_two_three_interleave_as_envoys_do() {
        assert_eq!(*cycle(&[1, 2, 3]).unwrap(), [2, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn turns_of_a_heavy_host_are_spread_over_the_cycle() {
        let order = cycle(&[4, 4, 1]).unwrap();
        assert!(order.windows(3).all(|three| three.iter().any(|one| *one != three[0])), "{order:?}");
    }
}

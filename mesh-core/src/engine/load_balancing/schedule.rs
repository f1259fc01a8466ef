//! The order in which weighted hosts take their turns: Envoy's earliest deadline first, worked out once.

/// Longest cycle that is written out; larger weights are scaled down to it, which costs under 0.01 % of share.
const LONGEST: u64 = 1 << 14;

/// Positions in the order of one full cycle: each position as often as its weight, spread evenly.
///
/// Earliest deadline first: a host's deadline grows by `1/weight` per turn, ties go to the one that became due
/// first. Weights 1, 2, 3 give 3 2 3 1 2 3.
pub(super) fn cycle(weights: &[u32]) -> Vec<usize> {
    let divisor = weights.iter().fold(0, |a, b| gcd(a, *b)).max(1);
    let sum: u64 = weights.iter().map(|weight| u64::from(weight / divisor)).sum();
    let longest = LONGEST.max(weights.len() as u64);
    let scaled: Vec<u64> = weights
        .iter()
        .map(|weight| {
            let weight = u64::from(weight / divisor);
            if sum <= longest { weight } else { (weight * longest / sum).max(1) }
        })
        .collect();
    let total: u64 = scaled.iter().sum();
    // Deadlines are multiples of 1/weight; as integers of a common scale they compare exactly.
    let mut due: std::collections::BinaryHeap<_> =
        scaled.iter().enumerate().map(|(at, weight)| std::cmp::Reverse((SCALE / weight, at, 1u64))).collect();
    let mut order = Vec::new();
    for _ in 0..total {
        let Some(std::cmp::Reverse((_, at, turns))) = due.pop() else { break };
        order.push(at);
        due.push(std::cmp::Reverse((SCALE * (turns + 1) / scaled[at], at, turns + 1)));
    }
    order
}

/// Fine enough that no two different deadlines of weights up to [`LONGEST`] collapse into one.
const SCALE: u64 = 1 << 40;

const fn gcd(a: u32, b: u32) -> u32 {
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
        for weights in [vec![1, 2, 5], vec![10, 20, 50], vec![7], vec![1, 1], vec![3, 1_000_000]] {
            let order = cycle(&weights);
            let sum: u32 = weights.iter().sum();
            for (at, weight) in weights.iter().enumerate() {
                let share = order.iter().filter(|one| **one == at).count() as f64 / order.len() as f64;
                assert!((share - f64::from(*weight) / f64::from(sum)).abs() < 1e-3, "{weights:?} {at} {share}");
            }
        }
    }

    #[test]
    fn weights_one_two_three_interleave_as_envoys_do() {
        assert_eq!(cycle(&[1, 2, 3]), [2, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn turns_of_a_heavy_host_are_spread_over_the_cycle() {
        let order = cycle(&[4, 4, 1]);
        assert!(order.windows(3).all(|three| three.iter().any(|one| *one != three[0])), "{order:?}");
    }
}

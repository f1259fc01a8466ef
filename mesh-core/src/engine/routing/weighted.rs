//! The draw among weighted clusters.

/// Weights as running sums. Their total is within `1..=u32::MAX`.
#[derive(Debug)]
pub(super) struct Weights {
    sums: Box<[u32]>,
    total: u32,
}

/// Why weights cannot be drawn by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadTotal {
    Zero,
    TooLarge,
}

impl Weights {
    /// Sums up.
    pub(super) fn new(weights: impl Iterator<Item = u32>) -> Result<Self, BadTotal> {
        let mut total = 0_u32;
        let mut sums = Vec::new();
        for weight in weights {
            total = total.checked_add(weight).ok_or(BadTotal::TooLarge)?;
            sums.push(total);
        }
        if total == 0 {
            return Err(BadTotal::Zero);
        }
        Ok(Self { sums: sums.into(), total })
    }

    /// The entry that `random` falls to: the first whose running sum is above it. Never one of weight 0.
    pub(super) fn draw(&self, random: u64) -> usize {
        let value = random % u64::from(self.total);
        // A handful of entries: a scan is faster than a search.
        self.sums.iter().take_while(|sum| u64::from(**sum) <= value).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::routing::draw;

    #[test]
    fn shares_follow_the_weights_and_zero_gets_nothing() {
        let weights = Weights::new([3, 0, 7].into_iter()).unwrap();
        let mut seen = [0_u32; 3];
        for seed in 0..100_000 {
            seen[weights.draw(draw(seed, 2))] += 1;
        }
        assert_eq!(seen[1], 0);
        assert!((29_300..30_700).contains(&seen[0]), "{seen:?}");
    }

    #[test]
    fn each_value_falls_to_the_first_larger_sum() {
        let weights = Weights::new([0, 2, 0, 1].into_iter()).unwrap();
        assert_eq!((0..6).map(|value| weights.draw(value)).collect::<Vec<_>>(), [1, 1, 3, 1, 1, 3]);
    }

    #[test]
    fn a_total_of_zero_or_over_32_bits_is_refused() {
        assert_eq!(Weights::new([0, 0].into_iter()).unwrap_err(), BadTotal::Zero);
        assert_eq!(Weights::new([u32::MAX, 1].into_iter()).unwrap_err(), BadTotal::TooLarge);
        assert!(Weights::new([u32::MAX].into_iter()).is_ok());
    }
}

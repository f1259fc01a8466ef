//! One request's randomness: seeded by the driver, so that a seed repeats every decision exactly.

/// A small generator (SplitMix64). Not for secrets.
///
/// It is neither `Clone` nor `Copy`: a copy would repeat its sequence, and two decisions would agree by accident.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Starts a sequence.
    #[must_use]
    pub const fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // The high half of a widening product: no division, and no bias that 64 bits could show.
        #[allow(clippy::cast_possible_truncation, reason = "the product's high half is below `bound`")]
        let value = ((u128::from(self.bits()) * bound as u128) >> 64) as usize;
        value
    }

    /// Uniform in `[0, 1)`.
    pub fn fraction(&mut self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "53 bits fit a double's mantissa")]
        let value = (self.bits() >> 11) as f64 / (1u64 << 53) as f64;
        value
    }

    /// A generator of its own for a part of the request that goes on elsewhere.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_uniform_and_within_bounds() {
        let mut random = Random::from_seed(1);
        let mut seen = [0u32; 7];
        for _ in 0..70_000 {
            seen[random.below(7)] += 1;
        }
        assert!(seen.iter().all(|n| (9_500..10_500).contains(n)), "{seen:?}");
        assert_eq!(random.below(0), 0);
        assert!((0..1000).all(|_| (0.0..1.0).contains(&random.fraction())));
    }
}

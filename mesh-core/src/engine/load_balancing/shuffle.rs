//! The Mersenne Twister (MT19937), as far as a shuffle of a few dozen places needs it: Envoy orders the hosts it asks
//! instead of a full one by it, seeded with the request's hash.

/// How many numbers it gives before it would have to turn over its state; more than any shuffle here draws.
const NUMBERS: usize = 227;
const SHIFT: usize = 397;

pub(super) struct Twister {
    state: [u32; NUMBERS + SHIFT],
    at: usize,
}

impl Twister {
    pub(super) fn new(seed: u64) -> Self {
        let mut state = [0u32; NUMBERS + SHIFT];
        #[allow(clippy::cast_possible_truncation, reason = "the generator takes the low half")]
        let mut last = seed as u32;
        state[0] = last;
        for (at, place) in (1u32..).zip(state.iter_mut().skip(1)) {
            last = 1_812_433_253u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(at);
            *place = last;
        }
        Self { state, at: 0 }
    }

    /// Uniform below `bound`, by whole buckets; `None` when the numbers are used up.
    pub(super) fn below(&mut self, bound: u32) -> Option<u32> {
        let bucket = (1u64 << 32) / u64::from(bound.max(1));
        loop {
            let drawn = u64::from(self.next()?) / bucket;
            if drawn < u64::from(bound.max(1)) {
                return u32::try_from(drawn).ok();
            }
        }
    }

    fn next(&mut self) -> Option<u32> {
        let at = self.at;
        if at + 1 >= NUMBERS {
            return None;
        }
        self.at += 1;
        let joined = (self.state[at] & 0x8000_0000) | (self.state[at + 1] & 0x7fff_ffff);
        let mut number = self.state[at + SHIFT] ^ (joined >> 1) ^ if joined & 1 == 1 { 0x9908_b0df } else { 0 };
        number ^= number >> 11;
        number ^= (number << 7) & 0x9d2c_5680;
        number ^= (number << 15) & 0xefc6_0000;
        Some(number ^ (number >> 18))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_reference() {
        let mut twister = Twister::new(5489);
        let first: Vec<u32> = (0..4).filter_map(|_| twister.next()).collect();
        assert_eq!(first, [3_499_211_612, 581_869_302, 3_890_346_734, 3_586_334_585]);
    }
}

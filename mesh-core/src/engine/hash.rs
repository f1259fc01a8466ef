//! The two hashes of Envoy's consistent hashing: xxHash64 and MurmurHash2 in its 64-bit form, bit for bit.
//!
//! A client that picks the same host for a key as every Envoy beside it must hash as they do. Not for tables that a
//! stranger fills: neither resists chosen input.

use std::num::NonZeroU64;

/// What a request hashes to, if anything of it is hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestHash(Option<NonZeroU64>);

impl RequestHash {
    /// A hash. 0 stands for none: one key in 2^64 is picked for by chance.
    #[must_use]
    pub const fn new(hash: u64) -> Self {
        Self(NonZeroU64::new(hash))
    }

    /// The hash.
    #[must_use]
    pub const fn get(self) -> Option<u64> {
        match self.0 {
            Some(hash) => Some(hash.get()),
            None => None,
        }
    }
}

const PRIMES: [u64; 5] =
    [0x9e37_79b1_85eb_ca87, 0xc2b2_ae3d_27d4_eb4f, 0x1656_67b1_9e37_79f9, 0x85eb_ca77_c2b2_ae63, 0x27d4_eb2f_1656_67c5];

/// xxHash64 (<https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>).
#[must_use]
pub fn xxh64(bytes: &[u8], seed: u64) -> u64 {
    let (stripes, rest) = bytes.as_chunks::<32>();
    let mut hash = if stripes.is_empty() {
        seed.wrapping_add(PRIMES[4])
    } else {
        let mut lanes = [
            seed.wrapping_add(PRIMES[0]).wrapping_add(PRIMES[1]),
            seed.wrapping_add(PRIMES[1]),
            seed,
            seed.wrapping_sub(PRIMES[0]),
        ];
        for stripe in stripes {
            for (lane, word) in lanes.iter_mut().zip(stripe.as_chunks::<8>().0) {
                *lane = round(*lane, u64::from_le_bytes(*word));
            }
        }
        let turned =
            lanes.iter().zip([1, 7, 12, 18]).fold(0u64, |sum, (lane, by)| sum.wrapping_add(lane.rotate_left(by)));
        lanes.iter().fold(turned, |hash, lane| (hash ^ round(0, *lane)).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]))
    };
    hash = hash.wrapping_add(bytes.len() as u64);
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        hash ^= round(0, u64::from_le_bytes(*word));
        hash = hash.rotate_left(27).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]);
    }
    let (halves, rest) = rest.as_chunks::<4>();
    for half in halves {
        hash ^= u64::from(u32::from_le_bytes(*half)).wrapping_mul(PRIMES[0]);
        hash = hash.rotate_left(23).wrapping_mul(PRIMES[1]).wrapping_add(PRIMES[2]);
    }
    for byte in rest {
        hash ^= u64::from(*byte).wrapping_mul(PRIMES[4]);
        hash = hash.rotate_left(11).wrapping_mul(PRIMES[0]);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(PRIMES[1]);
    hash = (hash ^ (hash >> 29)).wrapping_mul(PRIMES[2]);
    hash ^ (hash >> 32)
}

const fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(PRIMES[1])).rotate_left(31).wrapping_mul(PRIMES[0])
}

/// MurmurHash2, 64-bit, with the seed of GNU's `std::hash`: what `MURMUR_HASH_2` means.
#[must_use]
pub fn murmur2(bytes: &[u8]) -> u64 {
    const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
    const SEED: u64 = 0xc70f_6907;
    const fn mix(value: u64) -> u64 {
        value ^ (value >> 47)
    }
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(MULTIPLIER);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let word = mix(u64::from_le_bytes(*word).wrapping_mul(MULTIPLIER)).wrapping_mul(MULTIPLIER);
        hash = (hash ^ word).wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        let word = rest.iter().rev().fold(0u64, |word, byte| (word << 8) | u64::from(*byte));
        hash = (hash ^ word).wrapping_mul(MULTIPLIER);
    }
    mix(mix(hash).wrapping_mul(MULTIPLIER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_come_out_whatever_the_length() {
        // From the reference implementation (`xxhsum -H64`).
        assert_eq!(xxh64(b"", 0), 0xef46_db37_51d8_e999);
        assert_eq!(xxh64(b"a", 0), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(xxh64(b"abc", 0), 0x44bc_2cf5_ad77_0999);
        assert_eq!(xxh64(b"Nobody inspects the spammish repetition", 0), 0xfbce_a83c_8a37_8bf1);
    }

    #[test]
    fn every_byte_and_the_seed_change_the_hash() {
        let text = *b"0123456789abcdefghijklmnopqrstuvwxyz0123";
        for length in 1..text.len() {
            let mut other = text;
            other[length - 1] ^= 1;
            assert_ne!(xxh64(&text[..length], 0), xxh64(&other[..length], 0), "{length}");
            assert_ne!(xxh64(&text[..length], 0), xxh64(&text[..length], 1), "{length}");
            assert_ne!(murmur2(&text[..length]), murmur2(&other[..length]), "{length}");
        }
    }
}

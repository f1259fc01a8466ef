//! `RING_HASH`: Ketama as Envoy builds it.
//!
//! Each host has entries in proportion to its weight, at the hashes of its key with a running number. The first entry at
//! or after a request's hash names the host; each further draw of one pick goes one entry on.

use std::fmt::Write as _;

use super::HostIndex;
use super::hashed::Weighted;
use crate::engine::hash::{murmur2, xxh64};
use crate::resource::cluster::{HashFunction, RingHash};

#[derive(Debug)]
pub(super) struct Ring {
    /// Ascending.
    hashes: Box<[u64]>,
    hosts: Box<[HostIndex]>,
}

impl Ring {
    pub(super) fn new(config: &RingHash, hosts: &[Weighted]) -> Self {
        let lightest = hosts.iter().map(|host| host.weight).fold(f64::INFINITY, f64::min);
        if !lightest.is_finite() || lightest <= 0.0 {
            return Self { hashes: Box::default(), hosts: Box::default() };
        }
        // Large enough that the lightest host has a whole number of entries, so that shares are exact.
        let wanted = (lightest * f64::from(config.minimum_ring_size)).ceil() / lightest;
        let scale = wanted.min(f64::from(config.maximum_ring_size));
        let mut entries = Vec::new();
        let (mut target, mut made) = (0.0, 0.0);
        let mut text = String::new();
        for host in hosts {
            target += scale * host.weight;
            text.clear();
            text.push_str(&host.key);
            text.push('_');
            let stem = text.len();
            let mut number = 0u32;
            while made < target {
                text.truncate(stem);
                // Writing into a String does not fail.
                let _ = write!(text, "{number}");
                let hash = match config.hash_function {
                    HashFunction::XxHash => xxh64(text.as_bytes(), 0),
                    HashFunction::MurmurHash2 => murmur2(text.as_bytes()),
                };
                entries.push((hash, host.index));
                number += 1;
                made += 1.0;
            }
        }
        entries.sort_unstable();
        Self {
            hashes: entries.iter().map(|(hash, _)| *hash).collect(),
            hosts: entries.iter().map(|(_, host)| *host).collect(),
        }
    }

    /// The host of a hash; `draw` counts up when the ones before were not wanted.
    pub(super) fn pick(&self, hash: u64, draw: u32) -> Option<HostIndex> {
        let first = self.hashes.partition_point(|entry| *entry < hash);
        let first = if first == self.hashes.len() { 0 } else { first };
        self.hosts.get((first + draw as usize) % self.hosts.len().max(1)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(config: RingHash, weights: &[f64]) -> Ring {
        let host =
            |(at, weight): (u32, &f64)| Weighted { index: HostIndex(at), key: format!("h{at}"), weight: *weight };
        Ring::new(&config, &(0..).zip(weights).map(host).collect::<Vec<_>>())
    }

    #[test]
    fn the_lightest_host_has_a_whole_number_of_entries() {
        assert_eq!(ring(RingHash::default(), &[0.2, 0.2, 0.6]).hashes.len(), 1025);
        assert_eq!(ring(RingHash { minimum_ring_size: 12, ..RingHash::default() }, &[1.0]).hashes.len(), 12);
        let bounded = RingHash { minimum_ring_size: 1, maximum_ring_size: 100, ..RingHash::default() };
        assert_eq!(ring(bounded, &[1e-9, 1.0 - 1e-9]).hashes.len(), 100);
    }

    #[test]
    fn draws_after_the_first_go_on_along_the_ring() {
        let ring = ring(RingHash::default(), &[0.5, 0.5]);
        for hash in [0, 1 << 40, u64::MAX] {
            let at = ring.hashes.iter().position(|entry| *entry >= hash).unwrap_or(0);
            for draw in 0..5 {
                let expected = ring.hosts[(at + draw) % ring.hosts.len()];
                assert_eq!(ring.pick(hash, u32::try_from(draw).unwrap()), Some(expected));
            }
        }
        assert_eq!(Ring::new(&RingHash::default(), &[]).pick(7, 0), None);
    }
}

//! `MAGLEV`: a table of hosts, filled as Envoy fills it, read with one division.
//!
//! Hosts take turns in the order of their keys, each claiming the next free place of a permutation of its own; lighter
//! hosts miss turns. See <https://research.google/pubs/pub44824/>.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::HostIndex;
use super::hashed::Weighted;
use crate::engine::hash::xxh64;

#[derive(Debug)]
pub(super) struct Maglev {
    /// Empty without hosts.
    table: Table,
}

/// Half the memory where the numbers of the hosts fit.
#[derive(Debug)]
enum Table {
    Short(Box<[u16]>),
    Long(Box<[u32]>),
}

/// A place that nobody has claimed.
const FREE: u32 = u32::MAX;

impl Maglev {
    pub(super) fn new(size: u32, hosts: &[Weighted]) -> Self {
        let places = filled(size.max(2), hosts);
        let short: Option<Box<[u16]>> = places.iter().map(|place| u16::try_from(*place).ok()).collect();
        Self { table: short.map_or_else(|| Table::Long(places.into()), Table::Short) }
    }

    /// The host of a hash; `draw` counts up when the ones before were not wanted.
    #[inline]
    pub(super) fn pick(&self, hash: u64, draw: u32) -> Option<HostIndex> {
        let hash = if draw == 0 { hash } else { hash ^ (u64::MAX - u64::from(draw) + 1) };
        #[allow(clippy::cast_possible_truncation, reason = "reduced below the table's length first")]
        let place = |len: usize| (hash % (len as u64).max(1)) as usize;
        Some(HostIndex(match &self.table {
            Table::Short(table) => u32::from(*table.get(place(table.len()))?),
            Table::Long(table) => *table.get(place(table.len()))?,
        }))
    }
}

/// One host on its way through its permutation.
struct Claimant {
    host: u32,
    weight: f64,
    place: u64,
    skip: u64,
    /// What its turns must add up to before it claims again.
    due: f64,
}

fn filled(size: u32, hosts: &[Weighted]) -> Vec<u32> {
    let size = u64::from(size);
    let heaviest = hosts.iter().map(|host| host.weight).fold(0.0, f64::max);
    if hosts.is_empty() || heaviest <= 0.0 {
        return Vec::new();
    }
    let mut sorted: Vec<&Weighted> = hosts.iter().filter(|host| host.weight > 0.0).collect();
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    let mut claimants: Vec<Claimant> = sorted
        .into_iter()
        .map(|host| Claimant {
            host: host.index.0,
            weight: host.weight,
            place: xxh64(host.key.as_bytes(), 0) % size,
            skip: xxh64(host.key.as_bytes(), 1) % (size - 1) + 1,
            due: 0.0,
        })
        .collect();
    let mut table = vec![FREE; usize::try_from(size).unwrap_or_default()];
    // By the round in which a host claims next, then by its key: the order in which rounds over all hosts would meet
    // them, without the rounds in which a light host only looks on.
    let mut queue: BinaryHeap<_> = (0..claimants.len()).map(|at| Reverse((1u64, at))).collect();
    for _ in 0..table.len() {
        let Some(Reverse((round, at))) = queue.pop() else { break };
        let claimant = &mut claimants[at];
        // The permutation reaches every place, since the size is prime; without that, no more than one time round.
        let free = (0..size).find_map(|_| {
            let place = claimant.place;
            claimant.place = (place + claimant.skip) % size;
            let place = usize::try_from(place).unwrap_or_default();
            (table[place] == FREE).then_some(place)
        });
        let Some(free) = free.or_else(|| table.iter().position(|host| *host == FREE)) else { break };
        table[free] = claimant.host;
        claimant.due += heaviest;
        queue.push(Reverse((claimant.next_round(round), at)));
    }
    table
}

impl Claimant {
    /// The first round after `round` whose number times the weight reaches what is due.
    #[allow(clippy::cast_possible_truncation, reason = "as Envoy reckons, in doubles; the conversion back saturates")]
    fn next_round(&self, round: u64) -> u64 {
        let mut next = ((self.due / self.weight) as u64).saturating_sub(1).max(round + 1);
        while (next as f64) * self.weight < self.due && next < u64::MAX >> 1 {
            next += 1;
        }
        next
    }
}

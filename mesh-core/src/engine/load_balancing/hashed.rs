//! Picking by a request's hash, and keeping any one host from more than its part of the load.
//!
//! `consistent_hashing_lb_config.hash_balance_factor`: a host with more under way than so many percent of its part is
//! passed over. The hosts that are asked instead follow in an order that only the hash decides, so that the load of a full
//! host does not all go to one neighbour. See <https://arxiv.org/abs/1608.01350> and <https://arxiv.org/abs/1908.08762>.

use std::sync::Arc;

use smallvec::SmallVec;

use super::maglev::Maglev;
use super::ring::Ring;
use super::shuffle::Twister;
use super::{Host, HostIndex};
use crate::resource::cluster::{ConsistentHashing, LbPolicy};
use crate::resource::endpoint::Endpoint;
use crate::resource::metadata::Value;
use crate::state::{ClusterState, Load, Slot};

/// A host with what decides its places: its key, and its part of the whole.
#[derive(Clone, Debug)]
pub(super) struct Weighted {
    pub(super) index: HostIndex,
    pub(super) key: String,
    pub(super) weight: f64,
}

/// A consistent hash over hosts.
#[derive(Debug)]
pub(super) struct Hashed {
    table: Table,
    bounded: Option<Bounded>,
}

#[derive(Debug)]
enum Table {
    Ring(Ring),
    Maglev(Maglev),
}

impl Hashed {
    /// `None` when the policy does not hash.
    pub(super) fn new(
        policy: &LbPolicy,
        config: ConsistentHashing,
        hosts: &[Weighted],
        state: &Arc<ClusterState>,
    ) -> Option<Self> {
        let table = match policy {
            LbPolicy::RingHash(config) => Table::Ring(Ring::new(config, hosts)),
            LbPolicy::Maglev(config) => Table::Maglev(Maglev::new(config.table_size, hosts)),
            _ => return None,
        };
        let bounded = config.hash_balance_factor.map(|factor| Bounded {
            factor,
            state: Arc::clone(state),
            parts: hosts.iter().map(|host| (host.index, host.weight)).collect(),
        });
        Some(Self { table, bounded })
    }

    /// The host of a hash; `draw` counts up when the ones before were not wanted.
    #[inline]
    pub(super) fn pick(&self, hash: u64, draw: u32, hosts: &[Host]) -> Option<HostIndex> {
        let picked = match &self.table {
            Table::Ring(ring) => ring.pick(hash, draw),
            Table::Maglev(maglev) => maglev.pick(hash, draw),
        }?;
        match &self.bounded {
            None => Some(picked),
            Some(bounded) => Some(bounded.admit(picked, hash, hosts)),
        }
    }
}

/// The bound on each host's load.
#[derive(Debug)]
struct Bounded {
    factor: u32,
    state: Arc<ClusterState>,
    /// By index.
    parts: Box<[(HostIndex, f64)]>,
}

/// Beyond so many hosts in the order that Envoy shuffles, the others are asked in a plain one: all that were asked are
/// full, and the shuffle would need memory for every host.
const SHUFFLED: usize = 32;

impl Bounded {
    /// The host itself while it has room, else the first with room, else the least loaded for its part.
    fn admit(&self, picked: HostIndex, hash: u64, hosts: &[Host]) -> HostIndex {
        let active: u32 = [0, 1].map(|priority| self.state.load(Slot { load: Load::Requests, priority })).iter().sum();
        let slots = (u64::from(active) + 1).saturating_mul(u64::from(self.factor)).div_ceil(100);
        let load = |at: usize| self.load(at, slots, hosts);
        let Ok(own) = self.parts.binary_search_by_key(&picked, |(index, _)| *index) else { return picked };
        let mut least = (load(own), picked);
        if least.0 <= 1.0 {
            return picked;
        }
        let count = self.parts.len();
        let mut shuffled = Shuffled::new(hash, count);
        let first = (0..count.min(SHUFFLED)).map_while(|at| shuffled.next(at));
        let (step, begin) = stride(hash, count);
        let rest = if count > SHUFFLED { count } else { 0 };
        for at in first.chain((0..rest).map(|n| (begin + n * step) % count)).filter(|at| *at != own) {
            let load = load(at);
            if load <= 1.0 {
                return self.parts[at].0;
            }
            if load < least.0 {
                least = (load, self.parts[at].0);
            }
        }
        least.1
    }

    /// What is under way to a host by what may be; above 1 it is full.
    fn load(&self, at: usize, slots: u64, hosts: &[Host]) -> f64 {
        let (index, part) = self.parts[at];
        #[allow(clippy::cast_precision_loss, reason = "a number of requests fits")]
        let slots = (slots as f64 * part).ceil().max(1.0);
        hosts.get(index.0 as usize).map_or(f64::INFINITY, |host| f64::from(host.state.active()) / slots)
    }
}

/// The beginning of a shuffle of `0..count`: what was swapped is noted instead of the whole order.
struct Shuffled {
    twister: Twister,
    count: usize,
    moved: SmallVec<[(usize, usize); SHUFFLED]>,
}

impl Shuffled {
    fn new(hash: u64, count: usize) -> Self {
        Self { twister: Twister::new(hash), count, moved: SmallVec::new() }
    }

    fn next(&mut self, at: usize) -> Option<usize> {
        let here = self.value(at);
        let with = at + self.twister.below(u32::try_from(self.count - at).ok()?)? as usize;
        let found = self.value(with);
        // `at` is never asked for again; `with` now holds what was here.
        self.moved.retain(|(place, _)| *place != with);
        self.moved.push((with, here));
        Some(found)
    }

    fn value(&self, at: usize) -> usize {
        self.moved.iter().find(|(place, _)| *place == at).map_or(at, |(_, value)| *value)
    }
}

/// A step that reaches every one of `count` places before it comes back, and where to begin.
fn stride(hash: u64, count: usize) -> (usize, usize) {
    let below = |hash: u64| usize::try_from(hash % (count as u64).max(1)).unwrap_or_default();
    let mut step = below(hash.rotate_left(32)).max(1);
    while coprime(step, count) != 1 {
        step += 1;
    }
    (step, below(hash))
}

const fn coprime(mut a: usize, mut b: usize) -> usize {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// What an endpoint is known by: `hash_key` of its `envoy.lb` metadata, its host name if that is wanted, or its address.
pub(super) fn key(endpoint: &Endpoint, config: ConsistentHashing) -> String {
    if let Some(Value::Text(key)) = endpoint.metadata.get("envoy.lb").and_then(|lb| lb.at(["hash_key"]))
        && !key.is_empty()
    {
        return key.clone();
    }
    if config.use_hostname_for_hashing && !endpoint.hostname.is_empty() {
        return endpoint.hostname.clone();
    }
    endpoint.address.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_asks_everyone_once() {
        for count in [1, 2, 7, SHUFFLED] {
            let mut shuffled = Shuffled::new(0xfeed_beef, count);
            let mut all: Vec<usize> = (0..count).filter_map(|at| shuffled.next(at)).collect();
            all.sort_unstable();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_stride_reaches_everyone() {
        for (hash, count) in [(0, 1), (17, 64), (u64::MAX, 1000), (12, 97)] {
            let (step, begin) = stride(hash, count);
            let mut all: Vec<usize> = (0..count).map(|n| (begin + n * step) % count).collect();
            all.sort_unstable();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
    }
}

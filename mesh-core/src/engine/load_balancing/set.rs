//! Hosts that are picked from together, all of one priority and health, by the policy of their cluster.

use std::sync::Arc;
use std::time::Instant;

use super::hashed::{Hashed, Weighted, key};
use super::least_request::{Deadlines, under_load};
use super::slow_start::Warming;
use super::turns::Turns;
use super::{Host, HostIndex};
use crate::engine::random::Random;
use crate::resource::cluster::{Cluster, LbPolicy};
use crate::state::{ClusterState, Lane};

/// What a pick is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw {
    /// The request's hash, or chance.
    pub(super) hash: u64,
    /// How many hosts this pick has drawn and not wanted.
    pub(super) again: u32,
    /// When the request began, where time matters.
    pub(super) now: Option<Instant>,
}

/// Hosts and the policy over them.
#[derive(Debug)]
pub(super) struct HostSet {
    members: Box<[HostIndex]>,
    policy: Policy,
}

enum Policy {
    /// In turn.
    Turns(Turns),
    Random,
    LeastRequest {
        choices: u32,
        full_scan: bool,
    },
    Weighted(Box<WeightedLeastRequest>),
    Hashed(Box<Hashed>),
    /// Until the last host is warm.
    Warming(Box<Warming>),
}

/// Least request over unequal weights.
struct WeightedLeastRequest {
    weights: Box<[u32]>,
    bias: f64,
    deadlines: Deadlines,
}

impl HostSet {
    /// Members by their index, ascending; `parts` are their parts of the whole for tables of hashes, by default by
    /// their weights.
    pub(super) fn new(
        config: &Cluster,
        hosts: &[Host],
        members: Vec<HostIndex>,
        parts: Option<Vec<f64>>,
        state: &Arc<ClusterState>,
        random: &mut Random,
    ) -> Self {
        let weight = |index: &HostIndex| hosts[index.0 as usize].endpoint.weight.max(1);
        let weights: Vec<u32> = members.iter().map(weight).collect();
        let equal = weights.windows(2).all(|pair| pair[0] == pair[1]);
        let policy = match &config.lb_policy {
            LbPolicy::Random => Policy::Random,
            LbPolicy::LeastRequest(least) if equal || least.full_scan => {
                Policy::LeastRequest { choices: least.choice_count.max(2), full_scan: least.full_scan }
            }
            LbPolicy::LeastRequest(least) => Policy::Weighted(Box::new(WeightedLeastRequest {
                deadlines: Deadlines::new(weights.len()),
                weights: weights.into(),
                bias: least.active_request_bias,
            })),
            LbPolicy::RoundRobin => {
                let weights: Vec<u64> = weights.into_iter().map(u64::from).collect();
                Policy::Turns(Turns::new(&weights, random))
            }
            hashing => {
                let parts = parts.unwrap_or_else(|| parts_of(&weights, 1.0));
                let weighted: Vec<Weighted> = members
                    .iter()
                    .zip(parts)
                    .map(|(index, weight)| Weighted {
                        index: *index,
                        key: key(&hosts[index.0 as usize].endpoint, config.consistent_hashing),
                        weight,
                    })
                    .collect();
                let hashed = Hashed::new(hashing, config.consistent_hashing, &weighted, state);
                hashed.map_or(Policy::Random, |hashed| Policy::Hashed(Box::new(hashed)))
            }
        };
        Self { members: members.into(), policy }
    }

    /// The same, warming up until its last host is warm; `since` tells when each member became ready.
    pub(super) fn warming(self, config: &Cluster, hosts: &[Host], since: &[Option<Instant>]) -> Self {
        let Some(slow_start) = config.slow_start.filter(|_| !self.members.is_empty()) else { return self };
        let bias = match &config.lb_policy {
            LbPolicy::RoundRobin => None,
            LbPolicy::LeastRequest(least) => Some(least.active_request_bias),
            _ => return self,
        };
        let member = |index: &HostIndex| {
            let at = index.0 as usize;
            (hosts[at].endpoint.weight.max(1), since.get(at).copied().flatten())
        };
        let members = self.members.iter().map(member).collect();
        match Warming::new(slow_start, bias, members, self) {
            Ok(warming) => Self { members: warming.warm().members.clone(), policy: Policy::Warming(Box::new(warming)) },
            Err(warm) => warm,
        }
    }

    pub(super) fn nobody() -> Self {
        Self { members: Box::default(), policy: Policy::Random }
    }

    /// By a policy to which nothing of the request matters; `None` for any other, and when there is nobody.
    #[inline]
    pub(super) fn pick_plain(&self, hosts: &[Host], random: &mut Random) -> Option<HostIndex> {
        match &self.policy {
            Policy::Turns(turns) => self.members.get(turns.next()).copied(),
            Policy::LeastRequest { full_scan: false, choices } => self.least_of(*choices, hosts, random),
            _ => None,
        }
    }

    pub(super) fn pick(&self, hosts: &[Host], draw: Draw, random: &mut Random, lane: Lane) -> Option<HostIndex> {
        match &self.policy {
            Policy::Turns(_) | Policy::LeastRequest { full_scan: false, .. } => self.pick_plain(hosts, random),
            Policy::Hashed(hashed) => hashed.pick(draw.hash, draw.again, hosts),
            _ => self.pick_seldom(hosts, draw, random, lane),
        }
    }

    #[inline(never)]
    fn pick_seldom(&self, hosts: &[Host], draw: Draw, random: &mut Random, lane: Lane) -> Option<HostIndex> {
        let at = match &self.policy {
            Policy::LeastRequest { .. } => return self.least_of_all(hosts, random),
            Policy::Weighted(least) => least
                .deadlines
                .pick(lane, random, |at| under_load(least.weights[at], active(hosts, self.members[at]), least.bias)),
            Policy::Warming(warming) => {
                let load = |at: usize| active(hosts, self.members[at]);
                match warming.pick(draw.now, lane, random, load) {
                    Some(at) => at,
                    None => return warming.warm().pick(hosts, draw, random, lane),
                }
            }
            _ => random.below(self.members.len()),
        };
        self.members.get(at).copied()
    }

    pub(super) fn members(&self) -> &[HostIndex] {
        &self.members
    }

    /// Goes on where the turns of the same hosts were before.
    pub(super) fn go_on_from(&mut self, before: &Self) {
        if let (Policy::Turns(turns), Policy::Turns(before)) = (&mut self.policy, &before.policy) {
            turns.go_on_from(before);
        }
    }

    /// `choices` draws with replacement; the first drawn stays on a tie.
    #[inline]
    fn least_of(&self, choices: u32, hosts: &[Host], random: &mut Random) -> Option<HostIndex> {
        let mut best = *self.members.get(random.below(self.members.len()))?;
        let mut least = active(hosts, best);
        for _ in 1..choices {
            let other = self.members[random.below(self.members.len())];
            let active = active(hosts, other);
            if active < least {
                (best, least) = (other, active);
            }
        }
        Some(best)
    }

    /// The minimum over all hosts; ties are drawn uniformly (reservoir of one).
    fn least_of_all(&self, hosts: &[Host], random: &mut Random) -> Option<HostIndex> {
        let mut best = None;
        let mut least = u32::MAX;
        let mut ties = 0usize;
        for &index in &self.members {
            let active = active(hosts, index);
            if active < least || best.is_none() {
                (best, least, ties) = (Some(index), active, 1);
            } else if active == least {
                ties += 1;
                if random.below(ties) == 0 {
                    best = Some(index);
                }
            }
        }
        best
    }
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Turns(_) => "Turns",
            Self::Random => "Random",
            Self::LeastRequest { .. } => "LeastRequest",
            Self::Weighted(_) => "WeightedLeastRequest",
            Self::Hashed(_) => "Hashed",
            Self::Warming(_) => "Warming",
        })
    }
}

/// Each weight's part of `whole`.
pub(super) fn parts_of(weights: &[u32], whole: f64) -> Vec<f64> {
    let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
    weights.iter().map(|weight| f64::from(*weight) / sum * whole).collect()
}

#[inline]
fn active(hosts: &[Host], index: HostIndex) -> u32 {
    hosts[index.0 as usize].state.active()
}

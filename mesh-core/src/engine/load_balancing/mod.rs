//! Which host of a cluster takes an attempt: round robin, least request and random, over weighted endpoints.
//!
//! Follows Envoy's load balancers. One level of priority is in use at a time here: the first with a usable
//! host, and in panic the first with any host. Counts in flight are read from [`crate::state`]; nothing is
//! locked or allocated per pick, except that unequal weights under least request take an uncontended lock of
//! the caller's lane (Envoy keeps that schedule per worker thread).

mod least_request;
mod schedule;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::least_request::WeightedLeastRequest;
use self::schedule::cycle;
use crate::engine::random::Random;
use crate::resource::cluster::LbPolicy;
use crate::resource::endpoint::{ClusterLoadAssignment, Endpoint, HealthStatus};
use crate::state::{EndpointState, Finding, Lane, Transport};

/// A host that can be picked: the endpoint as configured and what is kept of it.
#[derive(Clone, Debug)]
pub struct Host {
    /// As configured.
    pub endpoint: Arc<Endpoint>,
    /// What is under way to it.
    pub state: Arc<EndpointState>,
    /// How the driver reaches it.
    pub transport: Arc<Transport>,
}

/// How a host counts for balancing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// Gets traffic.
    Healthy,
    /// Gets traffic when too few are healthy.
    Degraded,
    /// Gets traffic in panic only.
    Unhealthy,
    /// Left out of every count until its first check.
    Excluded,
}

impl Host {
    /// What the control plane says and what was found out here, together: the worse of both counts.
    #[must_use]
    pub fn health(&self) -> Health {
        let said = self.endpoint.health;
        let found = |finding| self.state.is(finding);
        if !said.is_usable() || found(Finding::Ejected) {
            Health::Unhealthy
        } else if found(Finding::Unchecked) {
            // It counts as failed until its first check, too.
            Health::Excluded
        } else if found(Finding::CheckFailed) {
            Health::Unhealthy
        } else if said == HealthStatus::Degraded || found(Finding::Degraded) {
            Health::Degraded
        } else {
            Health::Healthy
        }
    }
}

/// Number of a host within its balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostIndex(u32);

/// The compiled balancer of one cluster.
pub struct LoadBalancer {
    hosts: Box<[Host]>,
    /// The hosts in use, as indices; empty when nobody can be picked.
    eligible: Box<[HostIndex]>,
    policy: Policy,
}

enum Policy {
    /// Plain turns: `turn` counts up over `order`.
    Turns {
        turn: AtomicUsize,
        order: Box<[HostIndex]>,
    },
    Random,
    LeastRequest {
        choices: u32,
        full_scan: bool,
    },
    WeightedLeastRequest(Box<WeightedLeastRequest>),
}

impl LoadBalancer {
    /// Compiles `hosts` (in the order of the assignment) under `policy`.
    ///
    /// `panic_threshold` is in percent: when fewer than this share of the first priority is usable and no
    /// other priority has a usable host, every host is picked from, whatever its health. `seed` decides
    /// where turns start, so that many clients do not begin with the same host.
    #[must_use]
    pub fn compile(policy: &LbPolicy, panic_threshold: f64, hosts: Vec<PriorityHost>, seed: u64) -> Self {
        let eligible = eligible(&hosts, panic_threshold);
        let hosts: Box<[Host]> = hosts.into_iter().map(|one| one.host).collect();
        let weight = |index: &HostIndex| hosts[index.0 as usize].endpoint.weight.max(1);
        let weights: Vec<u32> = eligible.iter().map(weight).collect();
        let equal = weights.windows(2).all(|pair| pair[0] == pair[1]);
        let mut random = Random::from_seed(seed);
        let policy = match policy {
            LbPolicy::Random => Policy::Random,
            LbPolicy::LeastRequest(config) if equal || config.full_scan => {
                Policy::LeastRequest { choices: config.choice_count.max(2), full_scan: config.full_scan }
            }
            LbPolicy::LeastRequest(config) => {
                Policy::WeightedLeastRequest(Box::new(WeightedLeastRequest::new(weights, config.active_request_bias)))
            }
            LbPolicy::RoundRobin if equal => {
                Policy::Turns { turn: AtomicUsize::new(random.below(eligible.len())), order: eligible.clone() }
            }
            LbPolicy::RoundRobin => {
                let order: Box<[HostIndex]> = cycle(&weights).into_iter().map(|at| eligible[at]).collect();
                Policy::Turns { turn: AtomicUsize::new(random.below(order.len())), order }
            }
        };
        Self { hosts, eligible, policy }
    }

    /// A balancer without hosts.
    #[must_use]
    pub fn empty() -> Self {
        Self { hosts: Box::default(), eligible: Box::default(), policy: Policy::Random }
    }

    /// Picks a host, or nobody when none is usable.
    pub fn pick(&self, random: &mut Random, lane: Lane) -> Option<HostIndex> {
        if self.eligible.is_empty() {
            return None;
        }
        Some(match &self.policy {
            Policy::Turns { turn, order } => order[turn.fetch_add(1, Ordering::Relaxed) % order.len()],
            Policy::Random => self.eligible[random.below(self.eligible.len())],
            Policy::LeastRequest { full_scan: true, .. } => self.least_of_all(random),
            Policy::LeastRequest { choices, .. } => self.least_of(*choices, random),
            Policy::WeightedLeastRequest(schedule) => {
                self.eligible[schedule.pick(lane, random, |at| self.active(self.eligible[at]))]
            }
        })
    }

    /// Picks a host that is `wanted`, drawing at most `attempts` times again; after that the last one drawn is used
    /// (`retry_host_predicate`).
    pub fn pick_wanted(
        &self,
        attempts: u32,
        mut wanted: impl FnMut(HostIndex, &Host) -> bool,
        random: &mut Random,
        lane: Lane,
    ) -> Option<HostIndex> {
        let mut picked = self.pick(random, lane)?;
        for _ in 0..attempts {
            if self.host(picked).is_some_and(|host| wanted(picked, host)) {
                break;
            }
            picked = self.pick(random, lane)?;
        }
        Some(picked)
    }

    /// The host behind an index of this balancer; `None` for an index of another one.
    #[must_use]
    pub fn host(&self, index: HostIndex) -> Option<&Host> {
        self.hosts.get(index.0 as usize)
    }

    /// All hosts, in the order of the assignment.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The hosts that can be picked now.
    #[must_use]
    pub fn eligible(&self) -> &[HostIndex] {
        &self.eligible
    }

    fn active(&self, index: HostIndex) -> u32 {
        self.hosts[index.0 as usize].state.active()
    }

    /// `choices` draws with replacement; the first drawn stays on a tie.
    fn least_of(&self, choices: u32, random: &mut Random) -> HostIndex {
        let mut best = self.eligible[random.below(self.eligible.len())];
        let mut least = self.active(best);
        for _ in 1..choices {
            let other = self.eligible[random.below(self.eligible.len())];
            let active = self.active(other);
            if active < least {
                (best, least) = (other, active);
            }
        }
        best
    }

    /// The minimum over all hosts; ties are drawn uniformly (reservoir of one).
    fn least_of_all(&self, random: &mut Random) -> HostIndex {
        let mut best = self.eligible[0];
        let mut least = u32::MAX;
        let mut ties = 0usize;
        for &index in &self.eligible {
            let active = self.active(index);
            if active < least {
                (best, least, ties) = (index, active, 1);
            } else if active == least {
                ties += 1;
                if random.below(ties) == 0 {
                    best = index;
                }
            }
        }
        best
    }
}

impl fmt::Debug for LoadBalancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadBalancer")
            .field("hosts", &self.hosts.len())
            .field("eligible", &self.eligible.len())
            .finish()
    }
}

/// A host with the priority of its group.
#[derive(Clone, Debug)]
pub struct PriorityHost {
    /// 0 is used first.
    pub priority: u32,
    /// The host.
    pub host: Host,
}

/// Endpoints of an assignment with their priority, in order.
pub fn endpoints(assignment: &ClusterLoadAssignment) -> impl Iterator<Item = (u32, &Endpoint)> {
    assignment.localities.iter().flat_map(|group| group.endpoints.iter().map(|endpoint| (group.priority, endpoint)))
}

fn eligible(hosts: &[PriorityHost], panic_threshold: f64) -> Box<[HostIndex]> {
    let of = |keep: &dyn Fn(&PriorityHost) -> bool| -> Box<[HostIndex]> {
        (0u32..).zip(hosts).filter(|(_, one)| keep(one)).map(|(at, _)| HostIndex(at)).collect()
    };
    let usable = |one: &PriorityHost| matches!(one.host.health(), Health::Healthy | Health::Degraded);
    if let Some(level) = hosts.iter().filter(|one| usable(one)).map(|one| one.priority).min() {
        return of(&|one| one.priority == level && usable(one));
    }
    match hosts.iter().map(|one| one.priority).min() {
        Some(level) if panic_threshold > 0.0 => of(&|one| one.priority == level),
        _ => Box::default(),
    }
}

#[cfg(test)]
mod tests;

//! Which host of a cluster takes an attempt: by turns, load, chance or the request's hash, over weights, priorities,
//! localities and zones.
//!
//! Follows Envoy's load balancers. What can be worked out beforehand is compiled here when hosts or what is known of them
//! change: the loads of priorities, the turns of weights, the tables of hashes. Counts in flight are read from
//! [`crate::state`]; nothing is allocated per pick, and nothing locked but, where weights change from pick to pick
//! (unequal ones under least request, slow start), an uncontended lock of the caller's lane.
//!
//! ```text
//! LoadBalancer ─ Levels (load) ─ per priority and health: Group ─┬ HostSet
//!              └ one HostSet, where there is nothing to divide    ├ Localities ─ HostSet …
//!                                                                 └ Zones ────── HostSet …
//! HostSet: members + policy (turns, least_request, hashed {ring, maglev}, slow_start)
//! ```

mod hashed;
mod least_request;
mod levels;
mod load;
mod maglev;
mod ring;
mod schedule;
mod set;
mod shuffle;
mod slow_start;
mod turns;
mod zone;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use self::levels::{Levels, Place};
use self::set::{Draw, HostSet};
pub use self::zone::Neighbourhood;
use crate::engine::hash::RequestHash;
use crate::engine::random::Random;
use crate::resource::cluster::Cluster;
use crate::resource::endpoint::{Address, ClusterLoadAssignment, Endpoint, HealthStatus, Locality};
use crate::state::{ClusterState, EndpointState, Finding, Lane, Transport};

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
    root: Root,
    hashes: bool,
    /// With slow start: when each host became ready, or that it is not.
    ready: Option<Box<[Ready]>>,
}

enum Root {
    /// One set takes everything.
    One(HostSet),
    Levels(Box<Levels>),
}

/// When a host became ready, for slow start.
#[derive(Clone, Copy, Debug)]
enum Ready {
    /// It fails its checks, or has had none.
    NotYet,
    /// At a time that is known, or long ago.
    Since(Option<Instant>),
}

/// Hosts that share a priority and a locality, in the order of the assignment.
#[derive(Clone, Debug)]
pub struct HostGroup<'a> {
    /// 0 is used first.
    pub priority: u32,
    /// Where they are.
    pub locality: &'a Locality,
    /// `load_balancing_weight` of the locality.
    pub weight: Option<u32>,
    /// The hosts.
    pub hosts: Vec<Host>,
}

/// What a balancer goes by besides its configuration and its hosts.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// `policy.overprovisioning_factor` in percent, by default [`OVERPROVISIONING`].
    pub overprovisioning_factor: u32,
    /// `policy.weighted_priority_health`.
    pub weighted_priority_health: bool,
    /// What is counted of the cluster.
    pub state: &'a Arc<ClusterState>,
    /// Where the caller and its peers are, if that is known: then zones matter.
    pub neighbourhood: Option<&'a Neighbourhood>,
    /// The time, if it is known: hosts that are new now warm up.
    pub now: Option<Instant>,
    /// The balancer before this one.
    pub previous: Option<&'a LoadBalancer>,
    since: &'a [Option<Instant>],
}

/// `overprovisioning_factor` when nothing is said, in percent.
pub const OVERPROVISIONING: u32 = 140;

impl<'a> Known<'a> {
    /// Envoy's defaults, nothing known of the caller, nothing before.
    #[must_use]
    pub const fn new(state: &'a Arc<ClusterState>) -> Self {
        Self {
            overprovisioning_factor: OVERPROVISIONING,
            weighted_priority_health: false,
            state,
            neighbourhood: None,
            now: None,
            previous: None,
            since: &[],
        }
    }
}

/// What one pick goes by.
#[derive(Clone, Copy, Debug, Default)]
pub struct PickFor {
    /// What the request hashes to.
    pub hash: RequestHash,
    /// When the request began: for hosts that warm up.
    pub now: Option<Instant>,
}

impl LoadBalancer {
    /// Compiles `groups` under the policies of `config`. `seed` decides where turns start, so that many clients do not
    /// begin with the same host.
    #[must_use]
    pub fn compile(config: &Cluster, groups: Vec<HostGroup<'_>>, known: &Known<'_>, seed: u64) -> Self {
        let mut places = Vec::new();
        let mut hosts = Vec::new();
        for group in groups {
            let place =
                Place { priority: group.priority, locality: group.locality, weight: group.weight.unwrap_or_default() };
            places.resize(places.len() + group.hosts.len(), place);
            hosts.extend(group.hosts);
        }
        let ready = config.slow_start.is_some().then(|| ready(&hosts, known));
        let since: Vec<Option<Instant>> = ready.iter().flatten().map(|one| one.since()).collect();
        let known = Known { since: &since, ..*known };
        let mut random = Random::from_seed(seed);
        let root = match Levels::compile(config, &hosts, &places, &known, &mut random).into_only() {
            Ok(set) => Root::One(set),
            Err(levels) => Root::Levels(Box::new(levels)),
        };
        let mut compiled = Self { hosts: hosts.into(), root, hashes: config.lb_policy.hashes(), ready };
        if let Some(previous) = known.previous {
            compiled.go_on_from(previous);
        }
        compiled
    }

    /// A balancer without hosts.
    #[must_use]
    pub fn empty() -> Self {
        Self { hosts: Box::default(), root: Root::One(HostSet::nobody()), hashes: false, ready: None }
    }

    /// Picks a host, or nobody when none is usable.
    #[inline]
    pub fn pick(&self, request: PickFor, random: &mut Random, lane: Lane) -> Option<HostIndex> {
        let plain = match &self.root {
            Root::One(set) => set.pick_plain(&self.hosts, random),
            Root::Levels(_) => None,
        };
        plain.or_else(|| self.pick_by(request, random, lane))
    }

    /// Where something of the request matters, or there is more than one set of hosts.
    #[inline(never)]
    fn pick_by(&self, request: PickFor, random: &mut Random, lane: Lane) -> Option<HostIndex> {
        self.drawn(Draw { hash: self.hash(request, random), again: 0, now: request.now }, random, lane)
    }

    /// Picks a host that is `wanted`, drawing at most `attempts` times again; after that the last one drawn is used
    /// (`retry_host_predicate`).
    pub fn pick_wanted(
        &self,
        request: PickFor,
        attempts: u32,
        mut wanted: impl FnMut(HostIndex, &Host) -> bool,
        random: &mut Random,
        lane: Lane,
    ) -> Option<HostIndex> {
        self.draws(request, attempts, &mut wanted, random, |draw, random| self.drawn(draw, random, lane))
    }

    /// As [`Self::pick_wanted`], beside the priorities that `left_out` names (`retry_priority`), unless it names all. A
    /// policy that hashes does not heed it.
    pub fn pick_beside(
        &self,
        request: PickFor,
        attempts: u32,
        mut wanted: impl FnMut(HostIndex, &Host) -> bool,
        left_out: impl Fn(u32) -> bool,
        random: &mut Random,
        lane: Lane,
    ) -> Option<HostIndex> {
        self.draws(request, attempts, &mut wanted, random, |draw, random| match &self.root {
            Root::One(set) => set.pick(&self.hosts, draw, random, lane),
            Root::Levels(levels) => levels.pick_beside(&left_out, &self.hosts, draw, random, lane),
        })
    }

    fn draws(
        &self,
        request: PickFor,
        attempts: u32,
        wanted: &mut dyn FnMut(HostIndex, &Host) -> bool,
        random: &mut Random,
        pick: impl Fn(Draw, &mut Random) -> Option<HostIndex>,
    ) -> Option<HostIndex> {
        let mut draw = Draw { hash: self.hash(request, random), again: 0, now: request.now };
        let mut picked = pick(draw, random)?;
        while draw.again < attempts && !self.host(picked).is_some_and(|host| wanted(picked, host)) {
            draw.again += 1;
            picked = pick(draw, random)?;
        }
        Some(picked)
    }

    #[inline]
    fn drawn(&self, draw: Draw, random: &mut Random, lane: Lane) -> Option<HostIndex> {
        match &self.root {
            Root::One(set) => set.pick(&self.hosts, draw, random, lane),
            Root::Levels(levels) => levels.pick(&self.hosts, draw, random, lane),
        }
    }

    #[inline]
    fn hash(&self, request: PickFor, random: &mut Random) -> u64 {
        if self.hashes { request.hash.get().unwrap_or_else(|| random.bits()) } else { 0 }
    }

    /// Whether hosts are picked by what requests hash to.
    #[must_use]
    #[inline]
    pub const fn hashes(&self) -> bool {
        self.hashes
    }

    /// The host behind an index of this balancer; `None` for an index of another one.
    #[must_use]
    #[inline]
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
    pub fn eligible(&self) -> Vec<HostIndex> {
        match &self.root {
            Root::One(set) => set.members().to_vec(),
            Root::Levels(levels) => levels.members(),
        }
    }

    /// Equal turns go on where they were, so that a push does not favour whoever comes first.
    fn go_on_from(&mut self, previous: &Self) {
        match (&mut self.root, &previous.root) {
            (Root::One(set), Root::One(before)) => set.go_on_from(before),
            (Root::Levels(levels), Root::Levels(before)) => levels.go_on_from(before),
            _ => {}
        }
    }
}

impl Ready {
    const fn since(self) -> Option<Instant> {
        match self {
            Self::NotYet => None,
            Self::Since(since) => since,
        }
    }
}

/// When hosts became ready: new ones now, those that fail their checks not yet, the others when they did.
fn ready(hosts: &[Host], known: &Known<'_>) -> Box<[Ready]> {
    let before: HashMap<&Address, Ready> = known
        .previous
        .and_then(|previous| Some((previous, previous.ready.as_ref()?)))
        .map(|(previous, ready)| {
            previous.hosts.iter().map(|host| &host.endpoint.address).zip(ready.iter().copied()).collect()
        })
        .unwrap_or_default();
    let of = |host: &Host| {
        if host.state.is(Finding::CheckFailed) || host.state.is(Finding::Unchecked) {
            return Ready::NotYet;
        }
        match before.get(&host.endpoint.address) {
            Some(Ready::Since(since)) => Ready::Since(*since),
            Some(Ready::NotYet) | None => Ready::Since(known.now),
        }
    };
    hosts.iter().map(of).collect()
}

impl fmt::Debug for LoadBalancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadBalancer")
            .field("hosts", &self.hosts.len())
            .field("eligible", &self.eligible().len())
            .finish()
    }
}

/// Endpoints of an assignment with their priority, in order.
pub fn endpoints(assignment: &ClusterLoadAssignment) -> impl Iterator<Item = (u32, &Endpoint)> {
    assignment.localities.iter().flat_map(|group| group.endpoints.iter().map(|endpoint| (group.priority, endpoint)))
}

#[cfg(test)]
mod tests;

//! A cluster as compiled: balancer, breaker and the live state they work on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::engine::circuit_breaker::CircuitBreaker;
use crate::engine::load_balancing::{
    Health, Host, HostGroup, Known, LoadBalancer, Neighbourhood, OVERPROVISIONING, endpoints,
};
use crate::engine::outlier_detection::{Bell, Monitor};
use crate::engine::routing::ClusterId;
use crate::resource::cluster::{self as config, Discovery, TransportSocket};
use crate::resource::endpoint::{Address, ClusterLoadAssignment, Endpoint, HealthStatus, Locality, LocalityEndpoints};
use crate::resource::metadata::Metadata;
use crate::resource::route::FractionalPercent;
use crate::state::{ClusterState, EndpointState, Finding, Transport};

/// A cluster in force.
#[derive(Debug)]
pub struct Cluster {
    id: ClusterId,
    config: Arc<config::Cluster>,
    assignment: Option<Arc<ClusterLoadAssignment>>,
    balancer: LoadBalancer,
    breaker: CircuitBreaker,
    state: Arc<ClusterState>,
    monitor: Option<Arc<Monitor>>,
    /// The same with removed hosts that are kept, if there are any.
    kept: Option<Arc<ClusterLoadAssignment>>,
    original_destinations: Option<Arc<OriginalDestinations>>,
    drop_overload: Option<FractionalPercent>,
}

/// What a cluster is compiled with besides its configuration.
pub(super) struct Around<'a> {
    pub(super) bell: &'a Bell,
    pub(super) neighbourhood: Option<&'a Neighbourhood>,
    pub(super) now: Option<Instant>,
    pub(super) seed: u64,
}

impl Cluster {
    /// Compiles a cluster; what `previous` (the same cluster before) knew of its endpoints lives on.
    pub(super) fn compile(
        id: ClusterId,
        config: Arc<config::Cluster>,
        assignment: Option<Arc<ClusterLoadAssignment>>,
        previous: Option<&Self>,
        around: &Around<'_>,
    ) -> Self {
        let monitor = match (&config.outlier_detection, previous) {
            (Some(settings), Some(before)) if before.config.outlier_detection.as_ref() == Some(settings) => {
                before.monitor.clone()
            }
            (settings, _) => settings.as_ref().map(|settings| Arc::new(Monitor::new(settings, around.bell.clone()))),
        };
        let keep_transports = previous.is_some_and(|before| same_transport(&before.config, &config));
        let known: HashMap<&Address, &Host> = previous
            .map(|before| before.balancer.hosts().iter().map(|host| (&host.endpoint.address, host)).collect())
            .unwrap_or_default();
        // Hosts that were removed and pass their checks are kept until they fail one.
        let kept = assignment.as_ref().and_then(|assignment| with_kept(&config, assignment, previous?));
        let listed = listed(&config, kept.as_deref().or(assignment.as_deref()));
        let host = |endpoint: &Endpoint| {
            let before = known.get(&endpoint.address);
            Host {
                endpoint: before
                    .map(|host| &host.endpoint)
                    .filter(|same| ***same == *endpoint)
                    .map_or_else(|| Arc::new(endpoint.clone()), Arc::clone),
                state: before.map_or_else(|| new_state(&config), |host| Arc::clone(&host.state)),
                transport: before
                    .filter(|_| keep_transports)
                    .map(|host| Arc::clone(&host.transport))
                    .unwrap_or_default(),
            }
        };
        // An endpoint that asks for TLS is no host until there is TLS: not even a panic may pick it.
        let plain = |metadata: &Metadata| config.transport_socket(metadata) == TransportSocket::RawBuffer;
        let group = |group: &'_ LocalityEndpoints| -> Vec<Host> {
            group.endpoints.iter().filter(|endpoint| plain(&endpoint.metadata)).map(host).collect()
        };
        let groups = listed.map_or(&[][..], |listed| &listed.localities).iter().map(|one| HostGroup {
            priority: one.priority,
            locality: &one.locality,
            weight: one.weight,
            hosts: group(one),
        });
        let groups = groups.collect();
        let state = previous.map(|before| Arc::clone(&before.state)).unwrap_or_default();
        let passes_through = matches!(config.discovery, Discovery::OriginalDst) && plain(&Metadata::new());
        let original_destinations = passes_through.then(|| {
            previous
                .filter(|_| keep_transports)
                .and_then(|before| before.original_destinations.clone())
                .unwrap_or_default()
        });
        let factor = listed.and_then(|listed| listed.overprovisioning_factor).unwrap_or(OVERPROVISIONING);
        let mut known = Known::new(&state);
        known.overprovisioning_factor = factor;
        known.weighted_priority_health = listed.is_some_and(|listed| listed.weighted_priority_health);
        known.neighbourhood = around.neighbourhood;
        known.now = around.now;
        known.previous = previous.map(|before| &before.balancer);
        let drop_overload = listed.and_then(|listed| listed.drop_overload);
        Self {
            id,
            drop_overload,
            balancer: LoadBalancer::compile(&config, groups, &known, around.seed),
            breaker: CircuitBreaker::new(config.circuit_breakers, Arc::clone(&state)),
            state,
            monitor,
            config,
            assignment,
            kept,
            original_destinations,
        }
    }

    /// Its number in this snapshot.
    #[must_use]
    pub const fn id(&self) -> ClusterId {
        self.id
    }

    /// As configured.
    #[must_use]
    pub const fn config(&self) -> &Arc<config::Cluster> {
        &self.config
    }

    /// The endpoints that arrived for it (EDS, DNS), if any have.
    #[must_use]
    pub const fn assignment(&self) -> Option<&Arc<ClusterLoadAssignment>> {
        self.assignment.as_ref()
    }

    /// Its endpoints in groups, wherever they come from.
    pub(super) fn localities(&self) -> &[LocalityEndpoints] {
        listed(&self.config, self.kept.as_deref().or(self.assignment.as_deref()))
            .map_or(&[], |listed| &listed.localities)
    }

    /// How many healthy hosts it has in each locality.
    pub(super) fn healthy_by_locality(&self) -> Vec<(Locality, u64)> {
        let healthy: HashSet<&Address> = self
            .balancer
            .hosts()
            .iter()
            .filter(|host| host.health() == Health::Healthy)
            .map(|host| &host.endpoint.address)
            .collect();
        let mut counts: BTreeMap<&Locality, u64> = BTreeMap::new();
        for group in self.localities() {
            let here = group.endpoints.iter().filter(|endpoint| healthy.contains(&endpoint.address)).count();
            *counts.entry(&group.locality).or_default() += here as u64;
        }
        counts.into_iter().map(|(locality, count)| (locality.clone(), count)).collect()
    }

    /// Picks its hosts.
    #[must_use]
    pub const fn balancer(&self) -> &LoadBalancer {
        &self.balancer
    }

    /// Which part of the requests is to be dropped.
    #[must_use]
    #[inline]
    pub const fn drop_overload(&self) -> Option<FractionalPercent> {
        self.drop_overload
    }

    /// Its limits.
    #[must_use]
    pub const fn breaker(&self) -> &CircuitBreaker {
        &self.breaker
    }

    /// What is counted of it.
    #[must_use]
    pub const fn state(&self) -> &Arc<ClusterState> {
        &self.state
    }

    /// What judges its hosts by their answers, if anything does.
    #[must_use]
    pub fn monitor(&self) -> Option<&Monitor> {
        self.monitor.as_deref()
    }

    /// For `ORIGINAL_DST`: the host of the address that the caller gave. `None` for other clusters.
    #[must_use]
    pub fn original_destination(&self, address: &Address) -> Option<Host> {
        Some(self.original_destinations.as_ref()?.host(address))
    }
}

/// A host that nobody knows yet: where hosts are checked, it counts as failed until it was.
fn new_state(config: &config::Cluster) -> Arc<EndpointState> {
    let state = EndpointState::default();
    if config.health_check.is_some() {
        state.note(Finding::CheckFailed, true);
        state.note(Finding::Unchecked, config.ignore_new_hosts_until_first_hc);
    }
    Arc::new(state)
}

/// `assignment` with the hosts that it has no more and that pass their checks, each where it was. `None` if there are
/// none.
fn with_kept(
    config: &config::Cluster,
    assignment: &ClusterLoadAssignment,
    previous: &Cluster,
) -> Option<Arc<ClusterLoadAssignment>> {
    if config.health_check.is_none() || config.ignore_health_on_host_removal {
        return None;
    }
    let listed: HashSet<&Address> = endpoints(assignment).map(|(_, endpoint)| &endpoint.address).collect();
    let passing: HashSet<&Address> = previous
        .balancer
        .hosts()
        .iter()
        .filter(|host| !host.state.is(Finding::CheckFailed))
        .map(|host| &host.endpoint.address)
        .filter(|address| !listed.contains(address))
        .collect();
    if passing.is_empty() {
        return None;
    }
    let mut merged = assignment.clone();
    for group in &previous.kept.as_ref().or(previous.assignment.as_ref())?.localities {
        let kept = group.endpoints.iter().filter(|endpoint| passing.contains(&endpoint.address));
        let mut kept = kept.cloned().peekable();
        if kept.peek().is_none() {
            continue;
        }
        let same = |one: &&mut LocalityEndpoints| one.locality == group.locality && one.priority == group.priority;
        match merged.localities.iter_mut().find(same) {
            Some(group) => group.endpoints.extend(kept),
            None => merged.localities.push(LocalityEndpoints { endpoints: kept.collect(), ..group.clone() }),
        }
    }
    Some(Arc::new(merged))
}

fn listed<'a>(
    config: &'a config::Cluster,
    assignment: Option<&'a ClusterLoadAssignment>,
) -> Option<&'a ClusterLoadAssignment> {
    match &config.discovery {
        Discovery::Static(listed) | Discovery::LogicalDns { endpoints: listed, .. } => Some(listed),
        Discovery::Eds { .. } | Discovery::StrictDns { .. } => assignment,
        Discovery::OriginalDst => None,
    }
}

/// Whether connections made under `a` serve `b` as well.
fn same_transport(a: &config::Cluster, b: &config::Cluster) -> bool {
    a.connect_timeout == b.connect_timeout
        && a.protocol == b.protocol
        && a.http == b.http
        && a.http2 == b.http2
        && a.tcp_keepalive == b.tcp_keepalive
}

/// Hosts of a pass-through cluster, made when a caller names them.
#[derive(Debug, Default)]
struct OriginalDestinations(Mutex<HashMap<Address, Host>>);

/// Beyond this many, hosts that nobody is using are forgotten.
const MOST_IDLE_DESTINATIONS: usize = 1024;

impl OriginalDestinations {
    fn host(&self, address: &Address) -> Host {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(address) {
            return host.clone();
        }
        if hosts.len() >= MOST_IDLE_DESTINATIONS {
            hosts.retain(|_, host| host.state.active() > 0);
        }
        let endpoint = Endpoint {
            address: address.clone(),
            hostname: String::new(),
            weight: 1,
            health: HealthStatus::Unknown,
            metadata: Metadata::new(),
        };
        let host = Host {
            endpoint: Arc::new(endpoint),
            state: Arc::new(EndpointState::default()),
            transport: Arc::new(Transport::default()),
        };
        hosts.insert(address.clone(), host.clone());
        host
    }
}

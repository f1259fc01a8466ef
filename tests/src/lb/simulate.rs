//! A cluster in the engine alone: its hosts are numbered from 1 in the order given, as in the recordings.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_core::engine::load_balancing::PickFor;
use mesh_core::engine::random::Random;
use mesh_core::resource::cluster::{Cluster, Discovery};
use mesh_core::resource::endpoint::{Address, ClusterLoadAssignment, Endpoint, HealthStatus};
use mesh_core::resource::metadata::Metadata;
use mesh_core::resource::route::RouteConfiguration;
use mesh_core::snapshot::{self, Snapshot};
use mesh_core::state::Lane;

/// A cluster, and chance.
#[derive(Debug)]
pub struct Simulation {
    /// The cluster in force.
    pub cluster: Arc<snapshot::Cluster>,
    /// What is drawn from.
    pub random: Random,
}

impl Simulation {
    /// Puts a cluster with these endpoints in force.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn new(endpoints: ClusterLoadAssignment, configure: impl FnOnce(&mut Cluster)) -> Self {
        let mut config = Cluster::new("c", Discovery::Static(endpoints));
        configure(&mut config);
        let snapshot = Snapshot::fixed(RouteConfiguration::default(), vec![config], 7).unwrap();
        Self { cluster: Arc::clone(snapshot.cluster_by_name("c").unwrap()), random: Random::from_seed(11) }
    }

    /// The number of the next host, from 1; `None` when there is none.
    pub fn pick(&mut self) -> Option<usize> {
        let balancer = self.cluster.balancer();
        let picked = balancer.pick(PickFor::default(), &mut self.random, Lane::default())?;
        let picked = balancer.host(picked)?;
        Some(balancer.hosts().iter().position(|host| Arc::ptr_eq(&host.state, &picked.state))? + 1)
    }

    /// The shares of the hosts over so many picks: `h1`, `h2`, and `none`.
    pub fn shares(&mut self, picks: u32) -> BTreeMap<String, f64> {
        let mut shares = BTreeMap::new();
        for _ in 0..picks {
            let name = self.pick().map_or_else(|| "none".to_owned(), |number| format!("h{number}"));
            *shares.entry(name).or_default() += 1.0 / f64::from(picks);
        }
        shares
    }

    /// The next hosts as digits.
    pub fn order(&mut self, picks: usize) -> String {
        (0..picks).map(|_| self.pick().map_or_else(|| "X".to_owned(), |number| number.to_string())).collect()
    }
}

/// The endpoint with a number.
#[must_use]
pub fn endpoint(number: u16, health: HealthStatus) -> Endpoint {
    Endpoint {
        address: Address::Socket(([127, 0, 0, 1], 21_000 + number).into()),
        hostname: String::new(),
        weight: 1,
        health,
        metadata: Metadata::new(),
    }
}

/// Whether one order of hosts is the other one, begun at another place. Where turns begin is chance.
#[must_use]
pub fn same_order(recorded: &str, ours: &str) -> Vec<String> {
    let twice = recorded.repeat(2);
    if recorded.len() == ours.len() && twice.contains(ours) {
        return Vec::new();
    }
    vec![format!("order: Envoy {recorded}, ours {ours}")]
}

/// What differs by more than `slack`; what one of them lacks is 0.
#[must_use]
pub fn differ_by(recorded: &BTreeMap<String, f64>, ours: &BTreeMap<String, f64>, slack: f64) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = recorded.keys().chain(ours.keys()).collect();
    let share = |of: &BTreeMap<String, f64>, name: &str| of.get(name).copied().unwrap_or(0.0);
    let line = |name: &&String| {
        let (theirs, ours) = (share(recorded, name), share(ours, name));
        ((theirs - ours).abs() > slack).then(|| format!("share of {name}: Envoy {theirs:.4}, ours {ours:.4}"))
    };
    names.iter().filter_map(line).collect()
}

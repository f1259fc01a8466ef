//! A cluster whose hosts are judged by their answers, in the engine alone: every request has a moment, nothing takes time.

use std::sync::Arc;
use std::time::Duration;

use mesh_core::engine::health_check::CheckOutcome;
use mesh_core::engine::load_balancing::{Health as HostHealth, Host, PickFor};
use mesh_core::engine::outlier_detection::Observation;
use mesh_core::engine::random::Random;
use mesh_core::resource::cluster::{Cluster, Discovery};
use mesh_core::resource::endpoint::{Address, ClusterLoadAssignment, HealthStatus, LocalityEndpoints};
use mesh_core::resource::outlier_detection::OutlierDetection;
use mesh_core::snapshot::health::{Check, Health};
use mesh_core::snapshot::{Change, Compiler, RequestCompat, Update};
use mesh_core::state::{EjectionCause, EjectionCounts, Finding, Lane};

use super::endpoint;

/// A cluster, who watches it, the time and chance.
#[derive(Debug)]
pub struct Watched {
    compiler: Compiler,
    health: Health,
    random: Random,
    now: Duration,
    /// Checks that are due and that nobody made yet.
    checks: Vec<Check>,
}

/// A moment after the cluster was made at which a change of health is in force at once, and off the grid of sweeps.
const SETTLED: Duration = Duration::from_millis(1_507);

impl Watched {
    /// `hosts` of a cluster under round robin, all healthy, some time after the cluster was made.
    #[must_use]
    pub fn new(hosts: u16, settings: OutlierDetection, configure: impl FnOnce(&mut Cluster)) -> Self {
        let mut watched = Self::fresh(hosts, settings, configure);
        watched.advance(SETTLED);
        watched
    }

    /// The same, the moment it was made.
    #[must_use]
    pub fn fresh(hosts: u16, settings: OutlierDetection, configure: impl FnOnce(&mut Cluster)) -> Self {
        let endpoints = (1..=hosts).map(|number| endpoint(number, HealthStatus::Healthy)).collect();
        let group = LocalityEndpoints { endpoints, ..LocalityEndpoints::default() };
        let assignment = ClusterLoadAssignment { localities: vec![group], ..ClusterLoadAssignment::default() };
        let mut config = Cluster::new("c", Discovery::Static(assignment));
        config.outlier_detection = Some(settings);
        configure(&mut config);
        let compiler = Compiler::new(7).with_compat(RequestCompat::envoy());
        let (health, random) = (Health::new(5), Random::from_seed(11));
        let mut watched = Self { compiler, health, random, now: Duration::ZERO, checks: Vec::new() };
        watched.apply(Update { clusters: vec![Change::Set(Arc::new(config))], ..Update::default() });
        watched
    }

    /// The time since the cluster was made.
    #[must_use]
    pub const fn now(&self) -> Duration {
        self.now
    }

    /// Lets time pass, and everything happen that is due on the way.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(due) = self.health.wake_at().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.run();
        }
        self.now = end;
    }

    /// Sends a request, which ends as `ends` says of the host's number. The host; `None` when there was none.
    pub fn request(&mut self, ends: impl FnOnce(usize) -> Observation) -> Option<usize> {
        let cluster = Arc::clone(self.compiler.current().cluster_by_name("c")?);
        let balancer = cluster.balancer();
        let picked = balancer.host(balancer.pick(PickFor::default(), &mut self.random, Lane::default())?)?;
        let number = balancer.hosts().iter().position(|host| Arc::ptr_eq(&host.state, &picked.state))? + 1;
        cluster.monitor()?.observe(cluster.state(), &picked.state, ends(number));
        self.run();
        Some(number)
    }

    /// Requests one after the other at one moment, as digits; `X` where there was no host.
    pub fn order(&mut self, requests: usize, ends: impl Fn(usize) -> Observation) -> String {
        let digit = |host: Option<usize>| host.map_or_else(|| "X".to_owned(), |number| number.to_string());
        (0..requests).map(|_| digit(self.request(&ends))).collect()
    }

    /// How often each host is picked by requests at one moment, by number from 1.
    pub fn hits(&mut self, requests: usize, ends: impl Fn(usize) -> Observation) -> Vec<usize> {
        let hosts = self.compiler.current().cluster_by_name("c").map_or(0, |one| one.balancer().hosts().len());
        let mut hits = vec![0; hosts];
        for _ in 0..requests {
            if let Some(number) = self.request(&ends) {
                hits[number - 1] += 1;
            }
        }
        hits
    }

    /// Puts a change in force.
    pub fn push(&mut self, update: Update) {
        self.apply(update);
    }

    /// Makes the health checks that are due, each of which ends as `ends` says of the host's number. Who was asked.
    pub fn checks(&mut self, ends: impl Fn(usize) -> CheckOutcome) -> Vec<usize> {
        self.run();
        let mut asked = Vec::new();
        for check in std::mem::take(&mut self.checks) {
            let number = number(&check.host);
            asked.push(number);
            let changes = self.health.checked(&check, ends(number), self.now);
            self.made_again(changes.health);
        }
        asked
    }

    /// The hosts that can be picked, by number.
    #[must_use]
    pub fn usable(&self) -> Vec<usize> {
        let Some(cluster) = self.compiler.current().cluster_by_name("c") else { return Vec::new() };
        let balancer = cluster.balancer();
        let mut usable: Vec<usize> =
            balancer.hosts().iter().filter(|host| host.health() == HostHealth::Healthy).map(number).collect();
        usable.sort_unstable();
        usable
    }

    /// The next hosts as digits, without requests.
    pub fn picks(&mut self, picks: usize) -> String {
        let Some(cluster) = self.compiler.current().cluster_by_name("c").map(Arc::clone) else { return String::new() };
        let balancer = cluster.balancer();
        let mut pick =
            || balancer.host(balancer.pick(PickFor::default(), &mut self.random, Lane::default())?).map(number);
        (0..picks).map(|_| pick().map_or_else(|| "X".to_owned(), |number| number.to_string())).collect()
    }

    /// The hosts that are ejected, by number.
    #[must_use]
    pub fn ejected(&self) -> Vec<usize> {
        let cluster = self.compiler.current().cluster_by_name("c");
        let hosts = cluster.map(|one| one.balancer().hosts()).unwrap_or_default();
        (1..).zip(hosts).filter(|(_, host)| host.state.is(Finding::Ejected)).map(|(number, _)| number).collect()
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> EjectionCounts {
        self.compiler.current().cluster_by_name("c").map(|one| one.state().ejections().counts()).unwrap_or_default()
    }

    /// A statistic by the end of Envoy's name for it; `None` for what is not counted here.
    #[must_use]
    pub fn statistic(&self, name: &str) -> Option<u64> {
        let counts = self.counts();
        let cause = |end: &str| EjectionCause::ALL.into_iter().find(|cause| cause.as_str() == end);
        Some(match name {
            "ejections_active" => counts.active,
            "ejections_enforced_total" => counts.enforced_total(),
            "ejections_overflow" => counts.overflow,
            _ => match (name.strip_prefix("ejections_detected_"), name.strip_prefix("ejections_enforced_")) {
                (Some(end), _) => counts.detected_of(cause(end)?),
                (_, Some(end)) => counts.enforced_of(cause(end)?),
                _ => return None,
            },
        })
    }

    fn run(&mut self) {
        let mut changes = self.health.run(self.now);
        self.checks.append(&mut changes.checks);
        self.made_again(changes.health);
    }

    fn made_again(&mut self, health: Vec<mesh_core::resource::Name>) {
        if !health.is_empty() {
            self.apply(Update { health, ..Update::default() });
        }
    }

    fn apply(&mut self, update: Update) {
        let (snapshot, refused) = self.compiler.apply(update);
        debug_assert!(refused.is_empty(), "clusters are not refused");
        let changes = self.health.follow(&snapshot, self.now);
        self.made_again(changes.health);
    }
}

/// The number that [`endpoint`] was given.
fn number(host: &Host) -> usize {
    match host.endpoint.address {
        Address::Socket(address) => usize::from(address.port().saturating_sub(21_000)),
        _ => 0,
    }
}

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::engine::health_check::CheckOutcome;
use crate::engine::outlier_detection::{Bell, Observation};
use crate::resource::cluster::{Cluster as Config, Discovery};
use crate::resource::endpoint::{Address, ClusterLoadAssignment, Endpoint, HealthStatus, LocalityEndpoints};
use crate::resource::health_check::{HealthCheck, HealthChecker, TcpHealthCheck};
use crate::resource::metadata::Metadata;
use crate::resource::outlier_detection::{Enforcing, OutlierDetection};
use crate::snapshot::{Change, Compiler, RequestCompat, Update};
use crate::state::{EjectionCause, Finding};

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// Ejects at the first failure, and nothing else does.
fn strict() -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx: 1,
        interval: S,
        base_ejection_time: S,
        max_ejection_percent: 100,
        enforcing: Enforcing { success_rate: 0, ..Enforcing::default() },
        ..OutlierDetection::default()
    }
}

fn cluster(name: &str, settings: Option<OutlierDetection>) -> Config {
    let discovery = Discovery::Eds { service_name: name.into() };
    let config = Config { outlier_detection: settings, healthy_panic_threshold: 0.0, ..Config::new(name, discovery) };
    Config { update_merge_window: Duration::ZERO, ..config }
}

fn assignment(hosts: &[u16]) -> Arc<ClusterLoadAssignment> {
    let endpoint = |port: &u16| Endpoint {
        address: Address::Socket(([10, 0, 0, 1], *port).into()),
        hostname: String::new(),
        weight: 1,
        health: HealthStatus::Healthy,
        metadata: Metadata::new(),
    };
    let group = LocalityEndpoints { endpoints: hosts.iter().map(endpoint).collect(), ..Default::default() };
    Arc::new(ClusterLoadAssignment { localities: vec![group], ..ClusterLoadAssignment::default() })
}

/// A compiler, what watches its clusters, and their bell.
struct Mesh {
    compiler: Compiler,
    health: Health,
    rings: Arc<AtomicUsize>,
}

impl Mesh {
    fn new(config: Config, hosts: &[u16]) -> Self {
        let rings = Arc::new(AtomicUsize::new(0));
        let ring = Arc::clone(&rings);
        let bell = Bell::new(move || {
            ring.fetch_add(1, Ordering::Relaxed);
        });
        let compiler = Compiler::new(1).with_bell(bell).with_compat(RequestCompat::envoy());
        let mut mesh = Self { compiler, health: Health::new(1), rings };
        mesh.endpoints(&config.name, hosts, Duration::ZERO);
        mesh.push(config, Duration::ZERO);
        mesh
    }

    fn apply(&mut self, update: Update, now: Duration) {
        let (snapshot, refused) = self.compiler.apply(update);
        assert_eq!(refused, []);
        let changes = self.health.follow(&snapshot, now);
        self.publish(&changes, now);
    }

    fn publish(&mut self, changes: &Changes, now: Duration) {
        if !changes.health.is_empty() {
            self.apply(Update { health: changes.health.clone(), ..Update::default() }, now);
        }
    }

    fn push(&mut self, config: Config, now: Duration) {
        self.apply(Update { clusters: vec![Change::Set(Arc::new(config))], ..Update::default() }, now);
    }

    fn endpoints(&mut self, name: &str, hosts: &[u16], now: Duration) {
        self.apply(Update { endpoints: vec![(name.into(), Some(assignment(hosts)))], ..Update::default() }, now);
    }

    fn run(&mut self, now: Duration) -> Changes {
        let changes = self.health.run(now);
        self.publish(&changes, now);
        changes
    }

    fn fail(&mut self, name: &str, port: u16, now: Duration) -> Changes {
        let cluster = Arc::clone(self.compiler.current().cluster_by_name(name).unwrap());
        let host = cluster.balancer().hosts().iter().find(|host| host.endpoint.address == address(port)).unwrap();
        cluster.monitor().unwrap().observe(cluster.state(), &host.state, Observation::Status(500));
        self.run(now)
    }

    /// The ports that can be picked.
    fn usable(&self, name: &str) -> Vec<String> {
        let cluster = self.compiler.current().cluster_by_name(name).unwrap();
        let balancer = cluster.balancer();
        let port = |address: &Address| address.to_string().rsplit_once(':').unwrap().1.to_owned();
        balancer.eligible().iter().map(|at| port(&balancer.host(*at).unwrap().endpoint.address)).collect()
    }
}

fn address(port: u16) -> Address {
    Address::Socket(([10, 0, 0, 1], port).into())
}

#[test]
fn a_host_is_ejected_by_its_answers_and_returns_in_a_sweep() {
    let mut mesh = Mesh::new(cluster("c", Some(strict())), &[1, 2]);
    assert_eq!((mesh.usable("c"), mesh.health.wake_at()), (vec!["1".into(), "2".into()], Some(S)));
    let cause = EjectionCause::Consecutive5xx;
    let changes = mesh.fail("c", 1, S / 2);
    assert_eq!(mesh.rings.load(Ordering::Relaxed), 1);
    assert_eq!(changes.ejections, [("c".into(), Effect::Ejected { address: address(1), cause })]);
    assert_eq!(mesh.usable("c"), ["2"]);
    // The ejection lasts a second, which is over in the second sweep only.
    assert_eq!(mesh.run(S).ejections, []);
    assert_eq!(mesh.usable("c"), ["2"]);
    assert_eq!(mesh.run(2 * S).ejections, [("c".into(), Effect::Returned { address: address(1) })]);
    assert_eq!(mesh.usable("c"), ["1", "2"]);
}

#[test]
fn pushes_that_do_not_touch_it_lose_no_ejection_and_no_row() {
    let mut config = cluster("c", Some(OutlierDetection { consecutive_5xx: 3, ..strict() }));
    let mut mesh = Mesh::new(config.clone(), &[1, 2, 3]);
    for _ in 0..3 {
        mesh.fail("c", 1, S / 4);
    }
    mesh.fail("c", 2, S / 4);
    for push in 0..1_000u32 {
        config.circuit_breakers.default.max_requests = push;
        mesh.push(config.clone(), S / 2);
        mesh.push(cluster(&format!("other-{}", push % 7), Some(strict())), S / 2);
        mesh.endpoints("c", if push % 2 == 0 { &[3, 2, 1, 4] } else { &[1, 2, 3] }, S / 2);
        mesh.run(S / 2);
    }
    assert_eq!(mesh.usable("c"), ["2", "3"], "ejected it stays");
    mesh.fail("c", 2, S / 2);
    mesh.fail("c", 2, 3 * S);
    assert_eq!(mesh.usable("c"), ["1", "3"], "the row of three went on; the first one is back since a sweep");
}

#[test]
fn other_settings_or_none_give_hosts_back_and_a_host_that_comes_again_is_new() {
    let now = S / 2;
    let mut mesh = Mesh::new(cluster("c", Some(strict())), &[1, 2, 3]);
    mesh.fail("c", 1, now);
    assert_eq!(mesh.usable("c"), ["2", "3"]);
    mesh.push(cluster("c", Some(OutlierDetection { consecutive_5xx: 2, ..strict() })), 3 * S);
    assert_eq!(mesh.usable("c"), ["1", "2", "3"], "judged anew by other settings");
    mesh.fail("c", 1, 3 * S);
    mesh.fail("c", 1, 5 * S);
    assert_eq!(mesh.usable("c"), ["2", "3"]);
    mesh.push(cluster("c", None), 8 * S);
    assert_eq!((mesh.usable("c"), mesh.health.wake_at()), (vec!["1".into(), "2".into(), "3".into()], None));
    let mut mesh = Mesh::new(cluster("c", Some(strict())), &[1, 2, 3]);
    mesh.fail("c", 1, now);
    mesh.endpoints("c", &[2, 3], now);
    mesh.endpoints("c", &[1, 2, 3], now);
    assert_eq!(mesh.usable("c"), ["1", "2", "3"], "removed and added");
}

#[test]
fn the_first_change_is_in_force_at_once_and_those_that_follow_soon_together() {
    let settings = OutlierDetection { base_ejection_time: 100 * S, interval: 100 * S, ..strict() };
    let gathering = Config { update_merge_window: S, ..cluster("c", Some(settings.clone())) };
    let mut mesh = Mesh::new(gathering.clone(), &[1, 2, 3, 4]);
    mesh.fail("c", 1, 10 * S);
    assert_eq!(mesh.usable("c"), ["2", "3", "4"]);
    mesh.fail("c", 2, 10 * S + 10 * MS);
    mesh.fail("c", 3, 10 * S + 500 * MS);
    assert_eq!(mesh.usable("c"), ["2", "3", "4"], "held back");
    let host = Arc::clone(&mesh.compiler.current().cluster_by_name("c").unwrap().balancer().hosts()[1].state);
    assert!(host.is(Finding::Ejected), "known all the same");
    assert_eq!(mesh.health.wake_at(), Some(11 * S + 10 * MS), "counted from the first that is held back");
    mesh.run(11 * S + 9 * MS);
    assert_eq!(mesh.usable("c"), ["2", "3", "4"]);
    mesh.run(11 * S + 10 * MS);
    assert_eq!(mesh.usable("c"), ["4"]);
    // A window of zero holds nothing back; what is pushed meanwhile shows what was held back.
    let mut mesh = Mesh::new(cluster("c", Some(settings)), &[1, 2, 3]);
    mesh.fail("c", 1, S);
    mesh.fail("c", 2, S);
    assert_eq!(mesh.usable("c"), ["3"]);
    let mut mesh = Mesh::new(gathering, &[1, 2, 3]);
    mesh.fail("c", 1, 2 * S);
    mesh.fail("c", 2, 2 * S);
    mesh.endpoints("c", &[1, 2, 3, 4], 2 * S);
    assert_eq!((mesh.usable("c"), mesh.health.wake_at()), (vec!["3".into(), "4".into()], Some(100 * S)));
    // And opens a window, as in Envoy.
    mesh.fail("c", 3, 2 * S + 10 * MS);
    assert_eq!(mesh.usable("c"), ["3", "4"]);
}

#[test]
fn one_host_is_ejected_beyond_the_share_unless_envoys_way_is_asked_for() {
    let settings = OutlierDetection { max_ejection_percent: 10, ..strict() };
    for (compat, expected) in [(RequestCompat::envoy(), vec!["1", "2"]), (RequestCompat::default(), vec!["2"])] {
        let mut mesh = Mesh::new(cluster("unused", None), &[]);
        mesh.compiler = Compiler::new(1).with_compat(compat);
        mesh.endpoints("c", &[1, 2], Duration::ZERO);
        mesh.push(cluster("c", Some(settings.clone())), Duration::ZERO);
        mesh.fail("c", 1, S / 2);
        assert_eq!(mesh.usable("c"), expected);
    }
}

#[test]
fn a_cluster_that_goes_is_forgotten() {
    let mut mesh = Mesh::new(cluster("c", Some(strict())), &[1, 2]);
    mesh.fail("c", 1, S / 2);
    mesh.fail("c", 2, S / 2);
    mesh.apply(Update { clusters: vec![Change::Remove("c".into())], ..Update::default() }, S);
    assert_eq!(mesh.health.wake_at(), None);
    let changes = mesh.run(100 * S);
    assert!(changes.health.is_empty() && changes.ejections.is_empty(), "{changes:?}");
}

const PASSED: CheckOutcome = CheckOutcome::Passed { degraded: false };

fn checked(name: &str) -> Config {
    let check = HealthCheck {
        timeout: S,
        interval: S,
        initial_jitter: Duration::ZERO,
        interval_jitter: Duration::ZERO,
        interval_jitter_percent: 0,
        unhealthy_threshold: 1,
        healthy_threshold: 1,
        alt_port: None,
        reuse_connection: true,
        no_traffic_interval: S,
        no_traffic_healthy_interval: None,
        unhealthy_interval: S,
        unhealthy_edge_interval: S,
        healthy_edge_interval: S,
        checker: HealthChecker::Tcp(TcpHealthCheck::default()),
    };
    Config { health_check: Some(Arc::new(check)), ..cluster(name, None) }
}

impl Mesh {
    /// Makes the checks that are due; those of `failing` ports fail. Which ports were asked.
    fn check(&mut self, failing: &[u16], now: Duration) -> Vec<Address> {
        let checks = self.run(now).checks;
        let asked = checks.iter().map(|check| check.host.endpoint.address.clone()).collect();
        for check in checks {
            let fails = failing.iter().any(|port| address(*port) == check.host.endpoint.address);
            let changes = self.health.checked(&check, if fails { CheckOutcome::Unwell } else { PASSED }, now);
            self.publish(&changes, now);
        }
        asked
    }
}

#[test]
fn a_new_host_is_unhealthy_until_its_first_check_or_left_out() {
    for ignored in [false, true] {
        let config = Config { ignore_new_hosts_until_first_hc: ignored, ..checked("c") };
        let mut mesh = Mesh::new(config, &[1, 2]);
        assert_eq!((mesh.usable("c"), mesh.health.unchecked().map(|name| &**name)), (vec![], Some("c")));
        let host = Arc::clone(&mesh.compiler.current().cluster_by_name("c").unwrap().balancer().hosts()[0].state);
        assert_eq!(host.is(Finding::Unchecked), ignored);
        assert_eq!(mesh.check(&[2], Duration::ZERO).len(), 2);
        assert_eq!((mesh.usable("c"), mesh.health.unchecked()), (vec!["1".into()], None));
        assert!(!host.is(Finding::Unchecked));
        // Nobody is asked before the interval has passed, and only once at a time.
        assert_eq!(mesh.check(&[], S / 2), []);
        let under_way = mesh.run(S).checks;
        assert_eq!((under_way.len(), mesh.check(&[], 2 * S).len()), (2, 0));
        for check in under_way {
            let changes = mesh.health.checked(&check, PASSED, 2 * S);
            mesh.publish(&changes, 2 * S);
        }
        assert_eq!(mesh.usable("c"), ["1", "2"]);
    }
}

#[test]
fn a_removed_host_that_passes_its_checks_is_kept_until_it_fails_one() {
    let mut mesh = Mesh::new(checked("c"), &[1, 2, 3]);
    mesh.check(&[2], Duration::ZERO);
    assert_eq!(mesh.usable("c"), ["1", "3"]);
    mesh.endpoints("c", &[4], S / 2);
    assert_eq!(mesh.usable("c"), ["1", "3"], "2 failed, 4 was not asked yet");
    mesh.check(&[], S);
    assert_eq!(mesh.usable("c").len(), 3);
    mesh.push(Config { connect_timeout: 9 * S, ..checked("c") }, S);
    assert_eq!(mesh.usable("c").len(), 3, "other settings do not forget it");
    mesh.check(&[3], 2 * S);
    assert_eq!(mesh.usable("c").len(), 2);
    mesh.check(&[1], 3 * S);
    assert_eq!(mesh.usable("c"), ["4"]);
    let hosts = mesh.compiler.current().cluster_by_name("c").unwrap().balancer().hosts().len();
    assert_eq!(hosts, 1, "who fails a check is gone");
    let mut mesh = Mesh::new(Config { ignore_health_on_host_removal: true, ..checked("c") }, &[1, 2]);
    mesh.check(&[], Duration::ZERO);
    mesh.endpoints("c", &[2], S / 2);
    assert_eq!(mesh.usable("c"), ["2"]);
}

#[test]
fn checks_survive_pushes_and_end_with_their_cluster() {
    let mut mesh = Mesh::new(checked("c"), &[1, 2]);
    mesh.check(&[1], Duration::ZERO);
    for push in 0..1_000u32 {
        let mut config = checked("c");
        config.circuit_breakers.default.max_requests = push;
        mesh.push(config, S / 2);
        mesh.endpoints("c", if push % 2 == 0 { &[2, 1] } else { &[1, 2] }, S / 2);
    }
    assert_eq!((mesh.usable("c"), mesh.check(&[1], S / 2).len()), (vec!["2".into()], 0), "nobody is asked anew");
    // Without checks nobody fails them.
    mesh.push(cluster("c", None), S);
    assert_eq!((mesh.usable("c").len(), mesh.health.wake_at()), (2, None));
    // Who is in use when checks begin stays so until one fails.
    mesh.push(checked("c"), S);
    assert_eq!(mesh.usable("c").len(), 2);
    mesh.check(&[1], S);
    assert_eq!(mesh.usable("c"), ["2"]);
    let late = mesh.run(2 * S).checks;
    mesh.apply(Update { clusters: vec![Change::Remove("c".into())], ..Update::default() }, 2 * S);
    assert!(mesh.health.checked(&late[0], PASSED, 2 * S).health.is_empty(), "an answer that nobody waits for");
}

#[test]
fn a_passing_check_brings_an_ejected_host_back() {
    let settings = OutlierDetection { base_ejection_time: 100 * S, ..strict() };
    let mut mesh = Mesh::new(Config { outlier_detection: Some(settings), ..checked("c") }, &[1, 2]);
    mesh.check(&[], Duration::ZERO);
    mesh.fail("c", 1, S / 2);
    assert_eq!(mesh.usable("c"), ["2"]);
    mesh.check(&[], S);
    assert_eq!(mesh.usable("c").len(), 2);
}

//! Health checks: when hosts are asked, and what their answers make of them.

use std::sync::Arc;
use std::time::Duration;

use mesh_core::engine::health_check::CheckOutcome;
use mesh_core::engine::outlier_detection::Observation;
use mesh_core::resource::cluster::{Cluster, Discovery};
use mesh_core::resource::endpoint::{ClusterLoadAssignment, HealthStatus, LocalityEndpoints};
use mesh_core::resource::health_check::{HealthCheck, HealthChecker, TcpHealthCheck};
use mesh_core::resource::outlier_detection::OutlierDetection;
use mesh_core::snapshot::Update;
use mesh_tests::lb::{Case, Watched, endpoint, same_order};

const S: Duration = Duration::from_secs(1);
const PASSED: CheckOutcome = CheckOutcome::Passed { degraded: false };

fn check() -> HealthCheck {
    HealthCheck {
        timeout: S,
        interval: S,
        initial_jitter: Duration::ZERO,
        interval_jitter: Duration::ZERO,
        interval_jitter_percent: 0,
        unhealthy_threshold: 3,
        healthy_threshold: 2,
        alt_port: None,
        reuse_connection: true,
        no_traffic_interval: S,
        no_traffic_healthy_interval: None,
        unhealthy_interval: S,
        unhealthy_edge_interval: S,
        healthy_edge_interval: S,
        checker: HealthChecker::Tcp(TcpHealthCheck::default()),
    }
}

/// Hosts whose service discovery may change, and whose checks end as a test says.
fn hosts(hosts: &[u16], check: HealthCheck, configure: impl FnOnce(&mut Cluster)) -> Watched {
    let mut watched = Watched::fresh(0, OutlierDetection::default(), |cluster| {
        cluster.discovery = Discovery::Eds { service_name: "c".into() };
        cluster.health_check = Some(Arc::new(check));
        cluster.healthy_panic_threshold = 0.0;
        configure(cluster);
    });
    listed(&mut watched, hosts, &[]);
    watched
}

/// What service discovery says now.
fn listed(watched: &mut Watched, hosts: &[u16], unhealthy: &[u16]) {
    let health = |host: &u16| if unhealthy.contains(host) { HealthStatus::Unhealthy } else { HealthStatus::Healthy };
    let endpoints = hosts.iter().map(|host| endpoint(*host, health(host))).collect();
    let group = LocalityEndpoints { endpoints, ..LocalityEndpoints::default() };
    let assignment = ClusterLoadAssignment { localities: vec![group], ..ClusterLoadAssignment::default() };
    watched.push(Update { endpoints: vec![("c".into(), Some(Arc::new(assignment)))], ..Update::default() });
}

fn differs(what: &str, recorded: u64, ours: usize) -> Vec<String> {
    (recorded != ours as u64).then(|| format!("{what}: Envoy {recorded}, ours {ours}")).into_iter().collect()
}

/// When the only host is asked within seven seconds without a request; times may differ by the start.
pub(super) fn without_traffic(case: &Case) -> Vec<String> {
    let waits = if case.name == "hc_nt" { 2 * S } else { 60 * S };
    let mut watched = hosts(&[1], HealthCheck { interval: S / 2, no_traffic_interval: waits, ..check() }, |_| {});
    let mut ours = Vec::new();
    while watched.now() < 7 * S {
        for _ in watched.checks(|_| PASSED) {
            ours.push(u64::try_from(watched.now().as_millis()).unwrap());
        }
        watched.advance(Duration::from_millis(10));
    }
    if case.name == "hc_ntdef_after_request" {
        // A wait that has begun is not cut short by traffic.
        watched.request(|_| Observation::Status(200));
        for _ in 0..300 {
            ours.extend(watched.checks(|_| PASSED).iter().map(|_| 7_000));
            watched.advance(Duration::from_millis(10));
        }
    }
    let theirs: Vec<u64> =
        case.observed["check_times_ms"].as_array().unwrap().iter().map(|time| time.as_u64().unwrap()).collect();
    let near =
        theirs.len() == ours.len() && theirs.iter().zip(&ours).all(|(theirs, ours)| theirs.abs_diff(*ours) < 200);
    (!near).then(|| format!("checks: Envoy {theirs:?}, ours {ours:?}")).into_iter().collect()
}

/// How many checks it takes until the only host can (not) be picked.
fn until(watched: &mut Watched, outcome: CheckOutcome, usable: bool) -> usize {
    for count in 1..=10 {
        watched.checks(|_| outcome);
        watched.advance(2 * S);
        if watched.usable().is_empty() != usable {
            return count;
        }
    }
    0
}

pub(super) fn wrong_answer(case: &Case) -> Vec<String> {
    let mut watched = hosts(&[1], check(), |_| {});
    until(&mut watched, PASSED, true);
    let failing = until(&mut watched, CheckOutcome::Unwell, false);
    let passing = until(&mut watched, PASSED, true);
    let number = |field: &str| case.observed[field].as_u64().unwrap();
    let mut lines = differs("until unhealthy", number("failing_checks_until_unhealthy"), failing);
    lines.extend(differs("until healthy", number("passing_checks_until_healthy"), passing));
    lines
}

pub(super) fn no_answer(case: &Case) -> Vec<String> {
    let mut watched = hosts(&[1], check(), |_| {});
    until(&mut watched, PASSED, true);
    let failing = until(&mut watched, CheckOutcome::Unreachable, false);
    differs("until unhealthy", case.observed["failing_checks_until_unhealthy"].as_u64().unwrap(), failing)
}

pub(super) fn passing_check_ends_an_ejection(case: &Case) -> Vec<String> {
    let settings = OutlierDetection {
        consecutive_5xx: 2,
        base_ejection_time: 30 * S,
        max_ejection_percent: 100,
        ..OutlierDetection::default()
    };
    let mut watched = hosts(&[1, 2], check(), |cluster| cluster.outlier_detection = Some(settings));
    watched.checks(|_| PASSED);
    watched.advance(S * 3 / 2);
    watched.hits(12, |host| if host == 1 { Observation::Status(500) } else { Observation::Status(200) });
    let mut ours = vec![watched.ejected()];
    watched.advance(S / 2);
    watched.checks(|_| PASSED);
    ours.push(watched.ejected());
    let theirs: Vec<Vec<usize>> = case.observed["unhealthy_over_time_ms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one[1].as_array().unwrap().iter().map(|host| host.as_str().unwrap()[1..].parse().unwrap()).collect())
        .collect();
    (theirs != ours).then(|| format!("ejected: Envoy {theirs:?}, ours {ours:?}")).into_iter().collect()
}

/// Service discovery says that one is unhealthy, and forgets another one, which passes its checks.
pub(super) fn with_discovery(case: &Case) -> Vec<String> {
    let mut watched = hosts(&[1, 2, 3], check(), |_| {});
    watched.checks(|_| PASSED);
    watched.advance(3 * S);
    listed(&mut watched, &[1, 2], &[1]);
    watched.checks(|_| PASSED);
    watched.advance(S);
    let recorded = case.observed["order"].as_str().unwrap();
    let order = watched.picks(recorded.len());
    let mut lines = same_order(recorded, &order);
    watched.checks(|host| if host == 3 { CheckOutcome::Unwell } else { PASSED });
    watched.advance(2 * S);
    lines.extend(differs("hosts that are left", 1, watched.usable().len()));
    lines
}

pub(super) fn removed_at_once(_: &Case) -> Vec<String> {
    let mut watched = hosts(&[1, 2], check(), |cluster| cluster.ignore_health_on_host_removal = true);
    watched.checks(|_| PASSED);
    watched.advance(3 * S);
    listed(&mut watched, &[2], &[]);
    (watched.usable() != [2]).then(|| format!("hosts: {:?}", watched.usable())).into_iter().collect()
}

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode};

use super::*;
use crate::engine::random::Random;
use crate::engine::retry::{Outcome, Reset};
use crate::resource::endpoint::Address;
use crate::resource::outlier_detection::{Enforcing, OutlierDetection};
use crate::state::{ClusterState, EjectionCause, EndpointState, Finding, Origin, Streak};

const S: Duration = Duration::from_secs(1);

/// Hosts of one cluster with everything that watches them.
struct Mesh {
    monitor: Monitor,
    cluster: Arc<ClusterState>,
    hosts: Vec<Arc<EndpointState>>,
    detector: Detector,
    random: Random,
    rings: Arc<AtomicUsize>,
}

impl Mesh {
    fn new(hosts: usize, config: OutlierDetection) -> Self {
        let rings = Arc::new(AtomicUsize::new(0));
        let ring = Arc::clone(&rings);
        let bell = Bell::new(move || {
            ring.fetch_add(1, Ordering::Relaxed);
        });
        let cluster = Arc::new(ClusterState::default());
        let mut mesh = Self {
            monitor: Monitor::new(&config, bell),
            detector: Detector::new(config, false, Arc::clone(&cluster), Duration::ZERO),
            cluster,
            hosts: (0..hosts).map(|_| Arc::default()).collect(),
            random: Random::from_seed(1),
            rings,
        };
        mesh.follow();
        mesh
    }

    fn follow(&mut self) -> bool {
        let addresses: Vec<_> = (0..self.hosts.len()).map(address).collect();
        self.detector.follow(addresses.iter().zip(&self.hosts))
    }

    fn see(&self, host: usize, observation: Observation) {
        self.monitor.observe(&self.cluster, &self.hosts[host], observation);
    }

    /// Failures in a row, and what comes of them.
    fn fail(&mut self, host: usize, times: usize, now: Duration) -> Vec<Effect> {
        (0..times).for_each(|_| self.see(host, Observation::Status(500)));
        if self.detector.is_called() { self.detector.detected(now, &mut self.random) } else { Vec::new() }
    }

    fn sweep(&mut self, now: Duration) -> Vec<Effect> {
        self.detector.sweep(now, &mut self.random)
    }

    fn ejected(&self) -> Vec<usize> {
        (0..self.hosts.len()).filter(|at| self.hosts[*at].is(Finding::Ejected)).collect()
    }

    fn answers(&self, host: usize, good: usize, requests: usize) {
        (0..requests).for_each(|n| self.see(host, Observation::Status(if n < good { 200 } else { 500 })));
    }
}

fn address(at: usize) -> Address {
    Address::Socket(([10, 0, 0, 1], u16::try_from(at).unwrap()).into())
}

fn ejected(at: usize, cause: EjectionCause) -> Effect {
    Effect::Ejected { address: address(at), cause }
}

/// Rows of so many failures and nothing else, so that a test is about one thing.
fn rows(limit: u32) -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx: limit,
        interval: S,
        base_ejection_time: S,
        max_ejection_percent: 100,
        enforcing: Enforcing { success_rate: 0, ..Enforcing::default() },
        ..OutlierDetection::default()
    }
}

fn rates_only() -> OutlierDetection {
    OutlierDetection { consecutive_gateway_failure: 0, ..rows(0) }
}

#[test]
fn outcomes_are_seen_as_envoys_table_says() {
    let none = HeaderMap::new();
    let response = |status: u16| Outcome::Response { status: StatusCode::from_u16(status).unwrap(), headers: &none };
    for (outcome, expected) in [
        (response(200), Some(Observation::Status(200))),
        (response(503), Some(Observation::Status(503))),
        (Outcome::Reset(Reset::ConnectFailure), Some(Observation::Failed)),
        (Outcome::Reset(Reset::ConnectionTermination { request_sent: true }), Some(Observation::Failed)),
        (Outcome::Reset(Reset::RemoteReset), Some(Observation::Failed)),
        (Outcome::Reset(Reset::RemoteRefused), Some(Observation::Failed)),
        (Outcome::Reset(Reset::ProtocolError), Some(Observation::Failed)),
        (Outcome::Reset(Reset::ConnectTimeout), Some(Observation::TimedOut)),
        (Outcome::TryTimeout, Some(Observation::TimedOut)),
        (Outcome::Reset(Reset::Overflow), None),
    ] {
        assert_eq!(Observation::of(&outcome, false), expected, "{outcome:?}");
    }
}

#[test]
fn a_grpc_status_in_the_headers_counts_as_the_http_status_that_it_stands_for() {
    let table =
        [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401, /* undefined */ 500];
    let name = HeaderName::from_static("grpc-status");
    for (code, expected) in table.into_iter().enumerate() {
        let headers = HeaderMap::from_iter([(name.clone(), code.into())]);
        let outcome = Outcome::Response { status: StatusCode::OK, headers: &headers };
        assert_eq!(Observation::of(&outcome, true), Some(Observation::Status(expected)), "{code}");
        assert_eq!(Observation::of(&outcome, false), Some(Observation::Status(200)), "a caller who speaks no gRPC");
    }
    let headers = HeaderMap::from_iter([(name, "x".parse().unwrap())]);
    let outcome = Outcome::Response { status: StatusCode::OK, headers: &headers };
    assert_eq!(Observation::of(&outcome, true), Some(Observation::Status(200)));
}

/// Letters: g 502, f 500, o 200, n 404, x no answer, t too late, c connected.
fn detections(letters: &str, config: &OutlierDetection) -> [u32; 3] {
    let mesh = Mesh::new(1, config.clone());
    for letter in letters.chars() {
        let observation = match letter {
            'g' => Observation::Status(502),
            'f' => Observation::Status(500),
            'o' => Observation::Status(200),
            'n' => Observation::Status(404),
            'x' => Observation::Failed,
            't' => Observation::TimedOut,
            _ => Observation::Connected,
        };
        mesh.see(0, observation);
    }
    Streak::ALL.map(|streak| mesh.hosts[0].outcomes().take_detected(streak))
}

#[test]
fn rows_of_failures_are_counted_and_ended_as_envoy_does() {
    let config = OutlierDetection {
        consecutive_5xx: 3,
        consecutive_gateway_failure: 2,
        consecutive_local_origin_failure: 2,
        ..OutlierDetection::default()
    };
    let split = OutlierDetection { split_external_local_origin_errors: true, ..config.clone() };
    // Gateway failures, 5xx, local origin; then the same with our own failures told apart.
    for (letters, joint, apart) in [
        ("ff", [0, 0, 0], [0, 0, 0]),
        ("fff", [0, 1, 0], [0, 1, 0]),
        // The row starts anew after each detection.
        ("ffffff", [0, 2, 0], [0, 2, 0]),
        ("ffoff", [0, 0, 0], [0, 0, 0]),
        ("ffnff", [0, 0, 0], [0, 0, 0]),
        ("gg", [1, 0, 0], [1, 0, 0]),
        // A gateway failure is a 5xx as well.
        ("ggf", [1, 1, 0], [1, 1, 0]),
        // A different 5xx ends the row of gateway failures only.
        ("gfg", [0, 1, 0], [0, 1, 0]),
        ("gog", [0, 0, 0], [0, 0, 0]),
        // Failures of our own are a 503 and a 504, unless they are told apart.
        ("xt", [1, 0, 0], [0, 0, 1]),
        ("xtx", [1, 1, 0], [0, 0, 1]),
        ("xxxx", [2, 1, 0], [0, 0, 2]),
        // A connection proves that the host can be reached; it says nothing about answers.
        ("xcx", [1, 0, 0], [0, 0, 0]),
        ("xcfx", [0, 1, 0], [0, 0, 0]),
        // So a host that connects and never answers does not stand out by failures of our own in a row, as in Envoy.
        ("ctctct", [1, 1, 0], [0, 0, 0]),
        ("fcfcf", [0, 1, 0], [0, 1, 0]),
        // What we fail to send does not end a row of bad answers.
        ("ffxf", [0, 1, 0], [0, 1, 0]),
    ] {
        assert_eq!(detections(letters, &config), joint, "{letters}");
        assert_eq!(detections(letters, &split), apart, "{letters}, told apart");
    }
}

#[test]
fn a_limit_of_zero_is_none() {
    assert_eq!(detections(&"f".repeat(100), &rates_only()), [0, 0, 0]);
}

#[test]
fn a_list_of_errors_replaces_5xx() {
    let config = OutlierDetection { errors: Some(vec![404..405, 500..502]), ..rows(2) };
    assert_eq!(detections("nn", &config)[1], 1);
    assert_eq!(detections("nf", &config)[1], 1);
    assert_eq!(detections("gg", &config), [0, 0, 0], "502 is not on the list");
}

#[test]
fn the_bell_rings_once_until_somebody_looks() {
    let mesh = Mesh::new(2, rows(1));
    assert!(!mesh.detector.is_called());
    mesh.see(0, Observation::Status(500));
    mesh.see(1, Observation::Status(500));
    assert_eq!(mesh.rings.load(Ordering::Relaxed), 1);
    assert!(mesh.detector.is_called() && !mesh.detector.is_called());
    mesh.see(0, Observation::Status(500));
    assert_eq!(mesh.rings.load(Ordering::Relaxed), 2);
}

#[test]
fn a_host_is_ejected_once_and_returns_in_a_sweep_only() {
    let mut mesh = Mesh::new(2, rows(5));
    assert_eq!(mesh.fail(0, 4, S / 2), []);
    assert_eq!(mesh.fail(0, 1, S / 2), [ejected(0, EjectionCause::Consecutive5xx)]);
    assert_eq!(mesh.fail(0, 50, S / 2), [], "an ejected host is not detected again");
    assert_eq!(mesh.ejected(), [0]);
    assert_eq!(mesh.sweep(S), [], "it is out for half a second only");
    assert_eq!(mesh.sweep(2 * S), [Effect::Returned { address: address(0) }]);
    assert_eq!(mesh.ejected(), []);
    assert_eq!(mesh.fail(0, 4, 2 * S), [], "every row starts anew");
    let counts = mesh.cluster.ejections().counts();
    assert_eq!((counts.active, counts.enforced_total(), counts.overflow), (0, 1, 0));
    assert_eq!(counts.detected_of(EjectionCause::Consecutive5xx), 1);
}

/// Sweeps until host 0 is back.
fn absence(mesh: &mut Mesh) -> usize {
    let mut sweeps = 0;
    while mesh.ejected().contains(&0) {
        let next = mesh.detector.next_sweep();
        mesh.sweep(next);
        sweeps += 1;
    }
    sweeps
}

/// Sweeps of absence of a host that fails a moment after each that let it return.
fn absences(config: OutlierDetection, ejections: usize) -> Vec<usize> {
    let mut mesh = Mesh::new(2, config);
    let mut last = Duration::ZERO;
    let mut absences = Vec::new();
    for _ in 0..ejections {
        assert_eq!(mesh.fail(0, 1, last + S / 50).len(), 1);
        absences.push(absence(&mut mesh));
        last = mesh.detector.next_sweep() - S;
    }
    absences
}

#[test]
fn absences_grow_by_the_base_up_to_the_longest_and_end_with_a_sweep() {
    let config = OutlierDetection { max_ejection_time: 3 * S, ..rows(1) };
    assert_eq!(absences(config, 5), [2, 3, 4, 4, 4]);
    let config = OutlierDetection { base_ejection_time: 3 * S / 2, max_ejection_time: 300 * S, ..rows(1) };
    assert_eq!(absences(config, 5), [2, 4, 5, 7, 8]);
}

#[test]
fn every_healthy_sweep_takes_one_step_back() {
    let config = OutlierDetection { max_ejection_time: 300 * S, ..rows(1) };
    // After three ejections, so many healthy sweeps: how long is the next absence?
    for (healthy, expected) in [(0, 5), (1, 4), (2, 3), (3, 2), (10, 2)] {
        let mut mesh = Mesh::new(2, config.clone());
        for _ in 0..3 {
            let begins = mesh.detector.next_sweep() - S;
            mesh.fail(0, 1, begins + S / 50);
            absence(&mut mesh);
        }
        for _ in 0..healthy {
            let next = mesh.detector.next_sweep();
            mesh.sweep(next);
        }
        let begins = mesh.detector.next_sweep() - S;
        mesh.fail(0, 1, begins + S / 50);
        assert_eq!(absence(&mut mesh), expected, "{healthy} healthy sweeps");
    }
}

#[test]
fn the_share_that_may_be_ejected_is_exact() {
    for (hosts, percent, expected) in
        [(9, 10, 0), (10, 10, 1), (20, 10, 2), (2, 50, 1), (2, 49, 0), (3, 100, 3), (3, 0, 0), (1, 99, 0)]
    {
        let mut mesh = Mesh::new(hosts, OutlierDetection { max_ejection_percent: percent, ..rows(2) });
        (0..hosts).for_each(|at| drop(mesh.fail(at, 2, S)));
        let counts = mesh.cluster.ejections().counts();
        assert_eq!(mesh.ejected().len(), expected, "{percent} % of {hosts}");
        assert_eq!((counts.active, counts.overflow), (expected as u64, (hosts - expected) as u64));
    }
}

#[test]
fn one_host_may_always_be_ejected_if_settings_or_their_default_say_so() {
    for (said, default, expected) in [(None, false, 0), (None, true, 1), (Some(true), false, 1), (Some(false), true, 0)]
    {
        let config = OutlierDetection { always_eject_one_host: said, max_ejection_percent: 10, ..rows(1) };
        let mut mesh = Mesh::new(3, config.clone());
        mesh.detector = Detector::new(config, default, Arc::clone(&mesh.cluster), Duration::ZERO);
        mesh.follow();
        (0..3).for_each(|at| drop(mesh.fail(at, 1, S)));
        assert_eq!(mesh.ejected().len(), expected, "{said:?}, {default}");
    }
}

#[test]
fn what_is_not_enforced_is_detected_again_and_again() {
    let mut config = rows(3);
    config.enforcing.consecutive_5xx = 0;
    let mut mesh = Mesh::new(2, config);
    let all: Vec<_> = (0..20).flat_map(|_| mesh.fail(0, 1, S)).collect();
    assert_eq!(all.len(), 6);
    assert!(all.iter().all(|effect| matches!(effect, Effect::NotEnforced { .. })));
    let counts = mesh.cluster.ejections().counts();
    assert_eq!((counts.detected_of(EjectionCause::Consecutive5xx), counts.enforced_total()), (6, 0));
}

#[test]
fn enforcing_is_a_chance() {
    let mut config = rows(1);
    config.enforcing.consecutive_5xx = 30;
    let mut mesh = Mesh::new(2000, config);
    (0..2000).for_each(|at| mesh.see(at, Observation::Status(500)));
    mesh.detector.detected(S, &mut mesh.random);
    let count = mesh.ejected().len();
    assert!((520..680).contains(&count), "{count}");
}

#[test]
fn a_success_rate_far_below_the_others_is_ejected() {
    // Good ones of a hundred on each host; who is ejected.
    for (good, expected) in [
        (vec![50, 100, 100, 100, 100], vec![0]),
        (vec![100; 5], vec![]),
        // Four hosts are too few.
        (vec![50, 100, 100, 100], vec![]),
        // Two bad ones hide each other: mean 80, deviation 24.5, limit 33.5.
        (vec![50, 50, 100, 100, 100], vec![]),
    ] {
        let mut config = rates_only();
        config.enforcing.success_rate = 100;
        let mut mesh = Mesh::new(good.len(), config);
        good.iter().enumerate().for_each(|(at, good)| mesh.answers(at, *good, 100));
        mesh.sweep(S);
        assert_eq!(mesh.ejected(), expected, "{good:?}");
    }
}

#[test]
fn success_rates_and_their_limit_are_shown_for_one_interval() {
    let mut mesh = Mesh::new(5, rates_only());
    (0..5).for_each(|at| mesh.answers(at, if at == 0 { 50 } else { 100 }, 100));
    let shown = |mesh: &Mesh| {
        let host = mesh.hosts[0].outcomes().success_rate(Origin::External);
        (host, mesh.cluster.ejections().success_rates(Origin::External))
    };
    mesh.sweep(S);
    assert_eq!(shown(&mesh), (Some(50.0), Some((90.0, 52.0))));
    assert_eq!(mesh.hosts[0].outcomes().success_rate(Origin::Local), None);
    mesh.sweep(2 * S);
    assert_eq!(shown(&mesh), (None, None));
}

#[test]
fn one_request_too_few_takes_a_host_out_of_the_count() {
    let mut config = rates_only();
    config.enforcing.success_rate = 100;
    let mut mesh = Mesh::new(5, config);
    (0..5).for_each(|at| mesh.answers(at, if at == 0 { 50 } else { 99 }, 99));
    mesh.sweep(S);
    assert_eq!(mesh.ejected(), []);
}

#[test]
fn a_share_of_failures_ejects_from_its_threshold_on() {
    // Hosts, requests on each, failures of the first.
    for (hosts, requests, failures, expected) in
        [(5, 100, 85, 1), (5, 100, 84, 0), (4, 100, 100, 0), (5, 49, 49, 0), (5, 50, 50, 1)]
    {
        let mut config = rates_only();
        config.enforcing.failure_percentage = 100;
        let mut mesh = Mesh::new(hosts, config);
        (0..hosts).for_each(|at| mesh.answers(at, if at == 0 { requests - failures } else { requests }, requests));
        mesh.sweep(S);
        assert_eq!(mesh.ejected().len(), expected, "{failures} of {requests} on one of {hosts}");
    }
}

#[test]
fn our_own_failures_have_rates_of_their_own() {
    let mut config = rates_only();
    config.split_external_local_origin_errors = true;
    config.enforcing.failure_percentage_local_origin = 100;
    config.enforcing.local_origin_success_rate = 0;
    config.consecutive_local_origin_failure = 0;
    let mut mesh = Mesh::new(5, config);
    for at in 0..5 {
        for _ in 0..100 {
            if at == 2 {
                mesh.see(at, Observation::Failed);
            } else {
                mesh.see(at, Observation::Connected);
                mesh.see(at, Observation::Status(500));
            }
        }
    }
    let effects = mesh.sweep(S);
    assert!(effects.contains(&ejected(2, EjectionCause::LocalOriginFailurePercentage)), "{effects:?}");
    assert_eq!(mesh.ejected(), [2]);
}

#[test]
fn a_passing_health_check_ends_an_ejection_unless_told_otherwise() {
    for (ends, expected) in [(true, vec![]), (false, vec![0])] {
        let config = OutlierDetection { successful_active_health_check_uneject_host: ends, ..rows(1) };
        let mut mesh = Mesh::new(2, config);
        mesh.fail(0, 1, S);
        let [host, other] = [0, 1].map(|at: usize| Arc::clone(&mesh.hosts[at]));
        assert_eq!(mesh.detector.passed_check(&host, S).is_some(), ends);
        assert_eq!(mesh.ejected(), expected);
        assert_eq!(mesh.detector.passed_check(&other, S), None);
    }
}

#[test]
fn hosts_that_stay_keep_their_ejection_and_one_that_comes_again_starts_anew() {
    let mut mesh = Mesh::new(4, rows(1));
    mesh.fail(0, 1, S);
    mesh.fail(1, 1, S);
    assert!(!mesh.follow());
    assert_eq!((mesh.ejected(), mesh.cluster.ejections().counts().active), (vec![0, 1], 2));
    // The second was removed and added again: the snapshot gives it a new state.
    mesh.hosts[1] = Arc::default();
    mesh.follow();
    assert_eq!((mesh.ejected(), mesh.cluster.ejections().counts().active), (vec![0], 1));
    assert_eq!(mesh.sweep(2 * S), [Effect::Returned { address: address(0) }]);
}

#[test]
fn other_settings_start_anew_and_none_release_everybody() {
    let mut mesh = Mesh::new(3, rows(1));
    mesh.fail(0, 1, S);
    mesh.detector = Detector::new(rows(1), false, Arc::clone(&mesh.cluster), S);
    assert!(mesh.follow(), "a host returned");
    assert_eq!(mesh.ejected(), []);
    mesh.fail(0, 1, S);
    assert_eq!(mesh.ejected(), [0]);
    assert!(mesh.detector.release());
    assert_eq!((mesh.ejected(), mesh.cluster.ejections().counts().active), (vec![], 0));
}

#[test]
fn jitter_prolongs_an_ejection_by_no_more_than_it_says() {
    let config = OutlierDetection { max_ejection_time_jitter: 3 * S, ..rows(1) };
    let mut ends = [0; 6];
    for seed in 0..200 {
        let mut mesh = Mesh::new(2, config.clone());
        mesh.random = Random::from_seed(seed);
        mesh.fail(0, 1, Duration::ZERO);
        ends[absence(&mut mesh)] += 1;
    }
    assert_eq!((ends[0], ends[1], ends[5]), (0, 0, 0), "{ends:?}");
    assert!(ends[2..5].iter().all(|count| *count > 40), "{ends:?}");
}

#[test]
fn hostile_numbers_neither_panic_nor_spin() {
    let numbers = [0, 1, 50, 100, 101, u32::MAX];
    let times = [Duration::ZERO, Duration::from_nanos(1), S, Duration::from_secs(u64::MAX / 2), Duration::MAX];
    let mut random = Random::from_seed(9);
    for round in 0..600 {
        let mut config = OutlierDetection {
            always_eject_one_host: [None, Some(true), Some(false)][round % 3],
            split_external_local_origin_errors: round % 2 == 0,
            ..OutlierDetection::default()
        };
        let enforcing = &mut config.enforcing;
        for field in [
            &mut enforcing.consecutive_5xx,
            &mut enforcing.consecutive_gateway_failure,
            &mut enforcing.consecutive_local_origin_failure,
            &mut enforcing.success_rate,
            &mut enforcing.local_origin_success_rate,
            &mut enforcing.failure_percentage,
            &mut enforcing.failure_percentage_local_origin,
            &mut config.consecutive_5xx,
            &mut config.consecutive_gateway_failure,
            &mut config.consecutive_local_origin_failure,
            &mut config.max_ejection_percent,
            &mut config.success_rate.minimum_hosts,
            &mut config.success_rate.request_volume,
            &mut config.success_rate.stdev_factor,
            &mut config.failure_percentage.threshold,
            &mut config.failure_percentage.minimum_hosts,
            &mut config.failure_percentage.request_volume,
        ] {
            *field = numbers[random.below(numbers.len())];
        }
        for field in [
            &mut config.interval,
            &mut config.base_ejection_time,
            &mut config.max_ejection_time,
            &mut config.max_ejection_time_jitter,
        ] {
            *field = times[random.below(times.len())];
        }
        let mut mesh = Mesh::new(round % 4, config);
        for step in 0..20 {
            for at in 0..mesh.hosts.len() {
                mesh.see(at, [Observation::Status(503), Observation::Failed, Observation::Status(u16::MAX)][step % 3]);
            }
            let now = times[random.below(times.len())];
            mesh.detector.detected(now, &mut random);
            mesh.sweep(now);
            assert!(mesh.detector.next_sweep() > now || now == Duration::MAX, "the next sweep is in the future");
        }
    }
}

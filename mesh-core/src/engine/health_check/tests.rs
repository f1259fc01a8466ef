use super::*;
use crate::resource::health_check::{HealthChecker, TcpHealthCheck};

const S: Duration = Duration::from_secs(1);
const PASS: CheckOutcome = CheckOutcome::Passed { degraded: false };

fn config() -> HealthCheck {
    HealthCheck {
        timeout: S,
        interval: 10 * S,
        initial_jitter: Duration::ZERO,
        interval_jitter: Duration::ZERO,
        interval_jitter_percent: 0,
        unhealthy_threshold: 3,
        healthy_threshold: 2,
        alt_port: None,
        reuse_connection: true,
        no_traffic_interval: 60 * S,
        no_traffic_healthy_interval: None,
        unhealthy_interval: 20 * S,
        unhealthy_edge_interval: 3 * S,
        healthy_edge_interval: 2 * S,
        checker: HealthChecker::Tcp(TcpHealthCheck::default()),
    }
}

/// A host that is asked: `p`ass, `d`egraded, `w`rong answer, `n`o answer.
fn health(letters: &str, config: &HealthCheck) -> String {
    let mut random = Random::from_seed(1);
    let state = Arc::new(EndpointState::default());
    state.note(Finding::CheckFailed, true);
    let mut session = Session::new(config, Arc::clone(&state), Duration::ZERO, &mut random);
    let look = |state: &EndpointState| match (state.is(Finding::CheckFailed), state.is(Finding::Degraded)) {
        (true, _) => 'F',
        (false, true) => 'D',
        (false, false) => 'H',
    };
    let mut seen = String::from(look(&state));
    for letter in letters.chars() {
        let outcome = match letter {
            'p' => PASS,
            'd' => CheckOutcome::Passed { degraded: true },
            'w' => CheckOutcome::Unwell,
            _ => CheckOutcome::Unreachable,
        };
        session.begin();
        assert_eq!(session.due(), None);
        let before = (state.is(Finding::CheckFailed), state.is(Finding::Degraded));
        let changed = session.end(config, outcome, true, Duration::ZERO, &mut random);
        assert_eq!(changed, before != (state.is(Finding::CheckFailed), state.is(Finding::Degraded)), "{letters}");
        seen.push(look(&state));
    }
    seen
}

#[test]
fn thresholds_count_as_envoy_counts() {
    for (letters, expected) in [
        // Unhealthy until the first check, whose pass is enough.
        ("p", "FH"),
        ("w", "FF"),
        ("n", "FF"),
        // If the first one failed, all passes are needed.
        ("npp", "FFFH"),
        ("wpnpp", "FFFFFH"),
        // A wrong answer counts at once, no answer three times in a row.
        ("pw", "FHF"),
        ("pnn", "FHHH"),
        ("pnnn", "FHHHF"),
        ("pnnpnnn", "FHHHHHHF"),
        ("pnnwpp", "FHHHFFH"),
        ("pdp", "FHDH"),
        ("d", "FD"),
    ] {
        assert_eq!(health(letters, &config()), expected, "{letters}");
    }
}

/// The waits after checks of a host that passed its first one.
fn waits(letters: &str, has_traffic: bool, config: &HealthCheck) -> Vec<u64> {
    let mut random = Random::from_seed(1);
    let state = Arc::new(EndpointState::default());
    state.note(Finding::CheckFailed, true);
    let mut session = Session::new(config, state, Duration::ZERO, &mut random);
    let mut wait = |letter| {
        session.begin();
        let outcome = match letter {
            'p' => PASS,
            'w' => CheckOutcome::Unwell,
            _ => CheckOutcome::Unreachable,
        };
        session.end(config, outcome, has_traffic, 100 * S, &mut random);
        (session.due().unwrap() - 100 * S).as_secs()
    };
    letters.chars().map(&mut wait).collect()
}

#[test]
fn the_wait_depends_on_health_on_edges_and_on_traffic() {
    assert_eq!(waits("ppnnnnpp", true, &config()), [10, 10, 3, 3, 20, 20, 2, 10]);
    assert_eq!(waits("pw", true, &config()), [10, 20]);
    assert_eq!(waits("pnnn", false, &config()), [60; 4]);
    let config = HealthCheck { no_traffic_healthy_interval: Some(90 * S), ..config() };
    assert_eq!(waits("pnw", false, &config), [90, 60, 60]);
}

#[test]
fn jitter_makes_waits_longer_and_never_shorter() {
    let config = HealthCheck { interval_jitter: 5 * S, interval_jitter_percent: 50, initial_jitter: 4 * S, ..config() };
    let mut random = Random::from_seed(3);
    let mut seen = (Duration::MAX, Duration::ZERO);
    for _ in 0..500 {
        let mut session = Session::new(&config, Arc::default(), S, &mut random);
        assert!((S..5 * S).contains(&session.due().unwrap()));
        session.end(&config, PASS, true, Duration::ZERO, &mut random);
        let due = session.due().unwrap();
        seen = (seen.0.min(due), seen.1.max(due));
    }
    assert!(seen.0 >= 10 * S && seen.0 < 11 * S && seen.1 < 20 * S && seen.1 > 18 * S, "{seen:?}");
}

#[test]
fn hostile_numbers_neither_panic_nor_spin() {
    let mut random = Random::from_seed(9);
    for round in 0..2_000usize {
        let mut pick = |of: &[u64]| of[random.below(of.len())];
        let mut time = || Duration::from_nanos(pick(&[0, 1, 1_000_000_000, u64::MAX]));
        let config = HealthCheck {
            interval: time(),
            initial_jitter: time(),
            interval_jitter: time(),
            interval_jitter_percent: [0, 100, u32::MAX][round % 3],
            unhealthy_threshold: [0, 1, u32::MAX][round % 3],
            healthy_threshold: [u32::MAX, 0, 1][round % 3],
            no_traffic_interval: time(),
            unhealthy_interval: time(),
            unhealthy_edge_interval: time(),
            healthy_edge_interval: time(),
            ..config()
        };
        let now = if round % 5 == 0 { Duration::MAX } else { S };
        let mut session = Session::new(&config, Arc::default(), now, &mut random);
        for outcome in [PASS, CheckOutcome::Unwell, CheckOutcome::Unreachable, PASS] {
            session.begin();
            session.end(&config, outcome, round % 2 == 0, now, &mut random);
            assert!(session.due().is_some_and(|due| due > now || now == Duration::MAX));
        }
    }
}

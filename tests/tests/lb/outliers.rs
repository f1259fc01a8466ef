//! Outlier detection: who is ejected by which answers, for how long, and what is counted.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use mesh_core::engine::outlier_detection::Observation;
use mesh_core::engine::retry::{Outcome, Reset};
use mesh_core::resource::outlier_detection::{Enforcing, OutlierDetection};
use mesh_tests::lb::{Case, Watched};

const S: Duration = Duration::from_secs(1);
const FINE: Observation = Observation::Status(200);

fn settings() -> OutlierDetection {
    OutlierDetection { interval: S, base_ejection_time: 20 * S, max_ejection_percent: 100, ..Default::default() }
}

fn number(case: &Case, field: &str) -> u32 {
    u32::try_from(case.cluster_config[field].as_u64().unwrap()).unwrap()
}

/// Says how host 1 answers while the others are well.
fn first(answer: Observation) -> impl Fn(usize) -> Observation {
    move |host| if host == 1 { answer } else { FINE }
}

fn count(value: &serde_json::Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

fn differs<T: PartialEq + std::fmt::Debug>(what: &str, recorded: T, ours: T) -> Option<String> {
    (recorded != ours).then(|| format!("{what}: Envoy {recorded:?}, ours {ours:?}"))
}

/// Envoy's statistics that are counted here too. Of those that it no longer documents there are none.
fn statistics(case: &Case, watched: &Watched, slack: u64) -> Vec<String> {
    let recorded = case.observed["stats"].as_object().unwrap();
    let line = |(name, value): (&String, &serde_json::Value)| {
        let (theirs, ours) = (value.as_u64().unwrap(), watched.statistic(name)?);
        (theirs.abs_diff(ours) > slack).then(|| format!("{name}: Envoy {theirs}, ours {ours}"))
    };
    let unnamed = ["ejections_active", "ejections_enforced_total", "ejections_overflow"]
        .into_iter()
        .filter(|name| !recorded.contains_key(*name) && watched.statistic(name) != Some(0))
        .map(|name| format!("{name}: Envoy none"));
    recorded.iter().filter_map(line).chain(unnamed).collect()
}

/// `requests` one after the other to two hosts, the first of which answers `bad`: how many it gets, and what is counted.
fn two_hosts(
    case: &Case,
    settings: OutlierDetection,
    bad: Observation,
    requests: usize,
    recorded: &str,
) -> Vec<String> {
    let mut watched = Watched::new(2, settings, |_| {});
    let hits = watched.hits(requests, first(bad))[0];
    let mut lines: Vec<String> =
        differs(recorded, case.observed[recorded].as_u64().unwrap(), hits as u64).into_iter().collect();
    if case.observed["stats"].is_object() {
        lines.extend(statistics(case, &watched, 0));
    }
    lines
}

pub(super) fn gateway(case: &Case) -> Vec<String> {
    let enforcing = Enforcing { consecutive_gateway_failure: 100, ..Enforcing::default() };
    let limit = number(case, "consecutive_gateway_failure");
    let settings = OutlierDetection { consecutive_gateway_failure: limit, enforcing, ..settings() };
    if case.name == "od_request_timeout_gateway" {
        return two_hosts(case, settings, Observation::TimedOut, 30, "failures");
    }
    two_hosts(case, settings, Observation::Status(503), 20, "bad_reqs")
}

pub(super) fn refused(case: &Case) -> Vec<String> {
    let outcome = Observation::of(&Outcome::Reset(Reset::ConnectFailure), false).unwrap();
    let settings = OutlierDetection {
        split_external_local_origin_errors: case.cluster_config["split"].as_bool().unwrap(),
        consecutive_5xx: number(case, "consecutive_5xx"),
        consecutive_local_origin_failure: number(case, "consecutive_local_origin_failure"),
        ..settings()
    };
    two_hosts(case, settings, outcome, 30, "failures")
}

pub(super) fn reset(case: &Case) -> Vec<String> {
    let lost = Outcome::Reset(Reset::ConnectionTermination { request_sent: true });
    let settings = OutlierDetection { consecutive_5xx: number(case, "consecutive_5xx"), ..settings() };
    two_hosts(case, settings, Observation::of(&lost, false).unwrap(), 30, "failures")
}

pub(super) fn not_enforced(case: &Case) -> Vec<String> {
    let enforcing = Enforcing { consecutive_5xx: 0, ..Enforcing::default() };
    let settings = OutlierDetection { consecutive_5xx: 3, enforcing, ..settings() };
    two_hosts(case, settings, Observation::Status(500), 40, "bad_reqs")
}

/// Trailers-only answers count by their gRPC status.
pub(super) fn trailers_only(case: &Case) -> Vec<String> {
    let code = case.upstream_script.as_str().unwrap().rsplit_once(' ').unwrap().1;
    let headers: HeaderMap = [("grpc-status".parse().unwrap(), code.parse().unwrap())].into_iter().collect();
    let outcome = Outcome::Response { status: StatusCode::OK, headers: &headers };
    let answer = Observation::of(&outcome, true).unwrap();
    let both = case.cluster_config["both enforcing"].is_number();
    let enforcing = Enforcing { consecutive_gateway_failure: if both { 100 } else { 0 }, ..Enforcing::default() };
    let settings = OutlierDetection {
        consecutive_5xx: number(case, "consecutive_5xx"),
        consecutive_gateway_failure: if both { number(case, "consecutive_gateway_failure") } else { 5 },
        enforcing,
        ..settings()
    };
    let mut watched = Watched::new(2, settings.clone(), |_| {});
    watched.hits(30, first(answer));
    let mut lines = two_hosts(case, settings, answer, 30, "bad_reqs");
    if let Some(enforced) = case.observed["enforced"].as_array() {
        let names = ["ejections_enforced_consecutive_5xx", "ejections_enforced_consecutive_gateway_failure"];
        let ours: Vec<&str> = names.into_iter().filter(|name| watched.statistic(name) != Some(0)).collect();
        let theirs: Vec<&str> = enforced.iter().map(|name| name.as_str().unwrap()).collect();
        lines.extend(differs("enforced", theirs, ours));
    }
    lines
}

/// A status that comes in trailers comes too late: the headers said 200.
pub(super) fn real_trailers(case: &Case) -> Vec<String> {
    let headers = HeaderMap::new();
    let outcome = Outcome::Response { status: StatusCode::OK, headers: &headers };
    let settings = OutlierDetection { consecutive_5xx: 3, ..settings() };
    two_hosts(case, settings, Observation::of(&outcome, true).unwrap(), 20, "bad_reqs")
}

pub(super) fn half_of_two(case: &Case) -> Vec<String> {
    let settings = OutlierDetection { max_ejection_percent: 50, consecutive_5xx: 2, ..settings() };
    let mut watched = Watched::new(2, settings, |_| {});
    let order = watched.order(20, |_| Observation::Status(500));
    let recorded = case.observed["order"].as_str().unwrap();
    // Which of the two begins is chance.
    let same = order == recorded || order == recorded.replace('1', "3").replace('2', "1").replace('3', "2");
    let mut lines: Vec<String> =
        (!same).then(|| format!("order: Envoy {recorded}, ours {order}")).into_iter().collect();
    // A worker of Envoy's that is ahead of the main thread counts one failure more into a row.
    lines.extend(statistics(case, &watched, 1));
    lines
}

pub(super) fn nine_hosts(case: &Case) -> Vec<String> {
    let always = case.cluster_config["always_eject_one_host"].as_bool();
    let settings = OutlierDetection { max_ejection_percent: 10, always_eject_one_host: always, ..settings() };
    let mut watched = Watched::new(9, settings, |_| {});
    let mut hits = watched.hits(200, |host| if host <= 2 { Observation::Status(500) } else { FINE });
    hits.truncate(2);
    hits.sort_unstable();
    let mut theirs: Vec<usize> = case.observed["reqs_h1_h2"].as_array().unwrap().iter().map(count).collect();
    theirs.sort_unstable();
    // Where turns begin decides about one request.
    let far = hits.iter().zip(&theirs).any(|(ours, theirs)| ours.abs_diff(*theirs) > 1);
    let mut lines: Vec<String> = far.then(|| format!("hits: Envoy {theirs:?}, ours {hits:?}")).into_iter().collect();
    lines.extend(statistics(case, &watched, 0));
    lines
}

pub(super) fn ten_hosts(case: &Case) -> Vec<String> {
    let settings = OutlierDetection { interval: S, base_ejection_time: 2 * S, ..OutlierDetection::default() };
    let mut watched = Watched::new(10, settings, |_| {});
    let hits = watched.hits(200, first(Observation::Status(500)))[0];
    let recorded = case.observed["requests_on_bad_host_before_ejection"].as_u64().unwrap();
    let mut lines: Vec<String> = differs("hits", recorded, hits as u64).into_iter().collect();
    lines.extend(statistics(case, &watched, 0));
    lines
}

pub(super) fn twenty_hosts(case: &Case) -> Vec<String> {
    let mut watched = Watched::new(20, OutlierDetection { max_ejection_percent: 10, ..settings() }, |_| {});
    watched.hits(400, |host| if host <= 4 { Observation::Status(500) } else { FINE });
    let recorded = case.observed["ejected"].as_array().unwrap().len();
    let mut lines: Vec<String> = differs("ejected", recorded, watched.ejected().len()).into_iter().collect();
    lines.extend(statistics(case, &watched, 0));
    lines
}

/// Nobody is left and panic is off: no host, at once or when the window has passed.
pub(super) fn all_ejected(case: &Case) -> Vec<String> {
    let settings = OutlierDetection { consecutive_5xx: 2, ..settings() };
    let at_once = case.cluster_config["update_merge_window"] == "0s";
    let mut watched = Watched::fresh(2, settings, |cluster| {
        cluster.healthy_panic_threshold = 0.0;
        if at_once {
            cluster.update_merge_window = Duration::ZERO;
        }
    });
    let before = watched.order(10, |_| Observation::Status(500));
    watched.advance(Duration::from_millis(1_300));
    let after = watched.order(8, |_| Observation::Status(500));
    let served = |order: &str| order.chars().filter(|host| *host != 'X').count();
    let (theirs, theirs_after) =
        (case.observed["order_first"].as_str().unwrap(), case.observed["order_after_1.3s"].as_str().unwrap());
    let mut lines: Vec<String> = differs("after the pause", theirs_after, &after).into_iter().collect();
    // A request or two are picked while an ejection is on its way to Envoy's worker; ours is there at once.
    let late = if at_once { 2 } else { 0 };
    if served(theirs).abs_diff(served(&before)) > late {
        lines.push(format!("order: Envoy {theirs}, ours {before}"));
    }
    lines
}

/// Rates over one interval: 100 requests to each host, the first of which fails so many of them.
pub(super) fn rates(case: &Case) -> Vec<String> {
    let (hosts, failures) = match case.name.as_str() {
        "od_pct_fp84" => (5, 84),
        "od_pct_sr100" => (5, 50),
        _ => (4, 50),
    };
    let by_share = case.name == "od_pct_fp84";
    let enforcing = Enforcing {
        consecutive_5xx: 0,
        success_rate: if by_share { 0 } else { 100 },
        failure_percentage: if by_share { 100 } else { 0 },
        ..Enforcing::default()
    };
    let settings = OutlierDetection { consecutive_5xx: 0, enforcing, interval: 10 * S, ..settings() };
    let mut watched = Watched::new(hosts, settings, |_| {});
    let asked = std::cell::Cell::new(0);
    watched.hits(100 * usize::from(hosts), |host| {
        let nth = asked.get();
        if host == 1 {
            asked.set(nth + 1);
        }
        if host == 1 && nth < failures { Observation::Status(500) } else { FINE }
    });
    watched.advance(10 * S);
    let recorded = count(&case.observed["ejected"]);
    let mut lines: Vec<String> = differs("ejected", recorded, watched.ejected().len()).into_iter().collect();
    lines.extend(statistics(case, &watched, 0));
    lines
}

/// 50 requests a second; host 1 fails while `ill` says so. When it was hit while ill, in ms.
fn hits_over_time(watched: &mut Watched, lasts: Duration, ill: impl Fn(Duration) -> bool) -> Vec<u64> {
    let begin = watched.now();
    let mut hits = Vec::new();
    while watched.now() - begin < lasts {
        let at = watched.now() - begin;
        let bad = if ill(at) { Observation::Status(500) } else { FINE };
        if watched.request(first(bad)) == Some(1) && ill(at) {
            hits.push(u64::try_from(at.as_millis()).unwrap());
        }
        watched.advance(Duration::from_millis(20));
    }
    hits
}

/// Hits in groups: how many, and how long until the next.
fn returns(hits: &[u64]) -> (Vec<usize>, Vec<u64>) {
    let (mut groups, mut absences) = (vec![1], Vec::new());
    for pair in hits.windows(2) {
        match pair[1] - pair[0] {
            gap if gap > 200 => {
                absences.push(gap);
                groups.push(1);
            }
            _ => *groups.last_mut().unwrap() += 1,
        }
    }
    (groups, absences)
}

fn list(case: &Case, field: &str) -> Vec<u64> {
    case.observed[field].as_array().unwrap().iter().map(|value| value.as_u64().unwrap()).collect()
}

/// Times may differ by a sweep: ejections begin at another place between two of them.
fn within_a_sweep(theirs: &[u64], ours: &[u64]) -> Vec<String> {
    let far = ours.len() < theirs.len() || theirs.iter().zip(ours).any(|(theirs, ours)| theirs.abs_diff(*ours) > 1_000);
    far.then(|| format!("absences: Envoy {theirs:?}, ours {ours:?}")).into_iter().collect()
}

pub(super) fn growth(case: &Case) -> Vec<String> {
    let gathers = case.cluster_config["update_merge_window"] == "default";
    let longest = if gathers { 300 * S } else { 3 * S };
    let base_ejection_time = if gathers { S * 3 / 2 } else { S };
    let settings =
        OutlierDetection { consecutive_5xx: 1, base_ejection_time, max_ejection_time: longest, ..settings() };
    let mut watched = Watched::new(2, settings, |cluster| {
        if !gathers {
            cluster.update_merge_window = Duration::ZERO;
        }
    });
    let (hits, absences) = returns(&hits_over_time(&mut watched, 32 * S, |_| true));
    let mut lines = within_a_sweep(&list(case, "absence_ms"), &absences);
    let theirs = list(case, "hits_per_return");
    if theirs.iter().zip(&hits).any(|(theirs, ours)| theirs.abs_diff(*ours as u64) > u64::from(gathers)) {
        lines.push(format!("hits per return: Envoy {theirs:?}, ours {hits:?}"));
    }
    lines
}

pub(super) fn steps_back(case: &Case) -> Vec<String> {
    let settings = OutlierDetection { consecutive_5xx: 1, base_ejection_time: S, ..settings() };
    let mut watched = Watched::new(2, settings, |cluster| cluster.update_merge_window = Duration::ZERO);
    let well = Duration::from_millis(5_600)..Duration::from_millis(13_600);
    let hits = hits_over_time(&mut watched, 21 * S, |at| !well.contains(&at));
    // The absence in between is health, not ejection: Envoy's list has the one of the last ejection before it.
    let (_, mut absences) = returns(&hits);
    let healthy = absences.iter().position(|absence| *absence > 8_000);
    let mut lines = Vec::new();
    match healthy {
        Some(at) => {
            // Ejected a while of these eight seconds: from the last failure until the first success.
            let _ = absences.remove(at);
            let theirs = list(case, "absence_ms");
            let (before, after) = (&theirs[..2], &theirs[3..]);
            lines.extend(within_a_sweep(before, &absences[..at.min(absences.len())]));
            lines.extend(within_a_sweep(after, &absences[at.min(absences.len())..]));
        }
        None => lines.push(format!("it was never well: {absences:?}")),
    }
    lines
}

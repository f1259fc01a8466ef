//! What differs between two exchanges: a line each.

use std::collections::{BTreeMap, BTreeSet};

use mesh_tests::observed::Headers;
use mesh_tests::upstream::{Arrival, MIR, MIR2};

use crate::exchange::Exchange;

/// Of the connection, or of the moment.
const PASSING: [&str; 4] = ["connection", "date", "keep-alive", "transfer-encoding"];

/// Times, which no two exchanges share.
const TIMES: [&str; 2] = ["x-envoy-upstream-service-time", "x-envoy-expected-rq-timeout-ms"];

/// All differences.
pub(crate) fn differences(theirs: &Exchange, ours: &Exchange) -> Vec<String> {
    let mut out = Vec::new();
    differ(&mut out, "status", &theirs.answer.status, &ours.answer.status);
    differ(&mut out, "broken", &theirs.answer.broken, &ours.answer.broken);
    let body = |one: &Exchange| one.answer.body.replace(&one.id, "<id>");
    differ(&mut out, "body", &body(theirs), &body(ours));
    headers(&mut out, "response", &normal(&theirs.answer.headers, theirs), &normal(&ours.answer.headers, ours));
    headers(&mut out, "trailer", &normal(&theirs.answer.trailers, theirs), &normal(&ours.answer.trailers, ours));
    let (theirs_seen, ours_seen) = (in_order(&theirs.arrivals), in_order(&ours.arrivals));
    let brief = |arrivals: &[&Arrival]| -> Vec<String> {
        let one = |one: &&Arrival| {
            format!("{} {} at {} with {} bytes", one.seen.method, one.seen.path, one.seen.port, one.body)
        };
        arrivals.iter().map(one).collect()
    };
    differ(&mut out, "attempts", &brief(&theirs_seen), &brief(&ours_seen));
    for (number, (one, other)) in theirs_seen.iter().zip(&ours_seen).enumerate() {
        let what = format!("attempt {} request", number + 1);
        headers(&mut out, &what, &normal(&one.headers, theirs), &normal(&other.headers, ours));
    }
    out
}

/// An exchange without an answer, unless that is the right one: two that say nothing agree about everything else.
pub(crate) fn silence(theirs: &Exchange, is_meant: bool) -> Option<String> {
    (theirs.answer.status == 0 && !is_meant).then(|| "there is no answer, which the case does not say".to_owned())
}

/// Which server got how many requests; shares may differ by so many percent of all.
pub(crate) fn shares(theirs: &[Exchange], ours: &[Exchange], within: f64) -> Vec<String> {
    let count = |all: &[Exchange]| {
        let mut shares: BTreeMap<String, f64> = BTreeMap::new();
        for one in all {
            let ports: Vec<String> = one.arrivals.iter().map(|arrival| arrival.seen.port.to_string()).collect();
            let what = format!("{} by {}", one.answer.status, ports.join(", "));
            *shares.entry(what).or_default() += 100.0 / all.len() as f64;
        }
        shares
    };
    let (theirs, ours) = (count(theirs), count(ours));
    let whats: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let mut out = Vec::new();
    for what in whats {
        let share = |shares: &BTreeMap<String, f64>| shares.get(what).copied().unwrap_or_default();
        let (theirs, ours) = (share(&theirs), share(&ours));
        if (theirs - ours).abs() > within {
            out.push(format!("share of {what}: Envoy {theirs:.1} %, ours {ours:.1} %"));
        }
    }
    out
}

fn differ<T: PartialEq + std::fmt::Debug>(out: &mut Vec<String>, what: &str, theirs: &T, ours: &T) {
    if theirs != ours {
        out.push(format!("{what}: Envoy {theirs:?}, ours {ours:?}"));
    }
}

/// Copies for mirrors behind the request itself.
fn in_order(arrivals: &[Arrival]) -> Vec<&Arrival> {
    let mut arrivals: Vec<&Arrival> = arrivals.iter().collect();
    arrivals.sort_by_key(|arrival| [MIR, MIR2].contains(&arrival.seen.port).then_some(arrival.seen.port));
    arrivals
}

/// Headers without what two exchanges never share.
fn normal(headers: &Headers, of: &Exchange) -> Headers {
    let one = |(name, value): &(String, String)| {
        let value = match name.as_str() {
            name if TIMES.contains(&name) => "<ms>".to_owned(),
            "x-forwarded-port" => "<port>".to_owned(),
            "x-request-id" if value.len() == 36 && value.matches('-').count() == 4 => "<uuid>".to_owned(),
            _ => value.replace(&of.id, "<id>"),
        };
        (name.clone(), value)
    };
    headers.iter().filter(|(name, _)| !PASSING.contains(&name.as_str())).map(one).collect()
}

/// Lines by name: the order of lines of different names has no meaning.
fn headers(out: &mut Vec<String>, what: &str, theirs: &Headers, ours: &Headers) {
    let by_name = |headers: &Headers| {
        let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in headers {
            map.entry(name.clone()).or_default().push(value.clone());
        }
        map
    };
    let (theirs, ours) = (by_name(theirs), by_name(ours));
    let names: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    for name in names {
        let (theirs, ours) = (theirs.get(name), ours.get(name));
        if theirs != ours {
            out.push(format!("{what} header {name}: Envoy {theirs:?}, ours {ours:?}"));
        }
    }
}

//! What differs between an answer and what Envoy was observed to do: one line each, nothing when they agree.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::edge::Answer;
use crate::observed::{Case, Headers, Seen};
use crate::upstream::{Arrival, MIR, MIR2, Script, UP, Upstreams};

/// Request headers of Envoy's edge and telemetry that a mesh in the caller's process does not add (yet). They are compared
/// only when the caller sent them itself.
pub const EDGE_HEADERS: &[&str] = &["x-envoy-external-address", "x-forwarded-for", "x-forwarded-proto", "x-request-id"];

/// Headers that belong to the connection or the server and tell nothing.
const FRAMING: &[&str] = &["connection", "content-length", "date", "server", "transfer-encoding", "x-port"];

/// Where copies arrive.
const MIRRORS: [u16; 2] = [MIR, MIR2];

/// How much longer than observed an answer may take on a busy machine.
const SLACK: Duration = Duration::from_secs(4);

/// A case with what came of it here.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The configuration of the case.
    pub config: &'a Value,
    /// The case.
    pub case: &'a Case,
    /// The `x-id` that it was sent with.
    pub id: &'a str,
    /// The answer.
    pub answer: &'a Answer,
    /// What arrived at the upstreams.
    pub arrivals: &'a [Arrival],
}

/// A cookie that a hash policy made holds a number of its own: what is around it counts.
fn without_made_key(name: &str, value: String) -> String {
    let made = |key: &str| key.len() == 16 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
    match value.split('"').collect::<Vec<_>>()[..] {
        [before, key, after] if name == "set-cookie" && made(key) => format!("{before}\"made\"{after}"),
        _ => value,
    }
}

/// All differences.
#[must_use]
pub fn differences(exchange: &Exchange<'_>, upstreams: &Upstreams) -> Vec<String> {
    let Exchange { case, answer, arrivals, .. } = *exchange;
    let observed = &case.observed;
    let mut out = Vec::new();
    differ(&mut out, "status", &observed.status, &answer.status);
    differ(&mut out, "flags", &observed.flags, &answer.flags);
    differ(&mut out, "details", &observed.details, &answer.details);
    body(&mut out, exchange);
    let names = mutated(exchange.config, "response");
    let expected: Headers = observed
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), without_made_key(name, upstreams.translate(value))))
        .collect();
    let answered: Headers =
        answer.headers.iter().map(|(name, value)| (name.clone(), without_made_key(name, value.clone()))).collect();
    let ignored = |name: &str| FRAMING.contains(&name) && !names.contains(name);
    headers(&mut out, "response header", &expected, &answered, ignored);
    if let Some(status) = observed.grpc_status
        && let Some(ours) = answer.grpc_status()
    {
        differ(&mut out, "gRPC status", &status, &ours);
    }
    let attempts: BTreeMap<String, u64> = match &observed.upstream {
        Some(upstream) => BTreeMap::from([(upstream.cluster.clone(), upstream.attempts.unwrap_or(0))]),
        None => BTreeMap::new(),
    };
    let mirrors = mirrors(exchange.config);
    let ours = answer.attempts.clone().into_iter().filter(|(cluster, _)| !mirrors.contains(cluster)).collect();
    differ(&mut out, "attempts by cluster", &attempts, &ours);
    if let (Some(told), Some(upstream)) = (&answer.upstream, &observed.upstream) {
        differ(&mut out, "cluster as told", &upstream.cluster.as_str(), &told.cluster());
        differ(&mut out, "attempts as told", &upstream.attempts.unwrap_or(0), &u64::from(told.attempts()));
    }
    let noted = observed.upstream.as_ref().and_then(|upstream| upstream.requests_seen.as_ref());
    let seen = in_order(arrivals.iter().filter(|arrival| !is_late(exchange, arrival)).map(|arrival| &arrival.seen));
    let expected = in_order(noted.into_iter().flatten());
    // Of requests that Envoy gave up waiting for, the recorder noted some only after it was asked about them.
    if noted.is_some() || !observed.flags.contains("UT") {
        differ(&mut out, "requests that arrived", &expected, &seen);
    }
    first_request(&mut out, exchange);
    timing(&mut out, exchange);
    out
}

/// The clusters that the configuration copies requests to.
fn mirrors(config: &Value) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    visit(config, &mut |key, value| {
        if key == "request_mirror_policies" {
            let policies = value.as_array().into_iter().flatten();
            out.extend(policies.filter_map(|policy| policy["cluster"].as_str()).map(str::to_owned));
        }
    });
    out
}

/// Requests in the order of their arrival, copies behind: between a request and its copy no order is promised.
fn in_order<'a>(seen: impl Iterator<Item = &'a Seen>) -> Vec<&'a Seen> {
    let mut seen: Vec<&Seen> = seen.collect();
    seen.sort_by_key(|seen| MIRRORS.contains(&seen.port).then_some(seen.port));
    seen
}

/// A copy that its server answers later than the answer came: the recorder, who notes what was answered, missed it.
fn is_late(exchange: &Exchange<'_>, arrival: &Arrival) -> bool {
    let port = arrival.seen.port;
    let script = exchange.case.request.header("x-up").unwrap_or_default();
    let delay = |port| Script::parse(script, port).delay;
    MIRRORS.contains(&port) && delay(port) > delay(UP)
}

fn differ<T: PartialEq + std::fmt::Debug>(out: &mut Vec<String>, what: &str, expected: &T, ours: &T) {
    if expected != ours {
        out.push(format!("{what}: Envoy {expected:?}, ours {ours:?}"));
    }
}

fn body(out: &mut Vec<String>, exchange: &Exchange<'_>) {
    let (expected, ours) = (&exchange.case.observed.body, &exchange.answer.body);
    if expected != "<upstream echo>" {
        return differ(out, "body", &expected.as_str(), &&*String::from_utf8_lossy(ours));
    }
    // The echo of the last try, and of no other request.
    let echo: Value = serde_json::from_slice(ours).unwrap_or_default();
    let mut originals =
        exchange.arrivals.iter().map(|arrival| &arrival.seen).filter(|seen| !MIRRORS.contains(&seen.port));
    let last = originals.next_back();
    let expected = last.map(|seen| (exchange.id, u64::from(seen.port), seen.path.as_str()));
    let ours = (|| Some((echo["id"].as_str()?, echo["port"].as_u64()?, echo["path"].as_str()?)))();
    differ(out, "echo", &expected, &ours);
}

fn first_request(out: &mut Vec<String>, exchange: &Exchange<'_>) {
    let Some(expected) = exchange.case.observed.upstream.as_ref().and_then(|one| one.first_request_headers.as_ref())
    else {
        return;
    };
    let Some(first) = exchange.arrivals.first() else { return };
    // The id under which Envoy was asked went into a rewritten host; ours is another.
    let family = exchange.case.name.split('/').next().unwrap_or_default();
    let their_id = |value: &str| {
        let number = value.strip_prefix(family).and_then(|rest| rest.strip_prefix('-'));
        number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let translate = |value: &String| if their_id(value) { exchange.id.to_owned() } else { value.clone() };
    let expected: Headers = expected.iter().map(|(name, value)| (name.clone(), translate(value))).collect();
    let of_connection = about_the_connection(exchange.config);
    let ignored = |name: &str| {
        let unasked = EDGE_HEADERS.contains(&name) && exchange.case.request.header(name).is_none();
        FRAMING.contains(&name) || unasked || of_connection.contains(name)
    };
    headers(out, "first request header", &expected, &first.headers, ignored);
}

/// Compares header lines by name; the order of lines of different names has no meaning.
fn headers(out: &mut Vec<String>, what: &str, expected: &Headers, ours: &Headers, ignored: impl Fn(&str) -> bool) {
    let by_name = |headers: &Headers| {
        let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in headers.iter().filter(|(name, _)| !ignored(name)) {
            map.entry(name.clone()).or_default().push(value.clone());
        }
        map
    };
    let (expected, ours) = (by_name(expected), by_name(ours));
    let names: BTreeSet<&String> = expected.keys().chain(ours.keys()).collect();
    for name in names {
        let (expected, ours) = (expected.get(name), ours.get(name));
        if expected != ours {
            out.push(format!("{what} {name}: Envoy {expected:?}, ours {ours:?}"));
        }
    }
}

fn timing(out: &mut Vec<String>, exchange: &Exchange<'_>) {
    let Some(seconds) = exchange.case.observed.seconds else { return };
    let (observed, ours) = (Duration::from_secs_f64(seconds), exchange.answer.elapsed);
    // A timer never fires early; how late it is seen to fire is the machine's affair.
    if ours < observed.mul_f64(0.9) || ours > observed + SLACK {
        out.push(format!("time: Envoy {observed:?}, ours {ours:?}"));
    }
}

/// Names of the headers that the configuration removes from responses or requests.
fn mutated(config: &Value, side: &str) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    visit(config, &mut |key, value| {
        if key == format!("{side}_headers_to_remove") {
            out.extend(value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
        }
    });
    out
}

/// Names of added headers whose values tell of the caller's connection: a caller in this process has none.
fn about_the_connection(config: &Value) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    visit(config, &mut |key, value| {
        if key == "header"
            && value["value"].as_str().is_some_and(|value| value.contains("%DOWNSTREAM_"))
            && let Some(name) = value["key"].as_str()
        {
            out.insert(name.to_owned());
        }
    });
    out
}

fn visit(value: &Value, each: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                each(key, inner);
                visit(inner, each);
            }
        }
        Value::Array(list) => list.iter().for_each(|inner| visit(inner, each)),
        _ => {}
    }
}

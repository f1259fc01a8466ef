//! The share of each host where priorities, health, panic, localities, dropping and chance decide: from Envoy's fields, through
//! decode and exchange, to the host.

use std::collections::BTreeMap;

use http::Request;
use mesh_core::exchange::Unpicked;
use mesh_proto::type_url::CLUSTER;
use mesh_tests::edge::{Edge, Given, listener};
use mesh_tests::lb::{Case, differ_by};
use serde_json::{Value, json};

/// Picks drawn; the recordings drew fewer and carry a percent of noise.
const PICKS: u32 = 20_000;
/// What a share may differ by.
const SLACK: f64 = 0.02;

/// Priorities with the health of each host.
pub(super) fn levels(case: &Case) -> Vec<String> {
    let config = &case.cluster_config;
    let (mut number, mut localities) = (0, Vec::new());
    for (priority, health) in config["endpoints"].as_array().unwrap().iter().enumerate() {
        let hosts: Vec<Value> = health.as_array().unwrap().iter().map(|health| host(&mut number, health, 1)).collect();
        localities.push(json!({ "priority": priority, "lb_endpoints": hosts }));
    }
    differs(case, cluster(localities, &config["policy"], &json!({ "common_lb_config": config["common_lb_config"] })))
}

/// Two localities of one priority: `X` with some healthy hosts of four, `Y` with all.
pub(super) fn localities(case: &Case) -> Vec<String> {
    let config = &case.cluster_config;
    let healthy = config["X"].as_str().unwrap().split(' ').next().unwrap().parse::<usize>().unwrap();
    let (mut number, mut localities) = (0, Vec::new());
    for (name, healthy) in [("X", healthy), ("Y", 4)] {
        let health = |at: usize| if at < healthy { "HEALTHY" } else { "UNHEALTHY" };
        let hosts: Vec<Value> = (0..4).map(|at| host(&mut number, &health(at).into(), 1)).collect();
        let weight = &config["locality_weights"][name];
        localities
            .push(json!({ "locality": { "zone": name }, "load_balancing_weight": weight, "lb_endpoints": hosts }));
    }
    let by_weight = json!({ "common_lb_config": { "locality_weighted_lb_config": {} } });
    let ours = shares(&cluster(localities, &Value::Null, &by_weight), |port| {
        if port <= 21_004 { "X" } else { "Y" }.to_owned()
    });
    differ_by(&recorded(&case.observed), &ours, SLACK)
}

/// Weights under a policy that has no use for them.
pub(super) fn random(case: &Case) -> Vec<String> {
    let mut number = 0;
    let weights = case.cluster_config["weights"].as_array().unwrap();
    let weight = |weight: &Value| u32::try_from(weight.as_u64().unwrap()).unwrap();
    let hosts: Vec<Value> = weights.iter().map(|one| host(&mut number, &"HEALTHY".into(), weight(one))).collect();
    let random = json!({ "lb_policy": "RANDOM" });
    differs(case, cluster(vec![json!({ "lb_endpoints": hosts })], &Value::Null, &random))
}

/// Half of the requests is dropped before a host is picked.
pub(super) fn dropped(case: &Case) -> Vec<String> {
    let ours = shares(&dropping(&[50]), |_| "ok".to_owned());
    let ok = case.observed["ok"].as_f64().unwrap();
    let recorded = BTreeMap::from([("ok".to_owned(), ok), (format!("{:?}", Unpicked::DropOverload), 1.0 - ok)]);
    differ_by(&recorded, &ours, SLACK)
}

/// Envoy takes one category of dropping only.
pub(super) fn two_categories(_: &Case) -> Vec<String> {
    match Edge::new(&[plain(), dropping(&[50, 50])]) {
        Err(refused) if refused.contains("drop_overloads") => Vec::new(),
        other => vec![format!("not refused for its drop_overloads: {other:?}")],
    }
}

fn dropping(percents: &[u32]) -> Given {
    let category = |(at, percent): (usize, &u32)| json!({ "category": format!("c{at}"), "drop_percentage": { "numerator": percent } });
    let policy = json!({ "drop_overloads": percents.iter().enumerate().map(category).collect::<Vec<_>>() });
    let hosts = [host(&mut 0, &"HEALTHY".into(), 1)];
    cluster(vec![json!({ "lb_endpoints": hosts })], &policy, &Value::Null)
}

fn host(number: &mut u16, health: &Value, weight: u32) -> Value {
    *number += 1;
    let socket = json!({ "address": "127.0.0.1", "port_value": 21_000 + *number });
    json!({
        "endpoint": { "address": { "socket_address": socket } },
        "health_status": health,
        "load_balancing_weight": weight,
    })
}

fn cluster(localities: Vec<Value>, policy: &Value, more: &Value) -> Given {
    let mut assignment = json!({ "cluster_name": "c", "endpoints": localities });
    if !policy.is_null() {
        assignment["policy"] = policy.clone();
    }
    let mut json = json!({ "name": "c", "type": "STATIC", "load_assignment": assignment });
    for (field, value) in more.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        json[field] = value.clone();
    }
    Given { type_url: CLUSTER, json }
}

fn plain() -> Given {
    listener(&json!({ "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "c" } }] }))
}

fn differs(case: &Case, cluster: Given) -> Vec<String> {
    let ours = shares(&cluster, |port| format!("h{}", port - 21_000));
    // What a request got that found no host.
    let name = |name: &String| {
        if name.starts_with("503/UH") { format!("{:?}", Unpicked::NoHealthyHost) } else { name.clone() }
    };
    let recorded = recorded(&case.observed["shares"]).iter().map(|(key, share)| (name(key), *share)).collect();
    differ_by(&recorded, &ours, SLACK)
}

fn recorded(shares: &Value) -> BTreeMap<String, f64> {
    shares.as_object().unwrap().iter().map(|(name, share)| (name.clone(), share.as_f64().unwrap())).collect()
}

/// The shares of what `name` makes of a host's port, and of what kept a request from a host.
fn shares(cluster: &Given, name: impl Fn(u16) -> String) -> BTreeMap<String, f64> {
    let edge = Edge::new(&[plain(), cluster.clone()]).unwrap();
    let mut shares = BTreeMap::new();
    for seed in 0..PICKS {
        let picked = edge.pick(Request::get("http://a.test/").body(()).unwrap(), u64::from(seed));
        let key = picked.map_or_else(|unpicked| format!("{unpicked:?}"), &name);
        *shares.entry(key).or_default() += 1.0 / f64::from(PICKS);
    }
    shares
}

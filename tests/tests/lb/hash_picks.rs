//! The host that a real Envoy picked for each key, and ours: the whole way from the configuration's JSON to the host.

use http::{HeaderName, HeaderValue, Request};
use mesh_proto::type_url::CLUSTER;
use mesh_tests::data;
use mesh_tests::edge::{Edge, Given, listener};
use mesh_tests::lb::Case;
use serde::Deserialize;
use serde_json::{Value, json};

/// What was recorded.
#[derive(Deserialize)]
struct Recording {
    scenarios: Vec<Scenario>,
}

/// One configuration and the picks under it.
#[derive(Deserialize)]
struct Scenario {
    name: String,
    lb: Value,
    hash_policy: Value,
    endpoints: Vec<RecordedEndpoint>,
    requests: Vec<Recorded>,
}

#[derive(Deserialize)]
struct RecordedEndpoint {
    address: String,
    weight: Option<u32>,
}

#[derive(Deserialize)]
struct Recorded {
    path: String,
    headers: std::collections::BTreeMap<String, String>,
    picked: u16,
}

impl Scenario {
    fn edge(&self) -> Edge {
        let endpoint = |one: &RecordedEndpoint| {
            let (ip, port) = one.address.rsplit_once(':').unwrap();
            let socket = json!({ "address": ip, "port_value": port.parse::<u16>().unwrap() });
            let endpoint = json!({ "address": { "socket_address": socket } });
            match one.weight {
                Some(weight) => json!({ "endpoint": endpoint, "load_balancing_weight": weight }),
                None => json!({ "endpoint": endpoint }),
            }
        };
        let endpoints: Vec<Value> = self.endpoints.iter().map(endpoint).collect();
        let mut cluster = json!({
            "name": "hashing",
            "type": "STATIC",
            "load_assignment": { "cluster_name": "hashing", "endpoints": [{ "lb_endpoints": endpoints }] },
        });
        cluster.as_object_mut().unwrap().extend(self.lb.as_object().unwrap().clone());
        let route = json!({ "cluster": "hashing", "hash_policy": self.hash_policy });
        let routes = json!({ "routes": [{ "match": { "prefix": "/" }, "route": route }] });
        Edge::new(&[listener(&routes), Given { type_url: CLUSTER, json: cluster }]).unwrap()
    }
}

/// The recorded client wrote a header's characters as Latin-1, as HTTP has it.
fn latin1(text: &str) -> HeaderValue {
    let bytes: Vec<u8> = text.chars().map(|one| u8::try_from(u32::from(one)).unwrap()).collect();
    HeaderValue::from_bytes(&bytes).unwrap()
}

/// The port of the host that a request goes to.
fn pick(edge: &Edge, recorded: &Recorded, seed: u64) -> Option<u16> {
    let mut request = Request::get(format!("http://a.test{}", recorded.path));
    for (name, value) in &recorded.headers {
        request = request.header(HeaderName::from_bytes(name.as_bytes()).unwrap(), latin1(value));
    }
    edge.pick(request.body(()).unwrap(), seed).ok()
}

/// Each key's host, as far as the recording lists them.
pub(super) fn keys(case: &Case) -> Vec<String> {
    let config = &case.cluster_config;
    let weight = |weight: &Value| u32::try_from(weight.as_u64().unwrap()).unwrap();
    let endpoint = |(address, given): (&String, &Value)| RecordedEndpoint {
        address: address.clone(),
        weight: Some(weight(given)),
    };
    let scenario = Scenario {
        name: case.name.clone(),
        lb: json!({ "lb_policy": config["lb"], "maglev_lb_config": { "table_size": config["table_size"] } }),
        hash_policy: json!([{ "header": { "header_name": "x-key" } }]),
        endpoints: config["endpoints"].as_object().unwrap().iter().map(endpoint).collect(),
        requests: Vec::new(),
    };
    let edge = scenario.edge();
    let host = |key: &str| {
        let request = Request::get("http://a.test/").header("x-key", key).body(()).unwrap();
        edge.pick_host(request, 0).unwrap().to_string()
    };
    let listed = case.observed["key_to_host"].as_object().unwrap();
    let differs = |(key, recorded): (&String, &Value)| {
        let ours = host(key);
        (Some(ours.as_str()) != recorded.as_str()).then(|| format!("{key}: Envoy {recorded}, ours {ours}"))
    };
    listed.iter().filter_map(differs).collect()
}

#[tokio::test]
async fn every_recorded_pick_by_hash_is_envoys() {
    let Some(path) = data::find("envoy-observed/hash_picks.json") else { return data::report(0, 1) };
    let recording: Recording = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (mut ran, mut by_chance, mut differ) = (0, 0, Vec::new());
    for scenario in &recording.scenarios {
        let edge = scenario.edge();
        for (seed, recorded) in (0u64..).zip(&scenario.requests) {
            // The recorded client sent no header for an empty value: such a pick was by chance.
            if recorded.headers.values().any(String::is_empty) {
                by_chance += 1;
                continue;
            }
            ran += 1;
            let ours = pick(&edge, recorded, seed);
            if ours != Some(recorded.picked) {
                differ.push(format!(
                    "{} {} {:?}: Envoy {}, ours {ours:?}",
                    scenario.name, recorded.path, recorded.headers, recorded.picked
                ));
            }
        }
    }
    data::report(ran, by_chance);
    assert!(
        differ.is_empty(),
        "{} of {ran} picks differ, e.g.\n{}",
        differ.len(),
        differ[..differ.len().min(12)].join("\n")
    );
}

#[tokio::test]
async fn a_key_finds_its_host_again_whatever_chance_says() {
    for lb in [json!({ "lb_policy": "RING_HASH" }), json!({ "lb_policy": "MAGLEV" })] {
        let hash_policy = json!([{ "header": { "header_name": "x-key" } }]);
        let scenario = Scenario {
            name: String::new(),
            lb,
            hash_policy,
            endpoints: (1..=5)
                .map(|n| RecordedEndpoint { address: format!("10.0.0.{n}:80{n}"), weight: Some(n) })
                .collect(),
            requests: Vec::new(),
        };
        let edge = scenario.edge();
        let mut seen = std::collections::BTreeSet::new();
        for key in 0..40 {
            let headers = [("x-key".to_owned(), format!("key-{key}"))].into();
            let recorded = Recorded { path: "/".to_owned(), headers, picked: 0 };
            let host = pick(&edge, &recorded, key);
            assert!(host.is_some());
            assert!((0..10).all(|seed| pick(&edge, &recorded, 1000 + seed) == host));
            seen.insert(host);
        }
        assert!(seen.len() > 2, "{seen:?}");
    }
}

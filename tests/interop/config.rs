//! The one configuration of both proxies: a listener for each case, on a port that is free.

use mesh_tests::edge::{clusters, listener};
use mesh_tests::upstream::Upstreams;
use serde_json::{Value, json};

use crate::case::Case;

/// The listener that tells how Envoy calls its own machine.
pub(crate) const PROBE: &str = "probe";

pub(crate) fn of(cases: &[Case], upstreams: &Upstreams) -> Value {
    let probe = json!({
        "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "up" } }],
        "http_connection_manager": { "use_remote_address": true },
    });
    let mut listeners = vec![open(PROBE, &probe)];
    let mut all: Vec<Value> = clusters::clusters(upstreams).into_iter().map(|given| given.json).collect();
    for case in cases {
        listeners.push(open(&case.name, &case.listener));
        for one in &case.clusters {
            let name = one.name.as_str();
            assert!(all.iter().all(|other| other["name"] != name), "{}: cluster {name} is there already", case.name);
            let more = Value::Object(one.more.clone().into_iter().collect());
            all.push(clusters::cluster(upstreams, name, &one.ports, more).json);
        }
    }
    json!({
        "admin": { "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } } },
        "static_resources": { "listeners": listeners, "clusters": all },
    })
}

fn open(name: &str, parts: &Value) -> Value {
    let mut json = listener(parts).json;
    json["name"] = name.into();
    json["address"] = json!({ "socket_address": { "address": "127.0.0.1", "port_value": 0 } });
    if let Some(fields) = json.as_object_mut() {
        fields.remove("use_original_dst");
        fields.remove("traffic_direction");
    }
    json
}

//! The clusters of the recorded Envoy, over our ports.

use serde_json::{Value, json};

use super::Given;
use crate::upstream::{DEAD, H2UP, HOLE, MIR, MIR2, UP, UP2, Upstreams};
use mesh_proto::type_url::CLUSTER;

/// All clusters that need no feature that is still to come.
#[must_use]
pub fn clusters(upstreams: &Upstreams) -> Vec<Given> {
    let one = |name: &str, ports: &[u16], more: Value| cluster(upstreams, name, ports, more);
    let limits = |limits: Value| json!({ "circuit_breakers": { "thresholds": [limits] } });
    vec![
        one("up", &[UP], json!({})),
        one("up2", &[UP2], json!({})),
        one("two", &[UP, UP2], json!({})),
        one("half", &[DEAD, UP], json!({})),
        one("dead", &[DEAD], json!({})),
        one("hole", &[HOLE], json!({ "connect_timeout": "0.3s" })),
        one("empty", &[], json!({})),
        one("mir", &[MIR], json!({})),
        one("mir2", &[MIR2], json!({})),
        one("h2up", &[H2UP], http2()),
        one("over", &[UP], limits(json!({ "max_requests": 0 }))),
        one("overp", &[UP], limits(json!({ "max_connections": 0, "max_pending_requests": 0 }))),
        one("ring", &[UP, UP2], json!({ "lb_policy": "RING_HASH" })),
        one("noretry", &[UP], limits(json!({ "max_retries": 0 }))),
        one(
            "budget",
            &[UP],
            limits(json!({ "retry_budget": { "budget_percent": { "value": 0 }, "min_retry_concurrency": 0 } })),
        ),
    ]
}

/// A static cluster over the servers that stand for `ports`, with further fields.
///
/// # Panics
/// When `more` is no object.
#[must_use]
pub fn cluster(upstreams: &Upstreams, name: &str, ports: &[u16], more: Value) -> Given {
    let endpoint = |port: &u16| {
        let address = upstreams.address(*port);
        let socket = json!({ "address": address.ip().to_string(), "port_value": address.port() });
        json!({ "endpoint": { "address": { "socket_address": socket } } })
    };
    let endpoints: Vec<Value> = ports.iter().map(endpoint).collect();
    let mut json = json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": endpoints }] },
    });
    super::listener::lay_over(&mut json, &more);
    Given { type_url: CLUSTER, json }
}

fn http2() -> Value {
    json!({
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} },
            }
        }
    })
}

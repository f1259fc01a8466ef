//! The listener of a case: its parts, laid over a plain one.
//!
//! A case gives `routes` (of one virtual host for `*`), `virtual_host`, `route_config`, `http_filters` and
//! `http_connection_manager`, each with fields of the message of that name.

use mesh_proto::type_url::LISTENER;
use serde_json::{Value, json};

use super::Given;

const MANAGER: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";

/// The listener that serves every port that nobody else serves, with these parts.
///
/// # Panics
/// When there is a part that is not known.
#[must_use]
pub fn listener(parts: &Value) -> Given {
    for part in parts.as_object().expect("a configuration is an object").keys() {
        let known = ["routes", "virtual_host", "route_config", "http_filters", "http_connection_manager"];
        assert!(known.contains(&part.as_str()), "{part:?} is no part of a listener");
    }
    let mut host = json!({ "name": "vh", "domains": ["*"] });
    if let Some(routes) = parts.get("routes") {
        lay_over(&mut host, &json!({ "routes": routes }));
    }
    lay_over(&mut host, parts.get("virtual_host").unwrap_or(&Value::Null));
    let mut routes = json!({ "name": "rc", "virtual_hosts": [host] });
    lay_over(&mut routes, parts.get("route_config").unwrap_or(&Value::Null));
    let filters = parts.get("http_filters").and_then(Value::as_array).cloned().unwrap_or_default();
    let router = json!({ "name": "envoy.filters.http.router", "typed_config": { "@type": ROUTER } });
    let filters: Vec<Value> = filters.into_iter().chain([router]).collect();
    let mut manager =
        json!({ "@type": MANAGER, "stat_prefix": "edge", "route_config": routes, "http_filters": filters });
    lay_over(&mut manager, parts.get("http_connection_manager").unwrap_or(&Value::Null));
    let json = json!({
        "name": "virtualOutbound",
        "address": { "socket_address": { "address": "0.0.0.0", "port_value": 15001 } },
        "use_original_dst": true,
        "traffic_direction": "OUTBOUND",
        "filter_chains": [{
            "filters": [{ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }],
        }],
    });
    Given { type_url: LISTENER, json }
}

/// Sets the fields of `more` on `json`; those that are there are replaced.
pub(super) fn lay_over(json: &mut Value, more: &Value) {
    if let (Some(map), Some(more)) = (json.as_object_mut(), more.as_object()) {
        map.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
}

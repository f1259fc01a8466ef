//! Which cases wait for a feature, and for which: told from the configuration, never from what a case expects.

use serde_json::Value;

use super::{Case, Group};

/// Configuration that needs more than this data plane has: where it is, and what it waits for.
const BY_CONFIG: &[(&str, &str)] = &[
    ("runtime", "not applicable: Envoy's runtime guards, switched from their defaults"),
    ("tracing", "tracing"),
    ("use_remote_address", "the caller's address: there is no connection before a caller in this process"),
];

/// HTTP filters by a part of their type.
const BY_FILTER: &[(&str, &str)] =
    &[(".jwt_authn.", "filter jwt_authn"), (".rbac.", "filter rbac"), (".ext_authz.", "filter ext_authz")];

/// Clusters that need more.
const BY_CLUSTER: &[(&str, &str)] = &[("tlsbad", "TLS")];

/// What a case waits for; `None` when it can run.
#[must_use]
pub fn waits_for(group: &Group, case: &Case) -> Option<&'static str> {
    if let Some(filters) = group.config.get("http_filters") {
        let text = filters.to_string();
        let known = BY_FILTER.iter().find(|(part, _)| text.contains(part));
        return Some(known.map_or("another HTTP filter", |(_, feature)| feature));
    }
    if let Some((_, feature)) = BY_CONFIG.iter().find(|(key, _)| has_key(&group.config, key)) {
        return Some(feature);
    }
    let clusters = |name: &str| has_text(&group.config, "cluster", name);
    if let Some((_, feature)) = BY_CLUSTER.iter().find(|(name, _)| clusters(name)) {
        return Some(feature);
    }
    // A client that went away with nothing unfinished leaves only a line in the access log.
    (case.observed.status == 0 && !case.request.is_unfinished()).then_some("the access log")
}

fn has_key(value: &Value, key: &str) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(name, inner)| name == key || has_key(inner, key)),
        Value::Array(list) => list.iter().any(|inner| has_key(inner, key)),
        _ => false,
    }
}

fn has_text(value: &Value, key: &str, text: &str) -> bool {
    match value {
        Value::Object(map) => {
            map.iter().any(|(name, inner)| (name == key && inner == text) || has_text(inner, key, text))
        }
        Value::Array(list) => list.iter().any(|inner| has_text(inner, key, text)),
        _ => false,
    }
}

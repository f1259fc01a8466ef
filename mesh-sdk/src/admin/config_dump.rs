//! `/config_dump`: every resource with the version in force and the reason why a later one was refused, as
//! `envoy.admin.v3.ConfigDump`. Resources are decoded from the bytes kept on the board, when somebody asks.

use std::time::{SystemTime, UNIX_EPOCH};

use http::StatusCode;
use mesh_core::resource::{ResourceKind, ResourceName};
use mesh_core::snapshot::status::{InForce, ResourceStatus, StatusBoard};
use mesh_proto::google::protobuf::Timestamp;
use mesh_proto::json::{Style, to_json_in, to_json_of};
use mesh_proto::type_url;
use serde_json::{Map, Value, json};

use super::Page;
use super::query::Query;
use crate::view::View;

pub(super) fn page(view: &View, query: &Query) -> Page {
    let board = view.board().clone();
    let configs = sections(&board, query.flag("include_eds"));
    match query.value("resource") {
        None => Page::json(&json!({ "configs": configs })),
        Some(wanted) => match configs.into_iter().find_map(|section| section.get(wanted).cloned()) {
            Some(Value::Array(entries)) => {
                let type_url = entry_type(wanted);
                let entries: Vec<_> = entries.into_iter().map(|entry| typed(type_url, entry)).collect();
                Page::json(&json!({ "configs": entries }))
            }
            _ => Page::error(StatusCode::NOT_FOUND, format!("{wanted} not found in config dump\n")),
        },
    }
}

const DYNAMIC_CLUSTERS: &str = "dynamic_active_clusters";
const DYNAMIC_LISTENERS: &str = "dynamic_listeners";
const DYNAMIC_ROUTES: &str = "dynamic_route_configs";
const DYNAMIC_ENDPOINTS: &str = "dynamic_endpoint_configs";

fn sections(board: &StatusBoard, include_eds: bool) -> Vec<Value> {
    let of = |kind: ResourceKind, entry: fn(&ResourceName, &ResourceStatus) -> Value| -> Vec<Value> {
        board.iter().filter(|(name, _)| name.kind == kind).map(|(name, status)| entry(name, status)).collect()
    };
    let section = |name: &str, list: &str, entries: Vec<Value>| json!({ "@type": admin_type(name), (list): entries });
    let mut sections = vec![section(
        "ClustersConfigDump",
        DYNAMIC_CLUSTERS,
        of(ResourceKind::Cluster, |_, status| flat("cluster", status)),
    )];
    if include_eds {
        let endpoints = of(ResourceKind::ClusterLoadAssignment, |_, status| flat("endpoint_config", status));
        sections.push(section("EndpointsConfigDump", DYNAMIC_ENDPOINTS, endpoints));
    }
    sections.push(section("ListenersConfigDump", DYNAMIC_LISTENERS, of(ResourceKind::Listener, listener)));
    let routes = of(ResourceKind::RouteConfiguration, |_, status| flat("route_config", status));
    sections.push(section("RoutesConfigDump", DYNAMIC_ROUTES, routes));
    sections
}

fn admin_type(name: &str) -> String {
    format!("{}envoy.admin.v3.{name}", type_url::PREFIX)
}

fn entry_type(list: &str) -> &'static str {
    match list {
        DYNAMIC_CLUSTERS => "ClustersConfigDump.DynamicCluster",
        DYNAMIC_ENDPOINTS => "EndpointsConfigDump.DynamicEndpointConfig",
        DYNAMIC_LISTENERS => "ListenersConfigDump.DynamicListener",
        _ => "RoutesConfigDump.DynamicRouteConfig",
    }
}

fn typed(name: &str, mut entry: Value) -> Value {
    if let Value::Object(fields) = &mut entry {
        fields.insert("@type".to_owned(), admin_type(name).into());
    }
    entry
}

/// A cluster, endpoint or route entry: the version in force at the top.
fn flat(field: &str, status: &ResourceStatus) -> Value {
    let mut entry = status.in_force.as_ref().map(|in_force| state(field, in_force)).unwrap_or_default();
    refusal(&mut entry, status);
    Value::Object(entry)
}

/// A listener entry: the version in force has a level of its own.
fn listener(name: &ResourceName, status: &ResourceStatus) -> Value {
    let mut entry = Map::from_iter([("name".to_owned(), Value::from(&*name.name))]);
    if let Some(in_force) = &status.in_force {
        entry.insert("active_state".to_owned(), Value::Object(state("listener", in_force)));
    }
    refusal(&mut entry, status);
    Value::Object(entry)
}

fn state(field: &str, in_force: &InForce) -> Map<String, Value> {
    let resource = to_json_in(Style::CONFIG_DUMP, in_force.type_url, &in_force.encoded);
    // What is in force was decoded once already; should its printing fail, that is said in its place.
    let mut resource = resource.unwrap_or_else(|error| json!({ "error": error.to_string() }));
    if let Value::Object(fields) = &mut resource {
        fields.insert("@type".to_owned(), in_force.type_url.into());
    }
    let mut entry = Map::from_iter([
        ("version_info".to_owned(), Value::from(&*in_force.version)),
        (field.to_owned(), resource),
        ("last_updated".to_owned(), timestamp(in_force.since)),
    ]);
    if !in_force.not_in_force.is_empty() {
        // Ours, beside Envoy's fields: what was received and has no effect.
        entry.insert("not_in_force".to_owned(), in_force.not_in_force.iter().cloned().collect());
    }
    entry
}

fn refusal(entry: &mut Map<String, Value>, status: &ResourceStatus) {
    if let Some((at, invalid)) = &status.refused {
        let error = json!({ "last_update_attempt": timestamp(*at), "details": invalid.to_string() });
        entry.insert("error_state".to_owned(), error);
    }
}

/// A point in time as protobuf's JSON writes it, to the millisecond as Envoy does.
fn timestamp(at: SystemTime) -> Value {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = i32::try_from(since.subsec_millis()).unwrap_or_default() * 1_000_000;
    let timestamp = Timestamp { seconds: i64::try_from(since.as_secs()).unwrap_or_default(), nanos };
    // Only years beyond 9999 do not print.
    to_json_of(&timestamp).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timestamps_are_dates() {
        let at = |seconds, millis| timestamp(UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(millis));
        assert_eq!(at(951_782_400, 5), "2000-02-29T00:00:00.005Z");
        assert_eq!(at(1_709_251_199, 999), "2024-02-29T23:59:59.999Z");
    }
}

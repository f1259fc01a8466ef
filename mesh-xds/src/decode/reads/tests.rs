//! The table against the decoders: every field of it, taken out of a configuration that sets it, changes the outcome.
#![allow(clippy::unwrap_used, reason = "a failing test is what unwrap is for")]

use std::collections::BTreeSet;

use mesh_core::resource::ResourceKind;
use mesh_proto::descriptors::prost_reflect::{DynamicMessage, FieldDescriptor, ReflectMessage, Value};
use mesh_proto::google::protobuf::Any;
use mesh_proto::prost::Message;
use mesh_proto::type_url::type_name;
use mesh_proto::{descriptors, json};
use serde_json::Value as Json;

use super::super::{resource, type_url};
use super::ALL;

/// Fields whose absence changes nothing, and why they are read all the same.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("envoy.config.core.v3.HttpProtocolOptions.headers_with_underscores_action", "only allowing them is accepted"),
    ("envoy.config.listener.v3.Listener.listener_filters", "those that are allowed find out what is known"),
    ("envoy.config.listener.v3.ListenerFilter.typed_config", "of a filter that is allowed; the name says as much"),
    ("envoy.config.core.v3.ConfigSource.resource_api_version", "there is one version"),
    ("envoy.config.core.v3.SocketAddress.protocol", "TCP is the default, and the only one"),
    ("envoy.config.cluster.v3.Cluster.EdsClusterConfig.eds_config", "there is one source"),
    ("envoy.config.cluster.v3.Cluster.transport_socket", "only plain text is accepted"),
    ("envoy.config.listener.v3.FilterChain.transport_socket", "only plain text is accepted"),
    ("envoy.extensions.filters.network.http_connection_manager.v3.Rds.config_source", "there is one source"),
    (
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig.http_protocol_options",
        "HTTP/1.1 is spoken anyway",
    ),
];

fn fixtures() -> Vec<(ResourceKind, Vec<Json>)> {
    let read = |text: &str| serde_json::from_str(text).unwrap();
    vec![
        (ResourceKind::RouteConfiguration, read(include_str!("fixtures/routes.json"))),
        (ResourceKind::Listener, read(include_str!("fixtures/listeners.json"))),
        (ResourceKind::Cluster, read(include_str!("fixtures/clusters.json"))),
        (ResourceKind::ClusterLoadAssignment, read(include_str!("fixtures/endpoints.json"))),
    ]
}

/// Every fixture as a message that can be changed.
fn messages() -> Vec<(ResourceKind, DynamicMessage)> {
    let mut messages = Vec::new();
    for (kind, list) in fixtures() {
        for one in list {
            let bytes = json::encode(type_url(kind), &one).unwrap();
            let descriptor = descriptors::message(type_name(type_url(kind))).unwrap();
            messages.push((kind, DynamicMessage::decode(descriptor, bytes.as_slice()).unwrap()));
        }
    }
    messages
}

/// The outcome as text: the value, or the refusal.
fn outcome(kind: ResourceKind, message: &DynamicMessage) -> String {
    match resource(kind, &message.encode_to_vec()) {
        Ok(decoded) => format!("{decoded:?}"),
        Err(invalid) => invalid.to_string(),
    }
}

/// Clears a field wherever it is set; how often it was.
fn clear(message: &mut DynamicMessage, field: &FieldDescriptor) -> usize {
    if message.descriptor().full_name() == "google.protobuf.Any" {
        return clear_in_any(message, field);
    }
    let mut cleared = 0;
    if message.descriptor().full_name() == field.parent_message().full_name() && message.has_field(field) {
        message.clear_field(field);
        cleared += 1;
    }
    for (_, value) in message.fields_mut() {
        cleared += match value {
            Value::Message(inner) => clear(inner, field),
            Value::List(list) => list.iter_mut().map(|item| clear_value(item, field)).sum(),
            Value::Map(map) => map.values_mut().map(|item| clear_value(item, field)).sum(),
            _ => 0,
        };
    }
    cleared
}

fn clear_value(value: &mut Value, field: &FieldDescriptor) -> usize {
    match value {
        Value::Message(inner) => clear(inner, field),
        _ => 0,
    }
}

fn clear_in_any(message: &mut DynamicMessage, field: &FieldDescriptor) -> usize {
    let mut any: Any = message.transcode_to().unwrap();
    let name = type_name(&any.type_url).to_owned();
    let Some(descriptor) = descriptors::message(&name) else { return 0 };
    let mut inner = DynamicMessage::decode(descriptor, any.value.as_slice()).unwrap();
    let cleared = clear(&mut inner, field);
    any.value = inner.encode_to_vec();
    let mut changed = DynamicMessage::new(message.descriptor());
    changed.transcode_from(&any).unwrap();
    *message = changed;
    cleared
}

fn table() -> Vec<FieldDescriptor> {
    let mut names = BTreeSet::new();
    for (message, fields) in ALL.iter().copied().flatten() {
        let descriptor = descriptors::message(message).unwrap_or_else(|| panic!("no message {message}"));
        for field in *fields {
            if *field == "*" {
                names.extend(descriptor.fields().map(|field| field.full_name().to_owned()));
            } else {
                let field = descriptor.get_field_by_name(field).unwrap_or_else(|| panic!("no {message}.{field}"));
                names.insert(field.full_name().to_owned());
            }
        }
    }
    let field = |name: String| {
        let (message, field) = name.rsplit_once('.').unwrap();
        descriptors::message(message).unwrap().get_field_by_name(field).unwrap()
    };
    names.into_iter().map(field).collect()
}

/// All remarks about the fixtures: what they ask for on purpose although it is not in force.
const REMARKS: &[&str] = &[
    "validate_clusters: clusters may arrive after the routes that name them",
    "virtual_hosts[0].routes[4].route.weighted_clusters.use_hash_policy: clusters are drawn at random, not by hash",
    "filter_chains[0].filters[0]: network filter stats.PluginConfig is not in force",
    "optional HTTP filter envoy.extensions.filters.http.header_to_metadata.v3.Config is left out",
    "upstream_http_filters[0]: the codec needs no filter",
    "filters[0]: upstream filter envoy.tcp.metadataexchange.config.MetadataExchange is not in force",
    "RuntimeDouble.runtime_key is not in force",
    "HttpProtocolOptions\"].http_filters[0]: the codec needs no filter",
    "transport_socket_matches[0].transport_socket: TLS towards upstreams is not there yet",
    "zone_aware_lb_config: zone aware routing is not in force",
];

/// Fields that are decoded ahead of their use. Nothing acts on them, so whoever sets one is told.
const AHEAD: &[&str] = &[
    "VirtualHost.virtual_clusters",
    "RequestMirrorPolicy.trace_sampled",
    "RetryPolicy.per_try_idle_timeout",
    "HttpConnectionManager.request_timeout",
    "HttpProtocolOptions.max_stream_duration",
    "Thresholds.max_connection_pools",
];

#[test]
fn what_is_decoded_ahead_of_its_use_is_reported() {
    let remarks: Vec<_> = messages()
        .iter()
        .flat_map(|(kind, message)| resource(*kind, &message.encode_to_vec()).unwrap().not_in_force)
        .collect();
    for field in AHEAD {
        let said = format!(": {field} is not in force");
        assert!(remarks.iter().any(|remark| remark.contains(&said)), "{field}");
    }
}

#[test]
fn the_fixtures_are_accepted_and_nothing_in_them_goes_unread() {
    for (kind, message) in messages() {
        let decoded = resource(kind, &message.encode_to_vec()).unwrap();
        let lines: Vec<_> = decoded.not_in_force.iter().filter(|line| !expected(line)).collect();
        assert!(lines.is_empty(), "{kind} {}: {lines:#?}", decoded.value.name());
    }
}

fn expected(line: &str) -> bool {
    REMARKS.iter().any(|remark| line.contains(remark)) || AHEAD.iter().any(|field| line.contains(field))
}

#[test]
fn every_field_of_the_table_changes_what_is_decoded() {
    let messages = messages();
    let mut wrong = Vec::new();
    for field in table() {
        let name = field.full_name().to_owned();
        let (mut set, mut matters) = (0, false);
        for (kind, message) in &messages {
            let mut without = message.clone();
            let cleared = clear(&mut without, &field);
            set += cleared;
            matters |= cleared > 0 && outcome(*kind, &without) != outcome(*kind, message);
        }
        let exempt = WITHOUT_EFFECT.iter().any(|(exempt, _)| *exempt == name);
        if set == 0 && !exempt {
            wrong.push(format!("{name}: no fixture sets it"));
        } else if matters == exempt {
            wrong.push(format!("{name}: {}", if exempt { "matters after all" } else { "does not matter" }));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_field_that_is_not_read_is_reported_and_nothing_else_is() {
    let mut route = fixtures().remove(0).1.remove(0);
    route["virtual_hosts"][0]["routes"][0]["decorator"] = serde_json::json!({ "operation": "o" });
    let mut bytes = json::encode(type_url(ResourceKind::RouteConfiguration), &route).unwrap();
    // Field 999, a varint: no message of the API has it.
    bytes.extend([0xb8, 0x3e, 1]);
    let decoded = resource(ResourceKind::RouteConfiguration, &bytes).unwrap();
    let found: Vec<_> = decoded.not_in_force.iter().filter(|line| !expected(line)).collect();
    assert_eq!(
        found,
        [
            "virtual_hosts[0].routes[0].decorator: Route.decorator is not in force",
            "#999: field 999 is unknown in envoy.config.route.v3.RouteConfiguration"
        ]
    );
}

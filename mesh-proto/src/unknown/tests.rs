#![allow(clippy::unwrap_used, reason = "a failing test is what unwrap is for")]

use proptest::prelude::*;
use prost::Message;
use serde_json::json;

use super::*;
use crate::google::protobuf::Any;
use crate::json;

const ROUTES: &str = "envoy.config.route.v3.RouteConfiguration";

const TABLE: &[(&str, &[&str])] = &[
    (ROUTES, &["name", "virtual_hosts"]),
    ("envoy.config.route.v3.VirtualHost", &["name", "domains", "routes", "typed_per_filter_config", "metadata"]),
    ("envoy.config.route.v3.Route", &["*"]),
    ("envoy.config.route.v3.RouteMatch", &["prefix"]),
    ("envoy.config.route.v3.RouteAction", &["cluster", "timeout"]),
    ("envoy.config.core.v3.Metadata", &["filter_metadata"]),
];

fn unread(json: &serde_json::Value) -> Vec<String> {
    unread_bytes(&json::encode(ROUTES, json).unwrap()).unwrap()
}

fn unread_bytes(bytes: &[u8]) -> Result<Vec<String>, WalkError> {
    let reads = ReadSet::new(TABLE).unwrap();
    Ok(unread_fields(ROUTES, bytes, &reads)?.iter().map(ToString::to_string).collect())
}

fn paths(type_name: &str, bytes: &[u8]) -> Vec<String> {
    let mut paths = Vec::new();
    walk(type_name, bytes, &mut |path: &FieldPath<'_>, _: Found<'_>| {
        paths.push(path.to_string());
        Descend::Into
    })
    .unwrap();
    paths
}

/// A length-delimited field.
fn field(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encoding::encode_varint(payload.len() as u64, &mut out);
    out.extend_from_slice(payload);
    out
}

#[test]
fn the_walk_visits_every_set_field_by_path() {
    let json = json!({
        "name": "9080",
        "virtualHosts": [{ "domains": ["a", "b"] }, { "routes": [{}, {
            "route": { "timeout": "1s" },
            "typedPerFilterConfig": { "fault": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
                "abort": { "httpStatus": 503 }
            } }
        }] }]
    });
    assert_eq!(
        paths(ROUTES, &json::encode(ROUTES, &json).unwrap()),
        [
            "name",
            "virtual_hosts",
            "virtual_hosts[0].domains",
            "virtual_hosts[1].routes",
            "virtual_hosts[1].routes[1].route",
            "virtual_hosts[1].routes[1].route.timeout",
            "virtual_hosts[1].routes[1].typed_per_filter_config",
            "virtual_hosts[1].routes[1].typed_per_filter_config[\"fault\"].abort",
            "virtual_hosts[1].routes[1].typed_per_filter_config[\"fault\"].abort.http_status",
        ]
    );
}

#[test]
fn what_the_table_does_not_list_is_unread_and_listed_once() {
    let json = json!({
        "mostSpecificHeaderMutationsWins": true,
        "virtualHosts": [{
            "name": "a",
            "requireTls": "ALL",
            "requestHeadersToAdd": [{ "header": { "key": "a" } }, { "header": { "key": "b" } }],
            "routes": [{ "match": { "prefix": "/", "caseSensitive": false }, "route": { "cluster": "c", "timeout": "1s" }, "decorator": { "operation": "x" } }]
        }]
    });
    assert_eq!(
        unread(&json),
        [
            "virtual_hosts[0].routes[0].match.case_sensitive (envoy.config.route.v3.RouteMatch.case_sensitive)",
            // `Route` reads everything, but nobody says what is read of a decorator.
            "virtual_hosts[0].routes[0].decorator.operation (envoy.config.route.v3.Decorator.operation)",
            "virtual_hosts[0].require_tls (envoy.config.route.v3.VirtualHost.require_tls)",
            "virtual_hosts[0].request_headers_to_add (envoy.config.route.v3.VirtualHost.request_headers_to_add)",
            "most_specific_header_mutations_wins (envoy.config.route.v3.RouteConfiguration.most_specific_header_mutations_wins)",
        ]
    );
}

#[test]
fn field_numbers_that_nobody_knows_are_listed_with_their_path() {
    // virtual_hosts: [{ 99: 1, 99: 2, 98: "x" }]
    let host = b"\x98\x06\x01\x98\x06\x02\x92\x06\x01x";
    assert_eq!(
        unread_bytes(&field(2, host)).unwrap(),
        [
            "virtual_hosts[0].#99 (field 99 is unknown in envoy.config.route.v3.VirtualHost)",
            "virtual_hosts[0].#98 (field 98 is unknown in envoy.config.route.v3.VirtualHost)",
        ]
    );
}

#[test]
fn an_any_and_a_map_entry_have_no_other_fields_either() {
    // typed_per_filter_config: { "f": Any { 3: 1 }, 4: 1 }
    let entry = [field(1, b"f"), field(2, b"\x18\x01"), b"\x20\x01".to_vec()].concat();
    assert_eq!(
        unread_bytes(&field(2, &field(15, &entry))).unwrap(),
        [
            "virtual_hosts[0].typed_per_filter_config.#4 (field 4 is unknown in envoy.config.route.v3.VirtualHost.TypedPerFilterConfigEntry)",
            "virtual_hosts[0].typed_per_filter_config[\"f\"].#3 (field 3 is unknown in google.protobuf.Any)",
        ]
    );
}

#[test]
fn zero_in_a_field_without_presence_is_not_set() {
    // name: "", ignore_port_in_host_matching (14, bool): false; virtual_hosts: [{}]
    let bytes = b"\x0a\x00\x70\x00\x12\x00";
    assert_eq!(paths(ROUTES, bytes), ["virtual_hosts"]);
    // Presence makes zero a value: validate_clusters is a wrapper, an empty message on the wire.
    assert_eq!(paths(ROUTES, b"\x3a\x00"), ["validate_clusters"]);
}

#[test]
fn an_any_of_an_unknown_type_is_listed() {
    let config = Any { type_url: "type.googleapis.com/no.Such".to_owned(), value: vec![1, 2, 3] };
    let entry = [field(1, b"f"), field(2, &config.encode_to_vec())].concat();
    let bytes = field(2, &field(15, &entry));
    assert_eq!(
        unread_bytes(&bytes).unwrap(),
        ["virtual_hosts[0].typed_per_filter_config[\"f\"] (type \"type.googleapis.com/no.Such\" is unknown)"]
    );
}

#[test]
fn a_typed_struct_is_walked_as_the_message_it_stands_for() {
    let typed = |type_url: &str| {
        json!({ "virtualHosts": [{ "typedPerFilterConfig": { "f": {
            "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
            "typeUrl": type_url,
            "value": { "max_active_faults": 3, "bogus": { "a": 1 } }
        } } }] })
    };
    assert_eq!(
        unread(&typed("type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault")),
        [
            "virtual_hosts[0].typed_per_filter_config[\"f\"].bogus (bogus is unknown in envoy.extensions.filters.http.fault.v3.HTTPFault)",
            "virtual_hosts[0].typed_per_filter_config[\"f\"].max_active_faults (envoy.extensions.filters.http.fault.v3.HTTPFault.max_active_faults)",
        ]
    );
    assert_eq!(
        unread(&typed("x/no.Such")),
        ["virtual_hosts[0].typed_per_filter_config[\"f\"] (type \"x/no.Such\" is unknown)"]
    );
}

#[test]
fn well_known_messages_are_one_value() {
    let json = json!({ "virtualHosts": [{ "metadata": { "filterMetadata": { "istio": { "a": { "b": 1 } } } } }] });
    assert_eq!(unread(&json), [""; 0]);
}

#[test]
fn what_does_not_fit_the_descriptor_is_an_error_with_its_path() {
    let malformed = |bytes: &[u8]| unread_bytes(bytes).unwrap_err().to_string();
    assert_eq!(malformed(b"\x08\x01"), "name: malformed protobuf", "a number where a string belongs");
    assert_eq!(malformed(&field(2, b"\xff")), "virtual_hosts[0]: malformed protobuf");
    assert_eq!(
        walk("no.Such", &[], &mut |_: &FieldPath<'_>, _: Found<'_>| { Descend::Into }),
        Err(WalkError::UnknownMessage("no.Such".to_owned()))
    );
}

#[test]
fn messages_nested_too_deeply_are_an_error() {
    // RBAC's Permission.not_rule (8) nests directly; Any nests through its payload.
    let permission = "envoy.config.rbac.v3.Permission";
    let mut bytes = Vec::new();
    for _ in 0..10_000 {
        bytes = field(8, &bytes);
    }
    let walked = walk(permission, &bytes, &mut |_: &FieldPath<'_>, _: Found<'_>| Descend::Into);
    assert!(matches!(walked, Err(WalkError::TooDeep(_))), "{walked:?}");

    let mut any = Any::default();
    for _ in 0..2_000 {
        any = Any { type_url: "/google.protobuf.Any".to_owned(), value: any.encode_to_vec() };
    }
    let walked =
        walk("google.protobuf.Any", &any.encode_to_vec(), &mut |_: &FieldPath<'_>, _: Found<'_>| Descend::Into);
    assert!(matches!(walked, Err(WalkError::TooDeep(_))), "{walked:?}");
}

#[test]
fn a_table_that_names_what_does_not_exist_is_refused() {
    assert_eq!(
        ReadSet::new(&[(ROUTES, &["nmae"])]).unwrap_err().to_string(),
        "message envoy.config.route.v3.RouteConfiguration has no field nmae"
    );
    assert_eq!(ReadSet::new(&[("no.Such", &["*"])]).unwrap_err().to_string(), "there is no message no.Such");
}

#[test]
fn read_sets_add_up() {
    let mut reads = ReadSet::new(&[(ROUTES, &["name"])]).unwrap();
    reads
        .extend(&ReadSet::new(&[(ROUTES, &["virtual_hosts"]), ("envoy.config.route.v3.VirtualHost", &["*"])]).unwrap());
    let json = json!({ "name": "a", "virtualHosts": [{ "name": "b" }], "vhds": {} });
    let unread = unread_fields(ROUTES, &json::encode(ROUTES, &json).unwrap(), &reads).unwrap();
    assert_eq!(unread.iter().map(|field| field.path.as_str()).collect::<Vec<_>>(), ["vhds"]);
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        for name in [ROUTES, "envoy.config.listener.v3.Listener", "google.protobuf.Any"] {
            let _ = walk(name, &bytes, &mut |path: &FieldPath<'_>, _: Found<'_>| {
                let _ = path.to_string();
                Descend::Into
            });
        }
    }

    #[test]
    fn a_damaged_message_never_panics(at in any::<prop::sample::Index>(), value in any::<u8>()) {
        let json = json!({ "virtualHosts": [{ "domains": ["a"], "typedPerFilterConfig": { "f": {
            "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
            "typeUrl": "x/envoy.extensions.filters.http.fault.v3.HTTPFault",
            "value": { "max_active_faults": 3 }
        } }, "routes": [{ "route": { "timeout": "1s", "cluster": "c" } }] }] });
        let mut bytes = json::encode(ROUTES, &json).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = value;
        let _ = unread_bytes(&bytes);
        let _ = json::to_json(ROUTES, &bytes);
        let _ = crate::canonical::order(ROUTES, &bytes);
    }
}

#![allow(clippy::unwrap_used, reason = "a failing test is what unwrap is for")]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::envoy::config::core::v3::Metadata;
use crate::envoy::config::core::v3::{HeaderValueOption, TypedExtensionConfig};
use crate::envoy::config::listener::v3::Listener;
use crate::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use crate::google::protobuf::{Any, Duration, FloatValue, Struct, Timestamp};

fn routes() -> Value {
    json!({
        "name": "9080",
        "virtualHosts": [{
            "name": "reviews.default.svc.cluster.local:9080",
            "domains": ["reviews", "reviews:9080"],
            "routes": [{
                "match": { "prefix": "/", "headers": [{ "name": "end-user", "stringMatch": { "exact": "jason" } }] },
                "route": {
                    "timeout": "1.500s",
                    "weightedClusters": {
                        "clusters": [{ "name": "v1", "weight": 80 }, { "name": "v2", "weight": 20 }],
                        "totalWeight": 100
                    },
                    "retryPolicy": { "retryOn": "5xx", "numRetries": 0 },
                    "maxGrpcTimeout": "0s"
                },
                "typedPerFilterConfig": {
                    "envoy.filters.http.fault": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
                        "abort": { "httpStatus": 503, "percentage": { "numerator": 10, "denominator": "TEN_THOUSAND" } },
                        "maxActiveFaults": 7
                    }
                },
                "metadata": { "filterMetadata": { "istio": { "config": "/apis/x", "n": 1.5, "l": [null, true, {}] } } }
            }]
        }],
        "validateClusters": false
    })
}

fn error<M: Message + Name + Default + std::fmt::Debug>(json: &Value) -> String {
    from_json::<M>(json).unwrap_err().to_string()
}

#[test]
fn a_route_configuration_with_typed_filter_config_makes_the_round_trip() {
    let message: RouteConfiguration = from_json(&routes()).unwrap();
    let route = &message.virtual_hosts[0].routes[0];
    let fault = &route.typed_per_filter_config["envoy.filters.http.fault"];
    assert!(fault.type_url.ends_with(".HTTPFault") && !fault.value.is_empty());
    assert_eq!(to_json_of(&message).unwrap(), routes());
}

#[test]
fn names_of_the_proto_file_and_lower_camel_case_mean_the_same() {
    let camel: VirtualHost =
        from_json(&json!({ "name": "a", "requireTls": "ALL", "includeRequestAttemptCount": true })).unwrap();
    let snake: VirtualHost =
        from_json(&json!({ "name": "a", "require_tls": "ALL", "include_request_attempt_count": true })).unwrap();
    assert_eq!(camel, snake);
    let style = Style { proto_names: true, ..Style::default() };
    let printed = to_json_in(style, "envoy.config.route.v3.VirtualHost", &snake.encode_to_vec()).unwrap();
    assert_eq!(printed, json!({ "name": "a", "require_tls": "ALL", "include_request_attempt_count": true }));
}

#[test]
fn an_any_of_an_unknown_type_falls_back_to_its_bytes_and_comes_back() {
    let json = json!({
        "name": "outer",
        "typedConfig": {
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": "inner",
            "typedConfig": { "@type": "type.googleapis.com/stats.PluginConfig", "value": "CgFhEAE=" }
        }
    });
    let message: TypedExtensionConfig = from_json(&json).unwrap();
    let outer = message.typed_config.clone().unwrap();
    let inner = TypedExtensionConfig::decode(outer.value.as_slice()).unwrap().typed_config.unwrap();
    assert_eq!(
        inner,
        Any { type_url: "type.googleapis.com/stats.PluginConfig".to_owned(), value: b"\x0a\x01a\x10\x01".to_vec() }
    );
    assert_eq!(to_json_of(&message).unwrap(), json);
}

#[test]
fn an_any_of_a_known_type_with_broken_bytes_is_printed_as_its_bytes() {
    let type_url = "type.googleapis.com/envoy.config.cluster.v3.Cluster".to_owned();
    let message = TypedExtensionConfig {
        name: "x".to_owned(),
        typed_config: Some(Any { type_url: type_url.clone(), value: vec![0xff] }),
    };
    let json = to_json_of(&message).unwrap();
    assert_eq!(json, json!({ "name": "x", "typedConfig": { "@type": type_url, "value": "/w==" } }));
    // That it is not valid is found when it is read.
    assert_eq!(
        error::<TypedExtensionConfig>(&json),
        "typed_config.value: unknown field of envoy.config.cluster.v3.Cluster"
    );
}

#[test]
fn a_duration_may_be_written_by_its_fields() {
    assert_eq!(from_json(&json!({ "seconds": 1, "nanos": 5 })), Ok(Duration { seconds: 1, nanos: 5 }));
    assert_eq!(from_json(&json!({})), Ok(Duration::default()));
    assert_eq!(error::<Duration>(&json!({ "minutes": 1 })), "minutes: unknown field of google.protobuf.Duration");
}

#[test]
fn an_any_may_hold_a_well_known_type() {
    for (content, value) in [
        ("Duration", json!("3s")),
        ("UInt32Value", json!(7)),
        ("Struct", json!({ "a": [1, null] })),
        ("Empty", json!({})),
        ("Any", json!({ "@type": "type.googleapis.com/google.protobuf.BoolValue", "value": true })),
    ] {
        let json = json!({ "@type": format!("type.googleapis.com/google.protobuf.{content}"), "value": value });
        let message: Any = from_json(&json).unwrap();
        assert_eq!(to_json_of(&message).unwrap(), json);
    }
    assert_eq!(to_json_of(&Any::default()).unwrap(), json!({}));
    assert_eq!(from_json::<Any>(&json!({})), Ok(Any::default()));
    assert_eq!(error::<Any>(&json!({ "value": 1 })), "\"@type\" is required");
    assert_eq!(
        error::<Any>(&json!({ "@type": "type.googleapis.com/google.protobuf.Duration" })),
        "\"value\" is required for google.protobuf.Duration"
    );
    assert_eq!(error::<Any>(&json!({ "@type": "x/no.Such", "a": 1 })), "type \"x/no.Such\" is unknown");
}

#[test]
fn an_unknown_field_is_an_error_that_names_its_path() {
    let json = json!({ "virtualHosts": [{}, { "routes": [{ "route": { "timeuot": "1s" } }] }] });
    assert_eq!(
        error::<RouteConfiguration>(&json),
        "virtual_hosts[1].routes[0].route.timeuot: unknown field of envoy.config.route.v3.RouteAction"
    );
    let json = json!({ "virtualHosts": [{ "typedPerFilterConfig": { "f": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault", "nope": 1
    } } }] });
    assert_eq!(
        error::<RouteConfiguration>(&json),
        "virtual_hosts[0].typed_per_filter_config[\"f\"].nope: unknown field of envoy.extensions.filters.http.fault.v3.HTTPFault"
    );
}

#[test]
fn unknown_fields_can_be_collected_instead() {
    let json = json!({ "name": "a", "bogus": 1, "routes": [{ "name": "r", "bogus": null }] });
    let (message, unknown) = from_json_collecting::<VirtualHost>(&json).unwrap();
    assert_eq!((message.name.as_str(), message.routes[0].name.as_str()), ("a", "r"));
    assert_eq!(unknown, ["bogus", "routes[0].bogus"]);
}

#[test]
fn a_wrong_value_is_an_error_that_says_what_was_expected() {
    for (json, expected) in [
        (json!([]), "expected an object, got a list"),
        (json!({ "name": 1 }), "name: expected a string, got a number"),
        (json!({ "domains": "a" }), "domains: expected a list, got a string"),
        (json!({ "domains": [null] }), "domains[0]: expected a string, got null"),
        (json!({ "routes": [null] }), "routes[0]: expected an object, got null"),
        (
            json!({ "requireTls": "SOMETIMES" }),
            "require_tls: \"SOMETIMES\" is not a value of envoy.config.route.v3.VirtualHost.TlsRequirementType",
        ),
        (json!({ "requireTls": true }), "require_tls: expected an enum name or number, got a boolean"),
        (
            json!({ "includeRequestAttemptCount": "true" }),
            "include_request_attempt_count: expected true or false, got a string",
        ),
        (
            json!({ "perRequestBufferLimitBytes": -1 }),
            "per_request_buffer_limit_bytes: \"-1\" is not an unsigned 32-bit integer",
        ),
        (
            json!({ "perRequestBufferLimitBytes": 4_294_967_296_u64 }),
            "per_request_buffer_limit_bytes: \"4294967296\" is not an unsigned 32-bit integer",
        ),
        (
            json!({ "perRequestBufferLimitBytes": 1.5 }),
            "per_request_buffer_limit_bytes: \"1.5\" is not an unsigned 32-bit integer",
        ),
        (
            json!({ "hedgePolicy": { "additionalRequestChance": { "numerator": [] } } }),
            "hedge_policy.additional_request_chance.numerator: expected an unsigned 32-bit integer, got a list",
        ),
        (
            json!({ "routes": [{ "route": { "timeout": 5 } }] }),
            "routes[0].route.timeout: expected a duration such as \"1.5s\", got a number",
        ),
        (
            json!({ "routes": [{ "route": { "timeout": "5m" } }] }),
            "routes[0].route.timeout: \"5m\" is not a duration such as \"1.5s\"",
        ),
        (
            json!({ "routes": [{ "match": { "prefix": "/", "path": "/" } }] }),
            "routes[0].match.path: excludes prefix (oneof path_specifier)",
        ),
        (json!({ "requireTls": "ALL", "require_tls": "ALL" }), "require_tls: given twice"),
        (
            json!({ "metadata": { "filterMetadata": { "a": [] } } }),
            "metadata.filter_metadata[\"a\"]: expected an object, got a list",
        ),
    ] {
        assert_eq!(error::<VirtualHost>(&json), expected, "{json}");
    }
}

#[test]
fn null_is_an_absent_field_and_quoted_numbers_are_numbers() {
    let message: VirtualHost =
        from_json(&json!({ "name": null, "routes": null, "requestBodyBufferLimit": "12", "requireTls": 2 })).unwrap();
    assert_eq!(message.name, "");
    assert_eq!(message.request_body_buffer_limit.unwrap().value, 12);
    assert_eq!(message.require_tls, 2);
    // One member of a oneof is null, so there is no conflict.
    let json = json!({ "routes": [{ "match": { "prefix": "/", "path": null } }] });
    assert!(from_json::<VirtualHost>(&json).is_ok());
}

#[test]
fn wrappers_keep_zero_and_plain_fields_do_not() {
    let option: HeaderValueOption =
        from_json(&json!({ "append": false, "keepEmptyValue": false, "header": { "key": "", "rawValue": "_w" } }))
            .unwrap();
    assert_eq!(option.header.clone().unwrap().raw_value, [0xff]);
    assert_eq!(to_json_of(&option).unwrap(), json!({ "append": false, "header": { "rawValue": "/w==" } }));
}

#[test]
fn an_enum_number_without_a_name_is_kept() {
    let message: VirtualHost = from_json(&json!({ "requireTls": 99 })).unwrap();
    assert_eq!(to_json_of(&message).unwrap(), json!({ "requireTls": 99 }));
}

#[test]
fn other_well_known_types_have_their_own_form() {
    let mask = encode("google.protobuf.FieldMask", &json!("aB.c,d")).unwrap();
    assert_eq!(mask, b"\x0a\x05a_b.c\x0a\x01d");
    assert_eq!(to_json("google.protobuf.FieldMask", &mask).unwrap(), json!("aB.c,d"));
    let time = Timestamp { seconds: 63_108_020, nanos: 21_000_000 };
    assert_eq!(to_json_of(&time).unwrap(), json!("1972-01-01T10:00:20.021Z"));
    assert_eq!(from_json(&json!("1972-01-01T10:00:20.021Z")), Ok(time));
    assert_eq!(to_json_of(&FloatValue { value: f32::NAN }).unwrap(), json!("NaN"));
    assert_eq!(from_json(&json!("-Infinity")), Ok(FloatValue { value: f32::NEG_INFINITY }));
    assert_eq!(
        encode("google.protobuf.FieldMask", &json!("a_b")).unwrap_err().to_string(),
        "\"a_b\" is not a list of lowerCamelCase field paths"
    );
}

#[test]
fn a_duration_out_of_range_cannot_be_printed() {
    let error = to_json_of(&Duration { seconds: i64::MAX, nanos: 0 }).unwrap_err();
    assert_eq!(error.to_string(), "duration is out of range");
}

#[test]
fn an_unknown_message_is_an_error() {
    assert_eq!(to_json("x/no.Such", &[]).unwrap_err().to_string(), "type \"no.Such\" is unknown");
    assert_eq!(encode("no.Such", &json!({})).unwrap_err().to_string(), "type \"no.Such\" is unknown");
}

#[test]
fn secrets_are_redacted_in_a_dump_also_within_any_and_typed_struct() {
    let context = json!({
        "commonTlsContext": { "tlsCertificates": [{
            "certificateChain": { "inlineString": "public" },
            "privateKey": { "inlineString": "private" },
            "password": { "inlineBytes": "cHJpdmF0ZQ==" }
        }] }
    });
    let tls = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
    let mut typed = context.clone();
    typed["@type"] = json!(tls);
    let as_struct = json!({ "@type": "type.googleapis.com/xds.type.v3.TypedStruct", "typeUrl": tls, "value": context });
    let json = json!({ "filterChains": [
        { "transportSocket": { "name": "a", "typedConfig": typed } },
        { "transportSocket": { "name": "b", "typedConfig": as_struct } },
    ] });
    let message: Listener = from_json(&json).unwrap();
    let dump = to_json_in(Style::CONFIG_DUMP, "envoy.config.listener.v3.Listener", &message.encode_to_vec()).unwrap();
    let text = dump.to_string();
    assert!(!text.contains("\"private\"") && !text.contains("cHJpdmF0ZQ=="), "{text}");
    assert_eq!(text.matches("\"inline_string\":\"[redacted]\"").count(), 2, "{text}");
    assert_eq!(text.matches("\"inline_string\":\"public\"").count(), 2, "{text}");
    assert!(to_json_of(&message).unwrap().to_string().contains("\"private\""));
}

#[test]
fn nesting_beyond_the_limit_is_an_error_not_an_overflow() {
    let mut json = json!({});
    for _ in 0..10_000 {
        // Not by `json!`, which would copy what is within.
        let mut members = serde_json::Map::new();
        let any = "type.googleapis.com/google.protobuf.Any";
        members.insert("@type".to_owned(), Value::from(any));
        members.insert("value".to_owned(), json);
        json = Value::Object(members);
    }
    assert_eq!(from_json::<Any>(&json).unwrap_err().problem, Problem::TooDeep);
    // Dropping the value would recurse just as deeply.
    std::mem::forget(json);

    let mut any = Any::default();
    for _ in 0..2_000 {
        any = Any { type_url: "/google.protobuf.Any".to_owned(), value: any.encode_to_vec() };
    }
    // The innermost that may be looked into is printed as its bytes.
    let printed = to_json_of(&any).unwrap();
    let depth =
        std::iter::successors(Some(&printed), |value| value.get("value").filter(|value| value.is_object())).count();
    assert!((10..=MAX_DEPTH_PRINTED).contains(&depth), "{depth}");
}

const MAX_DEPTH_PRINTED: usize = crate::MAX_DEPTH;

#[test]
fn equal_json_gives_equal_bytes() {
    let metadata = json!({ "filterMetadata": { "a": { "x": 1, "y": 2, "z": 3 }, "b": {}, "c": {} } });
    let name = "envoy.config.core.v3.Metadata";
    assert_eq!(encode(name, &metadata), encode(name, &metadata));
    let message: Metadata = from_json(&metadata).unwrap();
    assert_eq!(crate::canonical::encode(&message), encode(name, &metadata).unwrap());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let name =
            prop_oneof!["[a-z]{1,4}", Just("name".to_owned()), Just("routes".to_owned()), Just("@type".to_owned())];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_struct_makes_the_round_trip(json in any_json().prop_filter("an object", Value::is_object)) {
        let message: Struct = from_json(&json).unwrap();
        let printed = to_json_of(&message).unwrap();
        prop_assert_eq!(from_json::<Struct>(&printed).unwrap(), message);
    }

    #[test]
    fn arbitrary_json_never_panics(json in any_json()) {
        let _ = from_json::<VirtualHost>(&json);
        let _ = from_json_collecting::<Listener>(&json);
        let _ = from_json::<Any>(&json);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        for name in ["envoy.config.route.v3.RouteConfiguration", "google.protobuf.Any", "google.protobuf.Struct"] {
            if let Ok(json) = to_json_in(Style::CONFIG_DUMP, name, &bytes) {
                prop_assert!(json.is_object());
            }
        }
    }
}

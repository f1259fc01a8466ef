#![allow(clippy::unwrap_used, reason = "a failing test is what unwrap is for")]

use mesh_proto::validate::field_rules::Type;
use serde_json::{Value as Json, json};

use super::*;

const ROUTES: &str = "envoy.config.route.v3.RouteConfiguration";
const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";

fn broken(type_name: &str, json: &Json) -> String {
    let bytes = mesh_proto::json::encode(type_name, json).unwrap();
    match check(type_name, &bytes) {
        Ok(()) => "fine".to_owned(),
        Err(refused) => format!("{}: {}", refused.field, refused.problem),
    }
}

fn with_route(route: &Json) -> Json {
    json!({ "name": "r", "virtualHosts": [{ "name": "v", "domains": ["*"], "routes": [route] }] })
}

#[test]
fn every_rule_of_the_api_is_of_a_kind_that_is_judged() {
    let mut judged = 0;
    for message in descriptors::pool().all_messages() {
        for field in message.fields() {
            let Some(rules) = compile::of_field(&field) else { continue };
            judged += 1;
            let name = field.full_name().to_owned();
            assert!(is_judged(&rules, true), "{name}: {rules:?}");
            if let Some(Type::Repeated(rules)) = &rules.r#type {
                assert!(rules.items.as_ref().is_none_or(|items| is_judged(items, false)), "{name}");
            }
            if let Some(Type::Map(rules)) = &rules.r#type {
                assert!(!rules.no_sparse(), "{name}");
                for part in [&rules.keys, &rules.values].into_iter().flatten() {
                    assert!(is_judged(part, false), "{name}");
                }
            }
        }
    }
    assert!(judged > 1000, "{judged}");
}

fn is_judged(rules: &mesh_proto::validate::FieldRules, collections: bool) -> bool {
    use mesh_proto::validate::string_rules::WellKnown;
    match &rules.r#type {
        None => rules.message.is_some(),
        Some(Type::Repeated(_) | Type::Map(_)) => collections,
        Some(Type::String(rules)) => {
            matches!(rules.well_known, None | Some(WellKnown::WellKnownRegex(_)))
                && rules.pattern.as_deref().is_none_or(|pattern| regex::Regex::new(pattern).is_ok())
        }
        Some(Type::Bytes(rules)) => text::bytes(rules, &[0; 16]).is_none(),
        Some(Type::Any(rules)) => rules.r#in.is_empty() && rules.not_in.is_empty(),
        Some(kind) => matches!(
            kind,
            Type::Float(_)
                | Type::Double(_)
                | Type::Int32(_)
                | Type::Int64(_)
                | Type::Uint32(_)
                | Type::Uint64(_)
                | Type::Bool(_)
                | Type::Enum(_)
                | Type::Duration(_)
        ),
    }
}

#[test]
fn broken_rules_are_named_with_their_path() {
    let direct =
        |status: u32| with_route(&json!({ "match": { "prefix": "/" }, "directResponse": { "status": status } }));
    let route = "virtual_hosts[0].routes[0]";
    let cases = [
        (direct(600), format!("{route}.direct_response.status: 600 must be below 600")),
        (direct(100), format!("{route}.direct_response.status: 100 must be at least 200")),
        (direct(200), "fine".to_owned()),
        (with_route(&json!({ "match": { "prefix": "/" } })), format!("{route}.action: is required")),
        (with_route(&json!({ "route": { "cluster": "c" } })), format!("{route}.match: is required")),
        (
            with_route(&json!({ "match": {}, "route": { "cluster": "c" } })),
            format!("{route}.match.path_specifier: is required"),
        ),
        (
            with_route(&json!({ "match": { "pathSeparatedPrefix": "/a/" }, "route": { "cluster": "c" } })),
            format!("{route}.match.path_separated_prefix: \"/a/\" does not match \"^[^?#]+[^?#/]$\""),
        ),
        (
            with_route(&json!({ "match": { "prefix": "/" }, "redirect": { "responseCode": 9 } })),
            format!("{route}.redirect.response_code: 9 is not a value of this enum that is allowed"),
        ),
        (
            with_route(&json!({ "match": { "prefix": "/" }, "route": { "cluster": "" } })),
            format!("{route}.route.cluster: must not be empty"),
        ),
        (
            with_route(
                &json!({ "match": { "prefix": "/" }, "route": { "cluster": "c", "hostRewriteLiteral": "a\nb" } }),
            ),
            format!("{route}.route.host_rewrite_literal: \"a\\nb\" is no header value"),
        ),
        (
            json!({ "name": "r", "virtualHosts": [{ "name": "v" }] }),
            "virtual_hosts[0].domains: needs at least 1 item".to_owned(),
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(broken(ROUTES, &json), expected);
    }
}

#[test]
fn wrappers_durations_maps_and_extensions_are_entered() {
    let route = |config: Json| {
        with_route(&json!({
            "match": { "prefix": "/" }, "route": { "cluster": "c" }, "typedPerFilterConfig": { "fault": config }
        }))
    };
    let fault = |status: u32| {
        json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
            "abort": { "httpStatus": status, "percentage": { "numerator": 100 } }
        })
    };
    let path = "virtual_hosts[0].routes[0].typed_per_filter_config[\"fault\"]";
    assert_eq!(broken(ROUTES, &route(fault(600))), format!("{path}.abort.http_status: 600 must be below 600"));
    assert_eq!(broken(ROUTES, &route(fault(503))), "fine");
    let typed_struct = json!({
        "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
        "typeUrl": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
        "value": { "abort": { "http_status": 99 } }
    });
    assert_eq!(broken(ROUTES, &route(typed_struct)), format!("{path}.abort.http_status: 99 must be at least 200"));

    assert_eq!(
        broken(CLUSTER, &json!({ "name": "c", "connectTimeout": "0s" })),
        "connect_timeout: 0s must be above 0s"
    );
    assert_eq!(
        broken(CLUSTER, &json!({ "name": "c", "dnsRefreshRate": "0.001s" })),
        "dns_refresh_rate: 0.001s must be above 0.001s"
    );
    assert_eq!(
        broken(CLUSTER, &json!({ "name": "c", "leastRequestLbConfig": { "choiceCount": 1 } })),
        "least_request_lb_config.choice_count: 1 must be at least 2"
    );
    assert_eq!(
        broken(CLUSTER, &json!({ "name": "c", "commonLbConfig": { "healthyPanicThreshold": { "value": "NaN" } } })),
        "common_lb_config.healthy_panic_threshold.value: NaN must be at most 100"
    );
    assert_eq!(
        broken(CLUSTER, &json!({ "name": "c", "metadata": { "filterMetadata": { "": {} } } })),
        "metadata.filter_metadata[\"\"]: must not be empty"
    );
}

#[test]
fn names_of_statistics_may_be_missing() {
    let json = json!({ "name": "r", "virtualHosts": [{ "domains": ["*"] }] });
    assert_eq!(broken(ROUTES, &json), "fine");
}

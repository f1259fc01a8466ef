//! Route configurations: what is read, what is refused and where, and the verdicts of a real Envoy.
#![allow(clippy::unwrap_used, reason = "a failing test is what unwrap is for")]

mod data;

use mesh_core::engine::routing::{ClusterId, RouteTable};
use mesh_core::resource::retry::RetryOn;
use mesh_core::resource::route::{ClusterSpecifier, RouteAction};
use mesh_core::resource::{Invalid, ResourceName};
use mesh_proto::{json, type_url};
use mesh_xds::decode::{self, Decoded};
use serde_json::{Value as Json, json};

type Routes = mesh_core::resource::route::RouteConfiguration;

fn decode(config: &Json) -> Result<Decoded<Routes>, Invalid> {
    decode::route_configuration(&json::encode(type_url::ROUTE_CONFIGURATION, config).unwrap())
}

/// Decoded and compiled: everything that is judged of routes.
fn judge(config: &Json) -> Result<Decoded<Routes>, Invalid> {
    let decoded = decode(config)?;
    RouteTable::compile(&decoded.value, &mut |_| ClusterId(0))?;
    Ok(decoded)
}

fn with_routes(routes: &Json) -> Json {
    json!({ "name": "r", "virtual_hosts": [{ "name": "v", "domains": ["*"], "routes": routes }] })
}

/// A route whose action is this `RouteAction`.
fn forwarding(action: Json) -> Json {
    with_routes(&json!([{ "match": { "prefix": "/" }, "route": action }]))
}

/// A route with this match.
fn matching(matches: Json) -> Json {
    with_routes(&json!([{ "match": matches, "route": { "cluster": "c" } }]))
}

fn refusal(config: &Json) -> String {
    match judge(config) {
        Ok(_) => "accepted".to_owned(),
        Err(Invalid { field, problem, .. }) => format!("{field}: {problem}"),
    }
}

#[test]
fn a_refusal_names_the_resource_the_field_and_the_reason() {
    let config = forwarding(json!({ "cluster": "c", "timeout": "-1s" }));
    let bytes = json::encode(type_url::ROUTE_CONFIGURATION, &config).unwrap();
    assert_eq!(
        decode::route_configuration(&bytes).unwrap_err().to_string(),
        "RouteConfiguration/r: virtual_hosts[0].routes[0].route.timeout: duration is negative"
    );
}

#[test]
fn what_would_send_requests_elsewhere_is_refused() {
    let route = "virtual_hosts[0].routes[0]";
    let any = json!({ "@type": type_url::CORS });
    let extension = json!({ "name": "x", "typed_config": any });
    let cases = [
        (
            json!({ "name": "r", "vhds": { "config_source": { "ads": {} } } }),
            "vhds: virtual host discovery is not supported".to_owned(),
        ),
        (
            json!({ "name": "r", "vhost_header": "x" }),
            "vhost_header: choosing the virtual host by another header is not supported".to_owned(),
        ),
        (
            json!({ "name": "r", "cluster_specifier_plugins": [{ "extension": extension }] }),
            "cluster_specifier_plugins[0]: a cluster specifier plugin is not supported".to_owned(),
        ),
        (
            json!({ "name": "r", "virtual_hosts": [{ "name": "v", "domains": ["*"], "matcher": {} }] }),
            "virtual_hosts[0].matcher: a matcher tree is not supported".to_owned(),
        ),
        (
            matching(json!({ "prefix": "/", "filter_state": [{ "key": "k", "string_match": { "exact": "v" } }] })),
            format!("{route}.match.filter_state: a match on filter state is not supported"),
        ),
        (
            matching(json!({ "path_match_policy": extension })),
            format!(
                "{route}.match.path_match_policy.typed_config: a path matcher of type {} is not supported",
                type_url::CORS
            ),
        ),
        (
            forwarding(json!({ "cluster_specifier_plugin": "p" })),
            format!("{route}.route.cluster_specifier_plugin: a cluster specifier plugin is not supported"),
        ),
        (
            forwarding(json!({ "cluster": "c", "host_rewrite": "%REQ(x)%" })),
            format!("{route}.route.host_rewrite: a host rewrite by format string is not supported"),
        ),
        (
            forwarding(
                json!({ "weighted_clusters": { "clusters": [{ "name": "a", "cluster_header": "b", "weight": 1 }] } }),
            ),
            format!("{route}.route.weighted_clusters.clusters[0]: name and cluster_header are both set"),
        ),
        (
            forwarding(json!({ "weighted_clusters": { "clusters": [{ "name": "a" }] } })),
            format!("{route}.route.weighted_clusters.clusters[0].weight: is required"),
        ),
        (
            forwarding(
                json!({ "weighted_clusters": { "clusters": [{ "name": "a", "weight": u32::MAX }, { "name": "b", "weight": 1 }] } }),
            ),
            format!(
                "{route}.route.weighted_clusters.clusters: the sum of the weights, 4294967296, is above 4294967295"
            ),
        ),
        (
            forwarding(
                json!({ "cluster": "c", "upgrade_configs": [{ "upgrade_type": "CONNECT", "connect_config": {} }] }),
            ),
            format!("{route}.route.upgrade_configs[0].connect_config: ending CONNECT here is not supported"),
        ),
        (
            with_routes(&json!([{ "match": { "prefix": "/" }, "filter_action": {} }])),
            format!("{route}.filter_action: a filter action is not supported"),
        ),
        (
            with_routes(
                &json!([{ "match": { "prefix": "/" }, "direct_response": { "status": 200, "body": { "filename": "/etc/passwd" } } }]),
            ),
            format!("{route}.direct_response.body.filename: a body from a file is not supported"),
        ),
        (
            with_routes(&json!([{ "match": { "prefix": "/" }, "redirect": { "port_redirect": 65536 } }])),
            format!("{route}.redirect.port_redirect: 65536 is no port"),
        ),
        (
            forwarding(json!({ "cluster": "c", "retry_policy": { "retry_host_predicate": [{ "name": "mine" }] } })),
            format!(
                "{route}.route.retry_policy.retry_host_predicate[0]: a retry host predicate of type \"mine\" is not supported"
            ),
        ),
        (
            forwarding(json!({ "cluster": "c", "request_mirror_policies": [{}] })),
            format!("{route}.route.request_mirror_policies[0].cluster: is required"),
        ),
    ];
    for (config, expected) in cases {
        assert_eq!(refusal(&config), expected);
    }
}

#[test]
fn s24_an_override_that_narrows_access_is_refused_and_one_that_switches_off_is_kept() {
    let with = |config: Json| {
        with_routes(&json!([{
            "match": { "prefix": "/" }, "route": { "cluster": "c" }, "typed_per_filter_config": { "f": config }
        }]))
    };
    let rbac = json!({ "@type": type_url::HTTP_RBAC_PER_ROUTE, "rbac": { "rules": {} } });
    let wrapped = |optional: bool, disabled: bool| json!({ "@type": type_url::ROUTE_FILTER_CONFIG, "is_optional": optional, "disabled": disabled, "config": rbac });
    let jwt = |field: &str, value: Json| json!({ "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig", field: value });
    let unknown = json!({ "@type": "type.googleapis.com/xds.type.v3.TypedStruct", "type_url": "type.googleapis.com/my.Filter", "value": {} });
    let refused = [
        rbac.clone(),
        wrapped(false, false),
        wrapped(true, false),
        jwt("requirement_name", json!("r")),
        json!({ "@type": type_url::JWT_AUTHENTICATION }),
        unknown.clone(),
        json!({ "@type": type_url::ROUTE_FILTER_CONFIG, "config": unknown }),
    ];
    for config in refused {
        let text = refusal(&with(config.clone()));
        assert!(text.starts_with("virtual_hosts[0].routes[0].typed_per_filter_config[\"f\"]"), "{config}: {text}");
        assert!(text.ends_with("is not supported"), "{config}: {text}");
    }
    let kept = [
        (wrapped(false, true), true),
        (jwt("disabled", json!(true)), true),
        (json!({ "@type": type_url::HTTP_RBAC_PER_ROUTE }), true),
        (json!({ "@type": type_url::ROUTE_FILTER_CONFIG, "disabled": true }), true),
        (json!({ "@type": type_url::ROUTE_FILTER_CONFIG, "is_optional": true, "config": unknown }), false),
        (
            json!({ "@type": "type.googleapis.com/envoy.extensions.filters.http.compressor.v3.CompressorPerRoute", "overrides": {} }),
            false,
        ),
    ];
    for (config, disabled) in kept {
        let decoded = judge(&with(config.clone())).unwrap();
        let entry = &decoded.value.virtual_hosts[0].routes[0].per_filter_config["f"];
        assert_eq!(entry.disabled, disabled, "{config}");
        let disabled_or_reported = disabled || !decoded.not_in_force.is_empty();
        assert!(disabled_or_reported, "{config}");
    }
}

#[test]
fn retries_hedging_and_limits_refuse_what_cannot_be_by_field() {
    let forward = |fields: Json| {
        let mut action = json!({ "cluster": "c" });
        for (key, value) in fields.as_object().unwrap() {
            action[key] = value.clone();
        }
        refusal(&forwarding(action))
    };
    let retry = |policy: Json| forward(json!({ "retry_policy": policy }));
    let back_off = |fields: Json| retry(json!({ "retry_back_off": fields }));
    let limited = |fields: Json| retry(json!({ "rate_limited_retry_back_off": fields }));
    let action = "virtual_hosts[0].routes[0].route";
    let reset = json!([{ "name": "retry-after", "format": "SECONDS" }]);
    for (refused, field) in [
        (retry(json!({ "per_try_timeout": "-1s" })), "retry_policy.per_try_timeout"),
        (retry(json!({ "per_try_idle_timeout": "-1s" })), "retry_policy.per_try_idle_timeout"),
        (retry(json!({ "retriable_status_codes": [99] })), "retry_policy.retriable_status_codes[0]"),
        (
            retry(json!({ "retriable_status_codes": [200, 4_294_967_295_u32] })),
            "retry_policy.retriable_status_codes[1]",
        ),
        (retry(json!({ "host_selection_retry_max_attempts": "-1" })), "retry_policy.host_selection_retry_max_attempts"),
        (
            retry(json!({ "host_selection_retry_max_attempts": "4294967296" })),
            "retry_policy.host_selection_retry_max_attempts",
        ),
        (retry(json!({ "retry_host_predicate": [{ "name": "" }] })), "retry_policy.retry_host_predicate[0].name"),
        (retry(json!({ "retriable_headers": [{ "name": "" }] })), "retry_policy.retriable_headers[0].name"),
        (
            retry(
                json!({ "retriable_request_headers": [{ "name": "a", "string_match": { "safe_regex": { "regex": "(" } } }] }),
            ),
            "retry_policy.retriable_request_headers[0]",
        ),
        (back_off(json!({})), "retry_policy.retry_back_off.base_interval"),
        (back_off(json!({ "base_interval": "0s" })), "retry_policy.retry_back_off.base_interval"),
        (back_off(json!({ "base_interval": "1s", "max_interval": "0s" })), "retry_policy.retry_back_off.max_interval"),
        (back_off(json!({ "base_interval": "2s", "max_interval": "1s" })), "retry_policy.retry_back_off.max_interval"),
        (limited(json!({})), "retry_policy.rate_limited_retry_back_off.reset_headers"),
        (
            limited(json!({ "reset_headers": [{ "name": "" }] })),
            "retry_policy.rate_limited_retry_back_off.reset_headers[0].name",
        ),
        (
            limited(json!({ "reset_headers": reset, "max_interval": "0s" })),
            "retry_policy.rate_limited_retry_back_off.max_interval",
        ),
        (forward(json!({ "hedge_policy": { "initial_requests": 0 } })), "hedge_policy.initial_requests"),
        (forward(json!({ "timeout": "-1s" })), "timeout"),
        (forward(json!({ "idle_timeout": "-1s" })), "idle_timeout"),
        (forward(json!({ "max_grpc_timeout": "-1s" })), "max_grpc_timeout"),
        (
            forward(json!({ "max_stream_duration": { "max_stream_duration": "-1s" } })),
            "max_stream_duration.max_stream_duration",
        ),
        (
            forward(json!({ "max_stream_duration": { "grpc_timeout_header_max": "-1s" } })),
            "max_stream_duration.grpc_timeout_header_max",
        ),
        (
            forward(json!({ "max_stream_duration": { "grpc_timeout_header_offset": "-1s" } })),
            "max_stream_duration.grpc_timeout_header_offset",
        ),
    ] {
        assert!(refused.starts_with(&format!("{action}.{field}: ")), "{field}: {refused}");
    }
    let most = json!({
        "cluster": "c",
        "timeout": "31536000s",
        "retry_policy": {
            "retry_on": "5xx",
            "num_retries": 4_294_967_295_u32,
            "per_try_timeout": "31536000s",
            "host_selection_retry_max_attempts": "4294967295",
            "retry_back_off": { "base_interval": "0.000000001s", "max_interval": "31536000s" }
        },
        "hedge_policy": { "hedge_on_per_try_timeout": true }
    });
    assert_eq!(refusal(&forwarding(most)), "accepted");
}

#[test]
fn unknown_retry_tokens_are_left_out_and_reported() {
    let decoded = judge(&forwarding(json!({ "cluster": "c", "retry_policy": { "retry_on": "5xx, nope" } }))).unwrap();
    let RouteAction::Forward(forward) = &decoded.value.virtual_hosts[0].routes[0].action else {
        panic!("forwards");
    };
    assert_eq!(forward.retry_policy.as_ref().unwrap().retry_on, RetryOn::FIVE_XX);
    assert_eq!(
        decoded.not_in_force,
        ["virtual_hosts[0].routes[0].route.retry_policy.retry_on: \"nope\" is unknown and never retries anything"]
    );
}

#[test]
fn every_route_of_a_table_is_read_and_equal_remarks_are_one_line() {
    let routes: Vec<Json> = (0..1000)
        .map(|at| json!({ "match": { "path": format!("/{at}") }, "route": { "cluster": format!("c{at}") }, "decorator": { "operation": "o" } }))
        .collect();
    let decoded = judge(&with_routes(&json!(routes))).unwrap();
    let last = &decoded.value.virtual_hosts[0].routes[999];
    assert!(
        matches!(&last.action, RouteAction::Forward(forward) if forward.cluster == ClusterSpecifier::Cluster("c999".into()))
    );
    assert_eq!(
        decoded.not_in_force,
        ["virtual_hosts[0].routes[0].decorator: Route.decorator is not in force (and 999 more)"]
    );
}

/// The configurations of Envoy's recorded verdicts that concern routes, by the name of the verdict.
fn judged_by_envoy() -> Vec<(&'static str, Json)> {
    let vhosts = |domains: &[&[&str]]| {
        let hosts: Vec<Json> = domains
            .iter()
            .enumerate()
            .map(|(at, domains)| json!({ "name": format!("v{at}"), "domains": domains, "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "up" } }] }))
            .collect();
        json!({ "name": "rc", "virtual_hosts": hosts })
    };
    let add = |key: &str, value: &str| {
        with_routes(&json!([{
            "match": { "prefix": "/" }, "route": { "cluster": "up" },
            "request_headers_to_add": [{ "header": { "key": key, "value": value } }]
        }]))
    };
    let direct =
        |status: u32| with_routes(&json!([{ "match": { "prefix": "/" }, "direct_response": { "status": status } }]));
    // By number, as it is on the wire: 300 is no value of the enum.
    let redirect =
        |code: i32| with_routes(&json!([{ "match": { "prefix": "/" }, "redirect": { "response_code": code } }]));
    let retry = |policy: Json| forwarding(json!({ "cluster": "up", "retry_policy": policy }));
    vec![
        ("dupdom", vhosts(&[&["a"], &["A"]])),
        ("dupstar", vhosts(&[&["*"], &["*"]])),
        ("midwild", vhosts(&[&["a.*.b"]])),
        ("wsum0", forwarding(json!({ "weighted_clusters": { "clusters": [{ "name": "up", "weight": 0 }] } }))),
        ("sepslash", matching(json!({ "path_separated_prefix": "/a/" }))),
        ("sepq", matching(json!({ "path_separated_prefix": "/a?b" }))),
        ("badop", add("x-a", "%NOPE%")),
        ("badpct", add("x-a", "50%")),
        ("hosthdr", add("host", "x")),
        ("pseudo", add(":path", "x")),
        (
            "rmhost",
            with_routes(
                &json!([{ "match": { "prefix": "/" }, "route": { "cluster": "up" }, "request_headers_to_remove": ["Host"] }]),
            ),
        ),
        (
            "bomax",
            retry(json!({ "retry_on": "5xx", "retry_back_off": { "base_interval": "1s", "max_interval": "0.5s" } })),
        ),
        ("unkretry", retry(json!({ "retry_on": "nope, 5xx" }))),
        (
            "two_rewrites",
            forwarding(
                json!({ "cluster": "up", "prefix_rewrite": "/x", "regex_rewrite": { "pattern": { "regex": "a" }, "substitution": "b" } }),
            ),
        ),
        ("dr600", direct(600)),
        ("dr100", direct(100)),
        ("redir_300", redirect(300)),
        ("fault600", {
            let fault = json!({ "@type": type_url::HTTP_FAULT, "abort": { "http_status": 600, "percentage": { "numerator": 100 } } });
            with_routes(
                &json!([{ "match": { "prefix": "/" }, "route": { "cluster": "up" }, "typed_per_filter_config": { "f": fault } }]),
            )
        }),
    ]
}

#[test]
fn verdicts_on_routes_are_those_of_envoy() {
    let Some(folder) = data::folder("envoy-observed") else {
        return data::report(0, judged_by_envoy().len());
    };
    let text = std::fs::read_to_string(folder.join("http.json")).unwrap();
    let observed: Json = serde_json::from_str(&text).unwrap();
    let verdicts = observed["config_validation"].as_object().unwrap();
    let mut ran = 0;
    for (name, config) in judged_by_envoy() {
        let accepted = verdicts[name]["accepted"].as_bool().unwrap();
        let verdict = judge(&config);
        assert_eq!(verdict.is_ok(), accepted, "{name}: {verdict:?}");
        ran += 1;
    }
    data::report(ran, verdicts.len() - ran);
}

#[test]
fn what_envoy_served_in_the_recorded_exchanges_is_accepted() {
    let Some(folder) = data::folder("envoy-observed") else {
        return data::report(0, 1);
    };
    let text = std::fs::read_to_string(folder.join("http.json")).unwrap();
    let observed: Json = serde_json::from_str(&text).unwrap();
    let (mut ran, mut refused) = (0, Vec::new());
    for case in observed["cases"].as_array().unwrap() {
        let given = &case["envoy_config"];
        if !given.is_object() {
            continue;
        }
        ran += 1;
        if let Err(invalid) = judge(&route_config(given)) {
            refused.push(format!("{}: {}: {}", case["name"].as_str().unwrap(), invalid.field, invalid.problem));
        }
    }
    println!("{refused:#?}");
    // Overrides for filters that are not there yet; nothing else.
    assert!(refused.iter().all(|line| line.contains("typed_per_filter_config")), "{refused:#?}");
    data::report(ran - refused.len(), refused.len());
}

/// The route configuration that the recording made of a case's parts.
fn route_config(given: &Json) -> Json {
    let merge = |into: &mut Json, from: &Json| {
        for (key, value) in from.as_object().into_iter().flatten() {
            into[key] = value.clone();
        }
    };
    let mut host = json!({ "name": "v", "domains": ["*"], "routes": given["routes"] });
    if given["routes"].is_null() {
        host["routes"] = json!([]);
    }
    merge(&mut host, &given["virtual_host"]);
    let mut config = json!({ "name": "rc", "virtual_hosts": [host] });
    merge(&mut config, &given["route_config"]);
    config
}

#[test]
fn the_route_tables_of_envoys_own_tests_are_accepted() {
    let Some(folder) = data::folder("envoy/router_check") else {
        return data::report(0, 1);
    };
    let mut ran = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let mut config: Json = serde_saphyr::from_str(&text).unwrap();
        config["name"] = json!("r");
        durations_as_text(&mut config);
        let verdict = judge(&config);
        assert!(verdict.is_ok(), "{}: {verdict:?}", path.display());
        ran += 1;
    }
    data::report(ran, 0);
}

/// Some of the files spell a duration as a message, which its JSON form does not allow.
fn durations_as_text(json: &mut Json) {
    match json {
        Json::Object(fields) => {
            for value in fields.values_mut() {
                match value
                    .as_object()
                    .filter(|fields| fields.keys().all(|key| key == "seconds" || key == "nanos") && !fields.is_empty())
                {
                    Some(fields) => {
                        *value = json!(format!("{}s", fields.get("seconds").and_then(Json::as_u64).unwrap_or(0)))
                    }
                    None => durations_as_text(value),
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(durations_as_text),
        _ => {}
    }
}

#[test]
fn a_nameless_route_configuration_is_refused_where_the_name_is_needed() {
    let mut config = matching(json!({ "prefix": "/" }));
    config.as_object_mut().unwrap().remove("name");
    let invalid = decode(&config).unwrap_err();
    assert_eq!(invalid.to_string(), "RouteConfiguration/: name: is required");
    assert_eq!(invalid.resource, ResourceName::new(mesh_core::resource::ResourceKind::RouteConfiguration, ""));
}

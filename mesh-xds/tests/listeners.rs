//! Listeners: what is read, what is refused and where. Nothing that narrows access is ever left out.
#![allow(clippy::unwrap_used, reason = "a failing test is what unwrap is for")]

mod data;

use mesh_core::resource::Invalid;
use mesh_core::resource::filter::{Attribute, Expression, Function};
use mesh_core::resource::listener::{ChainHandler, FilterConfig, Listener, RouteSource, StripPort};
use mesh_proto::{json, type_url};
use mesh_xds::decode::{self, Decoded};
use serde_json::{Value as Json, json};

fn decode(config: &Json) -> Result<Decoded<Listener>, Invalid> {
    decode::listener(&json::encode(type_url::LISTENER, config).unwrap())
}

fn refusal(config: &Json) -> String {
    match decode(config) {
        Ok(_) => "accepted".to_owned(),
        Err(Invalid { field, problem, .. }) => format!("{field}: {problem}"),
    }
}

fn merge(mut into: Json, from: Json) -> Json {
    for (key, value) in from.as_object().unwrap() {
        into[key] = value.clone();
    }
    into
}

/// A connection manager with these fields, RDS and a router.
fn manager(fields: Json) -> Json {
    let base = json!({
        "@type": type_url::HTTP_CONNECTION_MANAGER,
        "stat_prefix": "s",
        "rds": { "route_config_name": "r", "config_source": { "ads": {} } },
        "http_filters": [router()]
    });
    merge(base, fields)
}

fn router() -> Json {
    json!({ "name": "envoy.filters.http.router", "typed_config": { "@type": type_url::ROUTER } })
}

fn chain(filters: Json) -> Json {
    json!({ "filters": filters })
}

fn listener(chains: Json) -> Json {
    let address = json!({ "socket_address": { "address": "0.0.0.0", "port_value": 80 } });
    json!({ "name": "l", "address": address, "filter_chains": chains })
}

fn with_manager(fields: Json) -> Json {
    listener(json!([chain(json!([{ "name": "http", "typed_config": manager(fields) }]))]))
}

fn with_filter(filter: Json) -> Json {
    with_manager(json!({ "http_filters": [filter, router()] }))
}

const MANAGER: &str = "filter_chains[0].filters[0].typed_config";

#[test]
fn s24_http_filters_that_narrow_access_refuse_the_listener_optional_or_not() {
    let guards = [
        type_url::HTTP_RBAC,
        type_url::JWT_AUTHENTICATION,
        type_url::EXT_AUTHZ,
        "type.googleapis.com/envoy.extensions.filters.http.csrf.v3.CsrfPolicy",
        "type.googleapis.com/envoy.extensions.filters.http.basic_auth.v3.BasicAuth",
    ];
    for guard in guards {
        // Only what the API demands, so that it is the filter that refuses.
        let config = match guard {
            url if url.ends_with("CsrfPolicy") => json!({ "@type": url, "filter_enabled": { "default_value": {} } }),
            url if url.ends_with("BasicAuth") => json!({ "@type": url, "users": { "inline_string": "u:{SHA}x" } }),
            url => json!({ "@type": url }),
        };
        for (optional, disabled) in [(false, false), (true, false), (false, true)] {
            let filter = json!({ "name": "f", "is_optional": optional, "disabled": disabled, "typed_config": config });
            assert_eq!(
                refusal(&with_filter(filter)),
                format!("{MANAGER}.http_filters[0]: HTTP filter \"f\" of type {guard:?} is not supported")
            );
        }
    }
}

#[test]
fn f26_an_unknown_filter_is_refused_unless_it_is_optional() {
    let typed =
        |url: &str| json!({ "@type": "type.googleapis.com/xds.type.v3.TypedStruct", "type_url": url, "value": {} });
    let filter = |optional: bool| json!({ "name": "f", "is_optional": optional, "typed_config": typed("type.googleapis.com/my.Filter") });
    assert_eq!(
        refusal(&with_filter(filter(false))),
        format!(
            "{MANAGER}.http_filters[0]: HTTP filter \"f\" of type \"type.googleapis.com/my.Filter\" is not supported"
        )
    );
    let decoded = decode(&with_filter(filter(true))).unwrap();
    assert_eq!(
        decoded.not_in_force,
        [format!("{MANAGER}.http_filters[0]: optional HTTP filter my.Filter is left out")]
    );
    let discovered = json!({ "name": "f", "is_optional": true, "config_discovery": { "config_source": { "ads": {} }, "type_urls": [type_url::CORS] } });
    assert_eq!(
        refusal(&with_filter(discovered)),
        format!("{MANAGER}.http_filters[0].config_discovery: extension config discovery is not supported")
    );
}

#[test]
fn harmless_filters_are_kept_as_not_in_force() {
    let compressor = format!("type.googleapis.com/{COMPRESSOR}");
    let library = json!({ "name": "gzip", "typed_config": { "@type": "type.googleapis.com/envoy.extensions.compression.gzip.compressor.v3.Gzip" } });
    let filter = json!({ "name": "zip", "disabled": true, "typed_config": { "@type": compressor, "compressor_library": library } });
    let decoded = decode(&with_filter(filter)).unwrap();
    let ChainHandler::Http(manager) = &decoded.value.filter_chains[0].handler else { panic!("HTTP") };
    assert_eq!(manager.http_filters.len(), 1);
    assert_eq!(&*manager.http_filters[0].name, "zip");
    assert!(manager.http_filters[0].disabled);
    assert_eq!(manager.http_filters[0].config, FilterConfig::NotInForce(compressor.into()));
    assert_eq!(decoded.not_in_force, [format!("{MANAGER}.http_filters[0]: HTTP filter {COMPRESSOR} is not in force")]);
}

const COMPRESSOR: &str = "envoy.extensions.filters.http.compressor.v3.Compressor";

#[test]
fn a_local_rate_limit_that_cannot_hold_refuses_the_listener_with_its_path() {
    let limit = |fields: Json| {
        let mut config = json!({ "@type": type_url::LOCAL_RATE_LIMIT, "stat_prefix": "s" });
        config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        refusal(&with_filter(json!({ "name": "l", "typed_config": config })))
    };
    let by = |action: Json| json!({ "rate_limits": [{ "actions": [action] }] });
    let metadata = |source: &str, path: Json| {
        by(
            json!({ "metadata": { "descriptor_key": "k", "source": source, "metadata_key": { "key": "n", "path": path } } }),
        )
    };
    let action = "rate_limits[0].actions[0]";
    for (fields, field, problem) in [
        (json!({ "stat_prefix": "" }), "stat_prefix".to_owned(), "must not be empty"),
        (json!({ "stage": 11 }), "stage".to_owned(), "must be at most 10"),
        (json!({ "token_bucket": { "max_tokens": 1 } }), "token_bucket.fill_interval".to_owned(), "is required"),
        (
            json!({ "token_bucket": { "max_tokens": 1, "fill_interval": "0s" } }),
            "token_bucket.fill_interval".to_owned(),
            "0s must be above 0s",
        ),
        (
            json!({ "token_bucket": { "tokens_per_fill": 0, "fill_interval": "1s" } }),
            "token_bucket.tokens_per_fill".to_owned(),
            "must be above 0",
        ),
        (
            json!({ "descriptors": [{ "entries": [{ "key": "k" }] }] }),
            "descriptors[0].token_bucket".to_owned(),
            "is required",
        ),
        (
            json!({ "local_cluster_rate_limit": {} }),
            "local_cluster_rate_limit".to_owned(),
            "there is no local cluster to share the tokens with",
        ),
        (
            json!({ "rate_limits": [{ "stage": 1, "actions": [{ "remote_address": {} }] }] }),
            "rate_limits[0].stage".to_owned(),
            "may not be set in a filter's own rate limits",
        ),
        (
            json!({ "rate_limits": [{ "actions": [{ "remote_address": {} }], "hits_addend": { "format": "%BYTES_RECEIVED%" } }] }),
            "rate_limits[0].hits_addend.format".to_owned(),
            "a cost by format string is not supported",
        ),
        (
            by(json!({ "extension": { "name": "e", "typed_config": { "@type": type_url::CORS } } })),
            format!("{action}.extension"),
            "a rate limit descriptor by extension \"e\" is not supported",
        ),
        (
            metadata("CLUSTER_ENTRY", json!([{ "key": "a" }])),
            format!("{action}.metadata.source"),
            "a descriptor from metadata of clusters is not supported",
        ),
        (
            metadata("DYNAMIC", json!([{ "index": 1 }])),
            format!("{action}.metadata.metadata_key.path[0].index"),
            "a place in a list is not supported",
        ),
    ] {
        let expected = format!("{MANAGER}.http_filters[0].typed_config.{field}: ");
        let text = limit(fields);
        assert!(text.starts_with(&expected) && text.contains(problem), "{text}\n{expected}{problem}");
    }
    assert_eq!(limit(json!({})), "accepted");
}

/// Quotas with one charge, whose only route has this expression for a condition.
fn quotas(tokens: Json) -> Json {
    let limit =
        json!({ "name": "h/q", "maxAmount": "5", "validDuration": "1.000000000s", "minDeduplication": "1.000000000s" });
    let route = json!({ "match": tokens, "limit": limit });
    json!({ "charges": [{ "quota": "q", "amount": 1, "routes": [route] }] })
}

fn quota_filter(value: Json) -> Json {
    let of = "type.googleapis.com/mesh.mixer.v1.Quotas";
    json!({ "name": "quota", "typed_config": { "@type": type_url::XDS_TYPED_STRUCT, "type_url": of, "value": value } })
}

#[test]
fn quotas_are_a_filter_of_our_own_and_read_whole() {
    let tokens = json!([{ "attribute": ["request.headers", "X-A"] }, { "text": "a" }, { "call": ["==", 2] }]);
    let decoded = decode(&with_filter(quota_filter(quotas(tokens)))).unwrap();
    assert_eq!(decoded.not_in_force, Vec::<String>::new());
    let ChainHandler::Http(manager) = &decoded.value.filter_chains[0].handler else { panic!("HTTP") };
    let FilterConfig::Quota(quotas) = &manager.http_filters[0].config else { panic!("a quota") };
    let route = &quotas.charges[0].routes[0];
    assert_eq!((route.limit.max_amount, route.limit.valid_duration.as_secs()), (5, 1));
    let header = Expression::Attribute(Attribute::Header("x-a".into()));
    assert_eq!(route.matches, Expression::Call(Function::Equal, vec![header, Expression::Text("a".into())]));
}

#[test]
fn quotas_that_do_not_hold_together_refuse_the_listener_with_their_path() {
    let at = format!("{MANAGER}.http_filters[0].typed_config.value");
    let route = format!("{at}.charges[0].routes[0]");
    let deep: Vec<Json> =
        std::iter::once(json!({ "bool": true })).chain(std::iter::repeat_n(json!({ "call": ["!", 1] }), 64)).collect();
    for (value, expected) in [
        (quotas(json!([{ "call": ["==", 2] }])), format!("{route}.match[0]: \"==\" is of 2 values")),
        (quotas(json!([{ "bool": true }, { "call": ["!", 2] }])), format!("{route}.match[1]: \"!\" is of 1 values")),
        (
            quotas(json!([{ "bool": true }, { "call": ["xor", 1] }])),
            format!("{route}.match[1]: \"xor\" is no function"),
        ),
        (quotas(json!([{ "attribute": ["", ""] }])), format!("{route}.match[0]: an attribute needs a name")),
        (quotas(json!([{ "bool": true }, { "bool": true }])), format!("{route}.match: is not one expression")),
        (quotas(json!(deep)), format!("{route}.match[64]: nests more than 64 deep")),
        (
            json!({ "charges": [{ "quota": "q", "amount": 1, "routes": [], "more": 1 }] }),
            format!("{at}: unknown field `more`"),
        ),
        (json!({ "charges": 5 }), format!("{at}: invalid type")),
    ] {
        let said = refusal(&with_filter(quota_filter(value)));
        assert!(said.starts_with(&expected), "{said}\n{expected}");
    }
}

#[test]
fn wasm_is_left_out_only_when_it_asks_to_fail_open() {
    let wasm = |plugin: Json| json!({ "name": "w", "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", "config": plugin } });
    assert_eq!(refusal(&with_filter(wasm(json!({ "fail_open": true })))), "accepted");
    assert_eq!(refusal(&with_filter(wasm(json!({ "failure_policy": "FAIL_OPEN" })))), "accepted");
    for plugin in [json!({}), json!({ "failure_policy": "FAIL_CLOSED" }), json!({ "failure_policy": "FAIL_RELOAD" })] {
        assert!(refusal(&with_filter(wasm(plugin))).ends_with("is not supported"));
    }
}

#[test]
fn the_router_must_be_there_and_last() {
    let filters = |filters: Json| refusal(&with_manager(json!({ "http_filters": filters })));
    let cors = json!({ "name": "cors", "typed_config": { "@type": type_url::CORS } });
    assert_eq!(filters(json!([])), format!("{MANAGER}.http_filters: there must be a router"));
    assert_eq!(
        filters(json!([router(), cors])),
        format!("{MANAGER}.http_filters[0]: \"envoy.filters.http.router\" must be the last filter")
    );
    assert_eq!(
        filters(json!([cors])),
        format!("{MANAGER}.http_filters[0]: \"cors\" cannot be the last filter: the router must be")
    );
}

#[test]
fn upstream_filters_of_the_router_are_refused_unless_they_are_the_codec() {
    let with = |kind: &str| {
        let filter = json!({ "name": "f", "typed_config": { "@type": kind } });
        let router = json!({ "@type": type_url::ROUTER, "upstream_http_filters": [filter] });
        with_manager(json!({ "http_filters": [{ "name": "envoy.filters.http.router", "typed_config": router }] }))
    };
    assert_eq!(
        refusal(&with(type_url::CORS)),
        format!(
            "{MANAGER}.http_filters[0].typed_config.upstream_http_filters[0]: upstream HTTP filter \"f\" is not supported"
        )
    );
    let codec = "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec";
    assert!(decode(&with(codec)).is_ok());
}

#[test]
fn chains_that_would_take_or_let_through_too_much_are_refused() {
    let http = json!([{ "name": "http", "typed_config": manager(json!({})) }]);
    let with = |fields: Json| refusal(&listener(json!([merge(chain(http.clone()), fields)])));
    let matching = |fields: Json| with(json!({ "filter_chain_match": fields }));
    let tls = json!({ "name": "tls", "typed_config": { "@type": type_url::DOWNSTREAM_TLS_CONTEXT } });
    assert_eq!(
        with(json!({ "transport_socket": tls })),
        "filter_chains[0].transport_socket: TLS of downstream connections is not supported"
    );
    // Of an inbound listener it stands, and takes nobody.
    let inbound = merge(
        listener(json!([merge(chain(http.clone()), json!({ "transport_socket": tls }))])),
        json!({ "traffic_direction": "INBOUND" }),
    );
    let decoded = decode(&inbound).unwrap();
    assert!(decoded.value.filter_chains[0].transport_socket);
    assert!(
        decoded.not_in_force.iter().any(|line| line.starts_with("filter_chains[0].transport_socket: TLS")),
        "{:?}",
        decoded.not_in_force
    );
    assert_eq!(
        with(json!({ "use_proxy_proto": true })),
        "filter_chains[0].use_proxy_proto: the PROXY protocol is not supported"
    );
    let range = json!([{ "address_prefix": "10.0.0.0", "prefix_len": 8 }]);
    let conditions = [
        ("source_prefix_ranges", range.clone()),
        ("direct_source_prefix_ranges", range),
        ("source_ports", json!([1])),
        ("source_type", json!("EXTERNAL")),
        ("address_suffix", json!("x")),
        ("suffix_len", json!(1)),
    ];
    for (field, value) in conditions {
        assert_eq!(
            matching(json!({ field: value })),
            format!("filter_chains[0].filter_chain_match.{field}: this condition of a filter chain is not supported")
        );
    }
    assert_eq!(
        matching(json!({ "server_names": ["a*.example"] })),
        "filter_chains[0].filter_chain_match.server_names[0]: \"a*.example\": a wildcard stands for whole labels at the start"
    );
    let twice = listener(json!([chain(http.clone()), chain(http.clone())]));
    assert_eq!(
        refusal(&twice),
        "filter_chains[1].filter_chain_match: filter_chains[0] has the same or an overlapping match"
    );
    assert_eq!(refusal(&listener(json!([]))), "filter_chains: there is no filter chain");
    assert_eq!(
        refusal(&listener(json!([chain(json!([]))]))),
        "filter_chains[0].filters: a chain without filters closes every connection, which is not supported"
    );
}

#[test]
fn network_filters_other_than_those_that_only_count_are_refused() {
    let rbac = json!({ "name": "rbac", "typed_config": { "@type": type_url::NETWORK_RBAC, "stat_prefix": "s" } });
    let stats = json!({ "name": "istio.stats", "typed_config": { "@type": "type.googleapis.com/udpa.type.v1.TypedStruct", "type_url": "type.googleapis.com/stats.PluginConfig", "value": {} } });
    let tcp = |fields: Json| json!({ "name": "tcp", "typed_config": merge(json!({ "@type": type_url::TCP_PROXY, "stat_prefix": "s" }), fields) });
    let filters = |filters: Json| listener(json!([chain(filters)]));
    let cluster = tcp(json!({ "cluster": "c" }));
    assert_eq!(
        refusal(&filters(json!([rbac, cluster]))),
        format!(
            "filter_chains[0].filters[0]: network filter \"rbac\" of type {:?} is not supported",
            type_url::NETWORK_RBAC
        )
    );
    let decoded = decode(&filters(json!([stats, cluster]))).unwrap();
    assert_eq!(decoded.value.filter_chains[0].handler, ChainHandler::Tcp { cluster: "c".into() });
    assert_eq!(
        refusal(&filters(json!([cluster, stats]))),
        "filter_chains[0].filters[0]: \"tcp\" must be the last filter of its chain"
    );
    assert_eq!(
        refusal(&filters(json!([stats]))),
        "filter_chains[0].filters[0]: the last filter of a chain must be terminal"
    );
    let weighted = tcp(json!({ "weighted_clusters": { "clusters": [{ "name": "a", "weight": 1 }] } }));
    assert_eq!(
        refusal(&filters(json!([weighted]))),
        "filter_chains[0].filters[0].typed_config.weighted_clusters: a split of TCP connections is not supported"
    );
}

#[test]
fn manager_settings_that_guard_or_identify_callers_are_refused() {
    let extension = json!({ "name": "x", "typed_config": { "@type": type_url::CORS } });
    let cases = [
        (
            json!({ "original_ip_detection_extensions": [extension] }),
            "original_ip_detection_extensions: another way to find the caller's address is not supported",
        ),
        (
            json!({ "early_header_mutation_extensions": [extension] }),
            "early_header_mutation_extensions: changing headers before routing is not supported",
        ),
        (
            json!({ "typed_header_validation_config": extension }),
            "typed_header_validation_config: a header validator is not supported",
        ),
        (json!({ "codec_type": "HTTP3" }), "codec_type: HTTP/3 is not supported"),
        (
            json!({ "common_http_protocol_options": { "headers_with_underscores_action": "REJECT_REQUEST" } }),
            "common_http_protocol_options.headers_with_underscores_action: refusing or dropping headers with underscores is not supported",
        ),
        (
            json!({ "strip_matching_host_port": true, "strip_any_host_port": true }),
            "strip_any_host_port: strip_matching_host_port is set as well",
        ),
        (
            json!({ "upgrade_configs": [{ "upgrade_type": "a" }, { "upgrade_type": "A" }] }),
            "upgrade_configs[1].upgrade_type: \"a\" is there twice",
        ),
        (
            json!({ "upgrade_configs": [{ "upgrade_type": "a", "filters": [router()] }] }),
            "upgrade_configs[0].filters: filters for one upgrade type is not supported",
        ),
        (json!({ "rds": { "config_source": { "ads": {} } } }), "rds.route_config_name: is required"),
        (json!({ "rds": null }), "route_specifier: is required"),
    ];
    for (fields, expected) in cases {
        assert_eq!(refusal(&with_manager(fields)), format!("{MANAGER}.{expected}"));
    }
    let decoded = decode(&with_manager(
        json!({ "strip_any_host_port": true, "upgrade_configs": [{ "upgrade_type": "WebSocket" }] }),
    ))
    .unwrap();
    let ChainHandler::Http(manager) = &decoded.value.filter_chains[0].handler else { panic!("HTTP") };
    assert_eq!((manager.strip_port, manager.upgrades.as_slice()), (StripPort::Any, &["websocket".to_owned()][..]));
    assert_eq!(manager.routes, RouteSource::Rds("r".into()));
}

#[test]
fn inline_routes_are_judged_with_their_listener() {
    let host = json!({ "name": "v", "domains": ["*"], "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "c", "timeout": "-1s" } }] });
    let config = with_manager(json!({ "rds": null, "route_config": { "virtual_hosts": [host] } }));
    assert_eq!(
        refusal(&config),
        format!("{MANAGER}.route_config.virtual_hosts[0].routes[0].route.timeout: duration is negative")
    );
}

#[test]
fn an_api_listener_needs_no_address_and_other_kinds_are_refused() {
    let api = json!({ "api_listener": manager(json!({})) });
    let decoded = decode(&json!({ "name": "a:80", "api_listener": api })).unwrap();
    assert!(decoded.value.api_listener.is_some() && decoded.value.address.is_none());
    let cases = [
        (json!({ "name": "l" }), "address: is required"),
        (json!({ "address": {} }), "address.address: is required"),
        (json!({ "name": "l", "internal_listener": {} }), "internal_listener: an internal listener is not supported"),
        (json!({ "name": "l", "udp_listener_config": {} }), "udp_listener_config: UDP is not supported"),
        (
            json!({ "name": "l", "filter_chain_matcher": {} }),
            "filter_chain_matcher: choosing filter chains by a matcher is not supported",
        ),
        (
            json!({ "name": "l", "address": { "pipe": { "path": "/x" } } }),
            "address.pipe: listening on a Unix socket is not supported",
        ),
        (
            json!({ "name": "l", "listener_filters": [{ "name": "envoy.filters.listener.proxy_protocol" }] }),
            "listener_filters[0]: listener filter \"envoy.filters.listener.proxy_protocol\" of type \"envoy.filters.listener.proxy_protocol\" is not supported",
        ),
    ];
    for (config, expected) in cases {
        assert_eq!(refusal(&config), expected);
    }
}

/// Filters of Envoy's documentation: each bootstrap is accepted or refused, with a reason, never with a panic.
#[test]
fn documented_configurations_are_accepted_or_refused_with_a_reason() {
    let (mut ran, mut skipped) = (0, 0);
    for folder in ["envoy/docs_http_filters", "envoy/docs_configs/route", "envoy/docs_configs/retry"] {
        let Some(folder) = data::folder(folder) else {
            skipped += 1;
            continue;
        };
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let Ok(bootstrap) = serde_saphyr::from_str::<Json>(&text) else {
                skipped += 1;
                continue;
            };
            let resources = &bootstrap["static_resources"];
            for (kind, list) in
                [(type_url::LISTENER, &resources["listeners"]), (type_url::CLUSTER, &resources["clusters"])]
            {
                for one in list.as_array().into_iter().flatten() {
                    let name = path.file_name().unwrap().to_string_lossy();
                    match json::encode(kind, &merge(json!({ "name": "from-the-docs" }), one.clone())) {
                        Ok(bytes) => {
                            let verdict = decode::resource(decode::kind(kind).unwrap(), &bytes);
                            if let Err(invalid) = &verdict {
                                assert!(!invalid.field.as_str().is_empty(), "{name}: {invalid}");
                            }
                            println!(
                                "{name}: {}",
                                verdict.map_or_else(|invalid| invalid.to_string(), |_| "accepted".to_owned())
                            );
                            ran += 1;
                        }
                        Err(error) => {
                            println!("{name}: no JSON form: {error}");
                            skipped += 1;
                        }
                    }
                }
            }
        }
    }
    data::report(ran, skipped);
}

#[test]
fn faults_and_changes_that_make_no_sense_refuse_the_listener_with_their_path() {
    let fault = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault";
    let mutation = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";
    let query = |append: Json| json!({ "mutations": { "query_parameter_mutations": [{ "append": append }] } });
    let table = [
        (fault, json!({ "delay": {} }), "delay.fault_delay_secifier"),
        (fault, json!({ "delay": { "fixed_delay": "0s" } }), "delay.fixed_delay"),
        (fault, json!({ "delay": { "fixed_delay": "-1s" } }), "delay.fixed_delay"),
        (fault, json!({ "abort": {} }), "abort.error_type"),
        (fault, json!({ "abort": { "http_status": 199 } }), "abort.http_status"),
        (fault, json!({ "abort": { "http_status": 600 } }), "abort.http_status"),
        (fault, json!({ "response_rate_limit": {} }), "response_rate_limit.limit_type"),
        (
            fault,
            json!({ "response_rate_limit": { "fixed_limit": { "limit_kbps": "0" } } }),
            "response_rate_limit.fixed_limit.limit_kbps",
        ),
        (fault, json!({ "headers": [{ "name": "" }] }), "headers[0].name"),
        (mutation, json!({ "mutations": { "request_mutations": [{}] } }), "mutations.request_mutations[0].action"),
        (
            mutation,
            json!({ "mutations": { "response_mutations": [{ "remove_on_match": {} }] } }),
            "mutations.response_mutations[0].remove_on_match.key_matcher",
        ),
        (mutation, query(json!({})), "mutations.query_parameter_mutations[0].append.record"),
        (
            mutation,
            query(json!({ "record": { "key": "k", "value": 1 } })),
            "mutations.query_parameter_mutations[0].append.record.value",
        ),
    ];
    for (url, fields, field) in table {
        let config = merge(json!({ "@type": url }), fields);
        let text = refusal(&with_filter(json!({ "name": "f", "typed_config": config })));
        assert!(text.starts_with(&format!("{MANAGER}.http_filters[0].typed_config.{field}: ")), "{field}: {text}");
    }
}

//! Clusters and load assignments: what is read, what is refused and where.
#![allow(clippy::unwrap_used, reason = "a failing test is what unwrap is for")]

use std::net::SocketAddr;
use std::time::Duration;

use mesh_core::resource::Invalid;
use mesh_core::resource::cluster::{Cluster, Discovery, LbPolicy, LeastRequest, Maglev, RingHash, UpstreamProtocol};
use mesh_core::resource::endpoint::{Address, ClusterLoadAssignment};
use mesh_core::resource::health_check::HealthChecker;
use mesh_core::resource::outlier_detection::OutlierDetection;
use mesh_core::resource::route::FractionalPercent;
use mesh_proto::{json, type_url};
use mesh_xds::decode::{self, Decoded};
use serde_json::{Value as Json, json};

fn decode(config: &Json) -> Result<Decoded<Cluster>, Invalid> {
    decode::cluster(&json::encode(type_url::CLUSTER, config).unwrap())
}

fn endpoints(config: &Json) -> Result<Decoded<ClusterLoadAssignment>, Invalid> {
    decode::load_assignment(&json::encode(type_url::CLUSTER_LOAD_ASSIGNMENT, config).unwrap())
}

/// A cluster with these fields.
fn cluster(fields: Json) -> Json {
    let mut config = json!({ "name": "c" });
    for (key, value) in fields.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

fn refusal<T>(verdict: Result<Decoded<T>, Invalid>) -> String {
    match verdict {
        Ok(_) => "accepted".to_owned(),
        Err(Invalid { field, problem, .. }) => format!("{field}: {problem}"),
    }
}

fn assignment(host: &str) -> Json {
    let address = json!({ "socket_address": { "address": host, "port_value": 80 } });
    json!({ "cluster_name": "c", "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }] })
}

fn options(fields: Json) -> Json {
    let mut config = json!({ "@type": type_url::HTTP_PROTOCOL_OPTIONS });
    for (key, value) in fields.as_object().unwrap() {
        config[key] = value.clone();
    }
    json!({ "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": config } })
}

fn policies(types: &[&str]) -> Json {
    let policy = |kind: &&str| json!({ "typed_extension_config": { "name": "p", "typed_config": { "@type": kind } } });
    json!({ "load_balancing_policy": { "policies": types.iter().map(policy).collect::<Vec<_>>() } })
}

const PICK_FIRST: &str = "type.googleapis.com/envoy.extensions.load_balancing_policies.pick_first.v3.PickFirst";

#[test]
fn a_bare_cluster_has_envoys_defaults() {
    let decoded = decode(&json!({ "name": "c" })).unwrap();
    let expected = Cluster::new("c", Discovery::Static(ClusterLoadAssignment::default()));
    assert_eq!(*decoded.value, expected);
    assert!(decoded.not_in_force.is_empty());
}

#[test]
fn addresses_are_what_the_type_of_cluster_can_reach() {
    let of = |kind: &str, host: &str| decode(&cluster(json!({ "type": kind, "load_assignment": assignment(host) })));
    let first = |decoded: Decoded<Cluster>| match &decoded.value.discovery {
        Discovery::Static(one)
        | Discovery::StrictDns { endpoints: one, .. }
        | Discovery::LogicalDns { endpoints: one, .. } => one.localities[0].endpoints[0].address.clone(),
        other => panic!("{other:?}"),
    };
    let ip = Address::Socket(SocketAddr::from(([10, 0, 0, 1], 80)));
    let name = Address::Dns { host: "a.example".into(), port: 80 };
    for kind in ["STATIC", "STRICT_DNS", "LOGICAL_DNS"] {
        assert_eq!(first(of(kind, "10.0.0.1").unwrap()), ip, "{kind}");
    }
    for kind in ["STRICT_DNS", "LOGICAL_DNS"] {
        assert_eq!(first(of(kind, "a.example").unwrap()), name, "{kind}");
    }
    let why = "endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address: \"a.example\" is no IP address (names need type STRICT_DNS or LOGICAL_DNS)";
    assert_eq!(refusal(of("STATIC", "a.example")), format!("load_assignment.{why}"));
    assert_eq!(refusal(endpoints(&assignment("a.example"))), why);
}

#[test]
fn the_endpoints_of_an_eds_cluster_are_named_by_it_or_by_its_service_name() {
    let eds = |config: Json| decode(&cluster(json!({ "type": "EDS", "eds_cluster_config": config })));
    let name = |config: Json| match &eds(config).unwrap().value.discovery {
        Discovery::Eds { service_name } => service_name.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(name(json!({})), "c");
    assert_eq!(name(json!({ "service_name": "s", "eds_config": { "ads": {} } })), "s");
    assert_eq!(
        refusal(eds(json!({ "eds_config": { "path_config_source": { "path": "/x" } } }))),
        "eds_cluster_config.eds_config.path_config_source: a config source other than ADS is not supported"
    );
    assert_eq!(refusal(decode(&cluster(json!({ "type": "EDS" })))), "eds_cluster_config: is required");
}

#[test]
fn clusters_that_cannot_be_served_safely_are_refused() {
    let tls =
        json!({ "name": "envoy.transport_sockets.tls", "typed_config": { "@type": type_url::UPSTREAM_TLS_CONTEXT } });
    let proxy = json!({ "name": "envoy.transport_sockets.upstream_proxy_protocol" });
    let filter = json!({ "name": "f", "typed_config": { "@type": type_url::NETWORK_RBAC, "stat_prefix": "s" } });
    let cases = [
        (json!({ "transport_socket": tls }), "transport_socket: TLS towards upstreams is not supported"),
        (
            json!({ "transport_socket": { "name": "envoy.transport_sockets.tls" } }),
            "transport_socket: TLS towards upstreams is not supported",
        ),
        (
            json!({ "transport_socket": proxy }),
            "transport_socket: a transport socket of type \"envoy.transport_sockets.upstream_proxy_protocol\" is not supported",
        ),
        (
            json!({ "transport_socket_matches": [{ "name": "m", "transport_socket": proxy }] }),
            "transport_socket_matches[0].transport_socket: a transport socket of type \"envoy.transport_sockets.upstream_proxy_protocol\" is not supported",
        ),
        (
            json!({ "transport_socket_matcher": {} }),
            "transport_socket_matcher: choosing transport sockets by a matcher is not supported",
        ),
        (
            json!({ "cluster_type": { "name": "envoy.clusters.aggregate" } }),
            "cluster_type: cluster type \"envoy.clusters.aggregate\" is not supported",
        ),
        (json!({ "lb_subset_config": {} }), "lb_subset_config: subset load balancing is not supported"),
        (
            json!({ "filters": [filter] }),
            "filters[0]: upstream filter \"f\" of type \"envoy.extensions.filters.network.rbac.v3.RBAC\" is not supported",
        ),
        (
            json!({ "type": "LOGICAL_DNS" }),
            "load_assignment: LOGICAL_DNS needs exactly one locality with exactly one endpoint",
        ),
        (json!({ "type": "ORIGINAL_DST" }), "lb_policy: ORIGINAL_DST needs CLUSTER_PROVIDED"),
        (
            json!({ "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED", "load_assignment": assignment("10.0.0.1") }),
            "load_assignment: ORIGINAL_DST has no endpoints of its own",
        ),
        (json!({ "lb_policy": "CLUSTER_PROVIDED" }), "lb_policy: CLUSTER_PROVIDED needs type ORIGINAL_DST"),
        (json!({ "lb_policy": "LOAD_BALANCING_POLICY_CONFIG" }), "load_balancing_policy: is required"),
        (json!({ "connect_timeout": "-1s" }), "connect_timeout: -1s must be above 0s"),
        (json!({ "connect_timeout": "10000000000s" }), "connect_timeout: duration is out of range"),
        (
            options(json!({})),
            "typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"].upstream_protocol_options: is required",
        ),
        (
            options(json!({ "auto_config": {} })),
            "typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"].auto_config: choosing the HTTP version by ALPN needs TLS",
        ),
        (
            options(json!({ "explicit_http_config": { "http3_protocol_options": {} } })),
            "typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"].explicit_http_config.http3_protocol_options: HTTP/3 is not supported",
        ),
    ];
    for (fields, expected) in cases {
        assert_eq!(refusal(decode(&cluster(fields))), expected);
    }
    assert_eq!(refusal(decode(&json!({}))), "name: must not be empty");
    let passthrough = cluster(json!({ "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED" }));
    assert_eq!(decode(&passthrough).unwrap().value.discovery, Discovery::OriginalDst);
}

#[test]
fn outlier_detection_has_envoys_defaults_and_limits() {
    let of = |fields: Json| decode(&cluster(json!({ "outlier_detection": fields })));
    let settings = |fields: Json| of(fields).unwrap().value.outlier_detection.clone().unwrap();
    assert_eq!(settings(json!({})), OutlierDetection::default());
    let longer = settings(json!({ "base_ejection_time": "400s" }));
    assert_eq!(longer.max_ejection_time, Duration::from_secs(400), "the longest ejection is never below the base");
    assert_eq!(settings(json!({ "always_eject_one_host": false })).always_eject_one_host, Some(false));
    let cases = [
        (json!({ "interval": "0s" }), "interval: 0s must be above 0s"),
        (json!({ "interval": "10000000000s" }), "interval: duration is out of range"),
        (json!({ "base_ejection_time": "0s" }), "base_ejection_time: 0s must be above 0s"),
        (json!({ "max_ejection_time": "0s" }), "max_ejection_time: 0s must be above 0s"),
        (json!({ "max_ejection_time": "20s" }), "max_ejection_time: 20s is below base_ejection_time, 30s"),
        (json!({ "max_ejection_time_jitter": "-1s" }), "max_ejection_time_jitter: duration is negative"),
    ];
    for (fields, expected) in cases {
        assert_eq!(refusal(of(fields)), format!("outlier_detection.{expected}"));
    }
    for field in [
        "max_ejection_percent",
        "enforcing_consecutive_5xx",
        "enforcing_success_rate",
        "enforcing_consecutive_gateway_failure",
        "enforcing_consecutive_local_origin_failure",
        "enforcing_local_origin_success_rate",
        "failure_percentage_threshold",
        "enforcing_failure_percentage",
        "enforcing_failure_percentage_local_origin",
    ] {
        let expected = format!("outlier_detection.{field}: 101 must be at most 100");
        assert_eq!(refusal(of(json!({ field: 101 }))), expected);
        assert!(of(json!({ field: 100 })).is_ok() && of(json!({ field: 0 })).is_ok());
    }
    let extreme: Vec<&str> = vec!["consecutive_5xx", "success_rate_stdev_factor", "failure_percentage_request_volume"];
    for field in extreme {
        assert!(of(json!({ field: u32::MAX })).is_ok() && of(json!({ field: 0 })).is_ok());
    }
    let said = of(json!({ "detect_degraded_hosts": true })).unwrap().not_in_force;
    assert_eq!(
        said,
        ["outlier_detection.detect_degraded_hosts: OutlierDetection.detect_degraded_hosts is not in force"]
    );
}

/// A health check with these fields besides what every check needs; a TCP check unless they say otherwise.
fn checked(fields: Json) -> Result<Decoded<Cluster>, Invalid> {
    let mut check = json!({ "timeout": "1s", "interval": "5s", "unhealthy_threshold": 2, "healthy_threshold": 3 });
    let fields = fields.as_object().unwrap();
    if !fields.keys().any(|key| key.ends_with("_health_check")) {
        check["tcp_health_check"] = json!({});
    }
    for (key, value) in fields {
        check[key] = value.clone();
    }
    decode(&cluster(json!({ "health_checks": [check] })))
}

#[test]
fn a_health_check_has_envoys_defaults() {
    let check = checked(json!({})).unwrap().value.health_check.clone().unwrap();
    let five = Duration::from_secs(5);
    assert_eq!((check.timeout, check.interval), (Duration::from_secs(1), five));
    assert_eq!((check.unhealthy_threshold, check.healthy_threshold), (2, 3));
    assert_eq!((check.no_traffic_interval, check.no_traffic_healthy_interval), (Duration::from_secs(60), None));
    assert_eq!(
        (check.unhealthy_interval, check.unhealthy_edge_interval, check.healthy_edge_interval),
        (five, five, five)
    );
    assert!(check.reuse_connection && check.alt_port.is_none());
    let check = checked(json!({ "unhealthy_interval": "7s" })).unwrap().value.health_check.clone().unwrap();
    assert_eq!(check.unhealthy_edge_interval, Duration::from_secs(7));
    let http = checked(json!({ "http_health_check": { "path": "/" } })).unwrap().value.health_check.clone().unwrap();
    let HealthChecker::Http(http) = &http.checker else { panic!("{http:?}") };
    assert_eq!(http.expected_statuses.first(), Some(&(200..201)));
    assert_eq!((http.expected_statuses.len(), http.http2, http.method.as_str()), (1, false, "GET"));
}

#[test]
fn health_checks_that_cannot_be_made_as_asked_are_refused() {
    let http = |fields: Json| {
        let mut check = json!({ "path": "/" });
        for (key, value) in fields.as_object().unwrap() {
            check[key] = value.clone();
        }
        json!({ "http_health_check": check })
    };
    let cases = [
        (json!({ "timeout": null }), "timeout: is required"),
        (json!({ "timeout": "0s" }), "timeout: 0s must be above 0s"),
        (json!({ "interval": null }), "interval: is required"),
        (json!({ "interval": "10000000000s" }), "interval: duration is out of range"),
        (json!({ "unhealthy_threshold": null }), "unhealthy_threshold: is required"),
        (json!({ "healthy_threshold": null }), "healthy_threshold: is required"),
        (json!({ "no_traffic_interval": "0s" }), "no_traffic_interval: 0s must be above 0s"),
        (json!({ "alt_port": 70000 }), "alt_port: 70000 is no port"),
        (
            json!({ "custom_health_check": { "name": "redis" } }),
            "custom_health_check: health check \"redis\" is not supported",
        ),
        (http(json!({ "path": "" })), "http_health_check.path: must not be empty"),
        (
            http(json!({ "expected_statuses": [{ "start": 200, "end": 200 }] })),
            "http_health_check.expected_statuses[0]: [200, 200) is no range within 100 to 600",
        ),
        (
            http(json!({ "retriable_statuses": [{ "start": 99, "end": 700 }] })),
            "http_health_check.retriable_statuses[0]: [99, 700) is no range within 100 to 600",
        ),
        (
            http(json!({ "service_name_matcher": { "prefix": "a" } })),
            "http_health_check.service_name_matcher: checking the name of a service is not supported",
        ),
        (
            http(json!({ "receive": [{ "text": "00" }] })),
            "http_health_check.receive: checking the body of an answer is not supported",
        ),
        (http(json!({ "codec_client_type": "HTTP3" })), "http_health_check.codec_client_type: HTTP/3 is not supported"),
        (
            http(json!({ "request_headers_to_add": [{ "header": { "key": "a", "value": "%PROTOCOL%" } }] })),
            "http_health_check.request_headers_to_add[0].header.value: a formatted header in a health check is not supported",
        ),
        (
            json!({ "tcp_health_check": { "send": { "text": "0g" } } }),
            "tcp_health_check.send.text: \"0g\" is not hexadecimal",
        ),
        (
            json!({ "tcp_health_check": { "receive": [{ "text": "abc" }] } }),
            "tcp_health_check.receive[0].text: \"abc\" is not hexadecimal",
        ),
        (
            json!({ "grpc_health_check": { "authority": "a b" } }),
            "grpc_health_check.authority: \"a b\" is no authority: invalid uri character",
        ),
    ];
    for (fields, expected) in cases {
        assert_eq!(refusal(checked(fields)), format!("health_checks[0].{expected}"));
    }
    let one = json!({ "timeout": "1s", "interval": "1s", "unhealthy_threshold": 1, "healthy_threshold": 1, "tcp_health_check": {} });
    assert_eq!(
        refusal(decode(&cluster(json!({ "health_checks": [one, one] })))),
        "health_checks: more than one health check is not supported"
    );
    for extreme in [0, u32::MAX] {
        let fields =
            json!({ "unhealthy_threshold": extreme, "healthy_threshold": extreme, "interval_jitter_percent": extreme });
        assert!(checked(fields).is_ok());
    }
}

#[test]
fn each_policy_is_decoded_with_its_settings() {
    let of = |fields: Json| {
        let decoded = decode(&cluster(fields)).unwrap();
        (decoded.value.lb_policy, decoded.not_in_force)
    };
    assert_eq!(of(json!({ "lb_policy": "RING_HASH" })), (LbPolicy::RingHash(RingHash::default()), vec![]));
    assert_eq!(of(json!({ "lb_policy": "MAGLEV" })), (LbPolicy::Maglev(Maglev::default()), vec![]));
    assert_eq!(of(json!({ "lb_policy": "RANDOM" })), (LbPolicy::Random, vec![]));
    assert_eq!(of(json!({ "lb_policy": "LEAST_REQUEST" })), (LbPolicy::LeastRequest(LeastRequest::default()), vec![]));
    let biased = json!({ "lb_policy": "LEAST_REQUEST", "least_request_lb_config": { "active_request_bias": { "default_value": -1 } } });
    let expected = LeastRequest { active_request_bias: 0.0, ..LeastRequest::default() };
    assert_eq!(of(biased).0, LbPolicy::LeastRequest(expected));
}

#[test]
fn settings_of_balancers_that_envoy_refuses_are_refused_with_their_field() {
    let slow = |config: Json| json!({ "round_robin_lb_config": { "slow_start_config": config } });
    let ring = |config: Json| json!({ "lb_policy": "RING_HASH", "ring_hash_lb_config": config });
    let table = |size: u64| json!({ "lb_policy": "MAGLEV", "maglev_lb_config": { "table_size": size.to_string() } });
    let common = |config: Json| json!({ "common_lb_config": config });
    let slow_at = "round_robin_lb_config.slow_start_config";
    for (fields, why) in [
        (
            ring(json!({ "minimum_ring_size": "9", "maximum_ring_size": "8" })),
            "ring_hash_lb_config.minimum_ring_size: 9 is above",
        ),
        (ring(json!({ "maximum_ring_size": "8388609" })), "ring_hash_lb_config.maximum_ring_size: 8388609 "),
        (
            ring(json!({ "minimum_ring_size": "18446744073709551615" })),
            "ring_hash_lb_config.minimum_ring_size: 18446744073709551615 ",
        ),
        (ring(json!({ "hash_function": 7 })), "ring_hash_lb_config.hash_function: "),
        (table(250), "maglev_lb_config.table_size: 250 is no prime number"),
        (table(0), "maglev_lb_config.table_size: 0 is no prime number"),
        (table(5_000_012), "maglev_lb_config.table_size: 5000012 "),
        (common(json!({ "healthy_panic_threshold": { "value": 101 } })), "common_lb_config.healthy_panic_threshold"),
        (common(json!({ "healthy_panic_threshold": { "value": "NaN" } })), "common_lb_config.healthy_panic_threshold"),
        (
            common(json!({ "zone_aware_lb_config": { "routing_enabled": { "value": -1 } } })),
            "common_lb_config.zone_aware_lb_config.routing_enabled",
        ),
        (
            common(json!({ "consistent_hashing_lb_config": { "hash_balance_factor": 99 } })),
            "common_lb_config.consistent_hashing_lb_config.hash_balance_factor: 99 must be at least 100",
        ),
        (
            slow(json!({ "aggression": { "default_value": 0, "runtime_key": "k" } })),
            "round_robin_lb_config.slow_start_config.aggression: must be above 0",
        ),
        (
            slow(json!({ "aggression": { "default_value": "NaN", "runtime_key": "k" } })),
            "round_robin_lb_config.slow_start_config.aggression",
        ),
        (slow(json!({ "slow_start_window": "-1s" })), slow_at),
        (slow(json!({ "min_weight_percent": { "value": 101 } })), slow_at),
    ] {
        let refused = refusal(decode(&cluster(fields.clone())));
        assert!(refused.starts_with(why), "{fields}: {refused}");
    }
}

#[test]
fn of_listed_policies_the_first_that_is_in_force_is_taken() {
    let of = |types: &[&str]| decode(&cluster(policies(types)));
    let policy = |types: &[&str]| of(types).unwrap().value.lb_policy;
    // Of a type that nobody has, and of one that another policy stands in for.
    let unknown = type_url::CORS;
    assert_eq!(policy(&[unknown, type_url::LB_RANDOM, type_url::LB_ROUND_ROBIN]), LbPolicy::Random);
    assert_eq!(policy(&[PICK_FIRST, type_url::LB_LEAST_REQUEST]), LbPolicy::LeastRequest(LeastRequest::default()));
    assert_eq!(policy(&[type_url::LB_MAGLEV]), LbPolicy::Maglev(Maglev::default()));
    assert_eq!(policy(&[type_url::LB_RING_HASH]), LbPolicy::RingHash(RingHash::default()));
    let replaced = of(&[PICK_FIRST]).unwrap();
    assert_eq!(replaced.value.lb_policy, LbPolicy::RoundRobin);
    assert_eq!(
        replaced.not_in_force,
        ["load_balancing_policy.policies[0]: PickFirst is not in force, ROUND_ROBIN is used"]
    );
    assert_eq!(refusal(of(&[unknown])), "load_balancing_policy.policies: none of these policies is supported");
}

#[test]
fn the_protocol_comes_from_the_options_or_from_the_older_fields() {
    let protocol = |fields: Json| decode(&cluster(fields)).unwrap().value.protocol;
    assert_eq!(protocol(json!({})), UpstreamProtocol::Http1);
    assert_eq!(protocol(json!({ "http2_protocol_options": {} })), UpstreamProtocol::Http2);
    assert_eq!(
        protocol(options(json!({ "explicit_http_config": { "http2_protocol_options": {} } }))),
        UpstreamProtocol::Http2
    );
    assert_eq!(
        protocol(options(json!({ "explicit_http_config": { "http_protocol_options": {} } }))),
        UpstreamProtocol::Http1
    );
    assert_eq!(protocol(options(json!({ "use_downstream_protocol_config": {} }))), UpstreamProtocol::UseDownstream);
    let idle = |value: &str| {
        let fields = options(
            json!({ "explicit_http_config": { "http_protocol_options": {} }, "common_http_protocol_options": { "idle_timeout": value } }),
        );
        decode(&cluster(fields)).unwrap().value.http.idle_timeout
    };
    assert_eq!((idle("0s"), idle("2s")), (None, Some(Duration::from_secs(2))));
}

#[test]
fn what_has_no_effect_yet_is_listed() {
    let config = cluster(json!({
        "alt_stat_name": "a;",
        "common_lb_config": { "locality_weighted_lb_config": {}, "close_connections_on_host_set_change": true }
    }));
    let mut lines = decode(&config).unwrap().not_in_force;
    lines.sort();
    assert_eq!(
        lines,
        [
            "alt_stat_name: Cluster.alt_stat_name is not in force",
            "common_lb_config.close_connections_on_host_set_change: CommonLbConfig.close_connections_on_host_set_change is not in force",
        ]
    );
}

#[test]
fn assignments_that_envoy_refuses_are_refused() {
    let with = |fields: Json| {
        let mut config = assignment("10.0.0.1");
        for (key, value) in fields.as_object().unwrap() {
            config["endpoints"][0][key] = value.clone();
        }
        refusal(endpoints(&config))
    };
    let endpoint = |weight: u32| {
        let address = json!({ "socket_address": { "address": "10.0.0.1", "port_value": 80 } });
        json!({ "endpoint": { "address": address }, "load_balancing_weight": weight })
    };
    assert_eq!(with(json!({ "priority": 129 })), "endpoints[0].priority: 129 must be at most 128");
    assert_eq!(with(json!({ "load_balancing_weight": 0 })), "endpoints[0].load_balancing_weight: 0 must be at least 1");
    assert_eq!(
        with(json!({ "lb_endpoints": [endpoint(0)] })),
        "endpoints[0].lb_endpoints[0].load_balancing_weight: 0 must be at least 1"
    );
    assert_eq!(
        with(json!({ "lb_endpoints": [endpoint(u32::MAX), endpoint(1)] })),
        "endpoints[0].lb_endpoints: the sum of the weights, 4294967296, is above 4294967295"
    );
    assert_eq!(
        with(json!({ "leds_cluster_locality_config": {} })),
        "endpoints[0].leds_cluster_locality_config: locality endpoint discovery is not supported"
    );
    assert_eq!(
        with(json!({ "lb_endpoints": [{ "endpoint_name": "e" }] })),
        "endpoints[0].lb_endpoints[0].endpoint_name: an endpoint by name is not supported"
    );
    let drops = |count: usize| {
        let mut config = assignment("10.0.0.1");
        config["policy"] = json!({ "drop_overloads": vec![json!({ "category": "x" }); count] });
        endpoints(&config)
    };
    assert_eq!(refusal(drops(2)), "policy.drop_overloads: more than one category is not allowed");
    let one = |share: Json| {
        let mut config = assignment("10.0.0.1");
        config["policy"] = json!({ "drop_overloads": [{ "category": "x", "drop_percentage": share }] });
        endpoints(&config).unwrap().value.drop_overload
    };
    assert_eq!(one(json!({ "numerator": 5 })), Some(FractionalPercent::percent(5)));
    assert_eq!(one(json!({ "numerator": 0 })), None);
    let factor = json!({ "cluster_name": "c", "policy": { "overprovisioning_factor": 0 } });
    assert_eq!(refusal(endpoints(&factor)), "policy.overprovisioning_factor: 0 must be above 0");
    assert_eq!(refusal(endpoints(&json!({}))), "cluster_name: must not be empty");
}

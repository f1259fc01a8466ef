//! Which configurations are put in force and which are refused, as Envoy was observed to do.
//!
//! The record gives names and verdicts; the configurations are written here, one mistake each.

use mesh_tests::data;
use mesh_tests::edge::{Edge, clusters, listener};
use mesh_tests::upstream::Upstreams;
use serde_json::{Value, json};

/// Recorded configurations that need features which are still to come.
const WAITING: &[&str] = &["fault600", "lrl_fill", "lrl_notb", "rbac_empty_and", "rbac_noprin"];

/// A name whose configuration cannot be told from the record.
const UNTOLD: &[&str] = &["hm_two"];

/// Name, configuration, whether it is accepted, and a word of the refusal.
fn table() -> Vec<(&'static str, Value, bool, &'static str)> {
    let route = |route: Value| json!({ "routes": [route] });
    let forward = |mut more: Value| {
        more["cluster"] = "up".into();
        json!({ "routes": [{ "match": { "prefix": "/" }, "route": more }] })
    };
    let answer = |status: u16| route(json!({ "match": { "prefix": "/" }, "direct_response": { "status": status } }));
    let adding = |name: &str, value: &str| {
        let header = json!({ "header": { "key": name, "value": value } });
        let forward = json!({ "cluster": "up" });
        route(json!({ "match": { "prefix": "/" }, "route": forward, "request_headers_to_add": [header] }))
    };
    let hosts = |domains: &[&[&str]]| {
        let host = |(at, domains): (usize, &&[&str])| json!({ "name": format!("v{at}"), "domains": domains });
        json!({ "route_config": { "virtual_hosts": domains.iter().enumerate().map(host).collect::<Vec<_>>() } })
    };
    let separated =
        |prefix: &str| route(json!({ "match": { "path_separated_prefix": prefix }, "route": { "cluster": "up" } }));
    let weighted = json!({ "clusters": [{ "name": "up", "weight": 0 }, { "name": "up2", "weight": 0 }] });
    let regex = json!({ "pattern": { "regex": "a" }, "substitution": "b" });
    let back_off = json!({ "base_interval": "1s", "max_interval": "0.5s" });
    let unknown = json!({ "@type": "type.googleapis.com/google.protobuf.Struct", "value": {} });
    vec![
        ("dupdom", hosts(&[&["a"], &["b", "A"]]), false, "virtual_hosts"),
        ("dupstar", hosts(&[&["*"], &["*"]]), false, "virtual_hosts"),
        ("midwild", hosts(&[&["a.*.b"]]), true, ""),
        (
            "wsum0",
            route(json!({ "match": { "prefix": "/" }, "route": { "weighted_clusters": weighted } })),
            false,
            "weighted_clusters",
        ),
        ("sepslash", separated("/a/"), false, "path_separated_prefix"),
        ("sepq", separated("/a?b"), false, "path_separated_prefix"),
        ("badop", adding("x-a", "%NOPE%"), false, "request_headers_to_add"),
        ("badpct", adding("x-a", "50%"), false, "request_headers_to_add"),
        ("hosthdr", adding("host", "b"), false, "request_headers_to_add"),
        ("pseudo", adding(":path", "/b"), false, "request_headers_to_add"),
        (
            "rmhost",
            route(json!({
                "match": { "prefix": "/" },
                "route": { "cluster": "up" },
                "request_headers_to_remove": ["host"],
            })),
            false,
            "request_headers_to_remove",
        ),
        (
            "bomax",
            forward(json!({ "retry_policy": { "retry_on": "5xx", "retry_back_off": back_off } })),
            false,
            "max_interval",
        ),
        ("unkretry", forward(json!({ "retry_policy": { "retry_on": "nope" } })), true, ""),
        ("two_rewrites", forward(json!({ "prefix_rewrite": "/b", "regex_rewrite": regex })), false, "rewrite"),
        ("dr600", answer(600), false, "status"),
        ("dr100", answer(100), false, "status"),
        (
            "redir_300",
            route(json!({ "match": { "prefix": "/" }, "redirect": { "response_code": 300 } })),
            false,
            "response_code",
        ),
        (
            "unkfilter",
            json!({ "routes": [], "http_filters": [{ "name": "x", "typed_config": unknown }] }),
            false,
            "http_filters",
        ),
    ]
}

#[tokio::test]
async fn each_configuration_is_accepted_or_refused_with_the_field_that_is_wrong() {
    let upstreams = Upstreams::start().await;
    for (name, parts, accepted, word) in table() {
        let mut resources = clusters::clusters(&upstreams);
        resources.push(listener(&parts));
        match Edge::new(&resources) {
            Ok(_) => assert!(accepted, "{name} is accepted"),
            Err(refused) => {
                assert!(!accepted, "{name} is refused: {refused}");
                assert!(refused.contains("virtualOutbound") || refused.contains("/rc"), "{name}: {refused}");
                assert!(refused.contains(word), "{name} is refused for something else: {refused}");
            }
        }
    }
}

#[test]
fn the_verdicts_on_configurations_are_those_of_envoy() {
    let Some(path) = data::find("envoy-observed/http.json") else { return data::report(0, 1) };
    let document: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let recorded = document["config_validation"].as_object().unwrap();
    let table = table();
    for (name, verdict) in recorded {
        if WAITING.contains(&name.as_str()) || UNTOLD.contains(&name.as_str()) {
            continue;
        }
        let (_, _, accepted, _) = table.iter().find(|row| row.0 == name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(verdict["accepted"].as_bool(), Some(*accepted), "{name}: {verdict}");
    }
    data::report(table.len(), WAITING.len() + UNTOLD.len());
}

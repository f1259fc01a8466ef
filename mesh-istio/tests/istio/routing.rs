//! VirtualServices: which routes, for whom, in which order, with which fields.

use mesh_istio::{MeshConfig, OutboundTrafficPolicy, ProxyContext, Severity};
use serde_json::{Value, json};

use crate::support::{
    SERVICES, destination_rule, has_virtual_host, lowered, lowered_for, routes, routes_for, virtual_host,
    virtual_service, world,
};

fn names(routes: &[Value]) -> Vec<&str> {
    routes.iter().map(|route| route["name"].as_str().unwrap_or("")).collect()
}

const TO_A: &str = "route: [{destination: {host: a}}]";

#[test]
fn every_match_block_becomes_a_route_in_list_order() {
    let routes = routes(&format!(
        "[{{name: x, match: [{{name: one, uri: {{exact: /1}}}}, {{uri: {{prefix: /2}}}}], {TO_A}}}, {{name: rest, {TO_A}}}]"
    ));
    assert_eq!(names(&routes), ["x.one", "x", "rest"]);
    assert_eq!(routes[0]["match"], json!({"path": "/1", "caseSensitive": true}));
    assert_eq!(routes[1]["match"], json!({"prefix": "/2", "caseSensitive": true}));
    assert_eq!(routes[2]["match"], json!({"prefix": "/"}));
}

#[test]
fn nothing_behind_a_route_that_takes_everything_is_emitted() {
    for catch_all in [
        format!("{{name: all, {TO_A}}}"),
        format!("{{name: all, match: [{{uri: {{prefix: /}}}}], {TO_A}}}"),
        format!("{{name: all, match: [{{uri: {{regex: .*}}}}], {TO_A}}}"),
    ] {
        assert_eq!(names(&routes(&format!("[{catch_all}, {{name: never, {TO_A}}}]"))), ["all"], "{catch_all}");
    }
    // A prefix with a further condition does not take everything.
    assert_eq!(
        names(&routes(&format!(
            "[{{name: some, match: [{{uri: {{prefix: /}}, method: {{exact: GET}}}}], {TO_A}}}, {{name: rest, {TO_A}}}]"
        ))),
        ["some", "rest"]
    );
}

#[test]
fn every_form_of_header_and_query_match_is_translated() {
    let routes = routes(&format!(
        "[{{match: [{{headers: {{b: {{exact: x}}, a: {{}}, c: {{regex: '*'}}, d: {{prefix: p}}}}, withoutHeaders: {{e: {{regex: y.*}}, f: {{}}}}, \
         method: {{exact: GET}}, authority: {{regex: .+}}, scheme: {{prefix: htt}}, queryParams: {{q: {{exact: '1'}}, r: {{}}}}, ignoreUriCase: true, uri: {{prefix: /x}}}}], {TO_A}}}]"
    ));
    assert_eq!(
        routes[0]["match"],
        json!({
            "prefix": "/x",
            "caseSensitive": false,
            "headers": [
                {"name": "a", "presentMatch": true},
                {"name": "b", "stringMatch": {"exact": "x"}},
                {"name": "c", "presentMatch": true},
                {"name": "d", "stringMatch": {"prefix": "p"}},
                {"name": "e", "stringMatch": {"safeRegex": {"regex": "y.*"}}, "invertMatch": true, "treatMissingHeaderAsEmpty": true},
                {"name": "f", "presentMatch": true, "invertMatch": true},
                {"name": ":method", "stringMatch": {"exact": "GET"}},
                {"name": ":authority", "stringMatch": {"safeRegex": {"regex": ".+"}}},
                {"name": ":scheme", "stringMatch": {"prefix": "htt"}},
            ],
            "queryParameters": [{"name": "q", "stringMatch": {"exact": "1"}}, {"name": "r", "presentMatch": true}],
        })
    );
}

#[test]
fn conditions_on_port_and_caller_are_decided_when_lowering() {
    let http = format!(
        "[{{name: port, match: [{{port: 9090}}], {TO_A}}}, {{name: labels, match: [{{sourceLabels: {{app: x}}, uri: {{exact: /1}}}}], {TO_A}}}, \
         {{name: namespace, match: [{{sourceNamespace: other, uri: {{exact: /2}}}}], {TO_A}}}, {{name: gateway, match: [{{gateways: [ingress], uri: {{exact: /3}}}}], {TO_A}}}, \
         {{name: mesh, match: [{{gateways: [mesh], sourceLabels: {{app: z}}, uri: {{exact: /4}}}}], {TO_A}}}]"
    );
    assert_eq!(names(&routes(&http)), ["mesh"]);
    let proxy = ProxyContext::new("default").label("app", "x");
    assert_eq!(names(&routes_for(&http, &proxy, &MeshConfig::default())), ["labels", "mesh"]);
}

#[test]
fn a_virtual_service_without_a_route_for_the_caller_leaves_the_default() {
    let routes = routes(&format!("[{{name: x, match: [{{sourceNamespace: other}}], {TO_A}}}]"));
    assert_eq!(names(&routes), ["default"]);
    assert_eq!(routes[0].pointer("/metadata"), None);
}

#[test]
fn weights_are_kept_zero_is_dropped_and_one_destination_ignores_its_weight() {
    let action = |http: &str| routes(http)[0]["route"].clone();
    let split = action(
        "[{route: [{destination: {host: a}, weight: 3}, {destination: {host: b}, weight: 1}, {destination: {host: b, subset: z}, weight: 0}]}]",
    );
    assert_eq!(
        split["weightedClusters"]["clusters"],
        json!([
            {"name": "outbound|80||a.default.svc.cluster.local", "weight": 3},
            {"name": "outbound|80||b.default.svc.cluster.local", "weight": 1},
        ])
    );
    for one in [
        "[{route: [{destination: {host: b}, weight: 7}]}]",
        "[{route: [{destination: {host: b}, weight: 0}]}]",
        "[{route: [{destination: {host: a}}, {destination: {host: b}, weight: 1}]}]",
    ] {
        assert_eq!(action(one)["cluster"], "outbound|80||b.default.svc.cluster.local", "{one}");
    }
}

#[test]
fn a_split_over_several_rules_gives_the_first_everything_unless_folding_is_asked_for() {
    let http = "[{name: x, match: [{uri: {exact: /x}}], route: [{destination: {host: a}}]}, {route: [{destination: {host: a}, weight: 60}]}, {route: [{destination: {host: b}, weight: 40}]}]";
    let plain = routes(http);
    assert_eq!(plain.len(), 2);
    assert_eq!(plain[1]["route"]["cluster"], "outbound|80||a.default.svc.cluster.local");
    let mut mesh = MeshConfig::default();
    mesh.compat.fold_split_routes = true;
    let folded = routes_for(http, &ProxyContext::new("default"), &mesh);
    assert_eq!(folded.len(), 2);
    let weights: Vec<_> = folded[1]["route"]["weightedClusters"]["clusters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["weight"].clone())
        .collect();
    assert_eq!(weights, [60, 40]);
}

#[test]
fn the_port_of_a_destination_is_its_own_or_the_called_one() {
    let cluster = |destination: &str| {
        routes(&format!("[{{route: [{{destination: {destination}}}]}}]"))[0]["route"]["cluster"].clone()
    };
    assert_eq!(cluster("{host: a}"), "outbound|80||a.default.svc.cluster.local");
    assert_eq!(cluster("{host: a, port: {number: 9090}, subset: v1}"), "outbound|9090|v1|a.default.svc.cluster.local");
    assert_eq!(cluster("{host: b.other}"), "outbound|80||b.other");
}

#[test]
fn redirects_are_translated() {
    let redirect = |body: &str| routes(&format!("[{{redirect: {body}}}]"))[0]["redirect"].clone();
    assert_eq!(
        redirect("{uri: /n, authority: h, redirectCode: 308}"),
        json!({"pathRedirect": "/n", "hostRedirect": "h", "responseCode": "PERMANENT_REDIRECT"})
    );
    assert_eq!(
        redirect("{scheme: https, derivePort: FROM_REQUEST_PORT}"),
        json!({"schemeRedirect": "https", "portRedirect": 80})
    );
    assert_eq!(redirect("{scheme: https, derivePort: FROM_PROTOCOL_DEFAULT}"), json!({"schemeRedirect": "https"}));
    assert_eq!(redirect("{port: 8443}"), json!({"portRedirect": 8443}));
}

#[test]
fn a_redirect_code_that_cannot_be_sent_leaves_the_route_without_action() {
    let route = &routes("[{name: odd, redirect: {uri: /x, redirectCode: 304}}]")[0];
    assert_eq!((route.get("redirect"), route.get("route")), (None, None));
}

#[test]
fn direct_responses_carry_text_or_bytes() {
    let response = |body: &str| {
        routes(&format!("[{{directResponse: {body}, headers: {{response: {{set: {{x: z}}}}}}}}]"))[0].clone()
    };
    assert_eq!(
        response("{status: 503, body: {string: sorry}}")["directResponse"],
        json!({"status": 503, "body": {"inlineString": "sorry"}})
    );
    assert_eq!(response("{status: 200, body: {bytes: aGk=}}")["directResponse"]["body"]["inlineBytes"], "aGk=");
    assert_eq!(response("{status: 200}")["responseHeadersToAdd"][0]["header"], json!({"key": "x", "value": "z"}));
}

#[test]
fn rewrites_are_translated() {
    let action = |rewrite: &str| routes(&format!("[{{rewrite: {rewrite}, {TO_A}}}]"))[0]["route"].clone();
    let both = action("{uri: /n, authority: h}");
    assert_eq!((both["prefixRewrite"].as_str(), both["hostRewriteLiteral"].as_str()), (Some("/n"), Some("h")));
    let regex = action("{uriRegexRewrite: {match: '^/a/(.*)$', rewrite: '/\\1'}}");
    assert_eq!(regex["regexRewrite"], json!({"pattern": {"regex": "^/a/(.*)$"}, "substitution": "/\\1"}));
}

#[test]
fn header_operations_stand_set_before_add_sorted_and_the_authority_becomes_a_rewrite() {
    let http = "[{headers: {request: {set: {z: '1', host: new}, add: {b: '2', a: '3'}, remove: [r]}, response: {remove: [s]}}, \
                route: [{destination: {host: a}, headers: {request: {add: {c: '4', ':authority': late}}}}]}]";
    let route = &routes(http)[0];
    let keys: Vec<_> = route["requestHeadersToAdd"]
        .as_array()
        .unwrap()
        .iter()
        .map(|option| option["header"]["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["z", "a", "b", "c"]);
    assert_eq!(route["requestHeadersToAdd"][0]["appendAction"], "OVERWRITE_IF_EXISTS_OR_ADD");
    assert_eq!((&route["requestHeadersToRemove"], &route["responseHeadersToRemove"]), (&json!(["r"]), &json!(["s"])));
    assert_eq!(route["route"]["hostRewriteLiteral"], "new");
}

#[test]
fn headers_of_weighted_destinations_stay_with_them() {
    let http = "[{route: [{destination: {host: a}, weight: 1, headers: {response: {set: {v: '1'}}, request: {set: {Host: x}}}}, {destination: {host: b}, weight: 1}]}]";
    let clusters = routes(http)[0]["route"]["weightedClusters"]["clusters"].clone();
    assert_eq!(clusters[0]["responseHeadersToAdd"][0]["header"]["key"], "v");
    assert_eq!(clusters[0]["hostRewriteLiteral"], "x");
    assert_eq!(clusters[1], json!({"name": "outbound|80||b.default.svc.cluster.local", "weight": 1}));
}

#[test]
fn timeouts_are_off_unless_set_and_cap_the_grpc_timeout() {
    let action = |rest: &str| routes(&format!("[{{{TO_A}{rest}}}]"))[0]["route"].clone();
    assert_eq!((&action("")["timeout"], &action("")["maxGrpcTimeout"]), (&json!("0s"), &json!("0s")));
    assert_eq!(
        (&action(", timeout: 1m")["timeout"], &action(", timeout: 1m")["maxGrpcTimeout"]),
        (&json!("60s"), &json!("60s"))
    );
}

#[test]
fn retries_default_to_two_and_zero_attempts_switch_them_off() {
    let policy = |rest: &str| routes(&format!("[{{{TO_A}{rest}}}]"))[0]["route"]["retryPolicy"].clone();
    assert_eq!(policy("")["numRetries"], 2);
    assert_eq!(policy(", retries: {attempts: 0}"), Value::Null);
    let own = policy(
        ", retries: {attempts: 3, perTryTimeout: 2s, retryOn: 'gateway-error,503', retryIgnorePreviousHosts: false, backoff: 50ms}",
    );
    assert_eq!(
        own,
        json!({
            "numRetries": 3, "perTryTimeout": "2s", "retryOn": "gateway-error,retriable-status-codes", "retriableStatusCodes": [503],
            "hostSelectionRetryMaxAttempts": "5", "retryBackOff": {"baseInterval": "0.050s", "maxInterval": "0.500s"},
        })
    );
    let mut mesh = MeshConfig::default();
    mesh.compat.retries_default_503 = true;
    let old = routes_for(&format!("[{{{TO_A}}}]"), &ProxyContext::new("default"), &mesh);
    assert_eq!(old[0]["route"]["retryPolicy"]["retriableStatusCodes"], json!([503]));
}

#[test]
fn mirrors_are_translated_and_none_percent_is_none() {
    let mirrors = |rest: &str| routes(&format!("[{{{TO_A}, {rest}}}]"))[0]["route"]["requestMirrorPolicies"].clone();
    let one = mirrors("mirror: {host: b}, mirrorPercentage: {value: 12.5}");
    assert_eq!(one[0]["cluster"], "outbound|80||b.default.svc.cluster.local");
    assert_eq!(one[0]["runtimeFraction"]["defaultValue"], json!({"numerator": 125_000, "denominator": "MILLION"}));
    assert_eq!(mirrors("mirror: {host: b}")[0]["runtimeFraction"]["defaultValue"], json!({"numerator": 100}));
    assert_eq!(mirrors("mirror: {host: b}, mirrorPercentage: {value: 0}"), Value::Null);
    assert_eq!(
        mirrors("mirrors: [{destination: {host: a}}, {destination: {host: b}, percentage: {value: 0}}]")
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_fault_without_percentage_hits_nobody() {
    let fault = routes(&format!(
        "[{{{TO_A}, fault: {{delay: {{fixedDelay: 1s}}, abort: {{percent: 40, grpcStatus: NOT_FOUND}}}}}}]"
    ))[0]["typedPerFilterConfig"]["envoy.filters.http.fault"]
        .clone();
    assert_eq!(fault["delay"], json!({"fixedDelay": "1s"}));
    assert_eq!(fault["abort"], json!({"percentage": {"numerator": 40}, "grpcStatus": 5}));
}

#[test]
fn hash_keys_come_from_the_destination_rule_of_each_destination() {
    let rule = destination_rule(
        "subsets: [{name: v1, trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: c, ttl: 60s, path: /p}}}}}], trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: h}}}",
    );
    let hashes = |http: &str| {
        let lowered = lowered(&format!("{SERVICES}{rule}{}", virtual_service(http)));
        virtual_host(&lowered, "80", "a.default.svc.cluster.local:80")["routes"][0]["route"].clone()
    };
    let whole = hashes("[{route: [{destination: {host: a}}]}]");
    assert_eq!(whole["hashPolicy"], json!([{"header": {"headerName": "h"}}]));
    // A retry belongs where the hash says: previous hosts are not avoided.
    assert_eq!(whole["retryPolicy"].get("retryHostPredicate"), None);
    let subset = hashes("[{route: [{destination: {host: a, subset: v1}}]}]");
    assert_eq!(subset["hashPolicy"], json!([{"cookie": {"name": "c", "ttl": "60s", "path": "/p"}}]));
    let split = hashes("[{route: [{destination: {host: a}, weight: 1}, {destination: {host: b}, weight: 1}]}]");
    assert_eq!(split["hashPolicy"].as_array().unwrap().len(), 1);
    assert!(split["retryPolicy"].get("retryHostPredicate").is_some());
}

#[test]
fn the_first_virtual_service_of_a_host_wins_and_private_ones_come_first() {
    let service = |name: &str, export_to: &str| {
        virtual_service(&format!("[{{name: {name}, {TO_A}}}]"))
            .replace("metadata: {name: a}", &format!("metadata: {{name: {name}}}"))
            .replace("  hosts: [a]", &format!("  exportTo: [{export_to}]\n  hosts: [a]"))
    };
    let first = |text: String| {
        let lowered = lowered(&format!("{SERVICES}{text}"));
        virtual_host(&lowered, "80", "a.default.svc.cluster.local:80")["routes"][0]["name"].clone()
    };
    assert_eq!(first(service("old", "'*'") + &service("new", "'*'")), "old");
    assert_eq!(first(service("public", "'*'") + &service("private", ".")), "private");
    assert_eq!(first(service("other", "elsewhere") + &service("new", "'*'")), "new");
}

#[test]
fn an_exact_host_beats_a_wildcard_and_the_longer_wildcard_the_shorter() {
    let service = |name: &str, host: &str| {
        virtual_service(&format!("[{{name: {name}, {TO_A}}}]"))
            .replace("metadata: {name: a}", &format!("metadata: {{name: {name}}}"))
            .replace("hosts: [a]", &format!("hosts: ['{host}']"))
    };
    let text = format!(
        "{SERVICES}{}{}{}",
        service("short", "*.local"),
        service("long", "*.default.svc.cluster.local"),
        service("exact", "b")
    );
    let lowered = lowered(&text);
    let name = |host: &str| virtual_host(&lowered, "80", host)["routes"][0]["name"].clone();
    assert_eq!(name("a.default.svc.cluster.local:80"), "long");
    assert_eq!(name("b.default.svc.cluster.local:80"), "exact");
}

#[test]
fn hosts_without_a_service_are_routed_on_port_80_only() {
    let text = format!(
        "{SERVICES}{}",
        virtual_service(&format!("[{{{TO_A}}}]")).replace("hosts: [a]", "hosts: [example.com, '*.example.org']")
    );
    let lowered = lowered(&text);
    assert_eq!(virtual_host(&lowered, "80", "example.com:80")["domains"], json!(["example.com"]));
    assert_eq!(virtual_host(&lowered, "80", "*.example.org:80")["domains"], json!(["*.example.org"]));
    assert!(!has_virtual_host(&lowered, "9090", "example.com:9090"));
}

#[test]
fn a_virtual_service_for_a_gateway_only_has_no_effect_here() {
    let text = format!(
        "{SERVICES}{}",
        virtual_service(&format!("[{{name: x, {TO_A}}}]"))
            .replace("  hosts: [a]", "  gateways: [ingress]\n  hosts: [a]")
    );
    assert_eq!(virtual_host(&lowered(&text), "80", "a.default.svc.cluster.local:80")["routes"][0]["name"], "default");
    let both = text.replace("gateways: [ingress]", "gateways: [ingress, mesh]");
    assert_eq!(virtual_host(&lowered(&both), "80", "a.default.svc.cluster.local:80")["routes"][0]["name"], "x");
}

#[test]
fn a_service_is_reached_by_short_names_of_its_namespace_and_by_its_address() {
    let here = virtual_host(&lowered(SERVICES), "80", "a.default.svc.cluster.local:80");
    assert_eq!(
        here["domains"],
        json!([
            "a.default.svc.cluster.local",
            "a.default.svc.cluster.local.",
            "a",
            "a.default.svc",
            "a.default",
            "10.0.0.1"
        ])
    );
    let elsewhere = lowered_for(SERVICES, &ProxyContext::new("other"), &MeshConfig::default());
    let there = virtual_host(&elsewhere, "80", "b.default.svc.cluster.local:80");
    assert_eq!(
        there["domains"],
        json!(["b.default.svc.cluster.local", "b.default.svc.cluster.local.", "b.default.svc", "b.default"])
    );
}

#[test]
fn unknown_hosts_pass_through_or_are_blocked_as_the_mesh_says() {
    let any = virtual_host(&lowered(SERVICES), "80", "allow_any");
    assert_eq!((&any["domains"], &any["routes"][0]["route"]["cluster"]), (&json!(["*"]), &json!("PassthroughCluster")));
    let mut mesh = MeshConfig::default();
    mesh.outbound_traffic_policy = OutboundTrafficPolicy::RegistryOnly;
    let blocked = lowered_for(SERVICES, &ProxyContext::new("default"), &mesh);
    assert_eq!(virtual_host(&blocked, "80", "block_all")["routes"][0]["directResponse"], json!({"status": 502}));
    assert!(!has_virtual_host(&blocked, "80", "allow_any"));
}

#[test]
fn every_route_names_the_object_that_decided() {
    assert_eq!(
        routes(&format!("[{{{TO_A}}}]"))[0].pointer("/metadata/filterMetadata/istio/config").unwrap(),
        "/apis/networking.istio.io/v1/namespaces/default/virtual-service/a"
    );
}

#[test]
fn rules_of_later_work_are_passed_over_and_reported() {
    let http = format!(
        "[{{name: claims, match: [{{headers: {{'@request.auth.claims.sub': {{exact: x}}}}}}], {TO_A}}}, {{name: rest, {TO_A}}}]"
    );
    // Claims may be named where a gateway is bound too; the mesh must not take such a rule for one without conditions.
    let text = virtual_service(&http).replace(
        "  hosts: [a]",
        "  gateways: [mesh, ingress]\n  hosts: [a]\n  tcp: [{route: [{destination: {host: a}}]}]",
    );
    let text = format!("{SERVICES}{text}");
    let lowered = lowered(&text);
    let host = virtual_host(&lowered, "80", "a.default.svc.cluster.local:80");
    assert_eq!(names(host["routes"].as_array().unwrap()), ["rest"]);
    let fields: Vec<_> = world(&text)
        .findings()
        .iter()
        .filter(|finding| finding.severity == Severity::NotInForce)
        .map(|finding| finding.field.clone())
        .collect();
    assert_eq!(fields, ["spec.http[0].match[0].headers[@request.auth.claims.sub]", "spec.tcp[0]"]);
}

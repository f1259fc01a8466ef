//! DestinationRules, services and endpoints: which clusters, with which fields.

use mesh_istio::{ConsecutiveErrors, MeshConfig, ProxyContext};
use serde_json::{Value, json};

use crate::support::{SERVICES, cluster, destination_rule, endpoints, has_cluster, listener, lowered, lowered_for};

const A: &str = "outbound|80||a.default.svc.cluster.local";
const A_GRPC: &str = "outbound|9090||a.default.svc.cluster.local";

/// The cluster `a:80` under a policy.
fn under(policy: &str) -> Value {
    cluster(&lowered(&format!("{SERVICES}{}", destination_rule(&format!("trafficPolicy: {policy}")))), A)
}

fn options(cluster: &Value) -> &Value {
    &cluster["typedExtensionProtocolOptions"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
}

#[test]
fn without_a_rule_a_cluster_has_istios_defaults() {
    let lowered = lowered(SERVICES);
    let plain = cluster(&lowered, A);
    let most = u32::MAX;
    assert_eq!(plain["type"], "EDS");
    assert_eq!(plain["lbPolicy"], "LEAST_REQUEST");
    assert_eq!(plain["connectTimeout"], "10s");
    assert_eq!(
        plain["circuitBreakers"]["thresholds"],
        json!([{"maxConnections": most, "maxPendingRequests": most, "maxRequests": most, "maxRetries": most}])
    );
    assert_eq!(plain.get("typedExtensionProtocolOptions"), None);
    assert_eq!(options(&cluster(&lowered, A_GRPC))["explicitHttpConfig"], json!({"http2ProtocolOptions": {}}));
    for fixed in ["BlackHoleCluster", "PassthroughCluster", "InboundPassthroughCluster"] {
        assert!(has_cluster(&lowered, fixed));
    }
}

#[test]
fn connection_pools_become_thresholds_timeouts_and_options() {
    let cluster = under(
        "{connectionPool: {tcp: {maxConnections: 2, connectTimeout: 1s, idleTimeout: 9s, maxConnectionDuration: 1h, tcpKeepalive: {probes: 3}}, \
         http: {http1MaxPendingRequests: 3, http2MaxRequests: 4, maxRetries: 5, maxRequestsPerConnection: 6}}}",
    );
    assert_eq!(
        cluster["circuitBreakers"]["thresholds"],
        json!([{"maxConnections": 2, "maxPendingRequests": 3, "maxRequests": 4, "maxRetries": 5}])
    );
    assert_eq!(cluster["connectTimeout"], "1s");
    assert_eq!(cluster["upstreamConnectionOptions"]["tcpKeepalive"], json!({"keepaliveProbes": 3}));
    assert_eq!(
        options(&cluster)["commonHttpProtocolOptions"],
        json!({"idleTimeout": "9s", "maxConnectionDuration": "3600s", "maxRequestsPerConnection": 6})
    );
    assert_eq!(options(&cluster)["explicitHttpConfig"], json!({"httpProtocolOptions": {}}));
}

#[test]
fn the_idle_timeout_of_http_beats_that_of_tcp() {
    let cluster = under("{connectionPool: {tcp: {idleTimeout: 9s}, http: {idleTimeout: 5s}}}");
    assert_eq!(options(&cluster)["commonHttpProtocolOptions"]["idleTimeout"], "5s");
}

#[test]
fn a_retry_budget_replaces_the_limit_on_retries() {
    let thresholds = under("{retryBudget: {percent: {value: 30}}, connectionPool: {http: {maxRetries: 9}}}")["circuitBreakers"]["thresholds"][0].clone();
    assert_eq!(thresholds["retryBudget"], json!({"budgetPercent": {"value": 30}, "minRetryConcurrency": 3}));
    assert_eq!(thresholds.get("maxRetries"), None);
}

#[test]
fn the_protocol_follows_upgrade_and_client() {
    assert_eq!(
        options(&under("{connectionPool: {http: {h2UpgradePolicy: UPGRADE, maxConcurrentStreams: 7}}}"))["explicitHttpConfig"],
        json!({"http2ProtocolOptions": {"maxConcurrentStreams": 7}})
    );
    assert!(
        options(&under("{connectionPool: {http: {useClientProtocol: true}}}"))
            .get("useDownstreamProtocolConfig")
            .is_some()
    );
    let unnamed = lowered("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n");
    assert!(options(&cluster(&unnamed, A)).get("useDownstreamProtocolConfig").is_some());
}

#[test]
fn load_balancers_are_translated() {
    for (simple, policy) in [
        ("RANDOM", "RANDOM"),
        ("LEAST_CONN", "LEAST_REQUEST"),
        ("UNSPECIFIED", "LEAST_REQUEST"),
        ("PASSTHROUGH", "CLUSTER_PROVIDED"),
    ] {
        assert_eq!(under(&format!("{{loadBalancer: {{simple: {simple}}}}}"))["lbPolicy"], policy, "{simple}");
    }
    // The protobuf default is not printed.
    assert_eq!(under("{loadBalancer: {simple: ROUND_ROBIN}}").get("lbPolicy"), None);
    assert_eq!(under("{loadBalancer: {simple: PASSTHROUGH}}")["type"], "ORIGINAL_DST");
    let ring = under("{loadBalancer: {consistentHash: {useSourceIp: true}}}");
    assert_eq!(
        (&ring["lbPolicy"], &ring["ringHashLbConfig"]["minimumRingSize"]),
        (&json!("RING_HASH"), &json!("1024"))
    );
    assert_eq!(
        under("{loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 101}}}}")["maglevLbConfig"],
        json!({"tableSize": "101"})
    );
    assert_eq!(
        under("{loadBalancer: {simple: LEAST_REQUEST, warmup: {duration: 30s}}}")["leastRequestLbConfig"]["slowStartConfig"]
            ["slowStartWindow"],
        "30s"
    );
}

#[test]
fn outlier_detection_is_translated_with_success_rates_off() {
    let cluster = under(
        "{outlierDetection: {consecutive5xxErrors: 0, consecutiveGatewayErrors: 2, interval: 1s, splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 4, minHealthPercent: 30}}",
    );
    assert_eq!(
        cluster["outlierDetection"],
        json!({
            "consecutive5xx": 0, "enforcingConsecutive5xx": 0, "consecutiveGatewayFailure": 2, "enforcingConsecutiveGatewayFailure": 100, "interval": "1s",
            "enforcingSuccessRate": 0, "splitExternalLocalOriginErrors": true, "consecutiveLocalOriginFailure": 4, "enforcingConsecutiveLocalOriginFailure": 100,
            "enforcingLocalOriginSuccessRate": 0,
        })
    );
    assert_eq!(cluster["commonLbConfig"]["healthyPanicThreshold"], json!({"value": 30}));
}

#[test]
fn consecutive_errors_are_gateway_errors_unless_ignored() {
    let text = format!("{SERVICES}{}", destination_rule("trafficPolicy: {outlierDetection: {consecutiveErrors: 5}}"));
    let old = cluster(&lowered(&text), A)["outlierDetection"].clone();
    assert_eq!(
        old,
        json!({"consecutiveGatewayFailure": 5, "enforcingConsecutiveGatewayFailure": 100, "enforcingConsecutive5xx": 0, "enforcingSuccessRate": 0})
    );
    let mut mesh = MeshConfig::default();
    mesh.compat.consecutive_errors = ConsecutiveErrors::Ignore;
    let new = cluster(&lowered_for(&text, &ProxyContext::new("default"), &mesh), A)["outlierDetection"].clone();
    assert_eq!(new, json!({"enforcingSuccessRate": 0}));
}

#[test]
fn a_port_entry_replaces_the_policy_and_a_subset_overlays_it_by_block() {
    let text = format!(
        "{SERVICES}{}",
        destination_rule(
            "trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}, http: {maxRetries: 2}}, loadBalancer: {simple: RANDOM}, \
             portLevelSettings: [{port: {number: 9090}, connectionPool: {http: {http2MaxRequests: 7}}}]}, \
             subsets: [{name: v1, trafficPolicy: {connectionPool: {tcp: {maxConnections: 9}}}}, \
                       {name: v2, trafficPolicy: {portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: ROUND_ROBIN}}]}}]"
        )
    );
    let lowered = lowered(&text);
    let limit = |name: &str, field: &str| cluster(&lowered, name)["circuitBreakers"]["thresholds"][0][field].clone();
    assert_eq!((limit(A, "maxConnections"), limit(A, "maxRetries")), (json!(1), json!(2)));
    // Nothing is inherited into a port entry.
    assert_eq!((limit(A_GRPC, "maxConnections"), limit(A_GRPC, "maxRequests")), (json!(u32::MAX), json!(7)));
    assert_eq!(cluster(&lowered, A_GRPC)["lbPolicy"], "LEAST_REQUEST");
    // A block is replaced as a whole, the others stay.
    let v1 = "outbound|80|v1|a.default.svc.cluster.local";
    assert_eq!((limit(v1, "maxConnections"), limit(v1, "maxRetries")), (json!(9), json!(u32::MAX)));
    assert_eq!(cluster(&lowered, v1)["lbPolicy"], "RANDOM");
    // A port entry of a subset resets what it does not set.
    let v2 = "outbound|80|v2|a.default.svc.cluster.local";
    assert_eq!((limit(v2, "maxConnections"), cluster(&lowered, v2).get("lbPolicy")), (json!(u32::MAX), None));
}

#[test]
fn the_callers_namespace_decides_before_the_services_before_the_root() {
    let rule = |namespace: &str, timeout: &str, export_to: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: a, namespace: {namespace}}}\n\
             spec: {{host: a.default.svc.cluster.local, exportTo: [{export_to}], trafficPolicy: {{connectionPool: {{tcp: {{connectTimeout: {timeout}}}}}}}}}\n---\n"
        )
    };
    let all = rule("caller", "1s", "'*'") + &rule("default", "2s", "'*'") + &rule("istio-system", "3s", "'*'");
    let timeout = |text: &str, namespace: &str| {
        let lowered = lowered_for(&format!("{SERVICES}{text}"), &ProxyContext::new(namespace), &MeshConfig::default());
        cluster(&lowered, A)["connectTimeout"].clone()
    };
    assert_eq!(timeout(&all, "caller"), "1s");
    assert_eq!(timeout(&all, "elsewhere"), "2s");
    assert_eq!(timeout(&(rule("default", "2s", ".") + &rule("istio-system", "3s", "'*'")), "elsewhere"), "3s");
    assert_eq!(timeout(&rule("third", "4s", "'*'"), "elsewhere"), "10s");
    // The root namespace's own callers see its private rules first, and public ones last.
    assert_eq!(timeout(&(rule("istio-system", "3s", ".") + &rule("default", "2s", "'*'")), "istio-system"), "3s");
    assert_eq!(timeout(&(rule("istio-system", "3s", "'*'") + &rule("default", "2s", "'*'")), "istio-system"), "2s");
}

#[test]
fn rules_of_one_host_merge_and_the_first_policy_wins() {
    let text = format!(
        "{SERVICES}{}{}",
        destination_rule("trafficPolicy: {loadBalancer: {simple: RANDOM}}, subsets: [{name: v1, labels: {v: '1'}}]"),
        destination_rule("trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}, subsets: [{name: v1, labels: {v: x}}, {name: v2, labels: {v: '2'}}]").replace("name: a}", "name: second}")
    );
    let lowered = lowered(&text);
    assert_eq!(cluster(&lowered, A)["lbPolicy"], "RANDOM");
    assert!(
        has_cluster(&lowered, "outbound|80|v1|a.default.svc.cluster.local")
            && has_cluster(&lowered, "outbound|80|v2|a.default.svc.cluster.local")
    );
    assert_eq!(
        cluster(&lowered, A).pointer("/metadata/filterMetadata/istio/config").unwrap(),
        "/apis/networking.istio.io/v1/namespaces/default/destination-rule/a"
    );
    let codes: Vec<_> = lowered.findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["DR_POLICY_DROPPED", "DR_DUPLICATE_SUBSET"]);
}

#[test]
fn a_rule_with_a_matching_selector_beats_the_one_without() {
    let text = format!(
        "{SERVICES}{}{}",
        destination_rule("trafficPolicy: {loadBalancer: {simple: RANDOM}}"),
        destination_rule(
            "workloadSelector: {matchLabels: {app: x}}, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}"
        )
        .replace("name: a}", "name: selected}")
    );
    assert_eq!(cluster(&lowered(&text), A)["lbPolicy"], "RANDOM");
    let selected = lowered_for(&text, &ProxyContext::new("default").label("app", "x"), &MeshConfig::default());
    assert_eq!(cluster(&selected, A).get("lbPolicy"), None);
}

#[test]
fn the_most_specific_host_of_a_rule_wins() {
    let rule = |name: &str, host: &str, lb: &str| {
        destination_rule(&format!("trafficPolicy: {{loadBalancer: {{simple: {lb}}}}}"))
            .replace("name: a}", &format!("name: {name}}}"))
            .replace("host: a,", &format!("host: '{host}',"))
    };
    let text = format!(
        "{SERVICES}{}{}",
        rule("wide", "*.local", "ROUND_ROBIN"),
        rule("narrow", "*.default.svc.cluster.local", "RANDOM")
    );
    assert_eq!(cluster(&lowered(&text), A)["lbPolicy"], "RANDOM");
}

const SLICE: &str = "\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: a-1, labels: {kubernetes.io/service-name: a}}
addressType: IPv4
ports: [{name: http, port: 8080}, {name: grpc, port: 9999}]
endpoints:
- {addresses: [10.1.0.1], targetRef: {kind: Pod, name: a-v1}, zone: z1}
- {addresses: [10.1.0.2]}
- {addresses: [10.1.0.3], conditions: {ready: false}}
- {addresses: [10.1.0.4], conditions: {ready: true}}
---
apiVersion: v1
kind: Pod
metadata: {name: a-v1, labels: {app: a, version: v1}}
spec: {serviceAccountName: sa-a, containers: [{name: c, image: i}]}
---
apiVersion: v1
kind: Pod
metadata: {name: a-v2, labels: {app: a, version: v2}}
status: {podIP: 10.1.0.2}
---
";

#[test]
fn slices_give_endpoints_and_pods_give_them_labels() {
    let rule = destination_rule("subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]");
    let lowered = lowered(&format!("{SERVICES}{SLICE}{rule}"));
    // Groups stand in the order of their localities; what is not ready is left out.
    assert_eq!(endpoints(&lowered, A), ["10.1.0.2:8080", "10.1.0.4:8080", "10.1.0.1:8080"]);
    assert_eq!(endpoints(&lowered, A_GRPC)[0], "10.1.0.2:9999");
    assert_eq!(endpoints(&lowered, "outbound|80|v1|a.default.svc.cluster.local"), ["10.1.0.1:8080"]);
    assert_eq!(endpoints(&lowered, "outbound|80|v2|a.default.svc.cluster.local"), ["10.1.0.2:8080"]);
}

#[test]
fn a_selector_of_a_service_chooses_workload_entries_with_ports_of_their_own() {
    let text = "\
apiVersion: v1
kind: Service
metadata: {name: a}
spec: {selector: {app: a}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: one}
spec: {address: 127.0.0.1, ports: {http: 7001}, labels: {app: a, version: v1}, weight: 3}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: two}
spec: {address: 127.0.0.2, labels: {app: a, version: v2}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: other}
spec: {address: 127.0.0.3, labels: {app: b}}
---
";
    let lowered = lowered(&format!("{text}{}", destination_rule("subsets: [{name: v2, labels: {version: v2}}]")));
    assert_eq!(endpoints(&lowered, A), ["127.0.0.1:7001", "127.0.0.2:8080"]);
    assert_eq!(endpoints(&lowered, "outbound|80|v2|a.default.svc.cluster.local"), ["127.0.0.2:8080"]);
    let weights: Vec<_> = lowered.endpoints[0].endpoints[0]
        .lb_endpoints
        .iter()
        .map(|e| e.load_balancing_weight.as_ref().unwrap().value)
        .collect();
    assert_eq!(weights, [3, 1]);
}

fn entry(rest: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: e}}\nspec: {{hosts: [x.com], {rest}}}\n---\n"
    )
}

#[test]
fn resolutions_become_cluster_types() {
    let name = "outbound|80||x.com";
    let ports = "ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]";
    let of = |rest: &str| cluster(&lowered(&entry(&format!("{ports}, {rest}"))), name);
    assert_eq!(of("resolution: STATIC, endpoints: [{address: 1.1.1.1}]")["type"], "EDS");
    assert_eq!(of("resolution: NONE")["type"], "ORIGINAL_DST");
    assert_eq!(of("resolution: NONE")["lbPolicy"], "CLUSTER_PROVIDED");
    let dns = of("resolution: DNS");
    assert_eq!((&dns["type"], &dns["dnsRefreshRate"]), (&json!("STRICT_DNS"), &json!("60s")));
    let address = |cluster: &Value| {
        cluster.pointer("/loadAssignment/endpoints/0/lbEndpoints/0/endpoint/address/socketAddress").unwrap().clone()
    };
    assert_eq!(address(&dns), json!({"address": "x.com", "portValue": 8080}));
    let one = of("resolution: DNS_ROUND_ROBIN, endpoints: [{address: y.com, ports: {http: 7}}]");
    assert_eq!((&one["type"], address(&one)), (&json!("LOGICAL_DNS"), json!({"address": "y.com", "portValue": 7})));
    let dynamic = lowered(&entry(&format!("{ports}, resolution: DYNAMIC_DNS")).replace("x.com", "'*.x.com'"));
    assert!(!has_cluster(&dynamic, "outbound|80||*.x.com"));
}

#[test]
fn services_that_are_not_exported_are_not_seen() {
    let text = entry("resolution: DNS, exportTo: ['.'], ports: [{number: 80, name: http, protocol: HTTP}]");
    assert!(has_cluster(&lowered(&text), "outbound|80||x.com"));
    let elsewhere = lowered_for(&text, &ProxyContext::new("other"), &MeshConfig::default());
    assert!(!has_cluster(&elsewhere, "outbound|80||x.com"));
}

#[test]
fn the_own_namespaces_service_beats_others_of_that_host() {
    let entry_in = |namespace: &str, port: u32| {
        entry(&format!("resolution: DNS, ports: [{{number: {port}, name: http, protocol: HTTP}}]"))
            .replace("name: e}", &format!("name: e, namespace: {namespace}}}"))
    };
    let lowered = lowered(&(entry_in("other", 81) + &entry_in("default", 82)));
    assert!(has_cluster(&lowered, "outbound|82||x.com") && !has_cluster(&lowered, "outbound|81||x.com"));
}

#[test]
fn an_explicit_tls_mode_never_becomes_plain_text() {
    let mutual = under("{tls: {mode: ISTIO_MUTUAL}}");
    assert_eq!(mutual["transportSocket"]["typedConfig"]["sni"], "outbound_.80_._.a.default.svc.cluster.local");
    let simple = under("{tls: {mode: SIMPLE, sni: s, caCertificates: /ca}}");
    let context = &simple["transportSocket"]["typedConfig"];
    assert_eq!(context["sni"], "s");
    assert_eq!(
        context.pointer("/commonTlsContext/combinedValidationContext/validationContextSdsSecretConfig/name").unwrap(),
        "file-root:/ca"
    );
    assert_eq!(under("{tls: {mode: DISABLE}}").get("transportSocket"), None);
}

#[test]
fn a_served_port_gets_an_inbound_chain_cluster_and_route() {
    let text = format!(
        "{SERVICES}{SLICE}{}",
        destination_rule(
            "trafficPolicy: {connectionPool: {http: {http2MaxRequests: 5}}, loadBalancer: {simple: RANDOM}}"
        )
    );
    let lowered =
        lowered_for(&text, &ProxyContext::new("default").ip("10.1.0.1".parse().unwrap()), &MeshConfig::default());
    let inbound = cluster(&lowered, "inbound|8080||");
    assert_eq!((&inbound["type"], &inbound["lbPolicy"]), (&json!("ORIGINAL_DST"), &json!("CLUSTER_PROVIDED")));
    assert_eq!(inbound["circuitBreakers"]["thresholds"][0]["maxRequests"], 5);
    let chains = listener(&lowered, "virtualInbound")["filterChains"].clone();
    let chain = chains.as_array().unwrap().iter().find(|chain| chain["name"] == "0.0.0.0_8080").unwrap();
    assert_eq!(chain["filterChainMatch"], json!({"destinationPort": 8080, "transportProtocol": "raw_buffer"}));
    let configuration = &chain["filters"][0]["typedConfig"]["routeConfig"];
    // Named by the port it listens on, its virtual host by the port that callers use.
    assert_eq!(
        (&configuration["name"], &configuration["virtualHosts"][0]["name"]),
        (&json!("inbound|8080||"), &json!("inbound|http|80"))
    );
    let nobody = lowered_for(&text, &ProxyContext::new("default"), &MeshConfig::default());
    assert!(!has_cluster(&nobody, "inbound|8080||"));
}

#[test]
fn ports_share_listeners_by_protocol() {
    let text = format!(
        "{SERVICES}{}",
        "\
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: 10.0.0.9, ports: [{name: tcp, port: 5432}, {name: https, port: 443}, {name: odd, port: 81}, {name: udp, port: 53, protocol: UDP}]}
---
"
    );
    let lowered = lowered(&text);
    let names: Vec<_> = lowered.listeners.iter().map(|listener| listener.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "0.0.0.0_80",
            "0.0.0.0_443",
            "0.0.0.0_9090",
            "10.0.0.9_81",
            "10.0.0.9_5432",
            "virtualOutbound",
            "virtualInbound"
        ]
    );
    let routes: Vec<_> = lowered.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(routes, ["80", "9090", "db.default.svc.cluster.local:81"]);
    let sniffed = listener(&lowered, "10.0.0.9_81");
    assert_eq!(
        sniffed["filterChains"][0]["filters"][0]["typedConfig"]["rds"]["routeConfigName"],
        "db.default.svc.cluster.local:81"
    );
    assert_eq!(
        listener(&lowered, "0.0.0.0_443")["filterChains"][0]["filterChainMatch"]["serverNames"],
        json!(["db.default.svc.cluster.local"])
    );
}

#[test]
fn the_same_world_is_lowered_to_the_same_messages() {
    let text = format!("{SERVICES}{SLICE}{}", destination_rule("subsets: [{name: v1, labels: {version: v1}}]"));
    assert_eq!(lowered(&text), lowered(&text));
}

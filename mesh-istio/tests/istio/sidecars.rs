//! What a Sidecar lets its workload see and serve.

use mesh_istio::{Lowered, MeshConfig, OutboundTrafficPolicy, ProxyContext, Severity, World, lower};
use serde_json::json;

use crate::support::{cluster, has_cluster, has_virtual_host, listener, lowered_for, of, virtual_host};

/// Services `a` (80, and 9090 for gRPC) and `b` (80) of `shop`, `c` (80) of `other`, `private` of `other` that is not exported, and `d` of `shop`
/// for bytes.
const SERVICES: &str = "\
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: a, namespace: shop}, spec: {ports: [{name: http, port: 80}, {name: grpc, port: 9090}]}}
- {apiVersion: v1, kind: Service, metadata: {name: b, namespace: shop}, spec: {ports: [{name: http, port: 80}]}}
- {apiVersion: v1, kind: Service, metadata: {name: c, namespace: other}, spec: {ports: [{name: http, port: 80}]}}
- {apiVersion: v1, kind: Service, metadata: {name: private, namespace: other, annotations: {networking.istio.io/exportTo: .}}, spec: {ports: [{name: http, port: 80}]}}
- {apiVersion: v1, kind: Service, metadata: {name: d, namespace: shop}, spec: {clusterIP: 10.0.0.4, ports: [{name: tcp, port: 5432}]}}
---
";

fn sidecar(name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{{spec}}}\n---\n"
    )
}

fn with(more: &str, proxy: &ProxyContext) -> Lowered {
    lowered_for(&format!("{SERVICES}{more}"), proxy, &MeshConfig::default())
}

/// What a workload of `shop` gets under a Sidecar with that spec.
fn under(spec: &str) -> Lowered {
    with(&sidecar("s", "shop", spec), &ProxyContext::new("shop"))
}

/// Services that have an outbound cluster, as `name:port`.
fn seen(lowered: &Lowered) -> Vec<String> {
    let names = lowered.clusters.iter().filter_map(|cluster| cluster.name.strip_prefix("outbound|"));
    let mut out: Vec<_> = names
        .map(|name| {
            let (port, host) = name.split_once("||").unwrap();
            format!("{}:{port}", host.split('.').next().unwrap())
        })
        .collect();
    out.sort();
    out
}

fn listeners(lowered: &Lowered) -> Vec<&str> {
    let names = lowered.listeners.iter().map(|listener| listener.name.as_str());
    names.filter(|name| !name.starts_with("virtual")).collect()
}

#[test]
fn hosts_of_a_sidecar_decide_what_is_seen() {
    let all = ["a:80", "a:9090", "b:80", "c:80", "d:5432"];
    for (hosts, expected) in [
        ("['*/*']", &all[..]),
        ("['./*']", &["a:80", "a:9090", "b:80", "d:5432"]),
        ("['other/*']", &["c:80"]),
        ("['~/*']", &[]),
        ("['*/b.shop.svc.cluster.local']", &["b:80"]),
        ("['shop/a.shop.svc.cluster.local', other/c.other.svc.cluster.local]", &["a:80", "a:9090", "c:80"]),
        // Hosts of a Sidecar are not expanded.
        ("['./b']", &[]),
        ("['*/*', '~./d.shop.svc.cluster.local']", &["a:80", "a:9090", "b:80", "c:80"]),
        ("['other/private.other.svc.cluster.local']", &[]),
    ] {
        let lowered = under(&format!("egress: [{{hosts: {hosts}}}]"));
        assert_eq!(seen(&lowered), expected, "{hosts}");
        assert_eq!(
            has_virtual_host(&lowered, "80", "b.shop.svc.cluster.local:80"),
            expected.contains(&"b:80"),
            "{hosts}"
        );
    }
    // A Sidecar that says nothing of calls hides nothing.
    assert_eq!(seen(&under("outboundTrafficPolicy: {mode: ALLOW_ANY}")), all);
}

#[test]
fn the_sidecar_that_selects_beats_that_of_the_namespace_and_that_of_the_root() {
    let objects = [
        sidecar("root", "istio-system", "egress: [{hosts: ['*/c.other.svc.cluster.local']}]"),
        sidecar("all", "shop", "egress: [{hosts: ['*/b.shop.svc.cluster.local']}]"),
        sidecar("later", "shop", "egress: [{hosts: ['*/*']}]"),
        sidecar(
            "web",
            "shop",
            "workloadSelector: {labels: {app: web}}, egress: [{hosts: ['./a.shop.svc.cluster.local']}]",
        ),
        // Selectors of the root namespace's Sidecar are for its own workloads.
        sidecar("selecting", "istio-system", "workloadSelector: {labels: {app: web}}, egress: [{hosts: ['*/*']}]"),
    ]
    .concat();
    let web = ProxyContext::new("shop").label("app", "web");
    assert_eq!(seen(&with(&objects, &web)), ["a:80", "a:9090"]);
    assert_eq!(seen(&with(&objects, &ProxyContext::new("shop"))), ["b:80"]);
    assert_eq!(seen(&with(&objects, &ProxyContext::new("other").label("app", "web"))), ["c:80"]);
    // `.` of the root namespace's Sidecar is the namespace of the workload.
    let root = sidecar("root", "istio-system", "egress: [{hosts: ['./*']}]");
    assert_eq!(seen(&with(&root, &ProxyContext::new("other"))), ["c:80", "private:80"]);
    // A gateway sees everything.
    let router = ProxyContext::of_node("router~10.9.9.9~gw.shop~shop.svc.cluster.local").unwrap();
    assert_eq!(seen(&with(&objects, &router)), ["a:80", "a:9090", "b:80", "c:80", "d:5432"]);
}

#[test]
fn a_listener_with_a_port_shows_services_that_have_it_and_the_last_one_the_rest() {
    let lowered = under(
        "egress: [{port: {number: 9090, protocol: GRPC, name: grpc}, hosts: ['./*']}, {hosts: ['other/*', './b.shop.svc.cluster.local']}]",
    );
    assert_eq!(seen(&lowered), ["a:9090", "b:80", "c:80"]);
    assert_eq!(listeners(&lowered), ["0.0.0.0_80", "0.0.0.0_9090"]);
    assert!(has_virtual_host(&lowered, "9090", "a.shop.svc.cluster.local:9090"));
    assert!(!has_virtual_host(&lowered, "80", "a.shop.svc.cluster.local:80"));
    // The port of the first is not called through the second, whatever that shows.
    let lowered =
        under("egress: [{port: {number: 80, protocol: HTTP, name: http}, hosts: ['other/*']}, {hosts: ['./*']}]");
    assert!(has_virtual_host(&lowered, "80", "c.other.svc.cluster.local:80"));
    assert!(!has_virtual_host(&lowered, "80", "b.shop.svc.cluster.local:80"));
    assert_eq!(listeners(&lowered), ["0.0.0.0_80", "0.0.0.0_9090", "10.0.0.4_5432"]);
    // Without one for the rest, other ports have none.
    let lowered = under("egress: [{port: {number: 80, protocol: HTTP, name: http}, hosts: ['*/*']}]");
    assert_eq!(seen(&lowered), ["a:80", "b:80", "c:80"]);
    assert_eq!(listeners(&lowered), ["0.0.0.0_80"]);
}

#[test]
fn a_listener_has_the_address_and_the_protocol_that_it_says() {
    let lowered = under(
        "egress: [{port: {number: 80, protocol: HTTP, name: http}, bind: 127.0.0.2, captureMode: NONE, hosts: ['./b.shop.svc.cluster.local']}]",
    );
    assert_eq!(listeners(&lowered), ["127.0.0.2_80"]);
    assert_eq!(
        listener(&lowered, "127.0.0.2_80")["address"]["socketAddress"],
        json!({"address": "127.0.0.2", "portValue": 80})
    );
    let bytes =
        under("egress: [{port: {number: 80, protocol: TCP, name: tcp}, hosts: ['./b.shop.svc.cluster.local']}]");
    let chain = &listener(&bytes, "0.0.0.0_80")["filterChains"][0]["filters"][0];
    assert_eq!(chain["typedConfig"]["cluster"], "outbound|80||b.shop.svc.cluster.local");
}

#[test]
fn rules_are_seen_with_their_hosts_and_bring_clusters_for_where_they_lead() {
    let rule = |namespace: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: b, namespace: {namespace}}}\nspec: {{hosts: [b.shop.svc.cluster.local], http: [{{route: [{{destination: {{host: c.other.svc.cluster.local}}}}], mirror: {{host: a.shop.svc.cluster.local, port: {{number: 80}}}}}}]}}\n---\n"
        )
    };
    let spec = "egress: [{hosts: ['shop/b.shop.svc.cluster.local']}]";
    let routed_to = |namespace: &str| {
        let lowered = with(&format!("{}{}", rule(namespace), sidecar("s", "shop", spec)), &ProxyContext::new("shop"));
        let host = virtual_host(&lowered, "80", "b.shop.svc.cluster.local:80");
        (host["routes"][0]["route"]["cluster"].as_str().unwrap().to_owned(), seen(&lowered))
    };
    let (cluster, seen) = routed_to("shop");
    assert_eq!(cluster, "outbound|80||c.other.svc.cluster.local");
    assert_eq!(seen, ["a:80", "a:9090", "b:80", "c:80"]);
    // A rule of another namespace is not imported with the host.
    let (cluster, seen) = routed_to("other");
    assert_eq!(cluster, "outbound|80||b.shop.svc.cluster.local");
    assert_eq!(seen, ["b:80"]);
    // What a rule leads to has a cluster and no host of its own.
    let lowered = with(&format!("{}{}", rule("shop"), sidecar("s", "shop", spec)), &ProxyContext::new("shop"));
    assert!(!has_virtual_host(&lowered, "80", "c.other.svc.cluster.local:80"));
}

#[test]
fn each_sidecar_says_what_becomes_of_hosts_that_nobody_declared() {
    let host = |spec: &str, mesh: OutboundTrafficPolicy| {
        let mut config = MeshConfig::default();
        config.outbound_traffic_policy = mesh;
        let text = format!("{SERVICES}{}", sidecar("s", "shop", spec));
        let lowered = lowered_for(&text, &ProxyContext::new("shop"), &config);
        let last = listener(&lowered, "virtualOutbound")["filterChains"][1]["filters"][0]["typedConfig"]["cluster"]
            .as_str()
            .unwrap()
            .to_owned();
        let name = if has_virtual_host(&lowered, "80", "allow_any") { "allow_any" } else { "block_all" };
        let host = virtual_host(&lowered, "80", name);
        (host["routes"][0].get("route").map(|route| route["cluster"].as_str().unwrap().to_owned()), last)
    };
    let any = || (Some("PassthroughCluster".to_owned()), "PassthroughCluster".to_owned());
    let none = || (None, "BlackHoleCluster".to_owned());
    let (open, closed) = (OutboundTrafficPolicy::AllowAny, OutboundTrafficPolicy::RegistryOnly);
    assert_eq!(host("outboundTrafficPolicy: {mode: REGISTRY_ONLY}", open), none());
    assert_eq!(host("outboundTrafficPolicy: {mode: ALLOW_ANY}", closed), any());
    // Said and not filled in: the first mode there is.
    assert_eq!(host("outboundTrafficPolicy: {}", open), none());
    assert_eq!(host("egress: [{hosts: ['*/*']}]", open), any());
    assert_eq!(host("egress: [{hosts: ['*/*']}]", closed), none());
    let proxy = "outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: b.shop.svc.cluster.local, subset: v1, port: {number: 80}}}";
    let through = "outbound|80|v1|b.shop.svc.cluster.local".to_owned();
    assert_eq!(host(proxy, closed), (Some(through.clone()), through));
}

const SERVED: &str = "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web, namespace: shop}
spec:
  hosts: [web.shop.svc.cluster.local]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}, {number: 81, name: more, protocol: HTTP, targetPort: 8081}]
  resolution: STATIC
  endpoints: [{address: 10.1.0.1}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec: {host: web.shop.svc.cluster.local, trafficPolicy: {connectionPool: {http: {http2MaxRequests: 3}}}}
---
";

fn serving(spec: &str) -> Lowered {
    let proxy = ProxyContext::new("shop").label("app", "web").ip("10.1.0.1".parse().unwrap());
    lowered_for(&format!("{SERVED}{}", sidecar("s", "shop", spec)), &proxy, &MeshConfig::default())
}

fn limit(lowered: &Lowered, cluster_name: &str) -> serde_json::Value {
    cluster(lowered, cluster_name)["circuitBreakers"]["thresholds"][0]["maxRequests"].clone()
}

fn chains(lowered: &Lowered) -> Vec<String> {
    let inbound = listener(lowered, "virtualInbound");
    let names = inbound["filterChains"].as_array().unwrap().iter().map(|chain| chain["name"].as_str().unwrap());
    names.filter(|name| !name.starts_with("virtual")).map(str::to_owned).collect()
}

#[test]
fn ingress_listeners_are_what_is_served_and_where_it_goes() {
    let lowered = serving(
        "ingress: [{port: {number: 8080, protocol: HTTP, name: http}, defaultEndpoint: '127.0.0.1:9000'}, {port: {number: 7000, protocol: GRPC, name: grpc}, defaultEndpoint: '0.0.0.0:7001'}, {port: {number: 7100, protocol: TCP, name: tcp}, bind: 10.1.0.1, defaultEndpoint: 'unix:///run/x.sock'}, {port: {number: 7200, protocol: HTTP, name: own}}]",
    );
    // 8081 is a port of the service and not listed.
    assert_eq!(chains(&lowered), ["0.0.0.0_8080", "0.0.0.0_7000", "10.1.0.1_7100", "0.0.0.0_7200"]);
    assert!(!has_cluster(&lowered, "inbound|8081||"));
    let to = |name: &str| {
        let cluster = cluster(&lowered, name);
        assert_eq!(cluster["type"], "STATIC");
        cluster["loadAssignment"]["endpoints"][0]["lbEndpoints"][0]["endpoint"]["address"].clone()
    };
    assert_eq!(to("inbound|8080||"), json!({"socketAddress": {"address": "127.0.0.1", "portValue": 9000}}));
    assert_eq!(to("inbound|7000||"), json!({"socketAddress": {"address": "10.1.0.1", "portValue": 7001}}));
    assert_eq!(to("inbound|7100||"), json!({"pipe": {"path": "/run/x.sock"}}));
    assert_eq!(cluster(&lowered, "inbound|7200||")["type"], "ORIGINAL_DST");
    let inbound = listener(&lowered, "virtualInbound");
    let chain =
        inbound["filterChains"].as_array().unwrap().iter().find(|chain| chain["name"] == "0.0.0.0_7000").unwrap();
    assert_eq!(chain["filterChainMatch"]["destinationPort"], 7000);
    let host = &chain["filters"][0]["typedConfig"]["routeConfig"]["virtualHosts"][0];
    assert_eq!(host["name"], "inbound|http|7000");
    // A port that no service has is named after the Sidecar.
    assert_eq!(host["routes"][0]["decorator"]["operation"], "s.shop:7000/*");
}

#[test]
fn limits_on_what_is_served_come_from_the_port_then_the_sidecar_then_the_rule() {
    let port = "port: {number: 8080, protocol: HTTP, name: http}";
    let pool = |limit: u32| format!("{{http: {{http2MaxRequests: {limit}}}}}");
    let own = format!("ingress: [{{{port}, connectionPool: {}}}], inboundConnectionPool: {}", pool(1), pool(2));
    assert_eq!(limit(&serving(&own), "inbound|8080||"), 1);
    let whole = format!("ingress: [{{{port}}}], inboundConnectionPool: {}", pool(2));
    assert_eq!(limit(&serving(&whole), "inbound|8080||"), 2);
    // Also without ingress listeners.
    let ports_of_services = format!("inboundConnectionPool: {}", pool(2));
    assert_eq!(limit(&serving(&ports_of_services), "inbound|8081||"), 2);
    assert_eq!(limit(&serving(&format!("ingress: [{{{port}}}]")), "inbound|8080||"), 3);
}

#[test]
fn what_is_wrong_with_a_sidecar_is_refused_by_field() {
    let port = "port: {number: 80, protocol: HTTP, name: http}";
    for (spec, said) in [
        ("", "REQUIRED spec: an empty configuration"),
        ("egress: [{}]", "REQUIRED spec.egress[0].hosts"),
        ("egress: [{hosts: [a.com]}]", "BAD_HOST spec.egress[0].hosts[0]: \"a.com\" is not namespace/host"),
        ("egress: [{hosts: ['A_b/*']}]", "BAD_HOST spec.egress[0].hosts[0]: \"A_b\" is neither"),
        ("egress: [{hosts: ['./a..b']}]", "BAD_HOST spec.egress[0].hosts[0]: \"a..b\" is not a host"),
        ("egress: [{hosts: ['~/a.com']}]", "BAD_HOST spec.egress[0].hosts[0]: \"~\" (nothing)"),
        ("egress: [{hosts: ['*/*']}, {hosts: ['*/*']}]", "EXCLUSIVE_FIELDS spec.egress[1]: only one"),
        (
            &format!("egress: [{{hosts: ['*/*']}}, {{{port}, hosts: ['*/*']}}]"),
            "INVALID_VALUE spec.egress[1]: the egress",
        ),
        (
            &format!("egress: [{{{port}, hosts: ['*/*']}}, {{{port}, hosts: ['./*']}}]"),
            "DUPLICATE_VALUE spec.egress[1].port.number",
        ),
        (
            "egress: [{port: {number: 0, protocol: HTTP, name: x}, hosts: ['*/*']}]",
            "INVALID_VALUE spec.egress[0].port.number: 0",
        ),
        (
            "egress: [{port: {number: 65536, protocol: HTTP, name: x}, hosts: ['*/*']}]",
            "INVALID_VALUE spec.egress[0].port.number: 65536",
        ),
        (
            "egress: [{port: {number: -1, protocol: HTTP, name: x}, hosts: ['*/*']}]",
            "WRONG_TYPE spec.egress[0].port.number",
        ),
        (
            "egress: [{port: {number: 80, protocol: WHAT, name: x}, hosts: ['*/*']}]",
            "INVALID_VALUE spec.egress[0].port.protocol",
        ),
        ("egress: [{bind: 1.2.3.4, hosts: ['*/*']}]", "REQUIRED spec.egress[0].port"),
        (&format!("egress: [{{{port}, bind: here, hosts: ['*/*']}}]"), "INVALID_VALUE spec.egress[0].bind"),
        (
            "egress: [{port: {number: 0, protocol: HTTP, name: x}, bind: 'unix:///a', captureMode: IPTABLES, hosts: ['*/*']}]",
            "EXCLUSIVE_FIELDS spec.egress[0].captureMode",
        ),
        ("egress: [{captureMode: SOME, hosts: ['*/*']}]", "WRONG_TYPE spec.egress[0].captureMode"),
        ("ingress: [{}]", "REQUIRED spec.ingress[0].port"),
        (&format!("ingress: [{{{port}}}, {{{port}}}]"), "DUPLICATE_VALUE spec.ingress[1].port.number"),
        (&format!("ingress: [{{{port}, bind: here}}]"), "INVALID_VALUE spec.ingress[0].bind"),
        (
            &format!("ingress: [{{{port}, defaultEndpoint: '127.0.0.1'}}]"),
            "INVALID_VALUE spec.ingress[0].defaultEndpoint",
        ),
        (
            &format!("ingress: [{{{port}, defaultEndpoint: '1.2.3.4:80'}}]"),
            "INVALID_VALUE spec.ingress[0].defaultEndpoint",
        ),
        (
            &format!("ingress: [{{{port}, defaultEndpoint: '127.0.0.1:0'}}]"),
            "INVALID_VALUE spec.ingress[0].defaultEndpoint",
        ),
        (
            &format!("ingress: [{{{port}, defaultEndpoint: 'unix://a'}}]"),
            "INVALID_VALUE spec.ingress[0].defaultEndpoint",
        ),
        (
            &format!("ingress: [{{{port}, tls: {{mode: SIMPLE, credentialName: x}}}}]"),
            "SECURITY_NOT_IN_FORCE spec.ingress[0].tls: TLS of servers is not built yet",
        ),
        (
            &format!("ingress: [{{{port}, connectionPool: {{http: {{http2MaxRequests: -1}}}}}}]"),
            "INVALID_VALUE spec.ingress[0].connectionPool.http.http2MaxRequests",
        ),
        (
            "inboundConnectionPool: {http: {h2UpgradePolicy: UPGRADE}}",
            "EXCLUSIVE_FIELDS spec.inboundConnectionPool.http.h2UpgradePolicy",
        ),
        (
            "inboundConnectionPool: {tcp: {maxConnections: 4294967296}}",
            "WRONG_TYPE spec.inboundConnectionPool.tcp.maxConnections",
        ),
        (
            "outboundTrafficPolicy: {egressProxy: {host: a.b, port: {number: 1}}}",
            "EXCLUSIVE_FIELDS spec.outboundTrafficPolicy.egressProxy",
        ),
        (
            "outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a.b}}",
            "REQUIRED spec.outboundTrafficPolicy.egressProxy.port",
        ),
        (
            "outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {port: {number: 1}}}",
            "BAD_HOST spec.outboundTrafficPolicy.egressProxy.host",
        ),
        (
            "workloadSelector: {labels: {'a b': c}}, egress: [{hosts: ['*/*']}]",
            "BAD_SELECTOR spec.workloadSelector.labels[a b]",
        ),
    ] {
        let world = World::load([("x", sidecar("s", "shop", spec))]);
        let refused: Vec<_> = of(world.findings(), Severity::Refused)
            .into_iter()
            .map(|line| line.replace("x:4: Sidecar/shop/s: ", ""))
            .collect();
        assert!(refused.len() == 1 && refused[0].starts_with(said), "{spec}: {refused:?}");
    }
}

#[test]
fn what_calls_cannot_find_is_reported() {
    for (spec, field) in [
        (
            "egress: [{port: {number: 3128, protocol: HTTP_PROXY, name: p}, hosts: ['*/*']}]",
            "spec.egress[0].port.protocol",
        ),
        (
            "egress: [{port: {number: 0, protocol: HTTP, name: p}, bind: 'unix:///a', hosts: ['*/*']}]",
            "spec.egress[0].bind",
        ),
        ("ingress: [{port: {number: 80, protocol: HTTP, name: p}, bind: 10.0.0.1}]", "spec.ingress[0].bind"),
        ("inboundConnectionPool: {http: {}}", "spec.inboundConnectionPool"),
        (
            "ingress: [{port: {number: 80, protocol: HTTP, name: p}, connectionPool: {http: {}}}]",
            "spec.ingress[0].connectionPool",
        ),
    ] {
        let text = format!("{SERVICES}{}", sidecar("s", "shop", spec));
        let world = World::load([("x", text)]);
        let found: Vec<_> = world.findings().iter().map(|finding| (finding.severity, finding.field.as_str())).collect();
        assert_eq!(found, [(Severity::NotInForce, field)], "{spec}");
        let lowered = lower(&world, &ProxyContext::new("shop"), &MeshConfig::default());
        assert_eq!(listeners(&lowered).len(), if spec.starts_with("egress") { 0 } else { 3 }, "{spec}");
    }
}

#[test]
fn sidecars_in_each_others_way_and_hosts_that_nobody_has_are_warned_about() {
    let text = [
        SERVICES.to_owned(),
        sidecar("one", "shop", "egress: [{hosts: ['./a.shop.svc.cluster.local', 'other/a.shop.svc.cluster.local', '*/none.com', '*/*.net']}]"),
        sidecar("two", "shop", "egress: [{hosts: ['*/*']}]"),
        sidecar("three", "shop", "workloadSelector: {labels: {app: x}}, egress: [{hosts: ['*/*']}]"),
        sidecar("four", "shop", "workloadSelector: {labels: {app: x}}, egress: [{hosts: ['*/*']}]"),
    ]
    .concat();
    let world = World::load([("x", text)]);
    assert_eq!(world.findings(), []);
    let lowered = lower(&world, &ProxyContext::new("shop"), &MeshConfig::default());
    let found: Vec<_> = lowered
        .findings
        .iter()
        .map(|finding| format!("{} {} {}", finding.code, finding.object.as_ref().unwrap().name, finding.field))
        .collect();
    assert_eq!(
        found,
        [
            "DANGLING_HOST one spec.egress[0].hosts[1]",
            "DANGLING_HOST one spec.egress[0].hosts[2]",
            "SIDECAR_CONFLICT two spec.workloadSelector",
            "SIDECAR_CONFLICT four spec.workloadSelector",
        ]
    );
}

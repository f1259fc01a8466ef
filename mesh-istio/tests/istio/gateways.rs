//! Gateways: which node they are for, what listens, which VirtualServices are served there.

use mesh_istio::{Lowered, MeshConfig, ProxyContext, Severity, World, lower};
use serde_json::Value;

use crate::support::{SERVICES, has_virtual_host, listener, lowered_for, of, virtual_host};

/// A Gateway with that flow-style list of servers.
fn gateway(name: &str, servers: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\nspec:\n  selector: {{istio: edge}}\n  servers: {servers}\n---\n"
    )
}

/// A VirtualService with these hosts and gateways, that answers with a status.
fn answers(name: &str, hosts: &str, gateways: &str, status: u16) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\nspec:\n  hosts: [{hosts}]\n  gateways: [{gateways}]\n  http: [{{directResponse: {{status: {status}}}}}]\n---\n"
    )
}

const HTTP: &str = "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}";

fn node() -> ProxyContext {
    ProxyContext::new("default").label("istio", "edge")
}

fn at_the_edge(text: &str) -> Lowered {
    lowered_for(&format!("{SERVICES}{text}"), &node(), &MeshConfig::default())
}

fn names(lowered: &Lowered) -> Vec<&str> {
    lowered.listeners.iter().map(|listener| listener.name.as_str()).collect()
}

fn hosts(lowered: &Lowered, configuration: &str) -> Vec<String> {
    let found = lowered.routes.iter().find(|route| route.name == configuration).unwrap();
    found.virtual_hosts.iter().map(|host| host.name.clone()).collect()
}

fn statuses(host: &Value) -> Vec<u64> {
    let routes = host["routes"].as_array().unwrap();
    routes.iter().map(|route| route["directResponse"]["status"].as_u64().unwrap_or(200)).collect()
}

#[test]
fn a_selected_node_listens_on_the_ports_of_its_gateways_and_on_nothing_else() {
    let text = format!("{}{}", gateway("edge", &format!("[{HTTP}]")), answers("vs", "a.com", "edge", 201));
    let lowered = at_the_edge(&text);
    assert_eq!(names(&lowered), ["0.0.0.0_80"]);
    let json = listener(&lowered, "0.0.0.0_80");
    assert_eq!(json["address"]["socketAddress"]["portValue"], 80);
    let manager = &json["filterChains"][0]["filters"][0]["typedConfig"];
    assert_eq!((&manager["rds"]["routeConfigName"], &manager["useRemoteAddress"]), (&"http.80".into(), &true.into()));
    assert_eq!(statuses(&virtual_host(&lowered, "http.80", "a.com:80")), [201]);
    // Services are reached from there as from anywhere.
    assert!(lowered.clusters.iter().any(|cluster| cluster.name == "outbound|80||a.default.svc.cluster.local"));
    assert!(!lowered.clusters.iter().any(|cluster| cluster.name.starts_with("inbound|")));
    // Any other workload is none of its nodes.
    let other = lowered_for(&format!("{SERVICES}{text}"), &ProxyContext::new("default"), &MeshConfig::default());
    assert!(names(&other).contains(&"virtualOutbound") && !other.routes.iter().any(|route| route.name == "http.80"));
}

#[test]
fn a_router_is_a_gateway_also_before_any_gateway_selects_it() {
    let router = ProxyContext::of_node("router~10.0.0.9~edge-1.default~default.svc.cluster.local").unwrap();
    assert!(lowered_for(SERVICES, &router, &MeshConfig::default()).listeners.is_empty());
    let all = gateway("edge", &format!("[{HTTP}]")).replace("  selector: {istio: edge}\n", "");
    let lowered = lowered_for(&format!("{SERVICES}{all}"), &router, &MeshConfig::default());
    assert_eq!(names(&lowered), ["0.0.0.0_80"]);
    // A Gateway without a selector is for gateways, not for every workload.
    let sidecar = lowered_for(&format!("{SERVICES}{all}"), &ProxyContext::new("default"), &MeshConfig::default());
    assert!(names(&sidecar).contains(&"virtualOutbound"));
}

#[test]
fn a_port_without_routes_answers_404() {
    let lowered = at_the_edge(&gateway("edge", &format!("[{HTTP}]")));
    let host = virtual_host(&lowered, "http.80", "blackhole:80");
    assert_eq!((&host["domains"][0], host["routes"].as_array().map_or(0, Vec::len)), (&"*".into(), 0));
}

#[test]
fn a_host_is_served_where_server_and_virtual_service_agree_on_it() {
    let servers =
        "[{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*.shop.com', 'other/one.com', './two.com']}]";
    let text = format!(
        "{}{}{}",
        gateway("edge", servers),
        answers("wide", "'*.com'", "edge", 201),
        answers("exact", "a.shop.com, one.com, two.com, three.com", "edge", 202)
    );
    let lowered = at_the_edge(&text);
    // The narrower of both; one.com is for VirtualServices of another namespace.
    assert_eq!(hosts(&lowered, "http.80"), ["*.shop.com:80", "a.shop.com:80", "two.com:80"]);
    assert_eq!(statuses(&virtual_host(&lowered, "http.80", "*.shop.com:80")), [201]);
    assert_eq!(statuses(&virtual_host(&lowered, "http.80", "two.com:80")), [201, 202]);
}

#[test]
fn gateways_on_one_port_are_one_listener_and_virtual_services_of_one_host_are_merged() {
    let a = "[{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.com]}]";
    let b = "[{port: {number: 80, name: http2, protocol: HTTP2}, hosts: ['*']}]";
    let conditional = answers("second", "a.com", "first, two", 203)
        .replace("[{directResponse", "[{match: [{uri: {prefix: /x}}], directResponse");
    let text = format!(
        "{}{}{}{}",
        gateway("first", a),
        gateway("two", b),
        answers("first", "a.com", "first", 201),
        conditional
    );
    let lowered = at_the_edge(&text);
    assert_eq!(names(&lowered), ["0.0.0.0_80"]);
    // The catch-all of the first stands behind the condition of the second, which is bound by both.
    assert_eq!(statuses(&virtual_host(&lowered, "http.80", "a.com:80")), [203, 203, 201]);
}

#[test]
fn the_mesh_and_gateways_are_told_apart_per_virtual_service_and_per_match() {
    let http = "[{match: [{gateways: [edge], uri: {prefix: /edge}}], directResponse: {status: 201}}, \
                 {match: [{gateways: [mesh], uri: {prefix: /mesh}}], directResponse: {status: 202}}, {directResponse: {status: 203}}]";
    let both = answers("both", "a.default.svc.cluster.local", "mesh, edge", 204)
        .replace("[{directResponse: {status: 204}}]", http);
    let text = format!("{SERVICES}{}{both}", gateway("edge", &format!("[{HTTP}]")));
    let edge = lowered_for(&text, &node(), &MeshConfig::default());
    assert_eq!(statuses(&virtual_host(&edge, "http.80", "a.default.svc.cluster.local:80")), [201, 203]);
    let mesh = lowered_for(&text, &ProxyContext::new("default"), &MeshConfig::default());
    assert_eq!(statuses(&virtual_host(&mesh, "80", "a.default.svc.cluster.local:80")), [202, 203]);
    // What is bound to the mesh alone is not served at the edge.
    let text = format!("{}{}", gateway("edge", &format!("[{HTTP}]")), answers("vs", "a.com", "mesh", 201));
    assert!(!has_virtual_host(&at_the_edge(&text), "http.80", "a.com:80"));
}

#[test]
fn servers_for_tls_listen_nowhere_and_say_so_while_the_redirect_is_in_force() {
    let servers = "[{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.com, b.com], tls: {httpsRedirect: true}}, \
                    {port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: c}}]";
    let text = format!("{SERVICES}{}{}", gateway("edge", servers), answers("vs", "a.com", "edge", 201));
    let world = World::load([("mesh.yaml", text.as_str())]);
    let said: Vec<_> =
        world.findings().iter().map(|finding| (finding.field.as_str(), finding.weakens_security())).collect();
    assert_eq!(said, [("spec.servers[1].tls", true)]);
    let lowered = lower(&world, &node(), &MeshConfig::default());
    assert_eq!(names(&lowered), ["0.0.0.0_80"]);
    for host in ["a.com:80", "b.com:80"] {
        assert_eq!(virtual_host(&lowered, "http.80", host)["requireTls"], "ALL", "{host}");
    }
}

#[test]
fn the_port_behind_the_nodes_own_service_is_the_one_that_is_listened_on() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: edge}\nspec: {ports: [{name: http, port: 80, targetPort: 8080}]}\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: edge-1, labels: {kubernetes.io/service-name: edge}}\nports: [{name: http, port: 8080}]\nendpoints: [{addresses: [10.0.0.9]}]\n---\n";
    let matched =
        answers("vs", "a.com", "edge", 201).replace("[{directResponse", "[{match: [{port: 80}], directResponse");
    let text = format!("{service}{}{matched}", gateway("edge", &format!("[{HTTP}]")));
    let lowered = lowered_for(&text, &node().ip("10.0.0.9".parse().unwrap()), &MeshConfig::default());
    assert_eq!(names(&lowered), ["0.0.0.0_8080"]);
    // Objects name the port of the service.
    assert_eq!(statuses(&virtual_host(&lowered, "http.8080", "a.com:80")), [201]);
}

#[test]
fn an_address_to_listen_on_makes_a_listener_of_its_own() {
    let servers = "[{port: {number: 80, name: http, protocol: HTTP}, bind: 127.0.0.1, hosts: [a.com]}]";
    let lowered = at_the_edge(&format!("{}{}", gateway("edge", servers), answers("vs", "a.com", "edge", 201)));
    assert_eq!(names(&lowered), ["127.0.0.1_80"]);
    assert!(has_virtual_host(&lowered, "http.80.127.0.0.1", "a.com:80"));
}

#[test]
fn what_is_wrong_with_a_gateway_is_refused_by_field() {
    for (servers, field) in [
        ("[]", "spec.servers"),
        ("[{port: {number: 80, name: a, protocol: HTTP}}]", "spec.servers[0].hosts"),
        ("[{hosts: ['*']}]", "spec.servers[0].port"),
        ("[{port: {number: 0, name: a, protocol: HTTP}, hosts: ['*']}]", "spec.servers[0].port.number"),
        ("[{port: {number: 70000, name: a, protocol: HTTP}, hosts: ['*']}]", "spec.servers[0].port.number"),
        ("[{port: {number: 80, name: a, protocol: SMTP}, hosts: ['*']}]", "spec.servers[0].port.protocol"),
        ("[{port: {number: 80, protocol: HTTP}, hosts: ['*']}]", "spec.servers[0].port.name"),
        ("[{port: {number: 80, name: a, protocol: HTTP}, hosts: ['a b']}]", "spec.servers[0].hosts[0]"),
        ("[{port: {number: 80, name: a, protocol: HTTP}, hosts: ['A_/x']}]", "spec.servers[0].hosts[0]"),
        ("[{port: {number: 443, name: a, protocol: HTTPS}, hosts: ['*']}]", "spec.servers[0].tls"),
        ("[{port: {number: 80, name: a, protocol: HTTP}, hosts: ['*'], tls: {mode: SIMPLE}}]", "spec.servers[0].tls"),
        (
            "[{port: {number: 443, name: a, protocol: HTTPS}, hosts: ['*'], tls: {mode: MUTUAL, serverCertificate: c, privateKey: k}}]",
            "spec.servers[0].tls.caCertificates",
        ),
        ("[{port: {number: 80, name: a, protocol: HTTP}, bind: x, hosts: ['*']}]", "spec.servers[0].bind"),
    ] {
        let world = World::load([("mesh.yaml", format!("{}{SERVICES}", gateway("edge", servers)))]);
        let refused: Vec<_> = world.findings().iter().filter(|one| one.severity == Severity::Refused).collect();
        assert!(refused.iter().any(|one| one.field == field), "{servers}: {refused:?}");
        assert_eq!(world.objects().len(), 2, "{servers}: its siblings stay");
    }
}

#[test]
fn gateways_that_are_not_there_and_hosts_that_they_do_not_serve_are_warned_about() {
    let edge = gateway("edge", "[{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*.a.com']}]");
    for (virtual_service, code) in [
        (answers("vs", "x.a.com", "edge", 200), None),
        (answers("vs", "x.a.com", "nobody", 200), Some("VS_NOT_FOR_MESH spec.gateways")),
        (answers("vs", "x.a.com", "edge, nobody", 200), Some("VS_UNKNOWN_GATEWAY spec.gateways[1]")),
        (answers("vs", "x.b.com", "edge", 200), Some("VS_HOST_NOT_ON_GATEWAY spec.hosts[0]")),
    ] {
        let world = World::load([("mesh.yaml", format!("{edge}{virtual_service}"))]);
        let findings = mesh_istio::check(&world, &MeshConfig::default());
        let said: Vec<_> = findings.iter().map(|one| format!("{} {}", one.code, one.field)).collect();
        assert_eq!(said, code.into_iter().collect::<Vec<_>>(), "{:?}", of(&findings, Severity::Warning));
    }
}

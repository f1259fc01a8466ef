//! Short ways to load text and to look at what came out, as JSON.

use mesh_istio::{Finding, Lowered, MeshConfig, ProxyContext, Severity, World, lower};
use mesh_proto::json;
use serde_json::Value;

/// One file, called `mesh.yaml`.
pub(crate) fn world(text: &str) -> World {
    World::load([("mesh.yaml", text)])
}

/// What the default proxy gets, of objects that must all be valid.
pub(crate) fn lowered(text: &str) -> Lowered {
    lowered_for(text, &ProxyContext::new("default"), &MeshConfig::default())
}

pub(crate) fn lowered_for(text: &str, proxy: &ProxyContext, mesh: &MeshConfig) -> Lowered {
    let world = world(text);
    let refused: Vec<_> = of(world.findings(), Severity::Refused);
    assert!(refused.is_empty(), "{refused:#?}");
    lower(&world, proxy, mesh)
}

/// Findings of one severity, as `code line`s.
pub(crate) fn of(findings: &[Finding], severity: Severity) -> Vec<String> {
    findings.iter().filter(|f| f.severity == severity).map(|f| format!("{} {f}", f.code)).collect()
}

pub(crate) fn cluster(lowered: &Lowered, name: &str) -> Value {
    let found = lowered.clusters.iter().find(|cluster| cluster.name == name);
    let names: Vec<_> = lowered.clusters.iter().map(|cluster| &cluster.name).collect();
    json::to_json_of(found.unwrap_or_else(|| panic!("{name} is not among {names:?}"))).unwrap()
}

pub(crate) fn has_cluster(lowered: &Lowered, name: &str) -> bool {
    lowered.clusters.iter().any(|cluster| cluster.name == name)
}

/// `address:port` of every endpoint of a cluster, in order.
pub(crate) fn endpoints(lowered: &Lowered, name: &str) -> Vec<String> {
    let found = lowered.endpoints.iter().find(|assignment| assignment.cluster_name == name);
    let json = json::to_json_of(found.unwrap_or_else(|| panic!("no endpoints {name}"))).unwrap();
    let mut out = Vec::new();
    for group in json["endpoints"].as_array().into_iter().flatten() {
        for endpoint in group["lbEndpoints"].as_array().into_iter().flatten() {
            let address = &endpoint["endpoint"]["address"]["socketAddress"];
            out.push(format!("{}:{}", address["address"].as_str().unwrap(), address["portValue"]));
        }
    }
    out
}

pub(crate) fn listener(lowered: &Lowered, name: &str) -> Value {
    let found = lowered.listeners.iter().find(|listener| listener.name == name);
    let names: Vec<_> = lowered.listeners.iter().map(|listener| &listener.name).collect();
    json::to_json_of(found.unwrap_or_else(|| panic!("{name} is not among {names:?}"))).unwrap()
}

/// A virtual host of a route configuration, by their names.
pub(crate) fn virtual_host(lowered: &Lowered, configuration: &str, host: &str) -> Value {
    let found = lowered.routes.iter().find(|route| route.name == configuration);
    let found = found.unwrap_or_else(|| panic!("no route configuration {configuration}"));
    let names: Vec<_> = found.virtual_hosts.iter().map(|host| &host.name).collect();
    let host = found.virtual_hosts.iter().find(|candidate| candidate.name == host);
    json::to_json_of(host.unwrap_or_else(|| panic!("not among {names:?}"))).unwrap()
}

pub(crate) fn has_virtual_host(lowered: &Lowered, configuration: &str, host: &str) -> bool {
    let found = lowered.routes.iter().find(|route| route.name == configuration);
    found.is_some_and(|route| route.virtual_hosts.iter().any(|candidate| candidate.name == host))
}

/// The routes of `a` when it is called on port 80, for a VirtualService with that `http`.
pub(crate) fn routes(http: &str) -> Vec<Value> {
    routes_for(http, &ProxyContext::new("default"), &MeshConfig::default())
}

pub(crate) fn routes_for(http: &str, proxy: &ProxyContext, mesh: &MeshConfig) -> Vec<Value> {
    let lowered = lowered_for(&format!("{SERVICES}{}", virtual_service(http)), proxy, mesh);
    let host = virtual_host(&lowered, "80", "a.default.svc.cluster.local:80");
    host["routes"].as_array().unwrap().clone()
}

/// A VirtualService for `a` with that flow-style `http`.
pub(crate) fn virtual_service(http: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: a}}\nspec:\n  hosts: [a]\n  http: {http}\n---\n"
    )
}

/// A DestinationRule for `a` with that flow-style `spec`, host left out.
pub(crate) fn destination_rule(spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: a}}\nspec: {{host: a, {spec}}}\n---\n"
    )
}

/// Services `a` and `b` with port 80 (HTTP) and `a` also with 9090 (gRPC).
pub(crate) const SERVICES: &str = "\
apiVersion: v1
kind: Service
metadata: {name: a}
spec:
  clusterIP: 10.0.0.1
  ports: [{name: http, port: 80}, {name: grpc, port: 9090}]
---
apiVersion: v1
kind: Service
metadata: {name: b}
spec: {ports: [{name: http, port: 80}]}
---
";

//! Which Gateways configure a node, and what listens on each of its ports: servers of several Gateways on one port are one listener.
//!
//! Follows Istio's `MergeGateways`: oldest Gateway first, the first server of a port says which protocol is spoken there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{host, labels_match};
use crate::object::{Gateway, Object, Server, Spec};
use crate::proxy::{ProxyContext, ProxyRole};
use crate::registry::{Protocol, Registry};
use crate::world::World;

/// The name that a VirtualService binds to for callers within the mesh.
pub const MESH: &str = "mesh";

/// A server of a Gateway that serves plain HTTP.
#[derive(Clone, Debug)]
pub struct GatewayServer<'a> {
    /// The Gateway.
    pub object: &'a Arc<Object>,
    /// The server.
    pub server: &'a Server,
    /// `namespace/name` of the Gateway, as VirtualServices bind to it.
    pub gateway: String,
    hosts: Vec<(Option<String>, String)>,
}

impl GatewayServer<'_> {
    /// The hosts that VirtualServices of `namespace` may be served for, lower-case.
    pub fn hosts_for(&self, namespace: &str) -> impl Iterator<Item = &str> {
        let open = move |of: &Option<String>| of.as_deref().is_none_or(|of| of == "*" || of == namespace);
        self.hosts.iter().filter(move |(of, _)| open(of)).map(|(_, host)| host.as_str())
    }

    /// Every host, lower-case.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(|(_, host)| host.as_str())
    }
}

/// A port on which a node listens for callers outside.
#[derive(Clone, Debug)]
pub struct GatewayPort<'a> {
    /// Address it listens on; empty: every address.
    pub bind: &'a str,
    /// Port that is listened on.
    pub port: u32,
    /// Port by which Gateways and matches of VirtualServices name it.
    pub number: u32,
    /// Who is served there, oldest Gateway first.
    pub servers: Vec<GatewayServer<'a>>,
}

/// Whether a proxy is a gateway: by its role, or because a Gateway selects its labels.
#[must_use]
pub fn is_gateway(world: &World, proxy: &ProxyContext) -> bool {
    let selected = |spec: &Gateway| !spec.selector.is_empty() && labels_match(&spec.selector, &proxy.labels);
    proxy.role == ProxyRole::Router || gateways(world).any(|(_, spec)| selected(spec))
}

/// The ports on which a gateway listens, by address and number. Servers for TLS and for bytes are left out.
#[must_use]
pub fn gateway_ports<'a>(world: &'a World, registry: &Registry, proxy: &ProxyContext) -> Vec<GatewayPort<'a>> {
    let mut ports: BTreeMap<(&str, u32), GatewayPort<'a>> = BTreeMap::new();
    // What listens on a port: plain HTTP, or something else that has it first.
    let mut taken: BTreeMap<(&str, u32), bool> = BTreeMap::new();
    for (object, spec) in gateways(world).filter(|(_, spec)| labels_match(&spec.selector, &proxy.labels)) {
        for server in &spec.servers {
            let Some(port) = &server.port else { continue };
            for listened in listened_on(registry, proxy, port.number) {
                let key = (server.bind.as_str(), listened);
                let plain = is_plain_http(server);
                if !*taken.entry(key).or_insert(plain) || !plain {
                    continue;
                }
                let entry = ports.entry(key).or_insert_with(|| GatewayPort {
                    bind: &server.bind,
                    port: listened,
                    number: port.number,
                    servers: Vec::new(),
                });
                entry.servers.push(GatewayServer {
                    object,
                    server,
                    gateway: format!("{}/{}", object.id.namespace, object.id.name),
                    hosts: server.hosts.iter().map(|text| split_host(text, &object.id.namespace)).collect(),
                });
            }
        }
    }
    ports.into_values().collect()
}

/// Whether a server speaks HTTP without TLS.
#[must_use]
pub fn is_plain_http(server: &Server) -> bool {
    server.port.as_ref().is_some_and(|port| Protocol::parse(&port.protocol).is_http())
}

/// `namespace/name` of the Gateway that a VirtualService of `namespace` names; [`MESH`] stands for itself.
#[must_use]
pub fn resolve_gateway(reference: &str, namespace: &str) -> String {
    if reference == MESH {
        return reference.to_owned();
    }
    match reference.split_once('/') {
        Some((".", name)) => format!("{namespace}/{name}"),
        Some(_) => reference.to_owned(),
        // The older form `name.namespace.svc...`.
        None => match reference.split_once('.') {
            Some((name, rest)) => format!("{}/{name}", rest.split('.').next().unwrap_or_default()),
            None => format!("{namespace}/{reference}"),
        },
    }
}

fn gateways(world: &World) -> impl Iterator<Item = (&Arc<Object>, &Gateway)> {
    world.objects().iter().filter_map(|object| match &object.spec {
        Spec::Gateway(spec) => Some((object, spec.as_ref())),
        _ => None,
    })
}

/// The ports of the node's own services behind that number, else the number itself.
fn listened_on(registry: &Registry, proxy: &ProxyContext, number: u32) -> BTreeSet<u32> {
    let own = |address: &str| proxy.ips.iter().any(|ip| ip.to_string() == address);
    let endpoints = registry.services().iter().flat_map(|service| &service.endpoints);
    let behind: BTreeSet<u32> = endpoints
        .filter(|endpoint| endpoint.service_port == number && own(&endpoint.address))
        .map(|endpoint| endpoint.port)
        .collect();
    if behind.is_empty() { BTreeSet::from([number]) } else { behind }
}

fn split_host(text: &str, namespace: &str) -> (Option<String>, String) {
    match text.split_once('/') {
        Some((".", host)) => (Some(namespace.to_owned()), host.to_ascii_lowercase()),
        Some((of, host)) => (Some(of.to_owned()), host.to_ascii_lowercase()),
        None => (None, text.to_ascii_lowercase()),
    }
}

/// What two hosts, either of which may be a wildcard, have in common: the narrower one.
#[must_use]
pub fn common<'a>(a: &'a str, b: &'a str) -> Option<&'a str> {
    if host::subset_of(a, b) {
        return Some(a);
    }
    host::subset_of(b, a).then_some(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_to_gateways_are_resolved_by_namespace() {
        for (reference, resolved) in [
            ("mesh", "mesh"),
            ("edge", "shop/edge"),
            ("./edge", "shop/edge"),
            ("istio-system/edge", "istio-system/edge"),
            ("edge.istio-system.svc.cluster.local", "istio-system/edge"),
        ] {
            assert_eq!(resolve_gateway(reference, "shop"), resolved);
        }
    }

    #[test]
    fn the_narrower_of_two_hosts_is_what_they_have_in_common() {
        assert_eq!(common("*", "a.com"), Some("a.com"));
        assert_eq!(common("a.com", "*.com"), Some("a.com"));
        assert_eq!(common("*.com", "*.a.com"), Some("*.a.com"));
        assert_eq!(common("a.com", "b.com"), None);
    }
}

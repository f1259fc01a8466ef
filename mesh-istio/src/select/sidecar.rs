//! Which Sidecar holds for a workload, and what it lets the workload see: services, VirtualServices, hosts that nobody declared.
//!
//! Follows Istio's `SidecarScope`: one Sidecar holds, nothing is merged; without one, everything that is exported is seen. Services that visible
//! VirtualServices lead to are added, so that their routes have clusters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::gateway::{MESH, is_gateway};
use super::visible::{exported, one_for_each_host};
use super::{BoundVirtualService, host, labels_match, virtual_services};
use crate::mesh_config::MeshConfig;
use crate::object::{IstioEgressListener, Object, Port, Sidecar, Spec};
use crate::proxy::ProxyContext;
use crate::registry::{Protocol, Registry, RegistryService, ServicePort};
use crate::world::World;

/// A Sidecar and its body.
pub type SidecarObject<'a> = (&'a Arc<Object>, &'a Sidecar);

/// The Sidecar of a workload: the oldest of its namespace that selects it, else the oldest of its namespace for everybody, else the oldest such
/// of the root namespace.
#[must_use]
pub fn sidecar<'a>(world: &'a World, mesh: &MeshConfig, proxy: &ProxyContext) -> Option<SidecarObject<'a>> {
    let all = || {
        world.objects().iter().filter_map(|object| match &object.spec {
            Spec::Sidecar(spec) => Some((object, spec.as_ref())),
            _ => None,
        })
    };
    let labels = |spec: &'a Sidecar| spec.workload_selector.as_ref().map(|selector| &selector.labels);
    let mut own = all().filter(|(object, _)| object.id.namespace == proxy.namespace);
    let for_everybody = |namespace: &str| {
        all().find(|(object, spec)| object.id.namespace == namespace && labels(spec).is_none_or(BTreeMap::is_empty))
    };
    own.find(|(_, spec)| labels(spec).is_some_and(|labels| !labels.is_empty() && labels_match(labels, &proxy.labels)))
        .or_else(|| for_everybody(&proxy.namespace))
        .or_else(|| for_everybody(&mesh.root_namespace))
}

/// The Sidecar that holds for a proxy and what the proxy sees under it. Sidecars are for workloads, not for gateways.
#[must_use]
pub fn seen_by<'a>(
    world: &'a World,
    registry: &'a Registry,
    mesh: &MeshConfig,
    proxy: &ProxyContext,
) -> (Option<SidecarObject<'a>>, Outbound<'a>) {
    let sidecar = if is_gateway(world, proxy) { None } else { sidecar(world, mesh, proxy) };
    let spec = sidecar.map(|(_, spec)| spec);
    (sidecar, Outbound::new(world, registry, mesh, &proxy.namespace, spec))
}

/// A service, as far as it is seen.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The service.
    pub service: &'a RegistryService,
    /// Its ports that are seen; `None`: all.
    only: Option<BTreeSet<u32>>,
}

impl<'a> Seen<'a> {
    /// The ports that are seen.
    pub fn ports(&self) -> impl Iterator<Item = &'a ServicePort> {
        self.service.ports.iter().filter(|port| self.sees(port.number))
    }

    /// The port of that number, when it is seen.
    #[must_use]
    pub fn port(&self, number: u32) -> Option<&'a ServicePort> {
        self.service.port(number).filter(|_| self.sees(number))
    }

    fn sees(&self, port: u32) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&port))
    }
}

/// What calls to one port, or to all ports without a listener of their own, may reach.
#[derive(Clone, Debug)]
pub struct Egress<'a> {
    /// The listener as configured; `None`: there is no Sidecar, or it says nothing of calls.
    pub listener: Option<&'a IstioEgressListener>,
    /// Services, one for each host name, oldest first.
    pub services: Vec<Seen<'a>>,
    /// VirtualServices, in order of precedence.
    pub virtual_services: Vec<BoundVirtualService<'a>>,
}

impl<'a> Egress<'a> {
    /// The port it is for; `None`: every other.
    #[must_use]
    pub fn port(&self) -> Option<&'a Port> {
        self.listener?.port.as_ref()
    }

    /// The port that services must have to be seen by it.
    fn only(&self) -> Option<u32> {
        // What goes to a proxy names its port itself.
        let port = self.port()?;
        (port.number != 0 && Protocol::parse(&port.protocol) != Protocol::HttpProxy).then_some(port.number)
    }
}

/// What a workload sees for its calls.
#[derive(Clone, Debug)]
pub struct Outbound<'a> {
    /// By listener, in order; the one without a port is last.
    pub egress: Vec<Egress<'a>>,
    /// Services of all listeners and those that their VirtualServices lead to, oldest first.
    pub services: Vec<Seen<'a>>,
}

impl<'a> Outbound<'a> {
    /// What a workload sees under a Sidecar, or without one.
    #[must_use]
    pub fn new(
        world: &'a World,
        registry: &'a Registry,
        mesh: &MeshConfig,
        namespace: &str,
        spec: Option<&'a Sidecar>,
    ) -> Self {
        let virtual_services = virtual_services(world, mesh, namespace, MESH);
        let exported = exported(registry, mesh, namespace);
        let listeners = spec.map_or(&[][..], |spec| spec.egress.as_slice());
        if listeners.is_empty() {
            let services = one_for_each_host(exported.iter().copied(), namespace);
            let services: Vec<_> = services.into_iter().map(|service| Seen { service, only: None }).collect();
            return Self {
                egress: vec![Egress { listener: None, services: services.clone(), virtual_services }],
                services,
            };
        }
        let egress: Vec<_> =
            listeners.iter().map(|listener| under(listener, &exported, &virtual_services, namespace)).collect();
        let services = union(registry, mesh, &exported, &egress, namespace);
        Self { egress, services }
    }

    /// What holds for calls to a port: the listener of that port, else the one without a port.
    #[must_use]
    pub fn of_port(&self, port: u32) -> Option<&Egress<'a>> {
        self.egress.iter().find(|egress| egress.port().is_none_or(|own| own.number == port))
    }
}

fn under<'a>(
    listener: &'a IstioEgressListener,
    exported: &[&'a RegistryService],
    virtual_services: &[BoundVirtualService<'a>],
    namespace: &str,
) -> Egress<'a> {
    let imports = Imports::of(&listener.hosts, namespace);
    let mut egress = Egress { listener: Some(listener), services: Vec::new(), virtual_services: Vec::new() };
    let only = egress.only();
    let imported = exported.iter().copied().filter(|service| {
        imports.takes(&service.namespace, &service.hostname, host::subset_of)
            && only.is_none_or(|port| service.port(port).is_some())
    });
    let services = one_for_each_host(imported, namespace);
    egress.services =
        services.into_iter().map(|service| Seen { service, only: only.map(|port| [port].into()) }).collect();
    let imported = virtual_services.iter().filter(|bound| {
        let own = &bound.object.id.namespace;
        bound.hosts.iter().any(|name| imports.takes(own, name, host::matches))
    });
    egress.virtual_services = imported.cloned().collect();
    egress
}

/// Services of all listeners; then those that VirtualServices lead to and that nobody named.
fn union<'a>(
    registry: &'a Registry,
    mesh: &MeshConfig,
    exported: &[&'a RegistryService],
    egress: &[Egress<'a>],
    namespace: &str,
) -> Vec<Seen<'a>> {
    let mut seen: BTreeMap<&str, Seen<'a>> = BTreeMap::new();
    let mut add = |one: &Seen<'a>| {
        let known = seen.entry(&one.service.hostname).or_insert_with(|| one.clone());
        // Of the same name in another namespace the first stays.
        if std::ptr::eq(known.service, one.service) {
            known.only = match (known.only.take(), &one.only) {
                (Some(mut a), Some(b)) => {
                    a.extend(b);
                    Some(a)
                }
                _ => None,
            };
        }
    };
    for egress in egress {
        egress.services.iter().for_each(&mut add);
        for hostname in egress.virtual_services.iter().flat_map(|bound| destinations(bound, mesh)) {
            let named = exported.iter().copied().filter(|service| service.hostname == hostname);
            let own = named.clone().find(|service| service.namespace == namespace);
            let Some(service) = own.or_else(|| named.min_by_key(|service| &service.namespace)) else {
                continue;
            };
            let only = egress.only();
            if only.is_none_or(|port| service.port(port).is_some()) {
                add(&Seen { service, only: only.map(|port| [port].into()) });
            }
        }
    }
    // The age order of the registry.
    let in_order = registry.services().iter();
    in_order
        .filter_map(|service| seen.get(service.hostname.as_str()).filter(|one| std::ptr::eq(one.service, service)))
        .cloned()
        .collect()
}

/// The hosts that a VirtualService's HTTP rules lead to.
fn destinations(bound: &BoundVirtualService<'_>, mesh: &MeshConfig) -> BTreeSet<String> {
    let rules = bound.http.iter();
    let of_rule = |http: &crate::object::HttpRoute| {
        let routes = http.route.iter().filter_map(|target| target.destination.clone());
        let mirrors = http.mirrors.iter().filter_map(|mirror| mirror.destination.clone());
        routes.chain(http.mirror.clone()).chain(mirrors).collect::<Vec<_>>()
    };
    let resolve = |name: &str| host::resolve(name, &bound.object.id.namespace, &mesh.cluster_domain);
    rules.flat_map(of_rule).map(|destination| resolve(&destination.host)).collect()
}

/// `hosts` of an egress listener.
struct Imports<'a> {
    /// Namespace (`None`: any) and host.
    takes: Vec<(Option<&'a str>, String)>,
    excludes: Vec<(Option<&'a str>, String)>,
}

impl<'a> Imports<'a> {
    /// Reads `namespace/host` entries as `own` means them.
    fn of(entries: &'a [String], own: &'a str) -> Self {
        let mut out = Self { takes: Vec::new(), excludes: Vec::new() };
        for (namespace, name) in entries.iter().filter_map(|entry| entry.split_once('/')) {
            if namespace == "~" {
                continue;
            }
            let (list, namespace) = match namespace.strip_prefix('~') {
                Some(rest) => (&mut out.excludes, rest),
                None => (&mut out.takes, namespace),
            };
            let namespace = match namespace {
                "*" => None,
                "." => Some(own),
                named => Some(named),
            };
            list.push((namespace, name.to_ascii_lowercase()));
        }
        out
    }

    /// Whether something of `namespace` under that host is taken; `fits` says how a host fits the one of an entry.
    fn takes(&self, namespace: &str, name: &str, fits: fn(&str, &str) -> bool) -> bool {
        let of = |(own, _): &&(Option<&str>, String)| own.is_none_or(|own| own == namespace);
        self.takes.iter().filter(of).any(|(_, entry)| fits(name, entry))
            && !self.excludes.iter().filter(of).any(|(_, entry)| host::subset_of(name, entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_name_namespaces_and_hosts_and_may_exclude() {
        let cases: &[(&[&str], &str, &str, bool)] = &[
            (&["./*"], "shop", "a.shop.svc", true),
            (&["./*"], "other", "a.other.svc", false),
            (&["*/*"], "other", "a.other.svc", true),
            (&["*/a.other.svc"], "other", "a.other.svc", true),
            (&["*/*.svc"], "other", "a.other.svc", true),
            (&["*/*.com"], "other", "a.other.svc", false),
            (&["other/*"], "other", "a.other.svc", true),
            (&["other/*"], "shop", "a.shop.svc", false),
            (&["~/*"], "shop", "a.shop.svc", false),
            (&["*/*", "~other/*"], "other", "a.other.svc", false),
            (&["*/*", "~other/*"], "shop", "a.shop.svc", true),
            (&["*/*", "~*/a.other.svc"], "other", "a.other.svc", false),
            (&["./*", "~./b.shop.svc"], "shop", "b.shop.svc", false),
            (&["*/A.Other.Svc"], "other", "a.other.svc", true),
        ];
        for (entries, namespace, name, taken) in cases {
            let entries: Vec<String> = entries.iter().map(|entry| (*entry).to_owned()).collect();
            let imports = Imports::of(&entries, "shop");
            assert_eq!(imports.takes(namespace, name, host::subset_of), *taken, "{entries:?} {namespace} {name}");
        }
    }
}

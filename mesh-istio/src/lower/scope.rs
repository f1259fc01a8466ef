//! What one lowering looks at: the proxy, the mesh, and what of the world the proxy sees.
//!
//! Built once for each lowering; every file beside this one only reads it.

use std::collections::BTreeMap;

use crate::mesh_config::MeshConfig;
use crate::object::Destination;
use crate::proxy::ProxyContext;
use crate::registry::{Registry, RegistryService};
use crate::select::gateway::MESH;
use crate::select::{
    self, BoundVirtualService, Caller, DestinationRules, EffectivePolicy, LocalityPreference, MergedRule, host,
};
use crate::world::World;

pub(super) struct Scope<'a> {
    pub(super) world: &'a World,
    pub(super) proxy: &'a ProxyContext,
    pub(super) mesh: &'a MeshConfig,
    /// Every service, seen or not: the proxy's own ones need not be exported to it.
    pub(super) registry: &'a Registry,
    /// Services that the proxy sees, oldest first.
    pub(super) services: Vec<&'a RegistryService>,
    by_host: BTreeMap<&'a str, &'a RegistryService>,
    rules: DestinationRules<'a>,
    /// VirtualServices for callers within the mesh, in order of precedence.
    pub(super) virtual_services: Vec<BoundVirtualService<'a>>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(world: &'a World, registry: &'a Registry, proxy: &'a ProxyContext, mesh: &'a MeshConfig) -> Self {
        let services = select::services(registry, mesh, &proxy.namespace);
        Self {
            world,
            proxy,
            mesh,
            registry,
            by_host: services.iter().map(|service| (service.hostname.as_str(), *service)).collect(),
            services,
            rules: DestinationRules::build(world, mesh),
            virtual_services: select::virtual_services(world, mesh, &proxy.namespace, MESH),
        }
    }

    /// The service of that host name, when the proxy sees it.
    pub(super) fn service(&self, hostname: &str) -> Option<&'a RegistryService> {
        self.by_host.get(hostname).copied()
    }

    /// The DestinationRule that holds for calls of the proxy to a service.
    pub(super) fn rule(&self, service: &RegistryService) -> Option<&MergedRule<'a>> {
        self.rules.find(service, &self.proxy.namespace, &self.proxy.labels)
    }

    /// The proxy, as far as places are concerned. What the registry knows of its own endpoints comes before what it says itself.
    pub(super) fn caller(&self) -> Caller<'a> {
        let endpoints = self.registry.services().iter().flat_map(|service| &service.endpoints);
        let own = |address: &str| self.proxy.ips.iter().any(|ip| ip.to_string() == address);
        let known = endpoints
            .filter(|endpoint| own(&endpoint.address))
            .map(|endpoint| endpoint.locality.as_str())
            .find(|locality| !locality.is_empty());
        Caller::new(known.unwrap_or(&self.proxy.locality), &self.proxy.labels, &self.proxy.cluster_id)
    }

    /// Which endpoints of a service the proxy prefers by place.
    pub(super) fn preference<'b>(
        &'b self,
        service: &RegistryService,
        policy: &EffectivePolicy<'b>,
    ) -> LocalityPreference<'b> {
        select::locality_preference(self.mesh, policy.load_balancer, service, policy.outlier_detection.is_some())
    }

    /// The host that a destination in an object of `namespace` means.
    pub(super) fn host(&self, destination: &Destination, namespace: &str) -> String {
        host::resolve(&destination.host, namespace, &self.mesh.cluster_domain)
    }

    /// The policy by which a destination's hash key is chosen: entries by port count only when the destination names its port.
    pub(super) fn policy_of_destination(&self, destination: &Destination, namespace: &str) -> EffectivePolicy<'_> {
        let rule = self.service(&self.host(destination, namespace)).and_then(|service| self.rule(service));
        let Some(rule) = rule else {
            return EffectivePolicy::default();
        };
        let subset = if destination.subset.is_empty() { None } else { rule.subset(&destination.subset) };
        // No port entry has the number 0.
        select::effective(rule.traffic_policy, subset, destination.port.as_ref().map_or(0, |port| port.number))
    }
}

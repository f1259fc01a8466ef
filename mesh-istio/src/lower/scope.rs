//! What one lowering looks at: the proxy, the mesh, and what of the world the proxy sees.
//!
//! Built once for each lowering; every file beside this one only reads it.

use std::collections::BTreeMap;

use super::names;
use crate::mesh_config::{MeshConfig, OutboundTrafficPolicy};
use crate::object::{Destination, OutboundMode};
use crate::proxy::ProxyContext;
use crate::registry::{Registry, RegistryService};
use crate::select::{
    self, Caller, DestinationRules, EffectivePolicy, LocalityPreference, MergedRule, Outbound, SidecarObject, host,
};
use crate::world::World;

pub(super) struct Scope<'a> {
    pub(super) world: &'a World,
    pub(super) proxy: &'a ProxyContext,
    pub(super) mesh: &'a MeshConfig,
    /// Every service, seen or not: the proxy's own ones need not be exported to it.
    pub(super) registry: &'a Registry,
    /// The Sidecar that holds for the proxy.
    pub(super) sidecar: Option<SidecarObject<'a>>,
    /// What the proxy sees for its calls.
    pub(super) outbound: Outbound<'a>,
    by_host: BTreeMap<&'a str, &'a RegistryService>,
    rules: DestinationRules<'a>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(world: &'a World, registry: &'a Registry, proxy: &'a ProxyContext, mesh: &'a MeshConfig) -> Self {
        let (sidecar, outbound) = select::seen_by(world, registry, mesh, proxy);
        let by_host = outbound.services.iter().map(|seen| (seen.service.hostname.as_str(), seen.service));
        Self {
            world,
            proxy,
            mesh,
            registry,
            by_host: by_host.collect(),
            rules: DestinationRules::build(world, mesh),
            sidecar,
            outbound,
        }
    }

    /// Where calls to hosts go that nobody declared: a cluster. `None`: they are answered with an error.
    pub(super) fn undeclared(&self) -> Option<String> {
        let Some((policy, (object, _))) =
            self.sidecar.and_then(|sidecar| Some((sidecar.1.outbound_traffic_policy.as_ref()?, sidecar)))
        else {
            return match self.mesh.outbound_traffic_policy {
                OutboundTrafficPolicy::AllowAny => Some(names::PASSTHROUGH.to_owned()),
                OutboundTrafficPolicy::RegistryOnly => None,
            };
        };
        if policy.mode == OutboundMode::RegistryOnly {
            return None;
        }
        let Some(proxy) = &policy.egress_proxy else {
            return Some(names::PASSTHROUGH.to_owned());
        };
        // Names of a Sidecar of the root namespace are of that namespace.
        let hostname = self.host(proxy, &object.id.namespace);
        let port = proxy.port.as_ref().map_or(0, |port| port.number);
        Some(names::outbound_cluster(port, &proxy.subset, &hostname))
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

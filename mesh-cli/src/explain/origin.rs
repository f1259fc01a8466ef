//! From what is in force back to the objects that a user wrote: by the paths that translation leaves in metadata, and by
//! the registry.

use std::sync::Arc;

use mesh_core::resource::cluster::Cluster;
use mesh_core::resource::endpoint::{Address, Endpoint};
use mesh_core::resource::metadata::Metadata;
use mesh_istio::object::{DestinationRule, HttpMatchRequest, Spec};
use mesh_istio::registry::{Registry, RegistryService};
use mesh_istio::{MeshConfig, Object, ProxyContext, World, select};

/// The objects of a world, as one workload sees them.
#[derive(Debug)]
pub(super) struct Origin<'a> {
    world: &'a World,
    proxy: &'a ProxyContext,
    mesh: &'a MeshConfig,
    registry: Registry,
}

impl<'a> Origin<'a> {
    pub(super) fn new(world: &'a World, proxy: &'a ProxyContext, mesh: &'a MeshConfig) -> Self {
        Self { world, proxy, mesh, registry: Registry::build(world, mesh) }
    }

    /// The object named in the metadata of a route or a cluster.
    pub(super) fn of_metadata(&self, metadata: &Metadata) -> Option<&'a Arc<Object>> {
        self.world.object_at(metadata.get("istio")?.at(["config"])?.as_text()?)
    }

    /// The service behind a cluster or virtual host, by host name.
    pub(super) fn service(&self, hostname: &str) -> Option<&RegistryService> {
        let (_, outbound) = select::seen_by(self.world, &self.registry, self.mesh, self.proxy);
        outbound.services.into_iter().map(|seen| seen.service).find(|service| service.hostname == hostname)
    }

    /// The DestinationRule of a cluster: of those that were merged, the one that defines the subset.
    pub(super) fn rule(&self, cluster: &Cluster, subset: &str) -> Option<&'a Arc<Object>> {
        let first = self.of_metadata(&cluster.metadata)?;
        let defines = |rule: &DestinationRule| subset.is_empty() || rule.subsets.iter().any(|one| one.name == subset);
        let Spec::DestinationRule(rule) = &first.spec else { return Some(first) };
        if defines(rule) {
            return Some(first);
        }
        let other = self.world.objects().iter().find(|object| match &object.spec {
            Spec::DestinationRule(other) => {
                object.id.namespace == first.id.namespace && other.host == rule.host && defines(other)
            }
            _ => false,
        });
        Some(other.unwrap_or(first))
    }

    /// The object that gives a service an endpoint.
    pub(super) fn endpoint(&self, service: &RegistryService, endpoint: &Endpoint) -> Option<&'a Arc<Object>> {
        let address = match &endpoint.address {
            Address::Socket(address) => address.ip().to_string(),
            Address::Dns { host, .. } => host.to_string(),
            other => format!("unix://{other}"),
        };
        let gives = |object: &&Arc<Object>| {
            object.id.namespace == service.namespace
                && match &object.spec {
                    Spec::WorkloadEntry(entry) => entry.address == address,
                    Spec::EndpointSlice(slice) => {
                        object.labels.get("kubernetes.io/service-name") == Some(&service.name)
                            && slice.endpoints.iter().any(|one| one.addresses.contains(&address))
                    }
                    Spec::ServiceEntry(entry) => {
                        object.id == service.object.id && entry.endpoints.iter().any(|one| one.address == address)
                    }
                    Spec::Pod(pod) => pod.ips.contains(&address),
                    _ => false,
                }
        };
        let given: Vec<_> = self.world.objects().iter().filter(gives).collect();
        // A pod gives labels to an address that a slice gives; it is the origin only where nothing else is.
        let pod = |object: &&&Arc<Object>| matches!(object.spec, Spec::Pod(_));
        given.iter().find(|object| !pod(object)).or_else(|| given.first()).copied()
    }

    /// Rules of a VirtualService that are no routes here, because they are for other callers or ports: which, and why.
    pub(super) fn for_others(&self, object: &Object, port: u16) -> Vec<(String, String)> {
        let Spec::VirtualService(spec) = &object.spec else { return Vec::new() };
        let mut others = Vec::new();
        for (h, http) in spec.http.iter().enumerate() {
            for (m, block) in http.r#match.iter().enumerate() {
                if let Some(why) = self.other(block, port) {
                    others.push((format!("spec.http[{h}].match[{m}]"), why));
                }
            }
        }
        others
    }

    fn other(&self, block: &HttpMatchRequest, port: u16) -> Option<String> {
        if block.port != 0 && block.port != u32::from(port) {
            return Some(format!("port {} is not the one that was called", block.port));
        }
        if !block.gateways.is_empty() {
            let mesh = block.gateways.iter().any(|gateway| gateway == "mesh");
            return (!mesh).then(|| format!("gateways {} are not this one (mesh)", block.gateways.join(", ")));
        }
        if !select::labels_match(&block.source_labels, &self.proxy.labels) {
            let wanted: Vec<_> = block.source_labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            return Some(format!("sourceLabels {} are not the caller's", wanted.join(",")));
        }
        let namespace = &block.source_namespace;
        (!namespace.is_empty() && *namespace != self.proxy.namespace)
            .then(|| format!("sourceNamespace {namespace} is not the caller's"))
    }
}

/// `Kind/namespace/name  file:line`.
pub(super) fn place(object: &Object) -> String {
    format!("{}  {}:{}", object.id, object.file, object.line)
}

//! What services there are and where their endpoints stand: Service, EndpointSlice, ServiceEntry and WorkloadEntry as one.
//!
//! No caller and no policy here: who sees a service is `select`, what becomes of it is `lower`. Follows istiod's service registries (Kubernetes
//! and ServiceEntry controllers). Where Pods are not in the folder, labels of endpoints come from WorkloadEntries, which both a
//! ServiceEntry's `workloadSelector` and a Service's `selector` choose.

mod endpoints;
mod kubernetes;
mod protocol;
mod service_entry;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use protocol::Protocol;

use crate::mesh_config::MeshConfig;
use crate::object::{Object, Spec};
use crate::world::World;

/// All services of a world, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    services: Vec<RegistryService>,
}

/// One service under one host name.
#[derive(Clone, Debug)]
pub struct RegistryService {
    /// Host name, lower-case.
    pub hostname: String,
    /// Name within its namespace; of a ServiceEntry: the host name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Which sort of object declares it.
    pub provider: Provider,
    /// Virtual addresses; prefixes are left out.
    pub addresses: Vec<String>,
    /// Ports, UDP left out.
    pub ports: Vec<ServicePort>,
    /// How endpoints are found.
    pub resolution: ServiceResolution,
    /// Outside of the mesh.
    pub external: bool,
    /// Which endpoints it prefers by itself.
    pub traffic_distribution: TrafficDistribution,
    /// Headless: callers may also name single pods.
    pub headless: bool,
    /// Namespaces that may see it; empty: the mesh's default.
    pub export_to: Vec<String>,
    /// Names its certificates may have, beside those of the endpoints.
    pub subject_alt_names: Vec<String>,
    /// Endpoints of all ports.
    pub endpoints: Vec<Endpoint>,
    /// The object that declares it.
    pub object: Arc<Object>,
}

/// Which sort of object declares a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// A core Service.
    Kubernetes,
    /// A ServiceEntry.
    External,
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Name; may be empty.
    pub name: String,
    /// Number that callers use.
    pub number: u32,
    /// What is spoken.
    pub protocol: Protocol,
}

/// How endpoints of a service are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServiceResolution {
    /// They are known (EDS).
    ClientSide,
    /// Names are resolved, every address is an endpoint (STRICT_DNS).
    Dns,
    /// A name is resolved, its first address is the endpoint (LOGICAL_DNS).
    DnsRoundRobin,
    /// The caller's address is used (ORIGINAL_DST).
    Passthrough,
}

/// Which of its endpoints a service wants to be preferred: Kubernetes' `trafficDistribution`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrafficDistribution {
    /// None of them.
    #[default]
    Any,
    /// Those in the caller's zone, then those in its region.
    PreferSameZone,
    /// Those on the caller's node, then those near.
    PreferSameNode,
}

impl TrafficDistribution {
    /// Kubernetes' word for it; `None` when it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" => Some(Self::Any),
            "PreferClose" | "PreferSameZone" => Some(Self::PreferSameZone),
            "PreferSameNode" => Some(Self::PreferSameNode),
            _ => None,
        }
    }
}

/// One endpoint of one port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// IP, host name, or `unix://` path.
    pub address: String,
    /// Port it listens on; 0 for a path.
    pub port: u32,
    /// Port of the service that it serves, by number.
    pub service_port: u32,
    /// Labels: what subsets select by.
    pub labels: BTreeMap<String, String>,
    /// `region/zone/subzone`, any of it empty.
    pub locality: String,
    /// Share; at least 1.
    pub weight: u32,
    /// Name of the workload.
    pub workload: String,
    /// Namespace of the workload.
    pub namespace: String,
    /// Node it runs on; empty when unknown.
    pub node: String,
    /// Service account; empty when unknown.
    pub service_account: String,
    /// Whether it expects the mesh's mutual TLS.
    pub mesh_tls: bool,
}

impl Endpoint {
    /// Istio's canonical service name of the workload.
    #[must_use]
    pub fn canonical_name(&self) -> &str {
        let label = |key: &str| self.labels.get(key).filter(|value| !value.is_empty());
        label("service.istio.io/canonical-name")
            .or_else(|| label("app.kubernetes.io/name"))
            .or_else(|| label("app"))
            .unwrap_or(&self.workload)
    }

    /// Istio's canonical revision; empty means `latest`.
    #[must_use]
    pub fn canonical_revision(&self) -> &str {
        let label = |key: &str| self.labels.get(key).filter(|value| !value.is_empty());
        label("service.istio.io/canonical-revision")
            .or_else(|| label("app.kubernetes.io/version"))
            .or_else(|| label("version"))
            .map_or("", |value| if value == "latest" { "" } else { value })
    }
}

impl RegistryService {
    /// The port of that number.
    #[must_use]
    pub fn port(&self, number: u32) -> Option<&ServicePort> {
        self.ports.iter().find(|port| port.number == number)
    }

    /// The SPIFFE identities its endpoints may show: of their service accounts, and those given by hand. Sorted.
    #[must_use]
    pub fn identities(&self, trust_domain: &str) -> Vec<String> {
        let accounts = self.endpoints.iter().filter(|endpoint| !endpoint.service_account.is_empty());
        let mut out: Vec<String> = accounts
            .map(|endpoint| {
                format!("spiffe://{trust_domain}/ns/{}/sa/{}", endpoint.namespace, endpoint.service_account)
            })
            .chain(self.subject_alt_names.iter().cloned())
            .collect();
        out.sort();
        out.dedup();
        out
    }
}

impl Registry {
    /// Reads the services of a world.
    #[must_use]
    pub fn build(world: &World, mesh: &MeshConfig) -> Self {
        let workloads = endpoints::Workloads::of(world);
        let mut services: Vec<RegistryService> = Vec::new();
        for object in world.objects() {
            if let Spec::Service(spec) = &object.spec {
                services.extend(kubernetes::service(object, spec, &workloads, mesh));
            }
        }
        let mut entries: Vec<RegistryService> = Vec::new();
        for object in world.objects() {
            let Spec::ServiceEntry(spec) = &object.spec else {
                continue;
            };
            for entry in service_entry::services(object, spec, &workloads) {
                // An entry for the host of a Kubernetes service only adds names to it.
                match services.iter_mut().find(|service| service.hostname == entry.hostname) {
                    Some(service) => service.subject_alt_names.extend(entry.subject_alt_names),
                    None => entries.push(entry),
                }
            }
        }
        services.extend(entries);
        // The age order of the objects, whatever their kind.
        let place: BTreeMap<_, _> =
            world.objects().iter().enumerate().map(|(place, object)| (&object.id, place)).collect();
        services.sort_by_key(|service| place.get(&service.object.id).copied());
        Self { services }
    }

    /// All services, oldest first.
    #[must_use]
    pub fn services(&self) -> &[RegistryService] {
        &self.services
    }
}

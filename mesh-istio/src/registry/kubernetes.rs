//! A core Service with its EndpointSlices, and with the WorkloadEntries that its selector chooses.
//!
//! Follows istiod's Kubernetes controller. A headless service is balanced over its endpoints like any other, since in a process there is no
//! original destination to keep.

use std::sync::Arc;

use super::endpoints::{Workloads, of_entry, of_pod};
use super::{Endpoint, Protocol, Provider, RegistryService, ServicePort, ServiceResolution, TrafficDistribution};
use crate::mesh_config::MeshConfig;
use crate::object::{EndpointConditions, Object, Service};

const EXPORT_TO: &str = "networking.istio.io/exportTo";
const TRAFFIC_DISTRIBUTION: &str = "networking.istio.io/traffic-distribution";
const SERVICE_ACCOUNTS: &str = "alpha.istio.io/kubernetes-serviceaccounts";
const CANONICAL_SERVICE_ACCOUNTS: &str = "alpha.istio.io/canonical-serviceaccounts";

pub(super) fn service(
    object: &Arc<Object>,
    spec: &Service,
    workloads: &Workloads<'_>,
    mesh: &MeshConfig,
) -> Option<RegistryService> {
    if spec.service_type == "ExternalName" {
        return None;
    }
    let (name, namespace) = (&object.id.name, &object.id.namespace);
    let headless = spec.cluster_ip == "None";
    let mut addresses: Vec<String> = Vec::new();
    for ip in std::iter::once(&spec.cluster_ip).chain(&spec.cluster_ips) {
        if !ip.is_empty() && ip != "None" && !addresses.contains(ip) {
            addresses.push(ip.clone());
        }
    }
    let ports: Vec<ServicePort> = spec
        .ports
        .iter()
        .map(|port| ServicePort {
            name: port.name.clone(),
            number: port.port,
            protocol: Protocol::of_kubernetes_port(&port.protocol, port.app_protocol.as_deref(), &port.name, port.port),
        })
        .filter(|port| port.protocol != Protocol::Udp)
        .collect();
    let list = |key: &str| -> Vec<String> {
        let text = object.annotations.get(key).map_or("", String::as_str);
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    };
    let mut subject_alt_names = list(CANONICAL_SERVICE_ACCOUNTS);
    let accounts = list(SERVICE_ACCOUNTS);
    subject_alt_names
        .extend(accounts.iter().map(|account| format!("spiffe://{}/ns/{namespace}/sa/{account}", mesh.trust_domain)));
    Some(RegistryService {
        hostname: format!("{name}.{namespace}.svc.{}", mesh.cluster_domain).to_ascii_lowercase(),
        name: name.clone(),
        namespace: namespace.clone(),
        provider: Provider::Kubernetes,
        addresses,
        resolution: ServiceResolution::ClientSide,
        external: false,
        traffic_distribution: traffic_distribution(object, spec),
        headless,
        export_to: list(EXPORT_TO),
        subject_alt_names,
        endpoints: endpoints(object, spec, &ports, workloads),
        ports,
        object: object.clone(),
    })
}

/// The annotation beside the field is Istio's older form, and wins.
fn traffic_distribution(object: &Object, spec: &Service) -> TrafficDistribution {
    annotated_distribution(object)
        .or_else(|| TrafficDistribution::parse(&spec.traffic_distribution))
        .unwrap_or_default()
}

pub(super) fn annotated_distribution(object: &Object) -> Option<TrafficDistribution> {
    object.annotations.get(TRAFFIC_DISTRIBUTION).and_then(|text| TrafficDistribution::parse(text))
}

fn endpoints(object: &Object, spec: &Service, ports: &[ServicePort], workloads: &Workloads<'_>) -> Vec<Endpoint> {
    let (name, namespace) = (&object.id.name, &object.id.namespace);
    let mut out: Vec<Endpoint> = Vec::new();
    for slice in workloads.slices(namespace, name) {
        for port in ports {
            // Ports meet by name; a nameless port of the service is the nameless port of the slice.
            let Some(number) =
                slice.ports.iter().find(|candidate| candidate.name == port.name).and_then(|found| found.port)
            else {
                continue;
            };
            for endpoint in
                slice.endpoints.iter().filter(|endpoint| usable(&endpoint.conditions, spec.publish_not_ready_addresses))
            {
                let pod_name = endpoint
                    .target_ref
                    .as_ref()
                    .filter(|target| target.kind == "Pod")
                    .map(|target| target.name.as_str());
                for address in &endpoint.addresses {
                    let pod = workloads.pod(namespace, pod_name, address);
                    let found = of_pod(address, pod, endpoint.zone.as_deref(), namespace);
                    let node = endpoint.node_name.clone().unwrap_or_default();
                    out.push(Endpoint { port: number, service_port: port.number, node, ..found });
                }
            }
        }
    }
    // A service without selector is fed by hand: nothing is chosen.
    if !spec.selector.is_empty() {
        for (entry_object, entry) in workloads.entries(namespace, &spec.selector) {
            for port in ports {
                let target = spec
                    .ports
                    .iter()
                    .find(|declared| declared.port == port.number)
                    .and_then(|declared| declared.target_port);
                let number = entry.ports.get(&port.name).copied().or(target).unwrap_or(port.number);
                let found = of_entry(entry, Some(&entry_object.labels), entry_object.id.name.clone(), namespace);
                out.push(Endpoint { port: number, service_port: port.number, ..found });
            }
        }
    }
    deduplicated(out)
}

/// A slice may still list an endpoint that another lists too; the first stays.
pub(super) fn deduplicated(endpoints: Vec<Endpoint>) -> Vec<Endpoint> {
    let mut seen = std::collections::BTreeSet::new();
    endpoints
        .into_iter()
        .filter(|endpoint| seen.insert((endpoint.service_port, endpoint.address.clone(), endpoint.port)))
        .collect()
}

fn usable(conditions: &EndpointConditions, publish_not_ready: bool) -> bool {
    if conditions.ready.unwrap_or(true) {
        return true;
    }
    // What ends is gone; what is merely not ready counts where the service says so.
    publish_not_ready && conditions.terminating != Some(true)
}

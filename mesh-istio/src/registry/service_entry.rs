//! A ServiceEntry as services, one for each host, with its endpoints.
//!
//! Follows istiod's ServiceEntry controller: `ports` of an endpoint beat `targetPort`, DNS without endpoints resolves the host itself.

use std::sync::Arc;

use super::endpoints::{Workloads, of_entry, of_pod};
use super::kubernetes::{annotated_distribution, deduplicated};
use super::{Endpoint, Protocol, Provider, RegistryService, ServicePort, ServiceResolution};
use crate::object::{Location, Object, Resolution, ServiceEntry, ServiceEntryPort, WorkloadEntry};

pub(super) fn services(object: &Arc<Object>, spec: &ServiceEntry, workloads: &Workloads<'_>) -> Vec<RegistryService> {
    let resolution = match spec.resolution {
        Resolution::Static => ServiceResolution::ClientSide,
        Resolution::Dns => ServiceResolution::Dns,
        Resolution::DnsRoundRobin => ServiceResolution::DnsRoundRobin,
        Resolution::None => ServiceResolution::Passthrough,
        Resolution::DynamicDns => return Vec::new(),
    };
    let ports: Vec<ServicePort> = spec
        .ports
        .iter()
        .map(|port| ServicePort {
            name: port.name.clone(),
            number: port.number,
            protocol: Protocol::parse(&port.protocol),
        })
        .filter(|port| port.protocol != Protocol::Udp)
        .collect();
    let addresses =
        spec.addresses.iter().filter(|address| !address.contains('/') && address.parse::<std::net::IpAddr>().is_ok());
    let addresses: Vec<String> = addresses.cloned().collect();
    spec.hosts
        .iter()
        .map(|host| RegistryService {
            hostname: host.to_ascii_lowercase(),
            name: host.clone(),
            namespace: object.id.namespace.clone(),
            provider: Provider::External,
            addresses: addresses.clone(),
            ports: ports.clone(),
            resolution,
            external: spec.location == Location::MeshExternal,
            traffic_distribution: annotated_distribution(object).unwrap_or_default(),
            headless: false,
            export_to: spec.export_to.clone(),
            subject_alt_names: spec.subject_alt_names.clone(),
            endpoints: endpoints(object, spec, host, workloads),
            object: object.clone(),
        })
        .collect()
}

fn endpoints(object: &Object, spec: &ServiceEntry, host: &str, workloads: &Workloads<'_>) -> Vec<Endpoint> {
    let namespace = &object.id.namespace;
    let by_name = matches!(spec.resolution, Resolution::Dns | Resolution::DnsRoundRobin);
    let mut out = Vec::new();
    for port in &spec.ports {
        let at = |found: Endpoint, number: u32| Endpoint { port: number, service_port: port.number, ..found };
        if let Some(selector) = &spec.workload_selector {
            for (entry_object, entry) in workloads.entries(namespace, &selector.labels) {
                let found = of_entry(entry, Some(&entry_object.labels), entry_object.id.name.clone(), namespace);
                out.push(at(found, number(entry, port)));
            }
            for (pod_object, pod) in workloads.pods(namespace, &selector.labels) {
                for ip in &pod.ips {
                    out.push(at(of_pod(ip, Some((pod_object, pod)), None, namespace), target(port)));
                }
            }
        } else if spec.endpoints.is_empty() && by_name {
            let entry = WorkloadEntry { address: host.to_owned(), ..WorkloadEntry::default() };
            out.push(at(of_entry(&entry, None, object.id.name.clone(), namespace), target(port)));
        }
        for (index, entry) in spec.endpoints.iter().enumerate() {
            let workload = format!("{}-{index}", object.id.name);
            let number = if entry.address.starts_with("unix://") { 0 } else { number(entry, port) };
            out.push(at(of_entry(entry, None, workload, namespace), number));
        }
    }
    // Without an address an endpoint is reached through a gateway of its network, which is not known here.
    out.retain(|endpoint| !endpoint.address.is_empty());
    deduplicated(out)
}

fn target(port: &ServiceEntryPort) -> u32 {
    if port.target_port == 0 { port.number } else { port.target_port }
}

fn number(entry: &WorkloadEntry, port: &ServiceEntryPort) -> u32 {
    entry.ports.get(&port.name).copied().unwrap_or_else(|| target(port))
}

//! Workloads that may stand behind services: Pods by name and address, WorkloadEntries by label, EndpointSlices by service.
//!
//! Only an index; turning workloads into endpoints of a service is done by the service's own file.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Endpoint;
use crate::object::{EndpointSlice, Object, Pod, Spec, WorkloadEntry};
use crate::world::World;

/// The label by which an EndpointSlice says whose it is.
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label (and its value) by which a workload says that it expects mutual TLS.
const TLS_MODE: &str = "security.istio.io/tlsMode";
const LOCALITY_LABEL: &str = "istio-locality";
/// Labels of nodes, which Kubernetes copies to pods.
const REGION_LABEL: &str = "topology.kubernetes.io/region";
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// Everything that can be an endpoint.
pub(super) struct Workloads<'a> {
    slices: BTreeMap<&'a str, BTreeMap<&'a str, Vec<&'a EndpointSlice>>>,
    pods: Vec<(&'a Arc<Object>, &'a Pod)>,
    entries: Vec<(&'a Arc<Object>, &'a WorkloadEntry)>,
}

impl<'a> Workloads<'a> {
    pub(super) fn of(world: &'a World) -> Self {
        let mut out = Self { slices: BTreeMap::new(), pods: Vec::new(), entries: Vec::new() };
        for object in world.objects() {
            match &object.spec {
                Spec::EndpointSlice(slice) => {
                    if let Some(service) = object.labels.get(SERVICE_NAME) {
                        out.slices.entry(&object.id.namespace).or_default().entry(service).or_default().push(slice);
                    }
                }
                Spec::Pod(pod) => out.pods.push((object, pod)),
                Spec::WorkloadEntry(entry) => out.entries.push((object, entry)),
                _ => {}
            }
        }
        out
    }

    /// EndpointSlices of a service.
    pub(super) fn slices(&self, namespace: &str, service: &str) -> &[&'a EndpointSlice] {
        self.slices.get(namespace).and_then(|services| services.get(service)).map_or(&[], Vec::as_slice)
    }

    /// The pod of that name, else the one with that address.
    pub(super) fn pod(&self, namespace: &str, name: Option<&str>, address: &str) -> Option<(&'a Arc<Object>, &'a Pod)> {
        let here = || self.pods.iter().filter(|(object, _)| object.id.namespace == namespace).copied();
        let by_name = name.and_then(|name| here().find(|(object, _)| object.id.name == name));
        by_name.or_else(|| here().find(|(_, pod)| pod.ips.iter().any(|ip| ip == address)))
    }

    /// WorkloadEntries of a namespace that have all the labels.
    pub(super) fn entries(
        &self,
        namespace: &str,
        selector: &BTreeMap<String, String>,
    ) -> Vec<(&'a Arc<Object>, &'a WorkloadEntry)> {
        let chosen = |(object, entry): &(&Arc<Object>, &WorkloadEntry)| {
            object.id.namespace == namespace
                && selects(selector, |key| entry.labels.get(key).or_else(|| object.labels.get(key)))
        };
        self.entries.iter().copied().filter(chosen).collect()
    }

    /// Pods of a namespace that have all the labels and an address.
    pub(super) fn pods(&self, namespace: &str, selector: &BTreeMap<String, String>) -> Vec<(&'a Arc<Object>, &'a Pod)> {
        let chosen = |(object, pod): &(&Arc<Object>, &Pod)| {
            object.id.namespace == namespace && !pod.ips.is_empty() && selects(selector, |key| object.labels.get(key))
        };
        self.pods.iter().copied().filter(chosen).collect()
    }
}

fn selects<'b>(selector: &BTreeMap<String, String>, label: impl Fn(&str) -> Option<&'b String>) -> bool {
    selector.iter().all(|(key, value)| label(key) == Some(value))
}

/// An endpoint without service and port, of a WorkloadEntry (also one within a ServiceEntry).
pub(super) fn of_entry(
    entry: &WorkloadEntry,
    more_labels: Option<&BTreeMap<String, String>>,
    workload: String,
    namespace: &str,
) -> Endpoint {
    let mut labels = more_labels.cloned().unwrap_or_default();
    labels.extend(entry.labels.iter().map(|(key, value)| (key.clone(), value.clone())));
    let mesh_tls = match labels.get(TLS_MODE).map(String::as_str) {
        Some(mode) => mode == "istio",
        // An identity without the label counts as capable.
        None => !entry.service_account.is_empty(),
    };
    Endpoint {
        address: entry.address.clone(),
        port: 0,
        service_port: 0,
        labels,
        locality: entry.locality.clone(),
        weight: entry.weight.max(1),
        workload,
        namespace: namespace.to_owned(),
        node: String::new(),
        service_account: entry.service_account.clone(),
        mesh_tls,
    }
}

/// An endpoint without service and port, of an address that may have a pod behind it.
pub(super) fn of_pod(
    address: &str,
    pod: Option<(&Arc<Object>, &Pod)>,
    zone: Option<&str>,
    namespace: &str,
) -> Endpoint {
    let labels = pod.map(|(object, _)| object.labels.clone()).unwrap_or_default();
    let locality = match labels.get(LOCALITY_LABEL) {
        // Slashes cannot stand in a label: dots do.
        Some(text) if text.contains('/') => text.clone(),
        Some(text) => text.replace('.', "/"),
        None => {
            let label = |key: &str| labels.get(key).map_or("", String::as_str);
            match (label(REGION_LABEL), zone.unwrap_or_else(|| label(ZONE_LABEL))) {
                ("", "") => String::new(),
                (region, "") => region.to_owned(),
                (region, zone) => format!("{region}/{zone}"),
            }
        }
    };
    Endpoint {
        address: address.to_owned(),
        port: 0,
        service_port: 0,
        mesh_tls: labels.get(TLS_MODE).is_some_and(|mode| mode == "istio"),
        labels,
        locality,
        weight: 1,
        workload: pod.map(|(object, _)| object.id.name.clone()).unwrap_or_default(),
        namespace: namespace.to_owned(),
        node: String::new(),
        service_account: pod.map(|(_, pod)| pod.service_account.clone()).unwrap_or_default(),
    }
}

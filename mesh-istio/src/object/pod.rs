//! Core `v1` Pod: only what gives an endpoint its identity.
//!
//! Pods need not be in the folder. When they are, endpoints of EndpointSlices take labels, service account and workload name
//! from the pod that their `targetRef` names, or from the pod that has their address.

use std::collections::BTreeMap;

use super::node::{Node, Value};

/// A Kubernetes pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Addresses from its status; empty when the manifest has no status.
    pub ips: Vec<String>,
    /// Service account.
    pub service_account: String,
    /// Numbers of its named ports.
    pub named_ports: BTreeMap<String, u32>,
}

impl Pod {
    /// Reads a whole pod document. Parts that we do not use are not looked at.
    pub(super) fn read(node: &Node) -> Self {
        let mut pod = Self::default();
        if let Some(status) = node.field("status") {
            let one = status.field("podIP").and_then(Node::as_str);
            let all = status.field("podIPs").map(items).unwrap_or_default();
            for ip in one.into_iter().chain(all.iter().filter_map(|ip| ip.field("ip").and_then(Node::as_str))) {
                if !pod.ips.iter().any(|known| known == ip) {
                    pod.ips.push(ip.to_owned());
                }
            }
        }
        if let Some(spec) = node.field("spec") {
            pod.service_account =
                spec.field("serviceAccountName").and_then(Node::as_str).unwrap_or_default().to_owned();
            for container in spec.field("containers").map(items).unwrap_or_default() {
                for port in container.field("ports").map(items).unwrap_or_default() {
                    let number = match port.field("containerPort").map(|number| &number.value) {
                        Some(Value::Int(number)) => u32::try_from(*number).ok(),
                        _ => None,
                    };
                    if let (Some(name), Some(number)) = (port.field("name").and_then(Node::as_str), number) {
                        pod.named_ports.insert(name.to_owned(), number);
                    }
                }
            }
        }
        pod
    }
}

fn items(node: &Node) -> &[Node] {
    match &node.value {
        Value::List(items) => items,
        _ => &[],
    }
}

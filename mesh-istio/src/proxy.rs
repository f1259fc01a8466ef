//! Whose configuration is asked for: the facts about one workload that decide what it sees.
//!
//! The same facts travel to a real istiod as the node of a discovery request. Only facts live here.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// One workload, as istiod knows a sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyContext {
    /// Namespace of the workload: decides short host names, `exportTo` and which policies are "own".
    pub namespace: String,
    /// Labels of the workload: decide selectors and `sourceLabels`.
    pub labels: BTreeMap<String, String>,
    /// Addresses of the workload. Endpoints with one of them are its own, and get inbound configuration.
    pub ips: Vec<IpAddr>,
    /// Name of the cluster (`CLUSTER_ID`), part of endpoint metadata. Default `Kubernetes`.
    pub cluster_id: String,
}

impl ProxyContext {
    /// A workload of `namespace` without labels and addresses.
    #[must_use]
    pub fn new(namespace: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            labels: BTreeMap::new(),
            ips: Vec::new(),
            cluster_id: "Kubernetes".to_owned(),
        }
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Adds an address.
    #[must_use]
    pub fn ip(mut self, ip: IpAddr) -> Self {
        self.ips.push(ip);
        self
    }
}

//! Whose configuration is asked for: the facts about one workload that decide what it sees.
//!
//! The same facts travel to a real istiod as the node of a discovery request. Only facts live here.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// One workload, as istiod knows a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyContext {
    /// What it does in the mesh. Default [`ProxyRole::Sidecar`].
    pub role: ProxyRole,
    /// Namespace of the workload: decides short host names, `exportTo` and which policies are "own".
    pub namespace: String,
    /// Labels of the workload: decide selectors and `sourceLabels`.
    pub labels: BTreeMap<String, String>,
    /// Addresses of the workload. Endpoints with one of them are its own, and get inbound configuration.
    pub ips: Vec<IpAddr>,
    /// Name of the cluster (`CLUSTER_ID`), part of endpoint metadata. Default `Kubernetes`.
    pub cluster_id: String,
    /// Where it runs: `region/zone/subzone`, any of it empty. Decides which endpoints are near. Default: unknown.
    pub locality: String,
}

/// What a proxy does in the mesh: the first word of its node id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyRole {
    /// Stands beside (or within) one workload.
    #[default]
    Sidecar,
    /// Stands at the edge: Gateways that select it are its listeners.
    Router,
}

impl ProxyContext {
    /// A workload of `namespace` without labels and addresses.
    #[must_use]
    pub fn new(namespace: impl Into<String>) -> Self {
        Self {
            role: ProxyRole::Sidecar,
            namespace: namespace.into(),
            labels: BTreeMap::new(),
            ips: Vec::new(),
            cluster_id: "Kubernetes".to_owned(),
            locality: String::new(),
        }
    }

    /// The workload that a node id such as `sidecar~10.0.0.1~reviews-1.shop~shop.svc.cluster.local` stands for: its role, address and
    /// namespace.
    ///
    /// # Errors
    /// [`BadNodeId`] when it does not have that form.
    pub fn of_node(id: &str) -> Result<Self, BadNodeId> {
        let [role, ip, name, domain] = id.split('~').collect::<Vec<_>>()[..] else {
            return Err(BadNodeId("four parts are required: role~ip~name.namespace~domain"));
        };
        let role = match role {
            "sidecar" => ProxyRole::Sidecar,
            "router" => ProxyRole::Router,
            _ => return Err(BadNodeId("the role is neither sidecar nor router")),
        };
        let ip = ip.parse().map_err(|_| BadNodeId("the second part is no IP address"))?;
        // Names of pods have no dots; those of other workloads may.
        let namespace = name.rsplit_once('.').map(|(_, namespace)| namespace).or_else(|| domain.split('.').next());
        let namespace =
            namespace.filter(|namespace| !namespace.is_empty()).ok_or(BadNodeId("there is no namespace"))?;
        Ok(Self { role, ..Self::new(namespace) }.ip(ip))
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

    /// Says where it runs: `region/zone/subzone`.
    #[must_use]
    pub fn locality(mut self, locality: impl Into<String>) -> Self {
        self.locality = locality.into();
        self
    }
}

/// A text that is no node id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadNodeId(&'static str);

impl fmt::Display for BadNodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no node id: {}", self.0)
    }
}

impl std::error::Error for BadNodeId {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;

    #[test]
    fn a_node_id_tells_role_address_and_namespace() {
        let proxy = ProxyContext::of_node("sidecar~10.0.0.1~reviews-1.shop~shop.svc.cluster.local").unwrap();
        assert_eq!(proxy, ProxyContext::new("shop").ip("10.0.0.1".parse().unwrap()));
        let proxy = ProxyContext::of_node("router~::1~gw~edge.svc.cluster.local").unwrap();
        assert_eq!((proxy.role, proxy.namespace.as_str()), (ProxyRole::Router, "edge"));
        for bad in ["", "sidecar~10.0.0.1~a.b", "waypoint~10.0.0.1~a.b~c", "sidecar~ten~a.b~c", "sidecar~10.0.0.1~a~"] {
            assert!(ProxyContext::of_node(bad).is_err(), "{bad}");
        }
    }
}

//! Endpoints of a cluster: grouped by locality, in the order of the localities' names.
//!
//! Priorities by locality have no effect yet: all groups have the first.

use std::collections::BTreeMap;

use mesh_proto::envoy::config::core::v3::{Locality, Metadata};
use mesh_proto::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint as EnvoyEndpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};

use super::scope::Scope;
use super::values::{address, object, text, u32_value};
use crate::registry::{Endpoint, RegistryService};
use crate::select::labels_match;

/// The assignment of one cluster: endpoints of a port that have all labels of the subset.
pub(super) fn assignment(
    scope: &Scope<'_>,
    name: &str,
    service: &RegistryService,
    port: u32,
    subset: Option<&BTreeMap<String, String>>,
) -> ClusterLoadAssignment {
    let mut localities: BTreeMap<&str, Vec<LbEndpoint>> = BTreeMap::new();
    for endpoint in &service.endpoints {
        if endpoint.service_port == port && subset.is_none_or(|labels| labels_match(labels, &endpoint.labels)) {
            localities.entry(&endpoint.locality).or_default().push(lower(scope, endpoint));
        }
    }
    ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: localities.into_iter().map(|(name, endpoints)| group(name, endpoints)).collect(),
        ..ClusterLoadAssignment::default()
    }
}

fn group(locality: &str, lb_endpoints: Vec<LbEndpoint>) -> LocalityLbEndpoints {
    let mut parts = locality.splitn(3, '/').map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    let locality = Locality { region: part(), zone: part(), sub_zone: part() };
    let weight = lb_endpoints
        .iter()
        .filter_map(|endpoint| endpoint.load_balancing_weight.as_ref())
        .fold(0u32, |sum, weight| sum.saturating_add(weight.value));
    LocalityLbEndpoints {
        locality: Some(locality),
        lb_endpoints,
        load_balancing_weight: u32_value(weight),
        ..LocalityLbEndpoints::default()
    }
}

fn lower(scope: &Scope<'_>, endpoint: &Endpoint) -> LbEndpoint {
    let workload = format!(
        "{};{};{};{};{}",
        endpoint.workload,
        endpoint.namespace,
        endpoint.canonical_name(),
        endpoint.canonical_revision(),
        scope.proxy.cluster_id
    );
    let mut metadata = Metadata::default();
    metadata.filter_metadata.insert("istio".to_owned(), object([("workload", text(workload))]));
    if endpoint.mesh_tls {
        metadata
            .filter_metadata
            .insert("envoy.transport_socket_match".to_owned(), object([("tlsMode", text("istio"))]));
    }
    LbEndpoint {
        metadata: Some(metadata),
        load_balancing_weight: u32_value(endpoint.weight),
        host_identifier: Some(HostIdentifier::Endpoint(EnvoyEndpoint {
            address: Some(address(&endpoint.address, endpoint.port)),
            ..EnvoyEndpoint::default()
        })),
        ..LbEndpoint::default()
    }
}

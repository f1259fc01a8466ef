//! Endpoints of a cluster: grouped by locality, in the order of the localities' names.
//!
//! Which groups come first is decided in `select`.

use std::collections::BTreeMap;

use mesh_proto::envoy::config::core::v3::{Locality, Metadata};
use mesh_proto::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint as EnvoyEndpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};

use super::scope::Scope;
use super::values::{address, object, text, u32_value};
use crate::registry::{Endpoint, RegistryService};
use crate::select::{Caller, LocalityGroup, LocalityPreference, labels_match};

/// The assignment of one cluster: endpoints of a port that have all labels of the subset.
pub(super) fn assignment(
    scope: &Scope<'_>,
    name: &str,
    service: &RegistryService,
    port: u32,
    subset: Option<&BTreeMap<String, String>>,
    preference: &LocalityPreference<'_>,
    caller: &Caller<'_>,
) -> ClusterLoadAssignment {
    let chosen = service.endpoints.iter().filter(|endpoint| {
        endpoint.service_port == port && subset.is_none_or(|labels| labels_match(labels, &endpoint.labels))
    });
    ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: preference.groups(chosen, caller).iter().map(|one| group(scope, one)).collect(),
        ..ClusterLoadAssignment::default()
    }
}

fn group(scope: &Scope<'_>, group: &LocalityGroup<'_>) -> LocalityLbEndpoints {
    let mut parts = group.locality.splitn(3, '/').map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    let locality = Locality { region: part(), zone: part(), sub_zone: part() };
    LocalityLbEndpoints {
        locality: Some(locality),
        lb_endpoints: group.endpoints.iter().map(|endpoint| lower(scope, endpoint)).collect(),
        load_balancing_weight: u32_value(group.weight),
        priority: group.priority,
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

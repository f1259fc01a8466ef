//! From objects to Envoy v3 messages, in the shape that istiod gives a sidecar with redirected traffic, or a gateway.
//!
//! One file for each thing istiod writes; who is affected was decided in `select`. Names, defaults and field choices are istiod's (compared
//! with recorded output in the tests); what is not lowered yet is reported by `validate`, never dropped in silence.

mod circuit_breakers;
mod cluster;
mod cors;
mod domains;
mod endpoint;
mod fault;
mod filters;
mod gateway;
mod hash;
mod headers;
mod inbound;
mod listener;
mod load_balancer;
mod names;
mod outlier;
mod protocol_options;
mod quota;
mod retry;
mod route;
mod route_action;
mod route_configuration;
mod route_match;
mod scope;
mod tls;
mod values;

use mesh_proto::envoy::config::cluster::v3::Cluster;
use mesh_proto::envoy::config::endpoint::v3::ClusterLoadAssignment;
use mesh_proto::envoy::config::listener::v3::Listener;
use mesh_proto::envoy::config::route::v3::RouteConfiguration;

use crate::check::check;
use crate::finding::Finding;
use crate::mesh_config::MeshConfig;
use crate::proxy::ProxyContext;
use crate::registry::Registry;
use crate::select::gateway::{gateway_ports, is_gateway};
use crate::world::World;

pub(crate) use fault::grpc_status;
pub(crate) use route_action::base64;

/// All resources of one proxy, each list in a fixed order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lowered {
    /// LDS: outbound listeners by name, then `virtualOutbound` and `virtualInbound`; of a gateway, its ports.
    pub listeners: Vec<Listener>,
    /// RDS: by name, numbers in order.
    pub routes: Vec<RouteConfiguration>,
    /// CDS: services in age order, then the fixed clusters and the inbound ones.
    pub clusters: Vec<Cluster>,
    /// EDS: in the order of the clusters.
    pub endpoints: Vec<ClusterLoadAssignment>,
    /// What needs more than one object to be seen: the same as [`check`](crate::check).
    pub findings: Vec<Finding>,
}

/// Lowers a world for one proxy. Pure and total: the same input gives the same output, and whatever a user wrote gives something.
///
/// Maps within messages have no order: compare messages, not their bytes, or encode with `mesh_proto::canonical`.
#[must_use]
pub fn lower(world: &World, proxy: &ProxyContext, mesh: &MeshConfig) -> Lowered {
    let registry = Registry::build(world, mesh);
    let scope = scope::Scope::new(world, &registry, proxy, mesh);
    let mut clusters = Vec::new();
    let mut endpoints = Vec::new();
    cluster::outbound(&scope, &mut clusters, &mut endpoints);
    clusters.push(cluster::black_hole(&scope));
    let findings = check(world, mesh);
    if is_gateway(world, proxy) {
        let ports = gateway_ports(world, &registry, proxy);
        let (listeners, routes) = gateway::build(&scope, &ports);
        return Lowered { listeners, routes, clusters, endpoints, findings };
    }
    clusters.push(cluster::passthrough(&scope));
    let served = inbound::served(&scope);
    clusters.extend(inbound::clusters(&scope, &served));
    clusters.push(inbound::passthrough_cluster(&scope));
    let (mut listeners, routes) = listener::outbound(&scope);
    listeners.push(listener::virtual_outbound(&scope));
    listeners.push(inbound::virtual_inbound(&scope, &served));
    let routes = routes.iter().map(|name| route_configuration::build(&scope, name)).collect();
    Lowered { listeners, routes, clusters, endpoints, findings }
}

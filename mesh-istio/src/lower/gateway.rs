//! What a gateway listens on: a listener for each port, and its route configuration with the VirtualServices bound to the Gateways there.
//!
//! Follows istiod's `buildGatewayListeners` and `buildGatewayHTTPRouteConfig`. Servers for TLS are not lowered: without certificates there is
//! nothing to show, and nothing listens where TLS was asked for. Whoever serves a gateway finds the port in the listener's name and address.

use std::collections::BTreeMap;

use mesh_proto::envoy::config::core::v3::TrafficDirection;
use mesh_proto::envoy::config::listener::v3::{FilterChain, Listener};
use mesh_proto::envoy::config::route::v3::virtual_host::TlsRequirementType;
use mesh_proto::envoy::config::route::v3::{Route, RouteConfiguration, VirtualHost};
use mesh_proto::envoy::extensions::filters::network::http_connection_manager::v3::{
    Rds, http_connection_manager::RouteSpecifier,
};

use super::route::{self, Place};
use super::route_configuration::MAX_DIRECT_RESPONSE;
use super::scope::Scope;
use super::values::{address, ads, bool_value, u32_value};
use super::{filters, names, route_match};
use crate::select::gateway::{GatewayPort, common};
use crate::select::virtual_services;

const ANY: &str = "0.0.0.0";

/// Listeners and route configurations, by port.
pub(super) fn build(scope: &Scope<'_>, ports: &[GatewayPort<'_>]) -> (Vec<Listener>, Vec<RouteConfiguration>) {
    ports.iter().map(|port| (listener(port), routes(scope, port))).unzip()
}

fn route_name(port: &GatewayPort<'_>) -> String {
    if port.bind.is_empty() { format!("http.{}", port.port) } else { format!("http.{}.{}", port.port, port.bind) }
}

fn listener(port: &GatewayPort<'_>) -> Listener {
    let bind = if port.bind.is_empty() { ANY } else { port.bind };
    let name = names::listener(bind, port.port);
    let rds = Rds { config_source: Some(ads()), route_config_name: route_name(port) };
    let chain = FilterChain {
        filters: vec![filters::gateway_http(format!("outbound_{name};"), RouteSpecifier::Rds(rds))],
        ..FilterChain::default()
    };
    Listener {
        name,
        address: Some(address(bind, port.port)),
        filter_chains: vec![chain],
        traffic_direction: TrafficDirection::Outbound.into(),
        max_connections_to_accept_per_socket_event: u32_value(1),
        ..Listener::default()
    }
}

fn routes(scope: &Scope<'_>, port: &GatewayPort<'_>) -> RouteConfiguration {
    let mut hosts: BTreeMap<String, VirtualHost> = BTreeMap::new();
    let host = |hosts: &mut BTreeMap<String, VirtualHost>, name: &str, routes: &[Route]| {
        let host = hosts.entry(name.to_owned()).or_insert_with(|| VirtualHost {
            name: format!("{name}:{}", port.number),
            domains: vec![name.to_owned()],
            include_request_attempt_count: true,
            ..VirtualHost::default()
        });
        host.routes.extend_from_slice(routes);
    };
    for served in &port.servers {
        let redirects = served.server.tls.as_ref().is_some_and(|tls| tls.https_redirect);
        for bound in virtual_services(scope.world, scope.mesh, &scope.proxy.namespace, &served.gateway) {
            let own = bound.object.id.namespace.as_str();
            let mut shared: Vec<&str> = Vec::new();
            for of_server in served.hosts_for(own) {
                for name in bound.hosts.iter().filter_map(|name| common(of_server, name)) {
                    if !shared.contains(&name) {
                        shared.push(name);
                    }
                }
            }
            if shared.is_empty() {
                continue;
            }
            let place = Place { scope, object: bound.object, port: port.number, gateway: &served.gateway };
            let routes = route::of_virtual_service(&place, &bound.http);
            if routes.is_empty() {
                continue;
            }
            for name in shared {
                host(&mut hosts, name, &routes);
                if redirects && let Some(host) = hosts.get_mut(name) {
                    host.set_require_tls(TlsRequirementType::All);
                }
            }
        }
        if redirects {
            // Also hosts without routes are sent to `https`.
            for name in served.hosts() {
                host(&mut hosts, name, &[]);
                if let Some(host) = hosts.get_mut(name) {
                    host.set_require_tls(TlsRequirementType::All);
                }
            }
        }
    }
    let mut virtual_hosts: Vec<VirtualHost> = hosts.into_values().collect();
    for host in &mut virtual_hosts {
        // Of several VirtualServices with one host, no catch-all takes what a later one asks for by a condition.
        host.routes.sort_by_key(|route| route.r#match.as_ref().is_some_and(route_match::is_catch_all));
    }
    if virtual_hosts.is_empty() {
        // Without any route every request is answered 404.
        virtual_hosts.push(VirtualHost {
            name: format!("blackhole:{}", port.number),
            domains: vec!["*".to_owned()],
            ..VirtualHost::default()
        });
    }
    virtual_hosts.sort_by(|a, b| a.name.cmp(&b.name));
    RouteConfiguration {
        name: route_name(port),
        virtual_hosts,
        validate_clusters: bool_value(false),
        max_direct_response_body_size_bytes: u32_value(MAX_DIRECT_RESPONSE),
        ignore_port_in_host_matching: true,
        ..RouteConfiguration::default()
    }
}

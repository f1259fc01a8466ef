//! Outbound listeners: one for each port that is spoken HTTP, one for each address or server name of the rest, and the one that catches
//! everything.
//!
//! Nothing is ever bound: a data plane finds the listener by the port that was called. Follows istiod's sidecar listeners with redirected traffic.

use std::collections::{BTreeMap, BTreeSet};

use mesh_proto::any::pack;
use mesh_proto::envoy::config::core::v3::TrafficDirection;
use mesh_proto::envoy::config::listener::v3::{FilterChain, FilterChainMatch, Listener, ListenerFilter};
use mesh_proto::envoy::extensions::filters::listener::{
    http_inspector::v3::HttpInspector, tls_inspector::v3::TlsInspector,
};
use mesh_proto::envoy::extensions::filters::network::http_connection_manager::v3::{
    Rds, http_connection_manager::RouteSpecifier,
};

use super::filters;
use super::names;
use super::route_configuration::RouteName;
use super::scope::Scope;
use super::values::{address, ads, bool_value, seconds, u32_value};
use crate::registry::{Protocol, RegistryService};

const ANY: &str = "0.0.0.0";
const VIRTUAL_OUTBOUND_PORT: u32 = 15001;

type Plans = BTreeMap<(String, u32), Plan>;

/// What one address and port carries.
#[derive(Default)]
struct Plan {
    /// Route configuration, when HTTP is spoken.
    http: Option<RouteName>,
    /// Protocol has to be found out.
    inspect: bool,
    /// Server names to clusters.
    tls: BTreeMap<String, String>,
    /// Cluster of everything else.
    tcp: Option<String>,
}

/// The listeners and the names of the route configurations that they refer to.
pub(super) fn outbound(scope: &Scope<'_>) -> (Vec<Listener>, Vec<RouteName>) {
    let mut plans = Plans::new();
    for egress in &scope.outbound.egress {
        match egress.listener.and_then(|listener| Some((listener, listener.port.as_ref()?))) {
            Some((listener, port)) => {
                let protocol = Protocol::parse(&port.protocol);
                // Sockets of the file system and proxies are nothing that a call can be found by.
                if listener.bind.starts_with("unix://") || protocol == Protocol::HttpProxy {
                    continue;
                }
                let bind = Some(listener.bind.as_str()).filter(|bind| !bind.is_empty());
                for seen in &egress.services {
                    add(&mut plans, seen.service, port.number, protocol, bind);
                }
            }
            None => {
                // What has a listener of its own is not called through this one.
                let taken: BTreeSet<(String, u32)> = plans.keys().cloned().collect();
                for seen in &egress.services {
                    for port in seen.ports() {
                        let bind = bind_address(seen.service, port.protocol);
                        if !taken.contains(&(bind.to_owned(), port.number)) {
                            add(&mut plans, seen.service, port.number, port.protocol, None);
                        }
                    }
                }
            }
        }
    }
    let routes: BTreeSet<RouteName> = plans.values().filter_map(|plan| plan.http.clone()).collect();
    let listeners = plans.iter().map(|((address, port), plan)| build(scope, address, *port, plan)).collect();
    (listeners, routes.into_iter().collect())
}

/// What is called at an address of its own, and what shares the address of all.
fn bind_address(service: &RegistryService, protocol: Protocol) -> &str {
    let shared = protocol.is_http() || protocol.is_tls();
    if shared { ANY } else { service.addresses.first().map_or(ANY, String::as_str) }
}

/// Adds a port of a service, called at `bind` or where it is called by itself.
fn add(plans: &mut Plans, service: &RegistryService, port: u32, protocol: Protocol, bind: Option<&str>) {
    let vip = bind.unwrap_or_else(|| service.addresses.first().map_or(ANY, String::as_str));
    let cluster = names::outbound_cluster(port, "", &service.hostname);
    let bind = bind.unwrap_or_else(|| bind_address(service, protocol));
    let plan = plans.entry((bind.to_owned(), port)).or_default();
    match protocol {
        protocol if protocol.is_http() => plan.http = Some(RouteName::Port(port)),
        protocol if protocol.is_tls() => {
            // The server name tells services apart; addresses need not.
            plan.tls.entry(service.hostname.clone()).or_insert(cluster);
        }
        Protocol::Auto => {
            plan.inspect = true;
            if vip == ANY {
                plan.http.get_or_insert(RouteName::Port(port));
            } else {
                plan.http = Some(RouteName::Sniffed { hostname: service.hostname.clone(), port });
                plan.tcp = Some(cluster);
            }
        }
        _ => {
            plan.tcp.get_or_insert(cluster);
        }
    }
}

fn build(scope: &Scope<'_>, bind: &str, port: u32, plan: &Plan) -> Listener {
    let wildcard = bind == ANY;
    let mut chains = Vec::new();
    for (server_name, cluster) in &plan.tls {
        chains.push(FilterChain {
            filter_chain_match: Some(FilterChainMatch {
                server_names: vec![server_name.clone()],
                ..FilterChainMatch::default()
            }),
            ..chain(vec![filters::tcp(cluster, cluster)])
        });
    }
    if let Some(route) = &plan.http {
        let rds = Rds { config_source: Some(ads()), route_config_name: route.to_string() };
        let stat_prefix = format!("outbound_{};", names::listener(bind, port));
        let mut http = chain(vec![filters::outbound_http(stat_prefix, RouteSpecifier::Rds(rds))]);
        http.filter_chain_match = Some(FilterChainMatch {
            transport_protocol: "raw_buffer".to_owned(),
            application_protocols: vec!["http/1.1".to_owned(), "h2c".to_owned()],
            ..FilterChainMatch::default()
        });
        chains.push(http);
    }
    if let Some(cluster) = &plan.tcp {
        chains.push(chain(vec![filters::tcp(cluster, cluster)]));
    }
    let mut inspectors: Vec<ListenerFilter> = Vec::new();
    if !plan.tls.is_empty() || plan.inspect {
        inspectors.push(tls_inspector());
    }
    if plan.http.is_some() {
        inspectors.push(filters::listener("envoy.filters.listener.http_inspector", pack(&HttpInspector::default())));
    }
    Listener {
        name: names::listener(bind, port),
        address: Some(address(bind, port)),
        filter_chains: chains,
        // An address of its own belongs to one service; on the shared one there may be others.
        default_filter_chain: (wildcard && plan.tcp.is_none()).then(|| FilterChain {
            filter_chain_match: Some(FilterChainMatch::default()),
            filters: vec![unknown_traffic(scope)],
            name: "PassthroughFilterChain".to_owned(),
            ..FilterChain::default()
        }),
        listener_filters: inspectors,
        bind_to_port: bool_value(false),
        ..base(TrafficDirection::Outbound)
    }
}

pub(super) fn tls_inspector() -> ListenerFilter {
    let inspector = TlsInspector { initial_read_buffer_size: u32_value(512), ..TlsInspector::default() };
    filters::listener("envoy.filters.listener.tls_inspector", pack(&inspector))
}

fn chain(filters: Vec<mesh_proto::envoy::config::listener::v3::Filter>) -> FilterChain {
    FilterChain { filters, transport_socket_connect_timeout: seconds(15), ..FilterChain::default() }
}

pub(super) fn base(direction: TrafficDirection) -> Listener {
    Listener {
        listener_filters_timeout: seconds(0),
        continue_on_listener_filters_timeout: true,
        traffic_direction: direction.into(),
        ..Listener::default()
    }
}

fn unknown_traffic(scope: &Scope<'_>) -> mesh_proto::envoy::config::listener::v3::Filter {
    let cluster = scope.undeclared().unwrap_or_else(|| names::BLACK_HOLE.to_owned());
    filters::tcp(&cluster, &cluster)
}

/// The listener that every redirected connection reaches first.
pub(super) fn virtual_outbound(scope: &Scope<'_>) -> Listener {
    Listener {
        name: "virtualOutbound".to_owned(),
        address: Some(address(ANY, VIRTUAL_OUTBOUND_PORT)),
        filter_chains: vec![
            // A connection to the port itself would go round in circles.
            FilterChain {
                name: "virtualOutbound-blackhole".to_owned(),
                filter_chain_match: Some(FilterChainMatch {
                    destination_port: u32_value(VIRTUAL_OUTBOUND_PORT),
                    ..FilterChainMatch::default()
                }),
                filters: vec![filters::tcp(names::BLACK_HOLE, names::BLACK_HOLE)],
                ..FilterChain::default()
            },
            FilterChain {
                name: "virtualOutbound-catchall-tcp".to_owned(),
                filters: vec![unknown_traffic(scope)],
                ..FilterChain::default()
            },
        ],
        use_original_dst: bool_value(true),
        traffic_direction: TrafficDirection::Outbound.into(),
        max_connections_to_accept_per_socket_event: u32_value(1),
        ..Listener::default()
    }
}

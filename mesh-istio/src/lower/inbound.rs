//! What the proxy serves itself: `virtualInbound` with a chain for each port, its inline routes, and the inbound clusters.
//!
//! A data plane finds the chain by the port it serves. Chains for mutual TLS come with it; until then a port has one chain, for plain text. Limits
//! come from the DestinationRule of the service, as in istiod.

use std::collections::BTreeMap;

use mesh_proto::any::pack;
use mesh_proto::envoy::config::cluster::v3::Cluster;
use mesh_proto::envoy::config::cluster::v3::cluster::{CommonLbConfig, DiscoveryType, LbPolicy};
use mesh_proto::envoy::config::core::v3::{BindConfig, TrafficDirection};
use mesh_proto::envoy::config::listener::v3::listener_filter_chain_match_predicate::Rule;
use mesh_proto::envoy::config::listener::v3::{
    FilterChain, FilterChainMatch, Listener, ListenerFilterChainMatchPredicate,
};
use mesh_proto::envoy::config::route::v3 as route;
use mesh_proto::envoy::config::route::v3::route_action::{ClusterSpecifier, MaxStreamDuration};
use mesh_proto::envoy::extensions::filters::listener::original_dst::v3::OriginalDst;
use mesh_proto::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use mesh_proto::envoy::r#type::v3::Int32Range;
use mesh_proto::google::protobuf;

use super::scope::Scope;
use super::values::{address, bool_value, seconds, socket_address, u32_value};
use super::{cluster, filters, listener, names};
use crate::registry::{Protocol, RegistryService, ServicePort};
use crate::select::{EffectivePolicy, effective};

const PORT: u32 = 15006;
/// Source address by which redirection rules know what comes from the proxy itself.
const LOOPBACK_MARK: &str = "127.0.0.6";
/// istiod's way to say "never": the longest duration in Go, whole seconds.
const NEVER_SECONDS: i64 = 9_223_372_035;

/// A port that the proxy serves, by the number it listens on, and the services behind it, oldest first.
pub(super) struct Served<'a> {
    pub(super) port: u32,
    pub(super) services: Vec<(&'a RegistryService, &'a ServicePort)>,
}

/// The ports on which the proxy's own addresses are endpoints.
pub(super) fn served<'a>(scope: &Scope<'a>) -> Vec<Served<'a>> {
    let own: Vec<String> = scope.proxy.ips.iter().map(ToString::to_string).collect();
    let mut ports: BTreeMap<u32, Vec<(&RegistryService, &ServicePort)>> = BTreeMap::new();
    for service in scope.registry.services() {
        for endpoint in service.endpoints.iter().filter(|endpoint| own.contains(&endpoint.address)) {
            let Some(port) = service.port(endpoint.service_port) else {
                continue;
            };
            let behind = ports.entry(endpoint.port).or_default();
            if !behind.iter().any(|(known, _)| std::ptr::eq(*known, service)) {
                behind.push((service, port));
            }
        }
    }
    ports.into_iter().map(|(port, services)| Served { port, services }).collect()
}

pub(super) fn clusters(scope: &Scope<'_>, served: &[Served<'_>]) -> Vec<Cluster> {
    let one = |served: &Served<'_>| {
        let (service, port) = *served.services.first()?;
        let rule = scope.rule(service);
        let mut cluster = cluster::base(scope, &names::inbound_cluster(served.port), DiscoveryType::OriginalDst);
        cluster.set_lb_policy(LbPolicy::ClusterProvided);
        let whole = effective(rule.and_then(|rule| rule.traffic_policy), None, port.number);
        // Only limits make sense towards oneself.
        let policy = EffectivePolicy { connection_pool: whole.connection_pool, ..EffectivePolicy::default() };
        cluster::apply_policy(scope, &mut cluster, &policy, port);
        cluster.common_lb_config = Some(CommonLbConfig::default());
        cluster.cleanup_interval = Some(protobuf::Duration { seconds: NEVER_SECONDS, nanos: 0 });
        cluster.upstream_bind_config = Some(loopback());
        let services: Vec<_> = served.services.iter().map(|(service, _)| *service).collect();
        cluster.metadata = Some(cluster::metadata(&services, rule, "", false));
        Some(cluster)
    };
    served.iter().filter_map(one).collect()
}

fn loopback() -> BindConfig {
    BindConfig { source_address: Some(socket_address(LOOPBACK_MARK, 0)), ..BindConfig::default() }
}

/// The cluster of ports that no service declares.
pub(super) fn passthrough_cluster(scope: &Scope<'_>) -> Cluster {
    Cluster {
        name: names::INBOUND_PASSTHROUGH.to_owned(),
        upstream_bind_config: Some(loopback()),
        ..cluster::passthrough(scope)
    }
}

pub(super) fn virtual_inbound(served: &[Served<'_>]) -> Listener {
    let mut chains = vec![
        FilterChain {
            name: "virtualInbound-blackhole".to_owned(),
            filter_chain_match: Some(FilterChainMatch {
                destination_port: u32_value(PORT),
                ..FilterChainMatch::default()
            }),
            filters: vec![filters::tcp(names::BLACK_HOLE, names::BLACK_HOLE)],
            ..FilterChain::default()
        },
        FilterChain {
            name: "virtualInbound-catchall-http".to_owned(),
            filter_chain_match: Some(FilterChainMatch {
                transport_protocol: "raw_buffer".to_owned(),
                application_protocols: vec!["http/1.1".to_owned(), "h2c".to_owned()],
                ..FilterChainMatch::default()
            }),
            filters: vec![http(names::INBOUND_PASSTHROUGH, names::INBOUND_PASSTHROUGH, 0, "", Protocol::Http)],
            ..FilterChain::default()
        },
        FilterChain {
            name: "virtualInbound".to_owned(),
            filter_chain_match: Some(FilterChainMatch {
                transport_protocol: "raw_buffer".to_owned(),
                ..FilterChainMatch::default()
            }),
            filters: vec![filters::tcp(names::INBOUND_PASSTHROUGH, names::INBOUND_PASSTHROUGH)],
            ..FilterChain::default()
        },
    ];
    for served in served {
        let Some((service, port)) = served.services.first() else {
            continue;
        };
        let name = names::listener("0.0.0.0", served.port);
        let cluster = names::inbound_cluster(served.port);
        let filter = if port.protocol.is_http_or_auto() {
            http(&cluster, &format!("inbound_{name}"), port.number, &service.hostname, port.protocol)
        } else {
            filters::tcp(&cluster, &cluster)
        };
        chains.push(FilterChain {
            filter_chain_match: Some(FilterChainMatch {
                destination_port: u32_value(served.port),
                transport_protocol: "raw_buffer".to_owned(),
                ..FilterChainMatch::default()
            }),
            filters: vec![filter],
            name,
            ..FilterChain::default()
        });
    }
    let mut tls_inspector = listener::tls_inspector();
    tls_inspector.filter_disabled = Some(ListenerFilterChainMatchPredicate {
        rule: Some(Rule::DestinationPortRange(Int32Range { start: 15006, end: 15007 })),
    });
    Listener {
        name: "virtualInbound".to_owned(),
        address: Some(address("0.0.0.0", PORT)),
        filter_chains: chains,
        listener_filters: vec![
            filters::listener("envoy.filters.listener.original_dst", pack(&OriginalDst::default())),
            tls_inspector,
        ],
        max_connections_to_accept_per_socket_event: u32_value(1),
        ..listener::base(TrafficDirection::Inbound)
    }
}

/// The connection manager of a port, with its one route inline.
fn http(
    cluster: &str,
    stat_prefix: &str,
    port: u32,
    hostname: &str,
    protocol: Protocol,
) -> mesh_proto::envoy::config::listener::v3::Filter {
    // gRPC retries in its client; a second layer would multiply them.
    let grpc = matches!(protocol, Protocol::Grpc | Protocol::GrpcWeb);
    let retry_policy = (!grpc).then(|| route::RetryPolicy {
        retry_on: "reset-before-request".to_owned(),
        num_retries: u32_value(2),
        ..route::RetryPolicy::default()
    });
    let action = route::RouteAction {
        timeout: seconds(0),
        retry_policy,
        max_stream_duration: Some(MaxStreamDuration {
            max_stream_duration: seconds(0),
            grpc_timeout_header_max: seconds(0),
            ..MaxStreamDuration::default()
        }),
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
        ..route::RouteAction::default()
    };
    let only = route::Route {
        name: "default".to_owned(),
        r#match: Some(super::route_match::everything()),
        decorator: Some(route::Decorator { operation: format!("{hostname}:{port}/*"), ..route::Decorator::default() }),
        action: Some(route::route::Action::Route(action)),
        ..route::Route::default()
    };
    let configuration = route::RouteConfiguration {
        name: cluster.to_owned(),
        virtual_hosts: vec![route::VirtualHost {
            name: format!("inbound|http|{port}"),
            domains: vec!["*".to_owned()],
            routes: vec![only],
            ..route::VirtualHost::default()
        }],
        validate_clusters: bool_value(false),
        ..route::RouteConfiguration::default()
    };
    filters::inbound_http(format!("{stat_prefix};"), RouteSpecifier::RouteConfig(configuration), protocol.is_http2())
}

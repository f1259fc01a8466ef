//! What the proxy serves itself: `virtualInbound` with a chain for each port, its inline routes, and the inbound clusters.
//!
//! A data plane finds the chain by the port it serves. Where a PeerAuthentication is written, a port has chains for mutual TLS, which no connection
//! can take yet, and for plain text only as far as that is allowed. Limits come from the DestinationRule of the service, as in istiod.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use mesh_proto::any::pack;
use mesh_proto::envoy::config::cluster::v3::Cluster;
use mesh_proto::envoy::config::cluster::v3::cluster::{CommonLbConfig, DiscoveryType, LbPolicy};
use mesh_proto::envoy::config::core::v3::{Address, BindConfig, TrafficDirection};
use mesh_proto::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint as EnvoyEndpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};
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
use mesh_proto::mixer::Quotas;

use super::cluster::ServiceName;
use super::scope::Scope;
use super::values::{address, bool_value, seconds, socket_address, u32_value};
use super::{cluster, filters, listener, names, quota, tls};
use crate::mixer::Joined;
use crate::object::{ConnectionPoolSettings, IstioIngressListener, MutualTlsMode, Object, Sidecar};
use crate::registry::{Protocol, RegistryService, ServicePort};
use crate::select::{EffectivePolicy, MergedRule, PeerPolicies, effective};

const PORT: u32 = 15006;
/// Source address by which redirection rules know what comes from the proxy itself.
const LOOPBACK_MARK: &str = "127.0.0.6";
/// istiod's way to say "never": the longest duration in Go, whole seconds.
const NEVER_SECONDS: i64 = 9_223_372_035;

/// A port that the proxy serves.
pub(super) struct Served<'a> {
    /// Number it listens on.
    port: u32,
    /// Number that callers use.
    called: u32,
    protocol: Protocol,
    /// Host names, names and namespaces of the services behind it, oldest first; at least one.
    names: Vec<ServiceName>,
    /// The oldest of them, which gives the rule.
    service: Option<&'a RegistryService>,
    /// What a Sidecar says of it.
    ingress: Option<&'a IstioIngressListener>,
}

/// The ports that a Sidecar lists, else those on which the proxy's own addresses are endpoints.
pub(super) fn served<'a>(scope: &Scope<'a>) -> Vec<Served<'a>> {
    match scope.sidecar {
        Some((object, spec)) if !spec.ingress.is_empty() => listed(scope, object, spec),
        _ => own_endpoints(scope),
    }
}

/// The ports of a Sidecar. One that no service has gets a name from the Sidecar.
fn listed<'a>(scope: &Scope<'a>, object: &Object, spec: &'a Sidecar) -> Vec<Served<'a>> {
    let own = own_endpoints(scope);
    let one = |ingress: &'a IstioIngressListener| {
        let port = ingress.port.as_ref()?;
        let behind = own.iter().find(|served| served.port == port.number);
        let (name, namespace) = (object.id.name.clone(), scope.proxy.namespace.clone());
        let named = || vec![ServiceName { host: format!("{name}.{namespace}"), name, namespace }];
        Some(Served {
            port: port.number,
            called: port.number,
            protocol: Protocol::parse(&port.protocol),
            names: behind.map_or_else(named, |served| served.names.iter().take(1).cloned().collect()),
            service: behind.and_then(|served| served.service),
            ingress: Some(ingress),
        })
    };
    spec.ingress.iter().filter_map(one).collect()
}

fn own_endpoints<'a>(scope: &Scope<'a>) -> Vec<Served<'a>> {
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
    let served = |(port, services): (u32, Vec<(&'a RegistryService, &'a ServicePort)>)| {
        let (service, of_service) = *services.first()?;
        Some(Served {
            port,
            called: of_service.number,
            protocol: of_service.protocol,
            names: services.iter().map(|(service, _)| ServiceName::of(service)).collect(),
            service: Some(service),
            ingress: None,
        })
    };
    ports.into_iter().filter_map(served).collect()
}

pub(super) fn clusters(scope: &Scope<'_>, served: &[Served<'_>]) -> Vec<Cluster> {
    let one = |served: &Served<'_>| {
        let rule = served.service.and_then(|service| scope.rule(service));
        let endpoint = served.ingress.and_then(|ingress| endpoint(scope, &ingress.default_endpoint));
        let discovery = if endpoint.is_some() { DiscoveryType::Static } else { DiscoveryType::OriginalDst };
        let name = names::inbound_cluster(served.port);
        let mut cluster = cluster::base(scope, &name, discovery);
        // Only limits make sense towards oneself.
        let policy = EffectivePolicy { connection_pool: pool(scope, served, rule), ..EffectivePolicy::default() };
        cluster::apply_policy(scope, &mut cluster, &policy, served.protocol);
        match endpoint {
            Some(address) => cluster.load_assignment = Some(assignment(name, address)),
            None => {
                cluster.set_lb_policy(LbPolicy::ClusterProvided);
                cluster.common_lb_config = Some(CommonLbConfig::default());
                cluster.cleanup_interval = Some(protobuf::Duration { seconds: NEVER_SECONDS, nanos: 0 });
                cluster.upstream_bind_config = Some(loopback());
            }
        }
        cluster.metadata = Some(cluster::metadata(&served.names, rule, "", false));
        cluster
    };
    served.iter().map(one).collect()
}

/// Limits on what is served: of the port in a Sidecar, else of the Sidecar, else of the service's DestinationRule. None overlays another.
fn pool<'b>(
    scope: &Scope<'b>,
    served: &Served<'b>,
    rule: Option<&'b MergedRule<'_>>,
) -> Option<&'b ConnectionPoolSettings> {
    let of_port = served.ingress.and_then(|ingress| ingress.connection_pool.as_ref());
    let of_sidecar = || scope.sidecar.and_then(|(_, spec)| spec.inbound_connection_pool.as_ref());
    let of_rule = || effective(rule.and_then(|rule| rule.traffic_policy), None, served.called).connection_pool;
    of_port.or_else(of_sidecar).or_else(of_rule)
}

/// Where a Sidecar sends what arrives at a port; `None`: where it was sent to.
fn endpoint(scope: &Scope<'_>, text: &str) -> Option<Address> {
    if text.starts_with("unix://") {
        return Some(address(text, 0));
    }
    let to: SocketAddr = text.parse().ok()?;
    // Every address stands for the workload's own.
    let own = || scope.proxy.ips.iter().find(|ip| ip.is_ipv4() == to.is_ipv4()).or_else(|| scope.proxy.ips.first());
    let ip = if to.ip().is_unspecified() { own().copied().unwrap_or(to.ip()) } else { to.ip() };
    Some(address(&ip.to_string(), u32::from(to.port())))
}

fn assignment(cluster_name: String, address: Address) -> ClusterLoadAssignment {
    let endpoint = EnvoyEndpoint { address: Some(address), ..EnvoyEndpoint::default() };
    let only = LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..LbEndpoint::default() };
    let group = LocalityLbEndpoints { lb_endpoints: vec![only], ..LocalityLbEndpoints::default() };
    ClusterLoadAssignment { cluster_name, endpoints: vec![group], ..ClusterLoadAssignment::default() }
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

/// ALPN by which callers within the mesh say that they speak HTTP, and that they speak anything.
const MESH_HTTP: [&str; 3] = ["istio-http/1.0", "istio-http/1.1", "istio-h2"];
const MESH_ANY: [&str; 2] = ["istio", "istio-peer-exchange"];
const PLAIN_HTTP: [&str; 2] = ["http/1.1", "h2c"];

/// Which transports the chains of a port take.
struct Transports<'a> {
    mode: MutualTlsMode,
    trust_domain: &'a str,
}

impl Transports<'_> {
    /// One chain for each transport, from the one for plain text without a match on the transport. `told_apart`: its match asks for HTTP already.
    fn chains(&self, plain: &FilterChain, http: bool, told_apart: bool) -> Vec<FilterChain> {
        let with = |transport: &str, alpn: Vec<&str>, socket: bool| {
            let mut chain = plain.clone();
            let matches = chain.filter_chain_match.get_or_insert_default();
            transport.clone_into(&mut matches.transport_protocol);
            matches.application_protocols = alpn.into_iter().map(str::to_owned).collect();
            chain.transport_socket = socket.then(|| tls::inbound_socket(self.trust_domain, http));
            chain
        };
        let in_plain_text = || with("raw_buffer", if told_apart { PLAIN_HTTP.to_vec() } else { Vec::new() }, false);
        let mesh = |any: bool| match (told_apart, http) {
            (true, _) => MESH_HTTP.to_vec(),
            // Nothing else speaks TLS where everybody must.
            (false, _) if !any => Vec::new(),
            (false, true) => MESH_ANY.into_iter().chain(MESH_HTTP).collect(),
            (false, false) => MESH_ANY.to_vec(),
        };
        match self.mode {
            MutualTlsMode::Unset | MutualTlsMode::Disable => vec![in_plain_text()],
            MutualTlsMode::Strict => vec![with("tls", mesh(false), true)],
            MutualTlsMode::Permissive => {
                // TLS of the callers' own is bytes, where bytes are served.
                let foreign = (!http).then(|| with("tls", Vec::new(), false));
                [with("tls", mesh(true), true)].into_iter().chain(foreign).chain([in_plain_text()]).collect()
            }
        }
    }
}

pub(super) fn virtual_inbound(scope: &Scope<'_>, served: &[Served<'_>]) -> Listener {
    let joined = Joined::of(scope.world, scope.mesh);
    let policies = PeerPolicies::of(scope.world, scope.mesh, scope.proxy);
    // Where nobody wrote a policy there are no certificates to offer either: plain text.
    let transports = |port: Option<u32>| Transports {
        mode: policies.map_or(MutualTlsMode::Disable, |policies| policies.mode(port)),
        trust_domain: &scope.mesh.trust_domain,
    };
    let mut chains = vec![FilterChain {
        name: "virtualInbound-blackhole".to_owned(),
        filter_chain_match: Some(FilterChainMatch { destination_port: u32_value(PORT), ..FilterChainMatch::default() }),
        filters: vec![filters::tcp(names::BLACK_HOLE, names::BLACK_HOLE)],
        ..FilterChain::default()
    }];
    let catch_all =
        |name: &str, filter| FilterChain { name: name.to_owned(), filters: vec![filter], ..FilterChain::default() };
    let http_filter = http(names::INBOUND_PASSTHROUGH, names::INBOUND_PASSTHROUGH, 0, "", Protocol::Http, None);
    chains.extend(transports(None).chains(&catch_all("virtualInbound-catchall-http", http_filter), true, true));
    let bytes = filters::tcp(names::INBOUND_PASSTHROUGH, names::INBOUND_PASSTHROUGH);
    chains.extend(transports(None).chains(&catch_all("virtualInbound", bytes), false, false));
    for served in served {
        let bind = served.ingress.map(|ingress| ingress.bind.as_str()).filter(|bind| !bind.is_empty());
        let name = names::listener(bind.unwrap_or("0.0.0.0"), served.port);
        let cluster = names::inbound_cluster(served.port);
        let speaks_http = served.protocol.is_http_or_auto();
        let filter = if speaks_http {
            let hostname = served.names.first().map_or("", |name| name.host.as_str());
            let quotas = quota::quotas(scope, &joined, &served.names);
            http(&cluster, &format!("inbound_{name}"), served.called, hostname, served.protocol, quotas.as_ref())
        } else {
            filters::tcp(&cluster, &cluster)
        };
        let plain = FilterChain {
            filter_chain_match: Some(FilterChainMatch {
                destination_port: u32_value(served.port),
                ..FilterChainMatch::default()
            }),
            filters: vec![filter],
            name,
            ..FilterChain::default()
        };
        chains.extend(transports(Some(served.port)).chains(&plain, speaks_http, false));
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
    quotas: Option<&Quotas>,
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
    filters::inbound_http(
        format!("{stat_prefix};"),
        RouteSpecifier::RouteConfig(configuration),
        protocol.is_http2(),
        quotas,
    )
}

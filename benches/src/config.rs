//! The mesh configuration that is measured: what Istio gives a service that has a route, retries and limits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::resource::cluster::{Cluster, Discovery, LbPolicy, LeastRequest, Thresholds, UpstreamProtocol};
use mesh_core::resource::endpoint::{Address, ClusterLoadAssignment, Endpoint, HealthStatus, LocalityEndpoints};
use mesh_core::resource::listener::{
    ChainHandler, Direction, FilterChain, FilterChainMatch, HttpConnectionManager, Listener, ListenerAddress,
    RouteSource,
};
use mesh_core::resource::metadata::Metadata;
use mesh_core::resource::retry::{RetryOn, RetryPolicy};
use mesh_core::resource::route::{Forward, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost};
use mesh_core::snapshot::{Change, Compiler, SnapshotStore, Update};

/// The host and port that requests name.
pub const AUTHORITY: &str = "echo.default.svc.cluster.local:9080";

/// One service with `routes` routes (the last one takes the requests) over `endpoints`.
pub fn store(routes: usize, endpoints: &[SocketAddr], protocol: UpstreamProtocol) -> SnapshotStore {
    let mut compiler = Compiler::new(1);
    let cluster = "outbound|9080||echo.default.svc.cluster.local";
    let update = Update {
        listeners: vec![Change::Set(Arc::new(listener()))],
        routes: vec![Change::Set(Arc::new(route_configuration(routes, cluster)))],
        clusters: vec![Change::Set(Arc::new(cluster_of(cluster, protocol)))],
        endpoints: vec![(cluster.into(), Some(Arc::new(assignment(endpoints))))],
        ..Update::default()
    };
    let (snapshot, refused) = compiler.apply(update);
    assert!(refused.is_empty(), "{refused:?}");
    SnapshotStore::new(snapshot)
}

fn cluster_of(name: &str, protocol: UpstreamProtocol) -> Cluster {
    let mut cluster = Cluster::new(name, Discovery::Eds { service_name: name.into() });
    let unlimited = Thresholds {
        max_connections: u32::MAX,
        max_pending_requests: u32::MAX,
        max_requests: u32::MAX,
        max_retries: u32::MAX,
        ..Thresholds::default()
    };
    cluster.circuit_breakers.default = unlimited;
    cluster.connect_timeout = Duration::from_secs(10);
    cluster.lb_policy = LbPolicy::LeastRequest(LeastRequest::default());
    cluster.protocol = protocol;
    cluster
}

fn assignment(endpoints: &[SocketAddr]) -> ClusterLoadAssignment {
    let endpoint = |address: &SocketAddr| Endpoint {
        address: Address::Socket(*address),
        hostname: String::new(),
        weight: 1,
        health: HealthStatus::Healthy,
        metadata: Metadata::new(),
    };
    let group =
        LocalityEndpoints { endpoints: endpoints.iter().map(endpoint).collect(), ..LocalityEndpoints::default() };
    ClusterLoadAssignment { localities: vec![group], ..ClusterLoadAssignment::default() }
}

fn route_configuration(routes: usize, cluster: &str) -> RouteConfiguration {
    let forward = || {
        let retry = RetryPolicy {
            retry_on: RetryOn::parse("connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes").0,
            num_retries: Some(2),
            avoid_previous_hosts: true,
            host_selection_retry_max_attempts: 5,
            ..RetryPolicy::default()
        };
        let forward = Forward {
            timeout: Some(Duration::ZERO),
            max_grpc_timeout: Some(Duration::ZERO),
            retry_policy: Some(Arc::new(retry)),
            ..Forward::to(cluster)
        };
        RouteAction::Forward(Box::new(forward))
    };
    let mut list: Vec<Route> =
        (1..routes).map(|n| Route::new(RouteMatch::prefix(format!("/service-{n}/")), forward())).collect();
    list.push(Route::new(RouteMatch::prefix("/"), forward()));
    let host = VirtualHost {
        name: AUTHORITY.into(),
        domains: vec!["echo.default.svc.cluster.local".to_owned(), "echo".to_owned()],
        routes: list,
        include_request_attempt_count: true,
        ..VirtualHost::default()
    };
    RouteConfiguration {
        name: "9080".into(),
        virtual_hosts: vec![host],
        ignore_port_in_host_matching: true,
        ..RouteConfiguration::default()
    }
}

fn listener() -> Listener {
    // Istio switches the limit of silence off.
    let manager = HttpConnectionManager {
        stream_idle_timeout: None,
        ..HttpConnectionManager::new(RouteSource::Rds("9080".into()))
    };
    let chain = FilterChain {
        name: "0.0.0.0_9080".into(),
        matches: FilterChainMatch::default(),
        handler: ChainHandler::Http(Arc::new(manager)),
        transport_socket: false,
    };
    Listener {
        name: "0.0.0.0_9080".into(),
        address: Some(ListenerAddress { ip: [0, 0, 0, 0].into(), port: 9080 }),
        direction: Direction::Outbound,
        use_original_dst: false,
        bind_to_port: false,
        filter_chains: vec![chain],
        default_filter_chain: None,
        api_listener: None,
        metadata: Metadata::new(),
    }
}

//! The mesh configuration that is measured: what Istio gives a service that has a route, retries and limits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::resource::cluster::{Cluster, Discovery, LbPolicy, LeastRequest, Thresholds, UpstreamProtocol};
use mesh_core::resource::endpoint::{Address, ClusterLoadAssignment, Endpoint, HealthStatus, LocalityEndpoints};
use mesh_core::resource::filter::{
    AbortError, CorsPolicy, Fault, FaultAbort, FilterConfig, HeaderMutation, LocalRateLimit, RouteConfig as FilterSays,
};
use mesh_core::resource::header_mutation::HeaderMutations;
use mesh_core::resource::listener::{
    ChainHandler, Direction, FilterChain, FilterChainMatch, HttpConnectionManager, HttpFilter, Listener,
    ListenerAddress, RouteSource,
};
use mesh_core::resource::matcher::{HeaderMatcher, HeaderSpecifier, StringMatcher};
use mesh_core::resource::metadata::Metadata;
use mesh_core::resource::rate_limit::TokenBucket;
use mesh_core::resource::retry::{RetryOn, RetryPolicy};
use mesh_core::resource::route::{
    FilterOverride, Forward, FractionalPercent, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
};
use mesh_core::snapshot::{Change, Compiler, SnapshotStore, Update};

/// The host and port that requests name.
pub const AUTHORITY: &str = "echo.default.svc.cluster.local:9080";

/// Which HTTP filters stand before the router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filters {
    /// None.
    #[default]
    None,
    /// Faults, CORS, header mutation and a rate limit, each without anything to do: istiod lists some on every listener.
    Idle,
    /// The same, and all of them have something to look at: a fault for a header, a policy for origins, a header to remove,
    /// a bucket that is never empty.
    On,
}

/// One service with `routes` routes (the last one takes the requests) over `endpoints`.
pub fn store(routes: usize, endpoints: &[SocketAddr], protocol: UpstreamProtocol) -> SnapshotStore {
    store_with(routes, endpoints, protocol, Filters::None)
}

/// As [`store`], with filters.
pub fn store_with(
    routes: usize,
    endpoints: &[SocketAddr],
    protocol: UpstreamProtocol,
    filters: Filters,
) -> SnapshotStore {
    let mut compiler = Compiler::new(1);
    let cluster = "outbound|9080||echo.default.svc.cluster.local";
    let update = Update {
        listeners: vec![Change::Set(Arc::new(listener(filters)))],
        routes: vec![Change::Set(Arc::new(route_configuration(routes, cluster, filters)))],
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

fn route_configuration(routes: usize, cluster: &str, filters: Filters) -> RouteConfiguration {
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
    if let (Filters::On, Some(last)) = (filters, list.last_mut()) {
        let policy = CorsPolicy { allow_origins: vec![StringMatcher::exact("http://o")], ..CorsPolicy::default() };
        last.per_filter_config.insert("cors".into(), FilterOverride::with(FilterSays::Cors(Box::new(policy))));
    }
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

fn http_filters(filters: Filters) -> Vec<HttpFilter> {
    let (mut fault, mut mutation, mut limit) = (Fault::default(), HeaderMutation::default(), LocalRateLimit::default());
    if filters == Filters::On {
        let always = FractionalPercent::percent(100);
        let error = AbortError::Http(503);
        fault.abort = Some(FaultAbort { error, percentage: always, response_body: String::new() });
        fault.headers = vec![HeaderMatcher::new("x-fault", HeaderSpecifier::Present(true))];
        let remove = HeaderMutations { remove: vec!["x-gone".to_owned()], ..HeaderMutations::default() };
        mutation.mutations.request = vec![remove];
        let bucket =
            TokenBucket { max_tokens: u32::MAX, tokens_per_fill: u32::MAX, fill_interval: Duration::from_secs(1) };
        limit = LocalRateLimit::new(bucket);
    }
    let filter = |name: &str, config| HttpFilter { name: name.into(), disabled: false, config };
    match filters {
        Filters::None => Vec::new(),
        Filters::Idle | Filters::On => vec![
            filter("fault", FilterConfig::Fault(Box::new(fault))),
            filter("cors", FilterConfig::Cors),
            filter("mutation", FilterConfig::HeaderMutation(Box::new(mutation))),
            filter("limit", FilterConfig::LocalRateLimit(Box::new(limit))),
        ],
    }
}

fn listener(filters: Filters) -> Listener {
    // Istio switches the limit of silence off.
    let manager = HttpConnectionManager {
        stream_idle_timeout: None,
        http_filters: http_filters(filters),
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

//! Configuration for tests, made of `mesh_core` resources, and what they ask of a stack built on it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use mesh_core::resource::cluster::{Cluster, Discovery, UpstreamProtocol};
use mesh_core::resource::endpoint::{Address, ClusterLoadAssignment, Endpoint, HealthStatus, LocalityEndpoints};
use mesh_core::resource::listener::{
    ChainHandler, Direction, FilterChain, FilterChainMatch, HttpConnectionManager, Listener, ListenerAddress,
    RouteSource,
};
use mesh_core::resource::metadata::Metadata;
use mesh_core::resource::retry::{RetryOn, RetryPolicy};
use mesh_core::resource::route::{
    Forward, Route, RouteAction, RouteConfiguration, RouteMatch, RoutingPriority, VirtualHost,
};
use mesh_core::snapshot::{Change, Compiler, FilterFactory, RequestCompat, SnapshotStore, Update};
use mesh_core::state::{Lane, Load};
use mesh_tower::outbound::{Outbound, outbound};
use mesh_tower::pool::Connector;
use mesh_tower::response::ResponseInfo;
use tower::ServiceExt;

/// The host that requests name.
pub(crate) const HOST: &str = "svc.test:9080";

/// The longest that anything may take before a test is said to hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// A configuration that can be published anew.
pub(crate) struct Mesh {
    compiler: Compiler,
    pub(crate) store: SnapshotStore,
}

/// What a [`Mesh`] is made of.
pub(crate) struct Setup {
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) routes: Vec<Route>,
    pub(crate) host: VirtualHost,
    pub(crate) manager: HttpConnectionManager,
    pub(crate) filters: Option<FilterFactory>,
    pub(crate) compat: RequestCompat,
}

impl Setup {
    pub(crate) fn new(clusters: Vec<Cluster>, routes: Vec<Route>) -> Self {
        let manager = HttpConnectionManager::new(RouteSource::Rds("9080".into()));
        Self {
            clusters,
            routes,
            host: VirtualHost::default(),
            manager,
            filters: None,
            compat: RequestCompat::default(),
        }
    }

    /// Everything goes to one cluster, without a timeout.
    pub(crate) fn to(cluster: Cluster) -> Self {
        let route = route("/", forward(&cluster.name));
        Self::new(vec![cluster], vec![route])
    }
}

impl Mesh {
    pub(crate) fn new(setup: Setup) -> Self {
        let mut compiler = Compiler::new(1).with_compat(setup.compat);
        if let Some(filters) = setup.filters {
            compiler = compiler.with_filters(filters);
        }
        let mut this = Self { compiler, store: SnapshotStore::default() };
        this.publish(Update {
            listeners: vec![Change::Set(Arc::new(outbound_listener(setup.manager)))],
            routes: vec![routes(setup.host, setup.routes)],
            clusters: setup.clusters.into_iter().map(|cluster| Change::Set(Arc::new(cluster))).collect(),
            ..Update::default()
        });
        this
    }

    /// Puts a change in force.
    pub(crate) fn publish(&mut self, update: Update) {
        let (snapshot, refused) = self.compiler.apply(update);
        assert!(refused.is_empty(), "{refused:?}");
        self.store.publish(&snapshot);
    }

    /// The whole stack on the current runtime.
    pub(crate) fn client(&self) -> Outbound {
        outbound(self.store.clone(), Connector::current())
    }

    /// What is under way towards a cluster.
    pub(crate) fn load(&self, cluster: &str, load: Load) -> u32 {
        let pin = self.store.pin(Lane::default());
        pin.cluster_by_name(cluster).unwrap().breaker().load(load, RoutingPriority::Default)
    }

    /// Requests under way at all hosts of a cluster.
    pub(crate) fn active(&self, cluster: &str) -> u32 {
        let pin = self.store.pin(Lane::default());
        pin.cluster_by_name(cluster).unwrap().balancer().hosts().iter().map(|host| host.state.active()).sum()
    }
}

/// The change that replaces the routes.
pub(crate) fn routes(host: VirtualHost, routes: Vec<Route>) -> Change<RouteConfiguration> {
    let host = VirtualHost { name: "svc".into(), domains: vec!["*".to_owned()], routes, ..host };
    let config = RouteConfiguration { name: "9080".into(), virtual_hosts: vec![host], ..RouteConfiguration::default() };
    Change::Set(Arc::new(config))
}

/// A route by prefix.
pub(crate) fn route(prefix: &str, forward: Forward) -> Route {
    Route::new(RouteMatch::prefix(prefix), RouteAction::Forward(Box::new(forward)))
}

/// Forwards without a timeout.
pub(crate) fn forward(cluster: &str) -> Forward {
    Forward { timeout: Some(Duration::ZERO), ..Forward::to(cluster) }
}

/// Forwards with retries by these tokens, without a noticeable back-off.
pub(crate) fn retrying(cluster: &str, retry_on: &str, num_retries: u32) -> Forward {
    Forward { retry_policy: Some(Arc::new(retry_policy(retry_on, num_retries))), ..forward(cluster) }
}

/// A retry policy without a noticeable back-off.
pub(crate) fn retry_policy(retry_on: &str, num_retries: u32) -> RetryPolicy {
    let (retry_on, unknown) = RetryOn::parse(retry_on);
    assert!(unknown.is_empty());
    RetryPolicy {
        retry_on,
        num_retries: Some(num_retries),
        base_interval: Some(Duration::from_millis(1)),
        max_interval: Some(Duration::from_millis(1)),
        ..RetryPolicy::default()
    }
}

/// A static cluster.
pub(crate) fn cluster(name: &str, protocol: UpstreamProtocol, endpoints: &[SocketAddr]) -> Cluster {
    let endpoint = |address: &SocketAddr| Endpoint {
        address: Address::Socket(*address),
        hostname: String::new(),
        weight: 1,
        health: HealthStatus::Healthy,
        metadata: Metadata::new(),
    };
    let group = LocalityEndpoints { endpoints: endpoints.iter().map(endpoint).collect(), ..Default::default() };
    let assignment = ClusterLoadAssignment { localities: vec![group], ..ClusterLoadAssignment::default() };
    Cluster { protocol, ..Cluster::new(name, Discovery::Static(assignment)) }
}

/// A cluster that speaks HTTP/1.1 to one endpoint.
pub(crate) fn http1(name: &str, endpoint: SocketAddr) -> Cluster {
    cluster(name, UpstreamProtocol::Http1, &[endpoint])
}

/// A cluster that speaks HTTP/2 to one endpoint.
pub(crate) fn http2(name: &str, endpoint: SocketAddr) -> Cluster {
    cluster(name, UpstreamProtocol::Http2, &[endpoint])
}

fn outbound_listener(manager: HttpConnectionManager) -> Listener {
    Listener {
        name: "0.0.0.0_9080".into(),
        address: Some(ListenerAddress { ip: [0, 0, 0, 0].into(), port: 9080 }),
        direction: Direction::Outbound,
        use_original_dst: false,
        bind_to_port: false,
        filter_chains: vec![chain("0.0.0.0_9080", None, manager)],
        default_filter_chain: None,
        api_listener: None,
        metadata: Metadata::new(),
    }
}

/// A filter chain that speaks HTTP.
pub(crate) fn chain(name: &str, port: Option<u16>, manager: HttpConnectionManager) -> FilterChain {
    FilterChain {
        name: name.into(),
        matches: FilterChainMatch { destination_port: port, ..FilterChainMatch::default() },
        handler: ChainHandler::Http(Arc::new(manager)),
        transport_socket: false,
    }
}

/// Waits, but not for ever.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("this takes far too long")
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// A GET without a body.
pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("http://{HOST}{path}")).body(Full::default()).unwrap()
}

/// A POST with a body.
pub(crate) fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(format!("http://{HOST}{path}")).body(Full::new(body.into())).unwrap()
}

/// A gRPC call with one message.
pub(crate) fn call(path: &str) -> Request<Full<Bytes>> {
    let mut request = post(path, grpc_message(b"ask"));
    *request.version_mut() = http::Version::HTTP_2;
    request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    request
}

/// A message in gRPC's framing.
pub(crate) fn grpc_message(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap();
    [&[0][..], &length.to_be_bytes(), message].concat().into()
}

/// What came back, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) trailers: Option<http::HeaderMap>,
    pub(crate) body: Bytes,
    pub(crate) info: ResponseInfo,
}

impl Answer {
    /// Status and flags, as in an access log.
    pub(crate) fn outcome(&self) -> (u16, String) {
        (self.status.as_u16(), self.info.flags.to_string())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// How often the request was sent.
    pub(crate) fn attempts(&self) -> u32 {
        self.info.upstream.as_ref().unwrap().attempts()
    }
}

/// Sends a request and reads its response to the end.
pub(crate) async fn ask<B>(client: &Outbound, request: Request<B>) -> Answer
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<mesh_tower::BoxError>,
{
    within(async {
        let response = client.clone().oneshot(request).await.unwrap();
        read(response).await.unwrap()
    })
    .await
}

/// As [`ask`], on a task of its own.
pub(crate) fn ask_aside<B>(client: Outbound, request: Request<B>) -> tokio::task::JoinHandle<Answer>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<mesh_tower::BoxError>,
{
    tokio::spawn(async move { ask(&client, request).await })
}

/// Reads a response to its end.
pub(crate) async fn read<B: Body<Data = Bytes>>(response: Response<B>) -> Result<Answer, B::Error> {
    let (head, body) = response.into_parts();
    let info = head.extensions.get::<ResponseInfo>().expect("every response says where it came from").clone();
    let body = body.collect().await?;
    let trailers = body.trailers().cloned();
    Ok(Answer { status: head.status, headers: head.headers, trailers, body: body.to_bytes(), info })
}

/// The typed error inside of a failed body.
pub(crate) fn body_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a mesh_tower::Error {
    let mut error = error;
    loop {
        if let Some(found) = error.downcast_ref() {
            return found;
        }
        error = error.source().expect("a failed body carries a typed error");
    }
}

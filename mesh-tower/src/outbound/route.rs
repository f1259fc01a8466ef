//! The outermost layer: pins the configuration, finds the route, and turns what comes back into a response.
//!
//! Errors from within become Envoy's local replies here (gRPC callers get them as trailers-only responses),
//! the route's response headers are applied, and every response carries a [`ResponseInfo`].

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Body;
use mesh_core::engine::local_reply::{GRPC_DEADLINE_EXCEEDED, ResponseFlags};
use mesh_core::exchange::{Accepted, Answered, Origin, Responder, Routed};
use mesh_core::resource::Invalid;
use mesh_core::resource::cluster::Cluster;
use mesh_core::resource::route::RouteConfiguration;
use mesh_core::snapshot::{GrpcTimeoutStatus, Pin as SnapshotPin, Snapshot, SnapshotStore};
use mesh_core::state::Lane;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::retry::Marked;
use crate::body::LocalOr;
use crate::error::Error;
use crate::response::ResponseInfo;

/// Finds the route of a request in the snapshot that is in force when it starts.
///
/// Alone, with routes of your own, it answers what routes answer themselves (redirects, direct responses, no
/// route), and hands the rest on as [`Routed`]:
///
/// ```
/// use mesh_core::exchange::Routed;
/// use mesh_core::resource::cluster::{Cluster, Discovery};
/// use mesh_core::resource::endpoint::ClusterLoadAssignment;
/// use mesh_core::resource::route::{Forward, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost};
/// use mesh_tower::{Error, RouteLayer, response::ResponseInfo};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let api = Route::new(RouteMatch::prefix("/api/"), RouteAction::Forward(Box::new(Forward::to("api"))));
/// let host = VirtualHost { name: "all".into(), domains: vec!["*".into()], routes: vec![api], ..VirtualHost::default() };
/// let routes = RouteConfiguration { name: "mine".into(), virtual_hosts: vec![host], ..RouteConfiguration::default() };
/// let api = Cluster::new("api", Discovery::Static(ClusterLoadAssignment::default()));
///
/// let service = ServiceBuilder::new().layer(RouteLayer::fixed(routes, vec![api]).unwrap()).service(service_fn(
///     |routed: Routed<String>| async move { Ok::<_, Error>(http::Response::new(routed.request().uri().path().to_owned())) },
/// ));
/// let request = |path: &str| http::Request::get(format!("http://any.example{path}")).body(String::new()).unwrap();
/// assert_eq!(service.clone().oneshot(request("/api/x")).await.unwrap().status(), 200);
/// let unrouted = service.oneshot(request("/other")).await.unwrap();
/// assert_eq!(unrouted.status(), 404);
/// assert_eq!(unrouted.extensions().get::<ResponseInfo>().unwrap().details, "route_not_found");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RouteLayer {
    snapshots: SnapshotStore,
}

impl RouteLayer {
    /// Routes by what is in force in `snapshots`.
    #[must_use]
    pub const fn new(snapshots: SnapshotStore) -> Self {
        Self { snapshots }
    }
}

impl RouteLayer {
    /// Routes by these routes, whatever the port, to these clusters.
    ///
    /// # Errors
    /// Routes that do not compile.
    pub fn fixed(routes: RouteConfiguration, clusters: Vec<Cluster>) -> Result<Self, Invalid> {
        Ok(Self::new(SnapshotStore::new(Snapshot::fixed(routes, clusters, fastrand::u64(..))?)))
    }
}

impl<S> Layer<S> for RouteLayer {
    type Service = Route<S>;

    fn layer(&self, inner: S) -> Route<S> {
        Route { inner, snapshots: self.snapshots.clone() }
    }
}

/// The service of [`RouteLayer`].
#[derive(Clone, Debug)]
pub struct Route<S> {
    inner: S,
    snapshots: SnapshotStore,
}

impl<S: Clone> Route<S> {
    /// One version of what is in force.
    pub(crate) fn pin(&self, lane: Lane) -> SnapshotPin {
        self.snapshots.pin(lane)
    }

    /// The layers below, for requests that arrive over the network.
    pub(crate) fn below(&self) -> (S, SnapshotStore) {
        (self.inner.clone(), self.snapshots.clone())
    }
}

impl<S, B, RB> Service<Request<B>> for Route<S>
where
    S: Service<Routed<B>, Response = Response<RB>, Error = Error>,
    RB: Body<Data = Bytes>,
{
    type Response = Response<LocalOr<RB>>;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let lane = lane();
        let accepted = Accepted::new(request, self.snapshots.pin(lane), lane, fastrand::u64(..), Instant::now());
        match accepted.route() {
            Ok(routed) => {
                let responder = routed.responder();
                ResponseFuture { state: State::Forwarded { inner: self.inner.call(routed), responder } }
            }
            Err(answered) => ResponseFuture { state: State::Answered { answer: Some(answer(*answered)) } },
        }
    }
}

/// The lane of the calling thread.
pub(crate) fn lane() -> Lane {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static LANE: Cell<Option<Lane>> = const { Cell::new(None) };
    }
    LANE.with(|known| {
        known.get().unwrap_or_else(|| {
            let lane = Lane::of_thread(THREADS.fetch_add(1, Ordering::Relaxed));
            known.set(Some(lane));
            lane
        })
    })
}

/// A local answer as a response.
pub(crate) fn answer(answered: Answered) -> Response<Bytes> {
    let info = ResponseInfo::of_answer(answered.reply.flags, answered.reply.details.clone());
    let (head, body) = answered.reply.into_head(answered.grpc);
    let mut response = Response::from_parts(head, body);
    if let Some(responder) = answered.responder {
        let origin = Origin { upstream: None, flags: info.flags, details: &info.details, made_here: true };
        responder.finish(&mut response, &origin);
    }
    response.extensions_mut().insert(info);
    response
}

pin_project! {
    /// The future of [`Route`].
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = Projection]
    enum State<F> {
        Forwarded {
            #[pin]
            inner: F,
            responder: Responder,
        },
        Answered {
            answer: Option<Response<Bytes>>,
        },
    }
}

impl<F> ResponseFuture<F> {
    /// Of a request that goes on.
    pub(crate) const fn forwarded(inner: F, responder: Responder) -> Self {
        Self { state: State::Forwarded { inner, responder } }
    }

    /// Of a request that is answered.
    pub(crate) fn answered(answered: Answered) -> Self {
        Self { state: State::Answered { answer: Some(answer(answered)) } }
    }
}

impl<F, RB> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<RB>, Error>>,
    RB: Body<Data = Bytes>,
{
    type Output = Result<Response<LocalOr<RB>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projection::Answered { answer } => Poll::Ready(Ok(answer.take().unwrap_or_default().map(LocalOr::local))),
            Projection::Forwarded { inner, responder } => Poll::Ready(Ok(match std::task::ready!(inner.poll(cx)) {
                Ok(response) => finish(response, responder).map(LocalOr::upstream),
                Err(error) => answer_error(&error, responder).map(LocalOr::local),
            })),
        }
    }
}

/// How long the upstream took, in milliseconds: told to callers over the network.
const UPSTREAM_SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");

/// An error as the answer that a caller gets.
pub(crate) fn answer_error(error: &Error, responder: &Responder) -> Response<Bytes> {
    let mut reply = responder.in_manner(error.local_reply(), error.is_timeout());
    // A gRPC application knows its deadline by this status; Envoy says UNAVAILABLE.
    if error.is_timeout() && responder.compat().grpc_timeout_status == GrpcTimeoutStatus::DeadlineExceeded {
        reply = reply.with_grpc_status(GRPC_DEADLINE_EXCEEDED);
    }
    answer(Answered { reply, grpc: responder.is_grpc(), responder: Some(responder.clone()) })
}

/// Applies the route's changes to a response and says where it came from, once.
pub(crate) fn finish<RB>(mut response: Response<RB>, responder: &Responder) -> Response<RB> {
    let Some(info) = response.extensions_mut().get_mut::<ResponseInfo>() else {
        // A service other than ours is at the end of the stack.
        responder.finish(&mut response, &Origin::UNKNOWN);
        return response;
    };
    // The layer of the filters may have done it: filters see the finished response.
    if std::mem::replace(&mut info.is_finished, true) {
        return response;
    }
    if let Some(time) = responder.service_time(Instant::now) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        response.headers_mut().insert(UPSTREAM_SERVICE_TIME, HeaderValue::from(millis));
    }
    let marked = response.extensions_mut().remove::<Marked>();
    let Some(info) = response.extensions_mut().get_mut::<ResponseInfo>() else { return response };
    if let Some(marked) = marked {
        info.flags = match marked {
            Marked::Exhausted => ResponseFlags::URX,
            Marked::Overflow => ResponseFlags::UO,
        };
    }
    if !responder.leaves_response() {
        let ResponseInfo { flags, details, upstream, .. } = info.clone();
        let origin = Origin { upstream: upstream.as_ref(), flags, details: &details, made_here: false };
        responder.finish(&mut response, &origin);
    }
    response
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Forwarded { .. } => "ResponseFuture::Forwarded",
            State::Answered { .. } => "ResponseFuture::Answered",
        })
    }
}

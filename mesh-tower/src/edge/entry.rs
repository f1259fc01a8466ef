//! One connection's requests, on their way into the outbound stack.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::Body;
use mesh_core::engine::facts::ConnectionFacts;
use mesh_core::engine::local_reply::LocalReply;
use mesh_core::exchange::{Accepted, Answered, Departure, Routed};
use mesh_core::resource::Name;
use mesh_core::snapshot::{HttpScope, Pin as SnapshotPin, SnapshotStore};
use pin_project_lite::pin_project;
use tokio::sync::watch;
use tower_service::Service;

use super::body::EdgeBody;
use super::tunnel::Tunnel;
use crate::accept::accepted;
use crate::body::LocalOr;
use crate::error::Error;
use crate::outbound::route::{self, Route, lane};

/// Passes the requests of one connection through its listener's connection manager into the outbound stack.
#[derive(Clone, Debug)]
pub struct Entry<S> {
    inner: S,
    snapshots: SnapshotStore,
    listener: Name,
    node: Option<IpAddr>,
    connection: Arc<ConnectionFacts>,
    /// Closed when the listener has drained.
    open: watch::Receiver<()>,
}

impl<S: Clone> Entry<S> {
    /// For a connection that came by the listener of that name; `node` is how others know this machine. Upgraded connections
    /// end when the sender of `open` goes.
    pub fn new(
        stack: &Route<S>,
        listener: Name,
        node: Option<IpAddr>,
        connection: Arc<ConnectionFacts>,
        open: watch::Receiver<()>,
    ) -> Self {
        let (inner, snapshots) = stack.below();
        Self { inner, snapshots, listener, node, connection, open }
    }
}

/// The connection manager for a connection of a listener, in what is in force.
pub(super) fn scope(pin: &SnapshotPin, listener: &str, connection: &ConnectionFacts) -> Option<HttpScope> {
    pin.served_chain(listener, &accepted(connection)?)?.http.clone()
}

impl<S, B, RB> Service<Request<B>> for Entry<S>
where
    S: Service<Routed<B>, Response = Response<RB>, Error = Error>,
    RB: Body<Data = Bytes>,
{
    type Response = Response<EdgeBody<LocalOr<RB>>>;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let lane = lane();
        let pin = self.snapshots.pin(lane);
        let protocol = protocol(request.version());
        if self.connection.protocol != protocol {
            Arc::make_mut(&mut self.connection).protocol = protocol;
        }
        let Some(scope) = scope(&pin, &self.listener, &self.connection) else {
            let grpc = mesh_core::engine::facts::is_grpc(request.headers());
            let answered = Answered { reply: LocalReply::no_route(), grpc, responder: None };
            return ResponseFuture { inner: route::ResponseFuture::answered(answered), departure: None, tunnel: None };
        };
        let tunnel = Tunnel::of(&mut request, &self.open);
        let mut departure = Departure::through(Arc::clone(&scope.manager), self.node);
        let accepted = Accepted::new(request, pin, lane, fastrand::u64(..), Instant::now());
        let inner = match accepted.route_at(&scope, &self.connection, &mut departure) {
            Ok(routed) => {
                let responder = routed.responder();
                route::ResponseFuture::forwarded(self.inner.call(routed), responder)
            }
            Err(answered) => route::ResponseFuture::answered(*answered),
        };
        ResponseFuture { inner, departure: Some(departure), tunnel }
    }
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

pin_project! {
    /// The future of [`Entry`].
    pub struct ResponseFuture<F> {
        #[pin]
        inner: route::ResponseFuture<F>,
        departure: Option<Departure>,
        tunnel: Option<Tunnel>,
    }
}

impl<F, RB> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<RB>, Error>>,
    RB: Body<Data = Bytes>,
{
    type Output = Result<Response<EdgeBody<LocalOr<RB>>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = std::task::ready!(this.inner.poll(cx))?;
        if let Some(tunnel) = this.tunnel.take() {
            tunnel.open(&mut response);
        }
        if let Some(departure) = this.departure {
            let (mut head, body) = response.into_parts();
            departure.finish(&mut head);
            response = Response::from_parts(head, body);
        }
        Poll::Ready(Ok(response.map(EdgeBody::new)))
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

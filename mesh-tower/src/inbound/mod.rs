//! The inbound stack: connections to this process, admitted by the mesh before the application sees them.
//!
//! [`serve`] accepts connections on a port that inbound configuration covers; per connection the peer's facts
//! are gathered once, per request [`Inbound`] pins the configuration and passes the request through the
//! inbound route. A port for which no inbound listener arrived is not served (the connection is closed), unless
//! the options allow it. Draining finishes what is under way.

mod serve;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use mesh_core::engine::facts::ConnectionFacts;
use mesh_core::engine::local_reply::LocalReply;
use mesh_core::exchange::Responder;
use mesh_core::exchange::inbound::Received;
use mesh_core::snapshot::{AcceptedConnection, Pin as SnapshotPin, SnapshotStore};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_service::Service;

pub use self::serve::{ServeOptions, serve};

use crate::body::LocalOr;
use crate::outbound::route::{answer, lane};

/// Passes the requests of one connection through the inbound configuration to the application.
#[derive(Clone, Debug)]
pub struct Inbound<S> {
    inner: S,
    snapshots: SnapshotStore,
    connection: Arc<ConnectionFacts>,
    allow_unconfigured: bool,
}

/// A request extension: the connection that a request came by.
#[derive(Clone, Debug)]
pub struct Connection(pub Arc<ConnectionFacts>);

impl<S> Inbound<S> {
    /// Serves `inner` to a connection. With `allow_unconfigured`, requests on a port that no inbound listener
    /// covers go to the application as they are.
    pub const fn new(
        inner: S,
        snapshots: SnapshotStore,
        connection: Arc<ConnectionFacts>,
        allow_unconfigured: bool,
    ) -> Self {
        Self { inner, snapshots, connection, allow_unconfigured }
    }
}

/// What inbound configuration says about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cover {
    /// A chain takes it.
    Chain,
    /// There is configuration, and no chain takes it: it must be closed.
    Refused,
    /// No inbound listener has arrived.
    Unconfigured,
}

pub(crate) fn cover(pin: &SnapshotPin, connection: &ConnectionFacts) -> Cover {
    if !pin.has_inbound() {
        return Cover::Unconfigured;
    }
    match accepted(connection).and_then(|accepted| pin.inbound(&accepted).map(|chain| chain.http.is_some())) {
        // A chain that speaks no HTTP is the pass-through one: it applies no HTTP rules.
        Some(_) => Cover::Chain,
        None => Cover::Refused,
    }
}

fn accepted(connection: &ConnectionFacts) -> Option<AcceptedConnection<'_>> {
    let (transport_protocol, server_name) = match &connection.tls {
        Some(tls) => ("tls", tls.server_name.as_str()),
        None => ("raw_buffer", ""),
    };
    Some(AcceptedConnection { local: connection.local?, transport_protocol, application_protocols: &[], server_name })
}

impl<S, B, RB> Service<Request<B>> for Inbound<S>
where
    S: Service<Request<B>, Response = Response<RB>>,
    RB: Body<Data = Bytes>,
{
    type Response = Response<LocalOr<RB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(Connection(Arc::clone(&self.connection)));
        let pin = self.snapshots.pin(lane());
        if cover(&pin, &self.connection) == Cover::Unconfigured && self.allow_unconfigured {
            return ResponseFuture {
                state: State::Application { inner: self.inner.call(request), responder: None, deadline: None },
            };
        }
        let Some(chain) = accepted(&self.connection).and_then(|accepted| pin.inbound(&accepted).cloned()) else {
            return ResponseFuture::local(LocalReply::no_route(), mesh_core::engine::facts::is_grpc(request.headers()));
        };
        let Some(scope) = chain.http else {
            return ResponseFuture {
                state: State::Application { inner: self.inner.call(request), responder: None, deadline: None },
            };
        };
        match Received::new(request, Arc::clone(&self.connection), pin, fastrand::u64(..), Instant::now()).route(&scope)
        {
            Ok(admitted) => {
                let deadline = admitted.timeouts.response.map(|limit| Box::pin(tokio::time::sleep(limit)));
                ResponseFuture {
                    state: State::Application {
                        inner: self.inner.call(admitted.request),
                        responder: Some(admitted.responder),
                        deadline,
                    },
                }
            }
            Err(answered) => ResponseFuture { state: State::Answered { answer: Some(answer(*answered)) } },
        }
    }
}

pin_project! {
    /// The future of [`Inbound`].
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = Projection]
    enum State<F> {
        Application {
            #[pin]
            inner: F,
            responder: Option<Responder>,
            deadline: Option<Pin<Box<Sleep>>>,
        },
        Answered {
            answer: Option<Response<Bytes>>,
        },
    }
}

impl<F> ResponseFuture<F> {
    fn local(reply: LocalReply, grpc: bool) -> Self {
        Self { state: State::Answered { answer: Some(respond(reply, grpc)) } }
    }
}

fn respond(reply: LocalReply, grpc: bool) -> Response<Bytes> {
    let (head, body) = reply.into_head(grpc);
    Response::from_parts(head, body)
}

impl<F, RB, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<RB>, E>>,
    RB: Body<Data = Bytes>,
{
    type Output = Result<Response<LocalOr<RB>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projection::Answered { answer } => Poll::Ready(Ok(answer.take().unwrap_or_default().map(LocalOr::local))),
            Projection::Application { inner, responder, deadline } => {
                let response = match inner.poll(cx) {
                    Poll::Ready(response) => response?,
                    Poll::Pending => {
                        let Some(deadline) = deadline else { return Poll::Pending };
                        std::task::ready!(deadline.as_mut().poll(cx));
                        let grpc = responder.as_ref().is_some_and(Responder::is_grpc);
                        let mut response = respond(LocalReply::response_timeout(), grpc);
                        if let Some(responder) = responder {
                            responder.finish(&mut response, None);
                        }
                        return Poll::Ready(Ok(response.map(LocalOr::local)));
                    }
                };
                let mut response = response;
                if let Some(responder) = responder {
                    responder.finish(&mut response, None);
                }
                Poll::Ready(Ok(response.map(LocalOr::upstream)))
            }
        }
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Application { .. } => "ResponseFuture::Application",
            State::Answered { .. } => "ResponseFuture::Answered",
        })
    }
}

//! The inbound stack: connections to this process, admitted by the mesh before the application sees them.
//!
//! [`serve`] accepts connections on a port that inbound configuration covers; per connection the peer's facts
//! are gathered once, per request [`Inbound`] pins the configuration, runs the filters of the chain and passes the
//! request through the inbound route. A port for which no inbound listener arrived is not served (the connection is closed), unless
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
use mesh_core::exchange::filters::{FilterExit, FilterOutcome};
use mesh_core::exchange::inbound::{Entered, Received};
use mesh_core::exchange::{Answered, Origin, Responder};
use mesh_core::snapshot::{Pin as SnapshotPin, SnapshotStore};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_service::Service;

pub use self::serve::{ServeOptions, serve};

use crate::accept::accepted;
use crate::body::{FilteredBody, LocalOr, RequestBody};
use crate::effect::Pending;
use crate::error::BoxError;
use crate::outbound::filters::leave;
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

impl<S, B, RB> Service<Request<B>> for Inbound<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<RB>> + Clone,
    B: Body,
    B::Error: Into<BoxError>,
    RB: Body<Data = Bytes>,
{
    type Response = Response<FilteredBody<LocalOr<RB>>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(Connection(Arc::clone(&self.connection)));
        let request = request.map(RequestBody::new);
        let lane = lane();
        let pin = self.snapshots.pin(lane);
        if cover(&pin, &self.connection) == Cover::Unconfigured && self.allow_unconfigured {
            return ResponseFuture { state: State::unruled(self.inner.call(request)) };
        }
        let Some(chain) = accepted(&self.connection).and_then(|accepted| pin.inbound(&accepted).cloned()) else {
            let grpc = mesh_core::engine::facts::is_grpc(request.headers());
            let answered = Answered { reply: LocalReply::no_route(), grpc, responder: None };
            return ResponseFuture { state: State::Answered { answer: Some((answer(answered), None)) } };
        };
        let Some(scope) = chain.http else {
            return ResponseFuture { state: State::unruled(self.inner.call(request)) };
        };
        let now = Instant::now();
        let received = Received::new(request, Arc::clone(&self.connection), pin, lane, fastrand::u64(..), now);
        let state = match received.route(&scope).map(|entered| State::after(entered.filter(now), &mut self.inner)) {
            Err(answered) => State::Answered { answer: Some((answer(*answered), None)) },
            Ok(Ok(state)) => state,
            // Only a run that waits needs a service of its own to go on with.
            Ok(Err(pending)) => {
                let spare = self.inner.clone();
                State::Waiting { pending, service: std::mem::replace(&mut self.inner, spare) }
            }
        };
        ResponseFuture { state }
    }
}

pin_project! {
    /// The future of [`Inbound`].
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<RequestBody<B>>>,
        B: Body,
    {
        #[pin]
        state: State<S, B>,
    }
}

pin_project! {
    #[project = Projection]
    enum State<S, B>
    where
        S: Service<Request<RequestBody<B>>>,
        B: Body,
    {
        Waiting {
            pending: Box<Pending<Entered<RequestBody<B>>, B>>,
            service: S,
        },
        Application {
            #[pin]
            inner: S::Future,
            responder: Option<Responder>,
            deadline: Option<Pin<Box<Sleep>>>,
            exit: Option<FilterExit>,
        },
        Answered {
            answer: Option<(Response<Bytes>, Option<FilterExit>)>,
        },
    }
}

impl<S, B> State<S, B>
where
    S: Service<Request<RequestBody<B>>>,
    B: Body,
    B::Error: Into<BoxError>,
{
    /// A request that no rules apply to.
    const fn unruled(inner: S::Future) -> Self {
        Self::Application { inner, responder: None, deadline: None, exit: None }
    }

    #[allow(clippy::type_complexity, reason = "named once")]
    fn after(
        outcome: FilterOutcome<Entered<RequestBody<B>>>,
        service: &mut S,
    ) -> Result<Self, Box<Pending<Entered<RequestBody<B>>, B>>> {
        match outcome {
            FilterOutcome::Forward(admitted, exit) => {
                let deadline = admitted.timeouts.response.map(|limit| Box::pin(tokio::time::sleep(limit)));
                let inner = service.call(admitted.request);
                Ok(Self::Application { inner, responder: Some(admitted.responder), deadline, exit })
            }
            FilterOutcome::Reply(answered, exit) => Ok(Self::Answered { answer: Some((answer(*answered), exit)) }),
            FilterOutcome::Ask(effect, waiting) => Err(Box::new(Pending::new(&effect, waiting))),
        }
    }
}

impl<S, B, RB> Future for ResponseFuture<S, B>
where
    S: Service<Request<RequestBody<B>>, Response = Response<RB>>,
    B: Body,
    B::Error: Into<BoxError>,
    RB: Body<Data = Bytes>,
{
    type Output = Result<Response<FilteredBody<LocalOr<RB>>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let (response, exit) = match this.state.as_mut().project() {
                Projection::Answered { answer } => {
                    let (answer, exit) = answer.take().unwrap_or_default();
                    (answer.map(LocalOr::local), exit)
                }
                Projection::Application { inner, responder, deadline, exit } => {
                    let mut response = match inner.poll(cx) {
                        Poll::Ready(response) => response?.map(LocalOr::upstream),
                        Poll::Pending => {
                            let Some(deadline) = deadline else { return Poll::Pending };
                            std::task::ready!(deadline.as_mut().poll(cx));
                            let grpc = responder.as_ref().is_some_and(Responder::is_grpc);
                            let answered = Answered { reply: LocalReply::response_timeout(), grpc, responder: None };
                            answer(answered).map(LocalOr::local)
                        }
                    };
                    if let Some(responder) = responder {
                        responder.finish(&mut response, &Origin::UNKNOWN);
                    }
                    (response, exit.take())
                }
                Projection::Waiting { pending, service } => {
                    let outcome = std::task::ready!(pending.poll(cx));
                    match State::after(outcome, service) {
                        Ok(next) => this.state.set(next),
                        Err(next) => *pending = next,
                    }
                    continue;
                }
            };
            return Poll::Ready(Ok(match exit {
                Some(exit) => leave(response, exit),
                None => response.map(FilteredBody::plain),
            }));
        }
    }
}

impl<S, B> fmt::Debug for ResponseFuture<S, B>
where
    S: Service<Request<RequestBody<B>>>,
    B: Body,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Waiting { .. } => "ResponseFuture::Waiting",
            State::Application { .. } => "ResponseFuture::Application",
            State::Answered { .. } => "ResponseFuture::Answered",
        })
    }
}

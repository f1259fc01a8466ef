//! Runs the HTTP filters of the request's listener, in the configured order.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use mesh_core::exchange::filters::{FilterExit, FilterOutcome};
use mesh_core::exchange::{Filtered, Routed};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::route::{answer, answer_error, finish};
use crate::body::{FilteredBody, LocalOr, RequestBody};
use crate::effect::Pending;
use crate::error::{BoxError, Error};
use crate::response::ResponseInfo;

/// Runs the filters that configuration puts before the router; without any it costs nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct FiltersLayer(());

impl FiltersLayer {
    /// The filters of each request's listener.
    #[must_use]
    pub const fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for FiltersLayer {
    type Service = Filters<S>;

    fn layer(&self, inner: S) -> Filters<S> {
        Filters { inner }
    }
}

/// The service of [`FiltersLayer`].
#[derive(Clone, Copy, Debug)]
pub struct Filters<S> {
    inner: S,
}

impl<S, B, RB> Service<Routed<B>> for Filters<S>
where
    S: Service<Filtered<RequestBody<B>>, Response = Response<RB>, Error = Error> + Clone,
    B: Body,
    B::Error: Into<BoxError>,
    RB: Body<Data = Bytes>,
{
    type Response = Response<FilteredBody<LocalOr<RB>>>;
    type Error = Error;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed<B>) -> Self::Future {
        if !routed.has_filters() {
            return match routed.filter(Instant::now()) {
                FilterOutcome::Forward(filtered, _) => {
                    let inner = self.inner.call(filtered.map_body(RequestBody::new));
                    ResponseFuture { state: State::Inner { inner, exit: None } }
                }
                FilterOutcome::Reply(answered, _) => {
                    ResponseFuture { state: State::Answered { answer: Some((answer(*answered), None)) } }
                }
                // Nobody asks for anything where there is no filter.
                FilterOutcome::Ask(..) => ResponseFuture { state: State::Answered { answer: None } },
            };
        }
        let outcome = routed.map_body(RequestBody::new).filter(Instant::now());
        let state = match State::after(outcome, &mut self.inner) {
            Ok(state) => state,
            // Only a run that waits needs a service of its own to go on with.
            Err(pending) => {
                let spare = self.inner.clone();
                State::Waiting { pending, service: std::mem::replace(&mut self.inner, spare) }
            }
        };
        ResponseFuture { state }
    }
}

pin_project! {
    /// The future of [`Filters`].
    pub struct ResponseFuture<S, B>
    where
        S: Service<Filtered<RequestBody<B>>>,
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
        S: Service<Filtered<RequestBody<B>>>,
        B: Body,
    {
        Waiting {
            pending: Box<Pending<Routed<RequestBody<B>>, B>>,
            service: S,
        },
        Inner {
            #[pin]
            inner: S::Future,
            exit: Option<FilterExit>,
        },
        Answered {
            answer: Option<(Response<Bytes>, Option<FilterExit>)>,
        },
    }
}

impl<S, B> State<S, B>
where
    S: Service<Filtered<RequestBody<B>>>,
    B: Body,
    B::Error: Into<BoxError>,
{
    #[allow(clippy::type_complexity, reason = "named once")]
    fn after(
        outcome: FilterOutcome<Routed<RequestBody<B>>>,
        service: &mut S,
    ) -> Result<Self, Box<Pending<Routed<RequestBody<B>>, B>>> {
        match outcome {
            FilterOutcome::Forward(filtered, exit) => Ok(Self::Inner { inner: service.call(filtered), exit }),
            FilterOutcome::Reply(answered, exit) => Ok(Self::Answered { answer: Some((answer(*answered), exit)) }),
            FilterOutcome::Ask(effect, waiting) => Err(Box::new(Pending::new(&effect, waiting))),
        }
    }
}

impl<S, B, RB> Future for ResponseFuture<S, B>
where
    S: Service<Filtered<RequestBody<B>>, Response = Response<RB>, Error = Error>,
    B: Body,
    B::Error: Into<BoxError>,
    RB: Body<Data = Bytes>,
{
    type Output = Result<Response<FilteredBody<LocalOr<RB>>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                Projection::Inner { inner, exit } => {
                    let result = std::task::ready!(inner.poll(cx));
                    let Some(exit) = exit.take() else {
                        return Poll::Ready(
                            result.map(|response| response.map(LocalOr::upstream).map(FilteredBody::plain)),
                        );
                    };
                    // The router's part of the way out comes first: the route's headers, an error as an answer.
                    return Poll::Ready(Ok(match result {
                        Ok(response) => leave(finish(response, exit.responder()).map(LocalOr::upstream), exit),
                        Err(error) => leave(answer_error(&error, exit.responder()).map(LocalOr::local), exit),
                    }));
                }
                Projection::Answered { answer } => {
                    let (answer, exit) = answer.take().unwrap_or_default();
                    let answer = answer.map(LocalOr::local);
                    return Poll::Ready(Ok(match exit {
                        Some(exit) => leave(answer, exit),
                        None => answer.map(FilteredBody::plain),
                    }));
                }
                Projection::Waiting { pending, service } => {
                    let outcome = std::task::ready!(pending.poll(cx));
                    match State::after(outcome, service) {
                        Ok(next) => this.state.set(next),
                        Err(next) => *pending = next,
                    }
                }
            }
        }
    }
}

/// Takes a finished response out through the filters.
pub(crate) fn leave<B: Body<Data = Bytes>>(
    mut response: Response<B>,
    mut exit: FilterExit,
) -> Response<FilteredBody<B>> {
    let mut upstream = None;
    if let Some(info) = response.extensions_mut().get_mut::<ResponseInfo>() {
        info.flags |= exit.flags();
        upstream.clone_from(&info.upstream);
    }
    let response = exit.on_response(response, upstream.as_ref(), Instant::now());
    FilteredBody::wrap(response, exit)
}

impl<S, B> fmt::Debug for ResponseFuture<S, B>
where
    S: Service<Filtered<RequestBody<B>>>,
    B: Body,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

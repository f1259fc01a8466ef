//! Runs the HTTP filters of the request's listener, in the configured order.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use mesh_core::engine::filter::{Effect, EffectOutcome};
use mesh_core::exchange::filters::{FilterExit, FilterOutcome, Waiting};
use mesh_core::exchange::{Filtered, Routed};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_layer::Layer;
use tower_service::Service;

use super::route::{answer, answer_error, finish};
use crate::body::LocalOr;
use crate::error::Error;

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
    S: Service<Filtered<B>, Response = Response<RB>, Error = Error> + Clone,
    RB: Body<Data = Bytes>,
{
    type Response = Response<LocalOr<RB>>;
    type Error = Error;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed<B>) -> Self::Future {
        let outcome = routed.filter(Instant::now());
        let state = match State::after(outcome, &mut self.inner) {
            Ok(state) => state,
            // Only a run that waits needs a service of its own to go on with.
            Err((sleep, waiting)) => {
                let spare = self.inner.clone();
                State::Waiting { sleep, waiting: Some(waiting), service: std::mem::replace(&mut self.inner, spare) }
            }
        };
        ResponseFuture { state }
    }
}

pin_project! {
    /// The future of [`Filters`].
    pub struct ResponseFuture<S, B>
    where
        S: Service<Filtered<B>>,
    {
        #[pin]
        state: State<S, B>,
    }
}

pin_project! {
    #[project = Projection]
    enum State<S, B>
    where
        S: Service<Filtered<B>>,
    {
        Waiting {
            sleep: Pin<Box<Sleep>>,
            waiting: Option<Box<Waiting<B>>>,
            service: S,
        },
        Inner {
            #[pin]
            inner: S::Future,
            exit: Option<FilterExit>,
        },
        Answered {
            answer: Option<Response<Bytes>>,
        },
    }
}

type Paused<B> = (Pin<Box<Sleep>>, Box<Waiting<B>>);

impl<S, B> State<S, B>
where
    S: Service<Filtered<B>>,
{
    fn after(outcome: FilterOutcome<B>, service: &mut S) -> Result<Self, Paused<B>> {
        match outcome {
            FilterOutcome::Forward(filtered, exit) => Ok(Self::Inner { inner: service.call(filtered), exit }),
            FilterOutcome::Reply(answered, exit) => {
                let response = answer(*answered);
                let response = match exit {
                    Some(exit) => exit.on_response(response),
                    None => response,
                };
                Ok(Self::Answered { answer: Some(response) })
            }
            FilterOutcome::Ask(effect, waiting) => {
                let wait = match effect {
                    Effect::Sleep(wait) => wait,
                    _ => std::time::Duration::ZERO,
                };
                Err((Box::pin(tokio::time::sleep(wait)), waiting))
            }
        }
    }
}

impl<S, B, RB> Future for ResponseFuture<S, B>
where
    S: Service<Filtered<B>, Response = Response<RB>, Error = Error>,
    RB: Body<Data = Bytes>,
{
    type Output = Result<Response<LocalOr<RB>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                Projection::Inner { inner, exit } => {
                    let result = std::task::ready!(inner.poll(cx));
                    let Some(exit) = exit else {
                        return Poll::Ready(result.map(|response| response.map(LocalOr::upstream)));
                    };
                    // The router's part of the way out comes first: the route's headers, an error as an answer.
                    let responder = exit.responder();
                    return Poll::Ready(Ok(match result {
                        Ok(response) => exit.on_response(finish(response, responder)).map(LocalOr::upstream),
                        Err(error) => exit.on_response(answer_error(&error, responder)).map(LocalOr::local),
                    }));
                }
                Projection::Answered { answer } => {
                    let answer = answer.take().unwrap_or_default();
                    return Poll::Ready(Ok(answer.map(LocalOr::local)));
                }
                Projection::Waiting { sleep, waiting, service } => {
                    std::task::ready!(sleep.as_mut().poll(cx));
                    let Some(run) = waiting.take() else { return Poll::Pending };
                    let outcome = run.resume(EffectOutcome::Slept, Instant::now());
                    match State::after(outcome, service) {
                        Ok(next) => this.state.set(next),
                        Err((next_sleep, next_waiting)) => {
                            *sleep = next_sleep;
                            *waiting = Some(next_waiting);
                        }
                    }
                }
            }
        }
    }
}

impl<S, B> fmt::Debug for ResponseFuture<S, B>
where
    S: Service<Filtered<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

//! What filters wait for, carried out: the same for requests that this process makes and for those that it serves.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use http_body::Body;
use mesh_core::engine::filter::{Effect, EffectOutcome};
use mesh_core::exchange::Passage;
use mesh_core::exchange::filters::{FilterOutcome, Waiting};
use tokio::time::Sleep;

use crate::body::{Keep, RequestBody};
use crate::error::BoxError;

/// A run of filters that waits. Dropping it ends the request.
pub(crate) struct Pending<P, B: Body> {
    waiting: Option<Box<Waiting<P>>>,
    doing: Doing<B>,
}

enum Doing<B: Body> {
    Sleep(Pin<Box<Sleep>>),
    Keep(Keep<B>),
}

impl<P, B> Pending<P, B>
where
    P: Passage<Body = RequestBody<B>>,
    B: Body,
    B::Error: Into<BoxError>,
{
    pub(crate) fn new(effect: &Effect, mut waiting: Box<Waiting<P>>) -> Self {
        let doing = match effect {
            Effect::Sleep(time) => Doing::Sleep(Box::pin(tokio::time::sleep(*time))),
            Effect::Buffer { max_bytes } => {
                let body = std::mem::replace(waiting.body(), RequestBody::taken());
                Doing::Keep(Keep::new(body, *max_bytes))
            }
        };
        Self { waiting: Some(waiting), doing }
    }

    /// How the run goes on.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<FilterOutcome<P>> {
        let outcome = match &mut self.doing {
            Doing::Sleep(sleep) => {
                std::task::ready!(sleep.as_mut().poll(cx));
                EffectOutcome::Slept
            }
            Doing::Keep(keep) => {
                let (outcome, body) = std::task::ready!(keep.poll(cx));
                if let Some(waiting) = &mut self.waiting {
                    *waiting.body() = body;
                }
                outcome
            }
        };
        match self.waiting.take() {
            Some(waiting) => Poll::Ready(waiting.resume(outcome, Instant::now())),
            None => Poll::Pending,
        }
    }
}

//! A body that must end before a deadline: the timeout that began with the request goes on through it.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Sleep;

use crate::error::{BoxError, Error};

pin_project! {
    /// A body with what is left of the request's timeout; without one it costs nothing.
    #[derive(Debug)]
    pub struct DeadlineBody<B> {
        #[pin]
        inner: B,
        deadline: Option<Deadline>,
    }
}

/// A running timer and what its end means.
#[derive(Debug)]
pub(crate) struct Deadline {
    pub(crate) sleep: Pin<Box<Sleep>>,
    pub(crate) is_max_duration: bool,
}

impl Deadline {
    pub(crate) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        std::task::ready!(Future::poll(self.sleep.as_mut(), cx));
        Poll::Ready(if self.is_max_duration { Error::MaxDuration } else { Error::Timeout })
    }
}

impl<B> DeadlineBody<B> {
    pub(crate) const fn new(inner: B, deadline: Option<Deadline>) -> Self {
        Self { inner, deadline }
    }
}

impl<B> Body for DeadlineBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let this = self.project();
        if let Poll::Ready(frame) = this.inner.poll_frame(cx) {
            if !matches!(frame, Some(Ok(_))) {
                *this.deadline = None;
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if let Some(deadline) = this.deadline
            && let Poll::Ready(error) = deadline.poll_expired(cx)
        {
            *this.deadline = None;
            return Poll::Ready(Some(Err(error.into())));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

//! A body that must end before a deadline: the timeouts that began with the request go on through it.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::upload::{IdleTimer, Timer};
use crate::error::{BoxError, Error};

pin_project! {
    /// A body with what is left of the request's timeouts; without any it costs nothing.
    #[derive(Debug)]
    pub struct DeadlineBody<B> {
        #[pin]
        inner: B,
        deadline: Option<Deadline>,
    }
}

/// The running timers of a request. They differ in what the caller is told.
#[derive(Debug)]
pub(crate) struct Deadline {
    /// The route's timeout.
    pub(crate) response: Option<Timer>,
    /// The stream's absolute limit.
    pub(crate) stream: Option<Timer>,
    /// The limit of silence.
    pub(crate) idle: Option<IdleTimer>,
}

impl Deadline {
    pub(crate) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        if let Some(timer) = &mut self.response
            && timer.poll_expired(cx).is_ready()
        {
            return Poll::Ready(Error::Timeout);
        }
        if let Some(timer) = &mut self.stream
            && timer.poll_expired(cx).is_ready()
        {
            return Poll::Ready(Error::MaxDuration);
        }
        if let Some(timer) = &mut self.idle {
            return timer.poll_expired(cx).map(|request_complete| Error::StreamIdle { request_complete });
        }
        Poll::Pending
    }

    /// Notes that something of the response arrived.
    pub(crate) fn pass(&mut self) {
        if let Some(timer) = &mut self.idle {
            timer.pass();
        }
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
        let mut this = self.project();
        if let Poll::Ready(frame) = this.inner.as_mut().poll_frame(cx) {
            if !matches!(frame, Some(Ok(_))) {
                *this.deadline = None;
            } else if let Some(deadline) = this.deadline {
                deadline.pass();
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

//! A response body on its way out through filters: held to a rate, its trailers shown, guards kept until its end.

use std::future::Future;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use mesh_core::engine::fault::Injection;
use mesh_core::engine::throttle::{Allowance, Throttle};
use mesh_core::exchange::filters::FilterExit;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

pin_project! {
    /// A body with what filters want of it; when they want nothing it is the body as it is.
    #[derive(Debug)]
    pub struct FilteredBody<B> {
        #[pin]
        inner: B,
        wishes: Option<Box<Wishes>>,
    }
}

#[derive(Debug)]
struct Wishes {
    held: Held,
    pace: Option<Pace>,
}

/// What a body holds until it has ended.
#[derive(Debug)]
enum Held {
    Exit(FilterExit),
    /// Never looked at: it is a place among the active faults.
    #[allow(dead_code, reason = "held for its drop")]
    Fault(Injection),
}

#[derive(Debug)]
struct Pace {
    throttle: Throttle,
    sleep: Option<Pin<Box<Sleep>>>,
    /// What arrived and may not pass yet.
    waiting: Bytes,
}

impl<B: Body<Data = Bytes>> FilteredBody<B> {
    /// The body as it is.
    pub const fn plain(inner: B) -> Self {
        Self { inner, wishes: None }
    }

    /// A response that filters have seen, with what they want of its body.
    pub(crate) fn wrap(response: Response<B>, exit: FilterExit) -> Response<Self> {
        response.map(|inner| {
            let needed = exit.needs_body() && !inner.is_end_stream();
            let wishes =
                needed.then(|| Box::new(Wishes { pace: Pace::of(exit.plan().throttle), held: Held::Exit(exit) }));
            Self { inner, wishes }
        })
    }

    /// A response body with the fault that was injected.
    pub(crate) fn faulty(inner: B, injection: Injection) -> Self {
        let needed = !injection.is_nothing() && !inner.is_end_stream();
        let wishes = needed.then(|| Box::new(Wishes { pace: Pace::of(injection.rate), held: Held::Fault(injection) }));
        Self { inner, wishes }
    }
}

impl Pace {
    fn of(rate: Option<NonZeroU64>) -> Option<Self> {
        let throttle = Throttle::new(rate?, Instant::now().into_std());
        Some(Self { throttle, sleep: None, waiting: Bytes::new() })
    }

    /// The part of what is waiting that may pass.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                std::task::ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            let now = Instant::now();
            match self.throttle.take(self.waiting.len() as u64, now.into_std()) {
                Allowance::Bytes(bytes) => {
                    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(self.waiting.len());
                    return Poll::Ready(self.waiting.split_to(bytes));
                }
                Allowance::NotBefore(at) => {
                    self.sleep = Some(Box::pin(tokio::time::sleep_until(Instant::from_std(at))));
                }
            }
        }
    }
}

impl<B: Body<Data = Bytes>> Body for FilteredBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let Some(wishes) = this.wishes else { return this.inner.poll_frame(cx) };
        loop {
            if let Some(pace) = &mut wishes.pace
                && !pace.waiting.is_empty()
            {
                let data = std::task::ready!(pace.poll(cx));
                if pace.waiting.is_empty() && this.inner.is_end_stream() {
                    *this.wishes = None;
                }
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            let frame = match std::task::ready!(this.inner.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                end => {
                    *this.wishes = None;
                    return Poll::Ready(end);
                }
            };
            let frame = match (frame.into_data(), &mut wishes.pace) {
                (Ok(data), Some(pace)) if !data.is_empty() => {
                    pace.waiting = data;
                    continue;
                }
                (Ok(data), _) => Frame::data(data),
                (Err(frame), _) => match frame.into_trailers() {
                    Ok(mut trailers) => {
                        if let Held::Exit(exit) = &mut wishes.held
                            && exit.plan().trailers
                        {
                            exit.on_response_trailers(&mut trailers);
                        }
                        Frame::trailers(trailers)
                    }
                    Err(frame) => frame,
                },
            };
            if this.inner.is_end_stream() {
                *this.wishes = None;
            }
            return Poll::Ready(Some(Ok(frame)));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting() == 0 && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, waiting) = (self.inner.size_hint(), self.waiting());
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + waiting);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + waiting);
        }
        hint
    }
}

impl<B> FilteredBody<B> {
    fn waiting(&self) -> u64 {
        let pace = self.wishes.as_ref().and_then(|wishes| wishes.pace.as_ref());
        pace.map_or(0, |pace| pace.waiting.len() as u64)
    }
}

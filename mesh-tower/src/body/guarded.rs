//! A body that holds something until it has ended: a place among a cluster's limits, a count in flight.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// A body with a guard that is dropped when the body ends, or with it.
    #[derive(Debug)]
    pub struct GuardedBody<B, G> {
        #[pin]
        inner: B,
        guard: Option<G>,
    }
}

impl<B: Body, G> GuardedBody<B, G> {
    /// Holds `guard` until `inner` has ended.
    pub fn new(inner: B, guard: G) -> Self {
        let guard = (!inner.is_end_stream()).then_some(guard);
        Self { inner, guard }
    }
}

impl<B: Body, G> Body for GuardedBody<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = std::task::ready!(this.inner.as_mut().poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || this.inner.is_end_stream() {
            *this.guard = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use http_body_util::{BodyExt, Empty, Full};

    use super::*;

    #[tokio::test]
    async fn the_guard_goes_with_the_last_frame_and_not_before() {
        let held = Arc::new(());
        let mut body = GuardedBody::new(Full::new(Bytes::from_static(b"x")), Arc::clone(&held));
        assert_eq!(Arc::strong_count(&held), 2);
        body.frame().await;
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[test]
    fn an_empty_body_holds_nothing_and_a_dropped_one_lets_go() {
        let held = Arc::new(());
        let _empty = GuardedBody::new(Empty::<Bytes>::new(), Arc::clone(&held));
        assert_eq!(Arc::strong_count(&held), 1);
        drop(GuardedBody::new(Full::new(Bytes::from_static(b"x")), Arc::clone(&held)));
        assert_eq!(Arc::strong_count(&held), 1);
    }
}

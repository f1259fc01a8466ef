//! A response's body on its way to a caller over the network.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// Holds an error back for a moment: a server that meets one at once closes the connection before it has sent the head and
    /// the bytes before it, which the caller is to get, as from Envoy.
    #[derive(Clone, Debug)]
    pub struct EdgeBody<B: Body> {
        #[pin]
        inner: B,
        failed: Option<B::Error>,
    }
}

impl<B: Body> EdgeBody<B> {
    pub(super) const fn new(inner: B) -> Self {
        Self { inner, failed: None }
    }
}

impl<B: Body> Body for EdgeBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        if let Some(error) = this.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match std::task::ready!(this.inner.poll_frame(cx)) {
            Some(Err(error)) => {
                *this.failed = Some(error);
                // What there is so far is sent while nothing more comes.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            frame => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failed.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use bytes::Bytes;

    use super::*;

    /// Some bytes, and then an error.
    struct Broken(bool);

    impl Body for Broken {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            let first = !std::mem::replace(&mut self.0, true);
            Poll::Ready(Some(if first { Ok(Frame::data(Bytes::from_static(b"abc"))) } else { Err("gone") }))
        }
    }

    #[test]
    fn an_error_comes_a_moment_after_what_went_before_it() {
        let mut body = std::pin::pin!(EdgeBody::new(Broken(false)));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(body.as_mut().poll_frame(&mut cx), Poll::Ready(Some(Ok(_)))));
        assert!(body.as_mut().poll_frame(&mut cx).is_pending());
        assert!(matches!(body.as_mut().poll_frame(&mut cx), Poll::Ready(Some(Err("gone")))));
    }
}

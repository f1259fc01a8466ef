//! A request body behind the filters: as it came, or read to its end already because a filter wanted it whole.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use mesh_core::engine::filter::EffectOutcome;
use pin_project_lite::pin_project;

use crate::error::BoxError;

pin_project! {
    /// A request's body, or what was kept of it.
    pub struct RequestBody<B: Body> {
        #[pin]
        inner: Option<B>,
        kept: Option<Box<Kept<B::Data>>>,
    }
}

/// A body that was read.
struct Kept<D> {
    frames: VecDeque<Frame<D>>,
    error: Option<BoxError>,
}

impl<B: Body> RequestBody<B> {
    /// The body as it came.
    pub const fn new(inner: B) -> Self {
        Self { inner: Some(inner), kept: None }
    }

    /// No body: what is left where a body is taken away.
    pub(crate) const fn taken() -> Self {
        Self { inner: None, kept: None }
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let this = self.project();
        if let Some(kept) = this.kept {
            return Poll::Ready(match kept.frames.pop_front() {
                Some(frame) => Some(Ok(frame)),
                None => kept.error.take().map(Err),
            });
        }
        match this.inner.as_pin_mut() {
            Some(inner) => inner.poll_frame(cx).map_err(Into::into),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match (&self.kept, &self.inner) {
            (Some(kept), _) => kept.frames.is_empty() && kept.error.is_none(),
            (None, inner) => inner.as_ref().is_none_or(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.kept, &self.inner) {
            (Some(kept), _) if kept.error.is_none() => {
                let length = |frame: &Frame<B::Data>| frame.data_ref().map_or(0, |data| data.remaining() as u64);
                SizeHint::with_exact(kept.frames.iter().map(length).sum())
            }
            (Some(_), _) => SizeHint::default(),
            (None, inner) => inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint),
        }
    }
}

impl<B: Body> fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.kept.is_some() { "RequestBody(kept)" } else { "RequestBody" })
    }
}

/// Reads a body to its end, unless it is too long.
pub(crate) struct Keep<B: Body> {
    body: Pin<Box<RequestBody<B>>>,
    kept: Option<Box<Kept<B::Data>>>,
    bytes: u64,
    max_bytes: u64,
}

impl<B> Keep<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    pub(crate) fn new(body: RequestBody<B>, max_bytes: u64) -> Self {
        let kept = Some(Box::new(Kept { frames: VecDeque::new(), error: None }));
        Self { body: Box::pin(body), kept, bytes: 0, max_bytes }
    }

    /// What came of it, and the body to go on with.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(EffectOutcome, RequestBody<B>)> {
        let Some(kept) = &mut self.kept else { return Poll::Pending };
        let outcome = loop {
            match std::task::ready!(self.body.as_mut().poll_frame(cx)) {
                None => break EffectOutcome::Buffered { bytes: self.bytes },
                Some(Err(error)) => {
                    kept.error = Some(error);
                    break EffectOutcome::BodyFailed;
                }
                Some(Ok(frame)) => {
                    self.bytes += frame.data_ref().map_or(0, |data| data.remaining() as u64);
                    if self.bytes > self.max_bytes {
                        kept.frames.clear();
                        break EffectOutcome::TooLarge;
                    }
                    kept.frames.push_back(frame);
                }
            }
        };
        Poll::Ready((outcome, RequestBody { inner: None, kept: self.kept.take() }))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue};
    use http_body_util::{BodyExt, Full};

    use super::*;

    struct Frames(VecDeque<Result<Frame<Bytes>, &'static str>>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            Poll::Ready(self.0.pop_front())
        }
    }

    fn body(frames: impl IntoIterator<Item = Result<Frame<Bytes>, &'static str>>) -> RequestBody<Frames> {
        RequestBody::new(Frames(frames.into_iter().collect()))
    }

    fn data(text: &'static str) -> Result<Frame<Bytes>, &'static str> {
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    #[tokio::test]
    async fn a_kept_body_is_the_same_body_trailers_included() {
        let trailers = HeaderMap::from_iter([(http::HeaderName::from_static("x-t"), HeaderValue::from_static("1"))]);
        let frames = [data("ab"), data("c"), Ok(Frame::trailers(trailers.clone()))];
        let mut keep = Keep::new(body(frames), 3);
        let (outcome, kept) = poll_fn(|cx| keep.poll(cx)).await;
        assert!(matches!(outcome, EffectOutcome::Buffered { bytes: 3 }), "{outcome:?}");
        assert_eq!((kept.size_hint().exact(), kept.is_end_stream()), (Some(3), false));
        let collected = kept.collect().await.unwrap();
        assert_eq!((collected.trailers().cloned(), collected.to_bytes()), (Some(trailers), Bytes::from_static(b"abc")));
    }

    #[tokio::test]
    async fn a_body_that_is_too_long_is_let_go() {
        let mut keep = Keep::new(body([data("ab"), data("cd"), data("ef")]), 3);
        let (outcome, kept) = poll_fn(|cx| keep.poll(cx)).await;
        assert!(matches!(outcome, EffectOutcome::TooLarge) && kept.is_end_stream(), "{outcome:?}");
    }

    #[tokio::test]
    async fn a_body_that_fails_fails_for_whoever_reads_it() {
        let mut keep = Keep::new(body([data("ab"), Err("gone")]), 100);
        let (outcome, mut kept) = poll_fn(|cx| keep.poll(cx)).await;
        assert!(matches!(outcome, EffectOutcome::BodyFailed), "{outcome:?}");
        assert_eq!(kept.frame().await.unwrap().unwrap().into_data().ok(), Some(Bytes::from_static(b"ab")));
        assert_eq!(kept.frame().await.unwrap().unwrap_err().to_string(), "gone");
        assert!(kept.is_end_stream());
    }

    #[tokio::test]
    async fn a_body_that_nobody_kept_is_as_it_was() {
        let body = RequestBody::new(Full::new(Bytes::from_static(b"xyz")));
        assert_eq!(body.size_hint().exact(), Some(3));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "xyz");
    }
}

//! A body that is either the upstream's or an answer made here.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The upstream's body, or a few bytes of our own.
    #[derive(Debug)]
    pub struct LocalOr<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = KindProjection]
    enum Kind<B> {
        // `None` once it is read.
        Local { bytes: Option<Bytes> },
        Upstream { #[pin] body: B },
    }
}

impl<B> LocalOr<B> {
    /// An answer made here.
    #[must_use]
    pub fn local(bytes: Bytes) -> Self {
        Self { kind: Kind::Local { bytes: (!bytes.is_empty()).then_some(bytes) } }
    }

    /// The upstream's body.
    pub const fn upstream(body: B) -> Self {
        Self { kind: Kind::Upstream { body } }
    }
}

impl<B: Body<Data = Bytes>> Body for LocalOr<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProjection::Local { bytes } => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            KindProjection::Upstream { body } => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Local { bytes } => bytes.is_none(),
            Kind::Upstream { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Local { bytes } => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Upstream { body } => body.size_hint(),
        }
    }
}

//! The one type of request body that an HTTP/1.1 connection takes.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

use crate::error::BoxError;

/// hyper fixes one body type per connection; every request's body becomes this one. One without content costs nothing.
pub(crate) struct PoolBody {
    inner: Option<UnsyncBoxBody<Bytes, BoxError>>,
    /// Told when nothing more of the body will be read.
    uploading: Option<Arc<AtomicBool>>,
}

impl PoolBody {
    pub(crate) fn new<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let inner = (!body.is_end_stream()).then(|| UnsyncBoxBody::new(body.map_err(Into::into)));
        Self { inner, uploading: None }
    }

    /// Says in `uploading` for how long the body is being read.
    pub(super) fn watch(&mut self, uploading: &Arc<AtomicBool>) {
        uploading.store(self.inner.is_some(), Ordering::Relaxed);
        self.uploading = self.inner.is_some().then(|| Arc::clone(uploading));
    }

    fn end(&mut self) {
        if let Some(uploading) = self.uploading.take() {
            uploading.store(false, Ordering::Relaxed);
        }
    }
}

impl Drop for PoolBody {
    fn drop(&mut self) {
        self.end();
    }
}

impl Body for PoolBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(inner).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || self.is_end_stream() {
            self.end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl fmt::Debug for PoolBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBody").field("is_empty", &self.inner.is_none()).finish_non_exhaustive()
    }
}

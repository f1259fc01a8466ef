//! A response body that reports how a gRPC call ended: its trailers tell, not its HTTP status.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame, SizeHint};
use mesh_core::exchange::Target;

use super::UpstreamBody;
use crate::error::BoxError;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// A body from the wire; of a gRPC call the outcome is counted when it ends.
///
/// A call that the caller gives up before its end counts as neither success nor failure.
#[derive(Debug)]
pub struct ReportedBody {
    inner: UpstreamBody,
    /// Whom to report; taken with the report.
    target: Option<Target>,
}

impl ReportedBody {
    /// Nobody is told of a call that is not gRPC.
    pub(crate) fn new(inner: UpstreamBody, headers: &HeaderMap, target: Option<Target>) -> Self {
        let Some(target) = target else { return Self { inner, target: None } };
        if let Some(status) = headers.get(GRPC_STATUS) {
            target.report_grpc(Some(status));
            return Self { inner, target: None };
        }
        if inner.is_end_stream() {
            target.report_grpc(None);
            return Self { inner, target: None };
        }
        Self { inner, target: Some(target) }
    }

    fn report(&mut self, trailers: Option<&HeaderMap>) {
        if let Some(target) = self.target.take() {
            target.report_grpc(trailers.and_then(|trailers| trailers.get(GRPC_STATUS)));
        }
    }
}

impl Body for ReportedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if self.target.is_some() {
            match &frame {
                Some(Ok(frame)) => {
                    if let Some(trailers) = frame.trailers_ref() {
                        self.report(Some(trailers));
                    }
                }
                Some(Err(_)) | None => self.report(None),
            }
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

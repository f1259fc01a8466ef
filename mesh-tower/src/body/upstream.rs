//! A response body as it comes from a pooled connection, HTTP/1.1 or HTTP/2.

use std::error::Error as _;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::error::{BoxError, Error};
use crate::pool::{H1Lease, H2Stream, h2_reset};
use mesh_core::engine::retry::Reset;

/// A response body from the wire.
///
/// # Cancel safety
/// Dropping it before its end resets an HTTP/2 stream and closes an HTTP/1.1 connection.
pub struct UpstreamBody(Kind);

enum Kind {
    H1 { body: hyper::body::Incoming, lease: Option<H1Lease> },
    H2 { body: h2::RecvStream, _stream: H2Stream, data_done: bool, left: Option<u64> },
    Done,
}

impl UpstreamBody {
    pub(crate) fn h1(body: hyper::body::Incoming, lease: H1Lease) -> Self {
        let mut this = Self(Kind::H1 { body, lease: Some(lease) });
        if this.is_end_stream() {
            this.release_h1();
        }
        this
    }

    pub(crate) fn h2(body: h2::RecvStream, stream: H2Stream, length: Option<u64>) -> Self {
        if body.is_end_stream() {
            return Self(Kind::Done);
        }
        Self(Kind::H2 { body, _stream: stream, data_done: false, left: length })
    }

    fn release_h1(&mut self) {
        if let Kind::H1 { lease, .. } = &mut self.0
            && let Some(lease) = lease.take()
        {
            lease.give_back();
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Done => Poll::Ready(None),
            Kind::H1 { body, lease } => {
                let mut read = |cx: &mut Context<'_>| Pin::new(&mut *body).poll_frame(cx);
                let frame = std::task::ready!(match lease {
                    Some(lease) => lease.drive(cx, read),
                    None => read(cx),
                });
                match frame {
                    Some(Ok(frame)) => {
                        if body.is_end_stream() {
                            self.release_h1();
                        }
                        Poll::Ready(Some(Ok(frame)))
                    }
                    Some(Err(error)) => {
                        self.0 = Kind::Done;
                        let reset = if is_lost(&error) {
                            Reset::ConnectionTermination { request_sent: true }
                        } else {
                            Reset::ProtocolError
                        };
                        Poll::Ready(Some(Err(Error::ResponseReset { reset, source: Some(error.into()) }.into())))
                    }
                    None => {
                        self.release_h1();
                        Poll::Ready(None)
                    }
                }
            }
            Kind::H2 { body, data_done, left, .. } => {
                if !*data_done {
                    match std::task::ready!(body.poll_data(cx)) {
                        Some(Ok(data)) => {
                            // The window is opened again at once: whoever reads slowly is held by not polling.
                            let _ = body.flow_control().release_capacity(data.len());
                            *left = left.map(|left| left.saturating_sub(data.len() as u64));
                            if body.is_end_stream() {
                                self.0 = Kind::Done;
                            }
                            return Poll::Ready(Some(Ok(Frame::data(data))));
                        }
                        Some(Err(error)) => return Poll::Ready(self.fail_h2(error)),
                        None => *data_done = true,
                    }
                }
                match std::task::ready!(body.poll_trailers(cx)) {
                    Ok(trailers) => {
                        self.0 = Kind::Done;
                        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
                    }
                    Err(error) => Poll::Ready(self.fail_h2(error)),
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Done => true,
            Kind::H1 { body, .. } => body.is_end_stream(),
            Kind::H2 { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Done => SizeHint::with_exact(0),
            Kind::H1 { body, .. } => body.size_hint(),
            Kind::H2 { left, .. } => left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

impl UpstreamBody {
    fn fail_h2(&mut self, error: h2::Error) -> Option<Result<Frame<Bytes>, BoxError>> {
        let is_short = matches!(self.0, Kind::H2 { left: Some(left), .. } if left > 0);
        self.0 = Kind::Done;
        // NO_ERROR after a complete response is how a server says that it needs no more of the request.
        if !is_short && error.is_reset() && error.reason() == Some(h2::Reason::NO_ERROR) {
            return None;
        }
        Some(Err(Error::ResponseReset { reset: h2_reset(&error), source: Some(error.into()) }.into()))
    }
}

/// Whether the connection broke. A body cut short in good order is a broken protocol to Envoy (`UPE`).
fn is_lost(error: &hyper::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut};
    let io = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| matches!(io.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | TimedOut))
}

impl fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::H1 { .. } => "UpstreamBody(HTTP/1.1)",
            Kind::H2 { .. } => "UpstreamBody(HTTP/2)",
            Kind::Done => "UpstreamBody(done)",
        })
    }
}

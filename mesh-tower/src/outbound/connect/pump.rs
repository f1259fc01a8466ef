//! Sends a request's body on an HTTP/2 stream.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;

use crate::error::{BoxError, Error};

/// A body on its way; a future that is done when the last byte is handed to the connection.
///
/// One frame is held back until it is known whether another follows, so that the last one carries the end of
/// the stream and a unary request is one DATA frame.
pub(super) struct Pump<B> {
    body: Pin<Box<B>>,
    send: SendStream<Bytes>,
    held: Option<Bytes>,
    sent_any: bool,
}

impl<B> Pump<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(body: B, send: SendStream<Bytes>) -> Self {
        Self { body: Box::pin(body), send, held: None, sent_any: false }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            if self.sent_any {
                // The peer's window holds the body back: nothing is read of it before there is room.
                if self.send.capacity() == 0 {
                    self.send.reserve_capacity(1);
                    match std::task::ready!(self.send.poll_capacity(cx)) {
                        Some(Ok(_)) => {}
                        // The response tells why the stream is over.
                        Some(Err(_)) | None => return Poll::Ready(Ok(())),
                    }
                } else if let Poll::Ready(Ok(_) | Err(_)) = self.send.poll_reset(cx) {
                    return Poll::Ready(Ok(()));
                }
            }
            match self.body.as_mut().poll_frame(cx) {
                Poll::Pending => {
                    if let Some(data) = self.held.take() {
                        self.send_data(data, false);
                    }
                    // A reset must wake whoever drives the body, though no data comes.
                    if self.send.poll_reset(cx).is_ready() {
                        return Poll::Ready(Ok(()));
                    }
                    return Poll::Pending;
                }
                Poll::Ready(None) => {
                    let last = self.held.take().unwrap_or_default();
                    self.send_data(last, true);
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        let end = self.body.is_end_stream();
                        if let Some(before) = self.held.replace(data) {
                            self.send_data(before, false);
                        }
                        if end {
                            let last = self.held.take().unwrap_or_default();
                            self.send_data(last, true);
                            return Poll::Ready(Ok(()));
                        }
                    }
                    Err(frame) => {
                        if let Some(before) = self.held.take() {
                            self.send_data(before, false);
                        }
                        if let Ok(trailers) = frame.into_trailers() {
                            let _ = self.send.send_trailers(trailers);
                            return Poll::Ready(Ok(()));
                        }
                    }
                },
                Poll::Ready(Some(Err(error))) => {
                    self.send.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(Error::RequestBody(error.into())));
                }
            }
        }
    }

    /// An error means that the stream is over; the response future tells why.
    fn send_data(&mut self, data: Bytes, end: bool) {
        self.sent_any = true;
        let _ = self.send.send_data(data, end);
    }
}

impl<B> Future for Pump<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Self::poll(&mut self, cx).map(|_| ())
    }
}

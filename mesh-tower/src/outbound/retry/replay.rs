//! A request body that can be sent again from its beginning, as long as not too much of it was sent.
//!
//! The first try reads the caller's body and keeps what it reads. When that try is over, and the transport has
//! dropped its half, the kept frames and the unread rest become the next try's body.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use smallvec::SmallVec;

use super::shared::SharedReading;
use crate::body::Upload;

pin_project! {
    /// A body that may be replayed.
    pub struct ReplayBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B> {
        // Will be sent once: the caller's body as it is.
        Once { #[pin] body: B },
        // May be sent again.
        Kept { reading: Reading<B> },
        // May be sent several times at once.
        Shared { reading: SharedReading<B> },
    }
}

/// One try's reading of a kept body. Dropping it hands the body on to the next try.
struct Reading<B> {
    kept: Option<Kept<B>>,
    slot: Slot<B>,
    /// Frames that this try has sent already.
    at: usize,
    sent_trailers: bool,
    watch: Watch,
}

/// Tells how far a try's sending is, if anybody wants to know.
pub(super) struct Watch(pub(super) Option<Upload>);

impl Watch {
    pub(super) fn begin(&self) {
        if let Some(upload) = &self.0 {
            upload.begin();
        }
    }

    pub(super) fn after<E>(&self, polled: &Poll<Option<Result<Frame<Bytes>, E>>>, is_sent: bool) {
        let Some(upload) = &self.0 else { return };
        match polled {
            Poll::Pending => upload.wait(),
            Poll::Ready(Some(Ok(frame))) if frame.is_data() && !is_sent => {}
            Poll::Ready(_) => upload.end(),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(upload) = self.0.take() {
            upload.end();
        }
    }
}

/// Where a try leaves the body when it is over.
pub(super) struct Slot<B>(Arc<Shared<B>>);

struct Shared<B> {
    /// One of [`OPEN`], [`SPILLED`], [`CLAIMED`].
    state: AtomicU8,
    left: Mutex<Left<B>>,
}

/// A try reads the body, and all that it read is kept.
const OPEN: u8 = 0;
/// More was read than may be kept: the body cannot be replayed any more.
const SPILLED: u8 = 1;
/// The next try has been decided on: whoever still reads must lose nothing.
const CLAIMED: u8 = 2;

struct Left<B> {
    kept: Option<Kept<B>>,
    /// Who waits for it.
    waker: Option<Waker>,
}

/// A body with what was read of it.
pub(super) struct Kept<B> {
    rest: Option<Pin<Box<B>>>,
    frames: SmallVec<[Bytes; 2]>,
    trailers: Option<HeaderMap>,
    bytes: u64,
    limit: u64,
}

impl<B: Body<Data = Bytes>> ReplayBody<B> {
    /// A body for a request that is tried once.
    pub(super) const fn once(body: B) -> Self {
        Self { kind: Kind::Once { body } }
    }

    /// A body of which up to `limit` bytes are kept, and the slot that the next try finds it in.
    pub(super) fn kept(body: B, limit: u64, upload: Option<Upload>) -> (Self, Slot<B>) {
        let shared = Shared { state: AtomicU8::new(OPEN), left: Mutex::new(Left { kept: None, waker: None }) };
        let slot = Slot(Arc::new(shared));
        let kept = Kept { rest: Some(Box::pin(body)), frames: SmallVec::new(), trailers: None, bytes: 0, limit };
        (Self::resume(kept, slot.clone(), upload), slot)
    }

    const fn resume(kept: Kept<B>, slot: Slot<B>, upload: Option<Upload>) -> Self {
        let watch = Watch(upload);
        Self { kind: Kind::Kept { reading: Reading { kept: Some(kept), slot, at: 0, sent_trailers: false, watch } } }
    }

    /// A body that other tries read as well.
    pub(super) const fn shared(reading: SharedReading<B>) -> Self {
        Self { kind: Kind::Shared { reading } }
    }
}

impl<B: Body<Data = Bytes>> Slot<B> {
    /// Whether the body cannot be sent again.
    pub(super) fn is_spilled(&self) -> bool {
        self.0.state.load(Ordering::Acquire) == SPILLED
    }

    /// Keeps the body for another try, from now on whatever is read of it. False when it spilled before.
    pub(super) fn claim(&self) -> bool {
        self.0.state.compare_exchange(OPEN, CLAIMED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The body for another try, as soon as the transport has dropped its half. `None` when it spilled.
    ///
    /// The next try tells `upload`, as made by the caller, how far it is.
    pub(super) fn poll_again(
        &self,
        cx: &mut Context<'_>,
        upload: impl FnOnce() -> Option<Upload>,
    ) -> Poll<Option<ReplayBody<B>>> {
        if self.is_spilled() {
            return Poll::Ready(None);
        }
        let mut left = self.lock();
        if let Some(kept) = left.kept.take() {
            self.0.state.store(OPEN, Ordering::Release);
            return Poll::Ready(Some(ReplayBody::resume(kept, self.clone(), upload())));
        }
        left.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<B> Slot<B> {
    /// Gives up replaying. False when the next try has been decided on already.
    fn spill(&self) -> bool {
        self.0.state.compare_exchange(OPEN, SPILLED, Ordering::AcqRel, Ordering::Acquire) != Err(CLAIMED)
    }

    fn lock(&self) -> MutexGuard<'_, Left<B>> {
        self.0.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Clone for Slot<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Body<Data = Bytes>> Body for ReplayBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProjection::Once { body } => body.poll_frame(cx),
            KindProjection::Kept { reading } => reading.poll_watched(cx),
            KindProjection::Shared { reading } => reading.poll_watched(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Once { body } => body.is_end_stream(),
            Kind::Kept { reading } => reading.is_sent(),
            Kind::Shared { reading } => reading.is_sent(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Once { body } => body.size_hint(),
            Kind::Kept { reading } => reading.size_hint(),
            Kind::Shared { reading } => reading.size_hint(),
        }
    }
}

impl<B: Body<Data = Bytes>> Reading<B> {
    fn poll_watched(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.watch.begin();
        let polled = self.poll_frame(cx);
        self.watch.after(&polled, self.is_sent());
        polled
    }

    /// Whether there is nothing more to send.
    fn is_sent(&self) -> bool {
        self.kept.as_ref().is_none_or(|kept| {
            self.at >= kept.frames.len()
                && (kept.trailers.is_none() || self.sent_trailers)
                && kept.rest.as_ref().is_none_or(|rest| rest.is_end_stream())
        })
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(kept) = &mut self.kept else { return Poll::Ready(None) };
        if let Some(frame) = kept.frames.get(self.at) {
            self.at += 1;
            return Poll::Ready(Some(Ok(Frame::data(frame.clone()))));
        }
        if let Some(rest) = &mut kept.rest {
            match std::task::ready!(rest.as_mut().poll_frame(cx)) {
                None => kept.rest = None,
                Some(Err(error)) => {
                    // What the caller could not give once it cannot give again.
                    kept.rest = None;
                    self.slot.0.state.store(SPILLED, Ordering::Release);
                    return Poll::Ready(Some(Err(error)));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        kept.bytes = kept.bytes.saturating_add(data.len() as u64);
                        if kept.bytes > kept.limit {
                            if !self.slot.spill() {
                                // This try is over, and whoever reads for it is about to go.
                                kept.frames.push(data);
                                return Poll::Pending;
                            }
                            kept.frames.clear();
                            self.at = 0;
                        } else {
                            kept.frames.push(data.clone());
                            self.at = kept.frames.len();
                        }
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            kept.trailers = Some(trailers);
                        }
                        kept.rest = None;
                    }
                },
            }
        }
        if !self.sent_trailers
            && let Some(trailers) = &kept.trailers
        {
            self.sent_trailers = true;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers.clone()))));
        }
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        let Some(kept) = &self.kept else { return SizeHint::with_exact(0) };
        let unsent: u64 = kept.frames.iter().skip(self.at).map(|frame| frame.len() as u64).sum();
        let rest = kept.rest.as_ref().map_or(SizeHint::with_exact(0), |rest| rest.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + unsent);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + unsent);
        }
        hint
    }
}

impl<B> Drop for Reading<B> {
    fn drop(&mut self) {
        if let Some(kept) = self.kept.take() {
            let mut left = self.slot.lock();
            left.kept = Some(kept);
            if let Some(waker) = left.waker.take() {
                waker.wake();
            }
        }
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.kind {
            Kind::Once { .. } => "ReplayBody::Once",
            Kind::Kept { .. } => "ReplayBody::Kept",
            Kind::Shared { .. } => "ReplayBody::Shared",
        })
    }
}

impl<B> fmt::Debug for Reading<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("at", &self.at).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;

    fn again(slot: &Slot<Full<Bytes>>) -> Poll<Option<ReplayBody<Full<Bytes>>>> {
        slot.poll_again(&mut Context::from_waker(Waker::noop()), || None)
    }

    #[tokio::test]
    async fn what_one_try_read_the_next_one_reads_again() {
        let (first, slot) = ReplayBody::kept(Full::new(Bytes::from_static(b"hello")), 5, None);
        assert_eq!(first.size_hint().exact(), Some(5));
        assert_eq!(first.collect().await.unwrap().to_bytes(), "hello");
        let Poll::Ready(Some(second)) = again(&slot) else { panic!("the first try is over") };
        assert_eq!(second.size_hint().exact(), Some(5));
        assert_eq!(second.collect().await.unwrap().to_bytes(), "hello");
        assert!(again(&slot).is_ready());
    }

    #[tokio::test]
    async fn a_body_beyond_the_limit_is_sent_whole_but_only_once() {
        let (first, slot) = ReplayBody::kept(Full::new(Bytes::from_static(b"hello")), 4, None);
        assert_eq!(first.collect().await.unwrap().to_bytes(), "hello");
        assert!(slot.is_spilled());
        assert!(matches!(again(&slot), Poll::Ready(None)));
    }

    #[tokio::test]
    async fn what_is_read_after_the_next_try_was_decided_on_is_not_lost() {
        let (mut first, slot) = ReplayBody::kept(Full::new(Bytes::from_static(b"hello")), 4, None);
        assert!(slot.claim());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut first).poll_frame(&mut cx).is_pending(), "five bytes of four: not sent, and kept");
        drop(first);
        let Poll::Ready(Some(second)) = again(&slot) else { panic!("the first try is over") };
        assert_eq!(second.collect().await.unwrap().to_bytes(), "hello");
    }

    #[test]
    fn nothing_is_replayed_while_the_transport_holds_the_body() {
        let (first, slot) = ReplayBody::kept(Full::new(Bytes::from_static(b"hello")), 5, None);
        assert!(again(&slot).is_pending());
        drop(first);
        assert!(matches!(again(&slot), Poll::Ready(Some(_))));
    }
}

//! A request body that is copied while it is sent: the copies read what the request has read, and never hold it up.
//!
//! ```text
//! caller ──▶ MirrorBody (the request's) ──▶ upstream
//!                 └─ clone of each frame ─▶ queue ─▶ MirrorBody (a copy's) ──▶ mirror
//! ```
//!
//! A queue has a limit, and all of a stack's have one together. A copy that does not keep up loses its queue, and with
//! it its request; so does one whose original ends before its body does.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use mesh_core::exchange::Lost;
use pin_project_lite::pin_project;
use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::error::BoxError;

pin_project! {
    /// The body of a request that may have copies, or of a copy. Without copies it costs nothing.
    pub struct MirrorBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B> {
        Request { #[pin] body: B, copies: Option<Box<Copies>> },
        Copy { queue: Option<Reader> },
    }
}

/// Bytes that all queues of a stack may hold together.
#[derive(Debug)]
pub(crate) struct Budget {
    most: u64,
    held: AtomicU64,
}

/// Why a copy's body ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CutShort {
    /// It fell behind.
    #[error("the mirror is slower than the request that it copies")]
    Behind,
    /// There is no more to copy.
    #[error("the request ended before its body")]
    Original,
}

/// The writing ends of a request's queues.
#[derive(Default)]
struct Copies {
    queues: SmallVec<[Arc<Queue>; 1]>,
    /// All of the body went by, whether or not somebody asked for its end.
    is_whole: bool,
}

struct Queue {
    state: Mutex<State>,
    limit: u64,
    budget: Arc<Budget>,
    lost: Option<Lost>,
    /// Tells the copy that it fell behind, though its transport may not ask for more of it.
    behind: Arc<Notify>,
}

#[derive(Default)]
struct State {
    frames: VecDeque<Bytes>,
    bytes: u64,
    trailers: Option<HeaderMap>,
    /// How it ended, once it has.
    end: Option<Result<(), CutShort>>,
    waker: Option<Waker>,
    /// Nobody reads any more.
    is_deaf: bool,
}

/// The reading end of a queue.
struct Reader {
    queue: Arc<Queue>,
    /// What is left, when it is known.
    left: Option<u64>,
}

impl Budget {
    pub(crate) const fn new(most: u64) -> Self {
        Self { most, held: AtomicU64::new(0) }
    }

    fn take(&self, bytes: u64) -> bool {
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.most;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    fn give_back(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    #[cfg(test)]
    fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}

impl<B: Body> MirrorBody<B> {
    /// The body of a request without copies.
    pub const fn alone(body: B) -> Self {
        Self { kind: Kind::Request { body, copies: None } }
    }

    /// A body and a copy of it for each of `whom`, who are told when theirs falls behind by more than `limit` bytes.
    pub(crate) fn copied(
        body: B,
        whom: impl IntoIterator<Item = Option<Lost>>,
        limit: u64,
        budget: &Arc<Budget>,
    ) -> (Self, SmallVec<[Self; 1]>) {
        let of_copy = |queue| Self { kind: Kind::Copy { queue } };
        if body.is_end_stream() {
            return (Self::alone(body), whom.into_iter().map(|_| of_copy(None)).collect());
        }
        let queue = |lost| {
            Arc::new(Queue { state: Mutex::default(), limit, budget: Arc::clone(budget), lost, behind: Arc::default() })
        };
        let queues: SmallVec<[Arc<Queue>; 1]> = whom.into_iter().map(queue).collect();
        let left = body.size_hint().exact();
        let readers = queues.iter().map(|queue| of_copy(Some(Reader { queue: Arc::clone(queue), left }))).collect();
        let copies = Some(Box::new(Copies { queues, is_whole: false }));
        (Self { kind: Kind::Request { body, copies } }, readers)
    }
}

impl<B> MirrorBody<B> {
    /// What is notified when this copy falls behind.
    pub(crate) fn behind(&self) -> Option<Arc<Notify>> {
        match &self.kind {
            Kind::Copy { queue: Some(reader) } => Some(Arc::clone(&reader.queue.behind)),
            _ => None,
        }
    }
}

impl Copies {
    fn data(&mut self, data: &Bytes) {
        self.queues.retain(|queue| queue.push(data.clone()));
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        for queue in &self.queues {
            queue.lock().trailers = Some(trailers.clone());
        }
        self.is_whole = true;
    }
}

impl Drop for Copies {
    /// Whoever holds the body is done with it.
    fn drop(&mut self) {
        let end = if self.is_whole { Ok(()) } else { Err(CutShort::Original) };
        self.queues.iter().for_each(|queue| queue.end(end));
    }
}

impl Queue {
    /// Takes a frame; false when this queue wants no more.
    fn push(&self, data: Bytes) -> bool {
        let mut state = self.lock();
        if state.is_deaf {
            return false;
        }
        let length = data.len() as u64;
        // What is larger than the limit by itself may pass when nothing else waits.
        let fits = state.bytes == 0 || state.bytes.saturating_add(length) <= self.limit;
        if !fits || !self.budget.take(length) {
            self.clear(&mut state);
            state.finish(Err(CutShort::Behind));
            self.behind.notify_one();
            if let Some(lost) = &self.lost {
                lost.count();
            }
            return false;
        }
        state.bytes += length;
        state.frames.push_back(data);
        state.wake();
        true
    }

    fn end(&self, end: Result<(), CutShort>) {
        self.lock().finish(end);
    }

    fn clear(&self, state: &mut State) {
        self.budget.give_back(std::mem::take(&mut state.bytes));
        state.frames.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.budget.give_back(std::mem::take(&mut state.bytes));
    }
}

impl State {
    fn finish(&mut self, end: Result<(), CutShort>) {
        self.end.get_or_insert(end);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Reader {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        let mut state = self.queue.lock();
        if let Some(data) = state.frames.pop_front() {
            let length = data.len() as u64;
            state.bytes -= length;
            self.queue.budget.give_back(length);
            self.left = self.left.map(|left| left.saturating_sub(length));
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match state.end {
            Some(Ok(())) => Poll::Ready(state.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
            Some(Err(why)) => Poll::Ready(Some(Err(why))),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = self.queue.lock();
        state.frames.is_empty() && state.trailers.is_none() && matches!(state.end, Some(Ok(())))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.is_deaf = true;
        self.queue.clear(&mut state);
    }
}

impl<B> Body for MirrorBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().kind.project() {
            KindProjection::Request { mut body, copies } => {
                let frame = std::task::ready!(body.as_mut().poll_frame(cx));
                if let Some(of_request) = copies {
                    match &frame {
                        Some(Ok(frame)) => {
                            if let Some(data) = frame.data_ref() {
                                of_request.data(data);
                            } else if let Some(trailers) = frame.trailers_ref() {
                                of_request.trailers(trailers);
                            }
                            // A transport that knows the length may not ask for the end.
                            of_request.is_whole |= body.size_hint().exact() == Some(0);
                            if body.is_end_stream() {
                                of_request.is_whole = true;
                                *copies = None;
                            }
                        }
                        None => {
                            of_request.is_whole = true;
                            *copies = None;
                        }
                        Some(Err(_)) => {
                            of_request.is_whole = false;
                            *copies = None;
                        }
                    }
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            KindProjection::Copy { queue } => {
                let Some(reader) = queue else { return Poll::Ready(None) };
                let frame = std::task::ready!(reader.poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Request { body, .. } => body.is_end_stream(),
            Kind::Copy { queue } => queue.as_ref().is_none_or(Reader::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Request { body, .. } => body.size_hint(),
            Kind::Copy { queue: None } => SizeHint::with_exact(0),
            Kind::Copy { queue: Some(reader) } => reader.left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

impl<B> fmt::Debug for MirrorBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.kind {
            Kind::Request { copies: None, .. } => "MirrorBody",
            Kind::Request { .. } => "MirrorBody(copied)",
            Kind::Copy { .. } => "MirrorBody(a copy)",
        })
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::channel::Channel;
    use http_body_util::{BodyExt, Full};

    use super::*;

    type Text = Full<Bytes>;

    fn full(text: &'static str) -> Text {
        Full::new(Bytes::from_static(text.as_bytes()))
    }

    fn why(error: &BoxError) -> CutShort {
        *error.downcast_ref().unwrap()
    }

    fn budget(most: u64) -> Arc<Budget> {
        Arc::new(Budget::new(most))
    }

    #[tokio::test]
    async fn every_copy_reads_what_the_request_read_trailers_included() {
        let trailers = HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from_static("1"))]);
        let body = full("hello").with_trailers(std::future::ready(Some(Ok(trailers.clone()))));
        let (body, copies) = MirrorBody::copied(body, [None, None], 10, &budget(100));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
        for copy in copies {
            let copy = copy.collect().await.unwrap();
            assert_eq!(copy.trailers(), Some(&trailers));
            assert_eq!(copy.to_bytes(), "hello");
        }
    }

    #[tokio::test]
    async fn a_length_that_is_known_is_the_copys_too_and_an_empty_body_is_over() {
        let (_body, copies) = MirrorBody::copied(full("hello"), [None], 10, &budget(100));
        assert_eq!(copies[0].size_hint().exact(), Some(5));
        assert!(!copies[0].is_end_stream());
        let (_empty, copies) = MirrorBody::copied(full(""), [None], 10, &budget(100));
        assert!(copies[0].is_end_stream());
    }

    #[tokio::test]
    async fn n22_a_copy_that_falls_behind_is_dropped_and_its_memory_freed() {
        let (mut send, body) = Channel::<Bytes>::new(8);
        let budget = budget(1_000);
        let (mut body, mut copies) = MirrorBody::copied(body, [None, None], 10, &budget);
        for part in ["12345", "67890"] {
            send.send_data(Bytes::from_static(part.as_bytes())).await.unwrap();
            body.frame().await.unwrap().unwrap();
        }
        assert_eq!(budget.held(), 20, "two copies of ten bytes, and no more");
        // The first copy keeps up, the second does not.
        assert_eq!(copies[0].frame().await.unwrap().unwrap().into_data().unwrap(), "12345");
        send.send_data(Bytes::from_static(b"x")).await.unwrap();
        body.frame().await.unwrap().unwrap();
        assert_eq!(budget.held(), 6);
        assert_eq!(why(&copies[1].frame().await.unwrap().unwrap_err()), CutShort::Behind);
        drop(send);
        assert!(body.frame().await.is_none(), "the request itself is not held up");
        let kept = copies.swap_remove(0);
        assert_eq!(kept.collect().await.unwrap().to_bytes(), "67890x");
        assert_eq!(budget.held(), 0);
    }

    #[tokio::test]
    async fn all_copies_together_hold_no_more_than_the_budget() {
        let budget = budget(7);
        let held: Vec<_> = (0..4)
            .map(|_| {
                let (mut body, copies) = MirrorBody::copied(full("hello"), [None], 100, &budget);
                let _ = Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
                copies
            })
            .collect();
        assert_eq!(budget.held(), 5);
        drop(held);
        assert_eq!(budget.held(), 0, "what nobody reads any more is given back");
    }

    #[tokio::test]
    async fn a_request_that_ends_before_its_body_takes_its_copies_along() {
        let (mut send, body) = Channel::<Bytes>::new(8);
        let (mut body, mut copies) = MirrorBody::copied(body, [None], 10, &budget(100));
        send.send_data(Bytes::from_static(b"half")).await.unwrap();
        body.frame().await.unwrap().unwrap();
        drop(body);
        assert!(copies[0].frame().await.unwrap().is_ok());
        assert_eq!(why(&copies[0].frame().await.unwrap().unwrap_err()), CutShort::Original);
    }

    #[tokio::test]
    async fn a_body_that_went_by_whole_needs_nobody_to_ask_for_its_end() {
        let (mut body, mut copies) = MirrorBody::copied(full("hello"), [None], 10, &budget(100));
        body.frame().await.unwrap().unwrap();
        drop(body);
        assert_eq!(copies.swap_remove(0).collect().await.unwrap().to_bytes(), "hello");
    }

    #[test]
    fn a_copy_that_waits_is_woken_by_the_next_frame() {
        struct Woken(std::sync::atomic::AtomicBool);
        impl std::task::Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let woken = Arc::new(Woken(false.into()));
        let (mut body, mut copies) = MirrorBody::copied(full("hello"), [None], 10, &budget(100));
        let waker = Waker::from(Arc::clone(&woken));
        assert!(Pin::new(&mut copies[0]).poll_frame(&mut Context::from_waker(&waker)).is_pending());
        let _ = Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
        assert!(woken.0.load(Ordering::SeqCst));
    }
}

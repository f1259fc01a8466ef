//! A request body that several tries read at the same time, each from its beginning and at its own pace.
//!
//! Whoever is furthest reads on from the caller's body; what was read is kept for the others. When more was read than may
//! be kept, the one who read it goes on alone, no other try can begin, and those that are behind are lost: the race that
//! they belong to gives them up.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use smallvec::SmallVec;

use super::replay::Watch;
use crate::body::Upload;

/// The body, as whoever starts tries holds it.
pub(super) struct SharedBody<B>(Arc<Shared<B>>);

/// One try's reading.
pub(super) struct SharedReading<B> {
    shared: Arc<Shared<B>>,
    number: u32,
    /// Frames that this try has sent already.
    at: usize,
    sent_trailers: bool,
    watch: Watch,
}

struct Shared<B> {
    source: Mutex<Source<B>>,
    waiting: Arc<Waiting>,
}

struct Source<B> {
    rest: Option<Pin<Box<B>>>,
    frames: SmallVec<[Bytes; 2]>,
    trailers: Option<HeaderMap>,
    bytes: u64,
    limit: u64,
    /// Readings begun.
    readings: u32,
    /// Readings given up, by their numbers: what still holds one must not read on.
    given_up: SmallVec<[u32; 2]>,
    /// The only reading that goes on, once more was read than may be kept.
    alone: Option<u32>,
}

/// Everybody who waits for a frame, and whoever starts the tries.
#[derive(Default)]
struct Waiting(Mutex<SmallVec<[Waker; 2]>>);

impl Waiting {
    fn add(&self, waker: &Waker) {
        let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !wakers.iter().any(|one| one.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    fn wake_all(&self) {
        let wakers = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }
}

impl<B: Body<Data = Bytes>> SharedBody<B> {
    /// Of a body of which up to `limit` bytes may be kept.
    pub(super) fn new(body: B, limit: u64) -> Self {
        let source = Source {
            rest: Some(Box::pin(body)),
            frames: SmallVec::new(),
            trailers: None,
            bytes: 0,
            limit,
            readings: 0,
            given_up: SmallVec::new(),
            alone: None,
        };
        Self(Arc::new(Shared { source: Mutex::new(source), waiting: Arc::default() }))
    }

    /// A reading from the beginning, with its number. `None` when that is gone.
    pub(super) fn reading(&self, upload: Option<Upload>) -> Option<(SharedReading<B>, u32)> {
        let mut source = self.0.source();
        if source.alone.is_some() {
            return None;
        }
        let number = source.readings;
        source.readings += 1;
        let shared = Arc::clone(&self.0);
        Some((SharedReading { shared, number, at: 0, sent_trailers: false, watch: Watch(upload) }, number))
    }

    /// Whether the body cannot be sent again.
    pub(super) fn is_spilled(&self) -> bool {
        self.0.source().alone.is_some()
    }

    /// Whether a try cannot get the rest of its body any more. Whoever asks is woken when another one may be lost.
    pub(super) fn is_lost(&self, number: u32, cx: &Context<'_>) -> bool {
        let lost = self.0.source().alone.is_some_and(|alone| alone != number);
        if !lost {
            self.0.waiting.add(cx.waker());
        }
        lost
    }

    /// Says that a try is over, whoever still holds its body.
    pub(super) fn give_up(&self, number: u32) {
        self.0.source().given_up.push(number);
    }
}

impl<B> Shared<B> {
    fn source(&self) -> MutexGuard<'_, Source<B>> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Body<Data = Bytes>> Source<B> {
    /// Whether a reading that has sent so much has nothing more to send.
    fn is_sent(&self, at: usize, sent_trailers: bool) -> bool {
        at >= self.frames.len()
            && (self.trailers.is_none() || sent_trailers)
            && self.rest.as_ref().is_none_or(|rest| rest.is_end_stream())
    }
}

impl<B: Body<Data = Bytes>> SharedReading<B> {
    pub(super) fn poll_watched(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.watch.begin();
        let polled = self.poll_frame(cx);
        let is_sent = self.is_sent();
        self.watch.after(&polled, is_sent);
        polled
    }

    pub(super) fn is_sent(&self) -> bool {
        self.shared.source().is_sent(self.at, self.sent_trailers)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let source = self.shared.source();
        let unsent: u64 = source.frames.iter().skip(self.at).map(|frame| frame.len() as u64).sum();
        let rest = source.rest.as_ref().map_or(SizeHint::with_exact(0), |rest| rest.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + unsent);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + unsent);
        }
        hint
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut source = self.shared.source();
        let source = &mut *source;
        if source.given_up.contains(&self.number) || source.alone.is_some_and(|alone| alone != self.number) {
            // Whoever reads for this try is about to go.
            return Poll::Pending;
        }
        if let Some(frame) = source.frames.get(self.at) {
            self.at += 1;
            return Poll::Ready(Some(Ok(Frame::data(frame.clone()))));
        }
        if let Some(rest) = &mut source.rest {
            self.shared.waiting.add(cx.waker());
            let everybody = Waker::from(Arc::clone(&self.shared.waiting));
            let frame = std::task::ready!(rest.as_mut().poll_frame(&mut Context::from_waker(&everybody)));
            // The others find it among the frames, or that there is no more.
            self.shared.waiting.wake_all();
            match frame {
                None => source.rest = None,
                Some(Err(error)) => {
                    // What the caller could not give once it cannot give again.
                    source.rest = None;
                    source.alone = Some(self.number);
                    return Poll::Ready(Some(Err(error)));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        source.bytes = source.bytes.saturating_add(data.len() as u64);
                        if source.alone.is_none() && source.bytes <= source.limit {
                            source.frames.push(data.clone());
                            self.at = source.frames.len();
                        } else {
                            source.alone = Some(self.number);
                            source.frames.clear();
                            self.at = 0;
                        }
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    Err(frame) => {
                        source.trailers = frame.into_trailers().ok();
                        source.rest = None;
                    }
                },
            }
        }
        if !self.sent_trailers
            && let Some(trailers) = &source.trailers
        {
            self.sent_trailers = true;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers.clone()))));
        }
        Poll::Ready(None)
    }
}

impl<B> fmt::Debug for SharedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedBody")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;

    use super::*;

    /// Whether there are frames, and who waits for them.
    type Ready = Arc<Mutex<(bool, Option<Waker>)>>;

    /// Gives its frames one by one, and waits before each for as long as `ready` says no.
    struct Frames {
        frames: VecDeque<&'static [u8]>,
        ready: Ready,
    }

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let mut ready = self.ready.lock().unwrap();
            if !ready.0 {
                ready.1 = Some(cx.waker().clone());
                return Poll::Pending;
            }
            drop(ready);
            Poll::Ready(self.frames.pop_front().map(|frame| Ok(Frame::data(Bytes::from_static(frame)))))
        }
    }

    fn body(frames: &[&'static [u8]], limit: u64) -> (SharedBody<Frames>, Ready) {
        let ready = Arc::new(Mutex::new((true, None)));
        let frames = Frames { frames: frames.iter().copied().collect(), ready: Arc::clone(&ready) };
        (SharedBody::new(frames, limit), ready)
    }

    fn poll(reading: &mut SharedReading<Frames>, waker: &Waker) -> Poll<Option<Bytes>> {
        reading
            .poll_watched(&mut Context::from_waker(waker))
            .map(|frame| frame.map(|frame| frame.unwrap().into_data().unwrap()))
    }

    fn all(reading: &mut SharedReading<Frames>) -> Vec<Bytes> {
        std::iter::from_fn(|| match poll(reading, Waker::noop()) {
            Poll::Ready(frame) => frame,
            Poll::Pending => panic!("there is more"),
        })
        .collect()
    }

    #[test]
    fn every_try_reads_the_whole_body_at_its_own_pace() {
        let (body, _) = body(&[b"one", b"two"], 6);
        let (mut first, _) = body.reading(None).unwrap();
        let (mut second, _) = body.reading(None).unwrap();
        assert_eq!(poll(&mut first, Waker::noop()), Poll::Ready(Some("one".into())));
        assert_eq!(all(&mut second), ["one", "two"]);
        assert_eq!(all(&mut first), ["two"]);
        assert!(first.is_sent() && second.is_sent());
        let (mut third, _) = body.reading(None).unwrap();
        assert_eq!(third.size_hint().exact(), Some(6));
        assert_eq!(all(&mut third), ["one", "two"]);
    }

    #[test]
    fn beyond_the_limit_the_fastest_goes_on_alone() {
        let (body, _) = body(&[b"one", b"two", b"three"], 5);
        let (mut first, one) = body.reading(None).unwrap();
        let (mut second, two) = body.reading(None).unwrap();
        assert_eq!(all(&mut first), ["one", "two", "three"]);
        assert_eq!(poll(&mut second, Waker::noop()), Poll::Pending);
        let cx = Context::from_waker(Waker::noop());
        assert!(body.is_spilled() && body.is_lost(two, &cx) && !body.is_lost(one, &cx));
        assert!(body.reading(None).is_none());
    }

    #[test]
    fn a_try_that_was_given_up_reads_nothing_more() {
        let (body, _) = body(&[b"one", b"two"], 6);
        let (mut first, number) = body.reading(None).unwrap();
        assert_eq!(poll(&mut first, Waker::noop()), Poll::Ready(Some("one".into())));
        body.give_up(number);
        assert_eq!(poll(&mut first, Waker::noop()), Poll::Pending);
        let (mut second, _) = body.reading(None).unwrap();
        assert_eq!(all(&mut second), ["one", "two"]);
    }

    #[test]
    fn everybody_who_waits_is_woken_whoever_asked_last() {
        struct Flag(std::sync::atomic::AtomicBool);
        impl Wake for Flag {
            fn wake(self: Arc<Self>) {
                self.0.store(true, std::sync::atomic::Ordering::SeqCst);
            }
        }
        let flag = || Arc::new(Flag(std::sync::atomic::AtomicBool::new(false)));
        let (body, ready) = body(&[b"one"], 6);
        ready.lock().unwrap().0 = false;
        let (one, two) = (flag(), flag());
        let (mut first, _) = body.reading(None).unwrap();
        let (mut second, _) = body.reading(None).unwrap();
        assert!(poll(&mut first, &Waker::from(Arc::clone(&one))).is_pending());
        assert!(poll(&mut second, &Waker::from(Arc::clone(&two))).is_pending());
        drop(second);
        let waker = std::mem::replace(&mut *ready.lock().unwrap(), (true, None)).1.unwrap();
        waker.wake();
        assert!(one.0.load(std::sync::atomic::Ordering::SeqCst));
        assert_eq!(poll(&mut first, Waker::noop()), Poll::Ready(Some("one".into())));
    }
}

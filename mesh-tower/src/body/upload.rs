//! How far a request's body has come, and timers that do not run against a caller who is still sending.
//!
//! Envoy's route and per-try timeouts begin when the request has arrived whole. A request made in this process
//! arrives when its body is read, so a [`Timer`] looks at its [`Upload`] only when it would expire: it expires
//! then if the body is over (or nobody has begun to read it: pick and connect count), else it runs anew.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

/// What is known of a request body on its way, shared with the timers that depend on it.
#[derive(Clone, Debug, Default)]
pub struct Upload(Arc<Mutex<Phase>>);

#[derive(Clone, Copy, Debug, Default)]
struct Phase {
    begun: Option<Instant>,
    ended: Option<Instant>,
    /// When a part of it last went by.
    moved: Option<Instant>,
    /// The caller was not always ahead of whoever reads.
    waited: bool,
}

impl Upload {
    /// Notes that the body is read for the first time.
    pub(crate) fn begin(&self) {
        self.phase().begun.get_or_insert_with(Instant::now);
    }

    /// Notes that the caller had nothing to give.
    pub(crate) fn wait(&self) {
        self.phase().waited = true;
    }

    /// Notes that a part of the body went by.
    pub(crate) fn pass(&self) {
        self.phase().moved = Some(Instant::now());
    }

    /// Notes that nothing more of the body will be read.
    pub(crate) fn end(&self) {
        let mut phase = self.phase();
        let now = Instant::now();
        phase.begun.get_or_insert(now);
        phase.ended.get_or_insert(now);
    }

    /// When a timer that was started at `started` expires, as things are now.
    fn due(&self, started: Instant, limit: Duration) -> Instant {
        let phase = *self.phase();
        match (phase.begun, phase.ended) {
            (None, _) => started + limit,
            (Some(_), None) => Instant::now() + limit,
            (Some(_), Some(ended)) if phase.waited => ended + limit,
            // The body was there from the start; only the time that it took to be read does not count.
            (Some(begun), Some(ended)) => started + limit + (ended - begun),
        }
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pin_project! {
    /// A request body that tells its [`Upload`] how far it is; without one it is the body as it is.
    pub struct UploadBody<B> {
        #[pin]
        inner: B,
        upload: Option<Upload>,
    }

    impl<B> PinnedDrop for UploadBody<B> {
        fn drop(this: Pin<&mut Self>) {
            if let Some(upload) = this.project().upload.take() {
                upload.end();
            }
        }
    }
}

impl<B> UploadBody<B> {
    /// The body, watched by `upload` if there is one.
    pub const fn new(inner: B, upload: Option<Upload>) -> Self {
        Self { inner, upload }
    }
}

impl<B: Body> Body for UploadBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let Some(upload) = this.upload else { return this.inner.poll_frame(cx) };
        upload.begin();
        let Poll::Ready(frame) = this.inner.as_mut().poll_frame(cx) else {
            upload.wait();
            return Poll::Pending;
        };
        upload.pass();
        if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) || this.inner.is_end_stream() {
            upload.end();
            *this.upload = None;
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

impl<B> fmt::Debug for UploadBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadBody").field("upload", &self.upload).finish_non_exhaustive()
    }
}

/// A timer that starts anew for as long as the request is still being sent.
#[derive(Debug)]
pub(crate) struct Timer(Pin<Box<Running>>);

pin_project! {
    #[derive(Debug)]
    struct Running {
        #[pin]
        sleep: Sleep,
        started: Instant,
        limit: Duration,
        upload: Option<Upload>,
    }
}

impl Timer {
    /// Starts now. Without an `upload` it ends after `limit`, whatever happens.
    pub(crate) fn start(limit: Duration, upload: Option<Upload>) -> Self {
        let started = Instant::now();
        Self(Box::pin(Running { sleep: tokio::time::sleep(limit), started, limit, upload }))
    }

    pub(crate) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.0.as_mut().project();
        loop {
            std::task::ready!(this.sleep.as_mut().poll(cx));
            let Some(upload) = this.upload else { return Poll::Ready(()) };
            let due = upload.due(*this.started, *this.limit);
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            this.sleep.as_mut().reset(due);
        }
    }
}

/// A timer that starts anew with everything that moves: parts of the request, the response's head and its parts.
#[derive(Debug)]
pub(crate) struct IdleTimer(Pin<Box<Quiet>>);

pin_project! {
    #[derive(Debug)]
    struct Quiet {
        #[pin]
        sleep: Sleep,
        limit: Duration,
        moved: Instant,
        upload: Option<Upload>,
    }
}

impl IdleTimer {
    /// Starts now. Without an `upload` the request is complete from the start.
    pub(crate) fn start(limit: Duration, upload: Option<Upload>) -> Self {
        Self(Box::pin(Quiet { sleep: tokio::time::sleep(limit), limit, moved: Instant::now(), upload }))
    }

    /// Notes that something of the response moved.
    pub(crate) fn pass(&mut self) {
        *self.0.as_mut().project().moved = Instant::now();
    }

    /// Ready when nothing has moved for the limit; says whether the request was complete by then.
    pub(crate) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut this = self.0.as_mut().project();
        loop {
            std::task::ready!(this.sleep.as_mut().poll(cx));
            let phase = this.upload.as_ref().map(|upload| *upload.phase());
            let sent = phase.and_then(|phase| phase.moved.max(phase.ended));
            let due = sent.map_or(*this.moved, |sent| sent.max(*this.moved)) + *this.limit;
            if due <= Instant::now() {
                return Poll::Ready(phase.is_none_or(|phase| phase.ended.is_some()));
            }
            this.sleep.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn expiry(upload: &Upload, during: impl Future<Output = ()>) -> Duration {
        let start = Instant::now();
        let mut timer = Timer::start(10 * SECOND, Some(upload.clone()));
        tokio::join!(poll_fn(|cx| timer.poll_expired(cx)), during);
        start.elapsed().min(Duration::from_secs(start.elapsed().as_secs()))
    }

    async fn after(seconds: u32) {
        tokio::time::sleep(seconds * SECOND).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_nobody_reads_is_timed_from_the_start() {
        assert_eq!(expiry(&Upload::default(), async {}).await, 10 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_is_slow_has_the_whole_limit_after_the_last_byte() {
        let upload = Upload::default();
        let slow = async {
            after(3).await;
            upload.begin();
            upload.wait();
            after(22).await;
            upload.end();
        };
        assert_eq!(expiry(&upload, slow).await, 35 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_timer_starts_anew_with_each_part_and_knows_who_is_late() {
        let upload = Upload::default();
        let mut timer = IdleTimer::start(2 * SECOND, Some(upload.clone()));
        let start = Instant::now();
        let parts = async {
            for _ in 0..3 {
                after(1).await;
                upload.pass();
            }
        };
        let (complete, ()) = tokio::join!(poll_fn(|cx| timer.poll_expired(cx)), parts);
        assert_eq!((complete, start.elapsed().as_secs()), (false, 5));
        let mut timer = IdleTimer::start(2 * SECOND, Some(upload.clone()));
        upload.end();
        assert!(poll_fn(|cx| timer.poll_expired(cx)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_was_there_is_timed_from_the_start_less_the_reading() {
        let upload = Upload::default();
        let read_late = async {
            after(4).await;
            upload.begin();
            after(2).await;
            upload.end();
        };
        assert_eq!(expiry(&upload, read_late).await, 12 * SECOND);
    }
}

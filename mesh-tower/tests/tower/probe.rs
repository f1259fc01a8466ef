//! A service that records how it is used: which instance was made ready, which one was called.

use std::future::{Future, Ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tower::Service;

/// What all clones of a probe have in common.
#[derive(Default)]
pub(crate) struct Record {
    /// Clones made so far, the first one included.
    instances: AtomicUsize,
    /// Calls to an instance that had not been made ready since its last call.
    pub(crate) unready_calls: AtomicUsize,
    pub(crate) calls: AtomicUsize,
    /// `poll_ready` answers `Pending` while this is set.
    pub(crate) is_busy: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Record {
    /// Lets everybody in who waits.
    pub(crate) fn free(&self) {
        self.is_busy.store(false, Ordering::SeqCst);
        if let Some(waker) = self.waker.lock().unwrap().take() {
            waker.wake();
        }
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

/// The probe: answers by `respond`, which gets the request and the number of the call, from 1.
pub(crate) struct Probe<F> {
    pub(crate) record: Arc<Record>,
    respond: F,
    is_ready: bool,
}

impl<F> Probe<F> {
    pub(crate) fn new(respond: F) -> Self {
        let record = Arc::new(Record::default());
        record.instances.fetch_add(1, Ordering::SeqCst);
        Self { record, respond, is_ready: false }
    }
}

impl<F: Clone> Clone for Probe<F> {
    fn clone(&self) -> Self {
        self.record.instances.fetch_add(1, Ordering::SeqCst);
        // As `tower` warns: a clone of a ready service is not ready.
        Self { record: Arc::clone(&self.record), respond: self.respond.clone(), is_ready: false }
    }
}

impl<R, F, T, E, Fut> Service<R> for Probe<F>
where
    F: Fn(R, usize) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    type Response = T;
    type Error = E;
    type Future = Fut;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        if self.record.is_busy.load(Ordering::SeqCst) {
            *self.record.waker.lock().unwrap() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Fut {
        if !std::mem::take(&mut self.is_ready) {
            self.record.unready_calls.fetch_add(1, Ordering::SeqCst);
        }
        let number = self.record.calls.fetch_add(1, Ordering::SeqCst) + 1;
        (self.respond)(request, number)
    }
}

/// A future that is there at once.
pub(crate) fn now<T, E>(result: Result<T, E>) -> Ready<Result<T, E>> {
    std::future::ready(result)
}

/// A future that never is.
pub(crate) fn never<T>() -> Pin<Box<dyn Future<Output = T> + Send>>
where
    T: Send + 'static,
{
    Box::pin(std::future::pending())
}

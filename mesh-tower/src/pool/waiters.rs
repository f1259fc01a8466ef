//! Requests that wait for a connection, first come first served.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::connect::ConnectError;

/// A queue of requests. Checking that it is empty costs one load.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    count: AtomicUsize,
    queue: Mutex<VecDeque<oneshot::Sender<Result<(), ConnectError>>>>,
}

impl Waiters {
    /// Joins the queue. The future gets `Ok` when it is worth trying again.
    pub(super) fn join(&self) -> Waiting<'_> {
        let (wake, woken) = oneshot::channel();
        let mut queue = self.lock();
        // Whoever gave up waiting is cleared out here, so that the queue is as long as the requests in it.
        while queue.front().is_some_and(oneshot::Sender::is_closed) {
            queue.pop_front();
        }
        queue.push_back(wake);
        self.count.store(queue.len(), Ordering::SeqCst);
        Waiting { woken, waiters: self, is_done: false }
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Wakes up to `most` requests.
    pub(super) fn wake(&self, most: usize) {
        if self.len() == 0 {
            return;
        }
        let mut queue = self.lock();
        let mut woken = 0;
        while woken < most
            && let Some(wake) = queue.pop_front()
        {
            woken += usize::from(wake.send(Ok(())).is_ok());
        }
        self.count.store(queue.len(), Ordering::SeqCst);
    }

    /// Fails everybody who waits: what they waited for did not come about.
    pub(super) fn fail(&self, error: &ConnectError) {
        let failed = std::mem::take(&mut *self.lock());
        self.count.store(0, Ordering::SeqCst);
        for wake in failed {
            let _ = wake.send(Err(error.clone()));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<oneshot::Sender<Result<(), ConnectError>>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue. Whoever leaves after having been woken, without having looked, wakes the next one:
/// else a request that is given up would take a connection's only wake-up with it.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    woken: oneshot::Receiver<Result<(), ConnectError>>,
    waiters: &'a Waiters,
    is_done: bool,
}

impl Future for Waiting<'_> {
    type Output = Result<(), ConnectError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let woken = std::task::ready!(Pin::new(&mut self.woken).poll(cx));
        self.is_done = true;
        // A queue that is gone has nobody left to wait for: look again.
        Poll::Ready(woken.unwrap_or(Ok(())))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.woken.close();
        if !self.is_done && matches!(self.woken.try_recv(), Ok(Ok(()))) {
            self.waiters.wake(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wake_up_for_somebody_who_left_goes_to_the_next_in_the_queue() {
        let waiters = Waiters::default();
        let (first, second) = (waiters.join(), waiters.join());
        waiters.wake(1);
        drop(first);
        second.await.unwrap();
        assert_eq!(waiters.len(), 0);
    }

    #[test]
    fn those_who_left_before_are_not_woken_and_not_counted() {
        let waiters = Waiters::default();
        drop(waiters.join());
        let _second = waiters.join();
        assert_eq!(waiters.len(), 1);
    }
}

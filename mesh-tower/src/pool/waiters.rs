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
///
/// `T` is what a request may be handed; its default means that it is worth looking again.
#[derive(Debug, Default)]
pub(super) struct Waiters<T = ()> {
    count: AtomicUsize,
    queue: Mutex<Queue<T>>,
}

type Queue<T> = VecDeque<oneshot::Sender<Result<T, ConnectError>>>;

impl<T: Default> Waiters<T> {
    /// Joins the queue. The future gets what the request is handed.
    pub(super) fn join(&self) -> Waiting<'_, T> {
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
            woken += usize::from(wake.send(Ok(T::default())).is_ok());
        }
        self.count.store(queue.len(), Ordering::SeqCst);
    }

    /// Gives `item` to the first who still waits, or back if nobody does.
    pub(super) fn hand(&self, item: T) -> Result<(), T> {
        let mut queue = self.lock();
        let mut left = Err(item);
        while let Err(item) = left {
            let Some(wake) = queue.pop_front() else {
                left = Err(item);
                break;
            };
            left = wake.send(Ok(item)).map_err(|back| back.unwrap_or_default());
        }
        self.count.store(queue.len(), Ordering::SeqCst);
        left
    }

    /// Fails everybody who waits: what they waited for did not come about.
    pub(super) fn fail(&self, error: &ConnectError) {
        let failed = std::mem::take(&mut *self.lock());
        self.count.store(0, Ordering::SeqCst);
        for wake in failed {
            let _ = wake.send(Err(error.clone()));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue. Whoever leaves after having been woken, without having looked, wakes the next one:
/// else a request that is given up would take a connection, or its only wake-up, with it.
#[derive(Debug)]
pub(super) struct Waiting<'a, T: Default = ()> {
    woken: oneshot::Receiver<Result<T, ConnectError>>,
    waiters: &'a Waiters<T>,
    is_done: bool,
}

impl<T: Default> Future for Waiting<'_, T> {
    type Output = Result<T, ConnectError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let woken = std::task::ready!(Pin::new(&mut self.woken).poll(cx));
        self.is_done = true;
        // A queue that is gone has nobody left to wait for: look again.
        Poll::Ready(woken.unwrap_or_else(|_| Ok(T::default())))
    }
}

impl<T: Default> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        self.woken.close();
        if !self.is_done
            && let Ok(Ok(item)) = self.woken.try_recv()
        {
            // What nobody waits for any more ends here.
            drop(self.waiters.hand(item));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wake_up_for_somebody_who_left_goes_to_the_next_in_the_queue() {
        let waiters: Waiters = Waiters::default();
        let (first, second) = (waiters.join(), waiters.join());
        waiters.wake(1);
        drop(first);
        second.await.unwrap();
        assert_eq!(waiters.len(), 0);
    }

    #[tokio::test]
    async fn what_was_for_somebody_who_left_goes_to_the_next_in_the_queue_and_else_back() {
        let waiters = Waiters::<Option<u8>>::default();
        let (first, second) = (waiters.join(), waiters.join());
        assert_eq!(waiters.hand(Some(7)), Ok(()));
        drop(first);
        assert_eq!(second.await.unwrap(), Some(7));
        let gone = waiters.join();
        drop(gone);
        assert_eq!((waiters.hand(Some(8)), waiters.len()), (Err(Some(8)), 0));
    }

    #[test]
    fn those_who_left_before_are_not_woken_and_not_counted() {
        let waiters: Waiters = Waiters::default();
        drop(waiters.join());
        let _second = waiters.join();
        assert_eq!(waiters.len(), 1);
    }
}

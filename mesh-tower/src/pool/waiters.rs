//! Requests that wait for a connection, first come first served.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use super::connect::ConnectError;

/// A queue of requests. Checking that it is empty costs one load.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    count: AtomicUsize,
    queue: Mutex<VecDeque<oneshot::Sender<Result<(), ConnectError>>>>,
}

impl Waiters {
    /// Joins the queue. The receiver gets `Ok` when it is worth trying again.
    pub(super) fn join(&self) -> oneshot::Receiver<Result<(), ConnectError>> {
        let (wake, woken) = oneshot::channel();
        let mut queue = self.lock();
        // Whoever gave up waiting is cleared out here, so that the queue is as long as the requests in it.
        while queue.front().is_some_and(oneshot::Sender::is_closed) {
            queue.pop_front();
        }
        queue.push_back(wake);
        self.count.store(queue.len(), Ordering::SeqCst);
        woken
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

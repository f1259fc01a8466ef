//! Copies under way: bounded in number and memory, and ended with the last clone of their stack.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::body::Budget;

/// Copies of one stack that may be under way together; what is more is dropped and counted.
pub const MOST_COPIES: usize = 1_024;

/// Bytes of request bodies that the copies of one stack may hold together: 64 MiB.
pub const MOST_BYTES: u64 = 64 << 20;

/// The owner of a stack's copies. Dropping it ends them.
#[derive(Debug)]
pub(super) struct UnderWay {
    runtime: Option<Handle>,
    count: Arc<AtomicUsize>,
    pub(super) budget: Arc<Budget>,
    ending: watch::Sender<()>,
}

/// A copy's place among [`MOST_COPIES`].
struct Place(Arc<AtomicUsize>);

impl UnderWay {
    /// Copies run on `runtime`; without one, on that of whoever makes the request.
    pub(super) fn new(runtime: Option<Handle>) -> Self {
        let (count, budget) = (Arc::default(), Arc::new(Budget::new(MOST_BYTES)));
        Self { runtime, count, budget, ending: watch::Sender::new(()) }
    }

    /// Starts a copy and forgets it. False when there is no place for it.
    pub(super) fn start(&self, copy: impl Future<Output = ()> + Send + 'static) -> bool {
        let Some(place) = Place::take(&self.count) else { return false };
        let Some(runtime) = self.runtime.clone().or_else(|| Handle::try_current().ok()) else { return false };
        let mut ending = self.ending.subscribe();
        runtime.spawn(async move {
            let _place = place;
            tokio::select! {
                () = copy => {}
                // Nothing is ever sent: this is the end of the sender.
                _ = ending.changed() => {}
            }
        });
        true
    }
}

impl Place {
    fn take(count: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(Arc::clone(count));
        (count.fetch_add(1, Ordering::Relaxed) < MOST_COPIES).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn copies_beyond_the_most_are_refused_and_all_end_with_their_owner() {
        let owner = UnderWay::new(None);
        let held = Arc::new(());
        let hang = |held: Arc<()>| async move {
            let _held = held;
            std::future::pending().await
        };
        assert!((0..MOST_COPIES).all(|_| owner.start(hang(Arc::clone(&held)))));
        assert!(!owner.start(hang(Arc::clone(&held))));
        let count = Arc::clone(&owner.count);
        drop(owner);
        while count.load(Ordering::Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[test]
    fn without_a_runtime_there_is_no_copy() {
        let owner = UnderWay::new(None);
        assert!(!owner.start(async {}));
        assert_eq!(owner.count.load(Ordering::Relaxed), 0);
    }
}

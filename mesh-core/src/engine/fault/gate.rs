//! How many requests have a fault at once, and how many faults there were.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the faults of one filter, and admits requests to them.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    active: AtomicU64,
    delays: AtomicU64,
    aborts: AtomicU64,
    rate_limits: AtomicU64,
    overflows: AtomicU64,
}

/// A request's place among those with a fault; dropping it gives the place back.
#[derive(Debug)]
pub struct Permit(Arc<Counts>);

/// What a fault filter has done, by the names of Envoy's statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultStats {
    /// Requests with a fault now.
    pub active_faults: u64,
    /// Requests that were delayed.
    pub delays_injected: u64,
    /// Requests that were answered with an error.
    pub aborts_injected: u64,
    /// Responses that were slowed down.
    pub response_rl_injected: u64,
    /// Requests that were spared because too many had a fault.
    pub faults_overflow: u64,
}

impl Gate {
    /// A place, unless there are `max` with one already.
    pub(super) fn enter(&self, max: Option<u32>) -> Option<Permit> {
        let max = max.map_or(u64::MAX, u64::from);
        let counts = &self.0;
        let entered = counts
            .active
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |active| (active < max).then_some(active + 1));
        if entered.is_err() {
            counts.overflows.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(Permit(Arc::clone(counts)))
    }

    pub(super) fn stats(&self) -> FaultStats {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        FaultStats {
            active_faults: of(&self.0.active),
            delays_injected: of(&self.0.delays),
            aborts_injected: of(&self.0.aborts),
            response_rl_injected: of(&self.0.rate_limits),
            faults_overflow: of(&self.0.overflows),
        }
    }
}

impl Permit {
    pub(super) fn delayed(&self) {
        self.0.delays.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn aborted(&self) {
        self.0.aborts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn rate_limited(&self) {
        self.0.rate_limits.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

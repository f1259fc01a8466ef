//! One cluster's load: what is under way towards it, per routing priority, and totals.
//!
//! Unlimited resources (Istio's default) are counted on the caller's lane only. Limited ones are counted on
//! one shared number, so that a limit is exact and not soft; the price is one contended cache line.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::{Ejections, Lane};

/// What a circuit breaker counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Load {
    /// Requests under way.
    Requests,
    /// Requests waiting for a connection.
    Pending,
    /// Retries under way.
    Retries,
    /// Open connections.
    Connections,
}

/// How many [`Load`]s there are.
const LOADS: usize = 4;
/// Routing priorities: `DEFAULT` and `HIGH`.
const PRIORITIES: usize = 2;

/// What is counted, for which routing priority (0 is `DEFAULT`, 1 is `HIGH`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Which load.
    pub load: Load,
    /// The routing priority.
    pub priority: u8,
}

impl Slot {
    const fn index(self) -> usize {
        let priority = if self.priority == 0 { 0 } else { 1 };
        priority * LOADS + self.load as usize
    }
}

/// The live load of a cluster, kept while the cluster exists.
#[derive(Debug)]
pub struct ClusterState {
    lanes: Box<[Arc<LaneCounts>]>,
    exact: [Padded; PRIORITIES * LOADS],
    detected: AtomicBool,
    ejections: Ejections,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Padded(AtomicU32);

#[derive(Debug, Default)]
#[repr(align(128))]
struct LaneCounts {
    loads: [AtomicU32; PRIORITIES * LOADS],
    totals: [AtomicU64; Total::COUNT],
}

/// Totals of a cluster, summed over the lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterCounts {
    /// Attempts sent or refused (`upstream_rq_total`).
    pub requests: u64,
    /// Attempts that were retries (`upstream_rq_retry`).
    pub retries: u64,
    /// Responses of status 5xx.
    pub responses_5xx: u64,
    /// Responses of any other status.
    pub responses_other: u64,
    /// Attempts without a response: reset, no connection (`upstream_rq_rx_reset`, `upstream_cx_connect_fail`).
    pub failures: u64,
    /// Attempts and connections refused by a limit (`upstream_rq_pending_overflow`).
    pub overflows: u64,
    /// Retries refused by a limit (`upstream_rq_retry_overflow`).
    pub retry_overflows: u64,
    /// Attempts or requests ended by a timeout (`upstream_rq_timeout`, `upstream_rq_per_try_timeout`).
    pub timeouts: u64,
    /// gRPC calls that ended with status 0, by their trailers.
    pub grpc_ok: u64,
    /// gRPC calls that ended with another status, or without any.
    pub grpc_failed: u64,
    /// Copies for mirrors that were not sent, or not to their end.
    pub mirrors_dropped: u64,
}

/// Which total is counted up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Total {
    /// An attempt.
    Request,
    /// An attempt that is a retry.
    Retry,
    /// A response of status 5xx.
    Response5xx,
    /// Any other response.
    ResponseOther,
    /// An attempt without a response.
    Failure,
    /// Refused by a limit.
    Overflow,
    /// A retry refused by a limit.
    RetryOverflow,
    /// Ended by a timeout.
    Timeout,
    /// A gRPC call with status 0.
    GrpcOk,
    /// A gRPC call with another status, or without any.
    GrpcFailed,
    /// A copy that was not sent, or not to its end.
    MirrorDropped,
}

impl Total {
    const COUNT: usize = 11;
}

impl Default for ClusterState {
    fn default() -> Self {
        Self {
            lanes: (0..Lane::COUNT).map(|_| Arc::default()).collect(),
            exact: Default::default(),
            detected: AtomicBool::new(false),
            ejections: Ejections::default(),
        }
    }
}

impl ClusterState {
    /// What is under way, over all lanes.
    #[must_use]
    pub fn load(&self, slot: Slot) -> u32 {
        let index = slot.index();
        let lanes = self.lanes.iter().map(|lane| lane.loads[index].load(Ordering::Relaxed));
        lanes.fold(self.exact[index].0.load(Ordering::Relaxed), u32::wrapping_add)
    }

    /// What outlier detection did here.
    #[must_use]
    pub const fn ejections(&self) -> &Ejections {
        &self.ejections
    }

    /// Notes that some endpoint's outcomes want to be looked at; whether nobody had noted that yet.
    pub(crate) fn raise_detected(&self) -> bool {
        !self.detected.swap(true, Ordering::Release)
    }

    /// Whether that was noted since this was asked.
    pub(crate) fn take_detected(&self) -> bool {
        self.detected.load(Ordering::Relaxed) && self.detected.swap(false, Ordering::Acquire)
    }

    /// Admits one more unless `limit` are under way. The permit ends the count when it is dropped.
    #[must_use]
    pub fn admit(self: &Arc<Self>, slot: Slot, limit: u32, lane: Lane) -> Option<Admission> {
        let index = slot.index();
        if limit == u32::MAX {
            let lane = Arc::clone(&self.lanes[lane.index()]);
            lane.loads[index].fetch_add(1, Ordering::Relaxed);
            return Some(Admission { slot, held: Held::Lane(lane) });
        }
        // The lanes still hold what was admitted while there was no limit.
        let unlimited: u32 = self.lanes.iter().map(|lane| lane.loads[index].load(Ordering::Relaxed)).sum();
        let before = self.exact[index].0.fetch_add(1, Ordering::Relaxed);
        if before.saturating_add(unlimited) >= limit {
            self.exact[index].0.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Admission { slot, held: Held::Exact(Arc::clone(self)) })
    }

    /// Counts an event on the caller's lane.
    pub fn count(&self, total: Total, lane: Lane) {
        self.lanes[lane.index()].totals[total as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The totals so far.
    #[must_use]
    pub fn counts(&self) -> ClusterCounts {
        let sum = |total: Total| -> u64 {
            self.lanes.iter().map(|lane| lane.totals[total as usize].load(Ordering::Relaxed)).sum()
        };
        ClusterCounts {
            requests: sum(Total::Request),
            retries: sum(Total::Retry),
            responses_5xx: sum(Total::Response5xx),
            responses_other: sum(Total::ResponseOther),
            failures: sum(Total::Failure),
            overflows: sum(Total::Overflow),
            retry_overflows: sum(Total::RetryOverflow),
            timeouts: sum(Total::Timeout),
            grpc_ok: sum(Total::GrpcOk),
            grpc_failed: sum(Total::GrpcFailed),
            mirrors_dropped: sum(Total::MirrorDropped),
        }
    }
}

/// One admitted unit of load; dropping it ends the count.
#[derive(Debug)]
pub struct Admission {
    slot: Slot,
    held: Held,
}

#[derive(Debug)]
enum Held {
    Lane(Arc<LaneCounts>),
    Exact(Arc<ClusterState>),
}

impl Drop for Admission {
    fn drop(&mut self) {
        let index = self.slot.index();
        match &self.held {
            Held::Lane(lane) => lane.loads[index].fetch_sub(1, Ordering::Relaxed),
            Held::Exact(cluster) => cluster.exact[index].0.fetch_sub(1, Ordering::Relaxed),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUESTS: Slot = Slot { load: Load::Requests, priority: 0 };

    #[test]
    fn a_limit_is_exact_and_a_dropped_permit_gives_its_place_back() {
        let state = Arc::new(ClusterState::default());
        let lane = Lane::default();
        let held: Vec<_> = (0..3).map(|_| state.admit(REQUESTS, 3, lane).unwrap()).collect();
        assert!(state.admit(REQUESTS, 3, lane).is_none());
        assert_eq!(state.load(REQUESTS), 3);
        drop(held);
        assert_eq!(state.load(REQUESTS), 0);
        assert!(state.admit(REQUESTS, 3, lane).is_some());
    }

    #[test]
    fn what_was_admitted_without_a_limit_counts_against_a_later_one() {
        let state = Arc::new(ClusterState::default());
        let unlimited = state.admit(REQUESTS, u32::MAX, Lane::of_thread(5)).unwrap();
        assert!(state.admit(REQUESTS, 1, Lane::default()).is_none());
        drop(unlimited);
        assert!(state.admit(REQUESTS, 1, Lane::default()).is_some());
    }

    #[test]
    fn priorities_have_limits_of_their_own() {
        let state = Arc::new(ClusterState::default());
        let _held = state.admit(REQUESTS, 1, Lane::default()).unwrap();
        assert!(state.admit(Slot { priority: 1, ..REQUESTS }, 1, Lane::default()).is_some());
    }

    #[test]
    fn a_limit_of_zero_admits_nothing() {
        assert!(Arc::new(ClusterState::default()).admit(REQUESTS, 0, Lane::default()).is_none());
    }
}

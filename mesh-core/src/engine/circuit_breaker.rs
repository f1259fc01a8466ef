//! Concurrency limits towards a cluster: five thresholds for each of two routing priorities.
//!
//! `envoy.config.cluster.v3.CircuitBreakers`. Limits are of this process and exact (Envoy's are per worker
//! and soft). Ejection of failing hosts is `outlier_detection`, another room.

use std::sync::Arc;

use crate::resource::cluster::{CircuitBreakers, Thresholds};
use crate::resource::route::RoutingPriority;
use crate::state::{Admission, ClusterState, Lane, Load, Slot, Total};

/// The limits of a cluster together with its live load.
#[derive(Clone, Debug)]
pub struct CircuitBreaker {
    limits: CircuitBreakers,
    state: Arc<ClusterState>,
}

impl CircuitBreaker {
    /// Puts `limits` in force over `state`.
    #[must_use]
    pub const fn new(limits: CircuitBreakers, state: Arc<ClusterState>) -> Self {
        Self { limits, state }
    }

    /// The thresholds of a priority.
    #[must_use]
    pub const fn thresholds(&self, priority: RoutingPriority) -> &Thresholds {
        match priority {
            RoutingPriority::Default => &self.limits.default,
            RoutingPriority::High => &self.limits.high,
        }
    }

    /// Admits a request, or says that the cluster is full. A refusal is counted.
    #[must_use]
    pub fn admit_request(&self, priority: RoutingPriority, lane: Lane) -> Option<Admission> {
        self.admit(Load::Requests, priority, self.thresholds(priority).max_requests, lane, Total::Overflow)
    }

    /// Admits a request to the queue for a connection.
    #[must_use]
    pub fn admit_pending(&self, priority: RoutingPriority, lane: Lane) -> Option<Admission> {
        self.admit(Load::Pending, priority, self.thresholds(priority).max_pending_requests, lane, Total::Overflow)
    }

    /// Admits one more open connection. A refusal never fails a request: it waits in the queue.
    #[must_use]
    pub fn admit_connection(&self, priority: RoutingPriority, lane: Lane) -> Option<Admission> {
        let slot = slot(Load::Connections, priority);
        self.state.admit(slot, self.thresholds(priority).max_connections, lane)
    }

    /// Admits a retry: by the budget if there is one, else by `max_retries`.
    #[must_use]
    pub fn admit_retry(&self, priority: RoutingPriority, lane: Lane) -> Option<Admission> {
        let thresholds = self.thresholds(priority);
        let limit = thresholds.retry_budget.map_or(thresholds.max_retries, |budget| {
            let under_way = self
                .state
                .load(slot(Load::Requests, priority))
                .saturating_add(self.state.load(slot(Load::Pending, priority)));
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a float cast saturates, which is what a limit wants"
            )]
            let share = (budget.budget_percent / 100.0 * f64::from(under_way)) as u32;
            // u32::MAX would mean "unlimited" and lose the count of what the budget is compared with.
            share.max(budget.min_retry_concurrency).min(u32::MAX - 1)
        });
        self.admit(Load::Retries, priority, limit, lane, Total::RetryOverflow)
    }

    /// The live load.
    #[must_use]
    pub fn load(&self, load: Load, priority: RoutingPriority) -> u32 {
        self.state.load(slot(load, priority))
    }

    fn admit(
        &self,
        load: Load,
        priority: RoutingPriority,
        limit: u32,
        lane: Lane,
        refused: Total,
    ) -> Option<Admission> {
        let admission = self.state.admit(slot(load, priority), limit, lane);
        if admission.is_none() {
            self.state.count(refused, lane);
        }
        admission
    }
}

const fn slot(load: Load, priority: RoutingPriority) -> Slot {
    Slot { load, priority: matches!(priority, RoutingPriority::High) as u8 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::cluster::RetryBudget;

    fn breaker(thresholds: Thresholds) -> CircuitBreaker {
        let limits = CircuitBreakers { default: thresholds, high: Thresholds::default() };
        CircuitBreaker::new(limits, Arc::default())
    }

    #[test]
    fn overflow_is_refused_and_counted() {
        let breaker = breaker(Thresholds { max_requests: 1, ..Thresholds::default() });
        let held = breaker.admit_request(RoutingPriority::Default, Lane::default());
        assert!(held.is_some());
        assert!(breaker.admit_request(RoutingPriority::Default, Lane::default()).is_none());
        assert_eq!(breaker.state.counts().overflows, 1);
        drop(held);
        assert!(breaker.admit_request(RoutingPriority::Default, Lane::default()).is_some());
    }

    #[test]
    fn the_high_priority_is_counted_apart() {
        let breaker = breaker(Thresholds { max_requests: 0, ..Thresholds::default() });
        assert!(breaker.admit_request(RoutingPriority::Default, Lane::default()).is_none());
        assert!(breaker.admit_request(RoutingPriority::High, Lane::default()).is_some());
    }

    #[test]
    fn a_retry_budget_is_a_share_of_what_is_under_way_and_never_less_than_its_minimum() {
        let budget = RetryBudget { budget_percent: 20.0, min_retry_concurrency: 1 };
        let breaker = breaker(Thresholds { retry_budget: Some(budget), max_retries: 0, ..Thresholds::default() });
        let lane = Lane::default();
        let first = breaker.admit_retry(RoutingPriority::Default, lane);
        assert!(first.is_some(), "the minimum is always allowed");
        assert!(breaker.admit_retry(RoutingPriority::Default, lane).is_none());
        let _under_way: Vec<_> = (0..10).map(|_| breaker.admit_request(RoutingPriority::Default, lane)).collect();
        let second = breaker.admit_retry(RoutingPriority::Default, lane);
        assert!(second.is_some(), "20 % of 10 is 2");
        assert!(breaker.admit_retry(RoutingPriority::Default, lane).is_none());
        assert_eq!(breaker.state.counts().retry_overflows, 2);
    }

    #[test]
    fn a_budget_of_zero_without_a_minimum_refuses_every_retry() {
        let budget = RetryBudget { budget_percent: 0.0, min_retry_concurrency: 0 };
        let breaker = breaker(Thresholds { retry_budget: Some(budget), ..Thresholds::default() });
        assert!(breaker.admit_retry(RoutingPriority::Default, Lane::default()).is_none());
    }
}

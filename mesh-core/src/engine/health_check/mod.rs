//! Active health checks of one host, as Envoy's: when it is asked, and what its answers make of it.
//!
//! A function of outcomes, time and randomness. Who asks is a driver; that no check takes longer than its timeout is the
//! driver's matter.
//!
//! ```text
//!          unchecked ──first pass──▶ healthy ──wrong answer, or `unhealthy_threshold` failures──▶ unhealthy
//!              └──first failure──▶ unhealthy ──`healthy_threshold` passes──▶ healthy
//! ```
//! Spec: `envoy.config.core.v3.HealthCheck`.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::random::Random;
use crate::resource::health_check::HealthCheck;
use crate::state::{EndpointState, Finding};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckOutcome {
    /// The host is well; `degraded` if it says that it would rather be spared (`x-envoy-degraded`).
    Passed {
        /// Whether it said so.
        degraded: bool,
    },
    /// It answered that it is not well: counts at once.
    Unwell,
    /// It could not be reached, closed the connection, did not answer in time, or answered with a status that is to be
    /// asked again: counts when it is so several times in a row.
    Unreachable,
}

/// The checks of one host.
#[derive(Debug)]
pub struct Session {
    state: Arc<EndpointState>,
    passes: u32,
    failures: u32,
    was_checked: bool,
    /// `None` while a check is under way.
    due: Option<Duration>,
}

/// What a check changed, as far as the next wait depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transition {
    Unchanged,
    Pending,
    Changed,
}

impl Session {
    /// Begins with a host that nobody has asked yet. Whether it counts as failed until then is noted by who adds it.
    #[must_use]
    pub fn new(config: &HealthCheck, state: Arc<EndpointState>, now: Duration, random: &mut Random) -> Self {
        let due = Some(now.saturating_add(below(config.initial_jitter, random)));
        Self { state, passes: 0, failures: 0, was_checked: false, due }
    }

    /// The host.
    #[must_use]
    pub const fn host(&self) -> &Arc<EndpointState> {
        &self.state
    }

    /// When the next check is due; `None` while one is under way.
    #[must_use]
    pub const fn due(&self) -> Option<Duration> {
        self.due
    }

    /// Whether a check ever ended.
    #[must_use]
    pub const fn was_checked(&self) -> bool {
        self.was_checked
    }

    /// Notes that a check begins.
    pub const fn begin(&mut self) {
        self.due = None;
    }

    /// Takes in how the check ended. `has_traffic`: whether the cluster ever had a request. Whether the host's health
    /// changed.
    pub fn end(
        &mut self,
        config: &HealthCheck,
        outcome: CheckOutcome,
        has_traffic: bool,
        now: Duration,
        random: &mut Random,
    ) -> bool {
        let first = !self.was_checked;
        self.was_checked = true;
        let mut changed = self.state.note(Finding::Unchecked, false);
        let transition = match outcome {
            CheckOutcome::Passed { degraded } => {
                changed |= self.state.note(Finding::Degraded, degraded);
                self.passed(config, first)
            }
            CheckOutcome::Unwell => self.failed(config, true),
            CheckOutcome::Unreachable => self.failed(config, false),
        };
        let healthy = matches!(outcome, CheckOutcome::Passed { .. });
        self.due = Some(now.saturating_add(wait(config, healthy, transition, has_traffic, random)));
        changed || transition == Transition::Changed
    }

    fn passed(&mut self, config: &HealthCheck, first: bool) -> Transition {
        self.failures = 0;
        if !self.state.is(Finding::CheckFailed) {
            return Transition::Unchanged;
        }
        self.passes = self.passes.saturating_add(1);
        if first || self.passes >= config.healthy_threshold {
            self.state.note(Finding::CheckFailed, false);
            return Transition::Changed;
        }
        Transition::Pending
    }

    fn failed(&mut self, config: &HealthCheck, at_once: bool) -> Transition {
        self.passes = 0;
        if self.state.is(Finding::CheckFailed) {
            return Transition::Unchanged;
        }
        self.failures = self.failures.saturating_add(1);
        if at_once || self.failures >= config.unhealthy_threshold {
            self.state.note(Finding::CheckFailed, true);
            return Transition::Changed;
        }
        Transition::Pending
    }
}

/// From the end of a check to the next.
fn wait(
    config: &HealthCheck,
    passed: bool,
    transition: Transition,
    has_traffic: bool,
    random: &mut Random,
) -> Duration {
    let pending = transition == Transition::Pending;
    let base = match (has_traffic, passed) {
        (false, true) => config.no_traffic_healthy_interval.unwrap_or(config.no_traffic_interval),
        (false, false) => config.no_traffic_interval,
        (true, true) if pending => config.healthy_edge_interval,
        (true, true) => config.interval,
        (true, false) if pending => config.unhealthy_edge_interval,
        (true, false) => config.unhealthy_interval,
    };
    let share = base.saturating_mul(config.interval_jitter_percent) / 100;
    // Never without a pause: a check that asks again at once would only keep both sides busy.
    let wait = base.saturating_add(below(share, random)).saturating_add(below(config.interval_jitter, random));
    wait.max(SHORTEST_WAIT)
}

const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// A random time below `limit`.
fn below(limit: Duration, random: &mut Random) -> Duration {
    Duration::try_from_secs_f64(limit.as_secs_f64() * random.fraction()).unwrap_or(limit)
}

#[cfg(test)]
mod tests;

//! What the control side does: ejects hosts, and lets them return.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::rates;
use crate::engine::random::Random;
use crate::resource::endpoint::Address;
use crate::resource::outlier_detection::OutlierDetection;
use crate::state::{ClusterState, EjectionCause, EndpointState, Finding, Origin, Streak};

/// A sweep more often than this would only keep a thread busy.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

/// What became of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It was ejected.
    Ejected {
        /// The host.
        address: Address,
        /// Why.
        cause: EjectionCause,
    },
    /// It was detected and stays: the chance that the settings give an ejection was not met.
    NotEnforced {
        /// The host.
        address: Address,
        /// Why it would have been ejected.
        cause: EjectionCause,
    },
    /// It was detected and stays: too many are ejected already.
    Overflow {
        /// The host.
        address: Address,
        /// Why it would have been ejected.
        cause: EjectionCause,
    },
    /// It is back.
    Returned {
        /// The host.
        address: Address,
    },
}

impl Effect {
    /// Whether the balancer must be made again.
    #[must_use]
    pub const fn changes_health(&self) -> bool {
        matches!(self, Self::Ejected { .. } | Self::Returned { .. })
    }
}

/// The outlier detection of one cluster. Time is counted from any fixed moment, the same for all calls.
#[derive(Debug)]
pub struct Detector {
    config: OutlierDetection,
    always_eject_one: bool,
    cluster: Arc<ClusterState>,
    hosts: Vec<Watched>,
    ejected: usize,
    next_sweep: Duration,
}

#[derive(Debug)]
struct Watched {
    address: Address,
    state: Arc<EndpointState>,
    /// Since when, and for how much longer than usual, while it is ejected.
    ejected: Option<(Duration, Duration)>,
    /// How many times the base an ejection lasts.
    backoff: u32,
    returned: Option<Duration>,
}

impl Detector {
    /// Begins at `now`, with every row of failures at its start. `always_eject_one` is what counts where the settings
    /// do not say.
    #[must_use]
    pub fn new(config: OutlierDetection, always_eject_one: bool, cluster: Arc<ClusterState>, now: Duration) -> Self {
        let always_eject_one = config.always_eject_one_host.unwrap_or(always_eject_one);
        let next_sweep = now.saturating_add(config.interval.max(SHORTEST_INTERVAL));
        cluster.ejections().set_active(0);
        Self { config, always_eject_one, cluster, hosts: Vec::new(), ejected: 0, next_sweep }
    }

    /// The settings.
    #[must_use]
    pub const fn config(&self) -> &OutlierDetection {
        &self.config
    }

    /// When [`sweep`](Self::sweep) is due.
    #[must_use]
    pub const fn next_sweep(&self) -> Duration {
        self.next_sweep
    }

    /// These are the cluster's hosts from now on. Those that it knows go on as they are; one that was removed and is
    /// added again has a state of its own and starts anew.
    ///
    /// Whether a host returned by that: one that was ejected under other settings.
    pub fn follow<'a>(&mut self, hosts: impl Iterator<Item = (&'a Address, &'a Arc<EndpointState>)>) -> bool {
        let mut returned = false;
        let mut known: HashMap<*const EndpointState, Watched> =
            self.hosts.drain(..).map(|host| (Arc::as_ptr(&host.state), host)).collect();
        for (address, state) in hosts {
            let host = known.remove(&Arc::as_ptr(state)).unwrap_or_else(|| {
                // What was counted under other settings is void, and so is their verdict.
                state.outcomes().end_all();
                returned |= state.note(Finding::Ejected, false);
                Watched {
                    address: address.clone(),
                    state: Arc::clone(state),
                    ejected: None,
                    backoff: 0,
                    returned: None,
                }
            });
            self.hosts.push(host);
        }
        self.ejected = self.hosts.iter().filter(|host| host.ejected.is_some()).count();
        self.cluster.ejections().set_active(self.ejected);
        returned
    }

    /// Lets every host return: the cluster has no outlier detection any more. Whether any did.
    pub fn release(&mut self) -> bool {
        let mut returned = false;
        for host in self.hosts.drain(..) {
            host.state.outcomes().end_all();
            returned |= host.state.note(Finding::Ejected, false);
        }
        self.ejected = 0;
        self.cluster.ejections().set_active(0);
        returned
    }

    /// Whether requests detected anything since this was asked: then [`detected`](Self::detected) has work.
    #[must_use]
    pub fn is_called(&self) -> bool {
        self.cluster.take_detected()
    }

    /// Takes in what the requests detected.
    pub fn detected(&mut self, now: Duration, random: &mut Random) -> Vec<Effect> {
        let mut effects = Vec::new();
        for at in 0..self.hosts.len() {
            for streak in Streak::ALL {
                let cause = match streak {
                    Streak::GatewayFailure => EjectionCause::ConsecutiveGatewayFailure,
                    Streak::FiveXx => EjectionCause::Consecutive5xx,
                    Streak::LocalOrigin => EjectionCause::ConsecutiveLocalOriginFailure,
                };
                for _ in 0..self.hosts[at].state.outcomes().take_detected(streak) {
                    self.eject(at, cause, now, random, &mut effects);
                }
            }
        }
        effects
    }

    /// Looks at every host: ends ejections that lasted long enough, and ejects whoever stands out by its rates.
    pub fn sweep(&mut self, now: Duration, random: &mut Random) -> Vec<Effect> {
        let mut effects = Vec::new();
        for at in 0..self.hosts.len() {
            self.let_return(at, now, &mut effects);
        }
        for origin in [Origin::External, Origin::Local] {
            self.rates(origin, now, random, &mut effects);
        }
        // On the grid of the interval, unless that is behind already.
        let interval = self.config.interval.max(SHORTEST_INTERVAL);
        let next = self.next_sweep.saturating_add(interval);
        self.next_sweep = if next > now { next } else { now.saturating_add(interval) };
        effects
    }

    /// A health check of the host passed: an ejection ends, if the settings say so.
    pub fn passed_check(&mut self, state: &Arc<EndpointState>, now: Duration) -> Option<Effect> {
        if !self.config.successful_active_health_check_uneject_host {
            return None;
        }
        let at = self.hosts.iter().position(|host| Arc::ptr_eq(&host.state, state))?;
        self.hosts[at].ejected?;
        Some(self.end_ejection(at, now))
    }

    fn let_return(&mut self, at: usize, now: Duration, effects: &mut Vec<Effect>) {
        let config = &self.config;
        let host = &mut self.hosts[at];
        match host.ejected {
            Some((since, extra)) => {
                let lasts = config.base_ejection_time.saturating_mul(host.backoff).min(config.max_ejection_time);
                if now.saturating_sub(since) >= lasts.saturating_add(extra) {
                    let effect = self.end_ejection(at, now);
                    effects.push(effect);
                }
            }
            None if host.backoff > 0
                && host.returned.is_none_or(|returned| now.saturating_sub(returned) >= config.interval) =>
            {
                host.backoff -= 1;
            }
            None => {}
        }
    }

    fn end_ejection(&mut self, at: usize, now: Duration) -> Effect {
        let host = &mut self.hosts[at];
        host.ejected = None;
        host.returned = Some(now);
        host.state.outcomes().end_all();
        host.state.note(Finding::Ejected, false);
        self.ejected = self.ejected.saturating_sub(1);
        self.cluster.ejections().set_active(self.ejected);
        Effect::Returned { address: host.address.clone() }
    }

    fn rates(&mut self, origin: Origin, now: Duration, random: &mut Random, effects: &mut Vec<Effect>) {
        let (success, failure) = (self.config.success_rate, self.config.failure_percentage);
        let (mut stands, mut fails) = (Vec::new(), Vec::new());
        for (at, host) in self.hosts.iter().enumerate() {
            let volume = host.state.outcomes().take_volume(origin);
            let rate = volume.success_rate().filter(|_| host.ejected.is_none());
            let shown = rate.filter(|_| volume.requests >= success.request_volume.min(failure.request_volume));
            host.state.outcomes().set_success_rate(origin, shown);
            let Some(rate) = rate else { continue };
            if volume.requests >= success.request_volume {
                stands.push((at, rate));
            }
            if volume.requests >= failure.request_volume {
                fails.push((at, rate));
            }
        }
        let enough = |hosts: &[(usize, f64)], minimum: u32| u32::try_from(hosts.len()).unwrap_or(u32::MAX) >= minimum;
        let rates: Vec<f64> = stands.iter().map(|(_, rate)| *rate).collect();
        let limits =
            rates::success_rates(&rates, success.stdev_factor).filter(|_| enough(&stands, success.minimum_hosts));
        self.cluster.ejections().set_success_rates(origin, limits);
        if let Some((_, limit)) = limits {
            let cause = match origin {
                Origin::External => EjectionCause::SuccessRate,
                Origin::Local => EjectionCause::LocalOriginSuccessRate,
            };
            for (at, _) in stands.into_iter().filter(|(_, rate)| *rate < limit) {
                self.eject(at, cause, now, random, effects);
            }
        }
        if enough(&fails, failure.minimum_hosts) {
            let cause = match origin {
                Origin::External => EjectionCause::FailurePercentage,
                Origin::Local => EjectionCause::LocalOriginFailurePercentage,
            };
            for (at, _) in fails.into_iter().filter(|(_, rate)| rates::fails_too_often(*rate, failure.threshold)) {
                self.eject(at, cause, now, random, effects);
            }
        }
    }

    fn eject(
        &mut self,
        at: usize,
        cause: EjectionCause,
        now: Duration,
        random: &mut Random,
        effects: &mut Vec<Effect>,
    ) {
        if self.hosts[at].ejected.is_some() {
            return;
        }
        self.cluster.ejections().count_detected(cause);
        let address = self.hosts[at].address.clone();
        let share = (self.ejected as u128 + 1) * 100;
        let allowed = u128::from(self.config.max_ejection_percent.min(100)) * self.hosts.len() as u128;
        if share > allowed && !(self.always_eject_one && self.ejected == 0) {
            self.cluster.ejections().count_overflow();
            effects.push(Effect::Overflow { address, cause });
            return;
        }
        if random.below(100) >= self.chance(cause) as usize {
            effects.push(Effect::NotEnforced { address, cause });
            return;
        }
        let extra = self.jitter(random);
        let (base, longest) = (self.config.base_ejection_time, self.config.max_ejection_time);
        let host = &mut self.hosts[at];
        host.ejected = Some((now, extra));
        if base.saturating_mul(host.backoff) < longest.saturating_add(base) {
            host.backoff = host.backoff.saturating_add(1);
        }
        host.state.note(Finding::Ejected, true);
        self.ejected += 1;
        self.cluster.ejections().count_enforced(cause);
        self.cluster.ejections().set_active(self.ejected);
        effects.push(Effect::Ejected { address, cause });
    }

    const fn chance(&self, cause: EjectionCause) -> u32 {
        let enforcing = &self.config.enforcing;
        match cause {
            EjectionCause::Consecutive5xx => enforcing.consecutive_5xx,
            EjectionCause::ConsecutiveGatewayFailure => enforcing.consecutive_gateway_failure,
            EjectionCause::ConsecutiveLocalOriginFailure => enforcing.consecutive_local_origin_failure,
            EjectionCause::SuccessRate => enforcing.success_rate,
            EjectionCause::LocalOriginSuccessRate => enforcing.local_origin_success_rate,
            EjectionCause::FailurePercentage => enforcing.failure_percentage,
            EjectionCause::LocalOriginFailurePercentage => enforcing.failure_percentage_local_origin,
        }
    }

    /// A random time below the jitter.
    fn jitter(&self, random: &mut Random) -> Duration {
        let jitter = self.config.max_ejection_time_jitter;
        Duration::try_from_secs_f64(jitter.as_secs_f64() * random.fraction()).unwrap_or(jitter)
    }
}

//! Whether a failed attempt is tried again, and when.
//!
//! `envoy.config.route.v3.RetryPolicy` by Envoy's router: which outcomes each token covers, full-jitter
//! back-off with a doubling interval, a count of retries. Budgets and concurrency of retries are the circuit
//! breaker's; choosing another host is load balancing's; replaying the body is the driver's.

mod asked;
mod hosts;
mod outcome;

use std::time::Duration;

pub use self::asked::{AskedRetry, number};
pub use self::outcome::{Outcome, Reset};

use http::{HeaderMap, StatusCode};

use self::hosts::HostPredicates;
use crate::engine::random::Random;
use crate::engine::routing::HeaderMatch;
use crate::resource::Invalid;
use crate::resource::endpoint::Endpoint;
use crate::resource::retry::{RateLimitedBackOff, ResetFormat, RetryOn, RetryPolicy};

/// Envoy's base interval of the back-off.
pub const BASE_INTERVAL: Duration = Duration::from_millis(25);

/// A compiled retry policy.
#[derive(Clone, Debug)]
pub struct Retry {
    retry_on: RetryOn,
    num_retries: u32,
    per_try_timeout: Option<Duration>,
    status_codes: Box<[StatusCode]>,
    response_headers: Box<[HeaderMatch]>,
    request_headers: Box<[HeaderMatch]>,
    base: Duration,
    max: Duration,
    rate_limited: Option<RateLimitedBackOff>,
    hosts: HostPredicates,
    host_attempts: u32,
}

/// What one request still may retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryState {
    left: u32,
    interval: Duration,
    retried: bool,
}

/// What to do after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The attempt's outcome is the request's.
    Finish,
    /// As `Finish`, and the outcome would have been retried if any retry were left (flag `URX`).
    Exhausted,
    /// Try again after this long.
    RetryAfter(Duration),
}

impl Retry {
    /// Compiles a policy.
    ///
    /// # Errors
    /// A header matcher that does not compile; the field is relative to the policy.
    pub fn compile(policy: &RetryPolicy, mut invalid: impl FnMut(&str, String) -> Invalid) -> Result<Self, Invalid> {
        let base = policy.base_interval.unwrap_or(BASE_INTERVAL).max(Duration::from_millis(1));
        let max = policy.max_interval.unwrap_or(base.saturating_mul(10)).max(base);
        let mut compile = |field: &str, matchers: &[crate::resource::matcher::HeaderMatcher]| {
            matchers
                .iter()
                .enumerate()
                .map(|(at, one)| {
                    HeaderMatch::compile(one).map_err(|problem| invalid(&format!("{field}[{at}]"), problem.to_string()))
                })
                .collect::<Result<Box<[_]>, _>>()
        };
        Ok(Self {
            retry_on: policy.retry_on,
            num_retries: policy.num_retries.unwrap_or(1),
            per_try_timeout: policy.per_try_timeout,
            status_codes: policy.retriable_status_codes.clone().into(),
            response_headers: compile("retriable_headers", &policy.retriable_headers)?,
            request_headers: compile("retriable_request_headers", &policy.retriable_request_headers)?,
            base,
            max,
            rate_limited: policy.rate_limited.clone(),
            hosts: HostPredicates::of(policy),
            host_attempts: policy.host_selection_retry_max_attempts.max(1),
        })
    }

    /// The state for one request, or `None` when this request can never be retried.
    #[must_use]
    pub fn begin(&self, request: &HeaderMap) -> Option<RetryState> {
        let wanted = self.request_headers.is_empty() || self.request_headers.iter().any(|one| one.matches(request));
        (wanted && !self.retry_on.is_empty()).then_some(RetryState {
            left: self.num_retries,
            interval: self.base,
            retried: false,
        })
    }

    /// Limit of each try.
    #[must_use]
    pub const fn per_try_timeout(&self) -> Option<Duration> {
        self.per_try_timeout
    }

    /// How often another host is drawn to find one that is wanted; 0 when any host will do.
    #[must_use]
    pub fn host_attempts(&self) -> u32 {
        if self.hosts.is_empty() { 0 } else { self.host_attempts }
    }

    /// Whether another try may go to a host; `is_tried` says that an earlier one went there.
    #[must_use]
    pub fn wants(&self, host: &Endpoint, is_tried: bool) -> bool {
        self.hosts.want(&host.metadata, is_tried)
    }

    /// Whether a decision may depend on the time of day, which is zero otherwise.
    #[must_use]
    pub const fn reads_the_time(&self) -> bool {
        self.rate_limited.is_some()
    }

    /// Decides after an attempt, `now` being the time since 1970 if [`Self::reads_the_time`]. Spends a retry only when
    /// it answers [`Verdict::RetryAfter`].
    pub fn on_attempt(
        &self,
        state: &mut RetryState,
        outcome: &Outcome<'_>,
        random: &mut Random,
        now: Duration,
    ) -> Verdict {
        if !self.covers(outcome) {
            return Verdict::Finish;
        }
        if state.left == 0 {
            return Verdict::Exhausted;
        }
        state.left -= 1;
        state.retried = true;
        // What the response says goes before the back-off, which goes on from where it was next time.
        if let (Some(limited), Outcome::Response { headers, .. }) = (&self.rate_limited, outcome)
            && let Some(wait) = limited.interval(headers, now)
        {
            return Verdict::RetryAfter(wait.saturating_add(wait.mul_f64(random.fraction() / 2.0)));
        }
        Verdict::RetryAfter(self.back_off(state, random))
    }

    /// Decides when a try has taken too long and goes on beside another one: whatever the tokens cover, as long as
    /// a retry is left.
    pub fn on_slow_try(&self, state: &mut RetryState, random: &mut Random) -> Verdict {
        if state.left == 0 {
            return Verdict::Exhausted;
        }
        state.left -= 1;
        state.retried = true;
        Verdict::RetryAfter(self.back_off(state, random))
    }

    /// The next wait: anything up to the interval, which doubles.
    fn back_off(&self, state: &mut RetryState, random: &mut Random) -> Duration {
        let wait = state.interval.mul_f64(random.fraction());
        state.interval = state.interval.saturating_mul(2).min(self.max);
        wait
    }

    /// Whether the policy's tokens cover an outcome.
    #[must_use]
    pub fn covers(&self, outcome: &Outcome<'_>) -> bool {
        match outcome {
            Outcome::Response { status, headers } => self.covers_response(*status, headers),
            Outcome::Reset(reset) => self.retry_on.intersects(reset.tokens()),
            Outcome::TryTimeout => {
                self.retry_on.intersects(RetryOn::FIVE_XX.union(RetryOn::GATEWAY_ERROR).union(RetryOn::RESET))
            }
        }
    }

    fn covers_response(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let on = |token| self.retry_on.contains(token);
        // A rate-limited answer is retried only on request: retrying it would add to the load that caused it.
        if headers.contains_key("x-envoy-ratelimited") {
            return on(RetryOn::ENVOY_RATELIMITED);
        }
        let code = status.as_u16();
        (on(RetryOn::FIVE_XX) && status.is_server_error())
            || (on(RetryOn::GATEWAY_ERROR) && matches!(code, 502..=504))
            || (on(RetryOn::RETRIABLE_4XX) && code == 409)
            || (on(RetryOn::RETRIABLE_STATUS_CODES) && self.status_codes.contains(&status))
            || (on(RetryOn::RETRIABLE_HEADERS) && self.response_headers.iter().any(|one| one.matches(headers)))
            || self.covers_grpc(headers)
    }

    fn covers_grpc(&self, headers: &HeaderMap) -> bool {
        if !self.retry_on.intersects(RetryOn::GRPC) {
            return false;
        }
        let token = match headers.get("grpc-status").map(http::HeaderValue::as_bytes) {
            Some(b"1") => RetryOn::CANCELLED,
            Some(b"4") => RetryOn::DEADLINE_EXCEEDED,
            Some(b"8") => RetryOn::RESOURCE_EXHAUSTED,
            Some(b"13") => RetryOn::INTERNAL,
            Some(b"14") => RetryOn::UNAVAILABLE,
            _ => return false,
        };
        self.retry_on.contains(token)
    }
}

impl RateLimitedBackOff {
    /// How long a response asks to be left alone: the first header that says so, and not too long.
    fn interval(&self, headers: &HeaderMap, now: Duration) -> Option<Duration> {
        let mut asked = self.reset_headers.iter().filter_map(|reset| {
            let seconds = headers.get(&reset.name)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)?;
            match reset.format {
                ResetFormat::Seconds => Some(seconds),
                ResetFormat::UnixTimestamp => seconds.checked_sub(now),
            }
        });
        asked.find(|wait| *wait <= self.max_interval).filter(|wait| *wait > Duration::from_millis(1))
    }
}

impl RetryState {
    /// Whether at least one retry was decided.
    #[must_use]
    pub const fn has_retried(&self) -> bool {
        self.retried
    }

    /// Whether nothing is left to spend, so that keeping a copy of the request is pointless.
    #[must_use]
    pub const fn is_spent(&self) -> bool {
        self.left == 0
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

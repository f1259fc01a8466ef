//! `envoy.config.route.v3.RetryPolicy`, as configured. The engine of the same name compiles and applies it.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderName, StatusCode};

use super::matcher::HeaderMatcher;
use super::metadata::Value;

/// A retry policy of a route or a virtual host.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct RetryPolicy {
    /// When to retry.
    pub retry_on: RetryOn,
    /// Retries after the first try, default 1.
    pub num_retries: Option<u32>,
    /// Limit of each try; `None` is the route's timeout.
    pub per_try_timeout: Option<Duration>,
    /// A try is reset when nothing arrives for this long; `None` is off.
    pub per_try_idle_timeout: Option<Duration>,
    /// For `retriable-status-codes`.
    pub retriable_status_codes: Vec<StatusCode>,
    /// For `retriable-headers`: any that matches the response.
    pub retriable_headers: Vec<HeaderMatcher>,
    /// Only requests that match one of these are retried; empty is every request.
    pub retriable_request_headers: Vec<HeaderMatcher>,
    /// Base interval of the back-off, default 25 ms.
    pub base_interval: Option<Duration>,
    /// Largest interval, default 10 times the base.
    pub max_interval: Option<Duration>,
    /// `rate_limited_retry_back_off`: a response may say how long to wait.
    pub rate_limited: Option<RateLimitedBackOff>,
    /// `previous_hosts`: prefer a host that this request has not tried.
    pub avoid_previous_hosts: bool,
    /// `omit_canary_hosts`: on retries prefer a host whose `envoy.lb` metadata does not say `canary: true`.
    pub omit_canary_hosts: bool,
    /// `omit_host_metadata`: on retries prefer a host whose `envoy.lb` metadata does not hold all of one of these. Empty
    /// ones mean nobody.
    pub omit_host_metadata: Vec<BTreeMap<String, Value>>,
    /// How often another host is drawn before the last one drawn is used, default 1.
    pub host_selection_retry_max_attempts: u32,
}

/// `RetryPolicy.RateLimitedRetryBackOff`.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimitedBackOff {
    /// The headers that may say how long, in order: the first one that does counts.
    pub reset_headers: Vec<ResetHeader>,
    /// What is longer is not heeded, default 300 s.
    pub max_interval: Duration,
}

/// `RetryPolicy.ResetHeader`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResetHeader {
    /// The header.
    pub name: HeaderName,
    /// How its value is read.
    pub format: ResetFormat,
}

/// `RetryPolicy.ResetHeaderFormat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetFormat {
    /// Seconds from now.
    Seconds,
    /// Seconds since 1970.
    UnixTimestamp,
}

/// The tokens of `retry_on`, as a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub struct RetryOn(u32);

macro_rules! tokens {
    ($($(#[$doc:meta])* $name:ident = $bit:literal, $text:literal;)*) => {
        impl RetryOn {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*

            /// The token with this text, if Envoy knows it. Blanks around it are tolerated.
            #[must_use]
            pub fn token(text: &str) -> Option<Self> {
                match text.trim() {
                    $($text => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The tokens of the set, in Envoy's spelling.
            pub fn tokens(self) -> impl Iterator<Item = &'static str> {
                [$((Self::$name, $text)),*].into_iter().filter(move |(one, _)| self.contains(*one)).map(|(_, text)| text)
            }
        }
    };
}

tokens! {
    /// Any 5xx, or no response at all.
    FIVE_XX = 0, "5xx";
    /// 502, 503, 504, or no response at all.
    GATEWAY_ERROR = 1, "gateway-error";
    /// No response: reset, disconnect or try timeout.
    RESET = 2, "reset";
    /// Reset before a byte of the request was sent.
    RESET_BEFORE_REQUEST = 3, "reset-before-request";
    /// The connection was not made.
    CONNECT_FAILURE = 4, "connect-failure";
    /// HTTP/2 `REFUSED_STREAM`, or a GOAWAY that excludes the stream.
    REFUSED_STREAM = 5, "refused-stream";
    /// 409.
    RETRIABLE_4XX = 6, "retriable-4xx";
    /// A status of the policy's list.
    RETRIABLE_STATUS_CODES = 7, "retriable-status-codes";
    /// A response header of the policy's list.
    RETRIABLE_HEADERS = 8, "retriable-headers";
    /// `x-envoy-ratelimited` is present.
    ENVOY_RATELIMITED = 9, "envoy-ratelimited";
    /// HTTP/3 only; accepted and never met here.
    HTTP3_POST_CONNECT_FAILURE = 10, "http3-post-connect-failure";
    /// gRPC status 1 in the response headers.
    CANCELLED = 11, "cancelled";
    /// gRPC status 4 in the response headers.
    DEADLINE_EXCEEDED = 12, "deadline-exceeded";
    /// gRPC status 8 in the response headers.
    RESOURCE_EXHAUSTED = 13, "resource-exhausted";
    /// gRPC status 13 in the response headers.
    INTERNAL = 14, "internal";
    /// gRPC status 14 in the response headers.
    UNAVAILABLE = 15, "unavailable";
}

impl RetryOn {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// The tokens that are about a `grpc-status`.
    pub const GRPC: Self = Self(
        Self::CANCELLED.0
            | Self::DEADLINE_EXCEEDED.0
            | Self::RESOURCE_EXHAUSTED.0
            | Self::INTERNAL.0
            | Self::UNAVAILABLE.0,
    );

    /// Whether every token of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any token of `other` is in this set.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in this set and not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether nothing is ever retried.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Reads a comma-separated list; tokens that nobody knows come back beside the set.
    #[must_use]
    pub fn parse(list: &str) -> (Self, Vec<&str>) {
        let mut set = Self::default();
        let mut unknown = Vec::new();
        for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            match Self::token(text) {
                Some(token) => set = set.union(token),
                None => unknown.push(text),
            }
        }
        (set, unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_are_tolerated_and_unknown_tokens_come_back() {
        let (set, unknown) = RetryOn::parse("5xx, reset ,nonsense");
        assert_eq!(set.tokens().collect::<Vec<_>>(), ["5xx", "reset"]);
        assert_eq!(unknown, ["nonsense"]);
    }
}

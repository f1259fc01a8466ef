//! A retry policy with what the request itself asks for: `x-envoy-retry-on` and its companions.
//!
//! As Envoy merges them: tokens, status codes and header names come on top of the policy's own, the number of retries
//! in place of the policy's. Whether a request may ask at all is not decided here.

use std::str::FromStr;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::hosts::HostPredicates;
use super::{BASE_INTERVAL, Retry};
use crate::engine::routing::HeaderMatch;
use crate::resource::matcher::{HeaderMatcher, HeaderSpecifier};
use crate::resource::retry::RetryOn;

/// What a request asks of its retries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskedRetry {
    /// `x-envoy-retry-on` and `x-envoy-retry-grpc-on`: more tokens.
    pub retry_on: RetryOn,
    /// `x-envoy-max-retries`.
    pub max_retries: Option<u32>,
    /// `x-envoy-retriable-status-codes`: more codes.
    pub status_codes: Vec<StatusCode>,
    /// `x-envoy-retriable-header-names`: more headers whose presence counts.
    pub header_names: Vec<HeaderName>,
}

impl AskedRetry {
    /// Reads a request's headers; `None` when they ask for nothing. What is no number, no status and no name is passed
    /// over, as are tokens in the header of the other kind.
    #[must_use]
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let tokens = |name: &str| text(name).map(|list| RetryOn::parse(list).0).unwrap_or_default();
        let asked = Self {
            retry_on: tokens("x-envoy-retry-on")
                .without(RetryOn::GRPC)
                .union(tokens("x-envoy-retry-grpc-on").intersection(RetryOn::GRPC)),
            max_retries: headers.get("x-envoy-max-retries").and_then(number).map(saturated),
            status_codes: text("x-envoy-retriable-status-codes").map(each).unwrap_or_default(),
            header_names: text("x-envoy-retriable-header-names").map(each).unwrap_or_default(),
        };
        (asked != Self::default()).then_some(asked)
    }
}

impl Retry {
    /// The policy for a request that asks for `asked`, on a route with `policy`. `None` when nothing is ever retried.
    #[must_use]
    pub fn asked(policy: Option<&Self>, asked: &AskedRetry) -> Option<Self> {
        let mut merged = policy.cloned().unwrap_or_else(Self::unset);
        merged.retry_on = merged.retry_on.union(asked.retry_on);
        if merged.retry_on.is_empty() {
            return None;
        }
        merged.num_retries = asked.max_retries.unwrap_or(merged.num_retries);
        merged.status_codes = merged.status_codes.iter().chain(&asked.status_codes).copied().collect();
        let present = |name: &HeaderName| {
            HeaderMatch::compile(&HeaderMatcher::new(name.as_str(), HeaderSpecifier::Present(true))).ok()
        };
        let names = asked.header_names.iter().filter_map(present);
        merged.response_headers = merged.response_headers.iter().cloned().chain(names).collect();
        Some(merged)
    }

    /// What holds on a route without a policy: Envoy's defaults.
    fn unset() -> Self {
        Self {
            retry_on: RetryOn::NONE,
            num_retries: 1,
            per_try_timeout: None,
            status_codes: Box::default(),
            response_headers: Box::default(),
            request_headers: Box::default(),
            base: BASE_INTERVAL,
            max: BASE_INTERVAL * 10,
            rate_limited: None,
            hosts: HostPredicates::default(),
            host_attempts: 1,
        }
    }
}

/// A header's value as a whole number; blanks around it are tolerated.
#[must_use]
pub fn number(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.trim().parse().ok()
}

fn saturated(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The members of a comma-separated list that can be read.
fn each<T: FromStr>(list: &str) -> Vec<T> {
    list.split(',').filter_map(|one| one.trim().parse().ok()).collect()
}

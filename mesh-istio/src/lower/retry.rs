//! `retries` as Envoy's retry policy, with Istio's default where none is given.

use std::time::Duration;

use mesh_proto::any::pack;
use mesh_proto::envoy::config::route::v3::RetryPolicy;
use mesh_proto::envoy::config::route::v3::retry_policy::{
    RetryBackOff, RetryHostPredicate, RetryPriority, retry_host_predicate, retry_priority,
};
use mesh_proto::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use mesh_proto::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;

use super::values::{duration, u32_value};
use crate::mesh_config::Compat;
use crate::object::HttpRetry;

/// Istio's default conditions. The list of status codes that goes with them is empty since 1.24.
const DEFAULT_RETRY_ON: &str = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
const STATUS_CODES: &str = "retriable-status-codes";
const DEFAULT_RETRIES: u32 = 2;
const HOST_SELECTION_ATTEMPTS: i64 = 5;
/// Longest back-off relative to the first.
const MAX_BACK_OFF_FACTOR: u32 = 10;

/// `hashed`: the only destination is chosen by a hash, so that a retry belongs where the first try went.
pub(super) fn lower(policy: Option<&HttpRetry>, hashed: bool, compat: &Compat) -> Option<RetryPolicy> {
    let mut out = RetryPolicy {
        retry_on: DEFAULT_RETRY_ON.to_owned(),
        num_retries: u32_value(DEFAULT_RETRIES),
        retry_host_predicate: if hashed { Vec::new() } else { vec![previous_hosts()] },
        host_selection_retry_max_attempts: HOST_SELECTION_ATTEMPTS,
        retriable_status_codes: if compat.retries_default_503 { vec![503] } else { Vec::new() },
        ..RetryPolicy::default()
    };
    let Some(policy) = policy else {
        return Some(out);
    };
    // 0 switches retries off.
    let attempts = u32::try_from(policy.attempts).ok().filter(|attempts| *attempts > 0)?;
    out.num_retries = u32_value(attempts);
    if !policy.retry_on.is_empty() {
        (out.retry_on, out.retriable_status_codes) = conditions(&policy.retry_on);
    }
    out.per_try_timeout = policy.per_try_timeout.map(duration);
    if policy.retry_remote_localities == Some(true) {
        out.retry_priority = Some(RetryPriority {
            name: "envoy.retry_priorities.previous_priorities".to_owned(),
            config_type: Some(retry_priority::ConfigType::TypedConfig(pack(&PreviousPrioritiesConfig {
                update_frequency: 2,
            }))),
        });
    }
    match policy.retry_ignore_previous_hosts {
        Some(true) => out.retry_host_predicate = vec![previous_hosts()],
        Some(false) => out.retry_host_predicate = Vec::new(),
        None => {}
    }
    out.retry_back_off = policy.backoff.map(|base| RetryBackOff {
        base_interval: Some(duration(base)),
        max_interval: Some(duration(base.checked_mul(MAX_BACK_OFF_FACTOR).unwrap_or(Duration::MAX))),
    });
    Some(out)
}

/// Conditions and status codes of a list that mixes them.
fn conditions(list: &str) -> (String, Vec<u32>) {
    let mut names: Vec<&str> = Vec::new();
    let mut codes = Vec::new();
    for item in list.split(',').map(str::trim) {
        match item.parse::<u32>() {
            Ok(code) => codes.push(code),
            Err(_) => names.push(item),
        }
    }
    if !codes.is_empty() && !names.contains(&STATUS_CODES) {
        names.push(STATUS_CODES);
    }
    (names.join(","), codes)
}

fn previous_hosts() -> RetryHostPredicate {
    RetryHostPredicate {
        name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
        config_type: Some(retry_host_predicate::ConfigType::TypedConfig(pack(&PreviousHostsPredicate {}))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_status_codes() {
        assert_eq!(conditions("5xx, 503,409"), ("5xx,retriable-status-codes".to_owned(), vec![503, 409]));
        assert_eq!(conditions("503"), ("retriable-status-codes".to_owned(), vec![503]));
        assert_eq!(conditions("reset,retriable-status-codes,503").0, "reset,retriable-status-codes");
    }

    #[test]
    fn no_attempts_switch_retries_off_and_no_policy_means_the_default() {
        let compat = Compat::default();
        assert_eq!(lower(Some(&HttpRetry::default()), false, &compat), None);
        let default = lower(None, false, &compat).unwrap_or_default();
        assert_eq!((default.retry_on.as_str(), default.retry_host_predicate.len()), (DEFAULT_RETRY_ON, 1));
        assert!(default.retriable_status_codes.is_empty());
        assert!(lower(None, true, &compat).unwrap_or_default().retry_host_predicate.is_empty());
        let old = Compat { retries_default_503: true, ..Compat::default() };
        assert_eq!(lower(None, false, &old).unwrap_or_default().retriable_status_codes, [503]);
    }

    #[test]
    fn the_longest_back_off_is_ten_times_the_first() {
        let policy = HttpRetry { attempts: 1, backoff: Some(Duration::from_millis(40)), ..HttpRetry::default() };
        let back_off = lower(Some(&policy), false, &Compat::default())
            .and_then(|policy| policy.retry_back_off)
            .unwrap_or_default();
        assert_eq!(back_off.max_interval, Some(duration(Duration::from_millis(400))));
    }
}

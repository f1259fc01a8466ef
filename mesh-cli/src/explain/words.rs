//! Policies in words. Defaults are said as what they are, so that nobody has to know them.

use std::time::Duration;

use http::StatusCode;
use mesh_core::engine::retry::BASE_INTERVAL;
use mesh_core::engine::timeout::Timeouts;
use mesh_core::resource::cluster::{Cluster, LbPolicy, Thresholds, UpstreamProtocol};
use mesh_core::resource::retry::{RetryOn, RetryPolicy};

/// `2s`, `500ms`, `1h`, `1h30m`.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_nanos() > 0 || seconds < 60 {
        return format!("{duration:?}");
    }
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    parts.iter().filter(|(number, _)| *number > 0).map(|(number, unit)| format!("{number}{unit}")).collect()
}

/// The limits of a request.
pub(super) fn timeouts(timeouts: &Timeouts) -> String {
    let mut words = timeouts.response.map_or_else(|| "none".to_owned(), duration);
    if timeouts.from_grpc {
        words.push_str(", by the caller's gRPC deadline");
    }
    if let Some(stream) = timeouts.stream {
        words.push_str(&format!("; the whole stream {}", duration(stream)));
    }
    words
}

/// What is tried again.
pub(super) fn retries(policy: Option<&RetryPolicy>) -> String {
    let Some(policy) = policy else { return "none".to_owned() };
    let number = policy.num_retries.unwrap_or(1);
    let codes: Vec<_> = policy.retriable_status_codes.iter().map(StatusCode::as_str).collect();
    let codes = format!("status {}", codes.join(" "));
    // The token means nothing without codes, and codes nothing without the token.
    let by_code = RetryOn::RETRIABLE_STATUS_CODES;
    let on = policy.retry_on.tokens().filter_map(|token| match RetryOn::token(token) {
        Some(token) if token == by_code => (!policy.retriable_status_codes.is_empty()).then_some(&*codes),
        _ => Some(token),
    });
    let on: Vec<_> = on.collect();
    if number == 0 || on.is_empty() {
        return "none".to_owned();
    }
    let mut words = format!("{number}, on {}", on.join(", "));
    if let Some(limit) = policy.per_try_timeout.filter(|limit| !limit.is_zero()) {
        words.push_str(&format!("; {} for each try", duration(limit)));
    }
    let base = policy.base_interval.unwrap_or(BASE_INTERVAL);
    let max = policy.max_interval.unwrap_or(base * 10);
    words.push_str(&format!("; back-off {} to {}", duration(base), duration(max)));
    if policy.avoid_previous_hosts {
        words.push_str("; another endpoint if there is one");
    }
    words
}

/// How an endpoint is picked.
pub(super) fn balancing(policy: &LbPolicy) -> String {
    match policy {
        LbPolicy::RoundRobin => "round robin".to_owned(),
        LbPolicy::Random => "random".to_owned(),
        LbPolicy::LeastRequest(config) if config.full_scan => "least request of all".to_owned(),
        LbPolicy::LeastRequest(config) => format!("least request of {} drawn", config.choice_count),
        other => format!("{other:?}"),
    }
}

/// How endpoints are spoken to.
pub(super) fn connections(cluster: &Cluster) -> String {
    let protocol = match cluster.protocol {
        UpstreamProtocol::Http1 => "HTTP/1.1",
        UpstreamProtocol::Http2 => "HTTP/2",
        UpstreamProtocol::UseDownstream => "HTTP as the caller speaks it",
    };
    let mut words = format!("{protocol}, connect within {}", duration(cluster.connect_timeout));
    if let Some(idle) = cluster.http.idle_timeout {
        words.push_str(&format!(", idle for {} at most", duration(idle)));
    }
    if let Some(requests) = cluster.http.max_requests_per_connection {
        words.push_str(&format!(", {requests} requests each at most"));
    }
    words
}

/// Circuit breaker thresholds; what has no limit is left out.
pub(super) fn limits(thresholds: &Thresholds) -> String {
    let limits = [
        (thresholds.max_connections, "connections"),
        (thresholds.max_pending_requests, "waiting requests"),
        (thresholds.max_requests, "requests"),
    ];
    let limited = limits.iter().filter(|(limit, _)| *limit != u32::MAX);
    let mut words: Vec<_> = limited.map(|(limit, what)| format!("{limit} {what}")).collect();
    match thresholds.retry_budget {
        Some(budget) => words
            .push(format!("retries {}% of requests, {} at least", budget.budget_percent, budget.min_retry_concurrency)),
        None if thresholds.max_retries != u32::MAX => words.push(format!("{} retries", thresholds.max_retries)),
        None => {}
    }
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_core::resource::cluster::RetryBudget;

    #[test]
    fn durations_are_written_as_people_write_them() {
        let cases = [(500, "500ms"), (2_000, "2s"), (2_500, "2.5s"), (90_000, "1m30s"), (3_600_000, "1h"), (0, "0ns")];
        for (millis, words) in cases {
            assert_eq!(duration(Duration::from_millis(millis)), words);
        }
    }

    #[test]
    fn a_policy_that_retries_nothing_is_none() {
        assert_eq!(retries(None), "none");
        assert_eq!(retries(Some(&RetryPolicy { num_retries: Some(2), ..RetryPolicy::default() })), "none");
        let policy = RetryPolicy { retry_on: RetryOn::RESET, num_retries: Some(0), ..RetryPolicy::default() };
        assert_eq!(retries(Some(&policy)), "none");
        let policy = RetryPolicy { per_try_timeout: Some(Duration::from_secs(1)), num_retries: None, ..policy };
        assert_eq!(retries(Some(&policy)), "1, on reset; 1s for each try; back-off 25ms to 250ms");
        let by_code = RetryOn::RETRIABLE_STATUS_CODES;
        let policy = RetryPolicy { retry_on: by_code, num_retries: Some(1), ..RetryPolicy::default() };
        assert_eq!(retries(Some(&policy)), "none", "there are no codes");
        let policy = RetryPolicy { retriable_status_codes: vec![StatusCode::CONFLICT], ..policy };
        assert_eq!(retries(Some(&policy)), "1, on status 409; back-off 25ms to 250ms");
    }

    #[test]
    fn limits_that_are_none_are_not_listed() {
        let none = Thresholds {
            max_connections: u32::MAX,
            max_pending_requests: u32::MAX,
            max_requests: u32::MAX,
            max_retries: u32::MAX,
            ..Thresholds::default()
        };
        assert_eq!(limits(&none), "none");
        let some = Thresholds { max_requests: 64, retry_budget: Some(RetryBudget::default()), ..none };
        assert_eq!(limits(&some), "64 requests, retries 20% of requests, 3 at least");
    }
}

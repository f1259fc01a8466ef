//! Limits of a DestinationRule's `connectionPool` as circuit breaker thresholds; 0 means no limit.

use mesh_proto::envoy::config::cluster::v3::CircuitBreakers;
use mesh_proto::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use mesh_proto::envoy::config::cluster::v3::circuit_breakers::thresholds::RetryBudget;
use mesh_proto::envoy::r#type::v3::Percent;

use super::values::u32_value;
use crate::select::EffectivePolicy;

pub(super) fn lower(policy: &EffectivePolicy<'_>) -> CircuitBreakers {
    let tcp = policy.connection_pool.and_then(|pool| pool.tcp.as_ref());
    let http = policy.connection_pool.and_then(|pool| pool.http.as_ref());
    // Istio writes the largest number rather than nothing: Envoy's own defaults are far lower.
    let limit = |value: Option<i32>| {
        u32_value(value.and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(u32::MAX))
    };
    let mut thresholds = Thresholds {
        max_connections: limit(tcp.map(|tcp| tcp.max_connections)),
        max_pending_requests: limit(http.map(|http| http.http1_max_pending_requests)),
        max_requests: limit(http.map(|http| http.http2_max_requests)),
        max_retries: limit(http.map(|http| http.max_retries)),
        ..Thresholds::default()
    };
    if let Some(budget) = policy.retry_budget {
        thresholds.max_retries = None;
        thresholds.retry_budget = Some(RetryBudget {
            budget_percent: Some(Percent { value: budget.percent.as_ref().map_or(20.0, |percent| percent.value) }),
            min_retry_concurrency: u32_value(budget.min_retry_concurrency.unwrap_or(3)),
            ..RetryBudget::default()
        });
    }
    CircuitBreakers { thresholds: vec![thresholds], ..CircuitBreakers::default() }
}

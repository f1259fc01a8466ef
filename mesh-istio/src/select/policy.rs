//! Layering of a DestinationRule's policies: what holds for one port and one subset.
//!
//! A port entry replaces the whole policy, a subset overlays it block by block, blocks are never mixed. Follows Istio's
//! `MergeTrafficPolicy`.

use crate::object::{
    ClientTlsSettings, ConnectionPoolSettings, LoadBalancerSettings, OutlierDetection, PortTrafficPolicy, RetryBudget,
    Subset, TrafficPolicy,
};

/// The blocks that hold.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EffectivePolicy<'a> {
    /// Load balancing.
    pub load_balancer: Option<&'a LoadBalancerSettings>,
    /// Limits.
    pub connection_pool: Option<&'a ConnectionPoolSettings>,
    /// Ejection.
    pub outlier_detection: Option<&'a OutlierDetection>,
    /// TLS.
    pub tls: Option<&'a ClientTlsSettings>,
    /// Retry budget.
    pub retry_budget: Option<&'a RetryBudget>,
}

/// The policy for one port, and for a subset when one is given.
#[must_use]
pub fn effective<'a>(policy: Option<&'a TrafficPolicy>, subset: Option<&'a Subset>, port: u32) -> EffectivePolicy<'a> {
    let mut out = match policy.and_then(|policy| of_port(policy, port)) {
        Some(entry) => from_port(entry),
        None => policy.map(whole).unwrap_or_default(),
    };
    let Some(overlay) = subset.and_then(|subset| subset.traffic_policy.as_ref()) else {
        return out;
    };
    match of_port(overlay, port) {
        // A port entry of the subset resets what it does not set.
        Some(entry) => EffectivePolicy { retry_budget: out.retry_budget, ..from_port(entry) },
        None => {
            out.load_balancer = overlay.load_balancer.as_ref().or(out.load_balancer);
            out.connection_pool = overlay.connection_pool.as_ref().or(out.connection_pool);
            out.outlier_detection = overlay.outlier_detection.as_ref().or(out.outlier_detection);
            out.tls = overlay.tls.as_ref().or(out.tls);
            out.retry_budget = overlay.retry_budget.as_ref().or(out.retry_budget);
            out
        }
    }
}

fn of_port(policy: &TrafficPolicy, port: u32) -> Option<&PortTrafficPolicy> {
    policy.port_level_settings.iter().find(|entry| entry.port.as_ref().is_some_and(|selector| selector.number == port))
}

fn whole(policy: &TrafficPolicy) -> EffectivePolicy<'_> {
    EffectivePolicy {
        load_balancer: policy.load_balancer.as_ref(),
        connection_pool: policy.connection_pool.as_ref(),
        outlier_detection: policy.outlier_detection.as_ref(),
        tls: policy.tls.as_ref(),
        retry_budget: policy.retry_budget.as_ref(),
    }
}

fn from_port(entry: &PortTrafficPolicy) -> EffectivePolicy<'_> {
    EffectivePolicy {
        load_balancer: entry.load_balancer.as_ref(),
        connection_pool: entry.connection_pool.as_ref(),
        outlier_detection: entry.outlier_detection.as_ref(),
        tls: entry.tls.as_ref(),
        retry_budget: None,
    }
}

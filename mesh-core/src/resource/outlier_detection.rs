//! `envoy.config.cluster.v3.OutlierDetection`: when a host that answers badly is ejected, and for how long.

use std::ops::Range;
use std::time::Duration;

/// Ejection of hosts by the outcomes of requests. Percentages are whole, 0 to 100.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlierDetection {
    /// Failures in a row of status 5xx that eject, default 5.
    pub consecutive_5xx: u32,
    /// Failures in a row of status 502, 503 or 504 that eject, default 5.
    pub consecutive_gateway_failure: u32,
    /// Failures in a row of our own (no connection, timeout) that eject, default 5; only with
    /// [`split_external_local_origin_errors`](Self::split_external_local_origin_errors).
    pub consecutive_local_origin_failure: u32,
    /// How often ejected hosts are looked at and rates are computed, default 10 s.
    pub interval: Duration,
    /// An ejection lasts this long, times how often the host was ejected lately; default 30 s.
    pub base_ejection_time: Duration,
    /// The longest ejection, default 300 s or [`base_ejection_time`](Self::base_ejection_time) if that is longer.
    pub max_ejection_time: Duration,
    /// Each ejection is longer by a random time up to this, default none.
    pub max_ejection_time_jitter: Duration,
    /// The share of a cluster's hosts that may be ejected at once, default 10.
    pub max_ejection_percent: u32,
    /// Whether one host may be ejected however small the share allowed; `None` is not said.
    pub always_eject_one_host: Option<bool>,
    /// How likely a detected host is ejected, by what detected it.
    pub enforcing: Enforcing,
    /// Detection by success rates that are far below those of the other hosts.
    pub success_rate: SuccessRate,
    /// Detection by a share of failures.
    pub failure_percentage: FailurePercentage,
    /// Whether failures of our own are told from those that hosts answered.
    pub split_external_local_origin_errors: bool,
    /// Whether a passing health check ends an ejection, default true.
    pub successful_active_health_check_uneject_host: bool,
    /// Statuses that count as failures (`error_matcher`), instead of 5xx.
    pub errors: Option<Vec<Range<u16>>>,
}

/// `enforcing_*`: the chance in percent that a detected host is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enforcing {
    /// Default 100.
    pub consecutive_5xx: u32,
    /// Default 0.
    pub consecutive_gateway_failure: u32,
    /// Default 100.
    pub consecutive_local_origin_failure: u32,
    /// Default 100.
    pub success_rate: u32,
    /// Default 100.
    pub local_origin_success_rate: u32,
    /// Default 0.
    pub failure_percentage: u32,
    /// Default 0.
    pub failure_percentage_local_origin: u32,
}

/// `success_rate_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuccessRate {
    /// So many hosts with enough requests are needed, default 5.
    pub minimum_hosts: u32,
    /// So many requests in an interval make a host count, default 100.
    pub request_volume: u32,
    /// Standard deviations below the mean that eject, in thousandths; default 1900.
    pub stdev_factor: u32,
}

/// `failure_percentage_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailurePercentage {
    /// From this share of failures on, default 85.
    pub threshold: u32,
    /// So many hosts with enough requests are needed, default 5.
    pub minimum_hosts: u32,
    /// So many requests in an interval make a host count, default 50.
    pub request_volume: u32,
}

impl Default for OutlierDetection {
    fn default() -> Self {
        Self {
            consecutive_5xx: 5,
            consecutive_gateway_failure: 5,
            consecutive_local_origin_failure: 5,
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            max_ejection_time_jitter: Duration::ZERO,
            max_ejection_percent: 10,
            always_eject_one_host: None,
            enforcing: Enforcing::default(),
            success_rate: SuccessRate::default(),
            failure_percentage: FailurePercentage::default(),
            split_external_local_origin_errors: false,
            successful_active_health_check_uneject_host: true,
            errors: None,
        }
    }
}

impl Default for Enforcing {
    fn default() -> Self {
        Self {
            consecutive_5xx: 100,
            consecutive_gateway_failure: 0,
            consecutive_local_origin_failure: 100,
            success_rate: 100,
            local_origin_success_rate: 100,
            failure_percentage: 0,
            failure_percentage_local_origin: 0,
        }
    }
}

impl Default for SuccessRate {
    fn default() -> Self {
        Self { minimum_hosts: 5, request_volume: 100, stdev_factor: 1900 }
    }
}

impl Default for FailurePercentage {
    fn default() -> Self {
        Self { threshold: 85, minimum_hosts: 5, request_volume: 50 }
    }
}

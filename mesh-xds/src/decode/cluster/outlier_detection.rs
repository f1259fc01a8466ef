//! `OutlierDetection`: when hosts that answer badly are ejected.

use mesh_core::resource::outlier_detection::{Enforcing, FailurePercentage, OutlierDetection, SuccessRate};
use mesh_proto::envoy::config::cluster::v3 as pb;
use mesh_proto::google::protobuf::{Duration, UInt32Value};

use super::super::refused::{At, Refused, refuse};
use super::super::scalar::{duration, number};

pub(super) fn outlier_detection(at: &At<'_>, message: &pb::OutlierDetection) -> Result<OutlierDetection, Refused> {
    let default = OutlierDetection::default();
    let or = |value: Option<UInt32Value>, default: u32| number(value).unwrap_or(default);
    let time = |field: &'static str, value: Option<Duration>| duration(&at.field(field), value);
    let base_ejection_time =
        time("base_ejection_time", message.base_ejection_time)?.unwrap_or(default.base_ejection_time);
    let max_ejection_time = time("max_ejection_time", message.max_ejection_time)?;
    if let Some(longest) = max_ejection_time.filter(|longest| *longest < base_ejection_time) {
        let problem = format!("{longest:?} is below base_ejection_time, {base_ejection_time:?}");
        return Err(refuse(&at.field("max_ejection_time"), problem));
    }
    Ok(OutlierDetection {
        consecutive_5xx: or(message.consecutive_5xx, default.consecutive_5xx),
        consecutive_gateway_failure: or(message.consecutive_gateway_failure, default.consecutive_gateway_failure),
        consecutive_local_origin_failure: or(
            message.consecutive_local_origin_failure,
            default.consecutive_local_origin_failure,
        ),
        interval: time("interval", message.interval)?.unwrap_or(default.interval),
        base_ejection_time,
        max_ejection_time: max_ejection_time.unwrap_or(default.max_ejection_time.max(base_ejection_time)),
        max_ejection_time_jitter: time("max_ejection_time_jitter", message.max_ejection_time_jitter)?
            .unwrap_or(default.max_ejection_time_jitter),
        max_ejection_percent: or(message.max_ejection_percent, default.max_ejection_percent),
        always_eject_one_host: message.always_eject_one_host.map(|value| value.value),
        enforcing: enforcing(message, &default.enforcing),
        success_rate: SuccessRate {
            minimum_hosts: or(message.success_rate_minimum_hosts, default.success_rate.minimum_hosts),
            request_volume: or(message.success_rate_request_volume, default.success_rate.request_volume),
            stdev_factor: or(message.success_rate_stdev_factor, default.success_rate.stdev_factor),
        },
        failure_percentage: FailurePercentage {
            threshold: or(message.failure_percentage_threshold, default.failure_percentage.threshold),
            minimum_hosts: or(message.failure_percentage_minimum_hosts, default.failure_percentage.minimum_hosts),
            request_volume: or(message.failure_percentage_request_volume, default.failure_percentage.request_volume),
        },
        split_external_local_origin_errors: message.split_external_local_origin_errors,
        successful_active_health_check_uneject_host: message
            .successful_active_health_check_uneject_host
            .is_none_or(|value| value.value),
        errors: default.errors,
    })
}

fn enforcing(message: &pb::OutlierDetection, default: &Enforcing) -> Enforcing {
    let or = |value: Option<UInt32Value>, default: u32| number(value).unwrap_or(default);
    Enforcing {
        consecutive_5xx: or(message.enforcing_consecutive_5xx, default.consecutive_5xx),
        consecutive_gateway_failure: or(
            message.enforcing_consecutive_gateway_failure,
            default.consecutive_gateway_failure,
        ),
        consecutive_local_origin_failure: or(
            message.enforcing_consecutive_local_origin_failure,
            default.consecutive_local_origin_failure,
        ),
        success_rate: or(message.enforcing_success_rate, default.success_rate),
        local_origin_success_rate: or(message.enforcing_local_origin_success_rate, default.local_origin_success_rate),
        failure_percentage: or(message.enforcing_failure_percentage, default.failure_percentage),
        failure_percentage_local_origin: or(
            message.enforcing_failure_percentage_local_origin,
            default.failure_percentage_local_origin,
        ),
    }
}

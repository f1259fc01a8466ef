//! `outlierDetection` as Envoy's, with success rate ejection always off, as istiod does.

use mesh_proto::envoy::config::cluster::v3;
use mesh_proto::envoy::r#type::v3::Percent;

use super::values::{duration, u32_value};
use crate::mesh_config::{Compat, ConsecutiveErrors};
use crate::object::OutlierDetection;

pub(super) fn lower(outlier: &OutlierDetection, compat: &Compat) -> v3::OutlierDetection {
    let enforcing = |count: u32| u32_value(if count > 0 { 100 } else { 0 });
    let mut out = v3::OutlierDetection {
        enforcing_success_rate: u32_value(0),
        interval: outlier.interval.map(duration),
        base_ejection_time: outlier.base_ejection_time.map(duration),
        max_ejection_percent: u32::try_from(outlier.max_ejection_percent)
            .ok()
            .filter(|percent| *percent > 0)
            .and_then(u32_value),
        ..v3::OutlierDetection::default()
    };
    if let Some(count) = outlier.consecutive_5xx_errors {
        out.consecutive_5xx = u32_value(count);
        out.enforcing_consecutive_5xx = enforcing(count);
    }
    if let Some(count) = outlier.consecutive_gateway_errors {
        out.consecutive_gateway_failure = u32_value(count);
        out.enforcing_consecutive_gateway_failure = enforcing(count);
    }
    let replaced = outlier.consecutive_5xx_errors.is_some() || outlier.consecutive_gateway_errors.is_some();
    if let (Ok(count @ 1..), false, ConsecutiveErrors::Gateway) =
        (u32::try_from(outlier.consecutive_errors), replaced, compat.consecutive_errors)
    {
        // As Istio 1.6 and earlier: only gateway errors eject.
        out.consecutive_gateway_failure = u32_value(count);
        out.enforcing_consecutive_gateway_failure = u32_value(100);
        out.enforcing_consecutive_5xx = u32_value(0);
    }
    if outlier.split_external_local_origin_errors {
        out.split_external_local_origin_errors = true;
        if let Some(count @ 1..) = outlier.consecutive_local_origin_failures {
            out.consecutive_local_origin_failure = u32_value(count);
            out.enforcing_consecutive_local_origin_failure = u32_value(100);
        }
        out.enforcing_local_origin_success_rate = u32_value(0);
    }
    out
}

/// The healthy share below which ejection is ignored. Istio always writes it, which switches Envoy's default of 50 % off.
pub(super) fn panic_threshold(outlier: Option<&OutlierDetection>) -> Percent {
    Percent { value: outlier.map_or(0.0, |outlier| f64::from(outlier.min_health_percent)) }
}

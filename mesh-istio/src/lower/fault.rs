//! `fault` as the per-route configuration of the fault filter.

use mesh_proto::any::pack;
use mesh_proto::envoy::extensions::filters::common::fault::v3::{FaultDelay, fault_delay::FaultDelaySecifier};
use mesh_proto::envoy::extensions::filters::http::fault::v3::{FaultAbort, HttpFault, fault_abort::ErrorType};
use mesh_proto::envoy::r#type::v3::FractionalPercent;
use mesh_proto::google::protobuf::Any;

use super::values::{duration, hundredths, millionths};
use crate::object::{HttpFaultInjection, Percent};

/// gRPC statuses by name, in the order of their numbers.
const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The number of a gRPC status.
pub(crate) fn grpc_status(name: &str) -> Option<u32> {
    GRPC_STATUSES.iter().position(|known| *known == name).and_then(|number| u32::try_from(number).ok())
}

pub(super) fn lower(fault: &HttpFaultInjection) -> Any {
    let delay = fault.delay.as_ref().and_then(|delay| {
        Some(FaultDelay {
            percentage: percentage(delay.percentage.as_ref(), delay.percent),
            fault_delay_secifier: Some(FaultDelaySecifier::FixedDelay(duration(delay.fixed_delay?))),
        })
    });
    let abort = fault.abort.as_ref().and_then(|abort| {
        let error = match (abort.http_status, &abort.grpc_status) {
            (Some(status), _) => ErrorType::HttpStatus(u32::try_from(status).ok()?),
            (None, Some(name)) => ErrorType::GrpcStatus(grpc_status(name)?),
            (None, None) => return None,
        };
        Some(FaultAbort {
            percentage: percentage(abort.percentage.as_ref(), abort.percent),
            error_type: Some(error),
            ..FaultAbort::default()
        })
    });
    pack(&HttpFault { delay, abort, ..HttpFault::default() })
}

/// Unset stays unset, which is none.
fn percentage(percentage: Option<&Percent>, whole: Option<i32>) -> Option<FractionalPercent> {
    match (percentage, whole) {
        (Some(percent), _) => Some(millionths(percent.value)),
        (None, Some(percent)) => Some(hundredths(u32::try_from(percent).unwrap_or(0))),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_statuses_have_their_numbers() {
        assert_eq!(grpc_status("OK"), Some(0));
        assert_eq!(grpc_status("UNAVAILABLE"), Some(14));
        assert_eq!(grpc_status("UNAUTHENTICATED"), Some(16));
        assert_eq!(grpc_status("unavailable"), None);
    }
}

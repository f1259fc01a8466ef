//! `envoy.extensions.filters.http.fault.v3` and the parts of `envoy.extensions.filters.common.fault.v3` in it.

use mesh_core::resource::Problem;
use mesh_core::resource::filter::{AbortError, Fault, FaultAbort, FaultDelay, FaultRateLimit};
use mesh_core::resource::route::FractionalPercent;
use mesh_proto::envoy::extensions::filters::common::fault::v3 as common;
use mesh_proto::envoy::extensions::filters::http::fault::v3 as pb;
use mesh_proto::envoy::r#type::v3 as types;

use super::super::extension::Extension;
use super::super::matcher;
use super::super::refused::{At, Refused, refuse};
use super::super::scalar::{duration, fraction, non_empty, number, structure};

pub(super) fn config(at: &At<'_>, config: &Extension<'_>) -> Result<Fault, Refused> {
    let message: pb::HttpFault = config.message(at)?;
    Ok(Fault {
        delay: message.delay.map(|delay| self::delay(&at.field("delay"), &delay)).transpose()?,
        abort: message.abort.map(|abort| self::abort(&at.field("abort"), &abort)).transpose()?,
        response_rate_limit: message
            .response_rate_limit
            .map(|limit| rate_limit(&at.field("response_rate_limit"), &limit))
            .transpose()?,
        upstream_cluster: non_empty(&message.upstream_cluster).map(Into::into),
        downstream_nodes: message.downstream_nodes,
        headers: matcher::headers(&at.field("headers"), &message.headers)?,
        max_active_faults: number(message.max_active_faults),
        filter_metadata: message.filter_metadata.map(structure),
    })
}

fn delay(at: &At<'_>, message: &common::FaultDelay) -> Result<FaultDelay, Refused> {
    use common::fault_delay::FaultDelaySecifier as Kind;
    let fixed = match message.fault_delay_secifier {
        None => return Err(refuse(&at.field("fault_delay_secifier"), Problem::Missing)),
        Some(Kind::HeaderDelay(_)) => None,
        Some(Kind::FixedDelay(fixed)) => duration(&at.field("fixed_delay"), Some(fixed))?,
    };
    Ok(FaultDelay { fixed, percentage: percentage(at, message.percentage)? })
}

fn abort(at: &At<'_>, message: &pb::FaultAbort) -> Result<FaultAbort, Refused> {
    use pb::fault_abort::ErrorType;
    let error = match message.error_type {
        None => return Err(refuse(&at.field("error_type"), Problem::Missing)),
        Some(ErrorType::HeaderAbort(_)) => AbortError::Header,
        Some(ErrorType::GrpcStatus(status)) => AbortError::Grpc(status),
        // The engine says which ones there are.
        Some(ErrorType::HttpStatus(status)) => AbortError::Http(u16::try_from(status).unwrap_or(u16::MAX)),
    };
    let percentage = percentage(at, message.percentage)?;
    Ok(FaultAbort { error, percentage, response_body: message.response_body.clone() })
}

fn rate_limit(at: &At<'_>, message: &common::FaultRateLimit) -> Result<FaultRateLimit, Refused> {
    use common::fault_rate_limit::LimitType;
    let fixed_kbps = match message.limit_type {
        None => return Err(refuse(&at.field("limit_type"), Problem::Missing)),
        Some(LimitType::HeaderLimit(_)) => None,
        Some(LimitType::FixedLimit(limit)) => Some(limit.limit_kbps),
    };
    Ok(FaultRateLimit { fixed_kbps, percentage: percentage(at, message.percentage)? })
}

/// Unset is nobody.
fn percentage(at: &At<'_>, share: Option<types::FractionalPercent>) -> Result<FractionalPercent, Refused> {
    share.map_or(Ok(FractionalPercent::percent(0)), |share| fraction(&at.field("percentage"), share))
}

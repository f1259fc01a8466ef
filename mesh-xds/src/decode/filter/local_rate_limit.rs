//! `envoy.extensions.filters.http.local_ratelimit.v3`: in a listener, and what a route says in its place.

use http::StatusCode;
use mesh_core::resource::Problem;
use mesh_core::resource::filter::{LocalDescriptor, LocalRateLimit, VirtualHostLimits};
use mesh_core::resource::route::FractionalPercent;
use mesh_proto::envoy::config::core::v3::RuntimeFractionalPercent;
use mesh_proto::envoy::extensions::common::ratelimit::v3::{
    LocalRateLimitDescriptor, VhRateLimitsOptions, XRateLimitHeadersRfcVersion,
};
use mesh_proto::envoy::extensions::filters::http::local_ratelimit::v3 as pb;

use super::super::extension::Extension;
use super::super::headers::additions;
use super::super::rate_limit::{Place, rate_limits, token_bucket};
use super::super::refused::{At, Refused, refuse};
use super::super::scalar::{flag_or, known, number, runtime_fraction, status};

pub(super) fn config(at: &At<'_>, config: &Extension<'_>) -> Result<Box<LocalRateLimit>, Refused> {
    let message: pb::LocalRateLimit = config.message(at)?;
    refuse_other_scopes(at, &message)?;
    let descriptors_at = at.field("descriptors");
    let descriptors = message.descriptors.iter().enumerate();
    let with = |field: &str, share: Option<&RuntimeFractionalPercent>| match share {
        None => Ok(FractionalPercent::percent(0)),
        Some(share) => runtime_fraction(&at.field(field), share),
    };
    Ok(Box::new(LocalRateLimit {
        status: match message.status {
            None => StatusCode::TOO_MANY_REQUESTS,
            Some(of) => {
                let at = at.field("status");
                let at = at.field("code");
                match u32::try_from(of.code) {
                    Ok(0..400) => StatusCode::TOO_MANY_REQUESTS,
                    Ok(code) => status(&at, code)?,
                    Err(_) => return Err(refuse(&at, format!("{} is no HTTP status", of.code))),
                }
            }
        },
        token_bucket: match &message.token_bucket {
            None => None,
            Some(bucket) => Some(token_bucket(&at.field("token_bucket"), bucket)?),
        },
        filter_enabled: with("filter_enabled", message.filter_enabled.as_ref())?,
        filter_enforced: with("filter_enforced", message.filter_enforced.as_ref())?,
        request_headers_when_not_enforced: additions(
            &at.field("request_headers_to_add_when_not_enforced"),
            &message.request_headers_to_add_when_not_enforced,
        )?,
        response_headers: additions(&at.field("response_headers_to_add"), &message.response_headers_to_add)?,
        descriptors: descriptors
            .map(|(index, one)| descriptor(&descriptors_at.index(index), one))
            .collect::<Result<_, _>>()?,
        stage: message.stage,
        x_ratelimit_headers: match known(&at.field("enable_x_ratelimit_headers"), message.enable_x_ratelimit_headers)? {
            XRateLimitHeadersRfcVersion::Off => false,
            XRateLimitHeadersRfcVersion::DraftVersion03 => true,
        },
        retry_after: message.enable_retry_after_header,
        virtual_host_limits: match known(&at.field("vh_rate_limits"), message.vh_rate_limits)? {
            VhRateLimitsOptions::Override => VirtualHostLimits::Override,
            VhRateLimitsOptions::Include => VirtualHostLimits::Include,
            VhRateLimitsOptions::Ignore => VirtualHostLimits::Ignore,
        },
        per_connection: message.local_rate_limit_per_downstream_connection,
        always_consume_default: flag_or(message.always_consume_default_token_bucket, true),
        resource_exhausted: message.rate_limited_as_resource_exhausted,
        rate_limits: rate_limits(&at.field("rate_limits"), &message.rate_limits, Place::Filter)?,
        max_dynamic_descriptors: number(message.max_dynamic_descriptors).unwrap_or(20),
        stat_prefix: message.stat_prefix,
    }))
}

fn refuse_other_scopes(at: &At<'_>, message: &pb::LocalRateLimit) -> Result<(), Refused> {
    if message.local_cluster_rate_limit.is_some() {
        return Err(refuse(
            &at.field("local_cluster_rate_limit"),
            "there is no local cluster to share the tokens with",
        ));
    }
    Ok(())
}

fn descriptor(at: &At<'_>, message: &LocalRateLimitDescriptor) -> Result<LocalDescriptor, Refused> {
    let bucket_at = at.field("token_bucket");
    let Some(bucket) = &message.token_bucket else {
        return Err(refuse(&bucket_at, Problem::Missing));
    };
    Ok(LocalDescriptor {
        entries: message.entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect(),
        token_bucket: token_bucket(&bucket_at, bucket)?,
        shadow_mode: message.shadow_mode,
    })
}

//! `RetryPolicy`.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderName;
use mesh_core::resource::Problem;
use mesh_core::resource::metadata::Value;
use mesh_core::resource::retry::{RateLimitedBackOff, ResetFormat, ResetHeader, RetryOn, RetryPolicy};
use mesh_proto::envoy::config::route::v3 as pb;
use mesh_proto::envoy::extensions::retry::host::omit_host_metadata::v3::OmitHostMetadataConfig;
use pb::retry_policy::RetryHostPredicate;
use pb::retry_policy::retry_host_predicate::ConfigType;

use super::super::context::Context;
use super::super::extension::Extension;
use super::super::matcher;
use super::super::refused::{At, Refused, conflict, refuse, unsupported};
use super::super::scalar::{self, duration, known, number, status};

pub(super) fn policy(cx: &mut Context, at: &At<'_>, message: &pb::RetryPolicy) -> Result<RetryPolicy, Refused> {
    let (retry_on, unknown) = RetryOn::parse(&message.retry_on);
    for token in unknown {
        // Envoy ignores what it does not know, too.
        cx.not_in_force(&at.field("retry_on"), format!("{token:?} is unknown and never retries anything"));
    }
    let back_off_at = at.field("retry_back_off");
    let (mut base_interval, mut max_interval) = (None, None);
    if let Some(back_off) = &message.retry_back_off {
        base_interval = duration(&back_off_at.field("base_interval"), back_off.base_interval)?;
        max_interval = duration(&back_off_at.field("max_interval"), back_off.max_interval)?;
        let Some(base) = base_interval else {
            return Err(refuse(&back_off_at.field("base_interval"), Problem::Missing));
        };
        if max_interval.is_some_and(|max| max < base) {
            return Err(conflict(&back_off_at.field("max_interval"), "must not be below base_interval"));
        }
    }
    let attempts_at = at.field("host_selection_retry_max_attempts");
    let attempts = u32::try_from(message.host_selection_retry_max_attempts)
        .map_err(|_| refuse(&attempts_at, format!("{} is out of range", message.host_selection_retry_max_attempts)))?;
    let hosts = host_predicates(&at.field("retry_host_predicate"), &message.retry_host_predicate)?;
    let codes_at = at.field("retriable_status_codes");
    let codes = message.retriable_status_codes.iter().enumerate();
    Ok(RetryPolicy {
        retry_on,
        num_retries: number(message.num_retries),
        // Zero is as if unset: the route's timeout counts.
        per_try_timeout: duration(&at.field("per_try_timeout"), message.per_try_timeout)?
            .filter(|limit| !limit.is_zero()),
        per_try_idle_timeout: duration(&at.field("per_try_idle_timeout"), message.per_try_idle_timeout)?
            .filter(|limit| !limit.is_zero()),
        retriable_status_codes: codes
            .map(|(index, code)| status(&codes_at.index(index), *code))
            .collect::<Result<_, _>>()?,
        retriable_headers: matcher::headers(&at.field("retriable_headers"), &message.retriable_headers)?,
        retriable_request_headers: matcher::headers(
            &at.field("retriable_request_headers"),
            &message.retriable_request_headers,
        )?,
        base_interval,
        max_interval,
        rate_limited: match &message.rate_limited_retry_back_off {
            Some(back_off) => Some(rate_limited(&at.field("rate_limited_retry_back_off"), back_off)?),
            None => None,
        },
        avoid_previous_hosts: hosts.previous,
        omit_canary_hosts: hosts.canary,
        omit_host_metadata: hosts.metadata,
        host_selection_retry_max_attempts: attempts.max(1),
    })
}

fn rate_limited(
    at: &At<'_>,
    message: &pb::retry_policy::RateLimitedRetryBackOff,
) -> Result<RateLimitedBackOff, Refused> {
    use pb::retry_policy::ResetHeaderFormat;
    let list = at.field("reset_headers");
    if message.reset_headers.is_empty() {
        return Err(refuse(&list, Problem::Missing));
    }
    let headers = message.reset_headers.iter().enumerate().map(|(index, one)| {
        let at = list.index(index);
        let name = HeaderName::from_bytes(one.name.as_bytes())
            .map_err(|_| refuse(&at.field("name"), format!("{:?} is no header name", one.name)))?;
        let format = match known(&at.field("format"), one.format)? {
            ResetHeaderFormat::Seconds => ResetFormat::Seconds,
            ResetHeaderFormat::UnixTimestamp => ResetFormat::UnixTimestamp,
        };
        Ok(ResetHeader { name, format })
    });
    Ok(RateLimitedBackOff {
        reset_headers: headers.collect::<Result<_, _>>()?,
        max_interval: duration(&at.field("max_interval"), message.max_interval)?.unwrap_or(LONGEST_RESET),
    })
}

/// Envoy's `max_interval` of a rate-limited back-off when the policy says nothing.
const LONGEST_RESET: Duration = Duration::from_secs(300);

/// Which hosts a retry avoids.
#[derive(Default)]
struct HostPredicates {
    previous: bool,
    canary: bool,
    metadata: Vec<BTreeMap<String, Value>>,
}

fn host_predicates(at: &At<'_>, predicates: &[RetryHostPredicate]) -> Result<HostPredicates, Refused> {
    let mut hosts = HostPredicates::default();
    for (index, predicate) in predicates.iter().enumerate() {
        let at = at.index(index);
        let config_at = at.field("typed_config");
        let extension = match &predicate.config_type {
            Some(ConfigType::TypedConfig(any)) => Some(Extension::of(&config_at, any)?),
            None => None,
        };
        match extension.as_ref().map_or(&*predicate.name, Extension::type_name) {
            "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
            | "envoy.retry_host_predicates.previous_hosts" => hosts.previous = true,
            "envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate"
            | "envoy.retry_host_predicates.omit_canary_hosts" => hosts.canary = true,
            "envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig" => {
                let config =
                    extension.as_ref().map(|extension| extension.message::<OmitHostMetadataConfig>(&config_at));
                let mut metadata = scalar::metadata(config.transpose()?.and_then(|config| config.metadata_match));
                if let Some(Value::Struct(labels)) = metadata.remove("envoy.lb") {
                    hosts.metadata.push(labels);
                }
            }
            kind => return Err(unsupported(&at, format!("a retry host predicate of type {kind:?}"))),
        }
    }
    Ok(hosts)
}

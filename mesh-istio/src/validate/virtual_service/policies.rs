//! Policies of a rule: retries, faults, cross-origin requests, mirrors.

use super::super::Rules;
use super::destination::check_destination;
use super::request::{header_name, string_match};
use crate::finding::code;
use crate::object::{CorsPolicy, HttpFaultInjection, HttpRetry, HttpRoute, Percent, StringMatch};

/// Envoy's conditions, for HTTP and for gRPC.
const RETRY_ON: &[&str] = &[
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

pub(super) fn retries(rules: &mut Rules<'_>, at: &str, policy: &HttpRetry) {
    if policy.attempts < 0 {
        rules.refuse(code::INVALID_VALUE, &format!("{at}.attempts"), format!("{} is below 0", policy.attempts));
    }
    if policy.attempts == 0
        && (policy.per_try_timeout.is_some() || !policy.retry_on.is_empty() || policy.retry_remote_localities.is_some())
    {
        rules.refuse(
            code::EXCLUSIVE,
            at,
            "attempts is 0, which switches retries off: the other fields must not be set",
        );
    }
    rules.duration(&format!("{at}.perTryTimeout"), policy.per_try_timeout);
    rules.duration(&format!("{at}.backoff"), policy.backoff);
    if policy.retry_on.is_empty() {
        return;
    }
    for condition in policy.retry_on.split(',') {
        let at = format!("{at}.retryOn");
        let trimmed = condition.trim();
        if trimmed != condition {
            rules.warn(
                code::INEFFECTIVE,
                &at,
                format!("blanks around {trimmed:?} are ignored here and refused by Istio's webhook"),
            );
        }
        let status = trimmed.parse::<u32>().is_ok_and(|status| (100..=599).contains(&status));
        if !status && !RETRY_ON.contains(&trimmed) {
            rules.refuse(code::INVALID_VALUE, &at, format!("{trimmed:?} is neither a retry condition nor a status"));
        }
    }
}

fn percentage(rules: &mut Rules<'_>, at: &str, value: Option<&Percent>) {
    let Some(Percent { value }) = value else {
        return;
    };
    if *value != 0.0 && !(0.0001..=100.0).contains(value) {
        rules.refuse(
            code::INVALID_VALUE,
            &format!("{at}.value"),
            format!("{value} is not 0 and not within 0.0001 to 100"),
        );
    }
}

pub(super) fn fault(rules: &mut Rules<'_>, at: &str, fault: &HttpFaultInjection) {
    if fault.delay.is_none() && fault.abort.is_none() {
        rules.refuse(code::REQUIRED, at, "a fault needs delay or abort");
    }
    if let Some(delay) = &fault.delay {
        let at = format!("{at}.delay");
        percentage(rules, &format!("{at}.percentage"), delay.percentage.as_ref());
        deprecated_percent(rules, &at, delay.percent);
        if delay.exponential_delay.is_some() {
            rules.refuse(code::INVALID_VALUE, &format!("{at}.exponentialDelay"), "exponentialDelay is not supported");
        } else if delay.fixed_delay.is_none() {
            rules.refuse(code::REQUIRED, &format!("{at}.fixedDelay"), "fixedDelay is required");
        }
        rules.duration(&format!("{at}.fixedDelay"), delay.fixed_delay);
        if delay.percentage.is_none() && delay.percent.is_none() {
            rules.warn(code::INEFFECTIVE, &at, "percentage is unset, which means 0: no request is delayed");
        }
    }
    if let Some(abort) = &fault.abort {
        let at = format!("{at}.abort");
        percentage(rules, &format!("{at}.percentage"), abort.percentage.as_ref());
        deprecated_percent(rules, &at, abort.percent);
        match (abort.http_status, &abort.grpc_status, &abort.http2_error) {
            (_, _, Some(_)) => {
                rules.refuse(code::INVALID_VALUE, &format!("{at}.http2Error"), "http2Error is not supported")
            }
            (Some(_), Some(_), None) => {
                rules.refuse(code::EXCLUSIVE, &at, "only one of httpStatus and grpcStatus may be set")
            }
            (Some(status), None, None) if !(200..=599).contains(&status) => {
                rules.refuse(
                    code::INVALID_VALUE,
                    &format!("{at}.httpStatus"),
                    format!("{status} is no status: 200 to 599"),
                );
            }
            (None, Some(name), None) if crate::lower::grpc_status(name).is_none() => {
                rules.refuse(
                    code::INVALID_VALUE,
                    &format!("{at}.grpcStatus"),
                    format!("{name:?} is not the name of a gRPC status"),
                );
            }
            (None, None, None) => {
                rules.warn(code::INEFFECTIVE, &at, "an abort without httpStatus and grpcStatus has no effect")
            }
            _ => {}
        }
        if abort.percentage.is_none() && abort.percent.is_none() {
            rules.warn(code::INEFFECTIVE, &at, "percentage is unset, which means 0: no request is aborted");
        }
    }
}

fn deprecated_percent(rules: &mut Rules<'_>, at: &str, percent: Option<i32>) {
    let Some(percent) = percent else { return };
    rules.warn(code::DEPRECATED_FIELD, &format!("{at}.percent"), "deprecated: write percentage.value");
    if !(0..=100).contains(&percent) {
        rules.refuse(code::INVALID_VALUE, &format!("{at}.percent"), format!("{percent} is not within 0 to 100"));
    }
}

pub(super) fn cors(rules: &mut Rules<'_>, at: &str, cors: &CorsPolicy) {
    const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"];
    if !cors.allow_origin.is_empty() {
        rules.warn(code::DEPRECATED_FIELD, &format!("{at}.allowOrigin"), "deprecated: write allowOrigins with exact");
    }
    for (index, origin) in cors.allow_origins.iter().enumerate() {
        let at = format!("{at}.allowOrigins[{index}]");
        match origin {
            StringMatch::Exact(text) | StringMatch::Prefix(text) if text.is_empty() => {
                rules.refuse(code::INVALID_VALUE, &at, "an origin must not be empty");
            }
            StringMatch::Present => rules.refuse(code::REQUIRED, &at, "one of exact, prefix and regex is required"),
            origin => string_match(rules, &at, origin, false),
        }
    }
    for (index, method) in cors.allow_methods.iter().enumerate() {
        if !METHODS.contains(&method.as_str()) {
            rules.refuse(
                code::INVALID_VALUE,
                &format!("{at}.allowMethods[{index}]"),
                format!("{method:?} is no method"),
            );
        }
    }
    for (list, headers) in [("allowHeaders", &cors.allow_headers), ("exposeHeaders", &cors.expose_headers)] {
        for (index, name) in headers.iter().enumerate() {
            header_name(rules, &format!("{at}.{list}[{index}]"), name, false);
        }
    }
    if let Some(age) = cors.max_age {
        if age.subsec_nanos() != 0 {
            rules.refuse(code::BAD_DURATION, &format!("{at}.maxAge"), "must be whole seconds");
        } else {
            rules.duration(&format!("{at}.maxAge"), Some(age));
        }
    }
}

pub(super) fn mirrors(rules: &mut Rules<'_>, at: &str, route: &HttpRoute) {
    if route.mirror.is_some() && !route.mirrors.is_empty() {
        rules.refuse(code::EXCLUSIVE, &format!("{at}.mirrors"), "not allowed together with mirror");
    }
    if let Some(mirror) = &route.mirror {
        check_destination(rules, &format!("{at}.mirror"), Some(mirror));
    }
    for (index, mirror) in route.mirrors.iter().enumerate() {
        let at = format!("{at}.mirrors[{index}]");
        check_destination(rules, &format!("{at}.destination"), mirror.destination.as_ref());
        mirror_percentage(rules, &format!("{at}.percentage"), mirror.percentage.as_ref());
    }
    if let Some(percent) = route.mirror_percent {
        rules.warn(code::DEPRECATED_FIELD, &format!("{at}.mirrorPercent"), "deprecated: write mirrorPercentage.value");
        if percent > 100 {
            rules.refuse(code::INVALID_VALUE, &format!("{at}.mirrorPercent"), format!("{percent} is more than 100"));
        }
    }
    mirror_percentage(rules, &format!("{at}.mirrorPercentage"), route.mirror_percentage.as_ref());
}

fn mirror_percentage(rules: &mut Rules<'_>, at: &str, value: Option<&Percent>) {
    let Some(Percent { value }) = value else {
        return;
    };
    if !(0.0..=100.0).contains(value) {
        rules.refuse(code::INVALID_VALUE, &format!("{at}.value"), format!("{value} is not within 0 to 100"));
    }
}

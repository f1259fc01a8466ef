//! Limits of connections and requests, and ejection of endpoints.

use super::super::Rules;
use crate::finding::code;
use crate::object::{ConnectionPoolSettings, H2UpgradePolicy, OutlierDetection};

pub(in crate::validate) fn connection_pool(rules: &mut Rules<'_>, at: &str, pool: Option<&ConnectionPoolSettings>) {
    let Some(pool) = pool else { return };
    if pool.tcp.is_none() && pool.http.is_none() {
        rules.refuse(code::REQUIRED, at, "at least one of tcp and http is required");
    }
    let negative = |rules: &mut Rules<'_>, field: String, value: i32| {
        if value < 0 {
            rules.refuse(code::INVALID_VALUE, &field, format!("{value} is below 0"));
        }
    };
    if let Some(tcp) = &pool.tcp {
        let at = format!("{at}.tcp");
        negative(rules, format!("{at}.maxConnections"), tcp.max_connections);
        rules.duration(&format!("{at}.connectTimeout"), tcp.connect_timeout);
        rules.duration(&format!("{at}.maxConnectionDuration"), tcp.max_connection_duration);
        if let Some(keepalive) = &tcp.tcp_keepalive {
            for (name, value) in [("time", keepalive.time), ("interval", keepalive.interval)] {
                rules.duration(&format!("{at}.tcpKeepalive.{name}"), value);
                if value.is_some_and(|value| value.subsec_nanos() != 0) {
                    rules.warn(code::INEFFECTIVE, &format!("{at}.tcpKeepalive.{name}"), "only whole seconds count");
                }
            }
        }
    }
    if let Some(http) = &pool.http {
        let at = format!("{at}.http");
        negative(rules, format!("{at}.http1MaxPendingRequests"), http.http1_max_pending_requests);
        negative(rules, format!("{at}.http2MaxRequests"), http.http2_max_requests);
        negative(rules, format!("{at}.maxRequestsPerConnection"), http.max_requests_per_connection);
        negative(rules, format!("{at}.maxRetries"), http.max_retries);
        negative(rules, format!("{at}.maxConcurrentStreams"), http.max_concurrent_streams);
        rules.duration(&format!("{at}.idleTimeout"), http.idle_timeout);
        if http.use_client_protocol && http.h2_upgrade_policy == H2UpgradePolicy::Upgrade {
            rules.refuse(
                code::EXCLUSIVE,
                &format!("{at}.useClientProtocol"),
                "not allowed together with h2UpgradePolicy UPGRADE",
            );
        }
        if let Some(keepalive) = &http.http2_keep_alive {
            for (name, value) in [("interval", keepalive.interval), ("timeout", keepalive.timeout)] {
                let at = format!("{at}.http2KeepAlive.{name}");
                if value.is_none() {
                    rules.refuse(code::REQUIRED, &at, "interval and timeout are both required");
                }
                rules.duration(&at, value);
            }
        }
    }
}

pub(super) fn outlier_detection(rules: &mut Rules<'_>, at: &str, outlier: Option<&OutlierDetection>) {
    let Some(outlier) = outlier else { return };
    if outlier.consecutive_errors != 0 {
        let replaced = outlier.consecutive_5xx_errors.is_some() || outlier.consecutive_gateway_errors.is_some();
        let meaning = if replaced {
            "ignored beside its replacements"
        } else {
            "taken as consecutiveGatewayErrors; Istio ignores it"
        };
        rules.warn(
            code::DEPRECATED_FIELD,
            &format!("{at}.consecutiveErrors"),
            format!("removed in Istio 1.7 ({meaning}): write consecutiveGatewayErrors or consecutive5xxErrors"),
        );
        if outlier.consecutive_errors < 0 {
            rules.refuse(
                code::INVALID_VALUE,
                &format!("{at}.consecutiveErrors"),
                format!("{} is below 0", outlier.consecutive_errors),
            );
        }
    }
    for (name, value) in [("interval", outlier.interval), ("baseEjectionTime", outlier.base_ejection_time)] {
        rules.duration(&format!("{at}.{name}"), value);
    }
    for (name, value) in
        [("maxEjectionPercent", outlier.max_ejection_percent), ("minHealthPercent", outlier.min_health_percent)]
    {
        if !(0..=100).contains(&value) {
            rules.refuse(code::INVALID_VALUE, &format!("{at}.{name}"), format!("{value} is not within 0 to 100"));
        }
    }
    if outlier.consecutive_local_origin_failures.is_some_and(|count| count > 0)
        && !outlier.split_external_local_origin_errors
    {
        rules.refuse(
            code::EXCLUSIVE,
            &format!("{at}.consecutiveLocalOriginFailures"),
            "needs splitExternalLocalOriginErrors",
        );
    }
    for (index, status) in outlier.outlier_detection_http_error_codes.iter().enumerate() {
        if !(100..=599).contains(status) {
            rules.refuse(
                code::INVALID_VALUE,
                &format!("{at}.outlierDetectionHttpErrorCodes[{index}]"),
                format!("{status} is no status"),
            );
        }
    }
    if !outlier.outlier_detection_http_error_codes.is_empty() {
        rules.not_in_force(&format!("{at}.outlierDetectionHttpErrorCodes"), "other errors than 5xx have no effect yet");
    }
}

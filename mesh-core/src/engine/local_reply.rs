//! Answers that the mesh gives itself: status, headers, body, the details and flags for logs.
//!
//! One constructor for each of Envoy's local replies that engines and drivers need, and the one place where
//! such an answer becomes a gRPC trailers-only response. Knows no body type of HTTP: a body is bytes.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, response};

pub use super::response_flags::ResponseFlags;
use super::retry::Reset;

/// `grpc-status`.
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// `grpc-message`.
pub const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// `x-envoy-overloaded`, set when a circuit breaker refused.
pub const OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");

/// gRPC's `DEADLINE_EXCEEDED`.
pub const GRPC_DEADLINE_EXCEEDED: u32 = 4;

/// An answer without an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// The status; a gRPC caller gets 200 and a `grpc-status`.
    pub status: StatusCode,
    /// Headers beside those that follow from the body.
    pub headers: HeaderMap,
    /// The body; a gRPC caller gets it as `grpc-message`.
    pub body: Bytes,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub details: Cow<'static, str>,
    /// `%RESPONSE_FLAGS%`.
    pub flags: ResponseFlags,
    /// The gRPC status, where it does not follow from the HTTP status.
    pub grpc_status: Option<u32>,
}

impl LocalReply {
    /// An answer. Its body is text.
    pub fn new(
        status: StatusCode,
        body: impl Into<Bytes>,
        details: impl Into<Cow<'static, str>>,
        flags: ResponseFlags,
    ) -> Self {
        Self { status, headers: HeaderMap::new(), body: body.into(), details: details.into(), flags, grpc_status: None }
    }

    fn empty(status: StatusCode, details: &'static str, flags: ResponseFlags) -> Self {
        Self::new(status, Bytes::new(), details, flags)
    }

    fn text(status: StatusCode, body: &'static str, details: &'static str, flags: ResponseFlags) -> Self {
        Self::new(status, Bytes::from_static(body.as_bytes()), details, flags)
    }

    /// No virtual host or no route: 404, `NR`.
    #[must_use]
    pub fn no_route() -> Self {
        Self::empty(StatusCode::NOT_FOUND, "route_not_found", ResponseFlags::NR)
    }

    /// The route's cluster does not exist: the route's status (503 by default), `NC`.
    #[must_use]
    pub fn cluster_not_found(status: StatusCode) -> Self {
        Self::empty(status, "cluster_not_found", ResponseFlags::NC)
    }

    /// No host can be picked: 503, `UH`.
    #[must_use]
    pub fn no_healthy_upstream() -> Self {
        Self::text(StatusCode::SERVICE_UNAVAILABLE, "no healthy upstream", "no_healthy_upstream", ResponseFlags::UH)
    }

    /// The control plane has a part of the requests dropped: 503, `DO`.
    #[must_use]
    pub fn drop_overload() -> Self {
        Self::text(StatusCode::SERVICE_UNAVAILABLE, "drop overload", "drop_overload", ResponseFlags::DO)
    }

    /// No response headers arrived. `retried` says that this was not the first try; `transport` is the
    /// transport's own reason for a connection that was not made, or empty.
    ///
    /// 503 (502 after a protocol error) with the cause's flag, after retries `URX` too.
    #[must_use]
    pub fn upstream_reset(reset: Reset, retried: bool, transport: &str) -> Self {
        let reason = reset.reason();
        let (status, flag) = match reset {
            Reset::ConnectFailure | Reset::ConnectTimeout => (StatusCode::SERVICE_UNAVAILABLE, ResponseFlags::UF),
            Reset::ConnectionTermination { .. } => (StatusCode::SERVICE_UNAVAILABLE, ResponseFlags::UC),
            Reset::RemoteReset | Reset::RemoteRefused => (StatusCode::SERVICE_UNAVAILABLE, ResponseFlags::UR),
            Reset::ProtocolError => (StatusCode::BAD_GATEWAY, ResponseFlags::UPE),
            Reset::Overflow => (StatusCode::SERVICE_UNAVAILABLE, ResponseFlags::UO),
        };
        // An overflow is returned at once and never counts as an exhausted retry.
        let retried = retried && reset != Reset::Overflow;
        let flags = if retried { ResponseFlags::URX | flag } else { flag };
        let how = if retried { "retried and the latest reset reason" } else { "reset reason" };
        let body = format!("upstream connect error or disconnect/reset before headers. {how}: {reason}");
        let mut reply = Self::new(status, body, reset_details("before", reset, transport), flags);
        if reset == Reset::Overflow {
            reply.headers.insert(OVERLOADED, HeaderValue::from_static("true"));
        }
        reply
    }

    /// A circuit breaker refused: 503, `UO`, `x-envoy-overloaded`.
    #[must_use]
    pub fn overflow() -> Self {
        Self::upstream_reset(Reset::Overflow, false, "")
    }

    /// The route's timeout passed: 504, `UT`. gRPC status 14 as in Envoy; see [`Self::with_grpc_status`].
    #[must_use]
    pub fn response_timeout() -> Self {
        Self::text(StatusCode::GATEWAY_TIMEOUT, "upstream request timeout", "response_timeout", ResponseFlags::UT)
    }

    /// The last try's timeout passed: 504, `UT`, after retries `URX,UT`.
    #[must_use]
    pub fn per_try_timeout(retried: bool) -> Self {
        let flags = if retried { ResponseFlags::URX | ResponseFlags::UT } else { ResponseFlags::UT };
        Self::text(StatusCode::GATEWAY_TIMEOUT, "upstream request timeout", "upstream_per_try_timeout", flags)
    }

    /// `max_stream_duration` passed: 504 without a flag; gRPC status 4.
    #[must_use]
    pub fn max_duration_timeout() -> Self {
        Self::text(
            StatusCode::GATEWAY_TIMEOUT,
            "downstream duration timeout",
            "max_duration_timeout",
            ResponseFlags::NONE,
        )
        .with_grpc_status(GRPC_DEADLINE_EXCEEDED)
    }

    /// Nothing moved for the idle timeout: 504, or 408 while the request is incomplete; `SI`.
    #[must_use]
    pub fn stream_idle_timeout(request_complete: bool) -> Self {
        let status = if request_complete { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::REQUEST_TIMEOUT };
        Self::text(status, "stream timeout", "stream_idle_timeout", ResponseFlags::SI)
    }

    /// The request's body does not fit the buffer it must fit: 413.
    #[must_use]
    pub fn payload_too_large() -> Self {
        Self::text(StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large", "request_payload_too_large", ResponseFlags::NONE)
    }

    /// An upgrade or a CONNECT that nothing allows: 403.
    #[must_use]
    pub fn upgrade_failed() -> Self {
        Self::empty(StatusCode::FORBIDDEN, "upgrade_failed", ResponseFlags::NONE)
    }

    /// No `Host` and no `:authority`: 400.
    #[must_use]
    pub fn missing_host_header() -> Self {
        Self::empty(StatusCode::BAD_REQUEST, "missing_host_header", ResponseFlags::NONE)
    }

    /// HTTP/1.0 where it is not accepted: 426.
    #[must_use]
    pub fn low_version() -> Self {
        Self::text(StatusCode::UPGRADE_REQUIRED, "Upgrade Required", "low_version", ResponseFlags::NONE)
    }

    /// A path that must not be served: a fragment in it, or escaped slashes where they are rejected: 400.
    #[must_use]
    pub fn path_normalization_failed() -> Self {
        Self::empty(StatusCode::BAD_REQUEST, "path_normalization_failed", ResponseFlags::NONE)
    }

    /// A path with escaped slashes, sent back in its plain form: 307 with a relative `location`.
    #[must_use]
    pub fn unescaped_path_redirect(location: HeaderValue) -> Self {
        let mut reply = Self::path_normalization_failed();
        reply.status = StatusCode::TEMPORARY_REDIRECT;
        reply.headers.insert(LOCATION, location);
        reply
    }

    /// A route's rewrite made something that is no path or no host: 500. Nothing is sent upstream.
    #[must_use]
    pub fn rewrite_failed() -> Self {
        Self::empty(StatusCode::INTERNAL_SERVER_ERROR, "route_rewrite_failed", ResponseFlags::NONE)
    }

    /// The RBAC filter refused by `policy`: 403.
    #[must_use]
    pub fn rbac_denied(policy: &str) -> Self {
        let details = format!("rbac_access_denied_matched_policy[{}]", policy.replace(char::is_whitespace, "_"));
        Self::new(StatusCode::FORBIDDEN, Bytes::from_static(b"RBAC: access denied"), details, ResponseFlags::NONE)
    }

    /// The local rate limit was reached: `RL`; Envoy's default status is 429.
    #[must_use]
    pub fn local_rate_limited(status: StatusCode) -> Self {
        Self::text(status, "local_rate_limited", "local_rate_limited", ResponseFlags::RL)
    }

    /// A fault was injected: `FI`.
    #[must_use]
    pub fn fault_abort(status: StatusCode) -> Self {
        Self::text(status, "fault filter abort", "fault_filter_abort", ResponseFlags::FI)
    }

    /// The adaptive concurrency limit was reached: 503.
    #[must_use]
    pub fn concurrency_limit() -> Self {
        Self::text(
            StatusCode::SERVICE_UNAVAILABLE,
            "reached concurrency limit",
            "reached_concurrency_limit",
            ResponseFlags::NONE,
        )
    }

    /// The same answer with a gRPC status of its own.
    #[must_use]
    pub fn with_grpc_status(mut self, status: u32) -> Self {
        self.grpc_status = Some(status);
        self
    }

    /// The same answer with more flags.
    #[must_use]
    pub fn with_flags(mut self, flags: ResponseFlags) -> Self {
        self.flags |= flags;
        self
    }

    /// The head and body to send; trailers-only for a gRPC caller.
    #[must_use]
    pub fn into_head(self, is_grpc: bool) -> (response::Parts, Bytes) {
        self.into_head_with(is_grpc, |_| {})
    }

    /// As [`Self::into_head`], after `modify` (the route's response header mutations) has seen the head.
    ///
    /// The status and the headers that make a response gRPC are put in afterwards, as in Envoy.
    pub fn into_head_with(self, is_grpc: bool, modify: impl FnOnce(&mut response::Parts)) -> (response::Parts, Bytes) {
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = self.status;
        head.headers = self.headers;
        if !is_grpc && !self.body.is_empty() && !head.headers.contains_key(CONTENT_TYPE) {
            head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        }
        modify(&mut head);
        if !is_grpc {
            if self.body.is_empty() {
                head.headers.remove(CONTENT_TYPE);
            }
            return (head, self.body);
        }
        let grpc_status = self.grpc_status.unwrap_or_else(|| grpc_status_of(head.status));
        head.status = StatusCode::OK;
        head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        head.headers.remove(CONTENT_LENGTH);
        head.headers.entry(GRPC_STATUS).or_insert_with(|| HeaderValue::from(grpc_status));
        if !self.body.is_empty() {
            head.headers.insert(GRPC_MESSAGE, grpc_message(&self.body));
        }
        (head, Bytes::new())
    }
}

/// `%RESPONSE_CODE_DETAILS%` of an upstream that went away after its response headers.
#[must_use]
pub fn reset_after_response_details(reset: Reset) -> String {
    reset_details("after", reset, "")
}

fn reset_details(when: &str, reset: Reset, transport: &str) -> String {
    let mut details = format!("upstream_reset_{when}_response_started{{{}", reset.reason());
    if !transport.is_empty() {
        details.push('|');
        details.push_str(transport);
    }
    details.push('}');
    details.replace(char::is_whitespace, "_")
}

/// The gRPC status of an HTTP status, by gRPC's table for answers that are not gRPC.
#[must_use]
pub fn grpc_status_of(status: StatusCode) -> u32 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// `grpc-message`: everything but printable ASCII, and `%` itself, percent-encoded.
#[must_use]
pub fn grpc_message(text: &[u8]) -> HeaderValue {
    let mut encoded = String::with_capacity(text.len());
    for &byte in text {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    // Only printable ASCII is left, which every header value may hold.
    HeaderValue::from_maybe_shared(Bytes::from(encoded)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grpc(reply: LocalReply) -> (String, String) {
        let (head, body) = reply.into_head(true);
        assert_eq!(
            (head.status, head.headers[CONTENT_TYPE].as_bytes(), body.len()),
            (StatusCode::OK, b"application/grpc".as_slice(), 0)
        );
        let text = |name| {
            head.headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        (text(GRPC_STATUS), text(GRPC_MESSAGE))
    }

    #[test]
    fn each_cause_has_envoys_status_flags_and_details() {
        let refused = "delayed connect error: Connection refused";
        let table = [
            (LocalReply::no_route(), 404, "NR", "route_not_found", "12"),
            (LocalReply::cluster_not_found(StatusCode::SERVICE_UNAVAILABLE), 503, "NC", "cluster_not_found", "14"),
            (LocalReply::no_healthy_upstream(), 503, "UH", "no_healthy_upstream", "14"),
            (LocalReply::drop_overload(), 503, "DO", "drop_overload", "14"),
            (
                LocalReply::upstream_reset(Reset::ConnectFailure, true, refused),
                503,
                "URX,UF",
                "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}",
                "14",
            ),
            (
                LocalReply::upstream_reset(Reset::ConnectTimeout, false, ""),
                503,
                "UF",
                "upstream_reset_before_response_started{connection_timeout}",
                "14",
            ),
            (
                LocalReply::upstream_reset(Reset::ProtocolError, false, ""),
                502,
                "UPE",
                "upstream_reset_before_response_started{protocol_error}",
                "14",
            ),
            (LocalReply::overflow(), 503, "UO", "upstream_reset_before_response_started{overflow}", "14"),
            (LocalReply::response_timeout(), 504, "UT", "response_timeout", "14"),
            (LocalReply::per_try_timeout(true), 504, "URX,UT", "upstream_per_try_timeout", "14"),
            (LocalReply::max_duration_timeout(), 504, "-", "max_duration_timeout", "4"),
            (LocalReply::stream_idle_timeout(true), 504, "SI", "stream_idle_timeout", "14"),
            (LocalReply::stream_idle_timeout(false), 408, "SI", "stream_idle_timeout", "2"),
            (LocalReply::payload_too_large(), 413, "-", "request_payload_too_large", "2"),
            (LocalReply::missing_host_header(), 400, "-", "missing_host_header", "13"),
            (LocalReply::fault_abort(StatusCode::IM_A_TEAPOT), 418, "FI", "fault_filter_abort", "2"),
        ];
        for (reply, status, flags, details, grpc_status) in table {
            assert_eq!(
                (reply.status.as_u16(), reply.flags.to_string().as_str(), &*reply.details),
                (status, flags, details)
            );
            assert_eq!(grpc(reply).0, grpc_status, "{details}");
        }
    }

    #[test]
    fn a_reset_after_retries_says_so_in_its_body() {
        let reply = LocalReply::upstream_reset(Reset::ConnectionTermination { request_sent: true }, true, "");
        assert_eq!(
            reply.body,
            "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: connection termination"
        );
        assert_eq!(LocalReply::upstream_reset(Reset::Overflow, true, "").flags, ResponseFlags::UO);
    }

    #[test]
    fn a_grpc_caller_gets_the_body_as_message_and_keeps_extra_headers() {
        assert_eq!(grpc(LocalReply::no_healthy_upstream()), ("14".to_owned(), "no healthy upstream".to_owned()));
        let (head, _) = LocalReply::overflow().into_head(true);
        assert_eq!(head.headers[OVERLOADED], "true");
    }

    #[test]
    fn grpc_messages_are_percent_encoded() {
        assert_eq!(grpc_message("50 %\n\u{e4}".as_bytes()), "50 %25%0A%C3%A4");
    }

    #[test]
    fn text_has_a_content_type_unless_the_route_sets_one_and_no_body_has_none() {
        let (head, body) = LocalReply::no_healthy_upstream().into_head(false);
        assert_eq!(
            (head.headers[CONTENT_TYPE].as_bytes(), &body[..]),
            (b"text/plain".as_slice(), b"no healthy upstream".as_slice())
        );
        let json = |head: &mut response::Parts| {
            head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        };
        assert_eq!(
            LocalReply::no_healthy_upstream().into_head_with(false, json).0.headers[CONTENT_TYPE],
            "application/json"
        );
        assert!(!LocalReply::no_route().into_head_with(false, json).0.headers.contains_key(CONTENT_TYPE));
    }
}

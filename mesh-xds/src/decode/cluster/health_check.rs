//! `HealthCheck`: how hosts are asked whether they are well.
//!
//! A check that would pass although what was asked for is not looked at (a service name, a check of one's own) is
//! refused: hosts would get traffic that the configuration wants kept from them.

use std::ops::Range;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use mesh_core::resource::Problem;
use mesh_core::resource::health_check::{GrpcHealthCheck, HealthCheck, HealthChecker, HttpHealthCheck, TcpHealthCheck};
use mesh_proto::envoy::config::core::v3 as pb;
use mesh_proto::envoy::r#type::v3::{CodecClientType, Int64Range};
use mesh_proto::google::protobuf;
use pb::health_check::HealthChecker as Pb;
use pb::health_check::payload::Payload;

use super::super::refused::{At, Refused, conflict, refuse, unsupported};
use super::super::scalar::{duration, known, non_empty, number, port};

/// The check of a cluster; Envoy knows one.
pub(super) fn health_check(at: &At<'_>, list: &[pb::HealthCheck]) -> Result<Option<HealthCheck>, Refused> {
    match list {
        [] => Ok(None),
        [one] => one_check(&at.index(0), one).map(Some),
        _ => Err(unsupported(at, "more than one health check")),
    }
}

fn one_check(at: &At<'_>, message: &pb::HealthCheck) -> Result<HealthCheck, Refused> {
    let time = |field: &'static str, value: Option<protobuf::Duration>| duration(&at.field(field), value);
    let required = |field: &'static str, value: Option<protobuf::Duration>| {
        time(field, value)?.ok_or_else(|| refuse(&at.field(field), Problem::Missing))
    };
    let interval = required("interval", message.interval)?;
    let unhealthy_interval = time("unhealthy_interval", message.unhealthy_interval)?.unwrap_or(interval);
    let alt_port = match number(message.alt_port) {
        None => None,
        Some(number) => Some(port(&at.field("alt_port"), number)?),
    };
    let checker = match &message.health_checker {
        Some(Pb::HttpHealthCheck(http)) => HealthChecker::Http(http_check(&at.field("http_health_check"), http)?),
        Some(Pb::TcpHealthCheck(tcp)) => HealthChecker::Tcp(tcp_check(&at.field("tcp_health_check"), tcp)?),
        Some(Pb::GrpcHealthCheck(grpc)) => HealthChecker::Grpc(grpc_check(&at.field("grpc_health_check"), grpc)?),
        Some(Pb::CustomHealthCheck(custom)) => {
            return Err(unsupported(&at.field("custom_health_check"), format!("health check {:?}", custom.name)));
        }
        None => return Err(refuse(&at.field("health_checker"), Problem::Missing)),
    };
    let no_traffic_interval = time("no_traffic_interval", message.no_traffic_interval)?;
    Ok(HealthCheck {
        timeout: required("timeout", message.timeout)?,
        interval,
        initial_jitter: time("initial_jitter", message.initial_jitter)?.unwrap_or_default(),
        interval_jitter: time("interval_jitter", message.interval_jitter)?.unwrap_or_default(),
        interval_jitter_percent: message.interval_jitter_percent,
        unhealthy_threshold: number(message.unhealthy_threshold).unwrap_or(1),
        healthy_threshold: number(message.healthy_threshold).unwrap_or(1),
        alt_port,
        reuse_connection: message.reuse_connection.is_none_or(|value| value.value),
        no_traffic_interval: no_traffic_interval.unwrap_or(Duration::from_secs(60)),
        no_traffic_healthy_interval: time("no_traffic_healthy_interval", message.no_traffic_healthy_interval)?,
        unhealthy_interval,
        unhealthy_edge_interval: time("unhealthy_edge_interval", message.unhealthy_edge_interval)?
            .unwrap_or(unhealthy_interval),
        healthy_edge_interval: time("healthy_edge_interval", message.healthy_edge_interval)?.unwrap_or(interval),
        checker,
    })
}

fn http_check(at: &At<'_>, message: &pb::health_check::HttpHealthCheck) -> Result<HttpHealthCheck, Refused> {
    if message.service_name_matcher.is_some() {
        return Err(unsupported(&at.field("service_name_matcher"), "checking the name of a service"));
    }
    if !message.receive.is_empty() {
        return Err(unsupported(&at.field("receive"), "checking the body of an answer"));
    }
    if message.send.is_some() {
        return Err(unsupported(&at.field("send"), "a check with a body"));
    }
    let mut expected_statuses = ranges(&at.field("expected_statuses"), &message.expected_statuses)?;
    if expected_statuses.is_empty() {
        expected_statuses.push(200..201);
    }
    let http2 = match known(&at.field("codec_client_type"), message.codec_client_type)? {
        CodecClientType::Http1 => false,
        CodecClientType::Http2 => true,
        CodecClientType::Http3 => return Err(unsupported(&at.field("codec_client_type"), "HTTP/3")),
    };
    let removed_at = at.field("request_headers_to_remove");
    let removed = message.request_headers_to_remove.iter().enumerate();
    let headers_to_remove =
        removed.map(|(index, text)| name(&removed_at.index(index), text)).collect::<Result<_, _>>()?;
    Ok(HttpHealthCheck {
        host: host(&at.field("host"), &message.host)?,
        path: message
            .path
            .parse::<http::uri::PathAndQuery>()
            .map(|path| path.to_string())
            .map_err(|error| refuse(&at.field("path"), format!("{:?} is no path: {error}", message.path)))?,
        method: method(&at.field("method"), message.method)?,
        headers_to_add: headers(&at.field("request_headers_to_add"), &message.request_headers_to_add)?,
        headers_to_remove,
        expected_statuses,
        retriable_statuses: ranges(&at.field("retriable_statuses"), &message.retriable_statuses)?,
        http2,
    })
}

/// Half-open ranges of statuses, as Envoy takes them: within 100 to 600, and none is empty.
fn ranges(at: &At<'_>, list: &[Int64Range]) -> Result<Vec<Range<u16>>, Refused> {
    let one = |(index, range): (usize, &Int64Range)| {
        let (start, end) = (u16::try_from(range.start), u16::try_from(range.end));
        match (start, end) {
            (Ok(start), Ok(end)) if start >= 100 && end <= 600 && start < end => Ok(start..end),
            _ => {
                Err(refuse(&at.index(index), format!("[{}, {}) is no range within 100 to 600", range.start, range.end)))
            }
        }
    };
    list.iter().enumerate().map(one).collect()
}

fn host(at: &At<'_>, text: &str) -> Result<Option<String>, Refused> {
    let Some(host) = non_empty(text) else { return Ok(None) };
    match host.parse::<http::uri::Authority>() {
        Ok(_) => Ok(Some(host)),
        Err(error) => Err(refuse(at, format!("{host:?} is no authority: {error}"))),
    }
}

fn method(at: &At<'_>, value: i32) -> Result<Method, Refused> {
    use pb::RequestMethod as Pb;
    Ok(match known(at, value)? {
        Pb::MethodUnspecified | Pb::Get => Method::GET,
        Pb::Head => Method::HEAD,
        Pb::Post => Method::POST,
        Pb::Put => Method::PUT,
        Pb::Delete => Method::DELETE,
        Pb::Options => Method::OPTIONS,
        Pb::Trace => Method::TRACE,
        Pb::Patch => Method::PATCH,
        Pb::Connect => return Err(conflict(at, "a check is no tunnel")),
    })
}

fn name(at: &At<'_>, text: &str) -> Result<HeaderName, Refused> {
    text.parse().map_err(|_| refuse(at, format!("{text:?} is no header name")))
}

/// Headers with plain values; there is nothing that a format could print.
fn headers(at: &At<'_>, list: &[pb::HeaderValueOption]) -> Result<Vec<(HeaderName, HeaderValue)>, Refused> {
    let one = |(index, option): (usize, &pb::HeaderValueOption)| {
        let at = at.index(index);
        let at = at.field("header");
        let Some(header) = &option.header else { return Err(refuse(&at, Problem::Missing)) };
        let raw = if header.raw_value.is_empty() { header.value.as_bytes() } else { &header.raw_value };
        let value_at = at.field("value");
        if raw.contains(&b'%') {
            return Err(unsupported(&value_at, "a formatted header in a health check"));
        }
        let value = HeaderValue::from_bytes(raw).map_err(|_| refuse(&value_at, "is no header value"))?;
        Ok((name(&at.field("key"), &header.key)?, value))
    };
    list.iter().enumerate().map(one).collect()
}

fn tcp_check(at: &At<'_>, message: &pb::health_check::TcpHealthCheck) -> Result<TcpHealthCheck, Refused> {
    let send = match &message.send {
        Some(payload) => bytes(&at.field("send"), payload)?,
        None => Vec::new(),
    };
    let receive_at = at.field("receive");
    let receive = message.receive.iter().enumerate();
    let receive = receive.map(|(index, payload)| bytes(&receive_at.index(index), payload)).collect::<Result<_, _>>()?;
    Ok(TcpHealthCheck { send, receive })
}

/// A payload: hexadecimal digits, or bytes.
fn bytes(at: &At<'_>, message: &pb::health_check::Payload) -> Result<Vec<u8>, Refused> {
    match &message.payload {
        Some(Payload::Binary(bytes)) => Ok(bytes.clone()),
        Some(Payload::Text(text)) => {
            let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit()) && text.len() % 2 == 0;
            let decoded: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
            decoded.filter(|_| hex).ok_or_else(|| refuse(&at.field("text"), format!("{text:?} is not hexadecimal")))
        }
        None => Err(refuse(&at.field("payload"), Problem::Missing)),
    }
}

fn grpc_check(at: &At<'_>, message: &pb::health_check::GrpcHealthCheck) -> Result<GrpcHealthCheck, Refused> {
    Ok(GrpcHealthCheck {
        service_name: message.service_name.clone(),
        authority: host(&at.field("authority"), &message.authority)?,
        initial_metadata: headers(&at.field("initial_metadata"), &message.initial_metadata)?,
    })
}

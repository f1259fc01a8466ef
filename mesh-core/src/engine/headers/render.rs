//! Writes what an operator stands for.

use std::io::Write as _;

use super::context::FormatContext;
use super::operator::{Command, MetadataPath, Operator};
use crate::engine::matcher::{HeaderKey, HeaderSource, ResponseHead};
use crate::resource::metadata::{Metadata, Value};

/// Appends the operator's value. `false`: there is none, and nothing was appended.
pub(super) fn render(operator: &Operator, cx: &FormatContext<'_>, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let written = value(&operator.command, cx, out).is_some();
    if let Some(most) = operator.max_length {
        out.truncate(start.saturating_add(most));
    }
    written
}

/// `None` when there is no value. Writing to a vector cannot fail, so its results are not looked at.
fn value(command: &Command, cx: &FormatContext<'_>, out: &mut Vec<u8>) -> Option<()> {
    let mut print = |value: &dyn std::fmt::Display| {
        let _ = write!(out, "{value}");
    };
    let tls = cx.connection.tls.as_ref();
    match command {
        Command::RequestHeader(name, alternative) => header(cx.request.as_ref()?, name, alternative.as_ref(), out)?,
        Command::ResponseHeader(name, alternative) => {
            let response = cx.response.as_ref()?;
            let head = ResponseHead { status: &response.status, headers: response.headers };
            header(&head, name, alternative.as_ref(), out)?;
        }
        Command::RemoteAddress => print(&cx.connection.remote?),
        Command::RemoteIp => print(&cx.connection.remote?.ip()),
        Command::RemotePort => print(&cx.connection.remote?.port()),
        Command::LocalAddress => print(&cx.connection.local?),
        Command::LocalIp => print(&cx.connection.local?.ip()),
        Command::LocalPort => print(&cx.connection.local?.port()),
        Command::PeerUriSan => {
            for (at, san) in some(&tls?.peer_uri_sans)?.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(san.as_bytes());
            }
        }
        Command::PeerSubject => text(&tls?.peer_subject, out)?,
        Command::TlsVersion => text(&tls?.version, out)?,
        Command::ServerName => text(&tls?.server_name, out)?,
        Command::Protocol => text(cx.connection.protocol, out)?,
        Command::ResponseCode => {
            let known = cx.response.filter(|_| !cx.made_here);
            print(&known.map_or(0, |response| response.status.as_u16()));
        }
        Command::ResponseFlags => print(&cx.flags),
        Command::ResponseCodeDetails => text(cx.details, out)?,
        Command::UpstreamHost => print(&cx.upstream?.host),
        Command::UpstreamCluster => text(cx.cluster_name, out)?,
        Command::UpstreamMetadata(path) => metadata(cx.upstream?.metadata, path, out)?,
        Command::DynamicMetadata(path) => metadata(cx.dynamic_metadata, path, out)?,
        Command::FilterState(key) => text(cx.filter_state?.get(&**key)?, out)?,
        Command::StartTime(format) => format.render(cx.start_time?, out),
        Command::Duration => print(&cx.duration?.as_millis()),
        Command::BytesSent => print(&cx.bytes_sent),
        Command::BytesReceived => print(&cx.bytes_received),
        Command::Hostname => text(&cx.node?.hostname, out)?,
        Command::Environment(name) => text(cx.node?.environment.get(&**name)?, out)?,
        Command::RouteName => text(cx.route_name, out)?,
        Command::TraceId => text(cx.trace_id, out)?,
    }
    Some(())
}

fn some<T>(list: &[T]) -> Option<&[T]> {
    (!list.is_empty()).then_some(list)
}

fn text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(some(text.as_bytes())?);
    Some(())
}

fn header(
    source: &impl HeaderSource,
    name: &HeaderKey,
    alternative: Option<&HeaderKey>,
    out: &mut Vec<u8>,
) -> Option<()> {
    let value = name.first(source).or_else(|| alternative?.first(source))?;
    out.extend_from_slice(value);
    Some(())
}

fn metadata(metadata: &Metadata, path: &MetadataPath, out: &mut Vec<u8>) -> Option<()> {
    let value = metadata.get(&*path.namespace)?.at(path.keys.iter().map(|key| &**key))?;
    match value {
        // Text alone is not quoted.
        Value::Text(text) => out.extend_from_slice(text.as_bytes()),
        other => json(other, out),
    }
    Some(())
}

fn json(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(bool) => out.extend_from_slice(if *bool { b"true" } else { b"false" }),
        Value::Number(number) if number.is_finite() => {
            let _ = write!(out, "{number}");
        }
        Value::Number(_) => out.extend_from_slice(b"null"),
        Value::Text(text) => quoted(text, out),
        Value::List(list) => {
            out.push(b'[');
            for (at, value) in list.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                json(value, out);
            }
            out.push(b']');
        }
        Value::Struct(fields) => {
            out.push(b'{');
            for (at, (key, value)) in fields.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                quoted(key, out);
                out.push(b':');
                json(value, out);
            }
            out.push(b'}');
        }
    }
}

fn quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => {
                let _ = write!(out, "\\u{byte:04x}");
            }
            other => out.push(other),
        }
    }
    out.push(b'"');
}

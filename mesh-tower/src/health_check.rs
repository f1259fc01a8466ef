//! Asks hosts whether they are well, over connections of its own: HTTP, gRPC, TCP.
//!
//! When to ask and what to make of the answer is decided in [`mesh_core::engine::health_check`]; here one check is made,
//! within its timeout. A connection may be kept for the next check of the same host.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_core::engine::health_check::CheckOutcome;
use mesh_core::resource::endpoint::Address;
use mesh_core::resource::health_check::{GrpcHealthCheck, HealthChecker, HttpHealthCheck, TcpHealthCheck};
use mesh_core::snapshot::health::Check;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::pool::{self, io::Io};

/// What a host sends when it would rather be spared.
const DEGRADED: HeaderName = HeaderName::from_static("x-envoy-degraded");
const CALLER: HeaderValue = HeaderValue::from_static("Envoy/HC");
/// An answer with more body than this is read no further, and its connection is not kept.
const MOST_BODY: usize = 64 * 1024;
/// So much of what a TCP host says is looked at.
const MOST_BYTES: usize = 64 * 1024;

/// A connection that is kept for the next check.
#[derive(Debug)]
pub struct KeptConnection(Kind);

#[derive(Debug)]
enum Kind {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
    Tcp(Io),
}

/// How a check ended, and what is kept of it.
type Ended = (CheckOutcome, Option<Kind>);

/// The host could not be reached, or did not answer.
struct Unreachable;

impl From<io::Error> for Unreachable {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl From<hyper::Error> for Unreachable {
    fn from(_: hyper::Error) -> Self {
        Self
    }
}

/// Makes one check, over `kept` if that is still good. What may be kept for the next one comes back.
///
/// Connections are driven by the current Tokio runtime.
///
/// # Cancel safety
/// Dropping the future ends the check and its connection.
pub async fn check(check: &Check, kept: Option<KeptConnection>) -> (CheckOutcome, Option<KeptConnection>) {
    let made = async {
        match &check.config.checker {
            HealthChecker::Http(http) => ask_http(check, http, kept.map(|kept| kept.0)).await,
            HealthChecker::Grpc(grpc) => ask_grpc(check, grpc, kept.map(|kept| kept.0)).await,
            HealthChecker::Tcp(tcp) => ask_tcp(check, tcp, kept.map(|kept| kept.0)).await,
        }
    };
    match tokio::time::timeout(check.config.timeout, made).await {
        Ok(Ok((outcome, kept))) => (outcome, kept.filter(|_| check.config.reuse_connection).map(KeptConnection)),
        Ok(Err(Unreachable)) | Err(_) => (CheckOutcome::Unreachable, None),
    }
}

async fn open(check: &Check) -> io::Result<Io> {
    let mut address = check.host.endpoint.address.clone();
    if let Some(port) = check.config.alt_port {
        match &mut address {
            Address::Socket(socket) => socket.set_port(port),
            Address::Dns { port: asked, .. } => *asked = port,
            _ => {}
        }
    }
    pool::open(&check.cluster, &address).await
}

async fn connect(check: &Check, http2: bool) -> Result<Kind, Unreachable> {
    let io = TokioIo::new(open(check).await?);
    // Drivers end with the connection, which ends when nobody holds its sender.
    if http2 {
        let (sender, driver) = http2::handshake(TokioExecutor::new(), io).await?;
        tokio::spawn(driver);
        return Ok(Kind::Http2(sender));
    }
    let (sender, driver) = http1::handshake(io).await?;
    tokio::spawn(driver);
    Ok(Kind::Http1(sender))
}

/// Sends a request over `kept`, or over a new connection if that one is over.
async fn send(
    check: &Check,
    http2: bool,
    kept: Option<Kind>,
    request: Request<Full<Bytes>>,
) -> Result<(Response<Incoming>, Kind), Unreachable> {
    let usable = match kept {
        Some(Kind::Http1(mut sender)) if !http2 => sender.ready().await.is_ok().then_some(Kind::Http1(sender)),
        Some(Kind::Http2(mut sender)) if http2 => sender.ready().await.is_ok().then_some(Kind::Http2(sender)),
        _ => None,
    };
    if let Some(mut kept) = usable
        && let Ok(response) = ask(&mut kept, request.clone()).await
    {
        return Ok((response, kept));
    }
    let mut connection = connect(check, http2).await?;
    let response = ask(&mut connection, request).await?;
    Ok((response, connection))
}

async fn ask(connection: &mut Kind, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Unreachable> {
    match connection {
        Kind::Http1(sender) => Ok(sender.send_request(request).await?),
        Kind::Http2(sender) => Ok(sender.send_request(request).await?),
        Kind::Tcp(_) => Err(Unreachable),
    }
}

/// A request to `authority` in the form of its protocol.
fn request(
    http2: bool,
    method: &Method,
    authority: &str,
    path: &str,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, Unreachable> {
    let builder = Request::builder().method(method).header(USER_AGENT, CALLER);
    let builder = if http2 {
        builder.version(Version::HTTP_2).uri(format!("http://{authority}{path}"))
    } else {
        builder.uri(path).header(HOST, authority)
    };
    builder.body(Full::new(body)).map_err(|_| Unreachable)
}

/// The name that hosts are called by: the check's own, or the cluster's where that can be one.
fn authority<'a>(check: &'a Check, own: Option<&'a str>) -> &'a str {
    let name = &check.cluster.config().name;
    own.unwrap_or_else(|| if name.parse::<http::uri::Authority>().is_ok() { name } else { "localhost" })
}

async fn ask_http(check: &Check, http: &HttpHealthCheck, kept: Option<Kind>) -> Result<Ended, Unreachable> {
    let authority = authority(check, http.host.as_deref());
    let mut request = request(http.http2, &http.method, authority, &http.path, Bytes::new())?;
    for (name, value) in &http.headers_to_add {
        request.headers_mut().append(name, value.clone());
    }
    for name in &http.headers_to_remove {
        request.headers_mut().remove(name);
    }
    let (response, connection) = send(check, http.http2, kept, request).await?;
    let (head, body) = response.into_parts();
    let status = head.status.as_u16();
    let among = |ranges: &[std::ops::Range<u16>]| ranges.iter().any(|range| range.contains(&status));
    let outcome = if among(&http.expected_statuses) {
        CheckOutcome::Passed { degraded: head.headers.contains_key(DEGRADED) }
    } else if among(&http.retriable_statuses) {
        CheckOutcome::Unreachable
    } else {
        CheckOutcome::Unwell
    };
    // What is left of the answer must be out of the way before the next one.
    let read = Limited::new(body, MOST_BODY).collect().await.is_ok();
    Ok((outcome, read.then_some(connection)))
}

async fn ask_grpc(check: &Check, grpc: &GrpcHealthCheck, kept: Option<Kind>) -> Result<Ended, Unreachable> {
    let authority = authority(check, grpc.authority.as_deref());
    let body = framed(&question(&grpc.service_name));
    let mut request = request(true, &Method::POST, authority, "/grpc.health.v1.Health/Check", body)?;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    for (name, value) in &grpc.initial_metadata {
        headers.append(name, value.clone());
    }
    let (response, connection) = send(check, true, kept, request).await?;
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        return Ok((CheckOutcome::Unwell, Some(connection)));
    }
    let Ok(body) = Limited::new(body, MOST_BODY).collect().await else { return Err(Unreachable) };
    let is_ok = |headers: &HeaderMap| headers.get("grpc-status").is_some_and(|status| status == "0");
    // Without a message the status is in the headers.
    let ok = body.trailers().is_some_and(is_ok) || is_ok(&head.headers);
    let serving = ok && is_serving(&body.to_bytes());
    let outcome = if serving { CheckOutcome::Passed { degraded: false } } else { CheckOutcome::Unwell };
    Ok((outcome, Some(connection)))
}

/// `grpc.health.v1.HealthCheckRequest { service }`.
fn question(service: &str) -> BytesMut {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(1 << 3 | 2);
        let mut length = service.len();
        while length > 0 {
            let more = if length > 0x7f { 0x80 } else { 0 };
            message.put_u8(u8::try_from(length & 0x7f).unwrap_or_default() | more);
            length >>= 7;
        }
        message.put_slice(service.as_bytes());
    }
    message
}

/// A message in gRPC's framing.
fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

/// Whether the only message is `HealthCheckResponse { status: SERVING }`.
fn is_serving(body: &[u8]) -> bool {
    const SERVING: [u8; 2] = [1 << 3, 1];
    matches!(body, [0, 0, 0, 0, 2, message @ ..] if message == SERVING)
}

async fn ask_tcp(check: &Check, tcp: &TcpHealthCheck, kept: Option<Kind>) -> Result<Ended, Unreachable> {
    const PASSED: CheckOutcome = CheckOutcome::Passed { degraded: false };
    if tcp.send.is_empty() && tcp.receive.is_empty() {
        open(check).await?;
        return Ok((PASSED, None));
    }
    if let Some(Kind::Tcp(mut io)) = kept
        && talk(&mut io, tcp).await.is_ok()
    {
        return Ok((PASSED, Some(Kind::Tcp(io))));
    }
    let mut io = open(check).await?;
    talk(&mut io, tcp).await?;
    Ok((PASSED, Some(Kind::Tcp(io))))
}

/// Says what is to be said, and reads until everything that is awaited came, in order.
async fn talk(io: &mut Io, tcp: &TcpHealthCheck) -> Result<(), Unreachable> {
    io.write_all(&tcp.send).await?;
    let mut heard = BytesMut::new();
    loop {
        if in_order(&heard, &tcp.receive) {
            return Ok(());
        }
        if heard.len() >= MOST_BYTES || io.read_buf(&mut heard).await? == 0 {
            return Err(Unreachable);
        }
    }
}

/// Whether every block is there, one behind the other, whatever is between.
fn in_order(mut heard: &[u8], blocks: &[Vec<u8>]) -> bool {
    for block in blocks.iter().filter(|block| !block.is_empty()) {
        let Some(at) = heard.windows(block.len()).position(|window| window == block) else { return false };
        heard = &heard[at + block.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_in_order_whatever_is_between() {
        let blocks = |list: &[&str]| list.iter().map(|one| one.as_bytes().to_vec()).collect::<Vec<_>>();
        assert!(in_order(b"xx+PONG yy OK", &blocks(&["PONG", "OK"])));
        assert!(!in_order(b"OK PONG", &blocks(&["PONG", "OK"])));
        assert!(!in_order(b"PON", &blocks(&["PONG"])));
        assert!(in_order(b"", &blocks(&[])) && in_order(b"", &blocks(&[""])));
    }

    #[test]
    fn a_question_about_a_long_name_has_a_length_of_two_bytes() {
        assert_eq!(&question("")[..], b"");
        assert_eq!(&question("a.B")[..], b"\x0a\x03a.B");
        let long = question(&"x".repeat(300));
        assert_eq!((&long[..3], long.len()), (&b"\x0a\xac\x02"[..], 303));
        assert_eq!(&framed(&question("a"))[..], b"\0\0\0\0\x03\x0a\x01a");
    }

    #[test]
    fn only_serving_is_serving() {
        assert!(is_serving(b"\0\0\0\0\x02\x08\x01"));
        for other in [&b""[..], b"\0\0\0\0\0", b"\0\0\0\0\x02\x08\x02", b"\x01\0\0\0\x02\x08\x01", b"\0\0\0\0\x02\x08"]
        {
            assert!(!is_serving(other), "{other:?}");
        }
    }
}

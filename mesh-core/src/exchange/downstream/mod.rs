//! What an HTTP connection manager does to a request that a listener of ours took, and to its response.
//!
//! Envoy's `ConnectionManagerUtility`: who the caller is taken for, whether the request comes from within, the headers of a
//! hop. Requests made in this process never come here. Nothing is decided about routes.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::header::{HOST, REFERER, SERVER, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version, response};

use super::overrides::Overrides;
use super::reserved;
use crate::engine::facts::ConnectionFacts;
use crate::engine::local_reply::LocalReply;
use crate::engine::random::Random;
use crate::engine::routing::RouteTable;
use crate::resource::downstream::{Scheme, ServerHeader};
use crate::resource::listener::{HttpConnectionManager, StripPort};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
const EXTERNAL_ADDRESS: HeaderName = HeaderName::from_static("x-envoy-external-address");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// `x-forwarded-proto`: the scheme that the caller used, as far as it is known.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A request as its connection manager took it.
pub(super) struct Arrived {
    /// The connection, with the address that the caller is taken to have.
    pub(super) connection: Arc<ConnectionFacts>,
    pub(super) overrides: Option<Box<Overrides>>,
}

/// What a response gets on its way out of a listener, settled when its request arrived.
#[derive(Clone, Debug)]
pub struct Departure {
    manager: Arc<HttpConnectionManager>,
    node: Option<IpAddr>,
    request_id: Option<HeaderValue>,
}

impl Departure {
    /// Through this connection manager of a node with that address, by which callers on the same machine are named to others.
    #[must_use]
    pub const fn through(manager: Arc<HttpConnectionManager>, node: Option<IpAddr>) -> Self {
        Self { manager, node, request_id: None }
    }

    /// Gives a response the headers of this hop.
    pub fn finish(&self, head: &mut response::Parts) {
        let options = &self.manager.downstream;
        if let Some(id) = &self.request_id {
            head.headers.insert(REQUEST_ID, id.clone());
        }
        append_via(&mut head.headers, &options.via);
        let keep = match options.server_header {
            ServerHeader::Overwrite => false,
            ServerHeader::AppendIfAbsent => head.headers.contains_key(SERVER),
            ServerHeader::PassThrough => true,
        };
        if !keep && let Ok(name) = HeaderValue::from_str(&options.server_name) {
            head.headers.insert(SERVER, name);
        }
    }
}

/// Brings the request's host into the one form that everything behind sees.
///
/// # Errors
/// The answer to a request of HTTP/1.0 where that is not accepted, and to one without a host.
pub(super) fn greet<B>(
    request: &mut Request<B>,
    manager: &HttpConnectionManager,
    connection: &ConnectionFacts,
) -> Result<(), Box<LocalReply>> {
    let options = &manager.downstream;
    if request.version() < Version::HTTP_11 {
        if !options.accept_http_10 {
            return Err(Box::new(LocalReply::low_version()));
        }
        if !request.headers().contains_key(HOST)
            && request.uri().authority().is_none()
            && !options.default_host_for_http_10.is_empty()
            && let Ok(host) = HeaderValue::from_str(&options.default_host_for_http_10)
        {
            request.headers_mut().insert(HOST, host);
        }
    }
    let Some(host) = super::outbound::authority(request) else {
        return Err(Box::new(LocalReply::missing_host_header()));
    };
    if options.strip_trailing_host_dot || manager.strip_port != StripPort::Keep {
        let own = connection.local.map(|local| local.port());
        let plain = plain_host(host, manager.strip_port, own, options.strip_trailing_host_dot);
        if let Some(plain) = plain {
            rename(request, &plain);
        }
    }
    Ok(())
}

/// A host without what is to be stripped; `None` when nothing is.
fn plain_host(host: &str, strip: StripPort, own: Option<u16>, dot: bool) -> Option<String> {
    let end = host.rfind(']').map_or(0, |end| end + 1);
    let port_at = host[end..].rfind(':').map(|at| end + at);
    let (name, port) = port_at.map_or((host, ""), |at| host.split_at(at));
    let number = port.get(1..).and_then(|port| port.parse::<u16>().ok());
    let strips = match strip {
        StripPort::Keep => false,
        StripPort::Matching => number.is_some() && number == own,
        StripPort::Any => number.is_some(),
    };
    let kept = if strips { "" } else { port };
    let name = if dot { name.strip_suffix('.').unwrap_or(name) } else { name };
    (name.len() + kept.len() != host.len()).then(|| format!("{name}{kept}"))
}

fn rename<B>(request: &mut Request<B>, host: &str) {
    if request.uri().authority().is_some() {
        let mut parts = request.uri().clone().into_parts();
        parts.authority = host.parse().ok();
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    } else if let Ok(host) = HeaderValue::from_str(host) {
        request.headers_mut().insert(HOST, host);
    }
}

/// Takes a request on: the headers of this hop, and who is trusted. `routes` know which headers nobody outside may send.
pub(super) fn arrive<B>(
    request: &mut Request<B>,
    routes: Option<&RouteTable>,
    connection: &Arc<ConnectionFacts>,
    random: &mut Random,
    departure: &mut Departure,
) -> Arrived {
    let manager = Arc::clone(&departure.manager);
    let options = &manager.downstream;
    let headers = request.headers_mut();
    headers.remove("x-envoy-internal");
    if headers.get(REFERER).is_some_and(|referer| !is_referer(referer)) {
        headers.remove(REFERER);
    }
    let secure = connection.tls.is_some();
    let own = HeaderValue::from_static(if secure { "https" } else { "http" });
    let caller = if manager.use_remote_address {
        let alone = !headers.contains_key(FORWARDED_FOR);
        let hops = manager.xff_num_trusted_hops;
        let through_proxies = if hops > 0 { last_forwarded(headers, hops - 1).map(|(ip, _)| ip) } else { None };
        let peer = connection.remote.map(|remote| remote.ip());
        if !options.skip_xff_append
            && let Some(peer) = peer
        {
            append_forwarded(headers, departure.node.filter(|_| peer.is_loopback()).unwrap_or(peer));
        }
        if hops == 0 || !headers.contains_key(FORWARDED_PROTO) {
            headers.insert(FORWARDED_PROTO, own);
        }
        if options.append_x_forwarded_port
            && (hops == 0 || !headers.contains_key(FORWARDED_PORT))
            && let Some(local) = connection.local
        {
            headers.insert(FORWARDED_PORT, HeaderValue::from(local.port()));
        }
        Caller { ip: through_proxies.or(peer), trusted: alone, forwarded: through_proxies.is_some() }
    } else {
        if !headers.contains_key(FORWARDED_PROTO) {
            headers.insert(FORWARDED_PROTO, own);
        }
        match last_forwarded(headers, manager.xff_num_trusted_hops) {
            Some((ip, alone)) => Caller { ip: Some(ip), trusted: alone, forwarded: true },
            None => Caller { ip: None, trusted: false, forwarded: false },
        }
    };
    if let Some(scheme) = options.scheme {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(Scheme::as_str(scheme)));
    }
    let secure = scheme(headers) == "https";
    let internal = caller.trusted && caller.ip.is_some_and(|ip| manager.is_internal_address(ip));
    let edge = !internal && manager.use_remote_address;
    let overrides = reserved::take_at_listener(headers, &manager, internal, edge);
    if !internal && let Some(routes) = routes {
        routes.remove_internal_only_headers(headers);
    }
    append_via(headers, &options.via);
    if edge
        && let Some(ip) = caller.ip
        && let Ok(value) = HeaderValue::from_str(&ip.to_string())
    {
        headers.insert(EXTERNAL_ADDRESS, value);
    }
    if options.generate_request_id
        && (!headers.contains_key(REQUEST_ID) || (edge && !options.preserve_external_request_id))
    {
        headers.insert(REQUEST_ID, request_id(random));
    }
    if options.always_set_request_id_in_response {
        departure.request_id = headers.get(REQUEST_ID).cloned();
    }
    if !options.keep_client_cert_header {
        headers.remove(FORWARDED_CLIENT_CERT);
    }
    if secure && (options.scheme.is_some() || request.uri().scheme().is_none()) {
        say_secure(request);
    }
    if let Some(node) = departure.node {
        request.extensions_mut().insert(Node(node));
    }
    let connection = match caller.ip {
        Some(ip) if caller.forwarded => {
            Arc::new(ConnectionFacts { remote: Some(SocketAddr::new(ip, 0)), ..(**connection).clone() })
        }
        _ => Arc::clone(connection),
    };
    Arrived { connection, overrides }
}

/// The scheme of a request that arrived by a connection of ours: [`arrive`] has written it down.
pub(super) fn scheme(headers: &HeaderMap) -> &'static str {
    let secure = headers.get(FORWARDED_PROTO).is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
    if secure { "https" } else { "http" }
}

/// How others know the machine that took a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node(IpAddr);

/// A copy of a request, made for a mirror, was sent by this machine.
pub(super) fn forwarded_by_us<B>(copy: &mut Request<()>, of: &Request<B>) {
    if let Some(Node(ip)) = of.extensions().get() {
        append_forwarded(copy.headers_mut(), *ip);
    }
}

/// Writes `https` into the URI: what goes to an upstream in HTTP/2 has a scheme.
fn say_secure<B>(request: &mut Request<B>) {
    let Some(host) = super::outbound::authority(request).and_then(|host| host.parse().ok()) else { return };
    let mut parts = request.uri().clone().into_parts();
    (parts.scheme, parts.authority) = (Some(http::uri::Scheme::HTTPS), Some(host));
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

/// Who a request is taken to come from.
struct Caller {
    ip: Option<IpAddr>,
    /// Nobody else has said anything about it.
    trusted: bool,
    /// By `x-forwarded-for`, not by the connection.
    forwarded: bool,
}

/// The address in `x-forwarded-for` behind which `skip` others stand, and whether it is the only one.
fn last_forwarded(headers: &HeaderMap, skip: u32) -> Option<(IpAddr, bool)> {
    let mut entries =
        headers.get_all(FORWARDED_FOR).iter().rev().flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
    let entry = entries.nth(usize::try_from(skip).ok()?)?;
    Some((entry.trim().parse().ok()?, skip == 0 && entries.next().is_none()))
}

/// Appends to the one line that `x-forwarded-for` is to be.
fn append_forwarded(headers: &mut HeaderMap, ip: IpAddr) {
    let mut line = String::new();
    for value in headers.get_all(FORWARDED_FOR) {
        let Ok(value) = value.to_str() else { continue };
        if !line.is_empty() {
            line.push(',');
        }
        line.push_str(value);
    }
    if !line.is_empty() {
        line.push(',');
    }
    // Writing into a text cannot fail.
    let _ = write!(line, "{ip}");
    if let Ok(value) = HeaderValue::from_str(&line) {
        headers.insert(FORWARDED_FOR, value);
    }
}

fn append_via(headers: &mut HeaderMap, via: &str) {
    if via.is_empty() {
        return;
    }
    let before: Vec<&str> = headers.get_all(VIA).iter().filter_map(|value| value.to_str().ok()).collect();
    let line = before.into_iter().chain([via]).collect::<Vec<_>>().join(", ");
    if let Ok(value) = HeaderValue::from_str(&line) {
        headers.insert(VIA, value);
    }
}

/// An absolute URL, or a path whose first part has no colon.
fn is_referer(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else { return false };
    if text.contains("://") {
        return text.parse::<Uri>().is_ok_and(|uri| uri.scheme().is_some() && uri.authority().is_some());
    }
    text.split('/').next().is_none_or(|first| !first.contains(':'))
}

/// A random UUID (version 4).
fn request_id(random: &mut Random) -> HeaderValue {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&random.bits().to_be_bytes());
    bytes[8..].copy_from_slice(&random.bits().to_be_bytes());
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = [b'-'; 36];
    let places = (0..36).filter(|at| !matches!(at, 8 | 13 | 18 | 23));
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]);
    for (place, digit) in places.zip(digits) {
        text[place] = HEX[usize::from(digit)];
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests;

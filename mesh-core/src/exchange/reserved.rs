//! Headers that belong to the mesh: taken off a request before anything reads it, and honoured only from within.
//!
//! Envoy acts on `x-envoy-retry-on`, `x-envoy-upstream-rq-timeout-ms` and their like only for internal requests:
//! with `use_remote_address` off, exactly one `x-forwarded-for` entry inside `internal_address_config`. From
//! anybody else they are removed without effect (security rules S9, S10).

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Request};

use super::overrides::Overrides;
use crate::engine::facts;
use crate::engine::local_reply::LocalReply;
use crate::engine::routing::path::{self, Prepared};
use crate::resource::listener::{HttpConnectionManager, PathNormalization};

/// `x-envoy-attempt-count`: which try this is, from 1.
pub const ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");

/// `x-envoy-is-timeout-retry`: whether this try follows one that took too long.
pub const IS_TIMEOUT_RETRY: HeaderName = HeaderName::from_static("x-envoy-is-timeout-retry");

/// A count as a header value; the small ones are written out already.
pub(super) fn count(attempts: u32) -> HeaderValue {
    HeaderValue::from_static(match attempts {
        1 => "1",
        2 => "2",
        3 => "3",
        4 => "4",
        _ => return HeaderValue::from(attempts),
    })
}

/// Taken off every request; the first group is read when the request is internal (`overrides`).
const RESERVED: [&str; 17] = [
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
    "x-envoy-max-retries",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-internal",
    "x-envoy-original-path",
    "x-envoy-decorator-operation",
    "x-envoy-force-trace",
    "x-envoy-downstream-service-cluster",
    "x-envoy-ip-tags",
];

/// What one look over a request's headers tells: a pass over a few names costs less than several look-ups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// The caller speaks gRPC.
    pub(super) grpc: bool,
    /// There is a `grpc-timeout`.
    pub(super) grpc_timeout: bool,
    /// There may be headers of the mesh's own.
    pub(super) reserved: bool,
    /// There is an `upgrade`.
    pub(super) upgrade: bool,
}

pub(super) fn scan(headers: &HeaderMap) -> Scan {
    let mut scan = Scan::default();
    let mut typed = false;
    for (name, value) in headers {
        // By length first: most names are none of these.
        let text = name.as_str();
        match text.len() {
            12 if text == "content-type" => {
                // Of several the first one counts.
                scan.grpc |= !typed && facts::is_grpc_type(value);
                typed = true;
            }
            12 => scan.grpc_timeout |= text == "grpc-timeout",
            7 => scan.upgrade |= text == "upgrade",
            0..=8 => {}
            _ => scan.reserved |= text.starts_with("x-envoy-"),
        }
    }
    scan
}

/// Removes the mesh's own headers, and returns what an internal request asked for with them.
#[cold]
pub(super) fn take(headers: &mut HeaderMap, manager: &HttpConnectionManager) -> Option<Box<Overrides>> {
    let silent = || manager.suppress_envoy_headers.then(|| Box::new(Overrides::silent()));
    // One pass over the names first: nearly no request has any of them.
    let reserved = |name: &HeaderName| name.as_str().starts_with("x-envoy-") && RESERVED.contains(&name.as_str());
    if !headers.keys().any(reserved) {
        return silent();
    }
    let overrides = is_internal(headers, manager).then(|| Box::new(Overrides::read(headers, manager)));
    for name in RESERVED {
        while headers.remove(name).is_some() {}
    }
    if overrides.is_some() {
        headers.insert(HeaderName::from_static("x-envoy-internal"), HeaderValue::from_static("true"));
    }
    overrides.or_else(silent)
}

/// Whether a request comes from within, by its only `x-forwarded-for` entry.
fn is_internal(headers: &HeaderMap, manager: &HttpConnectionManager) -> bool {
    if manager.use_remote_address {
        return false;
    }
    let mut entries = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let (Some(only), None) = (entries.next(), entries.next()) else { return false };
    let Ok(ip) = only.trim().parse::<IpAddr>() else { return false };
    manager.is_internal_address(ip)
}

/// Only from a caller outside, at the edge of the mesh.
const EDGE: [&str; 5] = [
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-original-host",
    "x-envoy-original-path",
];

/// As [`take`], of a request whose connection manager has found out whether it comes from within: at the `edge` more
/// is removed, and within the mesh a hop keeps what the one before said.
pub(super) fn take_at_listener(
    headers: &mut HeaderMap,
    manager: &HttpConnectionManager,
    internal: bool,
    edge: bool,
) -> Option<Box<Overrides>> {
    let any = headers.keys().any(|name| name.as_str().starts_with("x-envoy-"));
    let overrides = (internal && any).then(|| Box::new(Overrides::read(headers, manager)));
    if any {
        for name in RESERVED.iter().filter(|name| edge || !EDGE.contains(name)) {
            while headers.remove(*name).is_some() {}
        }
        if edge {
            for name in EDGE {
                while headers.remove(name).is_some() {}
            }
        }
    }
    if internal {
        headers.insert(HeaderName::from_static("x-envoy-internal"), HeaderValue::from_static("true"));
    }
    overrides.or_else(|| manager.suppress_envoy_headers.then(|| Box::new(Overrides::silent())))
}

/// Brings the path into the one form that policy, routing and the application all see.
pub(super) fn prepare_path<B>(request: &mut Request<B>, how: PathNormalization) -> Result<(), Box<LocalReply>> {
    let Some(before) = request.uri().path_and_query() else { return Ok(()) };
    // A parsed URI has no fragment; without any setting nothing else can change an absolute path.
    if how == PathNormalization::default() && before.as_str().starts_with('/') {
        return Ok(());
    }
    let next = match path::prepare(before.as_str(), how) {
        Prepared::Unchanged => return Ok(()),
        Prepared::Changed(next) => next,
        Prepared::Reply(reply) => return Err(reply),
    };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = next.parse().ok();
    match http::Uri::from_parts(parts) {
        Ok(uri) => *request.uri_mut() = uri,
        Err(_) => return Err(Box::new(LocalReply::path_normalization_failed())),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::route::RouteConfiguration;

    fn manager(internal: &[(&str, u8)]) -> HttpConnectionManager {
        let config = RouteConfiguration::default();
        let internal_addresses = internal.iter().map(|(net, length)| (net.parse().unwrap(), *length)).collect();
        HttpConnectionManager { internal_addresses, ..HttpConnectionManager::inline(std::sync::Arc::new(config)) }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn s09_reserved_headers_from_outside_are_removed_without_effect() {
        for forwarded in [None, Some("10.0.0.1"), Some("127.0.0.1")] {
            let mut map = headers(&[
                ("x-envoy-retry-on", "5xx"),
                ("x-envoy-original-path", "/admin"),
                ("x-envoy-upstream-rq-timeout-alt-response", "1"),
                ("x-envoy-hedge-on-per-try-timeout", "true"),
                ("x-envoy-is-timeout-retry", "kept"),
                ("x-envoy-unknown", "kept"),
                ("x-app", "1"),
            ]);
            if let Some(ip) = forwarded {
                map.insert("x-forwarded-for", ip.parse().unwrap());
            }
            assert!(take(&mut map, &manager(&[])).is_none(), "private addresses are not internal by themselves");
            map.remove("x-forwarded-for");
            let mut left: Vec<&str> = map.keys().map(HeaderName::as_str).collect();
            left.sort_unstable();
            assert_eq!(left, ["x-app", "x-envoy-is-timeout-retry", "x-envoy-unknown"]);
        }
    }

    #[test]
    fn s10_overrides_count_only_with_one_internal_forwarded_address() {
        let asks = [
            ("x-envoy-retry-on", "5xx, reset"),
            ("x-envoy-max-retries", "4"),
            ("x-envoy-upstream-rq-timeout-ms", "250"),
        ];
        let internal = manager(&[("10.0.0.0", 8)]);
        let mut map = headers(&asks);
        map.insert("x-forwarded-for", "10.1.2.3".parse().unwrap());
        assert!(take(&mut map, &internal).is_some());
        assert_eq!(map.get("x-envoy-internal").unwrap(), "true");
        assert!(!map.keys().any(|name| name.as_str().contains("retr") || name.as_str().ends_with("-ms")));
        let mut chained = headers(&asks);
        chained.insert("x-forwarded-for", "10.1.2.3, 10.1.2.4".parse().unwrap());
        assert!(take(&mut chained, &internal).is_none());
    }
}

//! What is known of a request when it is decided upon: borrowed, never copied.

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header, request};

use crate::resource::metadata::Metadata;

/// The head of a request and the connection it came by.
///
/// `authority` is the `:authority` or `Host` value as the caller wrote it, port included; `path` is path and
/// query as sent (`/` when empty). Headers named `host` or starting with `:` are answered from these fields.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// The method.
    pub method: &'a Method,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host, with port if one was given.
    pub authority: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The connection.
    pub connection: &'a ConnectionFacts,
    /// What earlier filters found out (`dynamic_metadata`).
    pub dynamic_metadata: &'a Metadata,
}

impl<'a> RequestFacts<'a> {
    /// The facts of an `http` request. An absolute URI's authority goes before the `Host` header (RFC 9112).
    pub fn of<B>(request: &'a Request<B>, connection: &'a ConnectionFacts, dynamic_metadata: &'a Metadata) -> Self {
        Self::of_parts(request.method(), request.uri(), request.headers(), connection, dynamic_metadata)
    }

    /// As [`Self::of`], of a request that was taken apart.
    pub fn of_head(head: &'a request::Parts, connection: &'a ConnectionFacts, dynamic_metadata: &'a Metadata) -> Self {
        Self::of_parts(&head.method, &head.uri, &head.headers, connection, dynamic_metadata)
    }

    fn of_parts(
        method: &'a Method,
        uri: &'a Uri,
        headers: &'a HeaderMap,
        connection: &'a ConnectionFacts,
        dynamic_metadata: &'a Metadata,
    ) -> Self {
        let host = || headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let secure = connection.tls.is_some();
        Self {
            method,
            scheme: uri.scheme_str().unwrap_or(if secure { "https" } else { "http" }),
            authority: uri.authority().map(http::uri::Authority::as_str).or_else(host).unwrap_or(""),
            path: uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str),
            headers,
            connection,
            dynamic_metadata,
        }
    }

    /// The path without query and fragment.
    #[must_use]
    pub fn path_only(&self) -> &'a str {
        // A plain loop: paths are short, and a call to a search routine costs more than it finds.
        let end = self.path.bytes().position(|byte| byte == b'?' || byte == b'#');
        end.map_or(self.path, |end| &self.path[..end])
    }

    /// The query, without `?`, if there is one.
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        until(self.path, '#').split_once('?').map(|(_, query)| query)
    }

    /// Whether the request is gRPC: `content-type` is `application/grpc` or starts with `application/grpc+`.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        is_grpc(self.headers)
    }
}

/// The text before the first `end`.
fn until(text: &str, end: char) -> &str {
    text.find(end).map_or(text, |at| &text[..at])
}

/// Whether these headers announce gRPC (not gRPC-Web).
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(is_grpc_type)
}

/// Whether a `content-type` announces gRPC (not gRPC-Web).
#[must_use]
pub fn is_grpc_type(content_type: &HeaderValue) -> bool {
    let rest = content_type.as_bytes().strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'+')
}

/// What is known of the connection a request came by; empty for a request made in this process.
#[derive(Clone, Debug, Default)]
pub struct ConnectionFacts {
    /// The peer.
    pub remote: Option<SocketAddr>,
    /// Our own side.
    pub local: Option<SocketAddr>,
    /// HTTP version as `%PROTOCOL%` writes it; empty when unknown.
    pub protocol: &'static str,
    /// TLS facts, when the connection is TLS.
    pub tls: Option<TlsFacts>,
    /// What filters keep for as long as the connection lives; `None` for a request made in this process.
    pub slots: Option<Arc<ConnectionSlots>>,
}

/// What filters keep of one connection, each under a key of its own.
#[derive(Default)]
pub struct ConnectionSlots(Mutex<Vec<Slot>>);

/// A key, and what is kept under it.
type Slot = (Arc<()>, Arc<dyn Any + Send + Sync>);

impl ConnectionSlots {
    /// What is kept under a key, which is that very `Arc`; made when it is asked for first.
    pub fn of<T: Send + Sync + 'static>(&self, key: &Arc<()>, make: impl FnOnce() -> Arc<T>) -> Arc<T> {
        // What a panic left behind is whole: no step of a change can panic.
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = slots.iter().find(|(known, _)| Arc::ptr_eq(known, key));
        if let Some(kept) = known.and_then(|(_, kept)| Arc::clone(kept).downcast().ok()) {
            return kept;
        }
        // Keys that nobody else holds are those of filters that are gone.
        slots.retain(|(known, _)| Arc::strong_count(known) > 1);
        let made = make();
        slots.push((Arc::clone(key), Arc::clone(&made) as _));
        made
    }
}

impl fmt::Debug for ConnectionSlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionSlots").finish_non_exhaustive()
    }
}

/// What the TLS handshake told.
#[derive(Clone, Debug, Default)]
pub struct TlsFacts {
    /// The peer presented a certificate.
    pub presented: bool,
    /// The certificate was validated.
    pub validated: bool,
    /// The SNI.
    pub server_name: String,
    /// Version as `%DOWNSTREAM_TLS_VERSION%` writes it, e.g. `TLSv1.3`.
    pub version: String,
    /// URI subject alternative names of the peer.
    pub peer_uri_sans: Vec<String>,
    /// Subject of the peer's certificate.
    pub peer_subject: String,
}

//! How a response is finished: the header changes of the route that was chosen, with everything that their format
//! strings may print. Filters' way out is `filters`; what the response is, is not decided here.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::header::SET_COOKIE;
use http::{Request, Response, Version};

use super::Upstream;
use super::outbound::{Flight, Place};
use super::overrides::Manner;
use crate::engine::facts::{ConnectionFacts, RequestFacts};
use crate::engine::headers::{FormatContext, UpstreamFacts};
use crate::engine::local_reply::{LocalReply, ResponseFlags};
use crate::engine::routing::{MadeCookie, RouteDecision};
use crate::resource::metadata::Metadata;
use crate::snapshot::{Pin, RequestCompat, Table};

/// What is needed to finish a response.
#[derive(Clone, Debug)]
pub struct Responder {
    pub(super) pin: Pin,
    pub(super) place: Place,
    pub(super) grpc: bool,
    pub(super) head: Option<KeptHead>,
    /// The connection that the request came by; `None` for a request made in this process.
    pub(super) connection: Option<Arc<ConnectionFacts>>,
    pub(super) manner: Manner,
    pub(super) started: Instant,
}

/// Where a response comes from, as its headers may tell.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The upstream that was chosen.
    pub upstream: Option<&'a Upstream>,
    /// Response flags.
    pub flags: ResponseFlags,
    /// Response code details.
    pub details: &'a str,
    /// It is an answer of our own.
    pub made_here: bool,
}

impl Origin<'_> {
    /// A response of whom nothing is known.
    pub const UNKNOWN: Self = Self { upstream: None, flags: ResponseFlags::NONE, details: "", made_here: false };
}

/// A request's final head, for response headers that print something of it.
pub(super) type KeptHead = Arc<OnceLock<Request<()>>>;

/// Where the head of a request is to be kept, if a response header of its route prints something of it.
#[inline]
pub(super) fn place_for_head(table: &Table, decision: RouteDecision) -> Option<KeptHead> {
    table.routes.response_reads_request(decision).then(KeptHead::default)
}

/// Keeps the head of a request where there is a place for it. The first one kept stays.
pub(super) fn keep_head<B>(place: Option<&KeptHead>, request: &Request<B>) {
    if let Some(place) = place {
        place.get_or_init(|| {
            let mut head = Request::new(());
            *head.method_mut() = request.method().clone();
            *head.uri_mut() = request.uri().clone();
            *head.version_mut() = request.version();
            *head.headers_mut() = request.headers().clone();
            if let Some(cookie) = request.extensions().get::<MadeCookie>() {
                head.extensions_mut().insert(cookie.clone());
            }
            head
        });
    }
}

/// The connection of a request made in this process: there is none, but its version is known.
pub(super) const fn in_process(version: Version) -> ConnectionFacts {
    let protocol = match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2",
        _ => "",
    };
    ConnectionFacts { remote: None, local: None, protocol, tls: None, slots: None }
}

impl Responder {
    /// Of a request whose head is kept now if it is needed.
    #[cold]
    pub(super) fn keeping<B>(
        flight: &Flight,
        place: Place,
        grpc: bool,
        request: &Request<B>,
        connection: Option<&Arc<ConnectionFacts>>,
    ) -> Self {
        let head = flight.pin.table(place.table).and_then(|table| place_for_head(table, place.decision));
        keep_head(head.as_ref(), request);
        let (pin, connection) = (flight.pin.clone(), connection.cloned());
        Self { pin, place, grpc, head, connection, started: flight.started, manner: Manner::default() }
    }

    /// How long ago the request came, if its caller is told: it came by a connection of ours.
    #[must_use]
    pub fn service_time(&self, now: impl FnOnce() -> Instant) -> Option<Duration> {
        let told = self.connection.is_some() && !self.manner.is_silent();
        told.then(|| now().saturating_duration_since(self.started))
    }

    /// Where this mesh differs from Envoy on purpose.
    #[must_use]
    pub fn compat(&self) -> RequestCompat {
        self.pin.compat()
    }

    /// An answer in the manner that the request asked for; `is_timeout` says that the route's timeout or the last try's
    /// has passed.
    #[must_use]
    pub fn in_manner(&self, reply: LocalReply, is_timeout: bool) -> LocalReply {
        if self.manner == Manner::default() { reply } else { self.manner.apply(reply, is_timeout) }
    }

    /// Whether [`Self::finish`] would change nothing: so it is on most routes.
    #[must_use]
    pub fn leaves_response(&self) -> bool {
        self.pin.table(self.place.table).is_none_or(|table| table.routes.leaves_response(self.place.decision))
    }

    /// The route's changes to a response's headers.
    pub fn finish<B>(&self, response: &mut Response<B>, origin: &Origin<'_>) {
        let Some(table) = self.pin.table(self.place.table) else { return };
        if table.routes.leaves_response(self.place.decision) {
            return;
        }
        let none = Metadata::new();
        let head = self.head.as_ref().and_then(|head| head.get());
        let made_here = in_process(head.map_or(Version::HTTP_11, Request::version));
        let connection = self.connection.as_deref().unwrap_or(&made_here);
        let upstream = origin.upstream;
        let host = upstream.and_then(Upstream::endpoint);
        let cx = FormatContext {
            flags: origin.flags,
            details: origin.details,
            made_here: origin.made_here,
            attempts: upstream.map(Upstream::attempts),
            request: head.map(|head| RequestFacts::of(head, connection, &none)),
            upstream: host
                .map(|host| UpstreamFacts { host, metadata: upstream.and_then(Upstream::metadata).unwrap_or(&none) }),
            cluster_name: upstream.map_or("", Upstream::cluster),
            ..FormatContext::for_request(connection, &none)
        };
        table.routes.apply_response(self.place.decision, response, &cx);
        if let (Some(MadeCookie(cookie)), Some(_)) = (head.and_then(|head| head.extensions().get()), upstream) {
            response.headers_mut().append(SET_COOKIE, cookie.clone());
        }
    }

    /// Whether the caller speaks gRPC.
    #[must_use]
    pub const fn is_grpc(&self) -> bool {
        self.grpc
    }
}

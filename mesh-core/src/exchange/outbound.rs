//! A request that this process makes, up to its attempts: accepted, routed, filtered.
//!
//! Envoy's router filter as a sequence of values. What a step needs from configuration it reads through the
//! request's pin by number; nothing is looked up by name after the host.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request};

use super::attempt::{AttemptPlan, Filtered, millis};
use super::filters::{FilterExit, FilterOutcome};
use super::reserved::{self, Overrides};
pub use super::responder::Responder;
use super::responder::{KeptHead, in_process, keep_head, place_for_head};
use super::upgrade;
use crate::engine::facts::{ConnectionFacts, RequestFacts};
use crate::engine::filter::FilterInstance;
use crate::engine::headers::FormatContext;
use crate::engine::local_reply::LocalReply;
use crate::engine::random::Random;
use crate::engine::routing::{ClusterId, CompiledRoute, Decided, RouteDecision};
use crate::engine::timeout::{self, Timeouts};
use crate::resource::listener::HttpConnectionManager;
use crate::resource::metadata::Metadata;
use crate::resource::route::{FilterOverride, RoutingPriority};
use crate::snapshot::{HttpScope, Pin, Table, TableId};
use crate::state::Lane;

/// A request with one version of the configuration pinned to it.
#[derive(Debug)]
pub struct Accepted<B> {
    request: Request<B>,
    flight: Flight,
}

/// What stays the same through all steps of one request.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) pin: Pin,
    pub(super) lane: Lane,
    pub(super) random: Random,
    pub(super) started: Instant,
    /// What filters tell one another; `None` until one does.
    pub(super) dynamic_metadata: Option<Box<Metadata>>,
}

/// Where in the pinned snapshot a request's route is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) table: TableId,
    pub(super) decision: RouteDecision,
}

/// A request that a route forwards to a cluster.
#[derive(Debug)]
pub struct Routed<B> {
    pub(super) request: Request<B>,
    pub(super) flight: Flight,
    pub(super) place: Place,
    pub(super) filters: Option<Arc<[FilterInstance]>>,
    pub(super) cluster: ClusterId,
    pub(super) grpc: bool,
    pub(super) grpc_timeout: bool,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) overrides: Option<Box<Overrides>>,
    pub(super) head: Option<KeptHead>,
}

/// A request that is answered without an upstream.
#[derive(Debug)]
pub struct Answered {
    /// The answer.
    pub reply: LocalReply,
    /// Whether the caller speaks gRPC, and gets a trailers-only answer.
    pub grpc: bool,
    /// How to finish the response, when there is a route.
    pub responder: Option<Responder>,
}

impl Flight {
    pub(super) fn metadata(&self) -> &Metadata {
        or_none(&self.dynamic_metadata)
    }
}

pub(super) fn or_none(metadata: &Option<Box<Metadata>>) -> &Metadata {
    static NONE: Metadata = Metadata::new();
    metadata.as_deref().unwrap_or(&NONE)
}

impl<B> Accepted<B> {
    /// Takes a request on. `seed` must differ from request to request; `lane` by thread.
    #[inline]
    pub fn new(request: Request<B>, pin: Pin, lane: Lane, seed: u64, now: Instant) -> Self {
        let flight = Flight { pin, lane, random: Random::from_seed(seed), started: now, dynamic_metadata: None };
        Self { request, flight }
    }

    /// Finds the route for the request's host, port and path.
    ///
    /// # Errors
    /// The answer, when the request is not forwarded: no host, no route, a redirect, a direct response, a
    /// cluster that does not exist.
    #[inline]
    pub fn route(mut self) -> Result<Routed<B>, Box<Answered>> {
        let scanned = reserved::scan(self.request.headers());
        let grpc = scanned.grpc;
        let answered = |reply: LocalReply| Box::new(Answered { reply, grpc, responder: None });
        let Some(port) = authority(&self.request).map(port_of) else {
            return Err(answered(LocalReply::missing_host_header()));
        };
        let Some(scope) = best_scope(&self.flight.pin, &self.request, port) else {
            return Err(answered(LocalReply::no_route()));
        };
        if let Err(reply) = reserved::prepare_path(&mut self.request, scope.manager.path) {
            return Err(answered(*reply));
        }
        let overrides =
            if scanned.reserved { reserved::take(self.request.headers_mut(), &scope.manager) } else { None };
        let (table, filters) = (scope.table, scope.filters.clone());
        let idle_timeout = scope.manager.stream_idle_timeout;
        let asks = (scanned.upgrade || self.request.method() == Method::CONNECT) && upgrade::is_asked(&self.request);
        let upgrade = asks.then(|| Arc::clone(&scope.manager));
        let (place, cluster) = choose(&self.request, &mut self.flight, table, grpc, upgrade.as_deref())?;
        let head = head_of(&self.flight.pin, place);
        Ok(Routed {
            request: self.request,
            flight: self.flight,
            place,
            filters,
            cluster,
            grpc,
            grpc_timeout: scanned.grpc_timeout,
            idle_timeout,
            overrides,
            head,
        })
    }
}

/// Chooses the route of a request, and the cluster. `upgrade` is the connection manager whose leave is needed,
/// when the request asks for an upgrade.
#[inline]
pub(super) fn choose<B>(
    request: &Request<B>,
    flight: &mut Flight,
    table: TableId,
    grpc: bool,
    upgrade: Option<&HttpConnectionManager>,
) -> Result<(Place, ClusterId), Box<Answered>> {
    let answered = |reply: LocalReply, responder| Box::new(Answered { reply, grpc, responder });
    let random = flight.random.bits();
    let Some(compiled) = flight.pin.table(table) else { return Err(answered(LocalReply::no_route(), None)) };
    let facts = facts_of(request, flight.metadata());
    let decision = match compiled.routes.decide(&facts, random) {
        Ok(decision) => decision,
        Err(no_route) => return Err(answered(no_route.into_reply(&facts), None)),
    };
    let place = Place { table, decision };
    let responder = || {
        let head = place_for_head(compiled, decision);
        keep_head(head.as_ref(), request);
        Some(Responder { pin: flight.pin.clone(), place, grpc, head, connection: None })
    };
    if let Some(manager) = upgrade
        && !upgrade::is_allowed(request, &manager.upgrades, compiled.routes.route(decision).upgrades())
    {
        return Err(answered(LocalReply::upgrade_failed(), responder()));
    }
    let cluster = match compiled.routes.action(decision, &facts) {
        Decided::Forward(cluster) => cluster,
        Decided::ForwardByName(name) => flight.pin.cluster_by_name(name).map(|cluster| cluster.id()),
        Decided::Reply(reply) => return Err(answered(*reply, responder())),
        Decided::NonForwarding => None,
    };
    let Some(cluster) = cluster.filter(|id| flight.pin.cluster(*id).is_some()) else {
        let status = compiled.routes.route(decision).cluster_not_found_response_code();
        return Err(answered(LocalReply::cluster_not_found(status), responder()));
    };
    Ok((place, cluster))
}

impl<B> Routed<B> {
    /// The head and body as they are now.
    pub const fn request(&self) -> &Request<B> {
        &self.request
    }

    /// The route.
    pub fn route(&self) -> Option<&CompiledRoute> {
        Some(table(&self.flight.pin, self.place)?.routes.route(self.place.decision))
    }

    /// What the route says about a filter.
    pub fn filter_override(&self, name: &str) -> Option<&FilterOverride> {
        table(&self.flight.pin, self.place)?.routes.overrides(self.place.decision)?.effective(name)
    }

    /// What finishes the response of this request.
    pub fn responder(&self) -> Responder {
        Responder {
            pin: self.flight.pin.clone(),
            place: self.place,
            grpc: self.grpc,
            head: self.head.clone(),
            connection: None,
        }
    }

    /// The head that the request has now is the one that response headers print.
    pub(super) fn keep_head(&self) {
        keep_head(self.head.as_ref(), &self.request);
    }

    /// Whether any filter wants to see this request.
    pub fn has_filters(&self) -> bool {
        self.filters.is_some()
    }

    /// The filters are done: gives the request its final head (Envoy's router filter).
    ///
    /// The outcome is made in one step: every other would move the request once more.
    #[inline]
    pub(super) fn into_filtered(mut self, exit: Option<FilterExit>) -> FilterOutcome<B> {
        let ends = match self.finalize() {
            Ok(ends) => ends,
            Err(answered) => return FilterOutcome::Reply(answered, exit),
        };
        let plan = AttemptPlan {
            pin: self.flight.pin,
            lane: self.flight.lane,
            random: self.flight.random,
            place: self.place,
            cluster: self.cluster,
            priority: ends.priority,
            timeouts: ends.timeouts,
            started: self.flight.started,
            attempts: 0,
            tried: None,
            overrides: self.overrides,
            grpc: self.grpc,
            count_attempts: ends.count_attempts,
        };
        FilterOutcome::Forward(Filtered { request: self.request, plan }, exit)
    }

    fn finalize(&mut self) -> Result<Ends, Box<Answered>> {
        let mut ends = Ends::default();
        let pin = &self.flight.pin;
        if let Some(table) = table(pin, self.place) {
            let route = table.routes.route(self.place.decision);
            let overrides = self.overrides.as_deref();
            let per_try = overrides.and_then(|one| one.per_try_timeout).or_else(|| route.retry()?.per_try_timeout());
            let grpc_timeout = self.grpc_timeout.then(|| self.request.headers().get(timeout::GRPC_TIMEOUT)).flatten();
            ends.timeouts = route.timeouts().decide(grpc_timeout, self.grpc, per_try);
            if let Some(timeout) = overrides.and_then(|one| one.timeout) {
                ends.timeouts.response = (!timeout.is_zero()).then_some(timeout);
            }
            if route.timeouts().idle_timeout.is_none() {
                ends.timeouts.idle = self.idle_timeout;
            }
            ends.priority = route.priority();
            ends.count_attempts = table.routes.includes_attempt_count(self.place.decision);
            if !table.routes.leaves_request(self.place.decision) {
                let connection = in_process(self.request.version());
                let cx = FormatContext::for_request(&connection, or_none(&self.flight.dynamic_metadata));
                if let Err(failed) = table.routes.apply_request(self.place.decision, &mut self.request, &cx) {
                    keep_head(self.head.as_ref(), &self.request);
                    let (pin, head) = (pin.clone(), self.head.take());
                    let responder = Responder { pin, place: self.place, grpc: self.grpc, head, connection: None };
                    return Err(Box::new(Answered {
                        reply: failed.into_reply(),
                        grpc: self.grpc,
                        responder: Some(responder),
                    }));
                }
            }
        }
        send_deadline(&mut self.request, &ends.timeouts);
        keep_head(self.head.as_ref(), &self.request);
        Ok(ends)
    }
}

/// What the end of the filters settles for every attempt.
#[derive(Default)]
struct Ends {
    timeouts: Timeouts,
    priority: RoutingPriority,
    count_attempts: bool,
}

pub(super) fn table(pin: &Pin, place: Place) -> Option<&Arc<Table>> {
    pin.table(place.table)
}

pub(super) fn head_of(pin: &Pin, place: Place) -> Option<KeptHead> {
    place_for_head(table(pin, place)?, place.decision)
}

/// The `:authority` or `Host` of a request. An empty `Host` is a host that only `*` takes.
pub(super) fn authority<B>(request: &Request<B>) -> Option<&str> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.as_str());
    }
    request.headers().get(http::header::HOST)?.to_str().ok()
}

/// The port that a host names, else 80.
pub(super) fn port_of(authority: &str) -> u16 {
    // Read from the end: at most five digits behind the last colon. `[::1]` has colons but no port.
    let mut port = 0u32;
    let mut scale = 1u32;
    for byte in authority.bytes().rev().take(6) {
        match byte {
            b'0'..=b'9' if scale <= 10_000 => {
                port += u32::from(byte - b'0') * scale;
                scale *= 10;
            }
            b':' if scale > 1 => return u16::try_from(port).unwrap_or(80),
            _ => break,
        }
    }
    80
}

pub(super) fn facts_of<'a, B>(request: &'a Request<B>, dynamic_metadata: &'a Metadata) -> RequestFacts<'a> {
    RequestFacts {
        method: request.method(),
        scheme: request.uri().scheme_str().unwrap_or("http"),
        authority: authority(request).unwrap_or(""),
        path: request.uri().path_and_query().map_or("/", |path| path.as_str()),
        headers: request.headers(),
        connection: &IN_PROCESS,
        dynamic_metadata,
    }
}

/// The connection of a request made in this process.
static IN_PROCESS: ConnectionFacts = ConnectionFacts { remote: None, local: None, protocol: "", tls: None };

/// The connection manager that serves a port: the general one, unless only a more specific one knows the host.
fn best_scope<'a, B>(pin: &'a Pin, request: &Request<B>, port: u16) -> Option<&'a HttpScope> {
    if pin.has_api_listeners()
        && let Some(scope) = authority(request).and_then(|name| pin.api_listener(name))
    {
        return Some(scope);
    }
    let (declared, fallback) = pin.outbound(port);
    match declared {
        [] => fallback,
        [only] => Some(only),
        [first, ..] => {
            let host = authority(request).unwrap_or("");
            let knows =
                |scope: &&HttpScope| pin.table(scope.table).is_some_and(|table| table.routes.names_host_itself(host));
            Some(declared.iter().find(knows).unwrap_or(first))
        }
    }
}

/// Tells the upstream how long it has: the whole, or each try if that is shorter.
fn send_deadline<B>(request: &mut Request<B>, timeouts: &Timeouts) {
    let expected = match (timeouts.response, timeouts.per_try) {
        (Some(whole), Some(per_try)) => Some(whole.min(per_try)),
        (whole, per_try) => whole.or(per_try),
    };
    if let Some(expected) = expected {
        request.headers_mut().insert(timeout::EXPECTED_TIMEOUT, millis(expected));
    }
    if timeouts.from_grpc
        && let Some(whole) = timeouts.response
    {
        request.headers_mut().insert(timeout::GRPC_TIMEOUT, timeout::format_grpc_timeout(whole));
    }
}

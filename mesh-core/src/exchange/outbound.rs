//! A request that this process makes, up to its attempts: accepted, routed, filtered.
//!
//! Envoy's router filter as a sequence of values. What a step needs from configuration it reads through the
//! request's pin by number; nothing is looked up by name after the host.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Request};

use super::attempt::{AttemptPlan, Filtered, millis};
use super::downstream::{self, Departure};
use super::filters::{self, FilterExit, FilterOutcome};
use super::leg::{Leg, Passage};
pub use super::responder::Responder;
use super::responder::{KeptHead, in_process, keep_head, place_for_head};
use super::{reserved, upgrade};
use crate::engine::facts::{ConnectionFacts, RequestFacts};
use crate::engine::filter::{DynamicMetadata, FilterSet, RouteConfigs};
use crate::engine::hash::RequestHash;
use crate::engine::headers::FormatContext;
use crate::engine::local_reply::LocalReply;
use crate::engine::random::Random;
use crate::engine::routing::{ClusterId, CompiledRoute, Decided, RouteDecision};
use crate::engine::timeout::{self, Timeouts};
use crate::resource::listener::HttpConnectionManager;
use crate::resource::metadata::Metadata;
use crate::resource::route::RoutingPriority;
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
}

/// Where in the pinned snapshot a request's route is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) table: TableId,
    pub(super) decision: RouteDecision,
}

/// A request that a route forwards to a cluster, or that filters are to see before it is answered.
#[derive(Debug)]
pub struct Routed<B> {
    pub(super) leg: Leg<B>,
    /// [`ANSWERED`] when the route does not forward.
    pub(super) cluster: ClusterId,
    pub(super) grpc_timeout: bool,
    pub(super) idle_timeout: Option<Duration>,
}

/// The cluster of a request that is answered behind its filters.
const ANSWERED: ClusterId = ClusterId(u32::MAX);

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

/// A request without a cluster, and where its answer comes from: `None` when there is not even a place without a route.
pub(super) struct Unforwarded {
    answered: Box<Answered>,
    place: Option<Place>,
}

impl<B> Accepted<B> {
    /// Takes a request on. `seed` must differ from request to request; `lane` by thread.
    #[inline]
    pub fn new(request: Request<B>, pin: Pin, lane: Lane, seed: u64, now: Instant) -> Self {
        let flight = Flight { pin, lane, random: Random::from_seed(seed), started: now };
        Self { request, flight }
    }

    /// Finds the route for the request's host, port and path.
    ///
    /// # Errors
    /// The answer, when the request is not forwarded: no host, no route, a redirect, a direct response, a
    /// cluster that does not exist. If there are filters to pass, the latter ones are answered behind them.
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
        let overrides = if scanned.reserved || scope.manager.suppress_envoy_headers {
            reserved::take(self.request.headers_mut(), &scope.manager)
        } else {
            None
        };
        let (table, mut filters) = (scope.table, scope.filters.clone());
        let idle_timeout = scope.manager.stream_idle_timeout;
        let asks = (scanned.upgrade || self.request.method() == Method::CONNECT) && upgrade::is_asked(&self.request);
        let upgrade = asks.then(|| Arc::clone(&scope.manager));
        let (place, cluster) =
            lead(&self.request, &mut self.flight, table, scanned.grpc, upgrade.as_deref(), None, &mut filters)?;
        let head = head_of(&self.flight.pin, place);
        let (request, flight, grpc) = (self.request, self.flight, scanned.grpc);
        let leg = Leg { request, flight, place, grpc, head, filters, connection: None, overrides };
        Ok(Routed { leg, cluster, grpc_timeout: scanned.grpc_timeout, idle_timeout })
    }

    /// Finds the route of a request that a listener of ours took from a connection, after all that its connection manager
    /// does to requests; what it does to the response is noted in `departure`.
    ///
    /// # Errors
    /// As [`Self::route`], and the answer to HTTP/1.0 where that is not accepted.
    pub fn route_at(
        mut self,
        scope: &HttpScope,
        connection: &Arc<ConnectionFacts>,
        departure: &mut Departure,
    ) -> Result<Routed<B>, Box<Answered>> {
        let scanned = reserved::scan(self.request.headers());
        let answered = |reply: LocalReply| Box::new(Answered { reply, grpc: scanned.grpc, responder: None });
        if let Err(reply) = downstream::greet(&mut self.request, &scope.manager, connection) {
            return Err(answered(*reply));
        }
        if let Err(reply) = reserved::prepare_path(&mut self.request, scope.manager.path) {
            return Err(answered(*reply));
        }
        let routes = self.flight.pin.table(scope.table).map(|table| &table.routes);
        let arrived = downstream::arrive(&mut self.request, routes, connection, &mut self.flight.random, departure);
        let upgrade = upgrade::is_asked(&self.request).then(|| Arc::clone(&scope.manager));
        let (table, mut filters, facts) = (scope.table, scope.filters.clone(), Some(&arrived.connection));
        let (place, cluster) =
            lead(&self.request, &mut self.flight, table, scanned.grpc, upgrade.as_deref(), facts, &mut filters)?;
        let head = head_of(&self.flight.pin, place);
        let (request, flight, grpc) = (self.request, self.flight, scanned.grpc);
        let (connection, overrides) = (Some(arrived.connection), arrived.overrides);
        let leg = Leg { request, flight, place, grpc, head, filters, connection, overrides };
        let idle_timeout = scope.manager.stream_idle_timeout;
        Ok(Routed { leg, cluster, grpc_timeout: scanned.grpc_timeout, idle_timeout })
    }
}

/// The request's place and cluster. Filters that are not needed there go.
///
/// The request is borrowed: it is large, and a move of it is paid for by every request.
#[inline(always)]
fn lead<B>(
    request: &Request<B>,
    flight: &mut Flight,
    table: TableId,
    grpc: bool,
    upgrade: Option<&HttpConnectionManager>,
    connection: Option<&Arc<ConnectionFacts>>,
    filters: &mut Option<Arc<FilterSet>>,
) -> Result<(Place, ClusterId), Box<Answered>> {
    let chosen = choose(request, flight, table, grpc, upgrade, &DynamicMetadata::new(), connection);
    let (place, cluster) = match chosen {
        Ok(chosen) => chosen,
        Err(unforwarded) => (unforwarded.behind(filters.as_ref(), &flight.pin)?, ANSWERED),
    };
    if filters.as_ref().is_some_and(|set| !filters::needed(set, &flight.pin, place)) {
        *filters = None;
    }
    Ok((place, cluster))
}

impl Unforwarded {
    /// The place of a request that filters are to see before it is answered.
    #[cold]
    fn behind(self, filters: Option<&Arc<FilterSet>>, pin: &Pin) -> Result<Place, Box<Answered>> {
        match (self.place, filters) {
            (Some(place), Some(filters)) if filters::needed(filters, pin, place) => Ok(place),
            _ => Err(self.answered),
        }
    }
}

/// Chooses the route of a request, and the cluster. `upgrade` is the connection manager whose leave is needed,
/// when the request asks for an upgrade.
#[inline(never)]
fn choose<B>(
    request: &Request<B>,
    flight: &mut Flight,
    table: TableId,
    grpc: bool,
    upgrade: Option<&HttpConnectionManager>,
    metadata: &DynamicMetadata,
    connection: Option<&Arc<ConnectionFacts>>,
) -> Result<(Place, ClusterId), Unforwarded> {
    let answered = |reply: LocalReply, responder, place| Unforwarded {
        answered: Box::new(Answered { reply, grpc, responder }),
        place,
    };
    let random = flight.random.bits();
    let Some(compiled) = flight.pin.table(table) else { return Err(answered(LocalReply::no_route(), None, None)) };
    let facts = facts_of(request, metadata.all(), connection);
    let decision = match compiled.routes.decide(&facts, random) {
        Ok(decision) => decision,
        Err(no_route) => {
            let place = Place { table, decision: compiled.routes.no_route() };
            return Err(answered(no_route.into_reply(&facts), None, Some(place)));
        }
    };
    let place = Place { table, decision };
    if let Some(manager) = upgrade
        && !upgrade::is_allowed(request, &manager.upgrades, compiled.routes.route(decision).upgrades())
    {
        let responder = Responder::keeping(flight, place, grpc, request, connection);
        return Err(answered(LocalReply::upgrade_failed(), Some(responder), None));
    }
    match forward(&flight.pin, compiled, decision, &facts) {
        Ok(cluster) => Ok((place, cluster)),
        Err(reply) => {
            let responder = Responder::keeping(flight, place, grpc, request, connection);
            Err(answered(*reply, Some(responder), Some(place)))
        }
    }
}

/// The cluster that a route forwards to, or what it answers.
#[inline]
fn forward(
    pin: &Pin,
    compiled: &Table,
    decision: RouteDecision,
    facts: &RequestFacts<'_>,
) -> Result<ClusterId, Box<LocalReply>> {
    let cluster = match compiled.routes.action(decision, facts) {
        Decided::Forward(cluster) => cluster,
        Decided::ForwardByName(name) => pin.cluster_by_name(name).map(|cluster| cluster.id()),
        Decided::Reply(reply) => return Err(reply),
        Decided::NonForwarding => None,
    };
    cluster.filter(|id| pin.cluster(*id).is_some()).ok_or_else(|| {
        let status = compiled.routes.route(decision).cluster_not_found_response_code();
        Box::new(LocalReply::cluster_not_found(status))
    })
}

impl<B> Routed<B> {
    /// The head and body as they are now.
    pub const fn request(&self) -> &Request<B> {
        &self.leg.request
    }

    /// The route.
    pub fn route(&self) -> Option<&CompiledRoute> {
        Some(table(&self.leg.flight.pin, self.leg.place)?.routes.route(self.leg.place.decision))
    }

    /// What the route and the levels above it say to a filter.
    pub fn route_configs(&self, name: &str) -> RouteConfigs<'_> {
        let overrides =
            table(&self.leg.flight.pin, self.leg.place).and_then(|one| one.routes.overrides(self.leg.place.decision));
        overrides.map_or_else(RouteConfigs::default, |one| one.of(name))
    }

    /// What finishes the response of this request.
    pub fn responder(&self) -> Responder {
        self.leg.responder()
    }

    /// Whether any filter wants to see this request.
    pub const fn has_filters(&self) -> bool {
        self.leg.filters.is_some()
    }

    /// The same request with another body.
    pub fn map_body<C>(self, map: impl FnOnce(B) -> C) -> Routed<C> {
        Routed {
            leg: self.leg.map_body(map),
            cluster: self.cluster,
            grpc_timeout: self.grpc_timeout,
            idle_timeout: self.idle_timeout,
        }
    }

    /// Runs the filters of the route's listener.
    #[inline]
    pub fn filter(mut self, now: Instant) -> FilterOutcome<Self> {
        match self.leg.filters.take() {
            None => self.into_filtered(None),
            Some(set) => filters::start(self, set, now),
        }
    }

    /// The filters are done: gives the request its final head (Envoy's router filter).
    ///
    /// The outcome is made in one step: every other would move the request once more.
    #[inline(never)]
    fn into_filtered(mut self, exit: Option<FilterExit>) -> FilterOutcome<Self> {
        let metadata = exit.as_ref().map(FilterExit::metadata);
        let ends = match self.finalize(metadata) {
            Ok(ends) => ends,
            Err(answered) => return FilterOutcome::Reply(answered, exit),
        };
        let plan = AttemptPlan {
            pin: self.leg.flight.pin,
            lane: self.leg.flight.lane,
            random: self.leg.flight.random,
            place: self.leg.place,
            cluster: self.cluster,
            priority: ends.priority,
            timeouts: ends.timeouts,
            started: self.leg.flight.started,
            attempts: 0,
            tried: None,
            overrides: self.leg.overrides,
            grpc: self.leg.grpc,
            count_attempts: ends.count_attempts,
            hash: ends.hash,
        };
        FilterOutcome::Forward(Filtered { request: self.leg.request, plan }, exit)
    }

    fn finalize(&mut self, metadata: Option<&DynamicMetadata>) -> Result<Ends, Box<Answered>> {
        let mut ends = Ends::default();
        let leg = &mut self.leg;
        let pin = &leg.flight.pin;
        if let Some(table) = table(pin, leg.place) {
            let route = table.routes.route(leg.place.decision);
            let per_try = route.retry().and_then(|retry| retry.per_try_timeout());
            let grpc_timeout = self.grpc_timeout.then(|| leg.request.headers().get(timeout::GRPC_TIMEOUT)).flatten();
            ends.timeouts = route.timeouts().decide(grpc_timeout, leg.grpc, per_try);
            if ends.timeouts.per_try.is_some() {
                ends.timeouts.hedge = route.hedges();
            }
            if let Some(overrides) = &mut leg.overrides {
                overrides.settle(route, &mut ends.timeouts);
            }
            if route.timeouts().idle_timeout.is_none() {
                ends.timeouts.idle = self.idle_timeout;
            }
            ends.priority = route.priority();
            ends.hashes = !route.hash_policy().is_empty();
            ends.count_attempts = table.routes.includes_attempt_count(leg.place.decision);
            if !table.routes.leaves_request(leg.place.decision) {
                let none = Metadata::new();
                let made_here = in_process(leg.request.version());
                let connection = leg.connection.as_deref().unwrap_or(&made_here);
                let cx = FormatContext::for_request(connection, metadata.map_or(&none, DynamicMetadata::all));
                if let Err(failed) = table.routes.apply_request(leg.place.decision, &mut leg.request, &cx) {
                    keep_head(leg.head.as_ref(), &leg.request);
                    let responder = leg.responder();
                    return Err(Box::new(Answered {
                        reply: failed.into_reply(),
                        grpc: leg.grpc,
                        responder: Some(responder),
                    }));
                }
                if leg.is_silent() {
                    forget_original(leg.request.headers_mut());
                }
            }
        }
        if ends.timeouts.stream_from_grpc
            && let Some(stream) = ends.timeouts.stream
        {
            leg.request.headers_mut().insert(timeout::GRPC_TIMEOUT, timeout::format_grpc_timeout(stream));
        }
        let silent = leg.is_silent();
        send_deadline(leg.request.headers_mut(), &ends.timeouts, ends.timeouts.response, silent);
        if ends.hashes {
            ends.hash = leg.hash(self.cluster);
        }
        keep_head(leg.head.as_ref(), &leg.request);
        Ok(ends)
    }
}

impl<B> Passage for Routed<B> {
    type Body = B;
    type Next = Filtered<B>;

    fn leg(&mut self) -> &mut Leg<B> {
        &mut self.leg
    }

    fn choose_anew(&mut self, metadata: &DynamicMetadata) -> Result<(), Box<Answered>> {
        let leg = &mut self.leg;
        let chosen =
            choose(&leg.request, &mut leg.flight, leg.place.table, leg.grpc, None, metadata, leg.connection.as_ref());
        (leg.place, self.cluster) = match chosen {
            Ok(chosen) => chosen,
            Err(Unforwarded { place: Some(place), .. }) => (place, ANSWERED),
            Err(unforwarded) => return Err(unforwarded.answered),
        };
        leg.head = head_of(&leg.flight.pin, leg.place);
        Ok(())
    }

    fn onward(mut self, exit: Option<FilterExit>) -> FilterOutcome<Self> {
        let leg = &self.leg;
        if self.cluster == ANSWERED
            && let Some(compiled) = table(&leg.flight.pin, leg.place)
        {
            let none = DynamicMetadata::new();
            let metadata = exit.as_ref().map_or(&none, FilterExit::metadata);
            let facts = facts_of(&leg.request, metadata.all(), leg.connection.as_ref());
            match forward(&leg.flight.pin, compiled, leg.place.decision, &facts) {
                Ok(cluster) => self.cluster = cluster,
                Err(reply) => {
                    keep_head(leg.head.as_ref(), &leg.request);
                    let responder = Some(leg.responder());
                    let answered = Answered { reply: *reply, grpc: leg.grpc, responder };
                    return FilterOutcome::Reply(Box::new(answered), exit);
                }
            }
        }
        self.into_filtered(exit)
    }
}

/// What the end of the filters settles for every attempt.
#[derive(Default)]
struct Ends {
    timeouts: Timeouts,
    priority: RoutingPriority,
    count_attempts: bool,
    hashes: bool,
    hash: RequestHash,
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

#[inline(always)]
pub(super) fn facts_of<'a, B>(
    request: &'a Request<B>,
    dynamic_metadata: &'a Metadata,
    connection: Option<&'a Arc<ConnectionFacts>>,
) -> RequestFacts<'a> {
    let scheme = match connection {
        None => request.uri().scheme_str().unwrap_or("http"),
        Some(_) => downstream::scheme(request.headers()),
    };
    RequestFacts {
        method: request.method(),
        scheme,
        authority: authority(request).unwrap_or(""),
        path: request.uri().path_and_query().map_or("/", |path| path.as_str()),
        headers: request.headers(),
        connection: connection.map_or(&IN_PROCESS, |connection| connection),
        dynamic_metadata,
    }
}

/// The connection of a request made in this process.
/// The connection of a request that came by none.
pub(super) static IN_PROCESS: ConnectionFacts =
    ConnectionFacts { remote: None, local: None, protocol: "", tls: None, slots: None };

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

/// Tells the upstream how long it has of the time that is `left`.
#[inline]
pub(super) fn send_deadline(headers: &mut HeaderMap, timeouts: &Timeouts, left: Option<Duration>, silent: bool) {
    let Some(expected) = timeouts.expected(left) else { return };
    if !silent {
        headers.insert(timeout::EXPECTED_TIMEOUT, millis(expected));
    }
    if timeouts.from_grpc {
        headers.insert(timeout::GRPC_TIMEOUT, timeout::format_grpc_timeout(expected));
    }
}

/// Takes off what a rewrite says of the path and the host before it.
#[cold]
fn forget_original(headers: &mut HeaderMap) {
    headers.remove("x-envoy-original-path");
    headers.remove("x-envoy-original-host");
}

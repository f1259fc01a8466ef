//! A request that this process makes: accepted, routed, filtered, attempted, picked, done.
//!
//! Envoy's router filter as a sequence of values. What a step needs from configuration it reads through the
//! request's pin by number; nothing is looked up by name after the host.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, Request, request};
use smallvec::SmallVec;

use super::Upstream;
use super::filters::{FilterExit, FilterOutcome};
use super::reserved::{self, Overrides};
pub use super::responder::Responder;
use super::responder::{KeptHead, in_process, keep_head, place_for_head};
use super::upgrade;
use crate::engine::facts::{self, ConnectionFacts, RequestFacts};
use crate::engine::filter::FilterInstance;
use crate::engine::headers::FormatContext;
use crate::engine::load_balancing::{Host, HostIndex};
use crate::engine::local_reply::LocalReply;
use crate::engine::random::Random;
use crate::engine::retry::{Outcome, Reset, Retry};
use crate::engine::routing::{ClusterId, CompiledRoute, Decided, RouteDecision};
use crate::engine::timeout::{self, Timeouts};
use crate::resource::endpoint::Address;
use crate::resource::listener::HttpConnectionManager;
use crate::resource::metadata::Metadata;
use crate::resource::route::{FilterOverride, RoutingPriority};
use crate::snapshot::{Cluster, HttpScope, Pin, Table, TableId};
use crate::state::{Admission, InFlight, Lane, Total};

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

/// A request that passed the filters and has its final head.
#[derive(Debug)]
pub struct Filtered<B> {
    request: Request<B>,
    plan: AttemptPlan,
}

/// What every attempt of one request has in common.
#[derive(Debug)]
pub struct AttemptPlan {
    pin: Pin,
    lane: Lane,
    random: Random,
    place: Place,
    cluster: ClusterId,
    priority: RoutingPriority,
    timeouts: Timeouts,
    started: Instant,
    attempts: u32,
    tried: Option<Arc<Tried>>,
    overrides: Option<Box<Overrides>>,
    grpc: bool,
    count_attempts: bool,
}

/// One try.
#[derive(Debug)]
pub struct Attempt<B> {
    request: Request<B>,
    pin: Pin,
    lane: Lane,
    random: Random,
    place: Place,
    cluster: ClusterId,
    priority: RoutingPriority,
    number: u32,
    grpc: bool,
    tried: Option<Arc<Tried>>,
    avoid: u32,
}

/// A try with its host.
#[derive(Debug)]
pub struct Picked<B> {
    request: Request<B>,
    target: Target,
}

/// A try that the cluster's limits admit: ready to be sent.
#[derive(Debug)]
pub struct Sendable<B> {
    /// The request.
    pub request: Request<B>,
    /// Where to.
    pub target: Target,
}

/// Where a try goes.
#[derive(Clone, Debug)]
pub struct Target {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    host: TargetHost,
    /// The routing priority.
    pub priority: RoutingPriority,
    /// The caller's lane.
    pub lane: Lane,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// Whether the caller speaks gRPC: then the call ends with its `grpc-status`.
    pub grpc: bool,
}

#[derive(Clone, Debug)]
enum TargetHost {
    Picked(HostIndex),
    Original(Box<Host>),
}

/// What a try counts as under way; kept until its response has ended.
#[derive(Debug)]
pub struct Load {
    /// At the endpoint.
    pub in_flight: InFlight,
    /// At the cluster (`max_requests`).
    pub admission: Admission,
}

/// A try for which there is no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpicked {
    /// The cluster is gone or was never there (`NC`).
    NoCluster,
    /// No host can be picked (`UH`).
    NoHealthyHost,
    /// The cluster's limits are reached (`UO`).
    Overflow,
}

impl Flight {
    pub(super) fn metadata(&self) -> &Metadata {
        or_none(&self.dynamic_metadata)
    }
}

fn or_none(metadata: &Option<Box<Metadata>>) -> &Metadata {
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

impl<B> Filtered<B> {
    /// The request's head and body.
    pub const fn request(&self) -> &Request<B> {
        &self.request
    }

    /// What its attempts have in common.
    pub const fn plan(&self) -> &AttemptPlan {
        &self.plan
    }

    /// The same request with another body.
    pub fn map_body<C>(self, map: impl FnOnce(B) -> C) -> Filtered<C> {
        Filtered { request: self.request.map(map), plan: self.plan }
    }

    /// Takes head, body and plan apart, for a driver that makes attempts.
    #[inline]
    pub fn into_parts(self) -> (request::Parts, B, AttemptPlan) {
        let (head, body) = self.request.into_parts();
        (head, body, self.plan)
    }
}

impl AttemptPlan {
    /// The retry policy in force: the route's, unless the request brought its own.
    #[must_use]
    pub fn retry(&self) -> Option<&Retry> {
        if let Some(retry) = self.overrides.as_ref().and_then(|one| one.retry.as_ref()) {
            return Some(retry);
        }
        table(&self.pin, self.place)?.routes.route(self.place.decision).retry().map(|retry| &**retry)
    }

    /// The limits in force.
    #[must_use]
    pub const fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// When the request was accepted.
    #[must_use]
    pub const fn started(&self) -> Instant {
        self.started
    }

    /// Whether the caller speaks gRPC.
    #[must_use]
    pub const fn is_grpc(&self) -> bool {
        self.grpc
    }

    /// Bytes of a request body that may be kept for a retry.
    #[must_use]
    pub fn body_limit(&self) -> Option<u64> {
        table(&self.pin, self.place)?.routes.route(self.place.decision).request_body_buffer_limit()
    }

    /// The request's randomness.
    pub const fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// How many attempts there were.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Asks the cluster's limits for one more retry. The admission is kept until that retry has ended.
    #[must_use]
    pub fn admit_retry(&self) -> Option<Admission> {
        let cluster = self.pin.cluster(self.cluster)?;
        let admission = cluster.breaker().admit_retry(self.priority, self.lane)?;
        cluster.state().count(Total::Retry, self.lane);
        Some(admission)
    }

    /// The next try with this request; `remaining` is what is left of the whole, on retries.
    #[inline]
    pub fn attempt<B>(&mut self, mut request: Request<B>, remaining: Option<Duration>) -> Attempt<B> {
        self.attempts += 1;
        if self.count_attempts {
            request.headers_mut().insert(reserved::ATTEMPT_COUNT, reserved::count(self.attempts));
        }
        if self.attempts > 1
            && let Some(remaining) = remaining
        {
            let expected = self.timeouts.per_try.map_or(remaining, |per_try| per_try.min(remaining));
            request.headers_mut().insert(timeout::EXPECTED_TIMEOUT, millis(expected));
        }
        Attempt {
            request,
            pin: self.pin.clone(),
            lane: self.lane,
            random: self.random.fork(),
            place: self.place,
            cluster: self.cluster,
            priority: self.priority,
            number: self.attempts,
            grpc: self.grpc,
            tried: self.tried.clone(),
            avoid: if self.attempts > 1 { self.retry().map_or(0, Retry::host_attempts) } else { 0 },
        }
    }

    /// Says that there may be another attempt, which may have to avoid the hosts of earlier ones.
    pub fn may_retry(&mut self) {
        if self.tried.is_none() && self.retry().is_some_and(|retry| retry.host_attempts() > 0) {
            self.tried = Some(Arc::default());
        }
    }
}

/// The hosts that the attempts of one request went to: written where a host is picked, which may be deep
/// inside of an attempt that is given up.
#[derive(Debug, Default)]
struct Tried(Mutex<SmallVec<[HostIndex; 4]>>);

impl Tried {
    fn hosts(&self) -> MutexGuard<'_, SmallVec<[HostIndex; 4]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Attempt<B> {
    /// The request's head and body.
    pub const fn request(&self) -> &Request<B> {
        &self.request
    }

    /// Picks a host.
    ///
    /// # Errors
    /// Why there is none.
    #[inline]
    pub fn pick(mut self) -> Result<Picked<B>, Unpicked> {
        let cluster = self.pin.cluster(self.cluster).ok_or(Unpicked::NoCluster)?;
        cluster.state().count(Total::Request, self.lane);
        let host = if let Some(host) = original(cluster, &self.request) {
            TargetHost::Original(Box::new(host))
        } else {
            let balancer = cluster.balancer();
            let picked = match self.avoid {
                0 => balancer.pick(&mut self.random, self.lane),
                most => {
                    let tried = self.tried.as_ref().map(|tried| tried.hosts().clone()).unwrap_or_default();
                    balancer.pick_avoiding(&tried, most, &mut self.random, self.lane)
                }
            };
            let (index, host) =
                picked.and_then(|index| Some((index, balancer.host(index)?))).ok_or(Unpicked::NoHealthyHost)?;
            if let Some(table) = table(&self.pin, self.place) {
                table.routes.apply_upstream_host(self.place.decision, &mut self.request, &host.endpoint.hostname);
            }
            if let Some(tried) = &self.tried {
                tried.hosts().push(index);
            }
            TargetHost::Picked(index)
        };
        let target = Target {
            cluster: Arc::clone(cluster),
            host,
            priority: self.priority,
            lane: self.lane,
            attempt: self.number,
            grpc: self.grpc,
        };
        Ok(Picked { request: self.request, target })
    }
}

impl<B> Picked<B> {
    /// Picks a host of `cluster` for a request that has no route.
    ///
    /// # Errors
    /// Why there is none.
    pub fn of(request: Request<B>, cluster: &Arc<Cluster>, lane: Lane, random: &mut Random) -> Result<Self, Unpicked> {
        cluster.state().count(Total::Request, lane);
        let host = match original(cluster, &request) {
            Some(host) => TargetHost::Original(Box::new(host)),
            None => TargetHost::Picked(cluster.balancer().pick(random, lane).ok_or(Unpicked::NoHealthyHost)?),
        };
        let grpc = facts::is_grpc(request.headers());
        let (cluster, priority) = (Arc::clone(cluster), RoutingPriority::Default);
        Ok(Self { request, target: Target { cluster, host, priority, lane, attempt: 1, grpc } })
    }

    /// The request.
    pub const fn request(&self) -> &Request<B> {
        &self.request
    }

    /// Where it goes.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Takes a place among the cluster's limits.
    ///
    /// # Errors
    /// [`Unpicked::Overflow`] when they are reached.
    #[inline]
    pub fn admit(self) -> Result<(Sendable<B>, Load), Unpicked> {
        let host = self.target.host().ok_or(Unpicked::NoHealthyHost)?;
        let admission = self
            .target
            .cluster
            .breaker()
            .admit_request(self.target.priority, self.target.lane)
            .ok_or(Unpicked::Overflow)?;
        let in_flight = host.state.begin();
        Ok((Sendable { request: self.request, target: self.target }, Load { in_flight, admission }))
    }
}

impl Target {
    /// The host.
    ///
    /// Never absent for a target that [`Attempt::pick`] made.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        match &self.host {
            TargetHost::Picked(index) => self.cluster.balancer().host(*index),
            TargetHost::Original(host) => Some(host),
        }
    }

    /// Counts how the try ended, at the endpoint and at the cluster.
    pub fn report(&self, outcome: &Outcome<'_>) {
        let (total, failed) = match outcome {
            Outcome::Response { status, .. } if status.is_server_error() => (Total::Response5xx, true),
            Outcome::Response { .. } => (Total::ResponseOther, false),
            Outcome::Reset(Reset::Overflow) => return,
            Outcome::Reset(_) => (Total::Failure, true),
            Outcome::TryTimeout => (Total::Timeout, true),
        };
        self.cluster.state().count(total, self.lane);
        if failed && let Some(host) = self.host() {
            host.state.count_error();
        }
    }

    /// Counts how a gRPC call ended: the `grpc-status` of its trailers (or of its headers, when there are no
    /// others). `None`: it ended without one.
    pub fn report_grpc(&self, status: Option<&HeaderValue>) {
        let ok = status.is_some_and(|status| status == "0");
        self.cluster.state().count(if ok { Total::GrpcOk } else { Total::GrpcFailed }, self.lane);
    }

    /// What the caller is told of it.
    #[must_use]
    pub fn upstream(&self) -> Upstream {
        let (host, destination) = match &self.host {
            TargetHost::Picked(index) => (Some(*index), None),
            TargetHost::Original(host) => (None, Some(host.endpoint.address.clone())),
        };
        Upstream { cluster: Arc::clone(&self.cluster), host, destination, attempts: self.attempt }
    }
}

impl fmt::Display for Unpicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCluster => "the cluster does not exist",
            Self::NoHealthyHost => "no host can be picked",
            Self::Overflow => "the cluster's limits are reached",
        })
    }
}

fn table(pin: &Pin, place: Place) -> Option<&Arc<Table>> {
    pin.table(place.table)
}

pub(super) fn head_of(pin: &Pin, place: Place) -> Option<KeptHead> {
    place_for_head(table(pin, place)?, place.decision)
}

/// The `:authority` or `Host` of a request. An empty `Host` is a host that only `*` takes.
fn authority<B>(request: &Request<B>) -> Option<&str> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.as_str());
    }
    request.headers().get(http::header::HOST)?.to_str().ok()
}

/// The port that a host names, else 80.
fn port_of(authority: &str) -> u16 {
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

fn facts_of<'a, B>(request: &'a Request<B>, dynamic_metadata: &'a Metadata) -> RequestFacts<'a> {
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

fn original<B>(cluster: &Cluster, request: &Request<B>) -> Option<Host> {
    if !matches!(cluster.config().discovery, crate::resource::cluster::Discovery::OriginalDst) {
        return None;
    }
    let authority = authority(request)?;
    let port = port_of(authority);
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, rest)| if rest.parse::<u16>().is_ok() { host } else { authority });
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse();
    let address = match ip {
        Ok(ip) => Address::Socket(std::net::SocketAddr::new(ip, port)),
        Err(_) => Address::Dns { host: host.into(), port },
    };
    cluster.original_destination(&address)
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

fn millis(duration: Duration) -> HeaderValue {
    HeaderValue::from(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

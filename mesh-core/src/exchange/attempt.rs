//! The attempts of an outbound request: the plan that they share, the host of each, its place among the limits.
//!
//! What a try needs from configuration it reads through the request's pin by number; nothing is looked up by name.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Request, request};
use smallvec::SmallVec;

use super::outbound::{Place, authority, port_of, send_deadline, table};
use super::overrides::Overrides;
use super::{Upstream, reserved};
use crate::engine::facts;
use crate::engine::hash::RequestHash;
use crate::engine::load_balancing::{Host, HostIndex, PickFor};
use crate::engine::outlier_detection::{Monitor, Observation};
use crate::engine::random::Random;
use crate::engine::retry::{Outcome, Reset, Retry};
use crate::engine::routing::ClusterId;
use crate::engine::timeout::Timeouts;
use crate::resource::endpoint::Address;
use crate::resource::route::{FractionalPercent, RoutingPriority};
use crate::snapshot::{Cluster, Pin};
use crate::state::{Admission, InFlight, Lane, Total};

/// A request that passed the filters and has its final head.
#[derive(Debug)]
pub struct Filtered<B> {
    pub(super) request: Request<B>,
    pub(super) plan: AttemptPlan,
}

/// What every attempt of one request has in common.
#[derive(Debug)]
pub struct AttemptPlan {
    pub(super) pin: Pin,
    pub(super) lane: Lane,
    pub(super) random: Random,
    pub(super) place: Place,
    pub(super) cluster: ClusterId,
    pub(super) priority: RoutingPriority,
    pub(super) timeouts: Timeouts,
    pub(super) started: Instant,
    pub(super) attempts: u32,
    pub(super) tried: Option<Arc<Tried>>,
    pub(super) overrides: Option<Box<Overrides>>,
    pub(super) grpc: bool,
    pub(super) count_attempts: bool,
    pub(super) hash: RequestHash,
}

/// What was before a try that is not the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    /// How long ago the request was accepted.
    pub elapsed: Duration,
    /// Whether the try before took too long.
    pub timed_out: bool,
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
    hash: RequestHash,
    started: Instant,
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
    /// The control plane has a part of the requests dropped, and this is one (`DO`).
    DropOverload,
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
        if let Some(retry) = self.overrides.as_ref().and_then(|one| one.retry()) {
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

    /// The first try with this request, or another one after `before`.
    #[inline]
    pub fn attempt<B>(&mut self, mut request: Request<B>, before: Option<Before>) -> Attempt<B> {
        self.attempts += 1;
        if self.count_attempts {
            request.headers_mut().insert(reserved::ATTEMPT_COUNT, reserved::count(self.attempts));
        }
        if let Some(before) = before {
            self.tell_again(request.headers_mut(), before);
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
            hash: self.hash,
            started: self.started,
            avoid: if self.attempts > 1 { self.retry().map_or(0, Retry::host_attempts) } else { 0 },
        }
    }

    /// Tells the upstream what is different about another try.
    #[cold]
    fn tell_again(&self, headers: &mut HeaderMap, before: Before) {
        let silent = self.overrides.as_ref().is_some_and(|one| one.manner().is_silent());
        let left = self.timeouts.response.map(|whole| whole.saturating_sub(before.elapsed));
        send_deadline(headers, &self.timeouts, left, silent);
        if table(&self.pin, self.place).is_some_and(|one| one.routes.includes_is_timeout_retry(self.place.decision)) {
            let value = if before.timed_out { "true" } else { "false" };
            headers.insert(reserved::IS_TIMEOUT_RETRY, HeaderValue::from_static(value));
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
pub(super) struct Tried(Mutex<SmallVec<[HostIndex; 4]>>);

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
        // A retry belongs to a request that was let through.
        if let Some(share) = cluster.drop_overload()
            && self.number == 1
            && covers(share, self.random.bits())
        {
            return Err(Unpicked::DropOverload);
        }
        cluster.state().count(Total::Request, self.lane);
        let host = if let Some(host) = original(cluster, &self.request) {
            TargetHost::Original(Box::new(host))
        } else {
            let balancer = cluster.balancer();
            let of = PickFor { hash: self.hash, now: Some(self.started) };
            let picked = match self.avoid {
                0 => balancer.pick(of, &mut self.random, self.lane),
                most => {
                    let tried = self.tried.as_ref().map(|tried| tried.hosts().clone()).unwrap_or_default();
                    let retry =
                        table(&self.pin, self.place).and_then(|table| table.routes.route(self.place.decision).retry());
                    let wanted = |index, host: &Host| {
                        retry.is_none_or(|retry| retry.wants(&host.endpoint, tried.contains(&index)))
                    };
                    balancer.pick_wanted(of, most, wanted, &mut self.random, self.lane)
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
            None => TargetHost::Picked(
                cluster.balancer().pick(PickFor::default(), random, lane).ok_or(Unpicked::NoHealthyHost)?,
            ),
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
        if let Some(monitor) = self.cluster.monitor()
            && let Some(observation) = Observation::of(outcome, self.grpc)
        {
            self.observe(monitor, observation);
        }
    }

    /// Counts that the try was given up because its time was over. A host that was not `reached` by then is not to blame:
    /// the try waited in a queue of our own.
    pub fn report_timeout(&self, reached: bool) {
        if reached {
            self.report(&Outcome::TryTimeout);
        } else {
            self.cluster.state().count(Total::Timeout, self.lane);
        }
    }

    /// Counts that the host could be reached: there is a connection for this try.
    #[inline]
    pub fn report_connected(&self) {
        if let Some(monitor) = self.cluster.monitor() {
            self.observe(monitor, Observation::Connected);
        }
    }

    fn observe(&self, monitor: &Monitor, observation: Observation) {
        if let TargetHost::Picked(_) = self.host
            && let Some(host) = self.host()
        {
            monitor.observe(self.cluster.state(), &host.state, observation);
        }
    }

    /// Counts how a gRPC call ended: the `grpc-status` of its trailers (or of its headers, when there are no
    /// others). `None`: it ended without one.
    pub fn report_grpc(&self, status: Option<&HeaderValue>) {
        let ok = status.is_some_and(|status| status == "0");
        self.cluster.state().count(if ok { Total::GrpcOk } else { Total::GrpcFailed }, self.lane);
    }

    /// What the caller is told of it once the head of the response is there, and the target itself if the rest of the
    /// response will be reported.
    #[must_use]
    pub fn answered(self) -> (Upstream, Option<Self>) {
        if self.grpc {
            return (self.upstream(), Some(self));
        }
        // Given up rather than cloned: all requests of a cluster count its owners in one place.
        let (host, destination) = match self.host {
            TargetHost::Picked(index) => (Some(index), None),
            TargetHost::Original(host) => (None, Some(host.endpoint.address.clone())),
        };
        (Upstream { cluster: self.cluster, host, destination, attempts: self.attempt }, None)
    }

    fn upstream(&self) -> Upstream {
        let (host, destination) = match &self.host {
            TargetHost::Picked(index) => (Some(*index), None),
            TargetHost::Original(host) => (None, Some(host.endpoint.address.clone())),
        };
        Upstream { cluster: Arc::clone(&self.cluster), host, destination, attempts: self.attempt }
    }
}

/// Whether a share of requests takes the one with this random number in.
fn covers(share: FractionalPercent, random: u64) -> bool {
    random % u64::from(share.denominator.max(1)) < u64::from(share.numerator)
}

impl fmt::Display for Unpicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCluster => "the cluster does not exist",
            Self::NoHealthyHost => "no host can be picked",
            Self::Overflow => "the cluster's limits are reached",
            Self::DropOverload => "a part of the requests is dropped",
        })
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

/// A limit in milliseconds; never nothing at all, which would mean no limit.
pub(super) fn millis(duration: Duration) -> HeaderValue {
    HeaderValue::from(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1))
}

//! Tries a request again when its policy says so: other hosts, back-off, per-try limits, a replayed body.
//!
//! Whether and when is `mesh_core::engine::retry`'s decision; this room keeps the request for another try,
//! waits, and never tries again after response headers went to the caller, after the caller gave up, or when
//! the request can no longer be sent from its beginning.

mod future;
mod race;
mod replay;
mod shared;

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, request};
use http_body::Body;
use mesh_core::engine::random::Random;
use mesh_core::engine::retry::Retry as Policy;
use mesh_core::exchange::{Attempt, AttemptPlan, Before, Filtered};
use mesh_core::resource::retry::RetryPolicy;
use mesh_core::resource::{Invalid, ResourceKind, ResourceName};
use mesh_core::state::Admission;
use tower_layer::Layer;
use tower_service::Service;

pub(crate) use self::future::Marked;
pub use self::future::ResponseFuture;
pub use self::replay::ReplayBody;

use crate::error::{BoxError, Error};
use crate::response::ResponseInfo;

/// Bytes of a request body kept for another try when nobody says otherwise: 64 KiB.
pub const DEFAULT_BODY_LIMIT: u64 = 64 << 10;

/// Takes a request apart into head, body and a plan of its attempts: the layer's view of its policy.
pub trait PlanOf<R> {
    /// The request's body.
    type Body;
    /// The plan.
    type Plan: Plan;

    /// Begins the attempts of a request.
    fn plan(&self, request: R) -> (request::Parts, Self::Body, Self::Plan);
}

/// What the attempts of one request have in common.
pub trait Plan {
    /// One attempt, with any body.
    type Attempt<B>;

    /// The retry policy; `None` tries once.
    fn policy(&self) -> Option<&Policy>;

    /// The limit of each try.
    fn per_try(&self) -> Option<Duration>;

    /// Whether a try that takes longer than its limit goes on while the next one runs.
    fn hedges(&self) -> bool;

    /// Bytes of body that may be kept.
    fn body_limit(&self) -> u64;

    /// The request's randomness.
    fn random(&mut self) -> &mut Random;

    /// Asks for one more retry. `Err` when a limit refuses it.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    fn admit_retry(&self) -> Result<Option<Admission>, Error>;

    /// Makes the first attempt.
    fn attempt<B>(&mut self, request: Request<B>) -> Self::Attempt<B>;

    /// Makes another attempt; `timed_out` says that the one before took too long.
    fn again<B>(&mut self, request: Request<B>, timed_out: bool) -> Self::Attempt<B>;

    /// Says that there may be more than one attempt.
    fn may_retry(&mut self);

    /// Attempts made.
    fn attempts(&self) -> u32;
}

/// The policy of the request's route.
#[derive(Clone, Copy, Debug, Default)]
pub struct FromRoute(());

impl<B> PlanOf<Filtered<B>> for FromRoute {
    type Body = B;
    type Plan = AttemptPlan;

    fn plan(&self, request: Filtered<B>) -> (request::Parts, B, AttemptPlan) {
        request.into_parts()
    }
}

impl Plan for AttemptPlan {
    type Attempt<B> = Attempt<B>;

    fn policy(&self) -> Option<&Policy> {
        self.retry()
    }

    fn per_try(&self) -> Option<Duration> {
        self.timeouts().per_try
    }

    fn hedges(&self) -> bool {
        self.timeouts().hedge
    }

    fn body_limit(&self) -> u64 {
        Self::body_limit(self).unwrap_or(DEFAULT_BODY_LIMIT)
    }

    fn random(&mut self) -> &mut Random {
        Self::random(self)
    }

    fn admit_retry(&self) -> Result<Option<Admission>, Error> {
        Self::admit_retry(self).map(Some).ok_or(Error::Overflow)
    }

    fn attempt<B>(&mut self, request: Request<B>) -> Attempt<B> {
        Self::attempt(self, request, None)
    }

    fn again<B>(&mut self, request: Request<B>, timed_out: bool) -> Attempt<B> {
        let before = Before { elapsed: self.started().elapsed(), timed_out };
        Self::attempt(self, request, Some(before))
    }

    fn may_retry(&mut self) {
        Self::may_retry(self);
    }

    fn attempts(&self) -> u32 {
        Self::attempts(self)
    }
}

/// One policy for everything that passes.
#[derive(Clone, Debug)]
pub struct Fixed {
    policy: Arc<Policy>,
    hedges: bool,
}

/// The plan of a request under a fixed policy.
#[derive(Debug)]
pub struct FixedPlan {
    policy: Arc<Policy>,
    hedges: bool,
    random: Random,
    attempts: u32,
}

impl<B> PlanOf<Request<B>> for Fixed {
    type Body = B;
    type Plan = FixedPlan;

    fn plan(&self, request: Request<B>) -> (request::Parts, B, FixedPlan) {
        let (head, body) = request.into_parts();
        let random = Random::from_seed(fastrand::u64(..));
        (head, body, FixedPlan { policy: Arc::clone(&self.policy), hedges: self.hedges, random, attempts: 0 })
    }
}

impl Plan for FixedPlan {
    type Attempt<B> = Request<B>;

    fn policy(&self) -> Option<&Policy> {
        Some(&self.policy)
    }

    fn per_try(&self) -> Option<Duration> {
        self.policy.per_try_timeout()
    }

    fn hedges(&self) -> bool {
        self.hedges
    }

    fn body_limit(&self) -> u64 {
        DEFAULT_BODY_LIMIT
    }

    fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    fn admit_retry(&self) -> Result<Option<Admission>, Error> {
        Ok(None)
    }

    fn attempt<B>(&mut self, request: Request<B>) -> Request<B> {
        self.attempts += 1;
        request
    }

    fn again<B>(&mut self, request: Request<B>, _: bool) -> Request<B> {
        self.attempts += 1;
        request
    }

    fn may_retry(&mut self) {}

    fn attempts(&self) -> u32 {
        self.attempts
    }
}

/// Retries by Envoy's rules.
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use mesh_core::resource::retry::{RetryOn, RetryPolicy};
/// use mesh_tower::{Error, RetryLayer, outbound::retry::ReplayBody};
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// static CALLS: AtomicU32 = AtomicU32::new(0);
/// let policy = RetryPolicy { retry_on: RetryOn::FIVE_XX, num_retries: Some(2), ..RetryPolicy::default() };
/// let service = ServiceBuilder::new().layer(RetryLayer::new(&policy).unwrap()).service(service_fn(
///     |_: http::Request<ReplayBody<Full<Bytes>>>| async {
///         let status = if CALLS.fetch_add(1, Ordering::Relaxed) < 2 { 503 } else { 200 };
///         Ok::<_, Error>(http::Response::builder().status(status).body(String::new()).unwrap())
///     },
/// ));
/// let response = service.oneshot(http::Request::new(Full::new(Bytes::from("hello")))).await.unwrap();
/// assert_eq!((response.status().as_u16(), CALLS.load(Ordering::Relaxed)), (200, 3));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RetryLayer<P> {
    policy: P,
}

impl RetryLayer<FromRoute> {
    /// The policy of each request's route.
    #[must_use]
    pub const fn from_route() -> Self {
        Self { policy: FromRoute(()) }
    }
}

impl RetryLayer<Fixed> {
    /// One policy for every request. Up to 64 KiB of a body are kept for another try.
    ///
    /// # Errors
    /// A header matcher of the policy that does not compile.
    pub fn new(policy: &RetryPolicy) -> Result<Self, Invalid> {
        let refuse = |field: &str, problem: String| {
            Invalid::new(ResourceName::new(ResourceKind::RouteConfiguration, "retry_policy"), field, problem)
        };
        Ok(Self { policy: Fixed { policy: Arc::new(Policy::compile(policy, refuse)?), hedges: false } })
    }

    /// A try that takes longer than `per_try_timeout` goes on while the next one runs, and the first good answer counts
    /// (`hedge_on_per_try_timeout`).
    #[must_use]
    pub fn hedging(mut self) -> Self {
        self.policy.hedges = true;
        self
    }
}

/// Says how many attempts there were, where the one that answered was not the last.
fn tell_attempts<RB>(response: &mut Response<RB>, attempts: u32) {
    if let Some(info) = response.extensions_mut().get_mut::<ResponseInfo>()
        && let Some(upstream) = &mut info.upstream
    {
        upstream.count(attempts);
    }
}

impl<S, P: Clone> Layer<S> for RetryLayer<P> {
    type Service = Retry<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry { inner, policy: self.policy.clone() }
    }
}

/// The service of [`RetryLayer`].
#[derive(Clone, Debug)]
pub struct Retry<S, P> {
    inner: S,
    policy: P,
}

impl<S, P, R, RB> Service<R> for Retry<S, P>
where
    P: PlanOf<R>,
    P::Body: Body<Data = Bytes>,
    <P::Body as Body>::Error: Into<BoxError>,
    S: Service<<P::Plan as Plan>::Attempt<ReplayBody<P::Body>>, Response = Response<RB>, Error = Error> + Clone,
{
    type Response = Response<RB>;
    type Error = Error;
    type Future = ResponseFuture<S, P::Plan, P::Body>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let (head, body, plan) = self.policy.plan(request);
        let spare = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, spare);
        ResponseFuture::new(ready, head, body, plan)
    }
}

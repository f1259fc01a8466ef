//! Sends copies of requests to mirrors, and forgets them.
//!
//! `request_mirror_policies` as Envoy's shadowing has it: a copy leaves once, when the request's head is final, whatever
//! becomes of the request's tries; its body is what the request sends; its response is read and thrown away.
//! A copy never holds the request up and never fails it: one that is slow, refused, reset or too many is
//! dropped, and counted at its cluster (`mirrors_dropped`) unless that counts it anyway.
//!
//! ```text
//! request ──▶ Mirror ──▶ inner ──▶ response
//!               └─ task: inner (a clone) ──▶ response, discarded
//! ```

mod under_way;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use mesh_core::exchange::{Filtered, Fork, Lost};
use mesh_core::resource::route::FractionalPercent;
use smallvec::SmallVec;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tower_layer::Layer;
use tower_service::Service;

use self::under_way::UnderWay;
pub use self::under_way::{MOST_BYTES, MOST_COPIES};
use crate::body::MirrorBody;
use crate::error::BoxError;

/// Bytes that a copy may fall behind when nobody says otherwise: 1 MiB, as Envoy's buffers.
pub const DEFAULT_BEHIND: u64 = 1 << 20;

/// Makes copies of requests of type `R` before the service `S`: the layer's view of its policy.
pub trait Mirrors<R, S> {
    /// The request's body.
    type Body: Body<Data = Bytes>;
    /// A copy without its body.
    type Fork;
    /// What goes inside.
    type Inside;
    /// A copy as it is sent.
    type Copy: Send + 'static;
    /// Who sends copies.
    type Target: Service<Self::Copy>;

    /// The copies that this request is to have.
    fn forks(&self, request: &mut R) -> SmallVec<[Self::Fork; 1]>;

    /// Bytes that a copy may fall behind.
    fn limit(&self, request: &R) -> u64;

    /// Gives the request the body that `wrap` makes of its own.
    fn inside(&self, request: R, wrap: impl FnOnce(Self::Body) -> MirrorBody<Self::Body>) -> Self::Inside;

    /// Whom to tell that a copy was dropped.
    fn lost(&self, fork: &Self::Fork) -> Option<Lost>;

    /// Gives a copy its body.
    fn copy(&self, fork: Self::Fork, body: MirrorBody<Self::Body>) -> Self::Copy;

    /// Who sends copies, given what is inside.
    fn target(&self, inner: &S) -> Self::Target;
}

/// The mirrors of the request's route; copies go the way of the requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct FromRoute(());

impl<B, S> Mirrors<Filtered<B>, S> for FromRoute
where
    B: Body<Data = Bytes> + Send + 'static,
    S: Service<Filtered<MirrorBody<B>>> + Clone,
{
    type Body = B;
    type Fork = Fork;
    type Inside = Filtered<MirrorBody<B>>;
    type Copy = Filtered<MirrorBody<B>>;
    type Target = S;

    #[inline]
    fn forks(&self, request: &mut Filtered<B>) -> SmallVec<[Fork; 1]> {
        if request.has_mirrors() { request.forks() } else { SmallVec::new() }
    }

    fn limit(&self, request: &Filtered<B>) -> u64 {
        request.plan().body_limit().unwrap_or(DEFAULT_BEHIND)
    }

    fn inside(&self, request: Filtered<B>, wrap: impl FnOnce(B) -> MirrorBody<B>) -> Self::Inside {
        request.map_body(wrap)
    }

    fn lost(&self, fork: &Fork) -> Option<Lost> {
        Some(fork.lost.clone())
    }

    fn copy(&self, fork: Fork, body: MirrorBody<B>) -> Self::Copy {
        fork.request.map_body(|()| body)
    }

    fn target(&self, inner: &S) -> S {
        inner.clone()
    }
}

/// Copies of a share of all requests, to one service.
#[derive(Clone, Debug)]
pub struct Fixed<M> {
    mirror: M,
    share: FractionalPercent,
}

impl<B, S, M> Mirrors<Request<B>, S> for Fixed<M>
where
    B: Body<Data = Bytes> + Send + 'static,
    M: Service<Request<MirrorBody<B>>> + Clone,
{
    type Body = B;
    type Fork = Request<()>;
    type Inside = Request<MirrorBody<B>>;
    type Copy = Request<MirrorBody<B>>;
    type Target = M;

    fn forks(&self, request: &mut Request<B>) -> SmallVec<[Request<()>; 1]> {
        if !self.share.takes(fastrand::u64(..)) {
            return SmallVec::new();
        }
        let mut copy = Request::new(());
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        *copy.headers_mut() = request.headers().clone();
        SmallVec::from_buf([copy])
    }

    fn limit(&self, _: &Request<B>) -> u64 {
        DEFAULT_BEHIND
    }

    fn inside(&self, request: Request<B>, wrap: impl FnOnce(B) -> MirrorBody<B>) -> Self::Inside {
        request.map(wrap)
    }

    fn lost(&self, _: &Request<()>) -> Option<Lost> {
        None
    }

    fn copy(&self, fork: Request<()>, body: MirrorBody<B>) -> Self::Copy {
        fork.map(|()| body)
    }

    fn target(&self, _: &S) -> M {
        self.mirror.clone()
    }
}

/// Sends copies of requests elsewhere, and throws the responses away.
///
/// Alone it copies to a service of your own, on the runtime that the request is made on. The copies of a stack end with the last clone of
/// its service.
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::{BodyExt, Full};
/// use mesh_core::resource::route::FractionalPercent;
/// use mesh_tower::body::MirrorBody;
/// use mesh_tower::{Error, MirrorLayer};
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// type Copied = http::Request<MirrorBody<Full<Bytes>>>;
/// let (seen, mut copies) = tokio::sync::mpsc::unbounded_channel();
/// let mirror = service_fn(move |copy: Copied| {
///     let seen = seen.clone();
///     async move {
///         let _ = seen.send(copy.into_body().collect().await.unwrap().to_bytes());
///         Err::<http::Response<String>, _>(Error::Upstream("nobody hears of this".into()))
///     }
/// });
/// let all = FractionalPercent { numerator: 100, denominator: 100 };
/// let mut service = ServiceBuilder::new().layer(MirrorLayer::to(mirror, all)).service(service_fn(
///     |request: Copied| async { Ok::<_, Error>(http::Response::new(request.into_body())) },
/// ));
/// let response = service.ready().await.unwrap().call(http::Request::new(Full::new(Bytes::from("hello")))).await.unwrap();
/// assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
/// assert_eq!(copies.recv().await.unwrap(), "hello");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MirrorLayer<P> {
    policy: P,
    runtime: Option<Handle>,
}

impl MirrorLayer<FromRoute> {
    /// Copies as each request's route says, sent from `runtime`.
    #[must_use]
    pub const fn from_route(runtime: Handle) -> Self {
        Self { policy: FromRoute(()), runtime: Some(runtime) }
    }
}

impl<M> MirrorLayer<Fixed<M>> {
    /// Copies a share of the requests to `mirror`.
    pub const fn to(mirror: M, share: FractionalPercent) -> Self {
        Self { policy: Fixed { mirror, share }, runtime: None }
    }
}

impl<S, P: Clone> Layer<S> for MirrorLayer<P> {
    type Service = Mirror<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Mirror { inner, policy: self.policy.clone(), under_way: Arc::new(UnderWay::new(self.runtime.clone())) }
    }
}

/// The service of [`MirrorLayer`].
#[derive(Clone, Debug)]
pub struct Mirror<S, P> {
    inner: S,
    policy: P,
    under_way: Arc<UnderWay>,
}

impl<S, P, R, RB> Service<R> for Mirror<S, P>
where
    P: Mirrors<R, S>,
    P::Target: Service<P::Copy, Response = Response<RB>> + Send + 'static,
    <P::Target as Service<P::Copy>>::Future: Send,
    <P::Target as Service<P::Copy>>::Error: Send,
    RB: Body + Send + 'static,
    <P::Body as Body>::Error: Into<BoxError>,
    S: Service<P::Inside>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: R) -> S::Future {
        let forks = self.policy.forks(&mut request);
        if forks.is_empty() {
            return self.inner.call(self.policy.inside(request, MirrorBody::alone));
        }
        let limit = self.policy.limit(&request);
        let whom: SmallVec<[Option<Lost>; 1]> = forks.iter().map(|fork| self.policy.lost(fork)).collect();
        let mut bodies = SmallVec::new();
        let inside = self.policy.inside(request, |body| {
            let (body, copies) = MirrorBody::copied(body, whom.iter().cloned(), limit, &self.under_way.budget);
            bodies = copies;
            body
        });
        // As in Envoy the request itself goes first.
        let future = self.inner.call(inside);
        for ((fork, lost), body) in forks.into_iter().zip(whom).zip(bodies) {
            let behind = body.behind();
            let sending = send(self.policy.target(&self.inner), self.policy.copy(fork, body));
            let copy = async move {
                tokio::select! {
                    () = sending => {}
                    // A transport that is stuck does not ask for the rest of the body, and would never learn.
                    () = notified(behind) => {}
                }
            };
            if !self.under_way.start(copy)
                && let Some(lost) = lost
            {
                lost.count();
            }
        }
        future
    }
}

async fn notified(notify: Option<Arc<Notify>>) {
    match notify {
        Some(notify) => notify.notified().await,
        None => std::future::pending().await,
    }
}

/// Sends a copy and reads its response to the end; whatever fails ends it.
async fn send<S, C, RB>(mut target: S, copy: C)
where
    S: Service<C, Response = Response<RB>>,
    RB: Body,
{
    if poll_fn(|cx| target.poll_ready(cx)).await.is_err() {
        return;
    }
    let Ok(response) = target.call(copy).await else { return };
    let mut body = pin!(response.into_body());
    while let Some(Ok(_)) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {}
}

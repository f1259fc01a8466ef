//! Ends a request that takes longer than its route allows: through pick, connect, headers and body.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Response;
use http_body::Body;
use mesh_core::engine::timeout::Timeouts;
use mesh_core::exchange::Filtered;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::body::{Deadline, DeadlineBody};
use crate::error::Error;

/// Tells a request's limits: the layer's view of its policy.
pub trait TimeoutsOf<R> {
    /// The limits of this request.
    fn timeouts(&self, request: &R) -> Timeouts;
}

/// The limits of the request's route.
#[derive(Clone, Copy, Debug, Default)]
pub struct FromRoute(());

impl<B> TimeoutsOf<Filtered<B>> for FromRoute {
    fn timeouts(&self, request: &Filtered<B>) -> Timeouts {
        *request.plan().timeouts()
    }
}

/// One limit for everything that passes.
#[derive(Clone, Copy, Debug)]
pub struct Fixed(Timeouts);

impl<R> TimeoutsOf<R> for Fixed {
    fn timeouts(&self, _: &R) -> Timeouts {
        self.0
    }
}

/// Limits how long a request may take, its response body included.
///
/// Unlike `tower::timeout`, the limit does not end with the response's headers: a body that is not read to
/// its end in time fails with [`Error::Timeout`].
///
/// ```
/// use std::time::Duration;
/// use mesh_tower::{Error, TimeoutLayer};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let service = ServiceBuilder::new().layer(TimeoutLayer::new(Duration::from_millis(100))).service(service_fn(
///     |_: http::Request<()>| async {
///         tokio::time::sleep(Duration::from_secs(1)).await;
///         Ok::<_, Error>(http::Response::new(String::new()))
///     },
/// ));
/// assert!(matches!(service.oneshot(http::Request::new(())).await, Err(Error::Timeout)));
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TimeoutLayer<P> {
    policy: P,
}

impl TimeoutLayer<FromRoute> {
    /// The limits of each request's route.
    #[must_use]
    pub const fn from_route() -> Self {
        Self { policy: FromRoute(()) }
    }
}

impl TimeoutLayer<Fixed> {
    /// One limit for every request; zero is none.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { policy: Fixed(Timeouts { response: (!timeout.is_zero()).then_some(timeout), ..Timeouts::default() }) }
    }
}

impl<S, P: Clone> Layer<S> for TimeoutLayer<P> {
    type Service = Timeout<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Timeout { inner, policy: self.policy.clone() }
    }
}

/// The service of [`TimeoutLayer`].
#[derive(Clone, Copy, Debug)]
pub struct Timeout<S, P> {
    inner: S,
    policy: P,
}

impl<S, P, R, RB> Service<R> for Timeout<S, P>
where
    P: TimeoutsOf<R>,
    S: Service<R, Response = Response<RB>, Error = Error>,
    RB: Body,
{
    type Response = Response<DeadlineBody<RB>>;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let timeouts = self.policy.timeouts(&request);
        // Of two limits the shorter one counts; they differ in what the caller is told.
        let limit = match (timeouts.response, timeouts.stream) {
            (Some(response), Some(stream)) if stream < response => Some((stream, true)),
            (Some(response), _) => Some((response, false)),
            (None, Some(stream)) => Some((stream, true)),
            (None, None) => None,
        };
        let deadline = limit
            .map(|(limit, is_max_duration)| Deadline { sleep: Box::pin(tokio::time::sleep(limit)), is_max_duration });
        ResponseFuture { inner: self.inner.call(request), deadline }
    }
}

pin_project! {
    /// The future of [`Timeout`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        deadline: Option<Deadline>,
    }
}

impl<F, RB> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<RB>, Error>>,
{
    type Output = Result<Response<DeadlineBody<RB>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(result) = this.inner.poll(cx) {
            let deadline = this.deadline.take();
            return Poll::Ready(result.map(|response| response.map(|body| DeadlineBody::new(body, deadline))));
        }
        if let Some(deadline) = this.deadline
            && let Poll::Ready(error) = deadline.poll_expired(cx)
        {
            return Poll::Ready(Err(error));
        }
        Poll::Pending
    }
}

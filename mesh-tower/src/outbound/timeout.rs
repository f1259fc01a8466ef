//! Ends a request that takes longer than its route allows: through pick, connect, headers and body.
//!
//! As in Envoy the route's timeout does not run against a caller who is still sending the request; a gRPC
//! deadline and `max_stream_duration` count from the start.

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

use super::overdue::overdue;
use crate::body::{Deadline, DeadlineBody, IdleTimer, Timer, Upload, UploadBody};
use crate::error::Error;

/// Tells a request's limits: the layer's view of its policy.
pub trait TimeoutsOf<R> {
    /// The request as it goes inside.
    type Watched;

    /// The limits of this request.
    fn timeouts(&self, request: &R) -> Timeouts;

    /// What goes inside, and what tells how far its body is if `timeouts` depends on that.
    fn watch(&self, request: R, timeouts: &Timeouts) -> (Self::Watched, Option<Upload>);
}

/// The limits of the request's route.
#[derive(Clone, Copy, Debug, Default)]
pub struct FromRoute(());

impl<B: Body> TimeoutsOf<Filtered<B>> for FromRoute {
    type Watched = Filtered<UploadBody<B>>;

    fn timeouts(&self, request: &Filtered<B>) -> Timeouts {
        *request.plan().timeouts()
    }

    fn watch(&self, request: Filtered<B>, timeouts: &Timeouts) -> (Self::Watched, Option<Upload>) {
        let matters = (timeouts.response.is_some() && !timeouts.from_grpc) || timeouts.idle.is_some();
        let is_watched = matters && !request.request().body().is_end_stream();
        let upload = is_watched.then(Upload::default);
        let watch = upload.clone();
        (request.map_body(|body| UploadBody::new(body, watch)), upload)
    }
}

/// One limit for everything that passes.
#[derive(Clone, Copy, Debug)]
pub struct Fixed(Timeouts);

impl<R> TimeoutsOf<R> for Fixed {
    type Watched = R;

    fn timeouts(&self, _: &R) -> Timeouts {
        self.0
    }

    fn watch(&self, request: R, _: &Timeouts) -> (R, Option<Upload>) {
        (request, None)
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
    S: Service<P::Watched, Response = Response<RB>, Error = Error>,
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
        let (request, upload) = self.policy.watch(request, &timeouts);
        let limited = timeouts.response.is_some() || timeouts.stream.is_some() || timeouts.idle.is_some();
        let deadline = limited.then(|| Deadline {
            // A gRPC deadline does not wait for the end of the request.
            response: timeouts
                .response
                .map(|limit| Timer::start(limit, upload.clone().filter(|_| !timeouts.from_grpc))),
            stream: timeouts.stream.map(|limit| Timer::start(limit, None)),
            idle: timeouts.idle.map(|limit| IdleTimer::start(limit, upload)),
        });
        ResponseFuture { inner: Some(self.inner.call(request)), deadline }
    }
}

pin_project! {
    /// The future of [`Timeout`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        // `None` when it has ended.
        #[pin]
        inner: Option<F>,
        deadline: Option<Deadline>,
    }
}

impl<F, RB> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<RB>, Error>>,
{
    type Output = Result<Response<DeadlineBody<RB>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Pending };
        if let Poll::Ready(result) = inner.poll(cx) {
            let mut deadline = this.deadline.take();
            if let Some(deadline) = &mut deadline {
                deadline.pass();
            }
            return Poll::Ready(result.map(|response| response.map(|body| DeadlineBody::new(body, deadline))));
        }
        if let Some(deadline) = this.deadline
            && let Poll::Ready(error) = deadline.poll_expired(cx)
        {
            // The host did not answer within the route's timeout; that the stream is over or silent says nothing of it.
            if matches!(error, Error::Timeout) {
                overdue(|| this.inner.set(None));
            }
            return Poll::Ready(Err(error));
        }
        Poll::Pending
    }
}

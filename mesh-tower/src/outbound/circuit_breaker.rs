//! Refuses what would exceed the limits of requests under way.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Response;
use http_body::Body;
use mesh_core::engine::circuit_breaker::CircuitBreaker as Limits;
use mesh_core::exchange::{Load, Picked, Sendable};
use mesh_core::resource::cluster::{CircuitBreakers, Thresholds};
use mesh_core::resource::route::RoutingPriority;
use mesh_core::state::{Admission, ClusterState, Lane};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::body::GuardedBody;
use crate::error::Error;

/// Admits a request of type `R` to what is inside: the layer's view of its policy.
pub trait Admit<R> {
    /// What goes inside.
    type Admitted;
    /// What is held until the response has ended.
    type Permit;

    /// Takes a place, or says that there is none.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    fn admit(&self, request: R) -> Result<(Self::Admitted, Self::Permit), Error>;
}

/// The limits of the attempt's cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct FromCluster(());

impl<B> Admit<Picked<B>> for FromCluster {
    type Admitted = Sendable<B>;
    type Permit = Load;

    fn admit(&self, request: Picked<B>) -> Result<(Sendable<B>, Load), Error> {
        request.admit().map_err(Error::from)
    }
}

/// One set of limits for everything that passes.
#[derive(Clone, Debug)]
pub struct Fixed(Arc<Limits>);

impl<B> Admit<http::Request<B>> for Fixed {
    type Admitted = http::Request<B>;
    type Permit = Admission;

    fn admit(&self, request: http::Request<B>) -> Result<(http::Request<B>, Admission), Error> {
        let permit = self.0.admit_request(RoutingPriority::Default, Lane::default()).ok_or(Error::Overflow)?;
        Ok((request, permit))
    }
}

/// Refuses requests beyond a limit of requests under way; a request is under way until its response body has
/// ended.
///
/// ```
/// use mesh_tower::{CircuitBreakerLayer, Error};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let service = ServiceBuilder::new().layer(CircuitBreakerLayer::max_requests(1)).service(service_fn(
///     |_: http::Request<()>| async { Ok::<_, Error>(http::Response::new(String::from("hello"))) },
/// ));
/// let first = service.clone().oneshot(http::Request::new(())).await;
/// let second = service.clone().oneshot(http::Request::new(())).await;
/// assert!(matches!(second, Err(Error::Overflow)), "the first response is still being read");
/// drop(first);
/// assert!(service.oneshot(http::Request::new(())).await.is_ok());
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CircuitBreakerLayer<P> {
    policy: P,
}

impl CircuitBreakerLayer<FromCluster> {
    /// The limits of each attempt's cluster.
    #[must_use]
    pub const fn from_cluster() -> Self {
        Self { policy: FromCluster(()) }
    }
}

impl CircuitBreakerLayer<Fixed> {
    /// At most this many requests under way, over all clones of the layer and its services.
    #[must_use]
    pub fn max_requests(max_requests: u32) -> Self {
        let limits = CircuitBreakers {
            default: Thresholds { max_requests, ..Thresholds::default() },
            ..CircuitBreakers::default()
        };
        Self { policy: Fixed(Arc::new(Limits::new(limits, Arc::new(ClusterState::default())))) }
    }
}

impl<S, P: Clone> Layer<S> for CircuitBreakerLayer<P> {
    type Service = CircuitBreaker<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker { inner, policy: self.policy.clone() }
    }
}

/// The service of [`CircuitBreakerLayer`].
#[derive(Clone, Debug)]
pub struct CircuitBreaker<S, P> {
    inner: S,
    policy: P,
}

impl<S, P, R, RB> Service<R> for CircuitBreaker<S, P>
where
    P: Admit<R>,
    S: Service<P::Admitted, Response = Response<RB>, Error = Error>,
    RB: Body,
{
    type Response = Response<GuardedBody<RB, P::Permit>>;
    type Error = Error;
    type Future = ResponseFuture<S::Future, P::Permit>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        match self.policy.admit(request) {
            Ok((admitted, permit)) => {
                ResponseFuture { state: State::Admitted { inner: self.inner.call(admitted), permit: Some(permit) } }
            }
            Err(error) => ResponseFuture { state: State::Refused { error: Some(error) } },
        }
    }
}

pin_project! {
    /// The future of [`CircuitBreaker`].
    pub struct ResponseFuture<F, G> {
        #[pin]
        state: State<F, G>,
    }
}

pin_project! {
    #[project = Projection]
    enum State<F, G> {
        Admitted {
            #[pin]
            inner: F,
            permit: Option<G>,
        },
        Refused {
            error: Option<Error>,
        },
    }
}

impl<F, G, RB> Future for ResponseFuture<F, G>
where
    F: Future<Output = Result<Response<RB>, Error>>,
    RB: Body,
{
    type Output = Result<Response<GuardedBody<RB, G>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projection::Refused { error } => Poll::Ready(Err(error.take().unwrap_or(Error::Overflow))),
            Projection::Admitted { inner, permit } => {
                let response = std::task::ready!(inner.poll(cx))?;
                let permit = permit.take().ok_or(Error::Overflow)?;
                Poll::Ready(Ok(response.map(|body| GuardedBody::new(body, permit))))
            }
        }
    }
}

impl<F, G> fmt::Debug for ResponseFuture<F, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

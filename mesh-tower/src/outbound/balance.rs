//! Picks the host of an attempt.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use mesh_core::engine::random::Random;
use mesh_core::exchange::{Attempt, Picked};
use mesh_core::resource::cluster::Cluster as ClusterConfig;
use mesh_core::resource::route::RouteConfiguration;
use mesh_core::snapshot::{Cluster, Snapshot};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::route::lane;
use crate::error::Error;

/// Picks a host for a request of type `R`: the layer's view of its policy.
pub trait Pick<R> {
    /// The request's body.
    type Body;

    /// Picks.
    ///
    /// # Errors
    /// Why there is no host.
    fn pick(&self, request: R) -> Result<Picked<Self::Body>, Error>;
}

/// The attempt's cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct FromAttempt(());

impl<B> Pick<Attempt<B>> for FromAttempt {
    type Body = B;

    fn pick(&self, attempt: Attempt<B>) -> Result<Picked<B>, Error> {
        attempt.pick().map_err(Error::from)
    }
}

/// One cluster for everything that passes.
#[derive(Clone, Debug)]
pub struct Fixed(Option<Arc<Cluster>>);

impl<B> Pick<Request<B>> for Fixed {
    type Body = B;

    fn pick(&self, request: Request<B>) -> Result<Picked<B>, Error> {
        let cluster = self.0.as_ref().ok_or(Error::NoCluster)?;
        let mut random = Random::from_seed(fastrand::u64(..));
        Picked::of(request, cluster, lane(), &mut random).map_err(Error::from)
    }
}

/// Picks the host of an attempt by its cluster's load balancer.
///
/// Alone it picks from one cluster of your own. What is inside gets requests that know where to go:
///
/// ```
/// use mesh_core::exchange::Picked;
/// use mesh_core::resource::cluster::{Cluster, Discovery};
/// use mesh_core::resource::endpoint::{Address, ClusterLoadAssignment, Endpoint, HealthStatus, LocalityEndpoints};
/// use mesh_tower::{BalanceLayer, Error};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let endpoint = |port| Endpoint {
///     address: Address::Socket(([127, 0, 0, 1], port).into()),
///     hostname: String::new(),
///     weight: 1,
///     health: HealthStatus::Healthy,
///     metadata: Default::default(),
/// };
/// let group = LocalityEndpoints { endpoints: vec![endpoint(8081), endpoint(8082)], ..LocalityEndpoints::default() };
/// let hosts = ClusterLoadAssignment { localities: vec![group], ..ClusterLoadAssignment::default() };
///
/// let service = ServiceBuilder::new().layer(BalanceLayer::fixed(Cluster::new("mine", Discovery::Static(hosts)))).service(service_fn(
///     |picked: Picked<()>| async move { Ok::<_, Error>(picked.target().host().map(|host| host.endpoint.address.to_string())) },
/// ));
/// let first = service.clone().oneshot(http::Request::new(())).await.unwrap();
/// let second = service.oneshot(http::Request::new(())).await.unwrap();
/// assert_ne!(first, second, "round robin");
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct BalanceLayer<P = FromAttempt> {
    policy: P,
}

impl BalanceLayer {
    /// Balances over each attempt's cluster.
    #[must_use]
    pub const fn new() -> Self {
        Self { policy: FromAttempt(()) }
    }
}

impl BalanceLayer<Fixed> {
    /// Balances every request over one cluster. Its endpoints are those that its configuration lists.
    #[must_use]
    pub fn fixed(cluster: ClusterConfig) -> Self {
        let name = Arc::clone(&cluster.name);
        let snapshot = Snapshot::fixed(RouteConfiguration::default(), vec![cluster], fastrand::u64(..));
        Self { policy: Fixed(snapshot.ok().and_then(|snapshot| snapshot.cluster_by_name(&name).cloned())) }
    }
}

impl<S, P: Clone> Layer<S> for BalanceLayer<P> {
    type Service = Balance<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Balance { inner, policy: self.policy.clone() }
    }
}

/// The service of [`BalanceLayer`].
#[derive(Clone, Debug)]
pub struct Balance<S, P = FromAttempt> {
    inner: S,
    policy: P,
}

impl<S, P, R> Service<R> for Balance<S, P>
where
    P: Pick<R>,
    S: Service<Picked<P::Body>, Error = Error>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        match self.policy.pick(request) {
            Ok(picked) => ResponseFuture { state: State::Called { inner: self.inner.call(picked) } },
            Err(error) => ResponseFuture { state: State::Unpicked { error: Some(error) } },
        }
    }
}

pin_project! {
    /// The future of [`Balance`].
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = Projection]
    enum State<F> {
        Called { #[pin] inner: F },
        Unpicked { error: Option<Error> },
    }
}

impl<F, R> Future for ResponseFuture<F>
where
    F: Future<Output = Result<R, Error>>,
{
    type Output = Result<R, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projection::Called { inner } => inner.poll(cx),
            Projection::Unpicked { error } => Poll::Ready(Err(error.take().unwrap_or(Error::NoHealthyHost))),
        }
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

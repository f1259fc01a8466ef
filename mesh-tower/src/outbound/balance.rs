//! Picks the host of an attempt.

use std::task::{Context, Poll};

use mesh_core::exchange::{Attempt, Picked};
use pin_project_lite::pin_project;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use tower_layer::Layer;
use tower_service::Service;

use crate::error::Error;

/// Picks the host of an attempt by its cluster's load balancer.
///
/// ```
/// use mesh_core::exchange::{Attempt, Picked};
/// use mesh_tower::{BalanceLayer, Error};
/// use tower::{ServiceBuilder, service_fn};
///
/// // What is inside of the layer gets requests that know where to go.
/// let stack = ServiceBuilder::new().layer(BalanceLayer::new()).service(service_fn(
///     |picked: Picked<()>| async move { Ok::<_, Error>(picked.target().host().map(|host| host.endpoint.address.clone())) },
/// ));
/// # fn is_service<S: tower::Service<Attempt<()>>>(_: S) {}
/// # is_service(stack);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct BalanceLayer(());

impl BalanceLayer {
    /// Balances over the attempt's cluster.
    #[must_use]
    pub const fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for BalanceLayer {
    type Service = Balance<S>;

    fn layer(&self, inner: S) -> Balance<S> {
        Balance { inner }
    }
}

/// The service of [`BalanceLayer`].
#[derive(Clone, Debug)]
pub struct Balance<S> {
    inner: S,
}

impl<S, B> Service<Attempt<B>> for Balance<S>
where
    S: Service<Picked<B>, Error = Error>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, attempt: Attempt<B>) -> Self::Future {
        match attempt.pick() {
            Ok(picked) => ResponseFuture { state: State::Called { inner: self.inner.call(picked) } },
            Err(unpicked) => ResponseFuture { state: State::Unpicked { error: Some(unpicked.into()) } },
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
        Called {
            #[pin]
            inner: F,
        },
        Unpicked {
            error: Option<Error>,
        },
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

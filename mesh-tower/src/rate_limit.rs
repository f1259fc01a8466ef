//! A limit of requests a second around any service. The stacks have theirs as an HTTP filter; this layer is for use
//! alone, with the same bucket.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use mesh_core::engine::rate_limit::TokenBucket;
use mesh_core::resource::rate_limit;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use crate::error::Error;

/// Refuses requests for which a bucket has no token; a refused request never reaches the inner service.
///
/// All clones of the layer and its services draw on one bucket, which is full at first and fills continuously. A token
/// is spent when a request is made and does not come back, whatever becomes of the request.
///
/// ```
/// use std::time::Duration;
///
/// use mesh_tower::{Error, RateLimitLayer};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let service = ServiceBuilder::new()
///     .layer(RateLimitLayer::new(1, Duration::from_secs(60)))
///     .service(service_fn(|name: &'static str| async move { Ok::<_, Error>(format!("hello {name}")) }));
/// assert_eq!(service.clone().oneshot("ann").await.unwrap(), "hello ann");
/// assert!(matches!(service.oneshot("bob").await, Err(Error::RateLimited)));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RateLimitLayer {
    bucket: Arc<TokenBucket>,
}

impl RateLimitLayer {
    /// So many requests every `interval`, and as many at once. 0 lets none pass.
    #[must_use]
    pub fn new(requests: u32, interval: Duration) -> Self {
        Self::bucket(rate_limit::TokenBucket {
            max_tokens: requests,
            tokens_per_fill: requests.max(1),
            fill_interval: interval,
        })
    }

    /// With a bucket of another shape: so many at once, so many every interval.
    #[must_use]
    pub fn bucket(config: rate_limit::TokenBucket) -> Self {
        Self { bucket: Arc::new(TokenBucket::new(config)) }
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        RateLimit { inner, bucket: Arc::clone(&self.bucket) }
    }
}

/// The service of [`RateLimitLayer`].
#[derive(Clone, Debug)]
pub struct RateLimit<S> {
    inner: S,
    bucket: Arc<TokenBucket>,
}

impl<S, R> Service<R> for RateLimit<S>
where
    S: Service<R, Error = Error>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let passes = self.bucket.take(1, Instant::now().into_std());
        ResponseFuture { inner: passes.then(|| self.inner.call(request)) }
    }
}

pin_project! {
    /// The future of [`RateLimit`].
    pub struct ResponseFuture<F> {
        // Nothing for a request without a token.
        #[pin]
        inner: Option<F>,
    }
}

impl<F, T> Future for ResponseFuture<F>
where
    F: Future<Output = Result<T, Error>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().inner.as_pin_mut() {
            Some(inner) => inner.poll(cx),
            None => Poll::Ready(Err(Error::RateLimited)),
        }
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

//! A Tower layer of the demo's own: notes every call in the ledger, by what the mesh says of its response.
//!
//! It stands outside the mesh's client, as any layer of an application may, and reads the response extension
//! [`ResponseInfo`]. A call fails when there is no response, a 5xx, or a `grpc-status` other than 0 in the head.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{Request, Response};
use mesh_sdk::ResponseInfo;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::ledger::{Edge, Ledger};

/// One who calls others.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    name: String,
    ledger: Ledger,
}

impl Caller {
    pub(crate) fn new(name: impl Into<String>, ledger: &Ledger) -> Self {
        Self { name: name.into(), ledger: ledger.clone() }
    }

    /// The layer that notes calls to `callee`.
    pub(crate) fn calls(&self, callee: &str) -> ObserveLayer {
        ObserveLayer { edge: self.ledger.edge(&self.name, callee) }
    }
}

/// Makes [`Observe`].
#[derive(Clone, Debug)]
pub(crate) struct ObserveLayer {
    edge: Arc<Edge>,
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe { inner, edge: Arc::clone(&self.edge) }
    }
}

/// Notes what passes.
#[derive(Clone, Debug)]
pub(crate) struct Observe<S> {
    inner: S,
    edge: Arc<Edge>,
}

impl<S, B, RB> Service<Request<B>> for Observe<S>
where
    S: Service<Request<B>, Response = Response<RB>>,
{
    type Response = Response<RB>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ResponseFuture { inner: self.inner.call(request), edge: Arc::clone(&self.edge), started: Instant::now() }
    }
}

pin_project! {
    /// The future of [`Observe`].
    pub(crate) struct ResponseFuture<F> {
        #[pin]
        inner: F,
        edge: Arc<Edge>,
        started: Instant,
    }
}

impl<F, RB, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<RB>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = ready!(this.inner.poll(cx));
        let took = this.started.elapsed();
        match &outcome {
            Ok(response) => {
                let upstream = response.extensions().get::<ResponseInfo>().and_then(|info| info.upstream.as_ref());
                this.edge.note(upstream.map(|upstream| upstream.cluster()), took, failed(response));
            }
            Err(_) => this.edge.note(None, took, true),
        }
        Poll::Ready(outcome)
    }
}

fn failed<B>(response: &Response<B>) -> bool {
    response.status().is_server_error() || response.headers().get("grpc-status").is_some_and(|status| status != "0")
}

//! The server half, as tonic would generate it.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::codegen::{Body, BoxFuture, Service, StdError, async_trait};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::{LIST, ListReply, ListRequest};

/// What a server of `bookinfo.Reviews` does.
#[async_trait]
pub trait Reviews: Send + Sync + 'static {
    /// Tells the reviews of a book.
    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListReply>, Status>;
}

/// Serves an implementation of [`Reviews`].
#[derive(Debug)]
pub struct ReviewsServer<T> {
    inner: Arc<T>,
}

impl<T> ReviewsServer<T> {
    /// Serves `inner`.
    pub fn new(inner: T) -> Self {
        Self { inner: Arc::new(inner) }
    }
}

impl<T> Clone for ReviewsServer<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T> NamedService for ReviewsServer<T> {
    const NAME: &'static str = "bookinfo.Reviews";
}

impl<T, B> Service<http::Request<B>> for ReviewsServer<T>
where
    T: Reviews,
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        if request.uri().path() != LIST {
            return Box::pin(async { Ok(Status::unimplemented("no such method").into_http()) });
        }
        let method = List(Arc::clone(&self.inner));
        Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(method, request).await) })
    }
}

struct List<T>(Arc<T>);

impl<T: Reviews> UnaryService<ListRequest> for List<T> {
    type Response = ListReply;
    type Future = BoxFuture<Response<ListReply>, Status>;

    fn call(&mut self, request: Request<ListRequest>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.list(request).await })
    }
}

//! Any `http::Request` through the mesh; the request's authority decides where it goes.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body::Body;
use http_body_util::Empty;
use mesh_tower::outbound::Outbound;
use tower_service::Service;

use crate::{BoxError, Error};

/// A response that came through the mesh, whatever body its request had. The body is the upstream's, or an
/// answer made here.
pub type Response = <Outbound as Service<Request<Empty<Bytes>>>>::Response;

/// The future of [`HttpClient`].
pub type ResponseFuture<B> = <Outbound as Service<Request<B>>>::Future;

/// A service for any `http::Request`, routed by its authority (`http://reviews:9080/`), or by its `Host` header
/// where it has none.
///
/// What the mesh answers itself (no route, no host, a limit reached) is a response as Envoy would give it; the
/// extension [`ResponseInfo`](crate::ResponseInfo) on every response tells which. An error means that there is no response
/// at all.
///
/// # Cancel safety
/// Dropping the future gives the request up: an HTTP/2 stream is reset, an HTTP/1.1 connection closed.
#[derive(Clone, Debug)]
pub struct HttpClient(pub(crate) Outbound);

impl<B> Service<Request<B>> for HttpClient
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Error;
    type Future = ResponseFuture<B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Service::<Request<B>>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.0.call(request)
    }
}

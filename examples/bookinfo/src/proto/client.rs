//! The client half, as tonic would generate it.

use http::uri::PathAndQuery;
use tonic::client::{Grpc, GrpcService};
use tonic::codegen::{Body, Bytes, GrpcMethod, StdError};
use tonic::{IntoRequest, Response, Status};
use tonic_prost::ProstCodec;

use super::{LIST, ListReply, ListRequest};

/// Calls `bookinfo.Reviews`.
#[derive(Clone, Debug)]
pub struct ReviewsClient<T> {
    inner: Grpc<T>,
}

impl<T> ReviewsClient<T>
where
    T: GrpcService<tonic::body::Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as Body>::Error: Into<StdError> + Send,
{
    /// Calls over `inner`, such as a mesh's channel.
    pub fn new(inner: T) -> Self {
        Self { inner: Grpc::new(inner) }
    }

    /// Asks for the reviews of a book.
    ///
    /// # Errors
    /// The status that the service, or the mesh on the way to it, answers.
    pub async fn list(&mut self, request: impl IntoRequest<ListRequest>) -> Result<Response<ListReply>, Status> {
        self.inner
            .ready()
            .await
            .map_err(|error| Status::unknown(format!("service was not ready: {}", error.into())))?;
        let mut request = request.into_request();
        request.extensions_mut().insert(GrpcMethod::new("bookinfo.Reviews", "List"));
        self.inner.unary(request, PathAndQuery::from_static(LIST), ProstCodec::default()).await
    }
}

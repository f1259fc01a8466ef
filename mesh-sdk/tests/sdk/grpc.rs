//! A tonic client and a tonic server, through the mesh.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::uri::PathAndQuery;
use mesh_sdk::{Channel, Mesh};
use tonic::server::{NamedService, UnaryService};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::support::{listener, mesh_of, server, service_speaking};

#[derive(Clone, PartialEq, prost::Message)]
struct Text {
    #[prost(string, tag = "1")]
    text: String,
}

/// `test.Greeter/Greet`, as a generated server would be.
#[derive(Clone)]
struct Greeter;

impl NamedService for Greeter {
    const NAME: &'static str = "test.Greeter";
}

impl UnaryService<Text> for Greeter {
    type Response = Text;
    type Future = Ready<Result<Response<Text>, Status>>;

    fn call(&mut self, request: Request<Text>) -> Self::Future {
        let name = request.into_inner().text;
        ready(if name.is_empty() {
            Err(Status::invalid_argument("who?"))
        } else {
            Ok(Response::new(Text { text: format!("hello {name}") }))
        })
    }
}

impl<B> tower::Service<http::Request<B>> for Greeter
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<mesh_sdk::BoxError> + Send + 'static,
    B::Data: Send,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<Text, Text>::default());
            Ok(grpc.unary(Self, request).await)
        })
    }
}

/// What a generated client does.
async fn greet(channel: Channel, text: &str) -> Result<String, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let path = PathAndQuery::from_static("/test.Greeter/Greet");
    let request = Request::new(Text { text: text.to_owned() });
    let response = client.unary(request, path, ProstCodec::<Text, Text>::default()).await?;
    Ok(response.into_inner().text)
}

#[tokio::test]
async fn a_tonic_client_reaches_a_tonic_server() {
    let listener = listener().await;
    let port = listener.local_addr().unwrap().port();
    let yaml = service_speaking("greeter", "GRPC", &[("v1", port)]);
    let mesh = Mesh::builder().literal(yaml).ip([127, 0, 0, 1]).build().await.unwrap();
    let routes = tonic::service::Routes::new(Greeter);
    let server = tokio::spawn(mesh.serve(listener, routes));
    assert_eq!(greet(mesh.channel("greeter.example:80"), "you").await.unwrap(), "hello you");
    let refused = greet(mesh.channel("greeter.example"), "").await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, "who?"));
    mesh.shutdown().await;
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_the_mesh_answers_itself_is_a_grpc_status() {
    let mesh = mesh_of(service_speaking("greeter", "GRPC", &[])).await;
    let unavailable = greet(mesh.channel("greeter.example"), "you").await.unwrap_err();
    assert_eq!((unavailable.code(), unavailable.message()), (Code::Unavailable, "no healthy upstream"));
}

#[tokio::test]
async fn a_server_that_speaks_no_grpc_is_an_error_and_no_panic() {
    let mesh = mesh_of(service_speaking("greeter", "HTTP", &[("v1", server("plain").await)])).await;
    assert!(greet(mesh.channel("greeter.example"), "you").await.is_err());
}

//! The servers of the benchmarks: plain tonic and plain hyper, several ports in one process.
//!
//! Prints its ports as JSON on one line, then serves until standard input ends.

use std::convert::Infallible;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mesh_benches::echo::EchoServer;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

const PORTS: usize = 4;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut grpc = Vec::new();
    let mut http1 = Vec::new();
    for _ in 0..PORTS {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        grpc.push(listener.local_addr()?.port());
        let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
        tokio::spawn(tonic::transport::Server::builder().add_service(EchoServer).serve_with_incoming(incoming));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        http1.push(listener.local_addr()?.port());
        tokio::spawn(serve_http1(listener));
    }
    println!("{}", serde_json::json!({ "grpc": grpc, "http1": http1 }));
    let mut end = Vec::new();
    tokio::io::stdin().read_to_end(&mut end).await?;
    Ok(())
}

async fn serve_http1(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        tokio::spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(echo)),
        );
    }
}

async fn echo(request: Request<Incoming>) -> Result<Response<Incoming>, Infallible> {
    Ok(Response::new(request.into_body()))
}

//! One leg: a client of one kind against given ports. Prints what it measured, and its CPU time, as JSON.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use mesh_benches::config::{AUTHORITY, store};
use mesh_benches::echo::{EchoClient, Payload};
use mesh_benches::load::{Measured, run};
use mesh_benches::process::cpu_time;
use mesh_core::resource::cluster::UpstreamProtocol;
use mesh_tower::outbound::outbound;
use mesh_tower::pool::Connector;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// The whole outbound stack over HTTP/2.
    Mesh,
    /// As many tonic channels as endpoints, callers pinned to one each.
    Pinned,
    /// tonic's own balanced channel.
    Balanced,
    /// The whole outbound stack over HTTP/1.1.
    MeshHttp1,
    /// hyper's pooled client, one authority per endpoint in turn: each caller keeps to one.
    Hyper,
    /// The same with the next endpoint at each request, as a balancer has it.
    HyperInTurn,
}

#[derive(Debug, Parser)]
struct Args {
    #[arg(long)]
    kind: Kind,
    #[arg(long, value_delimiter = ',')]
    ports: Vec<u16>,
    #[arg(long, default_value_t = 32)]
    callers: usize,
    /// Requests per second over all callers; as many as possible when left out.
    #[arg(long)]
    rate: Option<f64>,
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let endpoints: Vec<SocketAddr> = args.ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect();
    let before = cpu_time(std::process::id()).unwrap_or_default();
    let measured = measure(&args, &endpoints).await?;
    let cpu = cpu_time(std::process::id()).unwrap_or_default().saturating_sub(before);
    println!(
        "{}",
        serde_json::json!({
            "requests": measured.requests, "errors": measured.errors, "seconds": measured.seconds,
            "p50_us": measured.p50_us, "p99_us": measured.p99_us, "cpu_ms": u64::try_from(cpu.as_millis())?,
        })
    );
    Ok(())
}

async fn measure(args: &Args, endpoints: &[SocketAddr]) -> Result<Measured, Failure> {
    let warm_up = Duration::from_millis(500);
    let length = Duration::from_secs_f64(args.seconds);
    let payload = Bytes::from(vec![7u8; 1024]);
    let next = AtomicUsize::new(0);
    Ok(match args.kind {
        Kind::Mesh => {
            let stack = outbound(store(10, endpoints, UpstreamProtocol::Http2), Connector::current());
            let origin: http::Uri = format!("http://{AUTHORITY}").parse()?;
            run(args.callers, args.rate, warm_up, length, || {
                grpc(EchoClient::with_origin(stack.clone(), origin.clone()), payload.clone())
            })
            .await
        }
        Kind::Pinned => {
            let mut channels = Vec::new();
            for endpoint in endpoints {
                channels.push(Endpoint::from_shared(format!("http://{endpoint}"))?.tcp_nodelay(true).connect().await?);
            }
            run(args.callers, args.rate, warm_up, length, || {
                grpc(
                    EchoClient::new(channels[next.fetch_add(1, Ordering::Relaxed) % channels.len()].clone()),
                    payload.clone(),
                )
            })
            .await
        }
        Kind::Balanced => {
            let list = endpoints
                .iter()
                .map(|endpoint| Endpoint::from_shared(format!("http://{endpoint}")).map(|one| one.tcp_nodelay(true)));
            let channel = Channel::balance_list(list.collect::<Result<Vec<_>, _>>()?.into_iter());
            run(args.callers, args.rate, warm_up, length, || grpc(EchoClient::new(channel.clone()), payload.clone()))
                .await
        }
        Kind::MeshHttp1 => {
            let stack = outbound(store(10, endpoints, UpstreamProtocol::Http1), Connector::current());
            run(args.callers, args.rate, warm_up, length, || {
                let (mut stack, payload) = (stack.clone(), payload.clone());
                move || {
                    let request =
                        http::Request::post(format!("http://{AUTHORITY}/echo")).body(Full::new(payload.clone()));
                    let call = request.map(|request| stack.call(request));
                    async move {
                        let Ok(call) = call else { return false };
                        let Ok(response) = call.await else { return false };
                        response.status() == 200
                            && response.into_body().collect().await.is_ok_and(|body| body.to_bytes().len() == 1024)
                    }
                }
            })
            .await
        }
        Kind::Hyper | Kind::HyperInTurn => {
            let step = usize::from(matches!(args.kind, Kind::HyperInTurn));
            let mut connector = HttpConnector::new();
            connector.set_nodelay(true);
            let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
            run(args.callers, args.rate, warm_up, length, || {
                let (client, payload) = (client.clone(), payload.clone());
                let mut at = next.fetch_add(1, Ordering::Relaxed);
                let endpoints = endpoints.to_vec();
                move || {
                    at += step;
                    let endpoint = endpoints[at % endpoints.len()];
                    let request =
                        http::Request::post(format!("http://{endpoint}/echo")).body(Full::new(payload.clone()));
                    let call = request.map(|request| client.request(request));
                    async move {
                        let Ok(call) = call else { return false };
                        let Ok(response) = call.await else { return false };
                        response.status() == 200
                            && response.into_body().collect().await.is_ok_and(|body| body.to_bytes().len() == 1024)
                    }
                }
            })
            .await
        }
    })
}

/// One caller of the echo service.
fn grpc<T>(
    client: EchoClient<T>,
    data: Bytes,
) -> impl FnMut() -> std::pin::Pin<Box<dyn Future<Output = bool> + Send>> + Send
where
    T: tonic::client::GrpcService<tonic::body::Body> + Clone + Send + Sync + 'static,
    T::Future: Send,
    T::Error: Into<Failure>,
    T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<Failure> + Send,
{
    move || {
        let mut client = client.clone();
        let payload = Payload { data: data.clone() };
        Box::pin(async move { client.call(payload).await.is_ok_and(|answer| answer.get_ref().data.len() == 1024) })
    }
}

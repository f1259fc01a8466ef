//! Serving: which connections are taken, what requests pass, how the end of service goes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use mesh_core::resource::listener::{
    Direction, FilterChain, FilterChainMatch, HttpConnectionManager, Listener, ListenerAddress,
};
use mesh_core::resource::metadata::Metadata;
use mesh_core::resource::route::{Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost};
use mesh_core::snapshot::{Change, Compiler, SnapshotStore, Update};
use mesh_tower::body::RequestBody;
use mesh_tower::inbound::{Connection, ServeOptions, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tower::service_fn;

use crate::mesh::{Mesh, Setup, ask, call, eventually, get, http1, http2, post, within};

/// A port that is served, and how to end it.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    /// Requests that reached the application.
    pub(crate) requests: Arc<AtomicUsize>,
    /// Lets a request to `/held` go on.
    release: Arc<Semaphore>,
    shutdown: oneshot::Sender<()>,
    running: JoinHandle<std::io::Result<()>>,
}

/// Serves an application that echoes, on a port that `listener` makes configuration for.
pub(crate) async fn served(
    listener: impl FnOnce(u16) -> Option<Listener>,
    change: impl FnOnce(&mut ServeOptions),
) -> Served {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = port.local_addr().unwrap();
    let mut store = SnapshotStore::default();
    if let Some(listener) = listener(address.port()) {
        let update = Update { listeners: vec![Change::Set(Arc::new(listener))], ..Update::default() };
        let (snapshot, refused) = Compiler::new(1).apply(update);
        assert!(refused.is_empty(), "{refused:?}");
        store = SnapshotStore::new(snapshot);
    }
    let mut options = ServeOptions::new(store);
    change(&mut options);
    let (requests, release) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (counted, released) = (Arc::clone(&requests), Arc::clone(&release));
    let application = service_fn(move |request: Request<RequestBody<Incoming>>| {
        let released = Arc::clone(&released);
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let seen = request.extensions().get::<Connection>().unwrap().0.remote.is_some();
            let expects = request.headers().contains_key("expect");
            if request.uri().path() == "/held" {
                released.acquire().await.unwrap().forget();
            }
            let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let response =
                Response::builder().header("x-peer", seen.to_string()).header("x-expects", expects.to_string());
            Ok::<_, Infallible>(response.body(Full::new(body)).unwrap())
        }
    });
    let (shutdown, is_shut) = oneshot::channel::<()>();
    let running = tokio::spawn(serve(port, application, options, async { drop(is_shut.await) }));
    Served { address, requests, release, shutdown, running }
}

/// `virtualInbound` with one chain for a port, its routes to the application.
fn inbound_listener(port: u16, matches: FilterChainMatch, upgrades: &[&str]) -> Listener {
    let routes = vec![
        Route::new(RouteMatch::prefix("/nothing"), {
            use mesh_core::resource::route::DirectResponse;
            RouteAction::DirectResponse(DirectResponse { status: http::StatusCode::IM_A_TEAPOT, body: Bytes::new() })
        }),
        Route::new(RouteMatch::prefix("/"), RouteAction::Forward(Box::new(crate::mesh::forward("inbound")))),
    ];
    let host = VirtualHost { name: "in".into(), domains: vec!["*".into()], routes, ..VirtualHost::default() };
    let config = RouteConfiguration { virtual_hosts: vec![host], ..RouteConfiguration::default() };
    let mut manager = HttpConnectionManager::inline(Arc::new(config));
    manager.upgrades = upgrades.iter().map(|name| (*name).to_owned()).collect();
    Listener {
        name: "virtualInbound".into(),
        address: Some(ListenerAddress { ip: [0, 0, 0, 0].into(), port: 15006 }),
        direction: Direction::Inbound,
        use_original_dst: true,
        bind_to_port: false,
        filter_chains: vec![FilterChain { matches, ..crate::mesh::chain("in", Some(port), manager) }],
        default_filter_chain: None,
        api_listener: None,
        metadata: Metadata::new(),
    }
}

pub(crate) fn open(port: u16) -> Option<Listener> {
    let matches = FilterChainMatch { destination_port: Some(port), ..FilterChainMatch::default() };
    Some(inbound_listener(port, matches, &[]))
}

/// Sends bytes over a connection of its own and reads until the server closes.
async fn raw(address: SocketAddr, bytes: &str) -> String {
    within(async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(bytes.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    })
    .await
}

#[tokio::test]
async fn both_http_versions_are_served_on_one_port() {
    let served = served(open, |_| {}).await;
    for cluster in [http1("c", served.address), http2("c", served.address)] {
        let client = Mesh::new(Setup::to(cluster)).client();
        let answer = ask(&client, post("/", "hello")).await;
        assert_eq!((answer.status.as_u16(), answer.text(), answer.header("x-peer")), (200, "hello", "true"));
        assert_eq!(ask(&client, get("/nothing")).await.status, 418, "the inbound routes are asked");
        assert_eq!(ask(&client, call("/")).await.status, 200);
    }
    assert_eq!(served.requests.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_port_without_configuration_stays_closed_unless_that_is_allowed() {
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let closed = served(|_| None, |_| {}).await;
    assert_eq!(raw(closed.address, request).await, "");
    assert_eq!(closed.requests.load(Ordering::SeqCst), 0);
    let allowed = served(|_| None, |options| options.allow_unconfigured_ports = true).await;
    assert!(raw(allowed.address, request).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_connection_that_no_chain_takes_is_closed_whatever_is_allowed() {
    let tls_only = |port: u16| {
        let matches = FilterChainMatch {
            destination_port: Some(port),
            transport_protocol: "tls".to_owned(),
            ..FilterChainMatch::default()
        };
        Some(inbound_listener(port, matches, &[]))
    };
    let refused = served(tls_only, |options| options.allow_unconfigured_ports = true).await;
    assert_eq!(raw(refused.address, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await, "");
    assert_eq!(refused.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn s17_an_inbound_upgrade_needs_to_be_allowed() {
    let request =
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, close\r\nupgrade: websocket\r\ncontent-length: 0\r\n\r\n";
    let refusing = served(open, |_| {}).await;
    assert!(raw(refusing.address, request).await.starts_with("HTTP/1.1 403"));
    assert_eq!(refusing.requests.load(Ordering::SeqCst), 0);
    let allowing = served(
        |port| {
            let matches = FilterChainMatch { destination_port: Some(port), ..FilterChainMatch::default() };
            Some(inbound_listener(port, matches, &["websocket"]))
        },
        |_| {},
    )
    .await;
    assert!(raw(allowing.address, request).await.starts_with("HTTP/1.1 200"), "the application does not switch");
    assert_eq!(allowing.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_expectation_is_answered_before_the_body_and_not_shown_to_the_application() {
    let served = served(open, |_| {}).await;
    let answer = within(async {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let head =
            "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut interim = [0; 25];
        stream.read_exact(&mut interim).await.unwrap();
        assert_eq!(std::str::from_utf8(&interim).unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"hello").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    })
    .await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    assert!(answer.contains("x-expects: false"), "{answer}");
}

#[tokio::test]
async fn r06_a_drain_finishes_what_is_under_way_and_refuses_what_is_new() {
    for cluster in [http1, http2] {
        let served = served(open, |options| options.drain_timeout = Duration::from_secs(60)).await;
        let client = Mesh::new(Setup::to(cluster("c", served.address))).client();
        let in_flight = tokio::spawn({
            let client = client.clone();
            async move { ask(&client, post("/held", "hello")).await }
        });
        eventually("the request is under way", || served.requests.load(Ordering::SeqCst) == 1).await;
        served.shutdown.send(()).unwrap();
        within(async { while TcpStream::connect(served.address).await.is_ok() {} }).await;
        assert!(!served.running.is_finished(), "a request is under way");
        served.release.add_permits(1);
        let answer = within(in_flight).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "hello"));
        within(served.running).await.unwrap().unwrap();
        assert_eq!(ask(&client, get("/")).await.outcome(), (503, "UF".to_owned()));
    }
}

#[tokio::test]
async fn r06_a_drain_ends_by_its_deadline_whatever_is_under_way() {
    for cluster in [http1, http2] {
        let served = served(open, |options| options.drain_timeout = Duration::from_millis(50)).await;
        let client = Mesh::new(Setup::to(cluster("c", served.address))).client();
        let in_flight = tokio::spawn(async move { ask(&client, get("/held")).await });
        eventually("the request is under way", || served.requests.load(Ordering::SeqCst) == 1).await;
        served.shutdown.send(()).unwrap();
        within(served.running).await.unwrap().unwrap();
        assert_eq!(within(in_flight).await.unwrap().outcome(), (503, "UC".to_owned()));
    }
}

#[tokio::test]
async fn n19_connections_that_break_do_not_end_the_port() {
    let served = served(open, |_| {}).await;
    for bytes in ["", "\0\0\0garbage\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense"] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        drop(stream);
    }
    let client = Mesh::new(Setup::to(http1("c", served.address))).client();
    assert_eq!(ask(&client, post("/", "hello")).await.text(), "hello");
    assert!(!served.running.is_finished());
}

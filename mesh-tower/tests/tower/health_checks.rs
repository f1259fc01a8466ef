//! Health checks over real connections: what an answer, or none, says of a host.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use mesh_core::engine::health_check::CheckOutcome;
use mesh_core::resource::cluster::Cluster;
use mesh_core::resource::health_check::{GrpcHealthCheck, HealthCheck, HealthChecker, HttpHealthCheck, TcpHealthCheck};
use mesh_core::snapshot::health::Check;
use mesh_core::state::Lane;
use mesh_tower::health_check::check;

use crate::mesh::{Mesh, Setup, http1, within};
use crate::server::{H1Server, H2Server};

const PASSED: CheckOutcome = CheckOutcome::Passed { degraded: false };

fn config(checker: HealthChecker) -> HealthCheck {
    let second = Duration::from_secs(1);
    HealthCheck {
        timeout: 10 * second,
        interval: second,
        initial_jitter: Duration::ZERO,
        interval_jitter: Duration::ZERO,
        interval_jitter_percent: 0,
        unhealthy_threshold: 1,
        healthy_threshold: 1,
        alt_port: None,
        reuse_connection: true,
        no_traffic_interval: second,
        no_traffic_healthy_interval: None,
        unhealthy_interval: second,
        unhealthy_edge_interval: second,
        healthy_edge_interval: second,
        checker,
    }
}

fn http() -> HttpHealthCheck {
    HttpHealthCheck {
        host: None,
        path: "/healthz?full".to_owned(),
        method: Method::GET,
        headers_to_add: Vec::new(),
        headers_to_remove: Vec::new(),
        expected_statuses: std::iter::once(200..201).collect(),
        retriable_statuses: Vec::new(),
        http2: false,
    }
}

/// The check of the only host of a cluster.
fn of(address: SocketAddr, config: HealthCheck) -> Check {
    let config = Arc::new(config);
    let cluster = Cluster { health_check: Some(Arc::clone(&config)), ..http1("c", address) };
    let mesh = Mesh::new(Setup::to(cluster));
    let pin = mesh.store.pin(Lane::default());
    let cluster = Arc::clone(pin.cluster_by_name("c").unwrap());
    let host = cluster.balancer().hosts()[0].clone();
    Check { cluster, host, config }
}

async fn outcome(address: SocketAddr, config: HealthCheck) -> CheckOutcome {
    within(check(&of(address, config), None)).await.0
}

/// Answers every request with this head, and keeps what it was asked.
async fn answering(head: &'static str) -> (H1Server, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let (asked, heads) = tokio::sync::mpsc::unbounded_channel();
    let server = H1Server::start(move |mut connection| {
        let asked = asked.clone();
        async move {
            while let Some(request) = connection.request().await {
                let _ = asked.send(request.head);
                connection.send(head).await;
            }
        }
    })
    .await;
    (server, heads)
}

#[tokio::test]
async fn an_http_status_says_how_a_host_is() {
    for (head, expected) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", PASSED),
        ("HTTP/1.1 200 OK\r\nx-envoy-degraded:\r\ncontent-length: 0\r\n\r\n", CheckOutcome::Passed { degraded: true }),
        ("HTTP/1.1 204 No Content\r\n\r\n", CheckOutcome::Unwell),
        ("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", CheckOutcome::Unwell),
        ("HTTP/1.1 429 Later\r\ncontent-length: 0\r\n\r\n", CheckOutcome::Unreachable),
        ("this is no HTTP\r\n\r\n", CheckOutcome::Unreachable),
    ] {
        let (server, _heads) = answering(head).await;
        let http = HttpHealthCheck { retriable_statuses: std::iter::once(429..430).collect(), ..http() };
        assert_eq!(outcome(server.address, config(HealthChecker::Http(http))).await, expected, "{head}");
    }
}

#[tokio::test]
async fn a_check_asks_as_it_is_told_and_keeps_its_connection_for_the_next_one() {
    let (server, mut heads) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let http = HttpHealthCheck {
        host: Some("health.example".to_owned()),
        headers_to_add: vec![("x-probe".parse().unwrap(), "yes".parse().unwrap())],
        headers_to_remove: vec!["user-agent".parse().unwrap()],
        ..http()
    };
    let one = of(server.address, config(HealthChecker::Http(http.clone())));
    let (first, kept) = within(check(&one, None)).await;
    let (second, kept) = within(check(&one, kept)).await;
    assert_eq!((first, second, server.connections()), (PASSED, PASSED, 1));
    let head = heads.recv().await.unwrap().to_lowercase();
    assert!(head.starts_with("get /healthz?full http/1.1"), "{head}");
    assert!(head.contains("host: health.example") && head.contains("x-probe: yes") && !head.contains("user-agent"));
    drop(kept);
    let anew = of(server.address, HealthCheck { reuse_connection: false, ..config(HealthChecker::Http(http)) });
    let (outcome, kept) = within(check(&anew, None)).await;
    assert_eq!((outcome, kept.is_none(), server.connections()), (PASSED, true, 2));
}

#[tokio::test]
async fn a_kept_connection_that_is_over_is_replaced() {
    let server = H1Server::start(|mut connection| async move {
        if connection.request().await.is_some() {
            connection.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    })
    .await;
    let one = of(server.address, config(HealthChecker::Http(http())));
    let mut kept = None;
    for _ in 0..3 {
        let (outcome, next) = within(check(&one, kept)).await;
        assert_eq!(outcome, PASSED);
        kept = next;
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn a_host_that_refuses_closes_or_keeps_silent_is_unreachable() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let closing = H1Server::start(|mut connection| async move {
        connection.request().await;
    })
    .await;
    let silent = H1Server::start(|mut connection| async move { while connection.request().await.is_some() {} }).await;
    let short = Duration::from_millis(300);
    let checkers = [
        HealthChecker::Http(http()),
        HealthChecker::Grpc(GrpcHealthCheck::default()),
        HealthChecker::Tcp(TcpHealthCheck { send: b"GET / HTTP/1.1\r\n\r\n".to_vec(), receive: vec![b"x".to_vec()] }),
    ];
    for checker in checkers {
        for address in [nobody, closing.address, silent.address] {
            let config = HealthCheck { timeout: short, ..config(checker.clone()) };
            assert_eq!(outcome(address, config).await, CheckOutcome::Unreachable, "{checker:?}");
        }
    }
}

#[tokio::test]
async fn grpc_hosts_are_asked_about_a_service() {
    // Answers with the status that the name of the service asks for.
    let server = H2Server::serve(
        |_| {},
        |request, mut respond| async move {
            assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
            assert_eq!(request.uri().authority().unwrap().as_str(), "c");
            let mut body = request.into_body();
            let mut asked = Vec::new();
            while let Some(Ok(data)) = body.data().await {
                let _ = body.flow_control().release_capacity(data.len());
                asked.extend_from_slice(&data);
            }
            let name = String::from_utf8_lossy(asked.get(7..).unwrap_or_default()).into_owned();
            let mut response = Response::new(());
            response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
            if name == "unknown" {
                response.headers_mut().insert("grpc-status", "5".parse().unwrap());
                respond.send_response(response, true).unwrap();
                return;
            }
            let status = if name == "ill" { 2 } else { 1 };
            let mut stream = respond.send_response(response, false).unwrap();
            stream.send_data(Bytes::from(vec![0, 0, 0, 0, 2, 8, status]), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            stream.send_trailers(trailers).unwrap();
        },
    )
    .await;
    for (service_name, expected) in
        [("", PASSED), ("well", PASSED), ("ill", CheckOutcome::Unwell), ("unknown", CheckOutcome::Unwell)]
    {
        let grpc = GrpcHealthCheck { service_name: service_name.to_owned(), ..GrpcHealthCheck::default() };
        assert_eq!(outcome(server.address, config(HealthChecker::Grpc(grpc))).await, expected, "{service_name:?}");
    }
}

#[tokio::test]
async fn a_tcp_host_is_well_when_it_connects_or_says_what_is_awaited() {
    let server = H1Server::start(|mut connection| async move {
        while connection.take(4).await.is_some() {
            connection.send("+PO").await;
            connection.send("NG and more").await;
        }
    })
    .await;
    let tcp = |send: &str, receive: &[&str]| {
        let receive = receive.iter().map(|one| one.as_bytes().to_vec()).collect();
        HealthCheck {
            timeout: Duration::from_millis(500),
            ..config(HealthChecker::Tcp(TcpHealthCheck { send: send.as_bytes().to_vec(), receive }))
        }
    };
    assert_eq!(outcome(server.address, tcp("", &[])).await, PASSED);
    assert_eq!(outcome(server.address, tcp("PING", &["PONG", "more"])).await, PASSED);
    assert_eq!(outcome(server.address, tcp("PING", &["more", "PONG"])).await, CheckOutcome::Unreachable);
}

#[tokio::test]
async fn another_port_may_be_asked() {
    let (server, _heads) = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let elsewhere = SocketAddr::new(server.address.ip(), 1);
    let alt_port = Some(server.address.port());
    let config = HealthCheck { alt_port, ..config(HealthChecker::Http(http())) };
    assert_eq!(outcome(elsewhere, config).await, PASSED);
}

//! Limits of HTTP/1.1 connections: how many, how old, how idle, how often used, and who waits for one.

use std::sync::Arc;
use std::time::Duration;

use mesh_core::resource::cluster::{Cluster, HttpConnectionOptions, Thresholds};
use mesh_core::snapshot::{Change, Update};
use mesh_core::state::Load;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::mesh::{Mesh, Setup, ask, eventually, get, http1, post, within};
use crate::server::H1Server;

fn limited(cluster: Cluster, thresholds: Thresholds) -> Cluster {
    let mut cluster = cluster;
    cluster.circuit_breakers.default = thresholds;
    cluster
}

/// A server that answers as many requests as it is allowed to.
async fn held() -> (H1Server, Arc<Semaphore>) {
    let allowed = Arc::new(Semaphore::new(0));
    let permits = Arc::clone(&allowed);
    let server = H1Server::start(move |mut connection| {
        let permits = Arc::clone(&permits);
        async move {
            while connection.request().await.is_some() {
                permits.acquire().await.unwrap().forget();
                connection.respond(200, b"").await;
            }
        }
    })
    .await;
    (server, allowed)
}

#[tokio::test]
async fn a_connection_of_one_request_is_closed_after_it() {
    let (closed, mut is_closed) = mpsc::unbounded_channel();
    let server = H1Server::start(move |mut connection| {
        let closed = closed.clone();
        async move {
            connection.request().await.unwrap();
            connection.respond(200, b"").await;
            connection.closed().await;
            let _ = closed.send(());
        }
    })
    .await;
    let http = HttpConnectionOptions { max_requests_per_connection: Some(1), ..HttpConnectionOptions::default() };
    let client = Mesh::new(Setup::to(Cluster { http, ..http1("c", server.address) })).client();
    for _ in 0..3 {
        assert_eq!(ask(&client, get("/")).await.outcome(), (200, "-".to_owned()));
        within(is_closed.recv()).await;
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn max_connections_makes_requests_wait_and_fails_none() {
    let server = H1Server::echo().await;
    let thresholds = Thresholds { max_connections: 1, ..Thresholds::default() };
    let client = Mesh::new(Setup::to(limited(http1("c", server.address), thresholds))).client();
    let mut requests = JoinSet::new();
    for n in 0..50 {
        let client = client.clone();
        requests.spawn(async move { (ask(&client, post("/", format!("{n}"))).await, n) });
    }
    for (answer, n) in requests.join_all().await {
        assert_eq!((answer.outcome(), answer.text()), ((200, "-".to_owned()), format!("{n}").as_str()));
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_share_one_connection_and_nobody_is_forgotten() {
    let server = H1Server::echo().await;
    let thresholds = Thresholds { max_connections: 1, ..Thresholds::default() };
    let client = Mesh::new(Setup::to(limited(http1("c", server.address), thresholds))).client();
    let mut requests = JoinSet::new();
    for _ in 0..8 {
        let client = client.clone();
        requests.spawn(async move {
            for _ in 0..50 {
                assert_eq!(ask(&client, post("/", "x")).await.outcome(), (200, "-".to_owned()));
            }
        });
    }
    requests.join_all().await;
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn max_connections_of_one_and_one_request_each_still_serves_everybody() {
    let server = H1Server::echo().await;
    let http = HttpConnectionOptions { max_requests_per_connection: Some(1), ..HttpConnectionOptions::default() };
    let thresholds = Thresholds { max_connections: 1, ..Thresholds::default() };
    let client = Mesh::new(Setup::to(limited(Cluster { http, ..http1("c", server.address) }, thresholds))).client();
    let mut requests = JoinSet::new();
    for _ in 0..10 {
        let client = client.clone();
        requests.spawn(async move { ask(&client, get("/")).await.outcome() });
    }
    assert!(requests.join_all().await.iter().all(|outcome| outcome.0 == 200));
    assert_eq!(server.connections(), 10);
}

#[tokio::test]
async fn a_queue_of_nobody_refuses_the_first_request_that_finds_no_connection() {
    let server = H1Server::echo().await;
    let thresholds = Thresholds { max_pending_requests: 0, ..Thresholds::default() };
    let mesh = Mesh::new(Setup::to(limited(http1("c", server.address), thresholds)));
    let answer = ask(&mesh.client(), get("/")).await;
    assert_eq!((answer.outcome(), answer.header("x-envoy-overloaded")), ((503, "UO".to_owned()), "true"));
    assert_eq!(answer.text(), "upstream connect error or disconnect/reset before headers. reset reason: overflow");
    assert_eq!(answer.info.details, "upstream_reset_before_response_started{overflow}");
    assert_eq!((mesh.load("c", Load::Requests), mesh.load("c", Load::Pending)), (0, 0));
}

#[tokio::test]
async fn the_queue_holds_its_limit_and_refuses_one_more() {
    let (server, allowed) = held().await;
    let thresholds = Thresholds { max_connections: 1, max_pending_requests: 1, ..Thresholds::default() };
    let mesh = Mesh::new(Setup::to(limited(http1("c", server.address), thresholds)));
    let client = mesh.client();
    let request = || {
        let client = client.clone();
        tokio::spawn(async move { ask(&client, get("/")).await.outcome() })
    };
    let first = request();
    eventually("the first is sent", || server.connections() == 1 && mesh.load("c", Load::Pending) == 0).await;
    let second = request();
    eventually("the second waits", || mesh.load("c", Load::Pending) == 1).await;
    assert_eq!(ask(&client, get("/")).await.outcome(), (503, "UO".to_owned()));
    allowed.add_permits(2);
    assert_eq!(within(first).await.unwrap(), (200, "-".to_owned()));
    assert_eq!(within(second).await.unwrap(), (200, "-".to_owned()));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn max_requests_refuses_what_goes_beyond_it() {
    let (server, allowed) = held().await;
    let thresholds = Thresholds { max_requests: 1, ..Thresholds::default() };
    let mesh = Mesh::new(Setup::to(limited(http1("c", server.address), thresholds)));
    let client = mesh.client();
    let first = tokio::spawn({
        let client = client.clone();
        async move { ask(&client, get("/")).await.outcome() }
    });
    eventually("the first is under way", || mesh.load("c", Load::Requests) == 1).await;
    let answer = ask(&client, get("/")).await;
    assert_eq!((answer.outcome(), answer.header("x-envoy-overloaded")), ((503, "UO".to_owned()), "true"));
    allowed.add_permits(2);
    assert_eq!(within(first).await.unwrap(), (200, "-".to_owned()));
    assert_eq!(ask(&client, get("/")).await.outcome(), (200, "-".to_owned()));
}

#[tokio::test]
async fn connections_end_when_their_endpoint_is_gone() {
    let (closed, mut is_closed) = mpsc::unbounded_channel();
    let server = H1Server::start(move |mut connection| {
        let closed = closed.clone();
        async move {
            connection.request().await.unwrap();
            connection.respond(200, b"").await;
            connection.closed().await;
            let _ = closed.send(());
        }
    })
    .await;
    let mut mesh = Mesh::new(Setup::to(http1("c", server.address)));
    let client = mesh.client();
    assert_eq!(ask(&client, get("/")).await.outcome(), (200, "-".to_owned()));
    assert!(is_closed.try_recv().is_err());
    mesh.publish(Update { clusters: vec![Change::Remove("c".into())], ..Update::default() });
    within(is_closed.recv()).await;
}

#[tokio::test]
async fn idle_and_old_connections_are_closed() {
    let short = Some(Duration::from_millis(50));
    let idle = HttpConnectionOptions { idle_timeout: short, ..HttpConnectionOptions::default() };
    // What looks at connections wakes up by the idle timeout.
    let old = HttpConnectionOptions {
        max_connection_duration: short,
        idle_timeout: Some(Duration::from_millis(400)),
        ..HttpConnectionOptions::default()
    };
    for http in [idle, old] {
        let (closed, mut is_closed) = mpsc::unbounded_channel();
        let server = H1Server::start(move |mut connection| {
            let closed = closed.clone();
            async move {
                connection.request().await.unwrap();
                connection.respond(200, b"").await;
                connection.closed().await;
                let _ = closed.send(());
            }
        })
        .await;
        let mesh = Mesh::new(Setup::to(Cluster { http, ..http1("c", server.address) }));
        let client = mesh.client();
        assert_eq!(ask(&client, get("/")).await.outcome(), (200, "-".to_owned()));
        within(is_closed.recv()).await;
        eventually("the connection is not counted", || mesh.load("c", Load::Connections) == 0).await;
        assert_eq!(ask(&client, get("/")).await.outcome(), (200, "-".to_owned()));
        assert_eq!(server.connections(), 2);
    }
}

//! Limits of HTTP/2 connections: streams at once, requests, age, idleness, pings.

use std::sync::Arc;
use std::time::Duration;

use mesh_core::resource::cluster::{Cluster, Http2Keepalive, Http2Options, HttpConnectionOptions, Thresholds};
use mesh_core::snapshot::{Change, Update};
use mesh_core::state::Load;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::mesh::{Mesh, Setup, ask, call, eventually, http2, retrying, route};
use crate::server::{FrameServer, H2Server, answer};

/// A server that answers when so many requests are there at once.
async fn meeting(requests: usize, most_streams: u32) -> H2Server {
    let barrier = Arc::new(Barrier::new(requests));
    H2Server::serve(
        |builder| {
            builder.max_concurrent_streams(most_streams);
        },
        move |request, mut respond| {
            let barrier = Arc::clone(&barrier);
            async move {
                if request.uri().path() == "/meet" {
                    barrier.wait().await;
                }
                answer(&mut respond, "");
            }
        },
    )
    .await
}

async fn all_answered(mesh: &Mesh, path: &'static str, requests: usize) {
    let mut calls = JoinSet::new();
    for _ in 0..requests {
        let client = mesh.client();
        calls.spawn(async move { ask(&client, call(path)).await.outcome() });
    }
    for outcome in calls.join_all().await {
        assert_eq!(outcome, (200, "-".to_owned()));
    }
}

#[tokio::test]
async fn n09_a_peer_of_one_stream_gets_a_connection_for_each() {
    let server = meeting(3, 1).await;
    let retrying = retrying("c", "refused-stream", 5);
    let mut cluster = http2("c", server.address);
    cluster.circuit_breakers.default.max_retries = 100;
    let mesh = Mesh::new(Setup::new(vec![cluster], vec![route("/", retrying)]));
    // Before the peer's settings are known it may refuse a stream, which is safe to send again.
    all_answered(&mesh, "/", 5).await;
    all_answered(&mesh, "/meet", 3).await;
    assert!(server.connections() >= 3);
}

#[tokio::test]
async fn the_clusters_own_limit_of_streams_spreads_requests_over_connections() {
    let server = meeting(6, 100).await;
    let http2_options = Http2Options { max_concurrent_streams: 2, ..Http2Options::default() };
    let mesh = Mesh::new(Setup::to(Cluster { http2: http2_options, ..http2("c", server.address) }));
    all_answered(&mesh, "/meet", 6).await;
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn max_connections_makes_streams_wait_and_fails_none() {
    let server = meeting(2, 100).await;
    let mut cluster = http2("c", server.address);
    cluster.http2.max_concurrent_streams = 2;
    cluster.circuit_breakers.default = Thresholds { max_connections: 1, ..Thresholds::default() };
    let mesh = Mesh::new(Setup::to(cluster));
    all_answered(&mesh, "/meet", 20).await;
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_used_up_connection_is_replaced_and_closed() {
    let server = meeting(1, 100).await;
    let http = HttpConnectionOptions { max_requests_per_connection: Some(2), ..HttpConnectionOptions::default() };
    let mesh = Mesh::new(Setup::to(Cluster { http, ..http2("c", server.address) }));
    for _ in 0..5 {
        all_answered(&mesh, "/", 1).await;
    }
    assert_eq!(server.connections(), 3);
    eventually("the first two are closed", || server.open() == 1).await;
}

#[tokio::test]
async fn idle_and_old_connections_are_closed() {
    let short = Some(Duration::from_millis(50));
    let idle = HttpConnectionOptions { idle_timeout: short, ..HttpConnectionOptions::default() };
    let old = HttpConnectionOptions { max_connection_duration: short, ..HttpConnectionOptions::default() };
    for http in [idle, old] {
        let server = meeting(1, 100).await;
        let mesh = Mesh::new(Setup::to(Cluster { http, ..http2("c", server.address) }));
        all_answered(&mesh, "/", 1).await;
        eventually("the connection is closed", || server.open() == 0).await;
        eventually("the connection is not counted", || mesh.load("c", Load::Connections) == 0).await;
        all_answered(&mesh, "/", 1).await;
        assert_eq!(server.connections(), 2);
    }
}

#[tokio::test]
async fn connections_end_when_their_endpoint_is_gone() {
    let server = meeting(1, 100).await;
    let mut mesh = Mesh::new(Setup::to(http2("c", server.address)));
    all_answered(&mesh, "/", 1).await;
    assert_eq!(server.open(), 1);
    mesh.publish(Update { clusters: vec![Change::Remove("c".into())], ..Update::default() });
    eventually("the connection is closed", || server.open() == 0).await;
}

#[tokio::test]
async fn n04_a_connection_that_answers_no_ping_is_closed() {
    let server = FrameServer::start(|mut frames| async move {
        let stream = frames.request().await?;
        if frames.number > 1 {
            frames.ok(stream).await?;
        }
        // Frames are read, pings among them, and none is answered.
        while frames.next().await.is_some() {}
        Some(())
    })
    .await;
    let keepalive = Http2Keepalive { interval: Duration::from_millis(300), timeout: Duration::from_millis(300) };
    let http2_options = Http2Options { keepalive: Some(keepalive), ..Http2Options::default() };
    let mesh = Mesh::new(Setup::to(Cluster { http2: http2_options, ..http2("c", server.address) }));
    let answer = ask(&mesh.client(), call("/")).await;
    assert_eq!((answer.outcome().1.as_str(), answer.header("grpc-status")), ("UC", "14"));
    all_answered(&mesh, "/", 1).await;
    assert_eq!(server.connections(), 2);
}

//! Requests that are given up: nothing stays counted, and the pool still works.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::channel::Channel;
use mesh_core::resource::cluster::{Cluster, Thresholds};
use mesh_core::state::Load;
use mesh_tower::BoxError;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::mesh::{HOST, Mesh, Setup, ask, eventually, get, http1, http2, post, retrying, route, within};
use crate::server::{H1Server, H2Server, answer};

fn limited(cluster: Cluster, max_connections: u32) -> Cluster {
    let mut cluster = cluster;
    cluster.circuit_breakers.default =
        Thresholds { max_connections, max_requests: 10_000, max_pending_requests: 10_000, ..Thresholds::default() };
    cluster
}

async fn nothing_is_under_way(mesh: &Mesh) {
    for load in [Load::Requests, Load::Pending, Load::Retries] {
        eventually(&format!("no {load:?}"), || mesh.load("c", load) == 0).await;
    }
    eventually("no host is busy", || mesh.active("c") == 0).await;
}

async fn storm(mesh: &Mesh) {
    let mut requests = JoinSet::new();
    for _ in 0..1_000 {
        let client = mesh.client();
        requests.spawn(async move { drop(client.oneshot(post("/", "hello")).await) });
    }
    eventually("all are under way", || mesh.load("c", Load::Requests) == 1_000).await;
    // Some are sent, some wait for a connection, and all are given up.
    requests.shutdown().await;
    nothing_is_under_way(mesh).await;
}

#[tokio::test]
async fn r05_a_thousand_requests_given_up_over_http1_leave_nothing_behind() {
    let (answering, may_answer) = watch::channel(false);
    let server = H1Server::start(move |mut connection| {
        let mut may_answer = may_answer.clone();
        async move {
            while connection.request().await.is_some() {
                may_answer.wait_for(|may| *may).await.unwrap();
                connection.respond(200, b"").await;
            }
        }
    })
    .await;
    let mesh = Mesh::new(Setup::to(limited(http1("c", server.address), 10)));
    storm(&mesh).await;
    answering.send_replace(true);
    for _ in 0..20 {
        assert_eq!(ask(&mesh.client(), get("/")).await.outcome(), (200, "-".to_owned()));
    }
    nothing_is_under_way(&mesh).await;
    assert!(mesh.load("c", Load::Connections) <= 10);
}

#[tokio::test]
async fn r05_a_thousand_requests_given_up_over_http2_leave_nothing_behind() {
    let (answering, may_answer) = watch::channel(false);
    let server = H2Server::serve(
        |builder| {
            builder.max_concurrent_streams(50);
        },
        move |_, mut respond| {
            let mut may_answer = may_answer.clone();
            async move {
                tokio::select! {
                    _ = may_answer.wait_for(|may| *may) => answer(&mut respond, ""),
                    _ = std::future::poll_fn(|cx| respond.poll_reset(cx)) => {}
                }
            }
        },
    )
    .await;
    // The server ends a connection that resets so many streams; what it refuses with that it never processed.
    let refused = route("/", retrying("c", "refused-stream", 3));
    let mesh = Mesh::new(Setup::new(vec![limited(http2("c", server.address), 3)], vec![refused]));
    storm(&mesh).await;
    answering.send_replace(true);
    for _ in 0..20 {
        assert_eq!(ask(&mesh.client(), get("/")).await.outcome(), (200, "-".to_owned()));
    }
    nothing_is_under_way(&mesh).await;
    assert!(server.connections() <= 3);
}

#[tokio::test]
async fn r05_requests_given_up_between_tries_give_their_retry_back() {
    let server = H1Server::start(|mut connection| async move {
        while connection.request().await.is_some() {
            connection.respond(503, b"").await;
        }
    })
    .await;
    let mut policy = crate::mesh::retry_policy("5xx", 1_000_000);
    // Long enough to be given up in: the requests wait for their next try.
    policy.base_interval = Some(std::time::Duration::from_secs(3600));
    policy.max_interval = Some(std::time::Duration::from_secs(3600));
    let mut forward = retrying("c", "5xx", 1);
    forward.retry_policy = Some(Arc::new(policy));
    let mut cluster = limited(http1("c", server.address), 10);
    cluster.circuit_breakers.default.max_retries = 1_000;
    let mesh = Mesh::new(Setup::new(vec![cluster], vec![route("/", forward)]));
    let mut requests = JoinSet::new();
    for _ in 0..100 {
        let client = mesh.client();
        requests.spawn(async move { drop(client.oneshot(get("/")).await) });
    }
    eventually("all wait for another try", || mesh.load("c", Load::Retries) == 100).await;
    requests.shutdown().await;
    nothing_is_under_way(&mesh).await;
}

#[tokio::test]
async fn a_response_that_is_not_read_to_its_end_gives_its_place_back() {
    let server = H2Server::serve(
        |_| {},
        |_, mut respond| async move {
            let mut open = respond.send_response(http::Response::new(()), false).unwrap();
            let _ = std::future::poll_fn(|cx| open.poll_reset(cx)).await;
        },
    )
    .await;
    let mesh = Mesh::new(Setup::to(limited(http2("c", server.address), 1)));
    let (_sender, body) = Channel::<Bytes, BoxError>::new(1);
    let request = Request::post(format!("http://{HOST}/")).body(body).unwrap();
    let response = within(mesh.client().oneshot(request)).await.unwrap();
    assert_eq!((mesh.load("c", Load::Requests), mesh.active("c")), (1, 1));
    drop(response);
    nothing_is_under_way(&mesh).await;
}

//! One request, one version of the configuration, whatever is published meanwhile.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::channel::Channel;
use mesh_core::snapshot::{Change, Update};
use mesh_tower::BoxError;

use crate::filters::{filter, gate, setup_with};
use crate::mesh::{
    HOST, Mesh, Setup, ask, ask_aside, eventually, forward, get, http1, retrying, route, routes, within,
};
use crate::server::H1Server;

async fn saying(what: &'static str) -> H1Server {
    H1Server::start(move |mut connection| async move {
        while connection.request().await.is_some() {
            connection.respond(200, what.as_bytes()).await;
        }
    })
    .await
}

/// Replaces route, cluster and endpoints by a second version, and takes the first cluster away.
fn second_version(to: &H1Server) -> Update {
    Update {
        routes: vec![routes(Default::default(), vec![route("/", forward("v2"))])],
        clusters: vec![Change::Set(Arc::new(http1("v2", to.address))), Change::Remove("v1".into())],
        ..Update::default()
    }
}

#[tokio::test]
async fn a_push_between_route_and_pick_does_not_reach_the_request() {
    let (first, second) = (saying("v1").await, saying("v2").await);
    let mut mesh = Mesh::new(setup_with(
        Setup::new(vec![http1("v1", first.address)], vec![route("/", forward("v1"))]),
        vec![filter("gate")],
    ));
    let entered = gate::ENTERED.load(std::sync::atomic::Ordering::SeqCst);
    let under_way = tokio::spawn({
        let client = mesh.client();
        async move { ask(&client, get("/gate")).await }
    });
    // The request is routed and waits in a filter while everything it was routed by is replaced.
    eventually("the filter waits", || gate::ENTERED.load(std::sync::atomic::Ordering::SeqCst) > entered).await;
    mesh.publish(second_version(&second));
    let answer = within(under_way).await.unwrap();
    assert_eq!((answer.outcome(), answer.text()), ((200, "-".to_owned()), "v1"));
    assert_eq!(answer.info.upstream.as_ref().unwrap().cluster(), "v1");
    assert_eq!(ask(&mesh.client(), get("/")).await.text(), "v2");
}

#[tokio::test]
async fn a_push_between_two_tries_does_not_reach_the_second_one() {
    let first = H1Server::start(|mut connection| async move {
        if connection.number == 1 {
            // Waits until the body has ended, then breaks.
            connection.request().await;
            return;
        }
        connection.request().await;
        connection.respond(200, b"v1").await;
        connection.closed().await;
    })
    .await;
    let second = saying("v2").await;
    let mut mesh =
        Mesh::new(Setup::new(vec![http1("v1", first.address)], vec![route("/", retrying("v1", "reset", 1))]));
    let (mut sender, body) = Channel::<Bytes, BoxError>::new(1);
    let request = Request::post(format!("http://{HOST}/")).body(body).unwrap();
    let under_way = ask_aside(mesh.client(), request);
    sender.send_data(Bytes::from_static(b"body")).await.unwrap();
    eventually("the first try is sent", || first.connections() == 1).await;
    mesh.publish(second_version(&second));
    drop(sender);
    let answer = within(under_way).await.unwrap();
    assert_eq!((answer.text(), answer.attempts()), ("v1", 2));
}

#[tokio::test]
async fn connections_outlive_a_push_that_leaves_their_cluster_as_it_is() {
    let server = H1Server::echo().await;
    let mut mesh = Mesh::new(Setup::to(http1("c", server.address)));
    ask(&mesh.client(), get("/")).await;
    mesh.publish(Update {
        routes: vec![routes(Default::default(), vec![route("/", forward("c"))])],
        clusters: vec![Change::Set(Arc::new(http1("c", server.address)))],
        ..Update::default()
    });
    ask(&mesh.client(), get("/")).await;
    assert_eq!(server.connections(), 1);
}

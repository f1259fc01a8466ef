//! Local answers to gRPC callers: trailers-only, with the status that Envoy's table gives.

use std::time::Duration;

use mesh_core::resource::cluster::{Thresholds, UpstreamProtocol};
use mesh_core::resource::route::Forward;
use mesh_core::snapshot::RequestCompat;

use crate::mesh::{Answer, Mesh, Setup, ask, call, cluster, forward, http2, route};
use crate::server::{FrameServer, H2Server, refused_address};

/// Flags, `grpc-status` and `grpc-message` of an answer that is trailers-only.
fn trailers_only(answer: &Answer) -> (String, String, String) {
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/grpc"));
    assert!(answer.body.is_empty() && answer.trailers.is_none());
    (answer.info.flags.to_string(), answer.header("grpc-status").to_owned(), answer.header("grpc-message").to_owned())
}

fn expected(flags: &str, status: &str, message: &str) -> (String, String, String) {
    (flags.to_owned(), status.to_owned(), message.to_owned())
}

const RESET: &str = "upstream connect error or disconnect/reset before headers. reset reason: ";

#[tokio::test]
async fn a_call_without_a_route_is_unimplemented() {
    let setup = Setup::new(vec![], vec![]);
    assert_eq!(trailers_only(&ask(&Mesh::new(setup).client(), call("/")).await), expected("NR", "12", ""));
}

#[tokio::test]
async fn a_call_to_a_cluster_that_does_not_exist_is_unavailable() {
    let setup = Setup::new(vec![], vec![route("/", forward("missing"))]);
    assert_eq!(trailers_only(&ask(&Mesh::new(setup).client(), call("/")).await), expected("NC", "14", ""));
}

#[tokio::test]
async fn a_call_without_a_host_is_unavailable() {
    let setup = Setup::to(cluster("c", UpstreamProtocol::Http2, &[]));
    let answer = ask(&Mesh::new(setup).client(), call("/")).await;
    assert_eq!(trailers_only(&answer), expected("UH", "14", "no healthy upstream"));
}

#[tokio::test]
async fn a_call_that_is_not_connected_is_unavailable() {
    let setup = Setup::to(http2("c", refused_address().await));
    let answer = ask(&Mesh::new(setup).client(), call("/")).await;
    assert_eq!(trailers_only(&answer), expected("UF", "14", &format!("{RESET}remote connection failure")));
}

#[tokio::test]
async fn a_call_beyond_the_limits_is_unavailable_and_says_overloaded() {
    let mut cluster = http2("c", refused_address().await);
    cluster.circuit_breakers.default = Thresholds { max_requests: 0, ..Thresholds::default() };
    let answer = ask(&Mesh::new(Setup::to(cluster)).client(), call("/")).await;
    assert_eq!(trailers_only(&answer), expected("UO", "14", &format!("{RESET}overflow")));
    assert_eq!(answer.header("x-envoy-overloaded"), "true");
}

#[tokio::test]
async fn a_call_whose_connection_breaks_is_unavailable() {
    let server = FrameServer::start(|mut frames| async move { frames.request().await.map(drop) }).await;
    let answer = ask(&Mesh::new(Setup::to(http2("c", server.address))).client(), call("/")).await;
    assert_eq!(trailers_only(&answer), expected("UC", "14", &format!("{RESET}connection termination")));
}

#[tokio::test]
async fn a_call_that_takes_too_long_ends_with_the_routes_timeout() {
    let server = H2Server::serve(
        |_| {},
        |_, mut respond| async move {
            let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
        },
    )
    .await;
    let forward = Forward { timeout: Some(Duration::from_millis(50)), ..forward("c") };
    // A gRPC application knows its deadline by DEADLINE_EXCEEDED; strictly as Envoy it is UNAVAILABLE.
    for (compat, status) in [(RequestCompat::default(), "4"), (RequestCompat::envoy(), "14")] {
        let route = route("/", forward.clone());
        let setup = Setup { compat, ..Setup::new(vec![http2("c", server.address)], vec![route]) };
        let answer = ask(&Mesh::new(setup).client(), call("/")).await;
        assert_eq!(trailers_only(&answer), expected("UT", status, "upstream request timeout"));
    }
}

//! What a caller gets when there is nobody to answer: what Envoy gives, with its response flag.

use http::Request;
use http_body_util::Empty;
use tower::ServiceExt;

use crate::support::{closed_port, fetch, mesh_of, routes, server, service, subsets, to};

#[tokio::test]
async fn no_route_is_404_nr() {
    let rules = "  - match: [{uri: {exact: /only}}]\n    route: [{destination: {host: reviews.example}}]\n";
    let mesh = mesh_of(service("reviews", &[("v1", server("v1").await)]) + &routes("reviews", rules)).await;
    let answer = fetch(&mesh, "http://reviews.example/other", &[]).await;
    assert_eq!(
        (answer.status.as_u16(), answer.flags().as_str(), &*answer.info.details),
        (404, "NR", "route_not_found")
    );
}

#[tokio::test]
async fn a_cluster_that_does_not_exist_is_503_nc() {
    let mesh =
        mesh_of(service("reviews", &[("v1", server("v1").await)]) + &routes("reviews", &to("reviews", "v9"))).await;
    let answer = fetch(&mesh, "http://reviews.example/", &[]).await;
    assert_eq!(
        (answer.status.as_u16(), answer.flags().as_str(), &*answer.info.details),
        (503, "NC", "cluster_not_found")
    );
}

#[tokio::test]
async fn a_cluster_without_hosts_is_503_uh() {
    let mesh = mesh_of(
        service("reviews", &[("v1", server("v1").await)])
            + &subsets("reviews", &["v1", "v9"])
            + &routes("reviews", &to("reviews", "v9")),
    )
    .await;
    let answer = fetch(&mesh, "http://reviews.example/", &[]).await;
    assert_eq!(
        (answer.status.as_u16(), answer.flags().as_str(), answer.body.as_str()),
        (503, "UH", "no healthy upstream")
    );
}

#[tokio::test]
async fn a_host_that_refuses_connections_is_503_after_retries() {
    let mesh = mesh_of(service("reviews", &[("v1", closed_port().await)])).await;
    let answer = fetch(&mesh, "http://reviews.example/", &[]).await;
    // Istio's default policy retries connect failures twice.
    assert_eq!((answer.status.as_u16(), answer.flags().as_str()), (503, "URX,UF"));
    assert!(answer.body.starts_with("upstream connect error or disconnect/reset before headers"), "{}", answer.body);
}

#[tokio::test]
async fn a_channel_to_no_target_fails_every_call_and_says_why() {
    let mesh = mesh_of(service("reviews", &[])).await;
    let channel = mesh.channel("https://reviews.example");
    assert!(channel.target().is_err());
    let error = channel.oneshot(Request::new(Empty::<bytes::Bytes>::new())).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("https://reviews.example") && cause.contains("only http"), "{cause}");
    assert!(!error.is_retry_safe() && error.response_flags().is_empty());
}

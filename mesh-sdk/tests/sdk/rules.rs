//! Rules of a VirtualService that filters carry out: faults.

use crate::support::{fetch, mesh_of, routes, server, service};

#[tokio::test]
async fn a_fault_of_a_virtual_service_hits_its_share_on_the_wire() {
    let rules = "
  - match: [{uri: {prefix: /half}}]
    fault: {abort: {httpStatus: 503, percentage: {value: 50}}}
    retries: {attempts: 3, retryOn: 5xx}
    route: [{destination: {host: reviews.example}}]
  - match: [{uri: {prefix: /grpc}}]
    fault:
      delay: {fixedDelay: 5ms, percent: 100}
      abort: {grpcStatus: UNAVAILABLE, percentage: {value: 100}}
    route: [{destination: {host: reviews.example}}]
  - match: [{uri: {prefix: /nobody}}]
    fault: {abort: {httpStatus: 418}}
    route: [{destination: {host: reviews.example}}]
  - route: [{destination: {host: reviews.example}}]
";
    let endpoints = [("v1", server("v1").await)];
    let mesh = mesh_of(service("reviews", &endpoints) + &routes("reviews", rules)).await;
    let mut hit = 0;
    for _ in 0..1_000 {
        let answer = fetch(&mesh, "http://reviews.example/half", &[]).await;
        match (answer.status.as_u16(), answer.flags().as_str()) {
            (503, "FI") => hit += 1,
            (200, "-") => {}
            other => panic!("{other:?}"),
        }
    }
    // Six standard deviations around 500: a retry behind the fault would leave it alone.
    assert!((405..=595).contains(&hit), "{hit}");
    let grpc = fetch(&mesh, "http://reviews.example/grpc", &[("content-type", "application/grpc")]).await;
    assert_eq!(
        (grpc.status.as_u16(), grpc.flags().as_str(), &*grpc.info.details),
        (200, "DI,FI", "fault_filter_abort")
    );
    for path in ["nobody", ""] {
        let answer = fetch(&mesh, &format!("http://reviews.example/{path}"), &[]).await;
        assert_eq!((answer.body.as_str(), answer.flags().as_str()), ("v1", "-"));
    }
}

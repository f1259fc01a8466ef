//! Rules of a VirtualService that filters carry out: faults and cross-origin policies.

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

#[tokio::test]
async fn a_cors_policy_of_a_virtual_service_is_in_force_on_the_wire() {
    let rules = "
  - match: [{uri: {prefix: /strict}}]
    corsPolicy: {allowOrigins: [{exact: 'http://o'}], unmatchedPreflights: IGNORE}
    route: [{destination: {host: reviews.example}}]
  - corsPolicy:
      allowOrigins: [{regex: 'https?://o'}]
      allowMethods: [GET, PUT]
      allowHeaders: [x-h]
      exposeHeaders: [x-e]
      maxAge: 1m
      allowCredentials: true
    route: [{destination: {host: reviews.example}}]
";
    let endpoints = [("v1", server("v1").await)];
    let mesh = mesh_of(service("reviews", &endpoints) + &routes("reviews", rules)).await;
    let ask = async |method: &str, path: &str, origin: &str| {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("http://reviews.example{path}"))
            .header("origin", origin)
            .header("access-control-request-method", "PUT")
            .body(http_body_util::Empty::<bytes::Bytes>::new())
            .unwrap();
        let response = tower::ServiceExt::oneshot(mesh.http_client(), request).await.unwrap();
        let details = response.extensions().get::<mesh_sdk::ResponseInfo>().unwrap().details.clone();
        let headers: std::collections::BTreeMap<_, _> = response
            .headers()
            .iter()
            .filter_map(|(name, value)| {
                let name = name.as_str().strip_prefix("access-control-")?.to_owned();
                Some((name, value.to_str().unwrap().to_owned()))
            })
            .collect();
        (details.into_owned(), headers.into_iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>())
    };
    let all = [
        "allow-credentials: true",
        "allow-headers: x-h",
        "allow-methods: GET,PUT",
        "allow-origin: http://o",
        "expose-headers: x-e",
        "max-age: 60",
    ];
    let (details, headers) = ask("OPTIONS", "/", "http://o").await;
    assert_eq!((details.as_str(), headers.as_slice()), ("cors_response", all.map(str::to_owned).as_slice()));
    let (details, headers) = ask("GET", "/", "https://o").await;
    let some = ["allow-credentials: true", "allow-origin: https://o", "expose-headers: x-e"];
    assert_eq!((details.as_str(), headers.as_slice()), ("via_upstream", some.map(str::to_owned).as_slice()));
    assert_eq!(ask("OPTIONS", "/", "http://bad").await, ("via_upstream".to_owned(), vec![]));
    assert_eq!(ask("OPTIONS", "/strict", "http://bad").await, ("cors_response".to_owned(), vec![]));
}

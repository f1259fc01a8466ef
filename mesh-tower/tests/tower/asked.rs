//! What callers within the mesh ask for with headers of their own, and what the mesh tells with headers of its own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use mesh_core::resource::cluster::Thresholds;
use mesh_core::resource::retry::RetryPolicy;
use mesh_core::resource::route::{Forward, PathRewrite, VirtualHost};

use crate::mesh::{Mesh, Setup, ask, forward, get, http1, retry_policy, retrying, route};
use crate::server::H1Server;

/// Answers as `x-status` says, and says what came; says nothing at all to what has `x-silent` and is no timeout's retry.
async fn scripted() -> H1Server {
    H1Server::start(|mut connection| async move {
        while let Some(request) = connection.request().await {
            let value = |name: &str| {
                let line = request.head.lines().find(|line| line.starts_with(&format!("{name}: ")))?;
                Some(line[name.len() + 2..].to_owned())
            };
            if value("x-silent").is_some() && value("x-envoy-is-timeout-retry").as_deref() != Some("true") {
                continue;
            }
            let status = value("x-status").map_or(200, |status| status.parse().unwrap());
            connection.respond(status, request.head.as_bytes()).await;
        }
    })
    .await
}

fn with(pairs: &[(&'static str, &str)]) -> Request<Full<Bytes>> {
    let mut request = get("/");
    for (name, value) in pairs {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

/// Callers in 10.0.0.0/8 are within.
fn setup(server: &H1Server, forward: Forward) -> Setup {
    let mut setup = Setup::new(vec![http1("c", server.address)], vec![route("/", forward)]);
    setup.manager.internal_addresses = vec![([10, 0, 0, 0].into(), 8)];
    setup
}

#[tokio::test]
async fn s10_a_caller_within_adds_to_the_routes_retries_and_nobody_else_does() {
    let server = scripted().await;
    let policies = [retrying("c", "connect-failure", 1), retrying("c", "5xx", 3), forward("c")];
    let mut runs = Vec::new();
    for policy in policies {
        runs.push(Mesh::new(setup(&server, policy)).client());
    }
    let on = ("x-envoy-retry-on", "5xx");
    let most = |count| ("x-envoy-max-retries", count);
    for (route, asked, status, attempts, flags) in [
        (0, &[on][..], "503", 2, "URX"),
        (0, &[on, most("3")], "503", 4, "URX"),
        (0, &[most("3")], "503", 1, "-"),
        (1, &[most("1")], "503", 2, "URX"),
        (1, &[most("5")], "503", 6, "URX"),
        (1, &[most("0")], "503", 1, "URX"),
        (2, &[on], "503", 2, "URX"),
        (2, &[most("5")], "503", 1, "-"),
        (
            2,
            &[("x-envoy-retry-on", "retriable-status-codes"), ("x-envoy-retriable-status-codes", "418")],
            "418",
            2,
            "URX",
        ),
        (
            2,
            &[("x-envoy-retry-on", "retriable-headers"), ("x-envoy-retriable-header-names", "content-length")],
            "200",
            2,
            "URX",
        ),
    ] {
        for (from, attempts, flags) in [("10.1.2.3", attempts, flags), ("11.1.2.3", if route == 1 { 4 } else { 1 }, "")]
        {
            let mut request = with(asked);
            request.headers_mut().insert("x-forwarded-for", from.parse().unwrap());
            request.headers_mut().insert("x-status", status.parse().unwrap());
            let answer = ask(&runs[route], request).await;
            assert_eq!(answer.attempts(), attempts, "{route} {asked:?} from {from}");
            assert!(flags.is_empty() || answer.outcome().1 == flags, "{route} {asked:?}: {}", answer.outcome().1);
            assert!(
                !answer.text().contains("x-envoy-retr") && !answer.text().contains("x-envoy-max"),
                "{}",
                answer.text()
            );
        }
    }
}

#[tokio::test]
async fn a_timeout_that_is_asked_for_may_be_answered_with_nothing() {
    let server = scripted().await;
    let client = Mesh::new(setup(&server, forward("c"))).client();
    let asked = [
        ("x-forwarded-for", "10.0.0.1"),
        ("x-silent", "1"),
        ("x-envoy-upstream-rq-timeout-ms", "50"),
        ("x-envoy-upstream-rq-timeout-alt-response", "1"),
    ];
    let answer = ask(&client, with(&asked)).await;
    assert_eq!((answer.outcome(), &*answer.info.details), ((204, "UT".to_owned()), "response_timeout"));
    assert_eq!((answer.text(), answer.header("content-type")), ("", ""));
    let answer = ask(&client, with(&asked[..3])).await;
    assert_eq!((answer.outcome(), answer.text()), ((504, "UT".to_owned()), "upstream request timeout"));
}

#[tokio::test]
async fn the_time_that_the_caller_has_left_counts_where_it_is_respected() {
    let server = scripted().await;
    for (respects, outcome) in [(true, (504, "UT")), (false, (200, "-"))] {
        let mut setup = setup(&server, Forward { timeout: Some(Duration::from_secs(60)), ..Forward::to("c") });
        setup.manager.respect_expected_rq_timeout = respects;
        let client = Mesh::new(setup).client();
        let mut request = with(&[("x-forwarded-for", "10.0.0.1"), ("x-envoy-expected-rq-timeout-ms", "50")]);
        if respects {
            request.headers_mut().insert("x-silent", "1".parse().unwrap());
        }
        let answer = ask(&client, request).await;
        assert_eq!(answer.outcome(), (outcome.0, outcome.1.to_owned()));
        assert!(respects || answer.text().contains("x-envoy-expected-rq-timeout-ms: 60000"), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_retry_is_told_whether_it_follows_a_timeout() {
    let server = scripted().await;
    let host = || VirtualHost { include_is_timeout_retry_header: true, ..VirtualHost::default() };
    let policy = RetryPolicy { per_try_timeout: Some(Duration::from_millis(200)), ..retry_policy("5xx", 1) };
    let forward = Forward { retry_policy: Some(Arc::new(policy)), ..forward("c") };
    let client = Mesh::new(Setup { host: host(), ..setup(&server, forward) }).client();
    let after_timeout = ask(&client, with(&[("x-silent", "1")])).await;
    assert_eq!((after_timeout.outcome(), after_timeout.attempts()), ((200, "-".to_owned()), 2));
    assert!(after_timeout.text().contains("x-envoy-is-timeout-retry: true"), "{}", after_timeout.text());
    let after_failure = ask(&client, with(&[("x-status", "503")])).await;
    assert!(after_failure.text().contains("x-envoy-is-timeout-retry: false"), "{}", after_failure.text());
    let first = ask(&client, get("/")).await;
    assert!(!first.text().contains("is-timeout-retry"), "{}", first.text());
}

#[tokio::test]
async fn a_router_that_suppresses_the_meshs_headers_adds_none() {
    let server = scripted().await;
    for suppresses in [true, false] {
        let forward = Forward {
            timeout: Some(Duration::from_secs(60)),
            path_rewrite: Some(PathRewrite::Prefix("/other".to_owned())),
            ..retrying("c", "5xx", 1)
        };
        let mut setup = setup(&server, forward);
        setup.manager.suppress_envoy_headers = suppresses;
        let mut full = http1("full", server.address);
        full.circuit_breakers.default = Thresholds { max_requests: 0, ..Thresholds::default() };
        setup.clusters.push(full);
        setup.routes.insert(0, route("/full", crate::mesh::forward("full")));
        let client = Mesh::new(setup).client();
        let answer = ask(&client, with(&[("x-status", "503")])).await;
        assert_eq!(answer.attempts(), 2);
        assert!(answer.text().starts_with("GET /other"), "{}", answer.text());
        for header in ["x-envoy-expected-rq-timeout-ms", "x-envoy-original-path"] {
            assert_ne!(answer.text().contains(header), suppresses, "{}", answer.text());
        }
        let answer = ask(&client, get("/full")).await;
        let overloaded = if suppresses { "" } else { "true" };
        assert_eq!((answer.outcome(), answer.header("x-envoy-overloaded")), ((503, "UO".to_owned()), overloaded));
    }
}

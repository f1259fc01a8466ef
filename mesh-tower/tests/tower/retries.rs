//! Retries over real connections: hosts, limits, flags, what the upstream and the caller are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mesh_core::resource::cluster::{Discovery, RetryBudget, Thresholds, UpstreamProtocol};
use mesh_core::resource::metadata::{Metadata, Value};
use mesh_core::resource::retry::RetryPolicy;
use mesh_core::resource::route::{Forward, VirtualHost};
use mesh_core::state::Load;

use crate::mesh::{
    Mesh, Setup, ask, call, cluster, eventually, forward, get, http1, http2, retry_policy, retrying, route,
};
use crate::server::{H1Server, H2Server};

/// Answers the first `failures` requests with 503, and says which request it was and what came with it.
async fn failing(failures: usize) -> (H1Server, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let server = H1Server::start(move |mut connection| {
        let counted = Arc::clone(&counted);
        async move {
            while let Some(request) = connection.request().await {
                let call = counted.fetch_add(1, Ordering::SeqCst);
                connection.respond(if call < failures { 503 } else { 200 }, request.head.as_bytes()).await;
            }
        }
    })
    .await;
    (server, calls)
}

#[tokio::test]
async fn a_success_after_retries_carries_no_flag_and_counts_its_attempts() {
    let (server, calls) = failing(2).await;
    let mut setup = Setup::new(vec![http1("c", server.address)], vec![route("/", retrying("c", "5xx", 3))]);
    setup.host = VirtualHost {
        include_request_attempt_count: true,
        include_attempt_count_in_response: true,
        ..VirtualHost::default()
    };
    let answer = ask(&Mesh::new(setup).client(), get("/")).await;
    assert_eq!((answer.outcome(), answer.attempts()), ((200, "-".to_owned()), 3));
    assert!(answer.text().contains("x-envoy-attempt-count: 3"), "{}", answer.text());
    assert_eq!((answer.header("x-envoy-attempt-count"), calls.load(Ordering::SeqCst)), ("3", 3));
}

#[tokio::test]
async fn the_last_response_of_exhausted_retries_passes_with_a_flag() {
    let (server, calls) = failing(usize::MAX).await;
    let setup = Setup::new(vec![http1("c", server.address)], vec![route("/", retrying("c", "5xx", 2))]);
    let answer = ask(&Mesh::new(setup).client(), get("/")).await;
    assert_eq!((answer.outcome(), &*answer.info.details), ((503, "URX".to_owned()), "via_upstream"));
    assert_eq!((answer.attempts(), calls.load(Ordering::SeqCst)), (3, 3));
}

#[tokio::test]
async fn a_retry_that_the_limits_refuse_passes_the_response_with_an_overflow_flag() {
    let nothing = RetryBudget { budget_percent: 0.0, min_retry_concurrency: 0 };
    for thresholds in [
        Thresholds { max_retries: 0, ..Thresholds::default() },
        Thresholds { retry_budget: Some(nothing), ..Thresholds::default() },
    ] {
        let (server, calls) = failing(usize::MAX).await;
        let mut cluster = http1("c", server.address);
        cluster.circuit_breakers.default = thresholds;
        let mesh = Mesh::new(Setup::new(vec![cluster], vec![route("/", retrying("c", "5xx", 2))]));
        let answer = ask(&mesh.client(), get("/")).await;
        assert_eq!((answer.outcome(), answer.header("x-envoy-overloaded")), ((503, "UO".to_owned()), ""));
        assert_eq!((calls.load(Ordering::SeqCst), mesh.load("c", Load::Retries)), (1, 0));
    }
}

#[tokio::test]
async fn a_reset_whose_retry_the_limits_refuse_carries_both_flags() {
    let mut cluster = http1("c", crate::server::refused_address().await);
    cluster.circuit_breakers.default = Thresholds { max_retries: 0, ..Thresholds::default() };
    let mesh = Mesh::new(Setup::new(vec![cluster], vec![route("/", retrying("c", "connect-failure", 2))]));
    let answer = ask(&mesh.client(), get("/")).await;
    assert_eq!((answer.outcome(), answer.header("x-envoy-overloaded")), ((503, "UF,UO".to_owned()), ""));
    assert!(answer.text().ends_with("headers. reset reason: remote connection failure"), "{}", answer.text());
}

#[tokio::test]
async fn an_overflow_is_returned_at_once() {
    let (server, calls) = failing(0).await;
    let mut cluster = http1("c", server.address);
    cluster.circuit_breakers.default = Thresholds { max_requests: 0, ..Thresholds::default() };
    let mesh = Mesh::new(Setup::new(vec![cluster], vec![route("/", retrying("c", "5xx,reset,connect-failure", 2))]));
    let answer = ask(&mesh.client(), get("/")).await;
    assert_eq!((answer.outcome(), answer.header("x-envoy-overloaded")), ((503, "UO".to_owned()), "true"));
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_try_that_takes_too_long_is_given_up_for_the_next_one() {
    let server = H1Server::start(|mut connection| async move {
        connection.request().await;
        if connection.number == 1 {
            // Never answered: the client closes.
            return connection.closed().await;
        }
        connection.respond(200, b"second").await;
        connection.closed().await;
    })
    .await;
    let per_try_timeout = Some(Duration::from_secs(1));
    let policy = RetryPolicy { per_try_timeout, ..retry_policy("reset", 2) };
    let forward = Forward { retry_policy: Some(Arc::new(policy)), ..forward("c") };
    let mesh = Mesh::new(Setup::new(vec![http1("c", server.address)], vec![route("/", forward)]));
    let answer = ask(&mesh.client(), get("/")).await;
    assert_eq!((answer.outcome(), answer.text(), answer.attempts()), ((200, "-".to_owned()), "second", 2));
    eventually("the first try is not counted", || mesh.active("c") == 0 && mesh.load("c", Load::Requests) == 0).await;
}

#[tokio::test]
async fn the_last_trys_timeout_is_the_requests() {
    let server = H1Server::start(|mut connection| async move { while connection.request().await.is_some() {} }).await;
    for (retry_on, flags) in [("reset", "URX,UT"), ("connect-failure", "UT")] {
        let policy = RetryPolicy { per_try_timeout: Some(Duration::from_millis(50)), ..retry_policy(retry_on, 1) };
        let forward = Forward { retry_policy: Some(Arc::new(policy)), ..forward("c") };
        let mesh = Mesh::new(Setup::new(vec![http1("c", server.address)], vec![route("/", forward)]));
        let answer = ask(&mesh.client(), get("/")).await;
        assert_eq!((answer.outcome(), &*answer.info.details), ((504, flags.to_owned()), "upstream_per_try_timeout"));
        assert_eq!(answer.text(), "upstream request timeout");
    }
}

#[tokio::test]
async fn the_routes_timeout_cuts_the_back_off() {
    let (server, calls) = failing(usize::MAX).await;
    let mut policy = retry_policy("5xx", 5);
    policy.base_interval = Some(Duration::from_secs(3600));
    policy.max_interval = Some(Duration::from_secs(3600));
    let forward =
        Forward { timeout: Some(Duration::from_millis(100)), retry_policy: Some(Arc::new(policy)), ..Forward::to("c") };
    let mesh = Mesh::new(Setup::new(vec![http1("c", server.address)], vec![route("/", forward)]));
    let answer = ask(&mesh.client(), get("/")).await;
    assert_eq!((answer.outcome(), &*answer.info.details), ((504, "UT".to_owned()), "response_timeout"));
    assert_eq!((calls.load(Ordering::SeqCst), mesh.load("c", Load::Retries)), (1, 0));
}

#[tokio::test]
async fn a_retry_avoids_the_hosts_already_tried() {
    let (bad, calls) = failing(usize::MAX).await;
    let (good, _) = failing(0).await;
    let policy =
        RetryPolicy { avoid_previous_hosts: true, host_selection_retry_max_attempts: 50, ..retry_policy("5xx", 1) };
    let forward = Forward { retry_policy: Some(Arc::new(policy)), ..forward("c") };
    let mut cluster = cluster("c", UpstreamProtocol::Http1, &[bad.address, good.address]);
    cluster.lb_policy = mesh_core::resource::cluster::LbPolicy::Random;
    let client = Mesh::new(Setup::new(vec![cluster], vec![route("/", forward)])).client();
    for _ in 0..30 {
        let answer = ask(&client, get("/")).await;
        assert_eq!(answer.outcome(), (200, "-".to_owned()));
        let endpoint = answer.info.upstream.as_ref().unwrap().endpoint().unwrap().to_string();
        assert_eq!(endpoint, good.address.to_string());
    }
    assert!(calls.load(Ordering::SeqCst) > 0, "the bad host was asked, too");
}

#[tokio::test]
async fn a_retry_avoids_canaries_and_hosts_by_their_metadata() {
    let (bad, _) = failing(usize::MAX).await;
    let (canary, _) = failing(0).await;
    let (good, _) = failing(0).await;
    let says = |key: &str, value: Value| {
        let labels = [(key.to_owned(), value)].into();
        Metadata::from([("envoy.lb".to_owned(), Value::Struct(labels))])
    };
    let labelled = says("canary", Value::Bool(true));
    for (omit_canary_hosts, omit_host_metadata) in
        [(true, Vec::new()), (false, vec![[("canary".to_owned(), Value::Bool(true))].into()])]
    {
        let policy = RetryPolicy {
            avoid_previous_hosts: true,
            omit_canary_hosts,
            omit_host_metadata,
            host_selection_retry_max_attempts: 100,
            ..retry_policy("5xx", 1)
        };
        let forward = Forward { retry_policy: Some(Arc::new(policy)), ..forward("c") };
        let mut cluster = cluster("c", UpstreamProtocol::Http1, &[bad.address, canary.address, good.address]);
        cluster.lb_policy = mesh_core::resource::cluster::LbPolicy::Random;
        let Discovery::Static(hosts) = &mut cluster.discovery else { panic!("static") };
        hosts.localities[0].endpoints[1].metadata = labelled.clone();
        let client = Mesh::new(Setup::new(vec![cluster], vec![route("/", forward)])).client();
        let mut retried = 0;
        let mut at_canary = 0;
        for _ in 0..60 {
            let answer = ask(&client, get("/")).await;
            assert_eq!(answer.outcome(), (200, "-".to_owned()));
            let endpoint = answer.info.upstream.as_ref().unwrap().endpoint().unwrap().to_string();
            match answer.attempts() {
                1 => at_canary += usize::from(endpoint == canary.address.to_string()),
                _ => {
                    retried += 1;
                    assert_eq!(endpoint, good.address.to_string());
                }
            }
        }
        assert!(retried > 0 && at_canary > 0, "{retried} {at_canary}: first tries go anywhere");
    }
}

#[tokio::test]
async fn grpc_status_is_retried_only_in_a_trailers_only_response() {
    for (in_headers, attempts) in [(true, 3), (false, 1)] {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let server = H2Server::serve(
            |_| {},
            move |_, mut respond| {
                counted.fetch_add(1, Ordering::SeqCst);
                async move {
                    let status = || "14".parse().unwrap();
                    let response = http::Response::builder().header("content-type", "application/grpc");
                    if in_headers {
                        let _ = respond.send_response(response.header("grpc-status", "14").body(()).unwrap(), true);
                    } else if let Ok(mut stream) = respond.send_response(response.body(()).unwrap(), false) {
                        let _ =
                            stream.send_trailers([("grpc-status".parse().unwrap(), status())].into_iter().collect());
                    }
                }
            },
        )
        .await;
        let setup = Setup::new(vec![http2("c", server.address)], vec![route("/", retrying("c", "unavailable", 2))]);
        let answer = ask(&Mesh::new(setup).client(), call("/")).await;
        assert_eq!((answer.status.as_u16(), calls.load(Ordering::SeqCst)), (200, attempts), "in headers: {in_headers}");
    }
}

//! Deadlines over real connections: what they cover, when they begin, what is sent on.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::channel::Channel;
use mesh_core::resource::route::{Forward, MaxStreamDuration};
use mesh_tower::{BoxError, Error};
use tower::ServiceExt;

use crate::mesh::{HOST, Mesh, Setup, ask, body_error, call, forward, get, http1, http2, read, route, within};
use crate::server::{H1Server, H2Server, answer};

/// Long enough for a loopback exchange on a busy machine, short enough to wait for.
const SHORT: Duration = Duration::from_millis(400);

fn timed(timeout: Duration) -> Forward {
    Forward { timeout: Some(timeout), ..forward("c") }
}

/// Reads requests and never answers.
async fn silent() -> H1Server {
    H1Server::start(|mut connection| async move { while connection.request().await.is_some() {} }).await
}

#[tokio::test]
async fn a_server_that_never_answers_is_an_upstream_request_timeout() {
    let server = silent().await;
    let client = Mesh::new(Setup::new(vec![http1("c", server.address)], vec![route("/", timed(SHORT))])).client();
    let answer = ask(&client, get("/")).await;
    assert_eq!((answer.outcome(), answer.text()), ((504, "UT".to_owned()), "upstream request timeout"));
    assert_eq!(answer.info.details, "response_timeout");
}

#[tokio::test]
async fn the_deadline_covers_the_response_body() {
    let server = H2Server::serve(
        |_| {},
        |_, mut respond| async move {
            let mut open = respond.send_response(Response::new(()), false).unwrap();
            let _ = std::future::poll_fn(|cx| open.poll_reset(cx)).await;
        },
    )
    .await;
    let client = Mesh::new(Setup::new(vec![http2("c", server.address)], vec![route("/", timed(SHORT))])).client();
    let response = within(client.oneshot(get("/"))).await.unwrap();
    assert_eq!(response.status(), 200);
    let error = within(read(response)).await.unwrap_err();
    assert!(matches!(body_error(&*error), Error::Timeout), "{error:?}");
}

#[tokio::test]
async fn an_unfinished_upload_is_not_cut_by_the_routes_timeout() {
    let http1_server = H1Server::echo().await;
    let http2_server = H2Server::serve(
        |_| {},
        |request, mut respond| async move {
            let mut body = request.into_body();
            let mut all = Vec::new();
            while let Some(Ok(data)) = body.data().await {
                all.extend_from_slice(&data);
            }
            answer(&mut respond, all);
        },
    )
    .await;
    for cluster in [http1("c", http1_server.address), http2("c", http2_server.address)] {
        let client = Mesh::new(Setup::new(vec![cluster], vec![route("/", timed(SHORT))])).client();
        let (mut sender, body) = Channel::<Bytes, BoxError>::new(1);
        let request = Request::post(format!("http://{HOST}/")).body(body).unwrap();
        let slowly = async {
            for part in ["a", "b", "c"] {
                sender.send_data(Bytes::from_static(part.as_bytes())).await.unwrap();
                tokio::time::sleep(SHORT).await;
            }
            drop(sender);
        };
        let (answer, ()) = tokio::join!(ask(&client, request), slowly);
        assert_eq!((answer.outcome(), answer.text()), ((200, "-".to_owned()), "abc"));
    }
}

#[tokio::test]
async fn once_the_upload_has_ended_the_timeout_runs() {
    let server = silent().await;
    let client = Mesh::new(Setup::new(vec![http1("c", server.address)], vec![route("/", timed(SHORT))])).client();
    let (mut sender, body) = Channel::<Bytes, BoxError>::new(1);
    let request = Request::post(format!("http://{HOST}/")).body(body).unwrap();
    let begun = tokio::time::Instant::now();
    let slowly = async {
        sender.send_data(Bytes::from_static(b"a")).await.unwrap();
        tokio::time::sleep(2 * SHORT).await;
        drop(sender);
    };
    let (answer, ()) = tokio::join!(ask(&client, request), slowly);
    assert_eq!(answer.outcome(), (504, "UT".to_owned()));
    assert!(begun.elapsed() >= 3 * SHORT, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_grpc_deadline_counts_from_the_start_whatever_the_caller_is_still_sending() {
    let server = H2Server::serve(
        |_| {},
        |_, mut respond| async move {
            let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
        },
    )
    .await;
    let forward = Forward { max_grpc_timeout: Some(Duration::ZERO), ..forward("c") };
    let client = Mesh::new(Setup::new(vec![http2("c", server.address)], vec![route("/", forward)])).client();
    let (_sender, body) = Channel::<Bytes, BoxError>::new(1);
    let mut request = call("/").map(|_| body);
    request.headers_mut().insert("grpc-timeout", "100m".parse().unwrap());
    let answer = ask(&client, request).await;
    assert_eq!((answer.outcome(), answer.header("grpc-message")), ((200, "UT".to_owned()), "upstream request timeout"));
}

#[tokio::test]
async fn the_longest_duration_of_a_stream_counts_from_the_start() {
    let server = H2Server::serve(
        |_| {},
        |_, mut respond| async move {
            let mut open = respond.send_response(Response::new(()), false).unwrap();
            let _ = std::future::poll_fn(|cx| open.poll_reset(cx)).await;
        },
    )
    .await;
    let max_stream_duration = MaxStreamDuration { max_stream_duration: Some(SHORT), ..MaxStreamDuration::default() };
    // The route's own timeout does not count beside it.
    let forward = Forward { max_stream_duration: Some(max_stream_duration), ..timed(SHORT / 10) };
    let client = Mesh::new(Setup::new(vec![http2("c", server.address)], vec![route("/", forward)])).client();
    let (_sender, body) = Channel::<Bytes, BoxError>::new(1);
    let response = within(client.oneshot(call("/").map(|_| body))).await.unwrap();
    let error = within(read(response)).await.unwrap_err();
    assert!(matches!(body_error(&*error), Error::MaxDuration), "{error:?}");
}

#[tokio::test]
async fn the_upstream_is_told_how_long_it_has() {
    let server = H2Server::serve(
        |_| {},
        |request, mut respond| async move {
            let mut response = Response::new(());
            for name in ["x-envoy-expected-rq-timeout-ms", "grpc-timeout"] {
                if let Some(value) = request.headers().get(name) {
                    response.headers_mut().insert(http::HeaderName::from_static(name), value.clone());
                }
            }
            let _ = respond.send_response(response, true);
        },
    )
    .await;
    let told = async |forward: Forward, grpc_timeout: Option<&'static str>| {
        let client = Mesh::new(Setup::new(vec![http2("c", server.address)], vec![route("/", forward)])).client();
        let mut request = call("/");
        if let Some(value) = grpc_timeout {
            request.headers_mut().insert("grpc-timeout", value.parse().unwrap());
        }
        let answer = ask(&client, request).await;
        let text = |headers: &HeaderMap, name| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        (text(&answer.headers, "x-envoy-expected-rq-timeout-ms"), text(&answer.headers, "grpc-timeout"))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(told(timed(Duration::from_secs(7)), None).await, (some("7000"), None));
    assert_eq!(told(forward("c"), None).await, (None, None));
    let istio = || Forward { max_grpc_timeout: Some(Duration::ZERO), ..forward("c") };
    assert_eq!(told(istio(), Some("5S")).await, (some("5000"), some("5000m")));
    assert_eq!(told(istio(), None).await, (None, None));
    let policy = mesh_core::resource::retry::RetryPolicy {
        per_try_timeout: Some(Duration::from_secs(2)),
        ..crate::mesh::retry_policy("5xx", 1)
    };
    let tried = Forward { retry_policy: Some(std::sync::Arc::new(policy)), ..istio() };
    assert_eq!(told(tried, Some("5S")).await, (some("2000"), some("2000m")), "a try has less than the whole");
}

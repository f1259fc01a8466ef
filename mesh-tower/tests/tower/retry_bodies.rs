//! Request bodies that are sent again: whole, up to the limit, while the caller is still sending.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::channel::Channel;
use mesh_core::resource::retry::RetryPolicy;
use mesh_core::resource::route::Forward;
use mesh_tower::BoxError;
use tokio::sync::Notify;

use crate::mesh::{HOST, Mesh, Setup, ask, forward, http1, http2, post, retry_policy, retrying, route};
use crate::server::{H1Server, H2Server, answer};

/// 503 to the first request, then an echo.
async fn failing_once() -> (H1Server, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let server = H1Server::start(move |mut connection| {
        let counted = Arc::clone(&counted);
        async move {
            while let Some(request) = connection.request().await {
                let is_first = counted.fetch_add(1, Ordering::SeqCst) == 0;
                connection.respond(if is_first { 503 } else { 200 }, &request.body).await;
            }
        }
    })
    .await;
    (server, calls)
}

#[tokio::test]
async fn a_body_up_to_the_limit_is_sent_again_and_a_larger_one_is_not() {
    for (limit, length, is_retried) in [
        (None, 64 << 10, true),
        (None, (64 << 10) + 1, false),
        (Some(4), 4, true),
        (Some(4), 5, false),
        (Some(0), 1, false),
    ] {
        let (server, calls) = failing_once().await;
        let mut route = route("/", retrying("c", "5xx", 1));
        route.request_body_buffer_limit = limit;
        let client = Mesh::new(Setup::new(vec![http1("c", server.address)], vec![route])).client();
        let body = Bytes::from_iter((0..length).map(|n: usize| n.to_le_bytes()[0]));
        let answer = ask(&client, post("/", body.clone())).await;
        assert_eq!(answer.body, body, "{limit:?} {length}");
        let expected = if is_retried { (200, 2) } else { (503, 1) };
        assert_eq!((answer.status.as_u16(), calls.load(Ordering::SeqCst)), expected, "{limit:?} {length}");
    }
}

#[tokio::test]
async fn a_retry_while_the_caller_is_still_sending_gets_the_beginning_and_the_rest() {
    let retried = Arc::new(Notify::new());
    let begun = Arc::clone(&retried);
    let calls = Arc::new(AtomicUsize::new(0));
    let server = H2Server::serve(
        |_| {},
        move |request, mut respond| {
            let (begun, is_first) = (Arc::clone(&begun), calls.fetch_add(1, Ordering::SeqCst) == 0);
            async move {
                let mut body = request.into_body();
                let mut all = body.data().await.unwrap().unwrap().to_vec();
                if is_first {
                    let response = http::Response::builder().status(503).body(()).unwrap();
                    let _ = respond.send_response(response, true);
                    return;
                }
                begun.notify_one();
                while let Some(Ok(data)) = body.data().await {
                    all.extend_from_slice(&data);
                }
                answer(&mut respond, all);
            }
        },
    )
    .await;
    let setup = Setup::new(vec![http2("c", server.address)], vec![route("/", retrying("c", "5xx", 1))]);
    let client = Mesh::new(setup).client();
    let (mut sender, body) = Channel::<Bytes, BoxError>::new(1);
    let request = Request::post(format!("http://{HOST}/")).body(body).unwrap();
    let sending = async {
        sender.send_data(Bytes::from_static(b"before ")).await.unwrap();
        retried.notified().await;
        sender.send_data(Bytes::from_static(b"and after")).await.unwrap();
        drop(sender);
    };
    let (answer, ()) = tokio::join!(ask(&client, request), sending);
    assert_eq!((answer.outcome(), answer.text()), ((200, "-".to_owned()), "before and after"));
    assert_eq!(answer.attempts(), 2);
}

#[tokio::test]
async fn an_http1_try_that_broke_hands_its_open_body_on() {
    let server = H1Server::start(|mut connection| async move {
        if connection.number == 1 {
            connection.head().await;
            // The first chunk, `6\r\nbefore\r\n`, then the end.
            connection.take(11).await;
            return;
        }
        let request = connection.request().await.unwrap();
        connection.respond(200, &request.body).await;
        connection.closed().await;
    })
    .await;
    let setup = Setup::new(vec![http1("c", server.address)], vec![route("/", retrying("c", "reset", 1))]);
    let client = Mesh::new(setup).client();
    let (mut sender, body) = Channel::<Bytes, BoxError>::new(1);
    let request = Request::post(format!("http://{HOST}/")).body(body).unwrap();
    let sending = async {
        sender.send_data(Bytes::from_static(b"before")).await.unwrap();
        crate::mesh::eventually("the second try has begun", || server.connections() == 2).await;
        sender.send_data(Bytes::from_static(b" after")).await.unwrap();
        drop(sender);
    };
    let (answer, ()) = tokio::join!(ask(&client, request), sending);
    assert_eq!((answer.outcome(), answer.text()), ((200, "-".to_owned()), "before after"));
}

#[tokio::test]
async fn a_try_is_not_given_up_while_the_caller_is_still_sending() {
    let (server, calls) = failing_once().await;
    calls.store(1, Ordering::SeqCst);
    let per_try = Duration::from_millis(400);
    let policy = RetryPolicy { per_try_timeout: Some(per_try), ..retry_policy("reset", 3) };
    let forward = Forward { retry_policy: Some(Arc::new(policy)), ..forward("c") };
    let client = Mesh::new(Setup::new(vec![http1("c", server.address)], vec![route("/", forward)])).client();
    let (mut sender, body) = Channel::<Bytes, BoxError>::new(1);
    let request = Request::post(format!("http://{HOST}/")).body(body).unwrap();
    let sending = async {
        sender.send_data(Bytes::from_static(b"slow")).await.unwrap();
        tokio::time::sleep(2 * per_try).await;
        drop(sender);
    };
    let (answer, ()) = tokio::join!(ask(&client, request), sending);
    assert_eq!((answer.outcome(), answer.text(), answer.attempts()), ((200, "-".to_owned()), "slow", 1));
}

//! HTTP/1.1 connections: what comes back, what is used again, what a broken peer means.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use http_body_util::channel::Channel;
use mesh_core::engine::retry::Reset;
use mesh_tower::{BoxError, Error};
use tokio::sync::mpsc;
use tower::ServiceExt;

use mesh_core::state::Load;

use crate::mesh::{HOST, Mesh, Setup, ask, body_error, eventually, get, http1, post, read, within};
use crate::server::H1Server;

#[tokio::test]
async fn a_connection_whose_response_was_read_serves_the_next_request() {
    let server = H1Server::echo().await;
    let client = Mesh::new(Setup::to(http1("c", server.address))).client();
    for n in 0..20 {
        let answer = ask(&client, post("/", format!("{n}"))).await;
        assert_eq!((answer.outcome(), answer.text()), ((200, "-".to_owned()), format!("{n}").as_str()));
        assert_eq!((&*answer.info.details, answer.attempts()), ("via_upstream", 1));
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_server_that_closes_every_connection_at_once_fails_the_request() {
    let server = H1Server::start(|connection| async move { drop(connection) }).await;
    let client = Mesh::new(Setup::to(http1("c", server.address))).client();
    for n in 0..20 {
        let answer = ask(&client, get("/")).await;
        assert_eq!(answer.outcome(), (503, "UC".to_owned()), "request {n}");
    }
    assert!(server.connections() <= 20, "{} connections", server.connections());
}

#[tokio::test]
async fn n21_an_idle_connection_that_the_server_closed_fails_nobody() {
    for is_reset in [false, true] {
        let (closed, mut is_closed) = mpsc::unbounded_channel();
        let server = H1Server::start(move |mut connection| {
            let closed = closed.clone();
            async move {
                let request = connection.request().await.unwrap();
                connection.respond(200, &request.body).await;
                // Only once the response is read is the connection idle.
                let mut byte = [0];
                let _ =
                    tokio::time::timeout(std::time::Duration::from_millis(20), connection.stream.peek(&mut byte)).await;
                if is_reset {
                    connection.reset()
                } else {
                    drop(connection)
                }
                let _ = closed.send(());
            }
        })
        .await;
        let client = Mesh::new(Setup::to(http1("c", server.address))).client();
        for n in 0..10 {
            let request = if n % 2 == 0 { post("/", "hello") } else { get("/") };
            let answer = ask(&client, request).await;
            assert_eq!(answer.outcome(), (200, "-".to_owned()), "request {n}, reset: {is_reset}");
            within(is_closed.recv()).await;
        }
        assert_eq!(server.connections(), 10);
    }
}

#[tokio::test]
async fn n21_an_idle_connection_that_the_server_closed_is_noticed_without_another_request() {
    let (close, mut may_close) = mpsc::unbounded_channel();
    let server = H1Server::start(move |mut connection| {
        let close = close.clone();
        async move {
            let request = connection.request().await.unwrap();
            connection.respond(200, &request.body).await;
            let _ = close.send(());
        }
    })
    .await;
    let mesh = Mesh::new(Setup::to(http1("c", server.address)));
    assert_eq!(ask(&mesh.client(), post("/", "hello")).await.outcome(), (200, "-".to_owned()));
    within(may_close.recv()).await;
    eventually("the connection is not counted", || mesh.load("c", Load::Connections) == 0).await;
}

#[tokio::test]
async fn an_upload_goes_on_while_nobody_reads_the_response() {
    let (arrived, mut has_arrived) = mpsc::unbounded_channel();
    let server = H1Server::start(move |mut connection| {
        let arrived = arrived.clone();
        async move {
            connection.head().await;
            connection.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n").await;
            connection.take(11).await;
            let _ = arrived.send(());
            connection.send("done").await;
            connection.closed().await;
        }
    })
    .await;
    let client = Mesh::new(Setup::to(http1("c", server.address))).client();
    let (mut sender, body) = Channel::<Bytes, BoxError>::new(1);
    let request = Request::post(format!("http://{HOST}/")).body(body).unwrap();
    let response = within(client.oneshot(request)).await.unwrap();
    sender.send_data(Bytes::from_static(b"a")).await.unwrap();
    drop(sender);
    within(has_arrived.recv()).await;
    assert_eq!(within(read(response)).await.unwrap().text(), "done");
}

#[tokio::test]
async fn n03_a_connection_that_ends_before_the_response_is_a_connection_termination() {
    for is_reset in [false, true] {
        let server = H1Server::start(move |mut connection| async move {
            connection.request().await;
            if is_reset {
                connection.reset();
            }
        })
        .await;
        let client = Mesh::new(Setup::to(http1("c", server.address))).client();
        let answer = ask(&client, post("/", "hello")).await;
        assert_eq!(answer.outcome(), (503, "UC".to_owned()));
        let text = "upstream connect error or disconnect/reset before headers. reset reason: connection termination";
        assert_eq!(answer.text(), text);
        assert_eq!(answer.info.details, "upstream_reset_before_response_started{connection_termination}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_http_are_a_protocol_error() {
    let server = H1Server::start(|mut connection| async move {
        connection.request().await;
        connection.send("this is not HTTP at all\r\n\r\n").await;
        connection.closed().await;
    })
    .await;
    let client = Mesh::new(Setup::to(http1("c", server.address))).client();
    let answer = ask(&client, get("/")).await;
    assert_eq!(answer.outcome(), (502, "UPE".to_owned()));
    assert_eq!(answer.info.details, "upstream_reset_before_response_started{protocol_error}");
}

#[tokio::test]
async fn n03_a_body_cut_short_is_an_error_of_the_body_and_the_connection_is_not_used_again() {
    let server = H1Server::start(|mut connection| async move {
        connection.request().await;
        match connection.number {
            1 => connection.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await,
            2 => {
                connection.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
            }
            _ => connection.respond(200, b"whole").await,
        }
    })
    .await;
    let client = Mesh::new(Setup::to(http1("c", server.address))).client();
    for how in ["content-length", "chunked"] {
        let response = within(client.clone().oneshot(get("/"))).await.unwrap();
        assert_eq!(response.status(), 200);
        let error = within(read(response)).await.unwrap_err();
        let Error::ResponseReset { reset, .. } = body_error(&*error) else { panic!("{how}: {error:?}") };
        assert_eq!(*reset, Reset::ProtocolError, "{how}");
    }
    assert_eq!(ask(&client, get("/")).await.text(), "whole");
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn a_response_may_begin_before_the_request_has_ended() {
    let server = H1Server::start(|mut connection| async move {
        connection.head().await;
        connection.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nearly\r\n").await;
        // Two chunks of the request and its end: `1\r\na\r\n1\r\nb\r\n0\r\n\r\n`.
        connection.take(17).await;
        connection.send("4\r\nlate\r\n0\r\n\r\n").await;
        connection.closed().await;
    })
    .await;
    let client = Mesh::new(Setup::to(http1("c", server.address))).client();
    let (mut sender, body) = Channel::<Bytes, BoxError>::new(1);
    let request = Request::post(format!("http://{HOST}/")).body(body).unwrap();
    let response = within(client.oneshot(request)).await.unwrap();
    assert_eq!(response.status(), 200);
    sender.send_data(Bytes::from_static(b"a")).await.unwrap();
    // A chunk of its own: the first one must be on its way before the second.
    tokio::task::yield_now().await;
    sender.send_data(Bytes::from_static(b"b")).await.unwrap();
    drop(sender);
    assert_eq!(within(read(response)).await.unwrap().text(), "earlylate");
}

#[tokio::test]
async fn responses_without_a_body_give_their_connection_back() {
    let server = H1Server::start(|mut connection| async move {
        while let Some(request) = connection.request().await {
            match request.head.split(' ').next().unwrap() {
                "HEAD" => connection.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await,
                "DELETE" => connection.send("HTTP/1.1 204 No Content\r\n\r\n").await,
                "PUT" => connection.send("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n").await,
                _ => connection.respond(200, b"").await,
            }
        }
    })
    .await;
    let client = Mesh::new(Setup::to(http1("c", server.address))).client();
    for (method, status) in [("HEAD", 200), ("DELETE", 204), ("PUT", 304), ("GET", 200), ("HEAD", 200)] {
        let request = Request::builder().method(method).uri(format!("http://{HOST}/"));
        // Dropping a body that has nothing in it must not cost the connection either.
        let response = within(client.clone().oneshot(request.body(Full::<Bytes>::default()).unwrap())).await.unwrap();
        assert_eq!(response.status(), status, "{method}");
        drop(response);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_body_of_unknown_length_is_sent_in_chunks() {
    let server = H1Server::start(|mut connection| async move {
        while let Some(request) = connection.request().await {
            assert!(request.head.contains("transfer-encoding: chunked"), "{}", request.head);
            connection.respond(200, &request.body).await;
        }
    })
    .await;
    let client = Mesh::new(Setup::to(http1("c", server.address))).client();
    let (mut sender, body) = Channel::<Bytes, BoxError>::new(1);
    let request = Request::post(format!("http://{HOST}/")).body(body).unwrap();
    let sending = async {
        for part in ["one ", "two ", "three"] {
            sender.send_data(Bytes::from_static(part.as_bytes())).await.unwrap();
        }
        drop(sender);
    };
    let (answer, ()) = tokio::join!(ask(&client, request), sending);
    assert_eq!(answer.text(), "one two three");
}

#[tokio::test]
async fn a_request_body_that_fails_fails_the_request_as_the_callers_doing() {
    let server = H1Server::echo().await;
    let client = Mesh::new(Setup::to(http1("c", server.address))).client();
    let (mut sender, body) = Channel::<Bytes, BoxError>::new(1);
    let request = Request::post(format!("http://{HOST}/")).body(body).unwrap();
    sender.send_data(Bytes::from_static(b"part")).await.unwrap();
    sender.abort("the caller's own failure".into());
    let answer = ask(&client, request).await;
    assert_eq!((answer.outcome().0 / 100, server.connections()), (4, 1), "{answer:?}");
    assert_eq!(ask(&client, get("/")).await.outcome(), (200, "-".to_owned()));
}

#[tokio::test]
async fn headers_of_one_connection_do_not_pass_to_the_next() {
    let server = H1Server::start(|mut connection| async move {
        while let Some(request) = connection.request().await {
            let body = request.head.to_ascii_lowercase();
            let head = "HTTP/1.1 200 OK\r\nconnection: keep-alive\r\nkeep-alive: timeout=5\r\nx-kept: 1\r\n";
            connection.send(&format!("{head}content-length: {}\r\n\r\n{body}", body.len())).await;
        }
    })
    .await;
    let client = Mesh::new(Setup::to(http1("c", server.address))).client();
    for _ in 0..2 {
        let mut request = get("/");
        for (name, value) in [
            ("connection", "close, x-nominated"),
            ("keep-alive", "timeout=1"),
            ("proxy-connection", "close"),
            ("upgrade", "websocket"),
            ("x-nominated", "1"),
            ("te", "trailers"),
            ("x-kept", "1"),
        ] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let answer = ask(&client, request).await;
        for gone in ["connection", "keep-alive", "upgrade", "x-nominated"] {
            assert!(!answer.text().contains(&format!("\r\n{gone}:")), "{gone} in {}", answer.text());
        }
        assert!(answer.text().contains("te: trailers") && answer.text().contains("x-kept: 1"));
        assert_eq!((answer.header("connection"), answer.header("keep-alive"), answer.header("x-kept")), ("", "", "1"));
    }
    assert_eq!(server.connections(), 1, "a `close` of the caller's is not the pool's");
}

#[tokio::test]
async fn an_expectation_is_met_here_and_the_body_arrives() {
    let server = H1Server::start(|mut connection| async move {
        let request = connection.request().await.unwrap();
        assert!(!request.head.to_ascii_lowercase().contains("expect"), "{}", request.head);
        connection.respond(200, &request.body).await;
    })
    .await;
    let client = Mesh::new(Setup::to(http1("c", server.address))).client();
    let mut request = post("/", "hello");
    request.headers_mut().insert("expect", "100-continue".parse().unwrap());
    assert_eq!(ask(&client, request).await.text(), "hello");
}

//! HTTP/2 streams: trailers, both directions at once, flow control, a connection that dies.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use mesh_core::engine::retry::Reset;
use mesh_core::resource::cluster::{Cluster, Http2Options};
use mesh_core::state::Load;
use mesh_tower::{BoxError, Error};
use tokio::sync::Semaphore;
use tower::ServiceExt;

use crate::mesh::{HOST, Mesh, Setup, ask, body_error, call, eventually, http2, post, read, within};
use crate::server::{FrameServer, H2Server, answer, answer_with, echo, kind};

#[tokio::test]
async fn a_unary_call_brings_its_trailers_back() {
    let server = H2Server::serve(
        |_| {},
        |request, mut respond| async move {
            assert_eq!(request.uri().path(), "/pkg.Service/Method");
            assert_eq!(request.uri().authority().unwrap(), HOST);
            let body = within(request.into_body().data()).await.unwrap().unwrap();
            answer_with(
                &mut respond,
                body,
                HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]),
            );
        },
    )
    .await;
    let client = Mesh::new(Setup::to(http2("c", server.address))).client();
    for _ in 0..5 {
        let answer = ask(&client, call("/pkg.Service/Method")).await;
        assert_eq!(answer.trailers.as_ref().unwrap()["grpc-status"], "0");
        assert_eq!((answer.outcome(), &answer.body[5..]), ((200, "-".to_owned()), &b"ask"[..]));
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn both_directions_stream_at_the_same_time() {
    let server = H2Server::serve(|_| {}, echo).await;
    let client = Mesh::new(Setup::to(http2("c", server.address))).client();
    let (mut sender, body) = Channel::<Bytes, BoxError>::new(1);
    let request = Request::post(format!("http://{HOST}/")).body(body).unwrap();
    // The response begins although not a byte of the request's body was sent.
    let response = within(client.oneshot(request)).await.unwrap();
    let mut body = response.into_body();
    for n in 0..5 {
        let part = Bytes::from(format!("part {n}"));
        within(sender.send_data(part.clone())).await.unwrap();
        let back = within(body.frame()).await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(back, part);
    }
    let trailers = HeaderMap::from_iter([("x-end".parse().unwrap(), "1".parse().unwrap())]);
    within(sender.send_trailers(trailers.clone())).await.unwrap();
    assert_eq!(within(body.frame()).await.unwrap().unwrap().into_trailers().unwrap(), trailers);
    assert!(within(body.frame()).await.is_none());
}

/// A request body that never ends and counts what is taken of it.
struct Endless(Arc<AtomicUsize>);

const PIECE: usize = 16 << 10;

impl Body for Endless {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; PIECE])))))
    }
}

#[tokio::test]
async fn a_server_that_does_not_read_holds_the_callers_body_back() {
    let reading = Arc::new(Semaphore::new(0));
    let may_read = Arc::clone(&reading);
    let server = H2Server::serve(
        |builder| {
            builder.initial_window_size(65_535);
        },
        move |request, mut respond| {
            let may_read = Arc::clone(&may_read);
            async move {
                let _open = respond.send_response(Response::new(()), false);
                may_read.acquire().await.unwrap().forget();
                let mut body = request.into_body();
                while let Some(Ok(data)) = body.data().await {
                    let _ = body.flow_control().release_capacity(data.len());
                }
            }
        },
    )
    .await;
    let client = Mesh::new(Setup::to(http2("c", server.address))).client();
    let taken = Arc::new(AtomicUsize::new(0));
    let request = Request::post(format!("http://{HOST}/")).body(Endless(Arc::clone(&taken))).unwrap();
    let response = within(client.oneshot(request)).await.unwrap();
    // The window is 64 KiB: four pieces. A few more may wait here, however long the server takes.
    eventually("the window is full", || taken.load(Ordering::SeqCst) >= 4).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let held = taken.load(Ordering::SeqCst);
    assert!(held <= 8, "{held} pieces of 16 KiB were taken for a window of 64 KiB");
    reading.add_permits(1);
    eventually("the body flows again", || taken.load(Ordering::SeqCst) > 100).await;
    drop(response);
}

#[tokio::test]
async fn a_caller_who_does_not_read_holds_the_server_back() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let server = H2Server::serve(
        |_| {},
        move |_, mut respond| {
            let counted = Arc::clone(&counted);
            async move {
                let Ok(mut stream) = respond.send_response(Response::new(()), false) else { return };
                loop {
                    stream.reserve_capacity(PIECE);
                    let Some(Ok(room)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
                    if stream.send_data(Bytes::from(vec![0; room]), false).is_err() {
                        return;
                    }
                    counted.fetch_add(room, Ordering::SeqCst);
                }
            }
        },
    )
    .await;
    let http2_options = Http2Options {
        initial_stream_window_size: 65_535,
        initial_connection_window_size: 65_535,
        ..Http2Options::default()
    };
    let client = Mesh::new(Setup::to(Cluster { http2: http2_options, ..http2("c", server.address) })).client();
    let response = within(client.oneshot(post("/", ""))).await.unwrap();
    eventually("the window is full", || sent.load(Ordering::SeqCst) >= 65_535).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(sent.load(Ordering::SeqCst), 65_535, "nothing beyond the window");
    let mut body = response.into_body();
    let mut received = 0;
    while received < 1 << 20 {
        received += within(body.frame()).await.unwrap().unwrap().into_data().unwrap().len();
    }
}

#[tokio::test]
async fn a_connection_that_dies_between_requests_fails_nobody() {
    let server = H2Server::start(
        |_| {},
        |number, mut connection| async move {
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                answer(&mut respond, format!("{number}"));
                if number < 3 {
                    // The answer is flushed, then the connection is gone without a GOAWAY.
                    let flushed = std::future::poll_fn(|cx| connection.poll_closed(cx));
                    let _ = tokio::time::timeout(std::time::Duration::from_millis(20), flushed).await;
                    return;
                }
            }
        },
    )
    .await;
    let mesh = Mesh::new(Setup::to(http2("c", server.address)));
    let client = mesh.client();
    for number in 1..=3 {
        let answer = ask(&client, post("/", "hello")).await;
        assert_eq!((answer.outcome(), answer.text()), ((200, "-".to_owned()), number.to_string().as_str()));
        if number < 3 {
            eventually("the end is noticed", || mesh.load("c", Load::Connections) == 0).await;
        }
    }
}

#[tokio::test]
async fn n03_a_stream_that_is_reset_in_the_middle_is_an_error_of_the_body() {
    let server = FrameServer::start(|mut frames| async move {
        let stream = frames.request().await?;
        frames.send(kind::HEADERS, 4, stream, &[0x88]).await?;
        frames.send(kind::DATA, 0, stream, b"half").await?;
        frames.send(kind::RST_STREAM, 0, stream, &2_u32.to_be_bytes()).await?;
        while frames.next().await.is_some() {}
        Some(())
    })
    .await;
    let mesh = Mesh::new(Setup::to(http2("c", server.address)));
    let response = within(mesh.client().oneshot(call("/"))).await.unwrap();
    assert_eq!(response.status(), 200);
    let error = within(read(response)).await.unwrap_err();
    let Error::ResponseReset { reset, .. } = body_error(&*error) else { panic!("{error:?}") };
    assert_eq!(*reset, Reset::RemoteReset);
    assert_eq!((mesh.load("c", Load::Requests), mesh.active("c")), (0, 0));
}

//! HTTP/2 servers that go away or refuse: what they did not process is tried again, what they did is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use h2::Reason;
use tokio::sync::{Notify, Semaphore};

use crate::mesh::{Mesh, Setup, ask, call, eventually, http2, post, retrying, route, within};
use crate::server::{FrameServer, H2Server, answer};

#[tokio::test]
async fn n08_a_graceful_goaway_fails_nobody() {
    let (go_away, release) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let held = Arc::new(AtomicUsize::new(0));
    let (asked, released, holding) = (Arc::clone(&go_away), Arc::clone(&release), Arc::clone(&held));
    let server = H2Server::start(
        |_| {},
        move |number, mut connection| {
            let (asked, released, holding) = (Arc::clone(&asked), Arc::clone(&released), Arc::clone(&holding));
            async move {
                loop {
                    tokio::select! {
                        () = asked.notified(), if number == 1 => connection.graceful_shutdown(),
                        accepted = connection.accept() => {
                            let Some(Ok((request, mut respond))) = accepted else { return };
                            let (released, holding) = (Arc::clone(&released), Arc::clone(&holding));
                            tokio::spawn(async move {
                                if request.uri().path() == "/held" {
                                    holding.fetch_add(1, Ordering::SeqCst);
                                    released.acquire().await.unwrap().forget();
                                }
                                answer(&mut respond, format!("{number}"));
                            });
                        }
                    }
                }
            }
        },
    )
    .await;
    let client = Mesh::new(Setup::to(http2("c", server.address))).client();
    let in_flight = tokio::spawn({
        let client = client.clone();
        async move { ask(&client, call("/held")).await }
    });
    eventually("the first request is held", || held.load(Ordering::SeqCst) == 1).await;
    go_away.notify_one();
    // Requests go on while the GOAWAY is under way; sooner or later they go to a new connection.
    within(async {
        while server.connections() < 2 {
            assert_eq!(ask(&client, call("/")).await.outcome(), (200, "-".to_owned()));
        }
    })
    .await;
    assert_eq!(ask(&client, call("/")).await.text(), "2");
    release.add_permits(1);
    let answer = within(in_flight).await.unwrap();
    assert_eq!((answer.outcome(), answer.text()), ((200, "-".to_owned()), "1"));
}

#[tokio::test]
async fn n08_a_hard_goaway_is_retried_on_another_connection_once() {
    let server = FrameServer::start(|mut frames| async move {
        let stream = frames.request().await?;
        if frames.number % 2 == 1 {
            frames.go_away(0).await?
        } else {
            frames.ok(stream).await?
        }
        while frames.next().await.is_some() {}
        Some(())
    })
    .await;
    let setup = Setup::new(vec![http2("c", server.address)], vec![route("/", retrying("c", "refused-stream", 1))]);
    let answer = ask(&Mesh::new(setup).client(), post("/", "hello")).await;
    assert_eq!((answer.outcome(), answer.attempts()), ((200, "-".to_owned()), 2));
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn n08_a_server_that_always_goes_away_is_asked_once_more_and_no_more() {
    let server = FrameServer::start(|mut frames| async move {
        frames.request().await?;
        frames.go_away(0).await
    })
    .await;
    let setup = Setup::new(vec![http2("c", server.address)], vec![route("/", retrying("c", "refused-stream", 1))]);
    let answer = ask(&Mesh::new(setup).client(), call("/")).await;
    assert_eq!(answer.outcome(), (200, "URX,UR".to_owned()));
    assert_eq!(answer.header("grpc-status"), "14");
    let message = "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: remote refused stream reset";
    assert_eq!(answer.header("grpc-message"), message);
    assert_eq!(server.connections(), 2);
}

async fn resetting(reason: Reason) -> (H2Server, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let server = H2Server::serve(
        |_| {},
        move |_, mut respond| {
            let counted = Arc::clone(&counted);
            async move {
                if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                    respond.send_reset(reason);
                } else {
                    answer(&mut respond, "served");
                }
            }
        },
    )
    .await;
    (server, calls)
}

#[tokio::test]
async fn a_refused_stream_is_retried_on_the_same_connection() {
    let (server, calls) = resetting(Reason::REFUSED_STREAM).await;
    let setup = Setup::new(vec![http2("c", server.address)], vec![route("/", retrying("c", "refused-stream", 1))]);
    let answer = ask(&Mesh::new(setup).client(), post("/", "hello")).await;
    assert_eq!((answer.outcome(), answer.text(), answer.attempts()), ((200, "-".to_owned()), "served", 2));
    assert_eq!((server.connections(), calls.load(Ordering::SeqCst)), (1, 2));
}

#[tokio::test]
async fn any_other_reset_is_no_refusal() {
    for reason in [Reason::CANCEL, Reason::INTERNAL_ERROR, Reason::NO_ERROR, Reason::ENHANCE_YOUR_CALM] {
        let (server, calls) = resetting(reason).await;
        let setup = Setup::new(vec![http2("c", server.address)], vec![route("/", retrying("c", "refused-stream", 1))]);
        let answer = ask(&Mesh::new(setup).client(), post("/", "hello")).await;
        assert_eq!((answer.outcome(), calls.load(Ordering::SeqCst)), ((503, "UR".to_owned()), 1), "{reason:?}");
        assert_eq!(answer.info.details, "upstream_reset_before_response_started{remote_reset}");
    }
}

#[tokio::test]
async fn a_refused_stream_without_a_policy_is_the_callers_to_retry() {
    let (server, calls) = resetting(Reason::REFUSED_STREAM).await;
    let answer = ask(&Mesh::new(Setup::to(http2("c", server.address))).client(), post("/", "hello")).await;
    assert_eq!((answer.outcome(), calls.load(Ordering::SeqCst)), ((503, "UR".to_owned()), 1));
    assert!(answer.text().ends_with("reset reason: remote refused stream reset"));
}

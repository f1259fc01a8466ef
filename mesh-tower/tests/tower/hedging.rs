//! Tries beside one another: who wins, what it costs, and that nothing is left of the losers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use mesh_core::engine::retry::Reset;
use mesh_core::resource::cluster::{Thresholds, UpstreamProtocol};
use mesh_core::resource::retry::RetryPolicy;
use mesh_core::resource::route::{Forward, HedgePolicy, VirtualHost};
use mesh_core::state::Load;
use mesh_tower::outbound::retry::ReplayBody;
use mesh_tower::{Error, RetryLayer};
use tower::{Layer, ServiceExt};

use crate::mesh::{Mesh, Setup, ask, ask_aside, cluster, eventually, forward, get, post, retry_policy, route};
use crate::probe::{Probe, never};
use crate::server::H1Server;

type Body = Full<Bytes>;
type Reply = Result<Response<Body>, Error>;

const OK: Option<u16> = Some(200);

/// What a try comes to: after so many seconds this status, or no response.
type Script = &'static [(u64, Option<u16>)];

/// Under way, and dropped before they ended.
#[derive(Default)]
struct Tally {
    running: AtomicUsize,
    dropped: AtomicUsize,
}

struct Running(Arc<Tally>, bool);

impl Running {
    fn new(tally: &Arc<Tally>) -> Self {
        tally.running.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(tally), false)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
        if !self.1 {
            self.0.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn scripted(
    script: Script,
    tally: &Arc<Tally>,
) -> impl Fn(Request<ReplayBody<Body>>, usize) -> Pin<Box<dyn Future<Output = Reply> + Send>> + Clone {
    let tally = Arc::clone(tally);
    move |_, call| {
        let running = Running::new(&tally);
        let (seconds, status) = script[call - 1];
        Box::pin(async move {
            let mut running = running;
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            running.1 = true;
            match status {
                Some(status) => Ok(Response::builder().status(status).body(Full::from(call.to_string())).unwrap()),
                None => Err(Error::Reset { reset: Reset::RemoteReset, source: None }),
            }
        })
    }
}

/// A limit of two seconds for each try.
fn policy(retry_on: &str, num_retries: u32) -> RetryPolicy {
    RetryPolicy { per_try_timeout: Some(Duration::from_secs(2)), ..retry_policy(retry_on, num_retries) }
}

/// Status (0 without a response) and text, after how many seconds, with how many tries, of which so many were dropped.
async fn race(retry_on: &str, num_retries: u32, script: Script) -> (u16, String, u64, usize, usize) {
    let tally = Arc::<Tally>::default();
    let probe = Probe::new(scripted(script, &tally));
    let record = Arc::clone(&probe.record);
    let service = RetryLayer::new(&policy(retry_on, num_retries)).unwrap().hedging().layer(probe);
    let start = tokio::time::Instant::now();
    let (status, text) = match service.oneshot(get("/")).await {
        Ok(response) => {
            let status = response.status().as_u16();
            let text = response.into_body().collect().await.unwrap().to_bytes();
            (status, String::from_utf8(text.to_vec()).unwrap())
        }
        Err(error) => (0, error.response_flags().to_string()),
    };
    assert_eq!(record.unready_calls.load(Ordering::SeqCst), 0, "every try has been made ready for");
    assert_eq!(tally.running.load(Ordering::SeqCst), 0, "nobody runs on");
    let dropped = tally.dropped.load(Ordering::SeqCst);
    (status, text, start.elapsed().as_secs(), record.calls(), dropped)
}

#[tokio::test(start_paused = true)]
async fn the_first_good_answer_wins_the_race_and_the_losers_are_dropped() {
    for (what, retry_on, num_retries, script, expected) in [
        ("in time", "5xx", 1, &[(1, OK)][..], (200, "1", 1, 1, 0)),
        ("the second is faster", "5xx", 1, &[(60, OK), (1, OK)], (200, "2", 3, 2, 1)),
        ("the first is, after all", "5xx", 1, &[(3, OK), (60, OK)], (200, "1", 3, 2, 1)),
        ("whatever the tokens cover", "connect-failure", 1, &[(60, OK), (1, OK)], (200, "2", 3, 2, 1)),
        ("each gets another one", "5xx", 2, &[(60, OK), (60, OK), (1, OK)], (200, "3", 5, 3, 2)),
        ("the last one has no limit", "5xx", 1, &[(60, OK), (30, OK)], (200, "2", 32, 2, 1)),
        ("bad is not good", "5xx", 1, &[(3, Some(503)), (8, OK)], (200, "2", 10, 2, 0)),
        ("unless nobody is left", "5xx", 1, &[(3, Some(503)), (8, Some(502))], (502, "2", 10, 2, 0)),
        ("the later one may fail first", "5xx", 1, &[(9, OK), (1, Some(503))], (200, "1", 9, 2, 0)),
        ("a reset is not good", "connect-failure", 1, &[(3, None), (8, OK)], (200, "2", 10, 2, 0)),
        ("a failed one is retried", "5xx", 2, &[(60, OK), (1, Some(503)), (1, OK)], (200, "3", 4, 3, 1)),
        ("and fast ones as ever", "5xx", 1, &[(1, Some(503)), (1, OK)], (200, "2", 2, 2, 0)),
        ("all are reset", "reset", 1, &[(3, None), (3, None)], (0, "URX,UR", 5, 2, 0)),
        ("a status that nobody retries", "gateway-error", 1, &[(60, OK), (1, Some(500))], (500, "2", 3, 2, 1)),
        ("no retries at all", "5xx", 0, &[(60, OK)], (200, "1", 60, 1, 0)),
        ("no tokens: no limit either", "", 1, &[(60, Some(503))], (503, "1", 60, 1, 0)),
    ] {
        let (status, text, seconds, calls, dropped) = race(retry_on, num_retries, script).await;
        assert_eq!((status, &*text, seconds, calls, dropped), expected, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_race_that_is_given_up_leaves_no_try_and_begins_none() {
    let tally = Arc::<Tally>::default();
    let probe = Probe::new(scripted(&[(60, Some(200)), (60, Some(200)), (60, Some(200))], &tally));
    let record = Arc::clone(&probe.record);
    let service = RetryLayer::new(&policy("5xx", 2)).unwrap().hedging().layer(probe);
    let given_up = tokio::time::timeout(Duration::from_secs(3), service.oneshot(get("/"))).await;
    assert!(given_up.is_err());
    assert_eq!((record.calls(), tally.dropped.load(Ordering::SeqCst), tally.running.load(Ordering::SeqCst)), (2, 2, 0));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(record.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_ready_holds_up_the_next_try_and_not_the_race() {
    let probe = Probe::new(|_: Request<ReplayBody<Body>>, _| -> Pin<Box<dyn Future<Output = Reply> + Send>> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok(Response::new(Body::default()))
        })
    });
    let record = Arc::clone(&probe.record);
    let mut service = RetryLayer::new(&policy("5xx", 2)).unwrap().hedging().layer(probe);
    let answer = tower::Service::call(service.ready().await.unwrap(), get("/"));
    record.is_busy.store(true, Ordering::SeqCst);
    assert_eq!(answer.await.unwrap().status(), 200);
    assert_eq!(record.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_try_of_a_race_sends_the_whole_body() {
    let probe = Probe::new(|request: Request<ReplayBody<Body>>, call| -> Pin<Box<dyn Future<Output = Reply> + Send>> {
        Box::pin(async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            if call == 1 {
                return never().await;
            }
            Ok(Response::new(Full::new(body)))
        })
    });
    let service = RetryLayer::new(&policy("5xx", 1)).unwrap().hedging().layer(probe);
    let answer = service.oneshot(post("/", "hello")).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "hello");
}

#[tokio::test(start_paused = true)]
async fn a_body_too_large_to_be_kept_is_sent_once_and_may_take_its_time() {
    let probe = Probe::new(|request: Request<ReplayBody<Body>>, _| -> Pin<Box<dyn Future<Output = Reply> + Send>> {
        Box::pin(async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok(Response::new(Full::new(body)))
        })
    });
    let record = Arc::clone(&probe.record);
    let service = RetryLayer::new(&policy("5xx", 1)).unwrap().hedging().layer(probe);
    let large = Bytes::from(vec![b'x'; (64 << 10) + 1]);
    let answer = service.oneshot(post("/", large.clone())).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), large);
    assert_eq!(record.calls(), 1);
}

/// Says nothing to the first request, and what came to every other.
async fn silent_once() -> (H1Server, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let server = H1Server::start(move |mut connection| {
        let counted = Arc::clone(&counted);
        async move {
            while let Some(request) = connection.request().await {
                if counted.fetch_add(1, Ordering::SeqCst) > 0 {
                    connection.respond(200, &[request.head.as_bytes(), &*request.body].concat()).await;
                }
            }
        }
    })
    .await;
    (server, calls)
}

fn hedged(server: &H1Server, thresholds: Thresholds) -> Mesh {
    let policy = RetryPolicy { per_try_timeout: Some(Duration::from_millis(200)), ..retry_policy("5xx", 1) };
    let forward = Forward {
        hedge_policy: Some(HedgePolicy { hedge_on_per_try_timeout: true }),
        retry_policy: Some(Arc::new(policy)),
        ..forward("c")
    };
    let mut cluster = cluster("c", UpstreamProtocol::Http1, &[server.address]);
    cluster.circuit_breakers.default = thresholds;
    let mut setup = Setup::new(vec![cluster], vec![route("/", forward)]);
    setup.host = VirtualHost {
        include_request_attempt_count: true,
        include_attempt_count_in_response: true,
        include_is_timeout_retry_header: true,
        ..VirtualHost::default()
    };
    Mesh::new(setup)
}

async fn nothing_is_under_way(mesh: &Mesh) {
    for load in [Load::Requests, Load::Retries] {
        eventually(&format!("no {load:?}"), || mesh.load("c", load) == 0).await;
    }
    eventually("no host is busy", || mesh.active("c") == 0).await;
}

#[tokio::test]
async fn a_race_over_connections_gives_every_place_back() {
    let (server, calls) = silent_once().await;
    let mesh = hedged(&server, Thresholds::default());
    let answer = ask(&mesh.client(), post("/", "hello")).await;
    assert_eq!((answer.outcome(), answer.attempts()), ((200, "-".to_owned()), 2));
    assert!(answer.text().ends_with("hello"), "{}", answer.text());
    for told in ["x-envoy-attempt-count: 2", "x-envoy-is-timeout-retry: true"] {
        assert!(answer.text().contains(told), "{}", answer.text());
    }
    assert_eq!((answer.header("x-envoy-attempt-count"), calls.load(Ordering::SeqCst)), ("2", 2));
    // The slow one has lost because it was slow.
    let pin = mesh.store.pin(mesh_core::state::Lane::default());
    assert_eq!(pin.cluster_by_name("c").unwrap().state().counts().timeouts, 1);
    nothing_is_under_way(&mesh).await;
}

#[tokio::test]
async fn r05_a_race_that_the_caller_leaves_gives_every_place_back() {
    let server = H1Server::start(|mut connection| async move { while connection.request().await.is_some() {} }).await;
    let mesh = hedged(&server, Thresholds::default());
    let waiting = ask_aside(mesh.client(), get("/"));
    eventually("two tries run beside one another", || {
        mesh.load("c", Load::Requests) == 2 && mesh.load("c", Load::Retries) == 1 && mesh.active("c") == 2
    })
    .await;
    waiting.abort();
    nothing_is_under_way(&mesh).await;
}

#[tokio::test]
async fn a_try_that_the_limits_refuse_leaves_the_first_one_running() {
    for (thresholds, flags) in [
        (Thresholds { max_requests: 1, ..Thresholds::default() }, "-"),
        (Thresholds { max_retries: 0, ..Thresholds::default() }, "UO"),
    ] {
        let answering = Arc::new(tokio::sync::Notify::new());
        let answer_now = Arc::clone(&answering);
        let server = H1Server::start(move |mut connection| {
            let answering = Arc::clone(&answering);
            async move {
                while connection.request().await.is_some() {
                    answering.notified().await;
                    connection.respond(200, b"first").await;
                }
            }
        })
        .await;
        let mesh = hedged(&server, thresholds);
        let waiting = ask_aside(mesh.client(), get("/"));
        eventually("one try runs", || mesh.load("c", Load::Requests) == 1).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(mesh.load("c", Load::Requests), 1, "none beside it");
        answer_now.notify_one();
        let answer = waiting.await.unwrap();
        assert_eq!((answer.outcome(), answer.text()), ((200, flags.to_owned()), "first"));
        nothing_is_under_way(&mesh).await;
    }
}

#[tokio::test]
async fn a_caller_within_switches_hedging_on_and_off() {
    for (by_route, asked, attempts) in [(false, "true", 2), (true, "false", 2), (false, "maybe", 2), (true, "", 2)] {
        let (server, _) = silent_once().await;
        let policy = RetryPolicy { per_try_timeout: Some(Duration::from_millis(200)), ..retry_policy("reset", 1) };
        let forward = Forward {
            hedge_policy: Some(HedgePolicy { hedge_on_per_try_timeout: by_route }),
            timeout: Some(Duration::from_secs(60)),
            retry_policy: Some(Arc::new(policy)),
            ..forward("c")
        };
        let mut setup =
            Setup::new(vec![cluster("c", UpstreamProtocol::Http1, &[server.address])], vec![route("/", forward)]);
        setup.manager.internal_addresses = vec![([10, 0, 0, 0].into(), 8)];
        let client = Mesh::new(setup).client();
        let mut request = get("/");
        request.headers_mut().insert("x-forwarded-for", "10.0.0.1".parse().unwrap());
        if !asked.is_empty() {
            request.headers_mut().insert("x-envoy-hedge-on-per-try-timeout", asked.parse().unwrap());
        }
        let answer = ask(&client, request).await;
        assert_eq!((answer.status.as_u16(), answer.attempts()), (200, attempts));
        // Where tries are hedged, each has the whole time; else it has its own limit.
        let hedges = (by_route || asked == "true") && asked != "false";
        let told = answer.text().lines().find_map(|line| line.strip_prefix("x-envoy-expected-rq-timeout-ms: "));
        let told: u32 = told.unwrap().parse().unwrap();
        assert_eq!(told > 200, hedges, "{by_route} {asked}: {told}");
    }
}

#[tokio::test(start_paused = true)]
async fn hostile_limits_end_every_race_all_the_same() {
    let limits =
        [Duration::from_nanos(1), Duration::from_millis(1), Duration::from_secs(315_576_000_000), Duration::MAX];
    for per_try_timeout in limits {
        for (base, most) in [(Duration::ZERO, Duration::ZERO), (Duration::from_nanos(1), Duration::MAX)] {
            for (num_retries, tries) in [(0, 1), (3, 4), (u32::MAX, 4)] {
                let policy = RetryPolicy {
                    per_try_timeout: Some(per_try_timeout),
                    base_interval: Some(base),
                    max_interval: Some(most),
                    ..retry_policy("5xx", num_retries)
                };
                let probe = Probe::new(
                    move |_: Request<ReplayBody<Body>>, call| -> Pin<Box<dyn Future<Output = Reply> + Send>> {
                        if call < tries {
                            return never();
                        }
                        Box::pin(async { Ok(Response::new(Body::default())) })
                    },
                );
                let record = Arc::clone(&probe.record);
                let service = RetryLayer::new(&policy).unwrap().hedging().layer(probe);
                let answer = tokio::time::timeout(Duration::from_secs(86_400), service.oneshot(get("/"))).await;
                // A limit that never passes leaves the first try alone, and a day is not enough for it.
                let is_short = per_try_timeout <= Duration::from_secs(1);
                assert_eq!(answer.is_ok(), is_short || tries == 1, "{per_try_timeout:?} {num_retries}");
                assert_eq!(record.calls(), if is_short { tries } else { 1 }, "{per_try_timeout:?} {num_retries}");
            }
        }
    }
}

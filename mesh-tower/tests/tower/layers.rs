//! The contract of every Tower service here: the instance that was made ready is called, readiness is the inner
//! service's, errors pass as they are, and what a request holds goes with it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use mesh_core::exchange::{Attempt, Filtered, Picked, Routed, Sendable};
use mesh_core::resource::cluster::UpstreamProtocol;
use mesh_core::resource::filter::{Fault, FaultRateLimit};
use mesh_core::resource::outlier_detection::OutlierDetection;
use mesh_core::resource::retry::{RateLimitedBackOff, ResetFormat, ResetHeader};
use mesh_core::resource::route::FractionalPercent;
use mesh_tower::body::{MirrorBody, RequestBody, UploadBody};
use mesh_tower::outbound::retry::ReplayBody;
use mesh_tower::{
    BalanceLayer, CircuitBreakerLayer, Error, FaultLayer, FiltersLayer, MirrorLayer, OutlierLayer, RateLimitLayer,
    RetryLayer, RouteLayer, TimeoutLayer,
};
use tower::{Layer, Service, ServiceExt};

use crate::mesh::{Mesh, Setup, cluster, get, retry_policy, within};
use crate::probe::{Probe, Record, never, now};

type Body = Full<Bytes>;
type Reply = Result<Response<Body>, Error>;

fn ok() -> Reply {
    Ok(Response::new(Full::new(Bytes::from_static(b"hello"))))
}

fn store() -> mesh_core::snapshot::SnapshotStore {
    let somewhere = "127.0.0.1:9".parse().unwrap();
    Mesh::new(Setup::to(cluster("c", UpstreamProtocol::Http1, &[somewhere]))).store
}

/// What every service promises, whatever it does besides.
async fn keeps_the_contract<S, B>(record: Arc<Record>, service: S)
where
    S: Service<Request<Body>, Response = Response<B>, Error = Error> + Clone,
    B: http_body::Body<Data = Bytes>,
{
    // Readiness is the inner service's; whoever waits is woken.
    record.is_busy.store(true, Ordering::SeqCst);
    let mut waiting = service.clone();
    let mut ready = tokio_test_task(async move {
        waiting.ready().await.unwrap();
        waiting
    });
    assert!(ready.poll().is_pending());
    assert!(!ready.is_woken());
    record.free();
    assert!(ready.is_woken(), "a pending readiness wakes its task");
    let Poll::Ready(mut service) = ready.poll() else { panic!("ready by now") };
    // The very instance that was made ready is called; and each time, not only at first.
    for _ in 0..3 {
        service.ready().await.unwrap();
        let answer = service.call(get("/"));
        within(answer).await.unwrap();
    }
    assert_eq!((record.calls(), record.unready_calls.load(Ordering::SeqCst)), (3, 0));
}

/// A future with a waker that remembers.
struct Task<F> {
    future: std::pin::Pin<Box<F>>,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken(std::sync::atomic::AtomicBool);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn tokio_test_task<F: Future>(future: F) -> Task<F> {
    Task { future: Box::pin(future), woken: Arc::default() }
}

impl<F: Future> Task<F> {
    fn poll(&mut self) -> Poll<F::Output> {
        let waker = std::task::Waker::from(Arc::clone(&self.woken));
        self.future.as_mut().poll(&mut std::task::Context::from_waker(&waker))
    }

    fn is_woken(&self) -> bool {
        self.woken.0.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn timeout_keeps_the_contract() {
    let probe = Probe::new(|_: Request<Body>, _| now(ok()));
    keeps_the_contract(Arc::clone(&probe.record), TimeoutLayer::new(Duration::from_secs(1)).layer(probe)).await;
}

#[tokio::test]
async fn outlier_keeps_the_contract() {
    let probe = Probe::new(|_: Request<Body>, _| now(ok()));
    let record = Arc::clone(&probe.record);
    keeps_the_contract(record, OutlierLayer::new(OutlierDetection::default()).layer(probe)).await;
}

#[tokio::test]
async fn retry_keeps_the_contract_and_makes_ready_before_every_try() {
    let policy = retry_policy("5xx", 2);
    let probe = Probe::new(|_: Request<ReplayBody<Body>>, _| now(ok()));
    let record = Arc::clone(&probe.record);
    keeps_the_contract(record, RetryLayer::new(&policy).unwrap().layer(probe)).await;

    let failing = Probe::new(|_: Request<ReplayBody<Body>>, call| {
        let status = if call < 3 { 503 } else { 200 };
        now(Ok::<_, Error>(Response::builder().status(status).body(Body::default()).unwrap()))
    });
    let record = Arc::clone(&failing.record);
    let service = RetryLayer::new(&policy).unwrap().layer(failing);
    assert_eq!(service.oneshot(get("/")).await.unwrap().status(), 200);
    assert_eq!((record.calls(), record.unready_calls.load(Ordering::SeqCst)), (3, 0));
}

#[tokio::test]
async fn faults_keep_the_contract() {
    let slow = FaultRateLimit { fixed_kbps: Some(1), percentage: FractionalPercent::percent(100) };
    let faults = FaultLayer::new(&Fault { response_rate_limit: Some(slow), ..Fault::default() }).unwrap();
    let probe = Probe::new(|_: Request<Body>, _| now(ok()));
    keeps_the_contract(Arc::clone(&probe.record), faults.layer(probe)).await;
    assert_eq!((faults.stats().response_rl_injected, faults.stats().active_faults), (3, 0));
}

#[tokio::test]
async fn mirror_keeps_the_contract_and_makes_its_target_ready_too() {
    let target = Probe::new(|_: Request<MirrorBody<Body>>, _| now(ok()));
    let copies = Arc::clone(&target.record);
    let share = FractionalPercent { numerator: 1, denominator: 1 };
    let probe = Probe::new(|_: Request<MirrorBody<Body>>, _| now(ok()));
    let record = Arc::clone(&probe.record);
    let service = MirrorLayer::to(target, share).layer(probe);
    keeps_the_contract(record, service.clone()).await;
    crate::mesh::eventually("three copies", || copies.calls() == 3).await;
    assert_eq!(copies.unready_calls.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_is_never_ready_hangs_or_fails_changes_nothing() {
    let share = FractionalPercent { numerator: 1, denominator: 1 };
    let probe = || Probe::new(|_: Request<MirrorBody<Body>>, _| now(ok()));
    let busy = Probe::new(|_: Request<MirrorBody<Body>>, _| now(ok()));
    busy.record.is_busy.store(true, Ordering::SeqCst);
    let hanging = Probe::new(|_: Request<MirrorBody<Body>>, _| never::<Reply>());
    let failing = Probe::new(|_: Request<MirrorBody<Body>>, _| now::<Response<Body>, _>(Err(Error::Overflow)));
    let start = tokio::time::Instant::now();
    let request = || Request::post("http://a.test/").body(Full::new(Bytes::from_static(b"x"))).unwrap();
    for answer in [
        MirrorLayer::to(busy, share).layer(probe()).oneshot(request()).await,
        MirrorLayer::to(hanging, share).layer(probe()).oneshot(request()).await,
        MirrorLayer::to(failing, share).layer(probe()).oneshot(request()).await,
    ] {
        assert_eq!(answer.unwrap().into_body().collect().await.unwrap().to_bytes(), "hello");
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn circuit_breaker_keeps_the_contract() {
    let probe = Probe::new(|_: Request<Body>, _| now(ok()));
    keeps_the_contract(Arc::clone(&probe.record), CircuitBreakerLayer::max_requests(10).layer(probe)).await;
}

#[tokio::test(start_paused = true)]
async fn rate_limit_keeps_the_contract() {
    let probe = Probe::new(|_: Request<Body>, _| now(ok()));
    let layer = RateLimitLayer::new(3, Duration::from_secs(60));
    keeps_the_contract(Arc::clone(&probe.record), layer.layer(probe)).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_token_never_reaches_the_inner_service() {
    let probe = Probe::new(|_: Request<Body>, call| match call {
        1 => now(ok()),
        _ => now(Err(Error::Upstream("mine".into()))),
    });
    let record = Arc::clone(&probe.record);
    let layer = RateLimitLayer::new(2, Duration::from_secs(2));
    let mut service = layer.layer(probe.clone());
    assert!(service.ready().await.unwrap().call(get("/")).await.is_ok());
    let lost = service.ready().await.unwrap().call(get("/"));
    drop(lost);
    let refused = |answer: Reply| matches!(answer, Err(Error::RateLimited));
    assert!(refused(service.clone().oneshot(get("/")).await), "a caller who went away spent the token all the same");
    assert!(refused(layer.layer(probe).oneshot(get("/")).await), "services of one layer share the bucket");
    assert_eq!(record.calls(), 2);
    tokio::time::advance(Duration::from_secs(1)).await;
    let mine = service.oneshot(get("/")).await.unwrap_err();
    assert!(matches!(mine, Error::Upstream(_)), "an error of the inner service passes: {mine}");
    let refusal = Error::RateLimited;
    assert_eq!((refusal.local_reply().status.as_u16(), refusal.response_flags().to_string()), (429, "RL".to_owned()));
    assert!(refusal.is_retry_safe());
}

#[tokio::test]
async fn route_keeps_the_contract() {
    let probe = Probe::new(|_: Routed<Body>, _| now(ok()));
    keeps_the_contract(Arc::clone(&probe.record), RouteLayer::new(store()).layer(probe)).await;
}

#[tokio::test]
async fn filters_keep_the_contract() {
    let probe = Probe::new(|_: Filtered<RequestBody<Body>>, _| now(ok()));
    let record = Arc::clone(&probe.record);
    keeps_the_contract(record, RouteLayer::new(store()).layer(FiltersLayer::new().layer(probe))).await;
}

#[tokio::test]
async fn the_whole_stack_down_to_the_connection_keeps_the_contract() {
    let routed = |inner: TimedStack| RouteLayer::new(store()).layer(FiltersLayer::new().layer(inner));
    let probe: SendableProbe = Probe::new(|_, _| now(ok()));
    let record = Arc::clone(&probe.record);
    let balanced = BalanceLayer::new().layer(CircuitBreakerLayer::from_cluster().layer(probe));
    let service = routed(TimeoutLayer::from_route().layer(RetryLayer::from_route().layer(balanced)));
    keeps_the_contract(record, service).await;
}

type Sent = Sendable<ReplayBody<UploadBody<RequestBody<Body>>>>;
type SendableProbe = Probe<fn(Sent, usize) -> std::future::Ready<Reply>>;
type TimedStack = <TimeoutLayer<mesh_tower::outbound::timeout::FromRoute> as Layer<RetriedStack>>::Service;
type RetriedStack = <RetryLayer<mesh_tower::outbound::retry::FromRoute> as Layer<BalancedStack>>::Service;
type BalancedStack = <BalanceLayer as Layer<LimitedStack>>::Service;
type LimitedStack =
    <CircuitBreakerLayer<mesh_tower::outbound::circuit_breaker::FromCluster> as Layer<SendableProbe>>::Service;

#[tokio::test]
async fn balance_calls_what_was_made_ready_with_a_host_and_refuses_without_one() {
    let picking = |endpoints: &[std::net::SocketAddr]| {
        let mesh = Mesh::new(Setup::to(cluster("c", UpstreamProtocol::Http1, endpoints)));
        let probe = Probe::new(|picked: Picked<ReplayBody<RequestBody<Body>>>, _| {
            let address = picked.target().host().unwrap().endpoint.address.to_string();
            now(Ok::<_, Error>(Response::new(Full::<Bytes>::from(address))))
        });
        let record = Arc::clone(&probe.record);
        let balanced = BalanceLayer::new().layer(probe);
        let service =
            RouteLayer::new(mesh.store).layer(FiltersLayer::new().layer(RetryLayer::from_route().layer(balanced)));
        (record, service)
    };
    let (record, service) = picking(&["127.0.0.1:9".parse().unwrap()]);
    let answer = service.clone().oneshot(get("/")).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "127.0.0.1:9");
    assert_eq!(record.unready_calls.load(Ordering::SeqCst), 0);
    let (record, service) = picking(&[]);
    assert_eq!(service.oneshot(get("/")).await.unwrap().status(), 503);
    assert_eq!(record.calls(), 0, "an attempt without a host goes nowhere");
}

#[tokio::test]
async fn errors_pass_as_they_are() {
    let failing = |_: Request<Body>, _| now::<Response<Body>, _>(Err(Error::Upstream("mine".into())));
    let is_mine = |error: Error| matches!(&error, Error::Upstream(source) if source.to_string() == "mine");
    let timed = TimeoutLayer::new(Duration::from_secs(1)).layer(Probe::new(failing));
    assert!(is_mine(timed.oneshot(get("/")).await.unwrap_err()));
    let limited = CircuitBreakerLayer::max_requests(1).layer(Probe::new(failing));
    // Twice: a failed request gives its place back.
    assert!(is_mine(limited.clone().oneshot(get("/")).await.unwrap_err()));
    assert!(is_mine(limited.oneshot(get("/")).await.unwrap_err()));
    let failing = |_: Request<ReplayBody<Body>>, _| now::<Response<Body>, _>(Err(Error::Upstream("mine".into())));
    let retried = RetryLayer::new(&retry_policy("5xx,reset", 3)).unwrap().layer(Probe::new(failing));
    assert!(is_mine(retried.oneshot(get("/")).await.unwrap_err()), "an error of an unknown kind is not retried");
}

#[tokio::test]
async fn the_outermost_layer_turns_every_error_into_a_response() {
    let failing = |_: Routed<Body>, _| now::<Response<Body>, _>(Err(Error::NoHealthyHost));
    let service = RouteLayer::new(store()).layer(Probe::new(failing));
    let answer = crate::mesh::read(service.oneshot(get("/")).await.unwrap()).await.unwrap();
    assert_eq!((answer.outcome(), answer.text()), ((503, "UH".to_owned()), "no healthy upstream"));
}

#[tokio::test]
async fn a_place_among_the_limits_goes_with_its_request_however_that_ends() {
    let probe = Probe::new(|_: Request<Body>, call| if call == 1 { never() } else { Box::pin(now(ok())) });
    let service = CircuitBreakerLayer::max_requests(1).layer(probe);
    let first = tokio_test_task(service.clone().oneshot(get("/")));
    let mut first = first;
    assert!(first.poll().is_pending());
    assert!(matches!(service.clone().oneshot(get("/")).await, Err(Error::Overflow)));
    drop(first);
    let response = service.clone().oneshot(get("/")).await.unwrap();
    assert!(matches!(service.clone().oneshot(get("/")).await, Err(Error::Overflow)), "its body is not read yet");
    response.into_body().collect().await.unwrap();
    assert!(service.oneshot(get("/")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_timeout_ends_what_takes_longer_and_nothing_else() {
    for (takes, is_ended) in [(900, false), (1100, true)] {
        let probe = Probe::new(move |_: Request<Body>, _| async move {
            tokio::time::sleep(Duration::from_millis(takes)).await;
            ok()
        });
        let service = TimeoutLayer::new(Duration::from_secs(1)).layer(probe);
        let result = service.oneshot(get("/")).await;
        assert_eq!(matches!(result, Err(Error::Timeout)), is_ended, "{takes} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn back_off_waits_within_its_interval_and_a_dropped_request_is_not_tried_again() {
    let mut policy = retry_policy("5xx", 1);
    policy.base_interval = Some(Duration::from_secs(10));
    policy.max_interval = Some(Duration::from_secs(10));
    let failing = |_: Request<ReplayBody<Body>>, _| {
        now(Ok::<_, Error>(Response::builder().status(503).body(Body::default()).unwrap()))
    };
    let start = tokio::time::Instant::now();
    let probe = Probe::new(failing);
    let record = Arc::clone(&probe.record);
    let service = RetryLayer::new(&policy).unwrap().layer(probe);
    assert_eq!(service.clone().oneshot(get("/")).await.unwrap().status(), 503);
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(record.calls(), 2);

    let mut given_up = tokio_test_task(service.oneshot(get("/")));
    assert!(given_up.poll().is_pending());
    drop(given_up);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(record.calls(), 3, "no try after the caller gave up");
}

#[tokio::test(start_paused = true)]
async fn a_response_that_says_when_to_come_back_is_tried_again_then() {
    let mut policy = retry_policy("5xx", 1);
    let header = ResetHeader { name: http::header::RETRY_AFTER, format: ResetFormat::Seconds };
    policy.rate_limited =
        Some(RateLimitedBackOff { reset_headers: vec![header], max_interval: Duration::from_secs(300) });
    let limited = |_: Request<ReplayBody<Body>>, call| {
        let answer = Response::builder().status(if call == 1 { 503 } else { 200 }).header("retry-after", "60");
        now(Ok::<_, Error>(answer.body(Body::default()).unwrap()))
    };
    let start = tokio::time::Instant::now();
    let service = RetryLayer::new(&policy).unwrap().layer(Probe::new(limited));
    assert_eq!(service.oneshot(get("/")).await.unwrap().status(), 200);
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(60) && waited <= Duration::from_millis(90_100), "{waited:?}");
}

/// The order is in the types: none of these would compile with two layers exchanged.
#[allow(dead_code, reason = "it is the compiler that proves it")]
fn stack_order<S>(inner: S) -> impl Service<Request<Body>>
where
    S: Service<Attempt<ReplayBody<RequestBody<Body>>>, Response = Response<Body>, Error = Error> + Clone,
{
    RouteLayer::new(store()).layer(FiltersLayer::new().layer(RetryLayer::from_route().layer(inner)))
}

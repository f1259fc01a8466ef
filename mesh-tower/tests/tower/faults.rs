//! Faults: the layer by itself, and the filter in both stacks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use mesh_core::resource::cluster::UpstreamProtocol;
use mesh_core::resource::filter::RouteConfig as Config;
use mesh_core::resource::filter::{AbortError, Fault, FaultAbort, FaultDelay, FaultRateLimit};
use mesh_core::resource::listener::{FilterConfig, HttpFilter};
use mesh_core::resource::route::{FilterOverride, FractionalPercent};
use mesh_tower::response::ResponseInfo;
use mesh_tower::{Error, FaultLayer};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::mesh::{Mesh, Setup, ask, cluster, forward, get, http1, route};
use crate::probe::{Probe, never, now};
use crate::server::H1Server;

type Body = Full<Bytes>;

const ALWAYS: FractionalPercent = FractionalPercent::percent(100);
const DELAY: Duration = Duration::from_secs(3600);

fn abort(status: u16) -> Fault {
    let abort = FaultAbort { error: AbortError::Http(status), percentage: ALWAYS, response_body: String::new() };
    Fault { abort: Some(abort), ..Fault::default() }
}

fn delay() -> Fault {
    Fault { delay: Some(FaultDelay { fixed: Some(DELAY), percentage: ALWAYS }), ..Fault::default() }
}

fn rate(kbps: u64) -> Fault {
    let limit = FaultRateLimit { fixed_kbps: Some(kbps), percentage: ALWAYS };
    Fault { response_rate_limit: Some(limit), ..Fault::default() }
}

fn filter(config: Fault) -> HttpFilter {
    HttpFilter { name: "fault".into(), disabled: false, config: FilterConfig::Fault(Box::new(config)) }
}

fn ok() -> Result<Response<Body>, Error> {
    Ok(Response::new(Full::new(Bytes::from_static(b"hello"))))
}

#[tokio::test(start_paused = true)]
async fn a_delayed_request_calls_the_instance_that_was_made_ready() {
    let probe = Probe::new(|_: Request<Body>, _| now(ok()));
    let record = Arc::clone(&probe.record);
    let layer = FaultLayer::new(&delay()).unwrap();
    let mut service = layer.layer(probe);
    let start = Instant::now();
    for calls in 1..=3 {
        let response = service.ready().await.unwrap().call(get("/")).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
        assert_eq!((record.calls(), record.unready_calls.load(Ordering::SeqCst)), (calls, 0));
    }
    assert_eq!(start.elapsed(), DELAY * 3);
    assert_eq!((layer.stats().delays_injected, layer.stats().active_faults), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_during_the_delay_gives_its_place_back_and_nothing_is_called() {
    let probe = Probe::new(|_: Request<Body>, _| now(ok()));
    let record = Arc::clone(&probe.record);
    let layer = FaultLayer::new(&Fault { max_active_faults: Some(1), ..delay() }).unwrap();
    let service = layer.layer(probe);
    let leaving = tokio::time::timeout(DELAY / 2, service.clone().oneshot(get("/"))).await;
    assert!(leaving.is_err());
    assert_eq!((record.calls(), layer.stats().active_faults, layer.stats().delays_injected), (0, 0, 1));
    // The place is free again: this one is delayed, and not spared.
    let start = Instant::now();
    drop(service.oneshot(get("/")).await.unwrap());
    assert_eq!((start.elapsed(), layer.stats().faults_overflow), (DELAY, 0));
}

#[tokio::test(start_paused = true)]
async fn a_place_is_held_until_the_body_has_ended_and_others_are_spared_meanwhile() {
    let layer = FaultLayer::new(&Fault { max_active_faults: Some(1), ..delay() }).unwrap();
    let service = layer.layer(service_fn(|_: Request<Body>| now(ok())));
    let first = service.clone().oneshot(get("/")).await.unwrap();
    assert_eq!(layer.stats().active_faults, 1);
    let start = Instant::now();
    drop(service.clone().oneshot(get("/")).await.unwrap());
    assert_eq!((start.elapsed(), layer.stats().faults_overflow), (Duration::ZERO, 1));
    first.into_body().collect().await.unwrap();
    assert_eq!(layer.stats().active_faults, 0);
    let hanging = layer.layer(service_fn(|_: Request<Body>| never::<Result<Response<Body>, Error>>()));
    let cut = tokio::time::timeout(DELAY * 2, hanging.oneshot(get("/"))).await;
    assert!(cut.is_err());
    assert_eq!(layer.stats().active_faults, 0);
}

#[tokio::test(start_paused = true)]
async fn an_error_comes_after_the_delay_and_the_inner_service_is_left_alone() {
    let called = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&called);
    let both = Fault { abort: abort(418).abort, ..delay() };
    let service = FaultLayer::new(&both).unwrap().layer(service_fn(move |_: Request<Body>| {
        seen.store(true, Ordering::SeqCst);
        now(ok())
    }));
    let response = service.oneshot(get("/")).await.unwrap();
    let info = response.extensions().get::<ResponseInfo>().unwrap();
    assert_eq!((response.status().as_u16(), &*info.flags.to_string()), (418, "DI,FI"));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "fault filter abort");
    assert!(!called.load(Ordering::SeqCst));
}

#[tokio::test]
async fn an_error_of_the_inner_service_passes_as_it_is() {
    let failing = service_fn(|_: Request<Body>| now::<Response<Body>, _>(Err(Error::Overflow)));
    let error = FaultLayer::new(&rate(1)).unwrap().layer(failing).oneshot(get("/")).await.err();
    assert!(matches!(error, Some(Error::Overflow)));
}

#[tokio::test(start_paused = true)]
async fn a_response_is_slowed_down_to_its_rate() {
    // 1 KiB a second are 64 bytes in each of 16 slices; the first of 33 is free.
    let body = Bytes::from(vec![b'x'; 33 * 64]);
    let sent = body.clone();
    let service = FaultLayer::new(&rate(1))
        .unwrap()
        .layer(service_fn(move |_: Request<Body>| now(Ok::<_, Error>(Response::new(Full::new(sent.clone()))))));
    let start = Instant::now();
    let mut arrived = service.oneshot(get("/")).await.unwrap().into_body();
    assert_eq!(start.elapsed(), Duration::ZERO);
    let mut all = Vec::new();
    while let Some(frame) = arrived.frame().await {
        let size_before = all.len();
        all.extend_from_slice(&frame.unwrap().into_data().unwrap());
        assert_eq!(all.len() - size_before, 64);
    }
    assert_eq!((all, start.elapsed()), (body.to_vec(), Duration::from_secs(2)));
}

#[test]
fn a_layer_that_makes_no_sense_is_refused() {
    assert_eq!(
        FaultLayer::new(&abort(700)).unwrap_err().to_string(),
        "Listener/fault: abort.http_status: 700 is not within 200 to 599"
    );
}

#[tokio::test(start_paused = true)]
async fn a_route_has_faults_of_its_own_in_place_of_the_filters() {
    // No host: the answer needs no socket, and time may be paused.
    let mut own = route("/own", forward("c"));
    own.per_filter_config = [("fault".into(), FilterOverride::with(Config::Fault(Box::new(delay()))))].into();
    let mut off = route("/off", forward("c"));
    off.per_filter_config = [("fault".into(), FilterOverride::off())].into();
    let mut setup =
        Setup::new(vec![cluster("c", UpstreamProtocol::Http1, &[])], vec![own, off, route("/", forward("c"))]);
    setup.manager.http_filters = vec![filter(abort(418))];
    let client = Mesh::new(setup).client();
    let start = Instant::now();
    for (path, status, flags, elapsed) in
        [("/", 418, "FI", Duration::ZERO), ("/off", 503, "UH", Duration::ZERO), ("/own", 503, "DI,UH", DELAY)]
    {
        let response = client.clone().oneshot(get(path)).await.unwrap();
        let info = response.extensions().get::<ResponseInfo>().unwrap();
        assert_eq!((response.status().as_u16(), &*info.flags.to_string()), (status, flags), "{path}");
        assert_eq!(start.elapsed(), elapsed, "{path}");
    }
}

#[tokio::test]
async fn a_response_through_the_stack_has_its_rate() {
    let server = H1Server::start(|mut connection| async move {
        while connection.request().await.is_some() {
            connection.respond(200, &[b'x'; 3000]).await;
        }
    })
    .await;
    // 16 KiB a second are 1 KiB in each slice, and the first is free: the rest takes an eighth of a second.
    let mut setup = Setup::to(http1("c", server.address));
    setup.manager.http_filters = vec![filter(rate(16))];
    let client = Mesh::new(setup).client();
    let start = std::time::Instant::now();
    let answer = ask(&client, get("/")).await;
    assert_eq!((answer.outcome(), answer.text().len()), ((200, "-".to_owned()), 3000));
    assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
}

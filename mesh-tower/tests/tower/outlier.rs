//! Outlier detection alone: who is ready, what ends an ejection, what says something of a host.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use mesh_core::resource::outlier_detection::{Enforcing, FailurePercentage, OutlierDetection};
use mesh_tower::outbound::outlier::Outlier;
use mesh_tower::{Error, OutlierLayer, TimeoutLayer};
use tokio::time::Instant;
use tower::util::BoxCloneService;
use tower::{Layer, Service, ServiceExt};

use crate::mesh::get;
use crate::probe::{Probe, never, now};

type Body = Full<Bytes>;
type Host = Outlier<BoxCloneService<Request<Body>, Response<Body>, Error>>;

const S: Duration = Duration::from_secs(1);

fn settings() -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx: 2,
        interval: S,
        base_ejection_time: 3 * S,
        max_ejection_percent: 50,
        enforcing: Enforcing { success_rate: 0, ..Enforcing::default() },
        ..OutlierDetection::default()
    }
}

/// A host that answers every request with this status.
fn host(layer: &OutlierLayer, status: u16) -> Host {
    let answer = move |_: Request<Body>, _| now(Ok(Response::builder().status(status).body(Body::default()).unwrap()));
    layer.layer(BoxCloneService::new(Probe::new(answer)))
}

async fn ask(host: &mut Host) -> u16 {
    host.ready().await.unwrap().call(get("/")).await.unwrap().status().as_u16()
}

async fn is_ready(host: &mut Host) -> bool {
    tokio::select! {
        biased;
        ready = host.ready() => { ready.unwrap(); true }
        () = std::future::ready(()) => false,
    }
}

#[tokio::test(start_paused = true)]
async fn an_ejected_host_is_not_ready_until_its_ejection_is_over() {
    let layer = OutlierLayer::new(settings());
    let (mut good, mut bad) = (host(&layer, 200), host(&layer, 500));
    let mut clone = bad.clone();
    ask(&mut bad).await;
    assert!(is_ready(&mut bad).await);
    ask(&mut clone).await;
    assert!(bad.is_ejected() && !is_ready(&mut bad).await && !is_ready(&mut clone).await, "clones are the same host");
    assert!(is_ready(&mut good).await);
    let began = Instant::now();
    let (first, second) = tokio::join!(bad.ready(), clone.ready());
    assert!(first.is_ok() && second.is_ok(), "everybody who waits is woken");
    assert!((3 * S..=4 * S).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(layer.counts().active, 0);
}

#[tokio::test(start_paused = true)]
async fn no_more_hosts_are_ejected_than_allowed_and_those_that_are_gone_do_not_count() {
    let layer = OutlierLayer::new(settings());
    let mut hosts: Vec<Host> = (0..4).map(|_| host(&layer, 500)).collect();
    for host in &mut hosts {
        ask(host).await;
        ask(host).await;
    }
    let ejected = |hosts: &[Host]| hosts.iter().filter(|host| host.is_ejected()).count();
    assert_eq!((ejected(&hosts), layer.counts().active, layer.counts().overflow), (2, 2, 2));
    hosts.retain(Host::is_ejected);
    let mut third = host(&layer, 500);
    assert_eq!(layer.counts().active, 2, "two of three");
    ask(&mut third).await;
    ask(&mut third).await;
    assert!(!third.is_ejected());
    // Without a new one to notice by: the next look at the hosts forgets those that are gone.
    hosts.clear();
    tokio::time::advance(2 * S).await;
    third.ready().await.unwrap();
    assert_eq!(layer.counts().active, 0, "those who were ejected are gone");
}

#[tokio::test(start_paused = true)]
async fn rates_are_compared_when_an_interval_is_over() {
    let mut settings = settings();
    settings.consecutive_5xx = 0;
    settings.enforcing.failure_percentage = 100;
    settings.failure_percentage = FailurePercentage { threshold: 50, minimum_hosts: 2, request_volume: 10 };
    let layer = OutlierLayer::new(settings);
    let (mut good, mut bad) = (host(&layer, 200), host(&layer, 500));
    for _ in 0..10 {
        ask(&mut good).await;
        ask(&mut bad).await;
    }
    assert!(!bad.is_ejected());
    tokio::time::advance(S + S / 100).await;
    assert!(is_ready(&mut good).await);
    assert!(bad.is_ejected() && !good.is_ejected());
}

#[tokio::test(start_paused = true)]
async fn a_timeout_counts_and_a_caller_who_goes_away_does_not() {
    let layer = OutlierLayer::new(settings());
    let _other = host(&layer, 200);
    let hanging = || layer.layer(Probe::new(|_: Request<Body>, _| never::<Result<Response<Body>, Error>>()));
    let mut given_up = hanging();
    for _ in 0..5 {
        drop(given_up.ready().await.unwrap().call(get("/")));
    }
    assert!(!given_up.is_ejected());
    let slow = hanging();
    let mut timed = TimeoutLayer::new(S).layer(slow.clone());
    for _ in 0..2 {
        assert!(matches!(timed.ready().await.unwrap().call(get("/")).await, Err(Error::Timeout)));
    }
    assert!(slow.is_ejected());
}

#[tokio::test(start_paused = true)]
async fn errors_of_ones_own_limits_say_nothing_of_the_host() {
    let layer = OutlierLayer::new(settings());
    let mut full = layer.layer(Probe::new(|_: Request<Body>, _| now::<Response<Body>, _>(Err(Error::Overflow))));
    for _ in 0..5 {
        assert!(full.ready().await.unwrap().call(get("/")).await.is_err());
    }
    assert!(!full.is_ejected());
}

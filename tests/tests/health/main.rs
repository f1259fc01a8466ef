//! Hosts that answer badly, on real requests: what callers see of a storm, and what pushes at full load leave as it was.
#![allow(clippy::unwrap_used, reason = "a test that unwraps names its own failure")]

mod host;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use mesh_core::snapshot::{Change, Update};
use mesh_istio::{MeshConfig, ProxyContext, World, lower};
use mesh_tests::edge::{Edge, Upload};

use self::host::Host;

const CLUSTER: &str = "outbound|80||reviews.default.svc.cluster.local";
const S: Duration = Duration::from_secs(1);

/// `reviews` over these hosts, with this policy and these retries, in force.
fn edge(hosts: &[Host], policy: &str, retries: &str) -> Edge {
    let endpoints: Vec<String> =
        hosts.iter().map(|host| format!("{{address: 127.0.0.1, ports: {{http: {}}}}}", host.address.port())).collect();
    let yaml = format!(
        "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: reviews}}
spec:
  hosts: [reviews.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: reviews}}
spec: {{host: reviews, trafficPolicy: {policy}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: reviews}}
spec:
  hosts: [reviews]
  http: [{{route: [{{destination: {{host: reviews}}}}], retries: {retries}}}]
",
        endpoints.join(", ")
    );
    let world = World::load([("it.yaml", yaml.as_str())]);
    let lowered = lower(&world, &ProxyContext::new("default"), &MeshConfig::default());
    Edge::of_lowered(&lowered).unwrap()
}

async fn ask(edge: &Edge) -> (u16, u64) {
    let answer = edge.send(Request::get("http://reviews/").body(Upload::default()).unwrap()).await;
    (answer.status, answer.upstream.map_or(0, |upstream| u64::from(upstream.attempts())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n06_of_a_storm_of_errors_on_one_of_five_callers_see_next_to_nothing() {
    let mut hosts = Vec::new();
    for number in 0..5 {
        hosts.push(Host::start(if number == 0 { 503 } else { 200 }).await);
    }
    let edge = edge(
        &hosts,
        "{outlierDetection: {consecutive5xxErrors: 5, interval: 10s, baseEjectionTime: 30s, maxEjectionPercent: 20}}",
        "{attempts: 2, retryOn: 5xx}",
    );
    edge.pass(2 * S);
    let ejected = || edge.cluster(CLUSTER).unwrap().state().ejections().counts();
    while ejected().active == 0 {
        ask(&edge).await;
        edge.pass(Duration::ZERO);
    }
    // From the first ejection on, through several returns: 5,000 requests in 100 s, on whatever clock.
    let (mut requests, mut errors, mut attempts) = (0, 0, 0);
    for _ in 0..100 {
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let edge = edge.clone();
                tokio::spawn(async move {
                    let mut seen = Vec::new();
                    for _ in 0..5 {
                        seen.push(ask(&edge).await);
                    }
                    seen
                })
            })
            .collect();
        for task in tasks {
            for (status, tries) in task.await.unwrap() {
                requests += 1;
                errors += u64::from(status != 200);
                attempts += tries;
            }
        }
        edge.pass(S);
    }
    assert!(ejected().enforced_total() >= 2, "it returned and was ejected again: {:?}", ejected());
    assert!(errors * 100 <= requests, "{errors} errors of {requests}");
    assert!(attempts * 10 <= requests * 12, "{attempts} attempts for {requests}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_pushes_at_full_load_lose_no_ejection_no_connection_and_no_request() {
    const TASKS: usize = 8;
    let hosts = [Host::start(503).await, Host::start(200).await, Host::start(200).await];
    let edge = edge(
        &hosts,
        "{loadBalancer: {simple: ROUND_ROBIN}, outlierDetection: {consecutive5xxErrors: 2, interval: 10s, \
         baseEjectionTime: 1h, maxEjectionPercent: 50}}",
        "{attempts: 0}",
    );
    edge.pass(2 * S);
    while edge.cluster(CLUSTER).unwrap().state().ejections().counts().active == 0 {
        ask(&edge).await;
        edge.pass(Duration::ZERO);
    }
    let before = hosts[0].requests();
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (edge, stop, sent) = (edge.clone(), Arc::clone(&stop), Arc::clone(&sent));
            tokio::spawn(async move {
                let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
                while !stop.load(Ordering::Relaxed) {
                    *statuses.entry(ask(&edge).await.0).or_default() += 1;
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                statuses
            })
        })
        .collect();
    // Every push changes something: limits of the cluster, clusters beside it, now and then the order of its hosts. Time
    // passes for sweeps, too; requests go on between any two.
    for push in 0..1_000u32 {
        let mut config = (**edge.cluster(CLUSTER).unwrap().config()).clone();
        config.circuit_breakers.default.max_requests = 10_000 + push;
        let mut beside = config.clone();
        beside.name = format!("beside-{}", push % 7).as_str().into();
        let clusters = vec![Change::Set(Arc::new(config)), Change::Set(Arc::new(beside))];
        edge.push(Update { clusters, ..Update::default() });
        edge.pass(Duration::from_millis(10));
        let until = sent.load(Ordering::Relaxed) + 1;
        while sent.load(Ordering::Relaxed) < until {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for task in tasks {
        for (status, count) in task.await.unwrap() {
            *statuses.entry(status).or_default() += count;
        }
    }
    assert_eq!(statuses.keys().copied().collect::<Vec<_>>(), [200], "no request is lost: {statuses:?}");
    assert_eq!(hosts[0].requests(), before, "who is ejected stays so");
    for host in &hosts[1..] {
        assert!(
            host.connections() <= TASKS,
            "{} connections: pushes that do not concern them keep them",
            host.connections()
        );
    }
    assert!(sent.load(Ordering::Relaxed) >= 1_000);
}

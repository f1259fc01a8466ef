//! Manifest 09: the third HTTP/1.1 request waits, and five errors eject for a quarter of a minute.

use std::time::{Duration, Instant};

use http::Request;
use mesh_core::resource::route::RoutingPriority;
use mesh_core::state::Load;
use mesh_istio::MeshConfig;
use mesh_tests::data;
use mesh_tests::edge::{Answer, Edge, Upload};
use mesh_tests::upstream::{UP, UP2, Upstreams};

use crate::manifests::manifest;
use crate::shop::edge;

const RATINGS: &str = "outbound|9080||ratings.default.svc.cluster.local";
const S: Duration = Duration::from_secs(1);

/// `ratings` with an endpoint for each of these servers.
fn ratings(upstreams: &Upstreams, servers: &[u16]) -> String {
    let endpoint =
        |label: &u16| format!("{{address: 127.0.0.1, ports: {{http: {}}}}}", upstreams.address(*label).port());
    let endpoints: Vec<String> = servers.iter().map(endpoint).collect();
    format!(
        "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: ratings}}
spec:
  hosts: [ratings.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 9080, name: http, protocol: HTTP}}]
  endpoints: [{}]
",
        endpoints.join(", ")
    )
}

/// A GET whose servers do as `script` says.
async fn get(edge: &Edge, script: &str) -> Answer {
    let request = Request::get("http://ratings.default.svc.cluster.local:9080/").header("x-id", "09");
    edge.send(request.header("x-up", script).body(Upload::default()).unwrap()).await
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifest_09_ejects_after_five_errors_and_the_host_is_back_after_15_s() {
    let Some(text) = manifest("09") else { return data::report(0, 1) };
    let upstreams = Upstreams::start().await;
    let both = ratings(&upstreams, &[UP, UP2]);
    let (edge, said) = edge(&[("09.yaml", &text), ("services.yaml", &both)], &MeshConfig::default());
    // That `consecutiveErrors` is an old name is all there is to say.
    assert!(said.iter().all(|line| line.starts_with("DEPRECATED_FIELD ")), "{said:?}");
    edge.pass(S * 3 / 2);
    let arrived = |port: u16| upstreams.journal.of("09").iter().filter(|one| one.seen.port == port).count();
    let bad = format!("s=502;on={UP}");
    for _ in 0..100 {
        let answer = get(&edge, &bad).await;
        assert!(matches!(answer.status, 200 | 502), "{answer:?}");
        edge.pass(Duration::ZERO);
    }
    assert_eq!(arrived(UP), 5, "ejected by the fifth error");
    assert_eq!(arrived(UP2), 95);
    assert_eq!(edge.cluster(RATINGS).unwrap().state().ejections().counts().active, 1);
    // 14 s later it is out still. It may return after 15 s, in the next look at the hosts: every 10 s.
    edge.pass(14 * S);
    for _ in 0..40 {
        assert_eq!(get(&edge, "").await.status, 200);
    }
    assert_eq!(arrived(UP), 5);
    edge.pass(5 * S);
    for _ in 0..40 {
        assert_eq!(get(&edge, "").await.status, 200);
    }
    assert!(arrived(UP) > 5, "it is back");
    data::report(1, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifest_09_lets_the_third_request_wait_and_refuses_the_fourth_where_only_one_may() {
    let Some(text) = manifest("09") else { return data::report(0, 1) };
    let upstreams = Upstreams::start().await;
    let one = ratings(&upstreams, &[UP]);
    let limited = text.replace("      tcp:\n", "      http: {http1MaxPendingRequests: 1}\n      tcp:\n");
    assert_ne!(limited, text);
    for (text, fourth) in [(&text, 200), (&limited, 503)] {
        let (edge, _) = edge(&[("09.yaml", text), ("services.yaml", &one)], &MeshConfig::default());
        let load = |load| edge.cluster(RATINGS).unwrap().breaker().load(load, RoutingPriority::Default);
        let send = |script: &'static str| {
            let edge = edge.clone();
            tokio::spawn(async move { get(&edge, script).await })
        };
        let before = upstreams.journal.of("09").len();
        let mut asked = Vec::new();
        // One after the other: two connections that are being made at once would count as waiting, too.
        for number in 1..=2 {
            asked.push(send("d=2"));
            eventually("it arrives", || upstreams.journal.of("09").len() == before + number).await;
        }
        asked.push(send("d=0"));
        eventually("the third waits", || load(Load::Pending) == 1).await;
        let answer = send("d=0").await.unwrap();
        assert_eq!(answer.status, fourth, "{answer:?}");
        if fourth == 503 {
            assert_eq!(answer.flags, "UO");
            assert!(answer.headers.iter().any(|(name, value)| name == "x-envoy-overloaded" && value == "true"));
        }
        for one in asked {
            let answer = one.await.unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        assert!(load(Load::Connections) <= 2);
        let mut arrivals: Vec<Instant> = upstreams.journal.of("09")[before..].iter().map(|one| one.at).collect();
        arrivals.sort_unstable();
        assert!(arrivals[2] - arrivals[0] >= Duration::from_secs(2), "the third waited for the first");
    }
    data::report(1, 0);
}

//! Outlier detection as users see it: a bad host is left alone, and comes back when it is well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use http::StatusCode;
use mesh_sdk::Mesh;

use crate::support::{fetch, page, serve, server, service, until};

const OUTLIERS: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews.example
  trafficPolicy:
    loadBalancer: {simple: ROUND_ROBIN}
    outlierDetection: {consecutive5xxErrors: 3, interval: 50ms, baseEjectionTime: 50ms, maxEjectionPercent: 50}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews.example]
  http: [{route: [{destination: {host: reviews.example}}], retries: {attempts: 0}}]
";

/// A server that answers 500 while it is ill, and counts.
async fn patient() -> (u16, Arc<AtomicBool>, Arc<AtomicUsize>) {
    let (ill, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (state, count) = (Arc::clone(&ill), Arc::clone(&asked));
    let answer = move || {
        count.fetch_add(1, Ordering::Relaxed);
        let status = if state.load(Ordering::Relaxed) { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
        async move { (status, "patient") }
    };
    (serve(Router::new().fallback(answer)).await, ill, asked)
}

#[tokio::test]
async fn a_host_that_answers_badly_is_left_alone_until_it_is_well() {
    let (port, ill, asked) = patient().await;
    let yaml = service("reviews", &[("v1", server("healthy").await), ("v2", port)]) + OUTLIERS;
    let mesh = Mesh::builder().literal(yaml).admin("127.0.0.1:0").build().await.unwrap();
    let admin = mesh.admin_address().unwrap();
    let statistic = async |name: &str| {
        let (_, text) = page(admin, "GET", "/clusters", "localhost").await.unwrap();
        let at = format!("outbound|80||reviews.example::outlier_detection::{name}::");
        text.lines().find_map(|line| line.strip_prefix(&at)).unwrap().parse::<u64>().unwrap()
    };
    for _ in 0..6 {
        fetch(&mesh, "http://reviews.example/", &[]).await;
    }
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    until("it is ejected", async || statistic("ejections_enforced_consecutive_5xx").await == 1).await;
    // It returns, fails again, and is ejected for longer.
    until("it is ejected again", async || {
        fetch(&mesh, "http://reviews.example/", &[]).await;
        statistic("ejections_enforced_total").await >= 2
    })
    .await;
    ill.store(false, Ordering::Relaxed);
    let before = asked.load(Ordering::Relaxed);
    until("it is back and well", async || {
        fetch(&mesh, "http://reviews.example/", &[]).await;
        asked.load(Ordering::Relaxed) > before + 10
    })
    .await;
    assert_eq!(statistic("ejections_active").await, 0);
    let (_, text) = page(admin, "GET", "/clusters", "localhost").await.unwrap();
    assert!(!text.contains("failed_outlier_check"), "{text}");
}

#[tokio::test]
async fn a_host_that_is_ejected_shows_it_on_the_admin_page_and_gets_nothing() {
    let (port, _, asked) = patient().await;
    let for_long = OUTLIERS.replace("baseEjectionTime: 50ms", "baseEjectionTime: 1h");
    let yaml = service("reviews", &[("v1", server("healthy").await), ("v2", port)]) + &for_long;
    let mesh = Mesh::builder().literal(yaml).admin("127.0.0.1:0").build().await.unwrap();
    let admin = mesh.admin_address().unwrap();
    let pages = async |path| page(admin, "GET", path, "localhost").await.unwrap().1;
    for _ in 0..6 {
        fetch(&mesh, "http://reviews.example/", &[]).await;
    }
    let flags = format!("127.0.0.1:{port}::health_flags::/failed_outlier_check");
    until("it is ejected", async || pages("/clusters").await.contains(&flags)).await;
    let json: serde_json::Value = serde_json::from_str(&pages("/clusters?format=json").await).unwrap();
    let hosts =
        json["cluster_statuses"].as_array().unwrap().iter().flat_map(|one| one["host_statuses"].as_array().unwrap());
    let ejected = hosts.filter(|host| host["health_status"]["failed_outlier_check"] == true);
    assert_eq!(ejected.count(), 1);
    // Changes soon after the cluster came are gathered for a second: then it gets nothing.
    until("it gets nothing", async || {
        let before = asked.load(Ordering::Relaxed);
        for _ in 0..4 {
            fetch(&mesh, "http://reviews.example/", &[]).await;
        }
        asked.load(Ordering::Relaxed) == before
    })
    .await;
    let before = asked.load(Ordering::Relaxed);
    for _ in 0..20 {
        assert_eq!(fetch(&mesh, "http://reviews.example/", &[]).await.body, "healthy");
    }
    assert_eq!(asked.load(Ordering::Relaxed), before);
}

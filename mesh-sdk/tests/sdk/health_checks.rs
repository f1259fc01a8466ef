//! Active health checks as users see them: a host that says that it is ill gets nothing, and is used when it is well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::routing::get;
use http::StatusCode;

use crate::gateway::{get as fetch, listener, mesh_of_envoy, open};
use crate::support::{serve, server, until};

#[tokio::test]
async fn a_host_gets_requests_only_while_its_checks_pass() {
    let (well, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (state, count) = (Arc::clone(&well), Arc::clone(&asked));
    let health = move || {
        count.fetch_add(1, Ordering::Relaxed);
        let status = if state.load(Ordering::Relaxed) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        async move { status }
    };
    let patient = serve(Router::new().route("/healthz", get(health)).fallback(|| async { "patient" })).await;
    let healthy = server("healthy").await;
    let endpoint =
        |port| format!("{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}");
    let checks = "{timeout: 5s, interval: 0.05s, no_traffic_interval: 0.05s, unhealthy_threshold: 1, healthy_threshold: 2, \
                  http_health_check: {path: /healthz}}";
    let hosts = "[{name: v, domains: ['*'], routes: [{match: {prefix: /}, route: {cluster: up}}]}]";
    let yaml = format!(
        "static_resources:\n  listeners:\n{}  clusters:\n  - name: up\n    type: STATIC\n    health_checks: [{checks}]\n    \
         common_lb_config: {{update_merge_window: 0s, healthy_panic_threshold: {{value: 0}}}}\n    \
         load_assignment: {{cluster_name: up, endpoints: [{{lb_endpoints: [{}, {}]}}]}}\n",
        listener("edge", "", hosts),
        endpoint(patient),
        endpoint(healthy)
    );
    let (mesh, _folder) = mesh_of_envoy(&yaml).await;
    // Ready is who has asked every host once.
    mesh.ready().await.unwrap();
    assert!(asked.load(Ordering::Relaxed) >= 1);
    let gateway = open(&mesh).await;
    let address = gateway.addresses()["edge"];
    tokio::spawn(gateway.serve());
    for _ in 0..10 {
        assert_eq!(fetch(address, "a", "/", "").await, (200, "healthy".to_owned()));
    }
    well.store(true, Ordering::Relaxed);
    until("it gets requests", async || fetch(address, "a", "/", "").await.1 == "patient").await;
    well.store(false, Ordering::Relaxed);
    let before = asked.load(Ordering::Relaxed);
    until("it was asked again", async || asked.load(Ordering::Relaxed) > before + 1).await;
    until("it gets no more requests", async || {
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(fetch(address, "a", "/", "").await.1);
        }
        answers.iter().all(|answer| answer == "healthy")
    })
    .await;
}

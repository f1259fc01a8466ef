//! Beginning and end: serving, draining, versions seen by one request, and what stops with the mesh.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use http::StatusCode;
use mesh_sdk::Mesh;
use tokio::sync::Semaphore;

use crate::support::{fetch, get, listener, page, routes, serve, server, service, subsets, to, until};

/// An application that tells when a request has come and answers when it is let.
fn held(come: &Arc<Semaphore>, go: &Arc<Semaphore>) -> Router {
    let (come, go) = (Arc::clone(come), Arc::clone(go));
    Router::new().fallback(move || {
        let (come, go) = (Arc::clone(&come), Arc::clone(&go));
        async move {
            come.add_permits(1);
            go.acquire().await.unwrap().forget();
            "finished"
        }
    })
}

#[tokio::test]
async fn shutdown_lets_requests_under_way_finish_and_takes_no_new_ones() {
    let (come, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let listener = listener().await;
    let port = listener.local_addr().unwrap().port();
    let caller = Mesh::builder().literal(service("app", &[("v1", port)])).build().await.unwrap();
    let mesh = Mesh::builder().literal(service("app", &[("v1", port)])).ip([127, 0, 0, 1]).build().await.unwrap();
    let server = tokio::spawn(mesh.serve(listener, held(&come, &go)));
    let request = tokio::spawn(async move { fetch(&caller, "http://app.example/", &[]).await });
    come.acquire().await.unwrap().forget();
    let shutdown = tokio::spawn({
        let mesh = mesh.clone();
        async move { mesh.shutdown().await }
    });
    until("the port to close", async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err()).await;
    assert!(!shutdown.is_finished(), "a request is under way");
    go.add_permits(1);
    let answer = request.await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "finished"));
    shutdown.await.unwrap();
    server.await.unwrap().unwrap();
    assert!(mesh.ready().await.is_err(), "it is over");
}

#[tokio::test]
async fn what_takes_longer_than_the_drain_timeout_is_cut_off() {
    let (come, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let listener = listener().await;
    let port = listener.local_addr().unwrap().port();
    let rules = "  - route: [{destination: {host: app.example}}]\n    retries: {attempts: 0}\n";
    let yaml = service("app", &[("v1", port)]) + &routes("app", rules);
    let caller = Mesh::builder().literal(&yaml).build().await.unwrap();
    let mesh = Mesh::builder()
        .literal(yaml)
        .ip([127, 0, 0, 1])
        .drain_timeout(Duration::from_millis(50))
        .build()
        .await
        .unwrap();
    let server = tokio::spawn(mesh.serve(listener, held(&come, &go)));
    let request = tokio::spawn(async move { fetch(&caller, "http://app.example/", &[]).await });
    come.acquire().await.unwrap().forget();
    mesh.shutdown().await;
    server.await.unwrap().unwrap();
    let answer = request.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.flags().as_str()), (503, "UC"));
}

#[tokio::test]
async fn a_request_pinned_across_a_push_sees_one_version_only() {
    let (come, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    // The first try fails, but only when it is let; the second succeeds.
    let tries = Arc::new(AtomicUsize::new(0));
    let old = {
        let (come, go, tries) = (Arc::clone(&come), Arc::clone(&go), Arc::clone(&tries));
        Router::new().fallback(move || {
            let (come, go, tries) = (Arc::clone(&come), Arc::clone(&go), Arc::clone(&tries));
            async move {
                if tries.fetch_add(1, Ordering::SeqCst) > 0 {
                    return (StatusCode::OK, "old");
                }
                come.add_permits(1);
                go.acquire().await.unwrap().forget();
                (StatusCode::SERVICE_UNAVAILABLE, "again")
            }
        })
    };
    let services = service("reviews", &[("v1", serve(old).await), ("v2", server("new").await)]);
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(directory.path().join(name), text).unwrap();
    let retried = |version: &str| to("reviews", version) + "    retries: {attempts: 1, retryOn: 5xx}\n";
    write("services.yaml", services);
    write("routes.yaml", subsets("reviews", &["v1", "v2"]) + &routes("reviews", &retried("v1")));
    let mesh = Mesh::builder().directory(directory.path()).build().await.unwrap();
    let pinned = tokio::spawn({
        let mesh = mesh.clone();
        async move { fetch(&mesh, "http://reviews.example/", &[]).await }
    });
    come.acquire().await.unwrap().forget();
    // The push takes the route and its cluster away.
    write("routes.yaml", subsets("reviews", &["v2"]) + &routes("reviews", &retried("v2")));
    until("the push", async || get(&mesh, "http://reviews.example/").await == "new").await;
    let snapshot = mesh.snapshots();
    assert!(snapshot.pin(Default::default()).cluster_by_name("outbound|80|v1|reviews.example").is_none());
    go.add_permits(1);
    let answer = pinned.await.unwrap();
    assert_eq!((answer.body.as_str(), answer.cluster()), ("old", "outbound|80|v1|reviews.example"));
    assert_eq!(answer.info.upstream.unwrap().attempts(), 2);
}

#[tokio::test]
async fn control_work_ends_with_the_last_handle_and_clients_go_on() {
    let yaml = service("reviews", &[("v1", server("v1").await)]);
    let mesh = Mesh::builder().literal(yaml).admin("127.0.0.1:0").build().await.unwrap();
    let (admin, client, second) = (mesh.admin_address().unwrap(), mesh.http_client(), mesh.clone());
    drop(mesh);
    assert!(page(admin, "GET", "/ready", "localhost").await.is_some(), "a handle is left");
    drop(second);
    until("the admin pages to go", async || page(admin, "GET", "/ready", "localhost").await.is_none()).await;
    let request =
        http::Request::get("http://reviews.example/").body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    assert_eq!(tower::ServiceExt::oneshot(client, request).await.unwrap().status(), StatusCode::OK);
}

#[test]
fn a_mesh_serves_callers_of_another_runtime() {
    let first = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let second = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mesh = first.block_on(async {
        let yaml = service("reviews", &[("v1", server("v1").await)]);
        Mesh::builder().literal(yaml).build().await.unwrap()
    });
    assert_eq!(second.block_on(get(&mesh, "http://reviews.example/")), "v1");
}

#[tokio::test]
async fn nobody_is_served_while_a_policy_for_the_workload_is_not_in_force() {
    let policy = |namespace: &str| {
        format!(
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: nobody, namespace: {namespace}}}\nspec: {{}}\n"
        )
    };
    for (namespace, served) in [("default", false), ("istio-system", false), ("elsewhere", true)] {
        let listener = listener().await;
        let port = listener.local_addr().unwrap().port();
        let yaml = service("app", &[("v1", port)]);
        let mesh = Mesh::builder().literal(yaml.clone() + &policy(namespace)).ip([127, 0, 0, 1]).build().await.unwrap();
        let server = tokio::spawn(mesh.serve(listener, Router::new().fallback(|| async { "open" })));
        let caller = Mesh::builder().literal(yaml).build().await.unwrap();
        let answer = fetch(&caller, "http://app.example/", &[]).await;
        assert_eq!(answer.body == "open", served, "{namespace}: {answer:?}");
        mesh.shutdown().await;
        server.await.unwrap().unwrap();
    }
}

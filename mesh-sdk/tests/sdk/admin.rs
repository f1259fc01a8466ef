//! The admin pages, over the wire.

use mesh_sdk::Mesh;
use serde_json::Value;

use crate::support::{fetch, page, routes, server, service, subsets, to};

async fn started() -> Mesh {
    let refused = routes("ratings", "  - route: [{destination: {host: reviews.example}, weight: -1}]\n");
    let unknown =
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: deny}\nspec: {}\n---\n";
    let yaml = service("reviews", &[("v1", server("v1").await)])
        + &subsets("reviews", &["v1"])
        + &routes("reviews", &to("reviews", "v1"))
        + unknown
        + &refused;
    let mesh = Mesh::builder().literal(yaml).labels([("app", "tester")]).admin("localhost:0").build().await.unwrap();
    assert_eq!(fetch(&mesh, "http://reviews.example/", &[]).await.body, "v1");
    mesh
}

async fn text(mesh: &Mesh, path: &str) -> String {
    let (status, text) = page(mesh.admin_address().unwrap(), "GET", path, "127.0.0.1").await.unwrap();
    assert_eq!(status, 200, "{path}: {text}");
    text
}

async fn json(mesh: &Mesh, path: &str) -> Value {
    serde_json::from_str(&text(mesh, path).await).unwrap()
}

#[tokio::test]
async fn ready_and_the_list_of_pages() {
    let mesh = started().await;
    assert_eq!(text(&mesh, "/ready").await, "LIVE\n");
    let index = text(&mesh, "/").await;
    assert!(index.contains("tester.default") && index.contains("/config_dump"), "{index}");
    let admin = mesh.admin_address().unwrap();
    let (status, list) = page(admin, "GET", "/nothing", "localhost").await.unwrap();
    assert_eq!((status, list.contains("/coverage")), (404, true));
    assert_eq!(page(admin, "POST", "/ready", "localhost").await.unwrap().0, 405);
    assert_eq!(page(admin, "GET", "/ready", "evil.example").await.unwrap().0, 403);
}

#[tokio::test]
async fn the_config_dump_has_envoys_form() {
    let mesh = started().await;
    let dump = json(&mesh, "/config_dump").await;
    let section = |dump: &Value, name: &str| {
        let wanted = format!("type.googleapis.com/envoy.admin.v3.{name}");
        dump["configs"].as_array().unwrap().iter().find(|one| one["@type"] == *wanted).cloned()
    };
    let clusters = section(&dump, "ClustersConfigDump").unwrap();
    let clusters = clusters["dynamic_active_clusters"].as_array().unwrap();
    let v1 = clusters.iter().find(|one| one["cluster"]["name"] == "outbound|80|v1|reviews.example").unwrap();
    assert_eq!(v1["cluster"]["@type"], "type.googleapis.com/envoy.config.cluster.v3.Cluster");
    assert_eq!((v1["cluster"]["type"].as_str(), v1["version_info"].as_str()), (Some("EDS"), Some("1")));
    assert!(v1["last_updated"].as_str().unwrap().ends_with('Z'));
    let routes = section(&dump, "RoutesConfigDump").unwrap();
    assert_eq!(routes["dynamic_route_configs"][0]["route_config"]["name"], "80");
    let listeners = section(&dump, "ListenersConfigDump").unwrap();
    let names: Vec<_> =
        listeners["dynamic_listeners"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert!(names.contains(&"0.0.0.0_80".into()) && names.contains(&"virtualOutbound".into()), "{names:?}");
    assert!(section(&dump, "EndpointsConfigDump").is_none());
    let dump = json(&mesh, "/config_dump?include_eds").await;
    let endpoints = section(&dump, "EndpointsConfigDump").unwrap();
    assert!(!endpoints["dynamic_endpoint_configs"].as_array().unwrap().is_empty());
    let only = json(&mesh, "/config_dump?resource=dynamic_listeners").await;
    assert_eq!(only["configs"].as_array().unwrap().len(), names.len());
    assert_eq!(
        page(mesh.admin_address().unwrap(), "GET", "/config_dump?resource=nothing", "localhost").await.unwrap().0,
        404
    );
}

#[tokio::test]
async fn clusters_count_what_was_sent() {
    let mesh = started().await;
    let lines = text(&mesh, "/clusters").await;
    let has = |end: &str| {
        lines.lines().any(|line| line.starts_with("outbound|80|v1|reviews.example::127.0.0.1:") && line.ends_with(end))
    };
    for end in [
        "::rq_total::1",
        "::rq_success::1",
        "::rq_error::0",
        "::rq_active::0",
        "::health_flags::healthy",
        "::weight::1",
        "::priority::0",
    ] {
        assert!(has(end), "{end} in\n{lines}");
    }
    assert!(lines.contains("outbound|80|v1|reviews.example::default_priority::max_requests::"));
    let clusters = json(&mesh, "/clusters?format=json").await;
    let v1 = clusters["cluster_statuses"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"] == "outbound|80|v1|reviews.example")
        .unwrap();
    let host = &v1["host_statuses"][0];
    assert_eq!(host["address"]["socket_address"]["address"], "127.0.0.1");
    assert_eq!(host["health_status"]["eds_health_status"], "HEALTHY");
    let total = host["stats"].as_array().unwrap().iter().find(|one| one["name"] == "rq_total").unwrap();
    assert_eq!(total["value"], "1");
}

#[tokio::test]
async fn coverage_tells_what_is_not_in_force() {
    let mesh = started().await;
    let told = text(&mesh, "/coverage").await;
    assert!(told.contains("VirtualService/default/ratings") && told.contains("weight"), "{told}");
    assert!(told.contains("AuthorizationPolicy/default/deny"), "{told}");
    let coverage = json(&mesh, "/coverage?format=json").await;
    let findings = coverage["findings"].as_array().unwrap();
    let refused: Vec<_> = findings.iter().filter(|one| one["severity"] == "refused").collect();
    assert!(
        refused.iter().all(|one| one["object"] == "VirtualService/default/ratings" && one["file"] == "literal-1"),
        "{findings:?}"
    );
    assert!(coverage["in_force"].as_u64().unwrap() > 5);
    assert_eq!(coverage["refused"].as_array().unwrap().len(), 0);
    // A sidecar's listeners carry filters that have no effect yet: they are said, not dropped.
    assert!(!coverage["not_in_force"].as_array().unwrap().is_empty());
}

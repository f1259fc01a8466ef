//! Requests go where the YAML says.

use mesh_sdk::{Mesh, MeshConfig, OutboundTrafficPolicy};

use crate::support::{fetch, get, mesh_of, routes, server, service, subsets, to};

async fn three_versions() -> String {
    let endpoints = [("v1", server("v1").await), ("v2", server("v2").await), ("v3", server("v3").await)];
    service("reviews", &endpoints) + &subsets("reviews", &["v1", "v2", "v3"])
}

#[tokio::test]
async fn headers_and_paths_choose_the_version() {
    let rules = "
  - match: [{headers: {end-user: {exact: jason}}}]
    route: [{destination: {host: reviews.example, subset: v2}}]
  - match: [{uri: {exact: /only}}, {uri: {prefix: /api/}}]
    route: [{destination: {host: reviews.example, subset: v3}}]
  - route: [{destination: {host: reviews.example, subset: v1}}]
";
    let mesh = mesh_of(three_versions().await + &routes("reviews", rules)).await;
    assert_eq!(mesh.findings().iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
    assert_eq!(fetch(&mesh, "http://reviews.example/", &[("end-user", "jason")]).await.body, "v2");
    assert_eq!(fetch(&mesh, "http://reviews.example/", &[("end-user", "jasonx")]).await.body, "v1");
    assert_eq!(get(&mesh, "http://reviews.example/only").await, "v3");
    assert_eq!(get(&mesh, "http://reviews.example/only/not").await, "v1");
    assert_eq!(get(&mesh, "http://reviews.example/api/x").await, "v3");
}

#[tokio::test]
async fn weights_share_the_requests() {
    let rules = "
  - route:
    - {destination: {host: reviews.example, subset: v1}, weight: 80}
    - {destination: {host: reviews.example, subset: v2}, weight: 20}
";
    let mesh = mesh_of(three_versions().await + &routes("reviews", rules)).await;
    let (mut v1, mut v2) = (0, 0);
    for _ in 0..1_000 {
        match get(&mesh, "http://reviews.example/").await.as_str() {
            "v1" => v1 += 1,
            "v2" => v2 += 1,
            other => panic!("{other}"),
        }
    }
    // Six standard deviations around 800.
    assert!((724..=876).contains(&v1), "{v1}:{v2}");
}

#[tokio::test]
async fn the_response_names_cluster_endpoint_and_attempts() {
    let port = server("v1").await;
    let mesh = mesh_of(
        service("reviews", &[("v1", port)]) + &subsets("reviews", &["v1"]) + &routes("reviews", &to("reviews", "v1")),
    )
    .await;
    let answer = fetch(&mesh, "http://reviews.example/", &[]).await;
    let upstream = answer.info.upstream.as_ref().unwrap();
    assert_eq!(upstream.cluster(), "outbound|80|v1|reviews.example");
    assert_eq!(upstream.endpoint().map(ToString::to_string), Some(format!("127.0.0.1:{port}")));
    assert_eq!((upstream.attempts(), answer.flags().as_str(), &*answer.info.details), (1, "-", "via_upstream"));
}

fn policy(policy: OutboundTrafficPolicy) -> MeshConfig {
    let mut mesh = MeshConfig::default();
    mesh.outbound_traffic_policy = policy;
    mesh
}

#[tokio::test]
async fn undeclared_hosts_are_passed_through_under_allow_any_and_blocked_under_registry_only() {
    let declared = service("reviews", &[("v1", server("v1").await)]);
    let elsewhere = format!("http://127.0.0.1:{}/", server("elsewhere").await);
    let open =
        Mesh::builder().literal(&declared).mesh_config(policy(OutboundTrafficPolicy::AllowAny)).build().await.unwrap();
    let closed = Mesh::builder()
        .literal(&declared)
        .mesh_config(policy(OutboundTrafficPolicy::RegistryOnly))
        .build()
        .await
        .unwrap();
    let passed = fetch(&open, &elsewhere, &[]).await;
    assert_eq!((passed.body.as_str(), passed.cluster()), ("elsewhere", "PassthroughCluster"));
    let blocked = fetch(&closed, "http://undeclared.example/", &[]).await;
    assert_eq!((blocked.status.as_u16(), blocked.info.upstream.is_none()), (502, true));
    // A port that no service has goes to the black hole, which has no hosts.
    let blocked = fetch(&closed, &elsewhere, &[]).await;
    assert!(blocked.status.is_server_error() && blocked.body != "elsewhere", "{blocked:?}");
    assert_eq!(get(&closed, "http://reviews.example/").await, "v1");
}

#[tokio::test]
async fn two_meshes_in_one_process_know_nothing_of_each_other() {
    let endpoints = three_versions().await;
    let one = mesh_of(endpoints.clone() + &routes("reviews", &to("reviews", "v1"))).await;
    let two = mesh_of(endpoints + &routes("reviews", &to("reviews", "v2"))).await;
    for _ in 0..5 {
        assert_eq!(
            (get(&one, "http://reviews.example/").await, get(&two, "http://reviews.example/").await),
            ("v1".into(), "v2".into())
        );
    }
    drop(one);
    assert_eq!(get(&two, "http://reviews.example/").await, "v2");
}

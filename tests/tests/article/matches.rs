//! Header, exact and prefix matches of a VirtualService, in its order.

use mesh_istio::MeshConfig;
use mesh_tests::upstream::Upstreams;

use crate::shop::{assert_shares, cluster, edge, get, service, shares};

const ROUTES: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - name: jason
    match:
    - headers: {end-user: {exact: jason}}
      uri: {prefix: /reviews/}
    route: [{destination: {host: reviews, subset: v2}}]
  - name: health
    match: [{uri: {exact: /health}}]
    directResponse: {status: 204}
  - name: old
    match: [{uri: {prefix: /v0}}]
    rewrite: {uri: /v2}
    route: [{destination: {host: reviews, subset: v2}}]
  - name: canary
    match: [{uri: {prefix: /canary}}]
    route:
    - {destination: {host: reviews, subset: v1}, weight: 75}
    - {destination: {host: reviews, subset: v2}, weight: 25}
  - name: others
    route: [{destination: {host: reviews, subset: v1}}]
";

const V1: &str = "outbound|9080|v1|reviews.default.svc.cluster.local";
const V2: &str = "outbound|9080|v2|reviews.default.svc.cluster.local";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_exact_and_prefix_matches_choose_the_version_and_the_first_match_counts() {
    let upstreams = Upstreams::start().await;
    let reviews = service(&upstreams, "reviews", 9080);
    let (edge, said) = edge(&[("routes.yaml", ROUTES), ("services.yaml", &reviews)], &MeshConfig::default());
    assert!(said.is_empty(), "{said:?}");
    let jason = [("end-user", "jason")];
    assert_eq!(cluster(&edge, "http://reviews:9080/reviews/1", &jason).await, V2);
    assert_eq!(cluster(&edge, "http://reviews:9080/reviews/1", &[]).await, V1);
    assert_eq!(cluster(&edge, "http://reviews:9080/reviews/1", &[("end-user", "Jason")]).await, V1);
    assert_eq!(cluster(&edge, "http://reviews:9080/other", &jason).await, V1, "both conditions of a match must hold");
    for host in ["reviews.default", "reviews.default.svc", "reviews.default.svc.cluster.local"] {
        assert_eq!(cluster(&edge, &format!("http://{host}:9080/reviews/1"), &jason).await, V2, "{host}");
    }
    assert_eq!(get(&edge, "http://reviews:9080/health", &[]).await.status, 204);
    assert_eq!(cluster(&edge, "http://reviews:9080/health/deep", &[]).await, V1, "exact is not a prefix");
    let rewritten = get(&edge, "http://reviews:9080/v0/x?y", &[]).await;
    let echo: serde_json::Value = serde_json::from_slice(&rewritten.body).unwrap();
    assert_eq!((&echo["path"], &echo["port"]), (&"/v2/x?y".into(), &21002.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_behind_a_match_are_shares_of_what_arrives() {
    let upstreams = Upstreams::start().await;
    let reviews = service(&upstreams, "reviews", 9080);
    let (edge, _) = edge(&[("routes.yaml", ROUTES), ("services.yaml", &reviews)], &MeshConfig::default());
    assert_shares(&shares(&edge, "http://reviews:9080/canary").await, &[(V1, 75.0), (V2, 25.0)]);
}

#[tokio::test]
async fn a_host_that_nobody_declared_and_a_port_that_nobody_serves_are_not_this_service() {
    let upstreams = Upstreams::start().await;
    let reviews = service(&upstreams, "reviews", 9080);
    let mut mesh = MeshConfig::default();
    mesh.outbound_traffic_policy = mesh_istio::OutboundTrafficPolicy::RegistryOnly;
    let (edge, _) = edge(&[("routes.yaml", ROUTES), ("services.yaml", &reviews)], &mesh);
    let unknown = get(&edge, "http://ratings:9080/", &[]).await;
    assert_eq!((unknown.status, unknown.details.as_str()), (502, "direct_response"), "Istio's block_all");
    let refused = get(&edge, "http://reviews:9081/", &[]).await;
    assert_eq!((refused.status, refused.flags.as_str()), (503, "UH"), "BlackHoleCluster has no hosts");
}

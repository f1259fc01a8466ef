//! Services around the manifests: two versions of each, as real servers, and callers.

use std::collections::BTreeMap;

use http::Request;
use mesh_istio::{MeshConfig, ProxyContext, Severity, World, lower};
use mesh_tests::edge::{Answer, Edge, Upload};
use mesh_tests::upstream::{UP, UP2, Upstreams};

/// A service with the versions `v1` (the server that stands for 21001) and `v2` (21002), as Kubernetes describes it.
pub(crate) fn service(upstreams: &Upstreams, name: &str, port: u16) -> String {
    let slice = |version: &str, label: u16| {
        format!(
            "\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-{version}, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: http, port: {}}}]
endpoints: [{{addresses: [127.0.0.1], targetRef: {{kind: Pod, name: {name}-{version}}}}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}-{version}, labels: {{app: {name}, version: {version}}}}}
spec: {{}}
status: {{podIP: 127.0.0.1}}
---
",
            upstreams.address(label).port()
        )
    };
    let service = format!(
        "\
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: {port}}}]}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}}}
spec: {{host: {name}, subsets: [{{name: v1, labels: {{version: v1}}}}, {{name: v2, labels: {{version: v2}}}}]}}
---
"
    );
    service + &slice("v1", UP) + &slice("v2", UP2)
}

/// The files in force for a caller in `default`, and what was said about them.
pub(crate) fn edge(files: &[(&str, &str)], mesh: &MeshConfig) -> (Edge, Vec<String>) {
    let world = World::load(files.iter().copied());
    let lowered = lower(&world, &ProxyContext::new("default"), mesh);
    let findings = world.findings().iter().chain(&lowered.findings);
    let refused: Vec<String> =
        findings.clone().filter(|one| one.severity == Severity::Refused).map(ToString::to_string).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let said = findings.map(|one| format!("{} {one}", one.code)).collect();
    (Edge::of_lowered(&lowered).unwrap(), said)
}

/// One GET.
pub(crate) async fn get(edge: &Edge, url: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(url).header("x-id", "article");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    edge.send(request.body(Upload::default()).unwrap()).await
}

/// The cluster that answers a GET.
pub(crate) async fn cluster(edge: &Edge, url: &str, headers: &[(&str, &str)]) -> String {
    let answer = get(edge, url, headers).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.upstream.unwrap().cluster().to_owned()
}

/// Percent of 4,800 requests by cluster.
pub(crate) async fn shares(edge: &Edge, url: &'static str) -> BTreeMap<String, f64> {
    const TASKS: usize = 16;
    const EACH: usize = 300;
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let edge = edge.clone();
            tokio::spawn(async move {
                let mut counts: BTreeMap<String, f64> = BTreeMap::new();
                for _ in 0..EACH {
                    *counts.entry(cluster(&edge, url, &[]).await).or_default() += 1.0;
                }
                counts
            })
        })
        .collect();
    let mut shares: BTreeMap<String, f64> = BTreeMap::new();
    for task in tasks {
        for (cluster, count) in task.await.unwrap() {
            *shares.entry(cluster).or_default() += count * 100.0 / (TASKS * EACH) as f64;
        }
    }
    shares
}

/// Whether shares are as expected within 3 %: four standard deviations and more for every split.
pub(crate) fn assert_shares(shares: &BTreeMap<String, f64>, expected: &[(&str, f64)]) {
    assert_eq!(shares.len(), expected.len(), "{shares:?}");
    for (cluster, expected) in expected {
        let share = shares.get(*cluster).copied().unwrap_or_default();
        assert!((share - expected).abs() <= 3.0, "{cluster}: {share} instead of {expected}: {shares:?}");
    }
}

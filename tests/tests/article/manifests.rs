//! The manifests themselves.

use std::path::Path;

use mesh_istio::{MeshConfig, OutboundTrafficPolicy, ProxyContext, World, lower};
use mesh_proto::type_url::CLUSTER;
use mesh_tests::data;
use mesh_tests::upstream::Upstreams;
use serde_json::Value;

use crate::shop::{assert_shares, edge, get, service, shares};

/// The text of the manifest with that number; `None` when the data is not there.
pub(crate) fn manifest(number: &str) -> Option<String> {
    let folder = data::find("article")?;
    let starts = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(number));
    let mut files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let path = files.find(|path| starts(path)).unwrap_or_else(|| panic!("the article has no manifest {number}"));
    Some(std::fs::read_to_string(path).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifest_08_sends_80_percent_to_v1_and_20_to_v2() {
    let Some(text) = manifest("08") else { return data::report(0, 1) };
    let upstreams = Upstreams::start().await;
    let reviews = service(&upstreams, "reviews", 9080);
    let (edge, said) = edge(&[("08.yaml", &text), ("services.yaml", &reviews)], &MeshConfig::default());
    assert!(said.is_empty(), "{said:?}");
    let shares = shares(&edge, "http://reviews:9080/").await;
    let host = "reviews.default.svc.cluster.local";
    assert_shares(&shares, &[(&format!("outbound|9080|v1|{host}"), 80.0), (&format!("outbound|9080|v2|{host}"), 20.0)]);
    data::report(1, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifest_11_sends_90_percent_to_v1_and_10_to_v2() {
    let Some(text) = manifest("11") else { return data::report(0, 1) };
    let upstreams = Upstreams::start().await;
    let users = service(&upstreams, "user-service", 80);
    let (edge, said) = edge(&[("11.yaml", &text), ("services.yaml", &users)], &MeshConfig::default());
    assert!(said.is_empty(), "{said:?}");
    let shares = shares(&edge, "http://user-service/").await;
    let host = "user-service.default.svc.cluster.local";
    assert_shares(&shares, &[(&format!("outbound|80|v1|{host}"), 90.0), (&format!("outbound|80|v2|{host}"), 10.0)]);
    data::report(1, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifest_15_is_warned_about_and_split_60_to_40_only_on_request() {
    let Some(text) = manifest("15") else { return data::report(0, 1) };
    let upstreams = Upstreams::start().await;
    let services = service(&upstreams, "service-east", 80) + &service(&upstreams, "service-west", 80);
    let files = [("15.yaml", text.as_str()), ("services.yaml", &services)];
    let (east, west) =
        ("outbound|80||service-east.default.svc.cluster.local", "outbound|80||service-west.default.svc.cluster.local");
    let (as_istio, said) = edge(&files, &MeshConfig::default());
    assert!(said.iter().any(|line| line.starts_with("VS_SPLIT_ACROSS_ROUTES 15.yaml:")), "{said:?}");
    assert_shares(&shares(&as_istio, "http://example.com/").await, &[(east, 100.0)]);
    let mut mesh = MeshConfig::default();
    mesh.compat.fold_split_routes = true;
    let (folded, _) = edge(&files, &mesh);
    assert_shares(&shares(&folded, "http://example.com/").await, &[(east, 60.0), (west, 40.0)]);
    data::report(1, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifest_02_hides_what_is_not_of_the_own_namespace() {
    let Some(text) = manifest("02") else { return data::report(0, 1) };
    let upstreams = Upstreams::start().await;
    let reviews = service(&upstreams, "reviews", 9080);
    let far =
        service(&upstreams, "far", 9080).replace("metadata: {name: far", "metadata: {namespace: other, name: far");
    let mut mesh = MeshConfig::default();
    mesh.outbound_traffic_policy = OutboundTrafficPolicy::RegistryOnly;
    let services = [("reviews.yaml", reviews.as_str()), ("far.yaml", &far)];
    let (without, _) = edge(&services, &mesh);
    let (with, said) = edge(&[services[0], services[1], ("02.yaml", &text)], &mesh);
    assert!(said.is_empty(), "{said:?}");
    for (edge, status) in [(&without, 200), (&with, 502)] {
        assert_eq!(get(edge, "http://reviews:9080/", &[]).await.status, 200);
        assert_eq!(get(edge, "http://far.other:9080/", &[]).await.status, status);
    }
    data::report(1, 0);
}

#[test]
fn manifest_01_is_a_cluster_that_decodes_whole() {
    let Some(text) = manifest("01") else { return data::report(0, 1) };
    let fragment: Value = serde_saphyr::from_str(&text).unwrap();
    for cluster in fragment["clusters"].as_array().unwrap() {
        let decoded = mesh_xds::decode::cluster(&mesh_proto::json::encode(CLUSTER, cluster).unwrap()).unwrap();
        assert_eq!(decoded.not_in_force, Vec::<String>::new());
        assert_eq!(&*decoded.value.name, "outbound|80||example-service.default.svc.cluster.local");
    }
    data::report(1, 0);
}

#[test]
fn every_other_manifest_loads_or_says_why_it_has_no_effect() {
    let others = ["03", "04", "05", "06", "07", "10", "12", "13", "14", "16"];
    for number in others {
        let Some(text) = manifest(number) else { return data::report(0, others.len()) };
        let world = World::load([("it.yaml", text.as_str())]);
        let lowered = lower(&world, &ProxyContext::new("default"), &MeshConfig::default());
        let said: Vec<_> =
            world.findings().iter().chain(&lowered.findings).filter(|one| &*one.file == "it.yaml").collect();
        assert!(!said.is_empty(), "{number} is passed over in silence");
        for one in said {
            assert!(one.line > 0 && !one.reason.is_empty(), "{number}: {one:?}");
        }
    }
    data::report(others.len(), 0);
}

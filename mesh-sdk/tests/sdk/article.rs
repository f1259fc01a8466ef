//! The article's manifests, in force on real requests. They are conformance data: absent, nothing runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mesh_sdk::{Mesh, MeshConfig, Severity};

use crate::support::{Answer, fetch, get, listener, server, subsets};

/// The folder of the manifests. `None` when there is none, which is a failure only if the data is required.
fn article() -> Option<PathBuf> {
    let given = std::env::var("MESH_CONFORMANCE_DATA").unwrap_or_default();
    let root = match given.as_str() {
        "" | "required" => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        path => PathBuf::from(path),
    };
    let folder = root.join("article");
    if folder.exists() {
        return Some(folder);
    }
    assert!(given != "required", "conformance data is required and {} is not there", folder.display());
    println!("conformance: 0 ran, 1 skipped");
    None
}

fn manifest(folder: &Path, name: &str) -> String {
    println!("conformance: 1 ran, 0 skipped ({name})");
    std::fs::read_to_string(folder.join(name)).unwrap() + "\n---\n"
}

/// A Kubernetes service on port 80 with one endpoint for each version, whose server says which it is.
async fn service(name: &str, versions: &[&'static str]) -> String {
    let mut yaml = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  selector: {{app: {name}}}\n  ports: [{{name: http, port: 80}}]\n---\n"
    );
    for version in versions {
        let port = server(version).await;
        yaml += &format!(
            "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: {name}-{version}}}\nspec:\n  \
             address: 127.0.0.1\n  ports: {{http: {port}}}\n  labels: {{app: {name}, version: {version}}}\n---\n"
        );
    }
    yaml
}

async fn shares(mesh: &Mesh, uri: &str) -> BTreeMap<String, u32> {
    let mut shares = BTreeMap::new();
    for _ in 0..2_000 {
        *shares.entry(get(mesh, uri).await).or_default() += 1;
    }
    shares
}

/// Whether `first` of 2,000 is `percent`, within five standard deviations.
fn assert_share(shares: &BTreeMap<String, u32>, first: &str, percent: f64) {
    let (n, p) = (2_000.0, percent / 100.0);
    let count = f64::from(shares.get(first).copied().unwrap_or_default());
    assert!((count - n * p).abs() <= 5.0 * (n * p * (1.0 - p)).sqrt(), "{shares:?}");
}

#[tokio::test]
async fn weights_of_80_to_20_and_90_to_10_are_what_arrives() {
    let Some(folder) = article() else { return };
    for (file, name, percent) in
        [("08-virtualservice-weights.yaml", "reviews", 80.0), ("11-virtualservice-canary.yaml", "user-service", 90.0)]
    {
        let rule = subsets(name, &["v1", "v2"]).replace(&format!("{name}.example"), name);
        let yaml = service(name, &["v1", "v2"]).await + &rule + &manifest(&folder, file);
        let mesh = Mesh::builder().literal(yaml).build().await.unwrap();
        assert!(mesh.findings().is_empty(), "{:?}", mesh.findings());
        assert_share(&shares(&mesh, &format!("http://{name}/")).await, "v1", percent);
    }
}

#[tokio::test]
async fn a_split_written_as_two_routes_is_warned_about_and_may_be_folded() {
    let Some(folder) = article() else { return };
    let services = service("service-east", &["east"]).await + &service("service-west", &["west"]).await;
    let yaml = services + &manifest(&folder, "15-virtualservice-global.yaml");
    let as_istio = Mesh::builder().literal(&yaml).build().await.unwrap();
    let warned =
        as_istio.findings().iter().any(|one| one.code == "VS_SPLIT_ACROSS_ROUTES" && one.severity == Severity::Warning);
    assert!(warned, "{:?}", as_istio.findings());
    assert_eq!(shares(&as_istio, "http://example.com/").await, BTreeMap::from([("east".to_owned(), 2_000)]));
    let mut config = MeshConfig::default();
    config.compat.fold_split_routes = true;
    let folded = Mesh::builder().literal(yaml).mesh_config(config).build().await.unwrap();
    assert_share(&shares(&folded, "http://example.com/").await, "east", 60.0);
}

#[tokio::test]
async fn the_whole_article_loads_and_what_has_no_effect_is_said() {
    let Some(folder) = article() else { return };
    let reviews =
        service("reviews", &["v1"]).await + &subsets("reviews", &["v1"]).replace("reviews.example", "reviews");
    let mesh = Mesh::builder().literal(reviews).directory(&folder).build().await.unwrap();
    // v2 has no endpoint here: what goes to v1 arrives beside everything else that is in the folder.
    let mut seen = false;
    for _ in 0..100 {
        seen |= get(&mesh, "http://reviews/").await == "v1";
    }
    assert!(seen);
    let findings = mesh.findings();
    for file in [
        "05-memquota-handler",
        "07-authorizationpolicy",
        "10-quotaspec",
        "13-envoyfilter-route",
        "16-requestauthentication",
    ] {
        assert!(findings.iter().any(|one| one.file.contains(file)), "{file} is in force or forgotten: {findings:?}");
    }
}

/// The service `shop` on port 80, whose only endpoint is this workload.
fn shop(port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: shop}}\nspec:\n  selector: {{app: shop}}\n  ports: [{{name: http, port: 80}}]\n---\n\
         apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: shop-1}}\nspec:\n  \
         address: 127.0.0.1\n  ports: {{http: {port}}}\n  labels: {{app: shop}}\n---\n"
    )
}

/// A request with the times between which it was decided upon.
struct Asked {
    sent: Instant,
    answered: Instant,
    answer: Answer,
}

async fn ask(mesh: &Mesh, headers: &[(&str, &str)]) -> Asked {
    let sent = Instant::now();
    let answer = fetch(mesh, "http://shop/", headers).await;
    Asked { sent, answered: Instant::now(), answer }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_of_500_a_second_lets_no_more_pass_and_answers_the_rest() {
    let Some(folder) = article() else { return };
    let listener = listener().await;
    let port = listener.local_addr().unwrap().port();
    let sidecar = manifest(&folder, "02-sidecar.yaml").replace("9080", &port.to_string());
    let binding = "apiVersion: config.istio.io/v1alpha2\nkind: QuotaSpecBinding\nmetadata: {name: request-count}\n\
                   spec: {quotaSpecs: [{name: request-count}], services: [{name: shop}]}\n---\n";
    let yaml = shop(port)
        + &sidecar
        + &manifest(&folder, "05-memquota-handler.yaml")
        + &manifest(&folder, "10-quotaspec.yaml")
        + binding;
    let server = Mesh::builder().literal(&yaml).ip([127, 0, 0, 1]).labels([("app", "shop")]).build().await.unwrap();
    assert!(server.findings().iter().any(|one| one.code == "QUOTA_COMPAT"), "{:?}", server.findings());
    let serving =
        tokio::spawn(async move { server.serve(listener, axum::Router::new().fallback(|| async { "served" })).await });
    let client = Mesh::builder().literal(shop(port)).build().await.unwrap();
    assert_eq!(get(&client, "http://shop/").await, "served");
    // Every request is decided upon between its sending and its answer. As many at a time as it takes to be faster than the
    // quota; a machine that is too slow for that goes on until it was.
    let began = Instant::now();
    let mut asked = Vec::new();
    let mut refused = 0;
    while began.elapsed() < Duration::from_millis(2_300) || (refused == 0 && began.elapsed() < Duration::from_secs(30))
    {
        let some: Vec<_> = (0..16)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move {
                    let mut asked = Vec::new();
                    for _ in 0..20 {
                        asked.push(ask(&client, &[]).await);
                    }
                    asked
                })
            })
            .collect();
        for one in some {
            asked.extend(one.await.unwrap());
        }
        refused = asked.iter().filter(|one| one.answer.status == 429).count();
    }
    let granted: Vec<&Asked> = asked.iter().filter(|one| one.answer.status == 200).collect();
    assert!(refused > 0 && granted.len() >= 499, "{} granted, {refused} refused", granted.len());
    assert_eq!(granted.len() + refused, asked.len());
    for first in &granted {
        let end = first.sent + Duration::from_secs(1);
        let within = granted.iter().filter(|one| one.sent >= first.sent && one.answered < end).count();
        assert!(within <= 500, "{within} within a second");
    }
    let limited = asked.iter().find(|one| one.answer.status == 429).unwrap();
    assert_eq!(limited.answer.body, "RESOURCE_EXHAUSTED:Quota is exhausted for: request-count");
    // A gRPC caller is told so in gRPC's way, as soon as he meets an exhausted quota.
    let began = Instant::now();
    let grpc = loop {
        let one = ask(&client, &[("content-type", "application/grpc")]).await.answer;
        if one.body.is_empty() || began.elapsed() > Duration::from_secs(30) {
            break one;
        }
    };
    assert_eq!((grpc.status.as_u16(), grpc.body.as_str()), (200, ""));
    serving.abort();
}

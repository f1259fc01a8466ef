//! A directory is followed: edits arrive, broken ones cost nobody anything.

use std::path::Path;

use mesh_sdk::{Mesh, MeshConfig, OutboundTrafficPolicy, Severity};
use tempfile::TempDir;

use crate::support::{fetch, get, routes, server, service, subsets, to, until};

const REVIEWS: &str = "http://reviews.example/";
const RATINGS: &str = "http://ratings.example/";

fn write(directory: &Path, name: &str, text: &str) {
    std::fs::write(directory.join(name), text).unwrap();
}

async fn versions(name: &str) -> String {
    service(name, &[("v1", server("v1").await), ("v2", server("v2").await)]) + &subsets(name, &["v1", "v2"])
}

/// Two services with two versions each, everything to v1, closed to other hosts.
async fn started() -> (TempDir, Mesh) {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "services.yaml", &(versions("reviews").await + &versions("ratings").await));
    write(directory.path(), "routes.yaml", &both("v1", "v1"));
    let mut config = MeshConfig::default();
    config.outbound_traffic_policy = OutboundTrafficPolicy::RegistryOnly;
    let mesh = Mesh::builder().directory(directory.path()).mesh_config(config).build().await.unwrap();
    assert_eq!((get(&mesh, REVIEWS).await, get(&mesh, RATINGS).await), ("v1".into(), "v1".into()));
    (directory, mesh)
}

fn both(reviews: &str, ratings: &str) -> String {
    routes("reviews", &to("reviews", reviews)) + &routes("ratings", &to("ratings", ratings))
}

#[tokio::test]
async fn an_edit_moves_the_traffic() {
    let (directory, mesh) = started().await;
    write(directory.path(), "routes.yaml", &both("v2", "v1"));
    until("the edited route", async || get(&mesh, REVIEWS).await == "v2").await;
    assert_eq!(get(&mesh, RATINGS).await, "v1");
    // A new file in a new directory is found as well, and replaced atomically as editors do.
    std::fs::create_dir(directory.path().join("more")).unwrap();
    write(directory.path(), "more/extra.yaml", &service("extra", &[("v1", server("extra").await)]));
    until("the new service", async || get(&mesh, "http://extra.example/").await == "extra").await;
    write(directory.path(), "routes.tmp", &both("v1", "v2"));
    std::fs::rename(directory.path().join("routes.tmp"), directory.path().join("routes.yaml")).unwrap();
    until("the renamed file", async || get(&mesh, RATINGS).await == "v2").await;
    assert_eq!(get(&mesh, REVIEWS).await, "v1");
}

#[tokio::test]
async fn a_refused_object_keeps_its_last_good_version_and_its_sibling_moves_on() {
    let (directory, mesh) = started().await;
    let broken = routes("reviews", &to("reviews", "v2").replace("}}]", "}, weight: -1}]"));
    write(directory.path(), "routes.yaml", &(broken + &routes("ratings", &to("ratings", "v2"))));
    until("the good sibling", async || get(&mesh, RATINGS).await == "v2").await;
    assert_eq!(get(&mesh, REVIEWS).await, "v1");
    let findings = mesh.findings();
    let refused: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Refused).collect();
    assert_eq!(refused.len(), 1, "{findings:?}");
    let line = refused[0].to_string();
    assert!(
        line.contains("routes.yaml:") && line.contains("VirtualService/default/reviews") && line.contains("weight"),
        "{line}"
    );
    write(directory.path(), "routes.yaml", &both("v2", "v2"));
    until("the mended object", async || get(&mesh, REVIEWS).await == "v2").await;
    assert!(mesh.findings().is_empty());
}

#[tokio::test]
async fn f08_a_half_written_file_keeps_everything_it_had() {
    let (directory, mesh) = started().await;
    write(
        directory.path(),
        "routes.yaml",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: revi",
    );
    until("the finding", async || !mesh.findings().is_empty()).await;
    assert_eq!((get(&mesh, REVIEWS).await, get(&mesh, RATINGS).await), ("v1".into(), "v1".into()));
    let finding = &mesh.findings()[0];
    assert_eq!(finding.severity, Severity::Refused);
    assert!(finding.to_string().contains("routes.yaml:") && finding.to_string().contains("not YAML"), "{finding}");
    write(directory.path(), "routes.yaml", &both("v2", "v2"));
    until("the whole file", async || get(&mesh, RATINGS).await == "v2").await;
}

#[tokio::test]
async fn what_is_deleted_is_no_more() {
    let (directory, mesh) = started().await;
    write(directory.path(), "services.yaml", &versions("reviews").await);
    // As with istiod, the route stays while its VirtualService does: to a cluster that is no more.
    until("the service to go", async || fetch(&mesh, RATINGS, &[]).await.flags() == "NC").await;
    assert_eq!(get(&mesh, REVIEWS).await, "v1");
    std::fs::remove_file(directory.path().join("routes.yaml")).unwrap();
    until("the routes to go", async || fetch(&mesh, RATINGS, &[]).await.status == 502).await;
    assert_eq!(fetch(&mesh, REVIEWS, &[]).await.cluster(), "outbound|80||reviews.example");
    std::fs::remove_file(directory.path().join("services.yaml")).unwrap();
    until("the file's objects to go", async || fetch(&mesh, REVIEWS, &[]).await.status.is_server_error()).await;
}

#[tokio::test]
async fn a_directory_that_is_gone_leaves_the_mesh_as_it_was() {
    let (directory, mesh) = started().await;
    directory.close().unwrap();
    until("the finding", async || mesh.findings().iter().any(|finding| finding.reason.contains("cannot be read")))
        .await;
    assert_eq!(get(&mesh, REVIEWS).await, "v1");
}

#[tokio::test]
async fn directory_and_literal_work_together() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "routes.yaml", &routes("reviews", &to("reviews", "v1")));
    let mesh = Mesh::builder().literal(versions("reviews").await).directory(directory.path()).build().await.unwrap();
    assert_eq!(get(&mesh, REVIEWS).await, "v1");
    write(directory.path(), "routes.yaml", &routes("reviews", &to("reviews", "v2")));
    until("the edit", async || get(&mesh, REVIEWS).await == "v2").await;
}

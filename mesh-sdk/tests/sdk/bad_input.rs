//! Bad input: one clear line each, with file, line, object, field and reason; valid siblings load, nothing panics.

use mesh_sdk::{Finding, Mesh, Severity};

use crate::support::{get, mesh_of, routes, server, service, subsets, to};

/// A mesh of one good service, one good route to it, and something bad; the good ones must work.
async fn beside(bad: &str) -> Mesh {
    let good = service("good", &[("v1", server("good").await)])
        + &subsets("good", &["v1"])
        + &routes("good", &to("good", "v1"));
    let mesh = mesh_of(format!("{good}{bad}")).await;
    assert_eq!(get(&mesh, "http://good.example/").await, "good");
    mesh
}

/// The one finding of a severity, as it is printed.
fn the(mesh: &Mesh, severity: Severity) -> String {
    let findings = mesh.findings();
    let found: Vec<&Finding> = findings.iter().filter(|finding| finding.severity == severity).collect();
    assert_eq!(found.len(), 1, "{findings:#?}");
    let finding = found[0];
    assert!(&*finding.file == "literal-1" && finding.line > 0, "{finding}");
    assert!(!finding.to_string().contains('\n'), "one line: {finding}");
    finding.to_string()
}

fn says(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part:?} in {line:?}");
    }
}

fn bad_route(rule: &str) -> String {
    routes("bad", &format!("  - {rule}\n"))
}

const BAD: &str = "VirtualService/default/bad";

#[tokio::test]
async fn a_yaml_syntax_error() {
    let mesh = beside("kind: [\n---\n").await;
    says(&the(&mesh, Severity::Refused), &["literal-1:", "not YAML"]);
}

#[tokio::test]
async fn an_unknown_kind() {
    let mesh =
        beside("apiVersion: networking.istio.io/v1\nkind: VirtualSrevice\nmetadata: {name: bad}\nspec: {}\n").await;
    says(&the(&mesh, Severity::Refused), &["VirtualSrevice", "bad"]);
}

#[tokio::test]
async fn an_unknown_field_is_a_warning_and_the_object_works() {
    let rule = "route: [{destination: {host: good.example}}]\n    timeuot: 1s";
    let mesh = beside(&(service("bad", &[("v1", server("bad").await)]) + &bad_route(rule))).await;
    says(&the(&mesh, Severity::Warning), &[BAD, "spec.http[0].timeuot"]);
    assert_eq!(get(&mesh, "http://bad.example/").await, "good");
}

#[tokio::test]
async fn a_wrong_type() {
    let mesh = beside(&bad_route("route: {destination: {host: good.example}}")).await;
    says(&the(&mesh, Severity::Refused), &[BAD, "spec.http[0].route"]);
}

#[tokio::test]
async fn a_negative_weight() {
    let mesh = beside(&bad_route("route: [{destination: {host: good.example}, weight: -1}]")).await;
    says(&the(&mesh, Severity::Refused), &[BAD, "weight", "-1"]);
}

#[tokio::test]
async fn weights_that_sum_to_zero() {
    let destination = "{destination: {host: good.example}, weight: 0}";
    let mesh = beside(&bad_route(&format!("route: [{destination}, {destination}]"))).await;
    says(&the(&mesh, Severity::Refused), &[BAD, "spec.http[0].route"]);
}

#[tokio::test]
async fn a_bad_regular_expression() {
    let mesh =
        beside(&bad_route("match: [{uri: {regex: '('}}]\n    route: [{destination: {host: good.example}}]")).await;
    says(&the(&mesh, Severity::Refused), &[BAD, "spec.http[0].match[0].uri"]);
}

#[tokio::test]
async fn f26_a_regular_expression_over_a_mebibyte_compiled() {
    let rule = "match: [{uri: {regex: '(\\w{1000}){100}'}}]\n    route: [{destination: {host: good.example}}]";
    let mesh = beside(&bad_route(rule)).await;
    says(&the(&mesh, Severity::Refused), &[BAD, "spec.http[0].match[0].uri"]);
}

#[tokio::test]
async fn a_dangling_subset_is_a_warning_and_503_nc() {
    let mesh = beside(
        &(service("bad", &[("v1", server("bad").await)])
            + &bad_route("route: [{destination: {host: good.example, subset: v9}}]")),
    )
    .await;
    says(&the(&mesh, Severity::Warning), &[BAD, "v9"]);
    assert_eq!(crate::support::fetch(&mesh, "http://bad.example/", &[]).await.flags(), "NC");
}

#[tokio::test]
async fn a_dangling_host_is_a_warning_and_503_nc() {
    let mesh = beside(
        &(service("bad", &[("v1", server("bad").await)])
            + &bad_route("route: [{destination: {host: nobody.example}}]")),
    )
    .await;
    says(&the(&mesh, Severity::Warning), &[BAD, "nobody.example"]);
    let answer = crate::support::fetch(&mesh, "http://bad.example/", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.flags().as_str()), (503, "NC"));
}

#[tokio::test]
async fn two_objects_that_claim_one_host() {
    let second = routes("good", "  - route: [{destination: {host: nobody.example}}]\n")
        .replace("{name: good}", "{name: second}");
    let mesh = beside(&second).await;
    let findings = mesh.findings();
    let claimed = findings.iter().find(|finding| finding.code == "VS_DUPLICATE_HOST").unwrap();
    says(&claimed.to_string(), &["literal-1:", "VirtualService/default/", "good.example"]);
}

#[tokio::test]
async fn an_object_that_is_there_twice() {
    let mesh = beside(&routes("good", "  - route: [{destination: {host: nobody.example}}]\n")).await;
    says(&the(&mesh, Severity::Refused), &["VirtualService/default/good", "already defined"]);
}

#[tokio::test]
async fn nonsense_of_every_kind_does_not_stop_the_rest() {
    for bad in [
        "\u{0}",
        "- - -",
        "{}",
        "[]",
        "1",
        "apiVersion: 1\nkind: 2",
        "a: &a [*a]",
        "--- ---",
        "\t",
        "kind: Service\napiVersion: v1\nmetadata: 5",
    ] {
        beside(bad).await;
    }
}

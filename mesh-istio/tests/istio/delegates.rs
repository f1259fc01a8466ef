//! Delegation: rules of one VirtualService in the place of a rule of another.

use mesh_istio::{MeshConfig, ProxyContext, Severity};
use serde_json::{Value, json};

use crate::support::{SERVICES, lowered_for, of, virtual_host, virtual_service, world};

/// A VirtualService without hosts.
fn delegate(name: &str, namespace: &str, rest: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{{rest}}}\n---\n"
    )
}

fn routes_of(text: &str) -> Vec<Value> {
    let lowered = lowered_for(&format!("{SERVICES}{text}"), &ProxyContext::new("default"), &MeshConfig::default());
    virtual_host(&lowered, "80", "a.default.svc.cluster.local:80")["routes"].as_array().unwrap().clone()
}

fn cluster(route: &Value) -> &str {
    route["route"]["cluster"].as_str().unwrap_or_default()
}

#[test]
fn rules_of_a_delegate_stand_in_the_place_of_the_rule_that_refers_to_it() {
    let root = virtual_service(
        "[{name: root, match: [{uri: {prefix: /b}}], delegate: {name: of-b, namespace: there}, timeout: 3s}, {name: rest, route: [{destination: {host: a}}]}]",
    );
    let text = format!(
        "{root}{}",
        delegate(
            "of-b",
            "there",
            "http: [{name: one, match: [{uri: {prefix: /b/one}}], route: [{destination: {host: x}}], timeout: 1s}, {route: [{destination: {host: z}}]}]"
        )
    );
    let routes = routes_of(&text);
    let names: Vec<_> = routes.iter().map(|route| route["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["root-one", "root", "rest"]);
    let paths: Vec<_> = routes.iter().map(|route| route["match"]["prefix"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/b/one", "/b", "/"]);
    // Short names are the delegate's own; what it does not say comes from the root.
    assert_eq!(cluster(&routes[0]), "outbound|80||x.there.svc.cluster.local");
    assert_eq!((&routes[0]["route"]["timeout"], &routes[1]["route"]["timeout"]), (&json!("1s"), &json!("3s")));
    // The object that is named is the one with the host.
    assert!(routes[0].pointer("/metadata/filterMetadata/istio/config").unwrap().as_str().unwrap().ends_with("/a"));
}

#[test]
fn a_rule_that_contradicts_its_root_is_left_out_and_warned_about() {
    let text = format!(
        "{SERVICES}{}{}",
        virtual_service(
            "[{match: [{uri: {prefix: /b}}], delegate: {name: d}}, {name: rest, route: [{destination: {host: a}}]}]"
        ),
        delegate("d", "default", "http: [{match: [{uri: {prefix: /c}}], route: [{destination: {host: b}}]}]")
    );
    let lowered = lowered_for(&text, &ProxyContext::new("default"), &MeshConfig::default());
    let host = virtual_host(&lowered, "80", "a.default.svc.cluster.local:80");
    assert_eq!(host["routes"].as_array().unwrap().len(), 1);
    let warnings = of(&lowered.findings, Severity::Warning);
    assert!(warnings.len() == 1 && warnings[0].starts_with("VS_DELEGATE_CONFLICT "), "{warnings:?}");
}

#[test]
fn a_delegate_that_is_missing_or_not_exported_drops_its_rule() {
    let root = virtual_service(
        "[{match: [{uri: {prefix: /b}}], delegate: {name: d, namespace: there}}, {name: rest, route: [{destination: {host: a}}]}]",
    );
    let hidden = delegate("d", "there", "exportTo: ['.'], http: [{route: [{destination: {host: b}}]}]");
    let shown = hidden.replace("'.'", "default");
    // One with hosts is no delegate.
    let whole = shown.replace("spec: {", "spec: {hosts: [z], ");
    for (other, routes, warned) in [("", 1, true), (&hidden, 1, true), (&whole, 1, true), (&shown, 2, false)] {
        let text = format!("{SERVICES}{root}{other}");
        let lowered = lowered_for(&text, &ProxyContext::new("default"), &MeshConfig::default());
        let host = virtual_host(&lowered, "80", "a.default.svc.cluster.local:80");
        assert_eq!(host["routes"].as_array().unwrap().len(), routes, "{other}");
        let found = lowered.findings.iter().any(|finding| finding.code == "VS_DELEGATE_NOT_FOUND");
        assert_eq!(found, warned, "{other}");
    }
}

#[test]
fn a_delegate_may_neither_delegate_nor_name_gateways() {
    for (rest, field) in [
        ("http: [{delegate: {name: d}}]", "spec.http[0].delegate"),
        ("gateways: [mesh], http: [{route: [{destination: {host: a}}]}]", "spec.gateways"),
    ] {
        let world = world(&delegate("d", "default", rest));
        assert!(world.findings().iter().any(|one| one.severity == Severity::Refused && one.field == field), "{rest}");
    }
}

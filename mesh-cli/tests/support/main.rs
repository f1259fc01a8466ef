//! `docs/support.md` is true: it lists every field that is known and no other, and each line names tests that exist.
//!
//! Known are: of Istio's and Kubernetes' objects every field of the types that they are read into; of Envoy's resources
//! every field that `mesh_xds::decode` reads (any other is reported wherever it is set). What a status says is shown by
//! the tests that its line names.
#![allow(clippy::unwrap_used, reason = "a failing test is what unwrap is for")]

mod pages;
mod sources;
mod table;

use std::collections::BTreeSet;

use mesh_istio::object::messages;
use mesh_istio::{Kind, LoadOptions, Severity, load_text};
use mesh_xds::decode::fields_read;

use table::{Line, section};

/// `message.field` of every line of a part of the page.
fn listed(lines: &[Line]) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for line in lines {
        for field in &line.fields {
            let name = format!("{}.{field}", line.message);
            assert!(seen.insert(name.clone()), "{name} is listed twice");
        }
    }
    seen
}

fn same(listed: &BTreeSet<String>, known: &BTreeSet<String>) {
    let missing: Vec<_> = known.difference(listed).collect();
    let stale: Vec<_> = listed.difference(known).collect();
    assert!(missing.is_empty() && stale.is_empty(), "missing: {missing:#?}\nnot known: {stale:#?}");
}

#[test]
fn every_field_of_an_istio_object_is_listed_and_no_other() {
    let known = messages()
        .into_iter()
        .flat_map(|(message, fields)| fields.into_iter().map(move |field| format!("{message}.{field}")));
    same(&listed(&section("Istio and Kubernetes fields")), &known.collect());
}

#[test]
fn every_field_of_an_envoy_resource_that_is_read_is_listed_and_no_other() {
    let known = fields_read().into_iter().map(|(message, field)| format!("{message}.{field}"));
    same(&listed(&section("Envoy fields")), &known.collect());
}

#[test]
fn every_kind_is_listed_with_what_becomes_of_it() {
    let lines = section("Kinds");
    let known: BTreeSet<_> = Kind::ALL.iter().map(|kind| format!(".{}", kind.as_str())).collect();
    same(&listed(&lines), &known);
    for kind in Kind::ALL {
        let line = lines.iter().find(|line| line.fields.iter().any(|name| name == kind.as_str())).unwrap();
        assert_eq!(line.status, status_of(*kind), "{kind}");
    }
}

/// What loading an object of a kind says about the kind.
fn status_of(kind: Kind) -> &'static str {
    let group = kind.group();
    let status = |version: &str| {
        let api = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        let text = format!("apiVersion: {api}\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{}}\n");
        let findings = load_text("a", &text, &LoadOptions::default()).findings;
        let has = |severity, code| findings.iter().any(|one| one.severity == severity && one.code == code);
        if has(Severity::Refused, "UNKNOWN_VERSION") {
            return None;
        }
        Some(match () {
            () if has(Severity::NotInForce, "SECURITY_NOT_IN_FORCE") => "reported as missing protection",
            () if has(Severity::NotInForce, "KIND_NOT_IN_FORCE") => "reported",
            () if has(Severity::Note, "KIND_IGNORED") => "passed over",
            () => "in force",
        })
    };
    ["v1", "v1beta1", "v1alpha3", "v1alpha2", "v1alpha1"].into_iter().find_map(status).unwrap()
}

#[test]
fn every_line_has_a_status_and_a_test_that_exists() {
    let tests = sources::tests();
    let statuses =
        ["in force", "refused", "reported", "reported as missing protection", "no effect", "passed over", "checked"];
    let mut wrong = Vec::new();
    for name in ["Kinds", "Istio and Kubernetes fields", "Envoy fields"] {
        for line in section(name) {
            let what = format!("{name}: {} {:?}", line.message, line.fields);
            if !statuses.contains(&line.status.as_str()) {
                wrong.push(format!("{what}: no such status: {:?}", line.status));
            }
            if line.tests.is_empty() {
                wrong.push(format!("{what}: names no test"));
            }
            let unknown = line.tests.iter().filter(|test| !tests.contains(*test));
            wrong.extend(unknown.map(|test| format!("{what}: there is no test {test}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

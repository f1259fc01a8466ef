//! Objects of other people: the article, Istio's samples, its valid and invalid ones, the inputs of its analyzers.

use std::collections::BTreeMap;

use mesh_istio::{Kind, MeshConfig, ProxyContext, Severity, World, lower};

use crate::data;

/// Every remark about a set of files, as severities and codes, sorted and without repetition.
fn said(files: &[(String, String)]) -> Vec<String> {
    let world = World::load(files.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    let lowered = lower(&world, &ProxyContext::new("default"), &MeshConfig::default());
    let mut out: Vec<_> = world
        .findings()
        .iter()
        .chain(&lowered.findings)
        .map(|finding| format!("{}: {}", finding.severity.as_str(), finding.code))
        .collect();
    out.sort();
    out.dedup();
    out
}

#[test]
fn every_manifest_of_the_article_loads_or_says_why_not() {
    let Some(folder) = data::folder("article") else {
        return;
    };
    // The services that the manifests speak of, so that what is said is about the manifests.
    let around = "\
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: reviews}, spec: {ports: [{name: http, port: 80}]}}
- {apiVersion: v1, kind: Service, metadata: {name: ratings}, spec: {ports: [{name: http, port: 80}]}}
- {apiVersion: v1, kind: Service, metadata: {name: user-service}, spec: {ports: [{name: http, port: 80}]}}
- {apiVersion: v1, kind: Service, metadata: {name: go-service}, spec: {ports: [{name: http, port: 8080}]}}
- {apiVersion: v1, kind: Service, metadata: {name: service-east}, spec: {ports: [{name: http, port: 80}]}}
- {apiVersion: v1, kind: Service, metadata: {name: service-west}, spec: {ports: [{name: http, port: 80}]}}
- {apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: x}, spec: {hosts: [www.example.com], ports: [{number: 80, name: http, protocol: HTTP}]}}
- {apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: reviews}, spec: {host: reviews, subsets: [{name: v1}, {name: v2}]}}
- {apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: users}, spec: {host: user-service, subsets: [{name: v1}, {name: v2}]}}
";
    let expected: &[(&str, &[&str])] = &[
        ("01", &["refused: NOT_AN_OBJECT"]), // a resource of Envoy: mesh-xds decodes it
        ("02", &[]),
        ("03", &["note: KIND_IGNORED"]),
        ("04", &["warning: VS_NOT_FOR_MESH"]),
        ("05", &["warning: QUOTA_COMPAT"]),
        ("06", &["not in force: SECURITY_NOT_IN_FORCE"]),
        ("07", &["not in force: SECURITY_NOT_IN_FORCE"]),
        ("08", &[]),
        ("09", &["warning: DEPRECATED_FIELD"]),
        ("10", &["warning: INEFFECTIVE"]),
        ("11", &[]),
        ("12", &["refused: NOT_AN_OBJECT"]),
        ("13", &["not in force: SECURITY_NOT_IN_FORCE"]),
        ("14", &["refused: NOT_AN_OBJECT"]),
        ("15", &["warning: VS_SPLIT_ACROSS_ROUTES", "warning: VS_UNKNOWN_HOST", "warning: VS_UNREACHABLE_RULE"]),
        ("16", &["not in force: SECURITY_NOT_IN_FORCE"]),
    ];
    let files = data::files(&folder, &[".yaml"]);
    assert_eq!(files.len(), expected.len());
    for ((name, text), (number, codes)) in files.iter().zip(expected) {
        assert!(name.starts_with(number), "{name}");
        let all = [(name.clone(), text.clone()), ("around.yaml".to_owned(), around.to_owned())];
        assert_eq!(said(&all), *codes, "{name}");
    }
    println!("conformance: {} ran, 0 skipped", files.len());
}

#[test]
fn nothing_that_people_apply_panics() {
    let mut ran = 0;
    for name in [
        "samples",
        "tests_config",
        "int_authz",
        "int_pilot",
        "int_requestauthn",
        "int_telemetry",
        "analyzers",
        "validation_crds",
        "authz_builder",
    ] {
        let Some(folder) = data::folder(&format!("istio/{name}")) else {
            return;
        };
        let files = data::files(&folder, &[".yaml", ".yml", ".tmpl", ".json"]);
        for file in &files {
            said(std::slice::from_ref(file));
        }
        // And all of them as one mesh.
        said(&files);
        ran += files.len();
    }
    println!("conformance: {ran} ran, 0 skipped");
}

#[test]
fn samples_of_istio_are_not_refused() {
    let mut ran = 0;
    for name in ["samples", "tests_config"] {
        let Some(folder) = data::folder(&format!("istio/{name}")) else {
            return;
        };
        for (file, text) in data::files(&folder, &[".yaml"]) {
            let world = World::load([(file.as_str(), text)]);
            let refused: Vec<_> = world
                .findings()
                .iter()
                .filter(|finding| finding.severity == Severity::Refused)
                .map(ToString::to_string)
                .collect();
            assert!(refused.is_empty(), "{refused:#?}");
            ran += 1;
        }
    }
    println!("conformance: {ran} ran, 0 skipped");
}

/// Documents of a file, each as a file of its own, with the error that it is marked with.
fn marked(text: &str) -> Vec<(Option<String>, String)> {
    let mut out = Vec::new();
    for document in text.split("\n---") {
        let mark = document
            .lines()
            .find_map(|line| line.strip_prefix("_err:"))
            .map(|text| text.trim().trim_matches(['"', '\'']).to_owned());
        let body: String =
            document.lines().filter(|line| !line.starts_with("_err:")).map(|line| format!("{line}\n")).collect();
        if body.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
            out.push((mark, body));
        }
    }
    out
}

#[test]
fn what_the_schema_of_istio_refuses_is_refused_and_the_rest_is_not() {
    let Some(folder) = data::folder("istio/validation_crds") else {
        return;
    };
    let (mut ran, mut later) = (0, BTreeMap::<String, usize>::new());
    for (file, text) in data::files(&folder, &[".yaml"]) {
        for (mark, body) in marked(&text) {
            let world = World::load([(file.as_str(), body.as_str())]);
            if let Some(object) =
                world.objects().first().filter(|object| object.spec == mesh_istio::object::Spec::NotInForce)
            {
                *later.entry(object.id.kind.to_string()).or_default() += 1;
                continue;
            }
            let refused: Vec<_> = world
                .findings()
                .iter()
                .filter(|finding| finding.severity == Severity::Refused)
                .map(ToString::to_string)
                .collect();
            // `[.., 001:db8::]`: YAML 1.2 reads a map there, the parser of Kubernetes a string. We follow the specification.
            if body.contains("001:db8::]") {
                assert_eq!(refused.len(), 1, "{refused:?}");
                *later.entry("a document that is not YAML 1.2".to_owned()).or_default() += 1;
                continue;
            }
            assert_eq!(refused.is_empty(), mark.is_none(), "{file}: marked {mark:?}, said {refused:?}\n{body}");
            ran += 1;
        }
    }
    assert!(ran >= 30, "{ran}");
    println!("conformance: {ran} ran, {} skipped ({later:?})", later.values().sum::<usize>());
}

#[test]
fn valid_objects_of_every_kind_and_version_load() {
    let Some(folder) = data::folder("istio/validation_dataset") else {
        return;
    };
    let in_force = [
        Kind::VirtualService,
        Kind::DestinationRule,
        Kind::Gateway,
        Kind::ServiceEntry,
        Kind::Sidecar,
        Kind::WorkloadEntry,
    ];
    let (mut ran, mut later) = (0, 0);
    for (file, text) in data::files(&folder, &[".yaml"]) {
        let world = World::load([(file.as_str(), text)]);
        let refused: Vec<_> = world
            .findings()
            .iter()
            .filter(|finding| finding.severity == Severity::Refused)
            .map(ToString::to_string)
            .collect();
        assert!(refused.is_empty(), "{refused:?}");
        assert_eq!(world.objects().len(), 1, "{file}");
        if in_force.contains(&world.objects()[0].id.kind) {
            assert!(
                world.findings().iter().all(|finding| finding.code != "UNKNOWN_FIELD"),
                "{file}: {:?}",
                world.findings()
            );
            ran += 1;
        } else {
            later += 1;
        }
    }
    println!("conformance: {ran} ran, {later} skipped (kinds of later work load and are reported)");
}

#[test]
fn inputs_of_istios_analyzers_draw_its_remarks() {
    let Some(folder) = data::folder("istio/analyzers") else {
        return;
    };
    let expected: &[(&str, &[(&str, &str)])] = &[
        ("destinationrule-with-fake-host.yaml", &[("DR_UNKNOWN_HOST", "DestinationRule/default/fake-host")]),
        ("virtualservice_destinationrules.yaml", &[("DR_UNKNOWN_HOST", "DestinationRule/default/reviews")]),
        (
            "virtualservice_overlappingmatches.yaml",
            &[
                ("VS_INEFFECTIVE_MATCH", "VirtualService/default/non-method-get"),
                ("VS_INEFFECTIVE_MATCH", "VirtualService/default/overlapping-in-single-match"),
            ],
        ),
        (
            "virtualservice_conflictingmeshgatewayhosts_with_exportto.yaml",
            &[
                // We name the one that loses, istioctl both.
                ("VS_DUPLICATE_HOST", "VirtualService/bar/productpage"),
                ("VS_DUPLICATE_HOST", "VirtualService/bar/productpage-c"),
            ],
        ),
    ];
    let files: BTreeMap<_, _> = data::files(&folder, &[".yaml"]).into_iter().collect();
    for (file, remarks) in expected {
        let world = World::load([(*file, files[*file].as_str())]);
        let lowered = lower(&world, &ProxyContext::new("default"), &MeshConfig::default());
        let all: Vec<_> = world.findings().iter().chain(&lowered.findings).collect();
        for (code, object) in *remarks {
            let found = all.iter().any(|finding| {
                finding.code == *code && finding.object.as_ref().is_some_and(|id| id.to_string() == *object)
            });
            assert!(
                found,
                "{file}: {code} of {object} is not among {:#?}",
                all.iter().map(|f| format!("{} {f}", f.code)).collect::<Vec<_>>()
            );
        }
    }
    println!(
        "conformance: {} ran, {} skipped (about kinds and clusters that come later; all are loaded elsewhere)",
        expected.len(),
        files.len() - expected.len()
    );
}

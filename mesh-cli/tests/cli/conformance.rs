//! `mesh check` over what Istio's users and tests apply: nothing panics, and every document of a kind in force gets the verdict that Istio gives it.
//!
//! One run for each file, so that objects of one name in several files are not in each other's way, and one for each folder as a mesh of its own.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::mesh;

/// The folder `name` of the conformance data. `None` when there is none, which is a failure only if the data is required.
fn data(name: &str) -> Option<PathBuf> {
    let given = std::env::var("MESH_CONFORMANCE_DATA").unwrap_or_default();
    let root = match given.as_str() {
        "" | "required" => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        path => PathBuf::from(path),
    };
    let folder = root.join(name);
    if folder.exists() {
        return Some(folder.canonicalize().unwrap());
    }
    assert!(given != "required", "conformance data is required and {} is not there", folder.display());
    println!("conformance: 0 ran, 1 skipped (no {name})");
    None
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            out.extend(yaml_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            out.push(path);
        }
    }
    out.sort();
    out
}

/// What `mesh check` says of a file or folder. A panic is no JSON.
fn check(path: &Path) -> Value {
    let run = mesh(&["check", path.to_str().unwrap(), "--format", "json"]);
    assert!(run.code < 2 && run.err.is_empty(), "{}: {} {}", path.display(), run.code, run.err);
    let report: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(report["good"], run.code == 0, "{}", path.display());
    report
}

/// What is refused, as `object field`; a resource that is refused as `object resource: reason`.
fn refused(report: &Value) -> Vec<String> {
    let remarks = report["remarks"].as_array().unwrap().iter().filter(|remark| remark["severity"] == "refused");
    remarks
        .map(|remark| {
            let text = |key: &str| remark[key].as_str().unwrap_or_default();
            match remark["code"].as_str() {
                Some("RESOURCE_REFUSED") => format!("{} resource: {}", text("object"), text("reason")),
                _ => format!("{} {}", text("object"), text("field")),
            }
        })
        .collect()
}

/// Every file of a folder, and the folder as a whole: what is refused must be what is expected of the file.
fn verdicts(name: &str, expected: &[(&str, &[&str])]) {
    let Some(folder) = data(&format!("istio/{name}")) else {
        return;
    };
    check(&folder);
    let files = yaml_files(&folder);
    for file in &files {
        let relative = file.strip_prefix(&folder).unwrap().to_str().unwrap();
        let wanted = expected.iter().find(|(file, _)| *file == relative).map_or(&[][..], |(_, wanted)| wanted);
        assert_eq!(refused(&check(file)), wanted, "{relative}");
    }
    for (file, _) in expected {
        assert!(folder.join(file).exists(), "{file} is expected and not there");
    }
    println!("conformance: {} ran, 0 skipped", files.len());
}

#[test]
fn samples_of_istio_are_good() {
    verdicts("samples", &[]);
}

#[test]
fn what_istios_tests_apply_is_good() {
    verdicts("tests_config", &[]);
}

#[test]
fn valid_objects_of_every_kind_and_version_are_good() {
    verdicts("validation_dataset", &[]);
}

#[test]
fn inputs_of_istios_analyzers_are_refused_where_admission_refuses_them() {
    // Settings of the mesh, which are no objects; and objects that `istioctl analyze` looks at although no API server would take them.
    verdicts(
        "analyzers",
        &[
            ("serviceentry-address-allocated-mesh-cfg.yaml", &[" "]),
            ("serviceentry-missing-addresses-protocol-mesh-cfg.yaml", &[" "]),
            ("telemetry-lightstep-meshconfig.yaml", &[" "]),
            (
                "virtualservice_gateways.yaml",
                &[
                    "Gateway/default/httpbin-gateway spec.servers",
                    "Gateway/another/crossnamespace-gw spec.servers",
                    "VirtualService/default/httpbin spec",
                    "VirtualService/default/httpbin-bogus spec",
                    "VirtualService/default/httpbin-mesh spec",
                    "VirtualService/default/httpbin-mesh spec.hosts[0]",
                    "VirtualService/default/cross-test spec",
                ],
            ),
            (
                "virtualservice_host_not_found_gateway_beta.yaml",
                &["Gateway/istio-system/testing-gateway-01-test-04 spec.servers[1].port.name"],
            ),
        ],
    );
}

/// Documents of a file with the error that each is marked with.
fn marked(text: &str) -> Vec<(Option<String>, String)> {
    let documents = text.split("\n---").map(|document| {
        let (marks, body): (Vec<_>, Vec<_>) = document.lines().partition(|line| line.starts_with("_err:"));
        let mark =
            marks.first().map(|line| line.trim_start_matches("_err:").trim().trim_matches(['"', '\'']).to_owned());
        (mark, body.join("\n"))
    });
    documents.filter(|(_, body)| body.contains("kind:")).collect()
}

#[test]
fn what_the_schema_refuses_is_refused_at_the_same_field() {
    let Some(folder) = data("istio/validation_crds") else {
        return;
    };
    let (mut ran, mut later) = (0, 0);
    let scratch = tempfile::tempdir().unwrap();
    let document = scratch.path().join("document.yaml");
    for file in yaml_files(&folder) {
        for (mark, body) in marked(&fs::read_to_string(&file).unwrap()) {
            fs::write(&document, &body).unwrap();
            let report = check(&document);
            let remarks = report["remarks"].as_array().unwrap();
            let without_effect = |remark: &Value| {
                remark["field"] == ""
                    && matches!(remark["code"].as_str(), Some("KIND_NOT_IN_FORCE" | "SECURITY_NOT_IN_FORCE"))
            };
            if remarks.iter().any(without_effect) {
                later += 1;
                continue;
            }
            let said = refused(&report);
            // `[.., 001:db8::]`: YAML 1.2 reads a map there, the parser of Kubernetes a string. We follow the specification.
            if body.contains("001:db8::]") {
                assert_eq!(said.len(), 1, "{said:?}");
                later += 1;
                continue;
            }
            match &mark {
                None => assert!(said.is_empty(), "{}: {said:?}\n{body}", file.display()),
                Some(mark) => {
                    // `spec.a.b: Invalid value ...`; a rule about the whole names no field.
                    let field = mark.split([':', ' ']).next().filter(|field| field.starts_with("spec."));
                    let there = |line: &String| field.is_none_or(|field| line.contains(field));
                    assert!(said.iter().any(there), "{}: {mark}: {said:?}\n{body}", file.display());
                }
            }
            ran += 1;
        }
    }
    assert!(ran >= 30, "{ran}");
    println!("conformance: {ran} ran, {later} skipped (kinds of later work, and a document that is no YAML 1.2)");
}

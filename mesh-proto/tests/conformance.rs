//! What a real istiod sent, converted: every recorded response must print, and print as istiod's own printer did where the types
//! are known. The recordings live outside of the project (see `MESH_CONFORMANCE_DATA`).
#![allow(clippy::unwrap_used, reason = "a failing test is what unwrap is for")]

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mesh_proto::envoy::service::discovery::v3::DiscoveryResponse;
use mesh_proto::prost::Message;
use mesh_proto::{canonical, descriptors, json, type_url, unknown};
use serde_json::Value;

fn data() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let (folder, required) = match std::env::var("MESH_CONFORMANCE_DATA") {
        Ok(value) if value == "required" => (beside(), true),
        Ok(value) if !value.is_empty() => (PathBuf::from(value), false),
        _ => (beside(), false),
    };
    assert!(folder.is_dir() || !required, "conformance data is required, {} is not there", folder.display());
    folder.is_dir().then_some(folder)
}

fn captures(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .flat_map(|client| fs::read_dir(client.unwrap().path()).into_iter().flatten())
        .map(|file| file.unwrap().path())
        .filter(|file| file.to_str().is_some_and(|name| name.ends_with(".pb.b64")))
        .collect();
    found.sort();
    found
}

fn bytes_of(capture: &Path) -> Vec<u8> {
    STANDARD.decode(fs::read_to_string(capture).unwrap().split_whitespace().collect::<String>()).unwrap()
}

/// Takes out of both what only the recorder knew the type of; returns how many those were.
fn drop_unknown(recorded: &mut Value, printed: &mut Value) -> usize {
    match (recorded, printed) {
        (Value::Object(recorded), Value::Object(printed)) => {
            let type_name = recorded.get("@type").and_then(Value::as_str).map(type_url::type_name);
            if let Some(name) = type_name
                && descriptors::message(name).is_none()
            {
                assert_eq!(recorded["@type"], printed["@type"]);
                let base64 = printed["value"].as_str().unwrap();
                assert!(STANDARD.decode(base64).is_ok(), "{base64}");
                recorded.clear();
                printed.clear();
                return 1;
            }
            recorded.iter_mut().filter_map(|(key, value)| Some(drop_unknown(value, printed.get_mut(key)?))).sum()
        }
        (Value::Array(recorded), Value::Array(printed)) => {
            recorded.iter_mut().zip(printed).map(|(recorded, printed)| drop_unknown(recorded, printed)).sum()
        }
        _ => 0,
    }
}

/// The first place where two documents differ.
fn difference(recorded: &Value, printed: &Value, path: &str) -> Option<String> {
    match (recorded, printed) {
        (Value::Object(a), Value::Object(b)) => {
            a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))).find_map(|key| {
                difference(
                    a.get(key).unwrap_or(&Value::Null),
                    b.get(key).unwrap_or(&Value::Null),
                    &format!("{path}.{key}"),
                )
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(i, (a, b))| difference(a, b, &format!("{path}[{i}]")))
        }
        (a, b) if a == b => None,
        (a, b) => Some(format!("{path}: recorded {a}, printed {b}")),
    }
}

#[test]
fn what_istiod_sent_prints_as_it_was_recorded() {
    let Some(folder) = data() else {
        println!("conformance: 0 ran, 1 skipped");
        return;
    };
    let captures = captures(&folder.join("istiod-captures"));
    assert!(!captures.is_empty());
    let mut unknown_types = 0;
    for capture in &captures {
        let bytes = bytes_of(capture);
        let name = capture.to_str().unwrap();
        let mut printed = json::to_json("envoy.service.discovery.v3.DiscoveryResponse", &bytes).unwrap();
        let recorded = fs::read_to_string(name.replace(".pb.b64", ".json")).unwrap();
        let mut recorded: Value = serde_json::from_str(&recorded).unwrap();

        // Back to a message: the same one.
        let again: DiscoveryResponse = json::from_json(&printed).unwrap();
        assert_eq!(json::to_json_of(&again).unwrap(), printed, "{name}");

        unknown_types += drop_unknown(&mut recorded, &mut printed);
        assert_eq!(difference(&recorded, &printed, ""), None, "{name}");
    }
    println!("conformance: {} ran, 0 skipped ({unknown_types} payloads of types unknown here)", captures.len());
}

#[test]
fn what_istiod_sent_has_no_field_numbers_unknown_here() {
    let Some(folder) = data() else {
        println!("conformance: 0 ran, 1 skipped");
        return;
    };
    let captures = captures(&folder.join("istiod-captures"));
    let mut resources = 0;
    for capture in &captures {
        let response = DiscoveryResponse::decode(bytes_of(capture).as_slice()).unwrap();
        for resource in &response.resources {
            let mut known = 0;
            unknown::walk(
                &resource.type_url,
                &resource.value,
                &mut |path: &mesh_proto::path::FieldPath<'_>, found: unknown::Found<'_>| {
                    known += usize::from(matches!(found, unknown::Found::Field(_)));
                    assert!(!matches!(found, unknown::Found::UnknownNumber { .. }), "{}: {path}", capture.display());
                    unknown::Descend::Into
                },
            )
            .unwrap();
            assert!(known > 0);
            // Only map entries move.
            let ordered = canonical::order(&resource.type_url, &resource.value).unwrap();
            assert_eq!(ordered.len(), resource.value.len());
            assert_eq!(
                json::to_json(&resource.type_url, &ordered).unwrap(),
                json::to_json(&resource.type_url, &resource.value).unwrap()
            );
            resources += 1;
        }
    }
    println!("conformance: {resources} ran, 0 skipped");
}

#[test]
fn what_envoy_was_observed_with_parses() {
    let Some(folder) = data() else {
        println!("conformance: 0 ran, 1 skipped");
        return;
    };
    let observed = fs::read_to_string(folder.join("envoy-observed/http.json")).unwrap();
    let observed: Value = serde_json::from_str(&observed).unwrap();
    let parts = [
        ("routes", "envoy.config.route.v3.Route"),
        ("virtual_host", "envoy.config.route.v3.VirtualHost"),
        ("route_config", "envoy.config.route.v3.RouteConfiguration"),
        ("http_filters", "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"),
        ("http_connection_manager", type_url::HTTP_CONNECTION_MANAGER),
    ];
    let (mut ran, mut skipped) = (0, 0);
    for case in observed["cases"].as_array().unwrap() {
        let Some(config) = case["envoy_config"].as_object() else {
            continue;
        };
        for (part, config) in config {
            let Some((_, message)) = parts.iter().find(|(name, _)| name == part) else {
                skipped += 1; // runtime keys are not messages
                continue;
            };
            for config in config.as_array().map_or(std::slice::from_ref(config), Vec::as_slice) {
                let bytes =
                    json::encode(message, config).unwrap_or_else(|error| panic!("{}: {part}: {error}", case["name"]));
                let printed = json::to_json(message, &bytes).unwrap();
                assert_eq!(json::encode(message, &printed).unwrap(), bytes, "{}: {part}", case["name"]);
                ran += 1;
            }
        }
    }
    assert!(ran > 0);
    println!("conformance: {ran} ran, {skipped} skipped");
}

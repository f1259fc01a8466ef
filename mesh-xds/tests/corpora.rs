//! The inputs of Envoy's fuzz tests: each is accepted or refused, and what is accepted compiles or is refused.
#![allow(clippy::unwrap_used, reason = "a failing test is what unwrap is for")]

mod data;

use std::path::{Path, PathBuf};

use mesh_core::engine::routing::{ClusterId, RouteTable};
use mesh_core::resource::ResourceKind;
use mesh_proto::descriptors;
use mesh_proto::prost::Message;
use mesh_xds::decode;
use prost_reflect::DynamicMessage;

const KINDS: [ResourceKind; 4] = [
    ResourceKind::Listener,
    ResourceKind::RouteConfiguration,
    ResourceKind::Cluster,
    ResourceKind::ClusterLoadAssignment,
];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The text of the message field `config { ... }`, braces left off; braces within quotes do not count.
fn config(text: &str) -> Option<&str> {
    let begin = text.find("config {")? + "config {".len();
    let (mut depth, mut quote, mut escaped) = (1, None, false);
    for (at, byte) in text[begin..].bytes().enumerate() {
        match (quote, byte) {
            _ if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(open), byte) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'{') => depth += 1,
            (None, b'}') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(&text[begin..begin + at]);
        }
    }
    None
}

#[test]
fn fuzzed_route_configurations_are_accepted_or_refused() {
    let Some(folder) = data::folder("envoy/corpora/common/router/route_corpus") else {
        return data::report(0, 1);
    };
    let descriptor = descriptors::message("envoy.config.route.v3.RouteConfiguration").unwrap();
    let mut found = Vec::new();
    files(&folder, &mut found);
    let (mut ran, mut skipped) = (0, 0);
    for path in found {
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        let Some(Ok(mut message)) =
            config(&text).map(|text| DynamicMessage::parse_text_format(descriptor.clone(), text))
        else {
            skipped += 1;
            continue;
        };
        // As inside a test case they have no name, and that alone would refuse them.
        message.set_field_by_name("name", prost_reflect::Value::String("fuzzed".to_owned()));
        let verdict = decode::route_configuration(&message.encode_to_vec())
            .and_then(|decoded| RouteTable::compile(&decoded.value, &mut |_| ClusterId(0)).map(drop));
        println!(
            "{}: {}",
            path.file_name().unwrap().to_string_lossy(),
            verdict.map_or_else(|invalid| invalid.to_string(), |()| "accepted".to_owned())
        );
        ran += 1;
    }
    assert!(ran > 10, "{ran} of {} could be read", ran + skipped);
    data::report(ran, skipped);
}

#[test]
fn f07_bytes_of_every_corpus_are_refused_or_accepted_as_any_kind() {
    let Some(folder) = data::folder("envoy/corpora") else {
        return data::report(0, 1);
    };
    let mut found = Vec::new();
    files(&folder, &mut found);
    for path in &found {
        let bytes = std::fs::read(path).unwrap();
        for kind in KINDS {
            let _ = decode::resource(kind, &bytes);
        }
    }
    data::report(found.len(), 0);
}

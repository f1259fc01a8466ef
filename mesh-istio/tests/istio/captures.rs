//! Our translation against what a real istiod sent for the same objects to the same proxies.
//!
//! Everything is compared, to the last field. Each difference is a line of `captures-differences.txt` with its reason; one that is missing there, and
//! one that nothing needs, fail the test. Some things must not differ at all, whatever the file says ([`must_not_differ`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use base64::Engine as _;
use mesh_istio::{Lowered, MeshConfig, ProxyContext, Severity, World, lower};
use mesh_proto::envoy::service::discovery::v3::DiscoveryResponse;
use mesh_proto::json;
use prost::Message as _;
use serde_json::Value;

use crate::data;

const DIFFERENCES: &str = include_str!("captures-differences.txt");

/// Resources of one kind by name.
type Resources = BTreeMap<String, Value>;

#[test]
fn our_resources_are_what_istiod_sent_apart_from_the_listed_differences() {
    let Some(folder) = data::folder("istiod-captures") else {
        return;
    };
    let (mut found, mut compared) = (BTreeMap::new(), 0);
    for node in ["sidecar-client", "sidecar-server"] {
        let lowered = lower(&world(&folder, |text| text), &proxy(&folder.join(node)), &MeshConfig::default());
        for (kind, ours) in resources(&lowered) {
            let mut theirs = recorded(&folder.join(node), kind, 1);
            if node == "sidecar-client" {
                // Recorded without redirection: the same listeners on the loopback address.
                theirs = theirs.into_iter().map(|(name, one)| (name.replace("127.0.0.1_", "0.0.0.0_"), one)).collect();
            }
            compared += theirs.len();
            for (field, what) in differences(&ours, &theirs) {
                found.insert(format!("{node} {kind} {field}"), what);
            }
        }
    }
    let mut problems = Vec::new();
    let mut listed = BTreeSet::new();
    for line in DIFFERENCES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.split_once(": ") {
            Some((difference, reason)) if !reason.is_empty() => {
                if !found.contains_key(difference) {
                    problems.push(format!("superfluous: {difference}"));
                }
                if !listed.insert(difference) {
                    problems.push(format!("twice: {difference}"));
                }
            }
            _ => problems.push(format!("without a reason: {line}")),
        }
    }
    for (difference, what) in &found {
        if !listed.contains(difference.as_str()) {
            problems.push(format!("missing: {difference}: {what}"));
        }
        if must_not_differ(difference) {
            problems.push(format!("must not differ: {difference}: {what}"));
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    println!("{} differences, all listed", found.len());
    println!("conformance: {compared} ran, 0 skipped");
}

#[test]
fn changed_objects_change_our_resources_as_istiod_changed_its_own() {
    let Some(folder) = data::folder("istiod-captures") else {
        return;
    };
    let live = folder.join("sidecar-client-live-change");
    // At three seconds 80/20 became 50/50, at six an endpoint went away.
    let halves = |text: String| {
        text.replace("\n      weight: 80", "\n      weight: 50").replace("\n      weight: 20", "\n      weight: 50")
    };
    let without = |text: String| {
        let gone = "metadata: {name: order-v1-b, namespace: shop}";
        text.split("---\n").filter(|document| !document.contains(gone)).collect::<Vec<_>>().join("---\n")
    };
    let changes: [(&str, &dyn Fn(String) -> String); 2] = [("rds", &halves), ("eds", &without)];
    let mut compared = 0;
    for (kind, edit) in changes {
        let lowered = lower(&world(&folder, edit), &proxy(&folder.join("sidecar-client")), &MeshConfig::default());
        let (_, mut ours) = resources(&lowered).into_iter().find(|(name, _)| *name == kind).unwrap();
        let theirs = recorded(&live, kind, 2);
        // An increment carries what changed.
        ours.retain(|name, _| theirs.contains_key(name));
        assert_eq!(differences(&ours, &theirs), []);
        compared += theirs.len();
    }
    println!("conformance: {compared} ran, 0 skipped");
}

/// What decides where a request goes and what becomes of it: clusters and their endpoints, limits and ejection, routes, which listeners and chains
/// there are. The client was recorded without redirection, which leaves it without anything inbound.
fn must_not_differ(difference: &str) -> bool {
    let (place, field) = difference.split_once(" .").unwrap_or((difference, ""));
    let whole = field.is_empty();
    let decides =
        ["circuitBreakers", "outlierDetection", "connectTimeout", "lbPolicy", "loadAssignment", "commonLbConfig"];
    match place.split(' ').nth(1) {
        Some("eds" | "rds") => true,
        Some("cds") => {
            (whole && !place.starts_with("sidecar-client cds inbound|"))
                || decides.iter().any(|decider| field.starts_with(decider))
        }
        Some("lds") => {
            let server = place.starts_with("sidecar-server");
            // A chain as a whole, or what it takes.
            let chain = field.starts_with("filterChains[")
                && (field.ends_with(']') && !field.contains("].") || field.contains("filterChainMatch"));
            server && (whole || chain || field == "name" || field.starts_with("address")) || field.contains("rds")
        }
        _ => true,
    }
}

/// The node as it introduced itself.
fn proxy(folder: &Path) -> ProxyContext {
    let requests: Value = serde_json::from_str(&fs::read_to_string(folder.join("requests.json")).unwrap()).unwrap();
    let node = &requests[0]["node"];
    let mut proxy = ProxyContext::of_node(node["id"].as_str().unwrap()).unwrap();
    for (key, value) in node["metadata"]["LABELS"].as_object().unwrap() {
        proxy = proxy.label(key, value.as_str().unwrap());
    }
    let part = |name: &str| node["locality"][name].as_str().unwrap_or_default().to_owned();
    proxy.locality(format!("{}/{}/{}", part("region"), part("zone"), part("subZone")))
}

/// The recorded objects, each file changed by `edit`.
fn world(folder: &Path, edit: impl Fn(String) -> String) -> World {
    let files =
        data::files(&folder.join("input-config"), &[".yaml"]).into_iter().filter(|(name, _)| name != "mesh.yaml");
    let world = World::load(files.map(|(name, text)| (name, edit(text))));
    let refused: Vec<_> = world.findings().iter().filter(|finding| finding.severity == Severity::Refused).collect();
    assert!(refused.is_empty(), "{refused:?}");
    world
}

fn resources(lowered: &Lowered) -> Vec<(&'static str, Resources)> {
    fn map<M: prost::Message + prost::Name>(list: &[M], name: impl Fn(&M) -> String) -> Resources {
        list.iter().map(|message| (name(message), json::to_json_of(message).unwrap())).collect()
    }
    vec![
        ("cds", map(&lowered.clusters, |cluster| cluster.name.clone())),
        ("eds", map(&lowered.endpoints, |assignment| assignment.cluster_name.clone())),
        ("lds", map(&lowered.listeners, |listener| listener.name.clone())),
        ("rds", map(&lowered.routes, |route| route.name.clone())),
    ]
}

fn recorded(folder: &Path, kind: &str, number: u32) -> Resources {
    let text = fs::read_to_string(folder.join(format!("{kind}.{number}.pb.b64"))).unwrap();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text.split_whitespace().collect::<String>()).unwrap();
    let response = DiscoveryResponse::decode(bytes.as_slice()).unwrap();
    let named = response.resources.iter().map(|resource| {
        let json = json::to_json(&resource.type_url, &resource.value).unwrap();
        let name = json.get("name").or_else(|| json.get("clusterName")).unwrap().as_str().unwrap().to_owned();
        (name, json)
    });
    named.collect()
}

/// Where two sets of resources differ, as `resource .field`, and how: a part that only one side has is one difference.
fn differences(ours: &Resources, theirs: &Resources) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let names: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    for name in names {
        compare(&format!("{name} "), ours.get(name), theirs.get(name), &mut out);
    }
    for (place, _) in &mut out {
        place.truncate(place.trim_end().len());
    }
    out
}

fn compare(place: &str, ours: Option<&Value>, theirs: Option<&Value>, out: &mut Vec<(String, String)>) {
    match (ours, theirs) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for key in keys {
                compare(&format!("{place}.{key}"), a.get(key), b.get(key), out);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            let (a, b) = (keyed(a), keyed(b));
            let map = |list: &[(String, &'_ Value)]| list.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
            let (ours, theirs) = (map(&a), map(&b));
            // Chains have no order; elsewhere what both have must stand in the same order.
            let common = |list: &[String], other: &[String]| -> Vec<String> {
                list.iter().filter(|key| other.contains(key)).cloned().collect()
            };
            if !place.ends_with(".filterChains") && common(&ours, &theirs) != common(&theirs, &ours) {
                out.push((format!("{place}[order]"), format!("ours {ours:?}, istiod {theirs:?}")));
            }
            for key in ours.iter().chain(theirs.iter().filter(|key| !ours.contains(key))) {
                let find = |list: &[(String, &'_ Value)]| list.iter().position(|(other, _)| other == key);
                let (a, b) = (find(&a).map(|at| a[at].1), find(&b).map(|at| b[at].1));
                compare(&format!("{place}[{key}]"), a, b, out);
            }
        }
        (ours, theirs) if ours == theirs => {}
        (Some(ours), Some(theirs)) => out.push((place.to_owned(), format!("ours {ours}, istiod {theirs}"))),
        (ours, _) => out.push((place.to_owned(), format!("only {}", if ours.is_some() { "ours" } else { "istiod's" }))),
    }
}

/// Elements by what names them, else by their place; a name that stands twice gets a number.
fn keyed(list: &[Value]) -> Vec<(String, &Value)> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let key = |(index, one): (usize, &Value)| {
        let transport = one.pointer("/filterChainMatch/transportProtocol").and_then(Value::as_str);
        // Chains for several transports have one name.
        match (one.get("name").and_then(Value::as_str), transport) {
            (Some(name), Some(transport)) => format!("{name}/{transport}"),
            (Some(name), None) => name.to_owned(),
            (None, _) => index.to_string(),
        }
    };
    list.iter()
        .enumerate()
        .map(|(index, one)| {
            let key = key((index, one));
            let count = seen.entry(key.clone()).or_default();
            *count += 1;
            (if *count == 1 { key } else { format!("{key}#{count}") }, one)
        })
        .collect()
}

#[test]
fn a_difference_is_named_by_resource_and_field_and_a_missing_part_is_one() {
    let of = |text: &str| -> Resources { serde_json::from_str(text).unwrap() };
    let ours = of(r#"{"a": {"x": 1, "list": [{"name": "p", "v": 1}, {"name": "q"}], "same": [1, 2]}, "b": {}}"#);
    let theirs = of(
        r#"{"a": {"x": 2, "list": [{"name": "q"}, {"name": "p", "v": 1}, {"name": "r", "deep": {"er": 1}}], "same": [1, 2]}}"#,
    );
    let found: Vec<_> = differences(&ours, &theirs).into_iter().map(|(place, _)| place).collect();
    assert_eq!(found, ["a .list[order]", "a .list[r]", "a .x", "b"]);
    assert_eq!(differences(&ours, &ours), []);
    for (difference, never) in [
        ("sidecar-server cds outbound|80||a", true),
        ("sidecar-client cds inbound|80||", false),
        ("sidecar-server cds outbound|80||a .circuitBreakers.thresholds[0].maxRequests", true),
        ("sidecar-server cds outbound|80||a .transportSocketMatches", false),
        ("sidecar-server eds outbound|80||a .endpoints[0].priority", true),
        ("sidecar-server rds 80 .virtualHosts[a].routes[0].route.timeout", true),
        ("sidecar-server lds 0.0.0.0_80", true),
        ("sidecar-server lds 0.0.0.0_80 .accessLog", false),
        ("sidecar-client lds 0.0.0.0_80 .name", false),
        ("sidecar-server lds virtualInbound .filterChains[0.0.0.0_80/tls]", true),
        ("sidecar-server lds virtualInbound .filterChains[0.0.0.0_80/tls].filterChainMatch.destinationPort", true),
        ("sidecar-server lds virtualInbound .filterChains[0.0.0.0_80/tls].filters[istio.stats]", false),
    ] {
        assert_eq!(must_not_differ(difference), never, "{difference}");
    }
}

//! Our translation against what a real istiod sent for the same objects to the same proxy.
//!
//! Everything is compared, field by field. What later work brings is in two tables, each row with its reason, and a row that nothing
//! needs fails the test: nothing is left out in silence.

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

/// Parts of istiod's output that are taken away before comparing: elements of lists by `name`, and fields wherever they stand.
const LATER_NAMED: &[(&str, &str)] = &[
    ("istio.metadata_exchange", "telemetry: peer metadata"),
    ("istio.stats", "telemetry: metrics"),
    ("envoy.filters.http.grpc_stats", "telemetry: gRPC statistics"),
    ("istio.alpn", "mutual TLS: ALPN by protocol"),
    ("envoy.filters.http.rbac", "authorization"),
    ("envoy.filters.network.rbac", "authorization"),
    ("envoy.filters.http.jwt_authn", "authentication"),
    ("envoy.filters.http.local_ratelimit", "EnvoyFilter"),
];

const LATER_FIELDS: &[(&str, &str)] = &[
    ("transportSocketMatches", "automatic mutual TLS"),
    ("tracing", "tracing"),
    ("requestIdExtension", "tracing: sampling by request id"),
    ("accessLog", "access logs"),
    ("typedDnsResolverConfig", "a setting of Envoy's resolver; ours is the platform's"),
];

fn workload(app: &str, ip: &str) -> ProxyContext {
    ProxyContext::new("shop").label("app", app).label("version", "v1").ip(ip.parse().unwrap())
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

#[test]
fn our_resources_mean_what_istiod_sent_to_a_server() {
    let Some(folder) = data::folder("istiod-captures") else {
        return;
    };
    let lowered = lower(&world(&folder, |text| text), &workload("order-service", "127.0.1.11"), &MeshConfig::default());
    let mut outcome = Outcome::default();
    for (kind, ours) in resources(&lowered) {
        let theirs = recorded(&folder.join("sidecar-server"), kind, 1, &mut outcome);
        outcome.compare(kind, ours, theirs);
    }
    // Two catch-alls and the strict port; the permissive port has a chain for plain text of its own.
    assert_eq!((outcome.tls_chains_compared, outcome.tls_chains_left_out), (3, 1));
    outcome.judge(LATER_NAMED, LATER_FIELDS);
}

#[test]
fn our_resources_mean_what_istiod_sent_to_a_client() {
    let Some(folder) = data::folder("istiod-captures") else {
        return;
    };
    let lowered = lower(&world(&folder, |text| text), &workload("frontend", "127.0.1.51"), &MeshConfig::default());
    let mut outcome = Outcome::default();
    // Recorded without redirection: no inbound clusters, and listeners on other addresses.
    for (kind, mut ours) in resources(&lowered).into_iter().filter(|(kind, _)| *kind != "lds") {
        ours.retain(|name, _| !name.starts_with("inbound|"));
        let theirs = recorded(&folder.join("sidecar-client"), kind, 1, &mut outcome);
        outcome.compare(kind, ours, theirs);
    }
    outcome.judge(&[], &[]);
}

#[test]
fn changed_objects_change_our_resources_as_istiod_changed_its_own() {
    let Some(folder) = data::folder("istiod-captures") else {
        return;
    };
    let live = folder.join("sidecar-client-live-change");
    let proxy = workload("frontend", "127.0.1.51");
    // At three seconds 80/20 became 50/50, at six an endpoint went away.
    let halves = |text: String| {
        text.replace("\n      weight: 80", "\n      weight: 50").replace("\n      weight: 20", "\n      weight: 50")
    };
    let without = |text: String| {
        let gone = "metadata: {name: order-v1-b, namespace: shop}";
        text.split("---\n").filter(|document| !document.contains(gone)).collect::<Vec<_>>().join("---\n")
    };
    let changes: [(&str, &dyn Fn(String) -> String); 2] = [("rds", &halves), ("eds", &without)];
    let mut outcome = Outcome::default();
    for (kind, edit) in changes {
        let lowered = lower(&world(&folder, edit), &proxy, &MeshConfig::default());
        let (_, mut ours) = resources(&lowered).into_iter().find(|(name, _)| *name == kind).unwrap();
        let theirs = recorded(&live, kind, 2, &mut outcome);
        // An increment carries what changed.
        ours.retain(|name, _| theirs.contains_key(name));
        outcome.compare(kind, ours, theirs);
    }
    outcome.judge(&[], &[]);
}

fn resources(lowered: &Lowered) -> Vec<(&'static str, BTreeMap<String, Value>)> {
    fn map<M: prost::Message + prost::Name>(list: &[M], name: impl Fn(&M) -> String) -> BTreeMap<String, Value> {
        list.iter().map(|message| (name(message), json::to_json_of(message).unwrap())).collect()
    }
    vec![
        ("cds", map(&lowered.clusters, |cluster| cluster.name.clone())),
        ("eds", map(&lowered.endpoints, |assignment| assignment.cluster_name.clone())),
        ("lds", map(&lowered.listeners, |listener| listener.name.clone())),
        ("rds", map(&lowered.routes, |route| route.name.clone())),
    ]
}

fn recorded(folder: &Path, kind: &str, number: u32, outcome: &mut Outcome) -> BTreeMap<String, Value> {
    let text = fs::read_to_string(folder.join(format!("{kind}.{number}.pb.b64"))).unwrap();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text.split_whitespace().collect::<String>()).unwrap();
    let response = DiscoveryResponse::decode(bytes.as_slice()).unwrap();
    let mut out = BTreeMap::new();
    for resource in &response.resources {
        let mut json = json::to_json(&resource.type_url, &resource.value).unwrap();
        outcome.plain_text_chains(&mut json);
        outcome.take_away(&mut json);
        let name = json.get("name").or_else(|| json.get("clusterName")).unwrap().as_str().unwrap().to_owned();
        out.insert(name, json);
    }
    out
}

#[derive(Default)]
struct Outcome {
    /// By kind: resources and leaf values that both sides have.
    compared: BTreeMap<&'static str, (usize, usize)>,
    used: BTreeSet<String>,
    tls_chains_compared: usize,
    tls_chains_left_out: usize,
    unexpected: Vec<String>,
}

impl Outcome {
    /// Mutual TLS comes later: a chain for it is left out where the port has one for plain text too, else it is compared with ours for plain text, apart
    /// from what makes it TLS.
    fn plain_text_chains(&mut self, json: &mut Value) {
        let Some(Value::Array(chains)) = json.get_mut("filterChains") else {
            return;
        };
        let transport = |chain: &Value| {
            chain.pointer("/filterChainMatch/transportProtocol").and_then(Value::as_str).map(str::to_owned)
        };
        let plain: BTreeSet<String> = chains
            .iter()
            .filter(|chain| transport(chain).as_deref() == Some("raw_buffer"))
            .map(|chain| chain["name"].to_string())
            .collect();
        let before = chains.len();
        chains
            .retain(|chain| transport(chain).as_deref() != Some("tls") || !plain.contains(&chain["name"].to_string()));
        self.tls_chains_left_out += before - chains.len();
        for chain in chains.iter_mut().filter(|chain| transport(chain).as_deref() == Some("tls")) {
            self.tls_chains_compared += 1;
            chain.as_object_mut().unwrap().remove("transportSocket");
            let conditions = chain["filterChainMatch"].as_object_mut().unwrap();
            conditions.insert("transportProtocol".to_owned(), "raw_buffer".into());
            if conditions.contains_key("applicationProtocols") {
                conditions.insert("applicationProtocols".to_owned(), serde_json::json!(["http/1.1", "h2c"]));
            }
        }
    }

    fn take_away(&mut self, json: &mut Value) {
        match json {
            Value::Object(map) => {
                for (field, _) in LATER_FIELDS {
                    if map.remove(*field).is_some() {
                        self.used.insert((*field).to_owned());
                    }
                }
                for value in map.values_mut() {
                    self.take_away(value);
                }
                map.retain(|_, value| *value != Value::Array(Vec::new()));
            }
            Value::Array(items) => {
                items.retain(|item| {
                    let name = item.get("name").and_then(Value::as_str);
                    let later = LATER_NAMED.iter().find(|(later, _)| Some(*later) == name);
                    self.used.extend(later.map(|(later, _)| (*later).to_owned()));
                    later.is_none()
                });
                for item in items {
                    self.take_away(item);
                }
            }
            _ => {}
        }
    }

    fn compare(&mut self, kind: &'static str, mut ours: BTreeMap<String, Value>, mut theirs: BTreeMap<String, Value>) {
        for json in ours.values_mut() {
            sort(json);
        }
        for json in theirs.values_mut() {
            sort(json);
        }
        let names: BTreeSet<_> = ours.keys().chain(theirs.keys()).cloned().collect();
        let count = self.compared.entry(kind).or_default();
        let mut differences = Vec::new();
        for name in names {
            match (ours.get(&name), theirs.get(&name)) {
                (Some(ours), Some(theirs)) => {
                    count.0 += 1;
                    let (mut ours_leaves, mut their_leaves) = (BTreeMap::new(), BTreeMap::new());
                    leaves("", ours, &mut ours_leaves);
                    leaves("", theirs, &mut their_leaves);
                    let paths: BTreeSet<_> = ours_leaves.keys().chain(their_leaves.keys()).collect();
                    for path in paths {
                        let pair = (ours_leaves.get(path), their_leaves.get(path));
                        if pair.0 == pair.1 {
                            count.1 += 1;
                        } else {
                            differences.push((
                                name.clone(),
                                path.clone(),
                                format!("ours {:?}, istiod {:?}", pair.0, pair.1),
                            ));
                        }
                    }
                }
                (ours, _) => differences.push((
                    name.clone(),
                    String::new(),
                    format!("only {}", if ours.is_some() { "ours" } else { "istiod's" }),
                )),
            }
        }
        self.unexpected
            .extend(differences.into_iter().map(|(name, path, what)| format!("{kind} {name} {path}: {what}")));
    }

    /// Fails on any difference, and on a row of the given tables that nothing needed.
    fn judge(&self, named: &[(&str, &str)], fields: &[(&str, &str)]) {
        println!("compared, by kind (resources, values): {:?}", self.compared);
        println!(
            "conformance: {} ran, 0 skipped",
            self.compared.values().map(|(resources, _)| resources).sum::<usize>()
        );
        assert!(self.unexpected.is_empty(), "differs without a reason:\n{}", self.unexpected.join("\n"));
        let stale: Vec<_> = named.iter().chain(fields).filter(|(row, _)| !self.used.contains(*row)).collect();
        assert!(stale.is_empty(), "rows that nothing needs: {stale:?}");
    }
}

/// Chains have names and an order that decides nothing; domains have none.
fn sort(json: &mut Value) {
    let Value::Object(map) = json else { return };
    if let Some(Value::Array(chains)) = map.get_mut("filterChains") {
        chains.sort_by_key(|chain| {
            format!(
                "{}{}",
                chain.get("name").unwrap_or(&Value::Null),
                chain.get("filterChainMatch").unwrap_or(&Value::Null)
            )
        });
    }
}

fn leaves(path: &str, json: &Value, out: &mut BTreeMap<String, Value>) {
    match json {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                leaves(&format!("{path}.{key}"), value, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, value) in items.iter().enumerate() {
                leaves(&format!("{path}[{index}]"), value, out);
            }
        }
        leaf => drop(out.insert(path.to_owned(), leaf.clone())),
    }
}

//! Batches: each resource on its own, whatever the others are.
#![allow(clippy::unwrap_used, reason = "a failing test is what unwrap is for")]

use std::time::SystemTime;

use mesh_core::resource::{ResourceKind, ResourceName};
use mesh_core::snapshot::status::StatusBoard;
use mesh_core::snapshot::{Change, Compiler};
use mesh_proto::envoy::service::discovery::v3 as discovery;
use mesh_proto::google::protobuf::Any;
use mesh_proto::prost::Message;
use mesh_proto::{json, type_url};
use mesh_xds::decode::{self, Batch, Resource, UnknownType, Verdicts};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn resource(type_url: &str, config: &Json) -> Resource {
    let value = json::encode(type_url, config).unwrap().into();
    Resource { type_url: type_url.to_owned(), name: None, version: "1".into(), value }
}

fn cluster(name: &str, fields: Json) -> Resource {
    let mut config = json!({ "name": name });
    for (key, value) in fields.as_object().unwrap() {
        config[key] = value.clone();
    }
    resource(type_url::CLUSTER, &config)
}

fn batch(resources: impl IntoIterator<Item = Resource>) -> Verdicts {
    let mut batch = Batch::new();
    for one in resources {
        batch.add(one).unwrap();
    }
    batch.finish()
}

fn routes(regex: &str) -> Resource {
    let route = json!({ "match": { "safe_regex": { "regex": regex } }, "route": { "cluster": "c" } });
    let host = json!({ "name": "v", "domains": ["*"], "routes": [route] });
    resource(type_url::ROUTE_CONFIGURATION, &json!({ "name": "r", "virtual_hosts": [host] }))
}

#[test]
fn f08_one_bad_cluster_of_a_thousand_leaves_the_others_in_force() {
    let bad = 617;
    let one = |at: usize| {
        let fields = if at == bad { json!({ "connect_timeout": "0s" }) } else { json!({}) };
        cluster(&format!("c{at}"), fields)
    };
    let verdicts = batch((0..1000).map(one));
    assert_eq!(verdicts.accepted.len(), 999);
    let refused: Vec<String> = verdicts.refused.iter().map(ToString::to_string).collect();
    assert_eq!(refused, ["Cluster/c617: connect_timeout: 0s must be above 0s"]);
    let (snapshot, late) = Compiler::new(1).apply(verdicts.update);
    assert!(late.is_empty());
    assert_eq!(snapshot.clusters().count(), 999);
    assert!(snapshot.cluster_by_name("c617").is_none() && snapshot.cluster_by_name("c618").is_some());
}

#[test]
fn of_two_resources_with_one_name_the_first_counts() {
    let verdicts =
        batch([cluster("c", json!({})), cluster("c", json!({ "lb_policy": "RANDOM" })), cluster("d", json!({}))]);
    assert_eq!(verdicts.accepted.len(), 2);
    assert_eq!(verdicts.refused[0].to_string(), "Cluster/c: name: is there twice");
}

#[test]
fn an_envelope_gives_name_and_version_and_the_name_must_be_right() {
    let envelope = |name: &str| {
        let inner = cluster("c", json!({}));
        let any = Any { type_url: inner.type_url, value: inner.value.to_vec() };
        let message = discovery::Resource {
            name: name.to_owned(),
            version: "7".to_owned(),
            resource: Some(any),
            ..discovery::Resource::default()
        };
        Resource {
            type_url: type_url::RESOURCE.to_owned(),
            name: None,
            version: "1".into(),
            value: message.encode_to_vec().into(),
        }
    };
    let verdicts = batch([envelope("c")]);
    assert_eq!(&*verdicts.accepted[0].version, "7");
    assert_eq!(&*verdicts.accepted[0].name.name, "c");
    let verdicts = batch([envelope("other")]);
    assert_eq!(verdicts.refused[0].to_string(), "Cluster/c: name: was sent as \"other\"");
}

#[test]
fn f07_bytes_that_are_no_message_are_a_refusal_under_the_name_they_were_sent_as() {
    let broken = Resource { name: Some("c".into()), value: vec![0xff, 0xff].into(), ..cluster("c", json!({})) };
    let verdicts = batch([broken, cluster("d", json!({}))]);
    assert_eq!(verdicts.accepted.len(), 1);
    assert!(verdicts.refused[0].to_string().starts_with("Cluster/c: (resource): malformed Cluster"));
}

#[test]
fn a_type_that_is_not_decoded_here_is_an_error_of_the_caller() {
    let secret = Resource { type_url: type_url::SECRET.to_owned(), ..cluster("c", json!({})) };
    assert_eq!(Batch::new().add(secret), Err(UnknownType(type_url::SECRET.to_owned())));
    assert_eq!(decode::kind("type.googleapis.com/envoy.config.cluster.v3.Cluster"), Some(ResourceKind::Cluster));
    assert_eq!(decode::type_url(ResourceKind::Listener), type_url::LISTENER);
}

#[test]
fn removals_reach_the_update() {
    let mut batch = Batch::new();
    let kinds = [
        ResourceKind::Listener,
        ResourceKind::RouteConfiguration,
        ResourceKind::Cluster,
        ResourceKind::ClusterLoadAssignment,
    ];
    for kind in kinds {
        batch.remove(ResourceName::new(kind, "x"));
    }
    let verdicts = batch.finish();
    let update = &verdicts.update;
    assert!(matches!(update.listeners.as_slice(), [Change::Remove(name)] if &**name == "x"));
    assert!(matches!(update.routes.as_slice(), [Change::Remove(name)] if &**name == "x"));
    assert!(matches!(update.clusters.as_slice(), [Change::Remove(name)] if &**name == "x"));
    assert!(matches!(update.endpoints.as_slice(), [(name, None)] if &**name == "x"));
}

#[test]
fn the_board_keeps_the_last_good_version_beside_a_refusal_of_either_judge() {
    let (mut board, mut compiler) = (StatusBoard::default(), Compiler::new(1));
    let mut apply = |board: &mut StatusBoard, resource: Resource, version: &str| {
        let mut verdicts = batch([Resource { version: version.into(), ..resource }]);
        let (_, late) = compiler.apply(std::mem::take(&mut verdicts.update));
        verdicts.record(late, board, SystemTime::UNIX_EPOCH);
    };
    let name = ResourceName::new(ResourceKind::RouteConfiguration, "r");
    apply(&mut board, routes("/a"), "1");
    let status = board.find(&name).unwrap();
    assert_eq!(status.in_force.as_ref().map(|one| &*one.version), Some("1"));
    assert_eq!(status.refused, None);
    // The decoder refuses an empty regular expression, the compiler one that is none.
    for bad in ["", "("] {
        apply(&mut board, routes(bad), "2");
        let status = board.find(&name).unwrap();
        assert_eq!(status.in_force.as_ref().map(|one| &*one.version), Some("1"), "{bad:?}");
        assert!(status.refused.is_some(), "{bad:?}");
    }
    apply(&mut board, routes("/b"), "3");
    let status = board.find(&name).unwrap();
    assert_eq!(
        status.in_force.as_ref().map(|one| (&*one.version, one.type_url)),
        Some(("3", type_url::ROUTE_CONFIGURATION))
    );
    assert_eq!(status.refused, None);
}

#[test]
fn f25_deep_nesting_is_refused_wherever_it_is() {
    let nest = |depth: usize, seed: Json, wrap: &dyn Fn(Json) -> Json| (0..depth).fold(seed, |inner, _| wrap(inner));
    let metadata = |json: Json| json!({ "name": "c", "metadata": { "filter_metadata": { "x": json } } });
    // Deeper than the JSON reader goes, so it is put together from bytes: a Struct in a Value in a Struct, 10,000 times.
    let mut value: Vec<u8> = Vec::new();
    for _ in 0..10_000 {
        value = field(1, &[field(1, b"k"), field(2, &field(5, &value))].concat());
    }
    let entry = [field(1, b"x"), field(2, &value)].concat();
    let message = [field(1, b"c"), field(25, &field(1, &entry))].concat();
    assert!(decode::cluster(&message).is_err());
    let shallow = nest(10, json!({}), &|inner| json!({ "k": inner }));
    assert!(decode::cluster(&resource(type_url::CLUSTER, &metadata(shallow)).value).is_ok());
    // An extension in an extension: each is bytes to the one around it.
    let any = |inner: &[u8]| [field(1, type_url::ROUTE_FILTER_CONFIG.as_bytes()), field(2, &field(1, inner))].concat();
    let mut config = any(&[]);
    for _ in 0..5_000 {
        config = any(&config);
    }
    let entry = [field(1, b"f"), field(2, &config)].concat();
    let host = [field(1, b"v"), field(2, b"*"), field(15, &entry)].concat();
    let message = [field(1, b"r"), field(2, &host)].concat();
    assert!(decode::route_configuration(&message).is_err());
}

/// A length-delimited field.
fn field(number: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 8);
    mesh_proto::prost::encoding::encode_varint(u64::from(number << 3 | 2), &mut out);
    mesh_proto::prost::encoding::encode_varint(payload.len() as u64, &mut out);
    out.extend_from_slice(payload);
    out
}

const KINDS: [ResourceKind; 4] = [
    ResourceKind::Listener,
    ResourceKind::RouteConfiguration,
    ResourceKind::Cluster,
    ResourceKind::ClusterLoadAssignment,
];

fn fixtures() -> Vec<(ResourceKind, Vec<u8>)> {
    let texts = [
        (ResourceKind::RouteConfiguration, include_str!("../src/decode/reads/fixtures/routes.json")),
        (ResourceKind::Listener, include_str!("../src/decode/reads/fixtures/listeners.json")),
        (ResourceKind::Cluster, include_str!("../src/decode/reads/fixtures/clusters.json")),
        (ResourceKind::ClusterLoadAssignment, include_str!("../src/decode/reads/fixtures/endpoints.json")),
    ];
    let encode = |(kind, text): (ResourceKind, &str)| {
        let list: Vec<Json> = serde_json::from_str(text).unwrap();
        list.into_iter().map(move |one| (kind, json::encode(decode::type_url(kind), &one).unwrap())).collect::<Vec<_>>()
    };
    texts.into_iter().flat_map(encode).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn f07_garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0..KINDS.len()) {
        let _ = decode::resource(KINDS[kind], &bytes);
    }

    #[test]
    fn f07_a_damaged_resource_never_panics(
        which in any::<prop::sample::Index>(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let fixtures = fixtures();
        let (kind, mut bytes) = fixtures[which.index(fixtures.len())].clone();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = decode::resource(kind, &bytes);
        bytes.truncate(cut.index(bytes.len()));
        let _ = decode::resource(kind, &bytes);
    }

    #[test]
    fn f08_which_resources_are_accepted_does_not_depend_on_the_others(bad in proptest::collection::vec(any::<bool>(), 1..20)) {
        let one = |(at, bad): (usize, &bool)| {
            cluster(&format!("c{at}"), if *bad { json!({ "lb_policy": "CLUSTER_PROVIDED" }) } else { json!({}) })
        };
        let verdicts = batch(bad.iter().enumerate().map(one));
        let refused: Vec<String> = verdicts.refused.iter().map(|one| one.resource.name.to_string()).collect();
        let expected: Vec<String> = bad.iter().enumerate().filter(|(_, bad)| **bad).map(|(at, _)| format!("c{at}")).collect();
        prop_assert_eq!(refused, expected);
        prop_assert_eq!(verdicts.accepted.len() + verdicts.refused.len(), bad.len());
    }
}

//! What a real istiod sent to sidecars and gRPC clients: every resource is judged, and each refusal is one that the
//! rules of this version ask for.
#![allow(clippy::unwrap_used, reason = "a failing test is what unwrap is for")]

mod data;

use std::collections::BTreeMap;

use base64::Engine;
use mesh_core::resource::Invalid;
use mesh_core::resource::cluster::TransportSocket;
use mesh_core::resource::metadata::Value;
use mesh_core::snapshot::{Change, Compiler};
use mesh_proto::envoy::service::discovery::v3::DiscoveryResponse;
use mesh_proto::prost::Message;
use mesh_xds::decode::{self, Batch, Resource, Verdicts};

const CLIENTS: &[&str] =
    &["sidecar-client", "sidecar-client-live-change", "sidecar-server", "grpc-client", "grpc-server"];

const UPSTREAM_TLS: &str = "transport_socket: TLS towards upstreams is not supported";
const DOWNSTREAM_TLS: &str = "filter_chains[0].transport_socket: TLS of downstream connections is not supported";
const INBOUND_JWT: &str = "filter_chains[1].filters[1].typed_config.http_filters[2]: HTTP filter \"envoy.filters.http.jwt_authn\" of type \"type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication\" is not supported";

/// Client and kind, how many are accepted, why and how many are refused.
type Expected = (&'static str, &'static str, usize, Option<(&'static str, usize)>);

/// Of the sidecars, only clusters with a
/// `DestinationRule` that says ISTIO_MUTUAL and the inbound listener with its JWT and RBAC are.
const EXPECTED: &[Expected] = &[
    ("grpc-client", "Cluster", 3, Some((UPSTREAM_TLS, 6))),
    ("grpc-client", "ClusterLoadAssignment", 9, None),
    ("grpc-client", "Listener", 7, None),
    ("grpc-client", "RouteConfiguration", 7, None),
    ("grpc-server", "Listener", 0, Some((DOWNSTREAM_TLS, 2))),
    ("sidecar-client", "Cluster", 9, Some((UPSTREAM_TLS, 9))),
    ("sidecar-client", "ClusterLoadAssignment", 14, None),
    ("sidecar-client", "Listener", 4, None),
    ("sidecar-client", "RouteConfiguration", 3, None),
    ("sidecar-client-live-change", "Cluster", 18, Some((UPSTREAM_TLS, 18))),
    ("sidecar-client-live-change", "ClusterLoadAssignment", 20, None),
    ("sidecar-client-live-change", "Listener", 8, None),
    ("sidecar-client-live-change", "RouteConfiguration", 6, None),
    ("sidecar-server", "Cluster", 11, Some((UPSTREAM_TLS, 9))),
    ("sidecar-server", "ClusterLoadAssignment", 14, None),
    ("sidecar-server", "Listener", 5, Some((INBOUND_JWT, 1))),
    ("sidecar-server", "RouteConfiguration", 3, None),
];

fn responses(folder: &std::path::Path) -> Vec<(String, DiscoveryResponse)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".pb.b64"))
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let text: String = std::fs::read_to_string(&path).unwrap().split_whitespace().collect();
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, DiscoveryResponse::decode(bytes.as_slice()).unwrap())
        })
        .collect()
}

fn judge(response: DiscoveryResponse) -> Verdicts {
    let mut batch = Batch::new();
    for any in response.resources {
        let version = response.version_info.as_str().into();
        let resource = Resource { type_url: any.type_url, name: None, version, value: any.value.into() };
        batch.add(resource).unwrap();
    }
    batch.finish()
}

#[test]
fn every_captured_resource_is_accepted_or_refused_for_a_reason_of_this_version() {
    let Some(folder) = data::folder("istiod-captures") else {
        return data::report(0, 1);
    };
    let mut ran = 0;
    let mut found: BTreeMap<(String, String), (usize, Vec<Invalid>)> = BTreeMap::new();
    for client in CLIENTS {
        for (file, response) in responses(&folder.join(client)) {
            ran += response.resources.len();
            let kind = decode::kind(&response.type_url).unwrap().to_string();
            let verdicts = judge(response);
            let (_, late) = Compiler::new(1).apply(verdicts.update);
            assert!(late.is_empty(), "{client}/{file}: what is accepted compiles: {late:?}");
            let entry = found.entry(((*client).to_owned(), kind)).or_default();
            entry.0 += verdicts.accepted.len();
            entry.1.extend(verdicts.refused);
        }
    }
    assert_eq!(found.len(), EXPECTED.len());
    for (client, kind, accepted, refused) in EXPECTED {
        let (found_accepted, found_refused) = &found[&((*client).to_owned(), (*kind).to_owned())];
        println!("{client} {kind}: {found_accepted} accepted, {} refused", found_refused.len());
        let reasons: Vec<String> = found_refused.iter().map(|one| format!("{}: {}", one.field, one.problem)).collect();
        assert_eq!(*found_accepted, *accepted, "{client} {kind}");
        let (reason, count) = refused.unwrap_or_default();
        assert_eq!(reasons, vec![reason; count], "{client} {kind}");
    }
    data::report(ran, 0);
}

#[test]
fn an_endpoint_that_asks_for_mutual_tls_is_not_to_be_spoken_to_in_plain_text() {
    let Some(folder) = data::folder("istiod-captures") else {
        return data::report(0, 1);
    };
    let mut verdicts = Vec::new();
    for (_, response) in responses(&folder.join("sidecar-client")) {
        verdicts.push(judge(response).update);
    }
    let name = "outbound|8080||frontend.shop.svc.cluster.local";
    let cluster = verdicts.iter().flat_map(|update| &update.clusters).find_map(|change| match change {
        Change::Set(cluster) if &*cluster.name == name => Some(cluster),
        _ => None,
    });
    let (cluster, mut asked) = (cluster.unwrap(), 0);
    let assignments = verdicts.iter().flat_map(|update| &update.endpoints).filter(|(service, _)| &**service == name);
    for endpoint in assignments.flat_map(|(_, one)| &one.as_ref().unwrap().localities).flat_map(|one| &one.endpoints) {
        let mode = endpoint.metadata.get("envoy.transport_socket_match").and_then(|one| one.at(["tlsMode"]));
        let expected = match mode.and_then(Value::as_text) {
            Some("istio") => TransportSocket::Tls,
            _ => TransportSocket::RawBuffer,
        };
        assert_eq!(cluster.transport_socket(&endpoint.metadata), expected);
        asked += usize::from(expected == TransportSocket::Tls);
    }
    assert!(asked > 0, "some endpoint asks for mutual TLS");
    data::report(asked, 0);
}

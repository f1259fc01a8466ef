//! `transport_socket` and `transport_socket_matches`: what secures connections to a cluster's endpoints.

use std::collections::BTreeMap;

use mesh_core::resource::cluster::{TransportSocket, TransportSocketMatch};
use mesh_core::resource::metadata::Value;
use mesh_proto::envoy::config::cluster::v3 as pb;
use mesh_proto::envoy::config::core::v3::{self as core, transport_socket::ConfigType};

use super::super::context::Context;
use super::super::extension::Extension;
use super::super::refused::{At, Refused, unsupported};
use super::super::scalar::structure;

/// `at` is the cluster. The socket of endpoints that nothing matches must be plain text.
pub(super) fn matches(
    cx: &mut Context,
    at: &At<'_>,
    message: &pb::Cluster,
) -> Result<Vec<TransportSocketMatch>, Refused> {
    let default_at = at.field("transport_socket");
    if socket(&default_at, message.transport_socket.as_ref())? == TransportSocket::Tls {
        return Err(unsupported(&default_at, "TLS towards upstreams"));
    }
    let list = at.field("transport_socket_matches");
    let entries = message.transport_socket_matches.iter().enumerate();
    let entries = entries.map(|(index, entry)| {
        let at = list.index(index);
        let socket = socket(&at.field("transport_socket"), entry.transport_socket.as_ref())?;
        if socket == TransportSocket::Tls {
            cx.left_out(
                &at.field("transport_socket"),
                "TLS towards upstreams is not there yet: the endpoints it is for get no traffic",
            );
        }
        let matches = match entry.r#match.clone().map(structure) {
            Some(Value::Struct(fields)) => fields,
            _ => BTreeMap::new(),
        };
        Ok(TransportSocketMatch { name: entry.name.as_str().into(), matches, socket })
    });
    entries.collect()
}

fn socket(at: &At<'_>, message: Option<&core::TransportSocket>) -> Result<TransportSocket, Refused> {
    let Some(message) = message else {
        return Ok(TransportSocket::RawBuffer);
    };
    let kind = match &message.config_type {
        Some(ConfigType::TypedConfig(any)) => Extension::of(&at.field("typed_config"), any)?.type_name().to_owned(),
        None => message.name.clone(),
    };
    match kind.as_str() {
        "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer" | "envoy.transport_sockets.raw_buffer" => {
            Ok(TransportSocket::RawBuffer)
        }
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext" | "envoy.transport_sockets.tls" => {
            Ok(TransportSocket::Tls)
        }
        _ => Err(unsupported(at, format!("a transport socket of type {kind:?}"))),
    }
}

//! `FilterChain.filters`: network filters, of which the last says what happens to a connection.

use mesh_core::resource::listener::ChainHandler;
use mesh_core::resource::{Name, Problem};
use mesh_proto::envoy::config::listener::v3 as pb;
use mesh_proto::envoy::extensions::filters::network::tcp_proxy::v3 as tcp;
use pb::filter::ConfigType;

use super::super::context::Context;
use super::super::extension::Extension;
use super::super::refused::{At, Refused, refuse, unsupported};
use super::manager;

const HTTP_CONNECTION_MANAGER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const TCP_PROXY: &str = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";

/// Filters that only count, or tell peers about one another: they narrow nobody's access.
const LEFT_OUT: &[&str] = &["envoy.tcp.metadataexchange.config.MetadataExchange", "stats.PluginConfig"];

/// What a chain with these filters does with its connections; `at` is the list.
pub(super) fn handler(cx: &mut Context, at: &At<'_>, filters: &[pb::Filter]) -> Result<ChainHandler, Refused> {
    let Some((last, others)) = filters.split_last() else {
        return Err(refuse(at, "a chain without filters closes every connection, which is not supported"));
    };
    for (index, filter) in others.iter().enumerate() {
        let at = at.index(index);
        let extension = config(&at, filter)?;
        let kind = extension.type_name();
        if kind == HTTP_CONNECTION_MANAGER || kind == TCP_PROXY {
            return Err(refuse(&at, format!("{:?} must be the last filter of its chain", filter.name)));
        }
        if !LEFT_OUT.contains(&kind) {
            return Err(not_known(&at, filter, &extension));
        }
        cx.left_out(&at, format!("network filter {kind} is not in force"));
    }
    let at = at.index(others.len());
    let extension = config(&at, last)?;
    let config_at = at.field("typed_config");
    match extension.type_name() {
        HTTP_CONNECTION_MANAGER => Ok(ChainHandler::Http(manager::manager(cx, &config_at, &extension)?.into())),
        TCP_PROXY => Ok(ChainHandler::Tcp { cluster: tcp_proxy(&config_at, &extension)? }),
        kind if LEFT_OUT.contains(&kind) => Err(refuse(&at, "the last filter of a chain must be terminal")),
        _ => Err(not_known(&at, last, &extension)),
    }
}

fn config<'a>(at: &At<'_>, filter: &'a pb::Filter) -> Result<Extension<'a>, Refused> {
    match &filter.config_type {
        Some(ConfigType::TypedConfig(any)) => Extension::of(&at.field("typed_config"), any),
        Some(ConfigType::ConfigDiscovery(_)) => {
            Err(unsupported(&at.field("config_discovery"), "extension config discovery"))
        }
        None => Err(refuse(&at.field("config_type"), Problem::Missing)),
    }
}

fn not_known(at: &At<'_>, filter: &pb::Filter, extension: &Extension<'_>) -> Refused {
    unsupported(at, format!("network filter {:?} of type {:?}", filter.name, extension.type_url()))
}

fn tcp_proxy(at: &At<'_>, extension: &Extension<'_>) -> Result<Name, Refused> {
    use tcp::tcp_proxy::ClusterSpecifier;
    let message: tcp::TcpProxy = extension.message(at)?;
    if message.tunneling_config.is_some() {
        return Err(unsupported(&at.field("tunneling_config"), "a tunnel"));
    }
    match message.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) if name.is_empty() => Err(refuse(&at.field("cluster"), Problem::Missing)),
        Some(ClusterSpecifier::Cluster(name)) => Ok(name.into()),
        Some(ClusterSpecifier::WeightedClusters(_)) => {
            Err(unsupported(&at.field("weighted_clusters"), "a split of TCP connections"))
        }
        None => Err(refuse(&at.field("cluster_specifier"), Problem::Missing)),
    }
}

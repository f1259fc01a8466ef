//! Network and HTTP filters as istiod chains them: connection manager, TCP proxy; Mixer's quota, fault, CORS, router.
//!
//! Filters of telemetry, security and extensions come with their own issues; their places in the order are in Istio's documentation.

use mesh_proto::any::pack;
use mesh_proto::envoy::config::listener::v3::{Filter, ListenerFilter, filter, listener_filter};
use mesh_proto::envoy::extensions::filters::http::{cors::v3::Cors, fault::v3::HttpFault, router::v3::Router};
use mesh_proto::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use mesh_proto::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    ForwardClientCertDetails, PathWithEscapedSlashesAction, RouteSpecifier, SetCurrentClientCertDetails, UpgradeConfig,
};
use mesh_proto::envoy::extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy};
use mesh_proto::google::protobuf::Any;
use mesh_proto::mixer::Quotas;

use super::values::{bool_value, seconds};

pub(super) const FAULT: &str = "envoy.filters.http.fault";
const QUOTA: &str = "mesh.mixer.quota";
pub(super) const CORS: &str = "envoy.filters.http.cors";

fn http_filter(name: &str, config: Any) -> hcm::HttpFilter {
    hcm::HttpFilter {
        name: name.to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(config)),
        ..hcm::HttpFilter::default()
    }
}

fn manager(stat_prefix: String, route: RouteSpecifier) -> hcm::HttpConnectionManager {
    let mut manager = hcm::HttpConnectionManager {
        stat_prefix,
        http_filters: vec![
            http_filter(FAULT, pack(&HttpFault::default())),
            http_filter(CORS, pack(&Cors::default())),
            http_filter("envoy.filters.http.router", pack(&Router::default())),
        ],
        stream_idle_timeout: seconds(0),
        use_remote_address: bool_value(false),
        proxy_100_continue: true,
        upgrade_configs: vec![UpgradeConfig { upgrade_type: "websocket".to_owned(), ..UpgradeConfig::default() }],
        normalize_path: bool_value(true),
        route_specifier: Some(route),
        ..hcm::HttpConnectionManager::default()
    };
    manager.set_path_with_escaped_slashes_action(PathWithEscapedSlashesAction::KeepUnchanged);
    manager
}

fn network(name: &str, config: Any) -> Filter {
    Filter { name: name.to_owned(), config_type: Some(filter::ConfigType::TypedConfig(config)) }
}

const MANAGER: &str = "envoy.filters.network.http_connection_manager";

/// The connection manager of an outbound listener.
pub(super) fn outbound_http(stat_prefix: String, route: RouteSpecifier) -> Filter {
    network(MANAGER, pack(&manager(stat_prefix, route)))
}

/// The connection manager of a gateway: callers are strangers, so nothing that they say of themselves is believed.
pub(super) fn gateway_http(stat_prefix: String, route: RouteSpecifier) -> Filter {
    let mut manager = manager(stat_prefix, route);
    "istio-envoy".clone_into(&mut manager.server_name);
    manager.use_remote_address = bool_value(true);
    manager.set_forward_client_cert_details(ForwardClientCertDetails::SanitizeSet);
    manager.set_current_client_cert_details = Some(SetCurrentClientCertDetails {
        subject: bool_value(true),
        cert: true,
        dns: true,
        uri: true,
        ..SetCurrentClientCertDetails::default()
    });
    network(MANAGER, pack(&manager))
}

/// The connection manager of an inbound chain.
pub(super) fn inbound_http(stat_prefix: String, route: RouteSpecifier, http2: bool, quotas: Option<&Quotas>) -> Filter {
    let mut manager = manager(stat_prefix, route);
    if let Some(quotas) = quotas {
        manager.http_filters.insert(0, http_filter(QUOTA, quotas.to_any()));
    }
    "istio-envoy".clone_into(&mut manager.server_name);
    manager.set_forward_client_cert_details(ForwardClientCertDetails::AppendForward);
    manager.set_current_client_cert_details = Some(SetCurrentClientCertDetails {
        subject: bool_value(true),
        dns: true,
        uri: true,
        ..SetCurrentClientCertDetails::default()
    });
    manager.http2_protocol_options = http2.then(Default::default);
    network(MANAGER, pack(&manager))
}

/// Bytes to one cluster.
pub(super) fn tcp(stat_prefix: &str, cluster: &str) -> Filter {
    let proxy = TcpProxy {
        stat_prefix: stat_prefix.to_owned(),
        cluster_specifier: Some(tcp_proxy::ClusterSpecifier::Cluster(cluster.to_owned())),
        ..TcpProxy::default()
    };
    network("envoy.filters.network.tcp_proxy", pack(&proxy))
}

/// A listener filter.
pub(super) fn listener(name: &str, config: Any) -> ListenerFilter {
    ListenerFilter {
        name: name.to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(config)),
        ..ListenerFilter::default()
    }
}

//! HTTP options of a cluster: which HTTP, how long a connection lives, keep-alive. From `connectionPool` and the port's protocol.

use mesh_proto::any::pack;
use mesh_proto::envoy::config::cluster::v3::{Cluster, UpstreamConnectionOptions};
use mesh_proto::envoy::config::core::v3 as core;
use mesh_proto::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use mesh_proto::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig, explicit_http_config::ProtocolConfig,
};

use super::values::{duration, u32_value};
use crate::mesh_config::MeshConfig;
use crate::object::{ConnectionPoolSettings, H2UpgradePolicy, HttpSettings};
use crate::registry::Protocol;

const NAME: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// Sets `typed_extension_protocol_options`, when there is anything to say.
pub(super) fn apply(
    cluster: &mut Cluster,
    pool: Option<&ConnectionPoolSettings>,
    protocol: Protocol,
    mesh: &MeshConfig,
) {
    let http = pool.and_then(|pool| pool.http.as_ref());
    let common = common(pool);
    let Some(upstream) = upstream(http, protocol, mesh, common.is_some()) else {
        return;
    };
    put(cluster, common, upstream);
}

pub(super) fn put(cluster: &mut Cluster, common: Option<core::HttpProtocolOptions>, upstream: UpstreamProtocolOptions) {
    let options = HttpProtocolOptions {
        common_http_protocol_options: common,
        upstream_protocol_options: Some(upstream),
        ..HttpProtocolOptions::default()
    };
    cluster.typed_extension_protocol_options.insert(NAME.to_owned(), pack(&options));
}

/// Whatever the caller spoke.
pub(super) fn as_downstream(http2: core::Http2ProtocolOptions) -> UpstreamProtocolOptions {
    UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
        http_protocol_options: Some(core::Http1ProtocolOptions::default()),
        http2_protocol_options: Some(http2),
        ..UseDownstreamHttpConfig::default()
    })
}

fn upstream(
    http: Option<&HttpSettings>,
    protocol: Protocol,
    mesh: &MeshConfig,
    has_common: bool,
) -> Option<UpstreamProtocolOptions> {
    let explicit =
        |config| UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config: Some(config) });
    let upgrade = match http.map(|http| http.h2_upgrade_policy).unwrap_or_default() {
        H2UpgradePolicy::Upgrade => protocol.is_http_or_auto(),
        H2UpgradePolicy::DoNotUpgrade => false,
        // The mesh's wish holds for ports that say they are HTTP.
        H2UpgradePolicy::Default => mesh.h2_upgrade && protocol == Protocol::Http,
    };
    if http.is_some_and(|http| http.use_client_protocol) {
        return Some(as_downstream(http2(http)));
    }
    if protocol.is_http2() || upgrade {
        return Some(explicit(ProtocolConfig::Http2ProtocolOptions(http2(http))));
    }
    match protocol {
        Protocol::Auto => Some(as_downstream(http2(http))),
        // Nothing to say is said by nothing: HTTP/1.1 with Envoy's defaults.
        _ if has_common => Some(explicit(ProtocolConfig::HttpProtocolOptions(core::Http1ProtocolOptions::default()))),
        _ => None,
    }
}

fn http2(http: Option<&HttpSettings>) -> core::Http2ProtocolOptions {
    let Some(http) = http else {
        return core::Http2ProtocolOptions::default();
    };
    core::Http2ProtocolOptions {
        max_concurrent_streams: u32::try_from(http.max_concurrent_streams)
            .ok()
            .filter(|streams| *streams > 0)
            .and_then(u32_value),
        connection_keepalive: http.http2_keep_alive.as_ref().map(|keepalive| core::KeepaliveSettings {
            interval: keepalive.interval.map(duration),
            timeout: keepalive.timeout.map(duration),
            ..core::KeepaliveSettings::default()
        }),
        ..core::Http2ProtocolOptions::default()
    }
}

fn common(pool: Option<&ConnectionPoolSettings>) -> Option<core::HttpProtocolOptions> {
    let tcp = pool.and_then(|pool| pool.tcp.as_ref());
    let http = pool.and_then(|pool| pool.http.as_ref());
    let idle = http.and_then(|http| http.idle_timeout).or_else(|| tcp.and_then(|tcp| tcp.idle_timeout));
    let requests =
        http.and_then(|http| u32::try_from(http.max_requests_per_connection).ok()).filter(|requests| *requests > 0);
    let age = tcp.and_then(|tcp| tcp.max_connection_duration);
    if idle.is_none() && requests.is_none() && age.is_none() {
        return None;
    }
    Some(core::HttpProtocolOptions {
        idle_timeout: idle.map(duration),
        max_requests_per_connection: requests.and_then(u32_value),
        max_connection_duration: age.map(duration),
        ..core::HttpProtocolOptions::default()
    })
}

/// TCP keep-alive of upstream connections.
pub(super) fn keepalive(pool: Option<&ConnectionPoolSettings>) -> Option<UpstreamConnectionOptions> {
    let keepalive = pool.and_then(|pool| pool.tcp.as_ref()).and_then(|tcp| tcp.tcp_keepalive.as_ref())?;
    let seconds = |value: Option<std::time::Duration>| {
        value.and_then(|value| u32::try_from(value.as_secs()).ok()).filter(|seconds| *seconds > 0).and_then(u32_value)
    };
    Some(UpstreamConnectionOptions {
        tcp_keepalive: Some(core::TcpKeepalive {
            keepalive_probes: Some(keepalive.probes).filter(|probes| *probes > 0).and_then(u32_value),
            keepalive_time: seconds(keepalive.time),
            keepalive_interval: seconds(keepalive.interval),
        }),
        ..UpstreamConnectionOptions::default()
    })
}

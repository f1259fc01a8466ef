//! `envoy.config.cluster.v3.Cluster`.
//!
//! A cluster that asks for TLS is refused until there is an identity to speak it with: never downgraded to plain text.
//! Where only some endpoints ask for it (`transport_socket_matches`, what istiod sends for auto mTLS), the cluster
//! is kept together with the rule, and those endpoints get no traffic.

mod balancing;
mod breakers;
mod discovery;
mod health_check;
mod lb_policy;
mod outlier_detection;
mod protocol;
mod transport;

use std::sync::Arc;
use std::time::Duration;

pub(super) use self::protocol::http2 as http2_options;

use mesh_core::resource::Problem;
use mesh_core::resource::cluster::{Cluster, TcpKeepalive};
use mesh_proto::envoy::config::cluster::v3 as pb;

use super::context::Context;
use super::extension::Extension;
use super::refused::{At, Refused, refuse, unsupported};
use super::scalar::{duration, metadata, number, percent};

/// Upstream network filters that only tell the peer about us.
const HARMLESS_FILTERS: &[&str] = &["envoy.tcp.metadataexchange.config.MetadataExchange"];

/// A cluster.
pub(super) fn cluster(cx: &mut Context, at: &At<'_>, message: pb::Cluster) -> Result<Cluster, Refused> {
    if message.name.is_empty() {
        return Err(refuse(&at.field("name"), Problem::Missing));
    }
    refuse_what_cannot_be_left_out(cx, at, &message)?;
    let discovery = discovery::discovery(cx, at, &message)?;
    let options = protocol::options(cx, at, &message)?;
    let common = message.common_lb_config.clone().unwrap_or_default();
    let panic =
        percent(&at.field("common_lb_config").field("healthy_panic_threshold"), common.healthy_panic_threshold)?;
    let mut cluster = Cluster::new(message.name.as_str(), discovery);
    if let Some(timeout) = duration(&at.field("connect_timeout"), message.connect_timeout)? {
        cluster.connect_timeout = timeout;
    }
    lb_policy::lb_policy(cx, at, &message)?.put_into(&mut cluster);
    // Envoy compares whole percents.
    cluster.healthy_panic_threshold = panic.map_or(cluster.healthy_panic_threshold, f64::round);
    if let Some(window) =
        duration(&at.field("common_lb_config").field("update_merge_window"), common.update_merge_window)?
    {
        cluster.update_merge_window = window;
    }
    if let Some(settings) = &message.outlier_detection {
        let at = at.field("outlier_detection");
        cluster.outlier_detection = Some(outlier_detection::outlier_detection(&at, settings)?);
    }
    cluster.health_check =
        health_check::health_check(&at.field("health_checks"), &message.health_checks)?.map(Arc::new);
    cluster.ignore_new_hosts_until_first_hc = common.ignore_new_hosts_until_first_hc;
    cluster.ignore_health_on_host_removal = message.ignore_health_on_host_removal;
    cluster.circuit_breakers = breakers::breakers(&at.field("circuit_breakers"), message.circuit_breakers.as_ref())?;
    cluster.protocol = options.protocol;
    cluster.http = options.http;
    cluster.http2 = options.http2;
    cluster.transport_socket_matches = transport::matches(cx, at, &message)?;
    cluster.tcp_keepalive =
        message.upstream_connection_options.and_then(|options| options.tcp_keepalive).map(keepalive);
    cluster.metadata = metadata(message.metadata);
    Ok(cluster)
}

fn refuse_what_cannot_be_left_out(cx: &mut Context, at: &At<'_>, message: &pb::Cluster) -> Result<(), Refused> {
    if message.transport_socket_matcher.is_some() {
        return Err(unsupported(&at.field("transport_socket_matcher"), "choosing transport sockets by a matcher"));
    }
    if message.lb_subset_config.is_some() {
        return Err(unsupported(&at.field("lb_subset_config"), "subset load balancing"));
    }
    if message.upstream_config.is_some() {
        return Err(unsupported(&at.field("upstream_config"), "a connection pool extension"));
    }
    let list = at.field("filters");
    for (index, filter) in message.filters.iter().enumerate() {
        let at = list.index(index);
        let config_at = at.field("typed_config");
        let kind = match (&filter.typed_config, &filter.config_discovery) {
            (Some(any), None) => Extension::of(&config_at, any)?.type_name().to_owned(),
            _ => String::new(),
        };
        if !HARMLESS_FILTERS.contains(&kind.as_str()) {
            return Err(unsupported(&at, format!("upstream filter {:?} of type {kind:?}", filter.name)));
        }
        cx.left_out(&at, format!("upstream filter {kind} is not in force"));
    }
    Ok(())
}

fn keepalive(message: mesh_proto::envoy::config::core::v3::TcpKeepalive) -> TcpKeepalive {
    let seconds = |value| number(value).map(|seconds| Duration::from_secs(seconds.into()));
    TcpKeepalive {
        probes: number(message.keepalive_probes),
        time: seconds(message.keepalive_time),
        interval: seconds(message.keepalive_interval),
    }
}

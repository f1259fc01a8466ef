//! `envoy.config.route.v3.RouteConfiguration`: virtual hosts and their routes.
//!
//! What depends on compiled forms (regular expressions, format strings, URI templates, host names taken twice) the
//! routing engine judges when it compiles the result. A setting that chooses among routes or hosts and that
//! cannot be honoured refuses the configuration: sending requests elsewhere is worse than the last good routes.

mod action;
mod filter_override;
mod forward;
mod hash_policy;
mod matching;
mod retry;
mod weighted;

pub(super) use self::forward::priority;
pub(super) use self::matching::query_parameter;

use std::collections::HashMap;
use std::sync::Arc;

use mesh_core::resource::Problem;
use mesh_core::resource::route::{
    PerFilterConfig, Route, RouteConfiguration, TlsRequirement, VirtualCluster, VirtualHost,
};
use mesh_proto::envoy::config::route::v3 as pb;
use mesh_proto::google::protobuf::{Any, UInt32Value, UInt64Value};

use super::context::Context;
use super::headers::mutations;
use super::matcher;
use super::rate_limit::{Place, rate_limits};
use super::refused::{At, Refused, conflict, refuse, unsupported};
use super::scalar::{flag, known, metadata, number};

/// A route configuration, on its own or inside a connection manager.
pub(super) fn configuration(
    cx: &mut Context,
    at: &At<'_>,
    message: pb::RouteConfiguration,
) -> Result<RouteConfiguration, Refused> {
    refuse_what_moves_routes(at, &message)?;
    if flag(message.validate_clusters) {
        cx.not_in_force(&at.field("validate_clusters"), "clusters may arrive after the routes that name them");
    }
    let hosts_at = at.field("virtual_hosts");
    let mut virtual_hosts = Vec::with_capacity(message.virtual_hosts.len());
    for (index, host) in message.virtual_hosts.into_iter().enumerate() {
        virtual_hosts.push(virtual_host(cx, &hosts_at.index(index), host)?);
    }
    Ok(RouteConfiguration {
        name: message.name.into(),
        virtual_hosts,
        internal_only_headers: message.internal_only_headers,
        request_headers: mutations(at, "request", &message.request_headers_to_add, &message.request_headers_to_remove)?,
        response_headers: mutations(
            at,
            "response",
            &message.response_headers_to_add,
            &message.response_headers_to_remove,
        )?,
        most_specific_header_mutations_wins: message.most_specific_header_mutations_wins,
        mirror_policies: forward::mirrors(&at.field("request_mirror_policies"), &message.request_mirror_policies)?,
        ignore_port_in_host_matching: message.ignore_port_in_host_matching,
        ignore_path_parameters_in_path_matching: message.ignore_path_parameters_in_path_matching,
        max_direct_response_body_size_bytes: number(message.max_direct_response_body_size_bytes),
        per_filter_config: per_filter_config(cx, at, message.typed_per_filter_config)?,
        metadata: metadata(message.metadata),
    })
}

fn refuse_what_moves_routes(at: &At<'_>, message: &pb::RouteConfiguration) -> Result<(), Refused> {
    if message.vhds.is_some() {
        return Err(unsupported(&at.field("vhds"), "virtual host discovery"));
    }
    if !message.vhost_header.is_empty() {
        return Err(unsupported(&at.field("vhost_header"), "choosing the virtual host by another header"));
    }
    if !message.route_specifiers.is_empty() {
        return Err(unsupported(&at.field("route_specifiers"), "a route specifier"));
    }
    let plugins = at.field("cluster_specifier_plugins");
    match message.cluster_specifier_plugins.iter().position(|plugin| !plugin.is_optional) {
        Some(index) => Err(unsupported(&plugins.index(index), "a cluster specifier plugin")),
        None => Ok(()),
    }
}

fn virtual_host(cx: &mut Context, at: &At<'_>, message: pb::VirtualHost) -> Result<VirtualHost, Refused> {
    use pb::virtual_host::TlsRequirementType;
    if message.matcher.is_some() {
        return Err(unsupported(&at.field("matcher"), "a matcher tree"));
    }
    if message.retry_policy_typed_config.is_some() {
        return Err(unsupported(&at.field("retry_policy_typed_config"), "a retry policy extension"));
    }
    if !message.route_specifiers.is_empty() {
        return Err(unsupported(&at.field("route_specifiers"), "a route specifier"));
    }
    let routes_at = at.field("routes");
    let mut routes = Vec::with_capacity(message.routes.len());
    for (index, one) in message.routes.into_iter().enumerate() {
        routes.push(route(cx, &routes_at.index(index), one)?);
    }
    let clusters_at = at.field("virtual_clusters");
    let clusters = message.virtual_clusters.iter().enumerate();
    let virtual_clusters = clusters.map(|(index, one)| virtual_cluster(&clusters_at.index(index), one));
    let retry_policy = match &message.retry_policy {
        Some(policy) => Some(Arc::new(retry::policy(cx, &at.field("retry_policy"), policy)?)),
        None => None,
    };
    Ok(VirtualHost {
        name: message.name.into(),
        domains: message.domains,
        require_tls: match known(&at.field("require_tls"), message.require_tls)? {
            TlsRequirementType::None => TlsRequirement::None,
            TlsRequirementType::ExternalOnly => TlsRequirement::ExternalOnly,
            TlsRequirementType::All => TlsRequirement::All,
        },
        virtual_clusters: virtual_clusters.collect::<Result<_, _>>()?,
        routes,
        request_headers: mutations(at, "request", &message.request_headers_to_add, &message.request_headers_to_remove)?,
        response_headers: mutations(
            at,
            "response",
            &message.response_headers_to_add,
            &message.response_headers_to_remove,
        )?,
        retry_policy,
        hedge_policy: message.hedge_policy.as_ref().map(forward::hedge_policy),
        request_body_buffer_limit: body_buffer_limit(
            at,
            message.request_body_buffer_limit,
            message.per_request_buffer_limit_bytes,
        )?,
        include_request_attempt_count: message.include_request_attempt_count,
        include_attempt_count_in_response: message.include_attempt_count_in_response,
        include_is_timeout_retry_header: message.include_is_timeout_retry_header,
        rate_limits: rate_limits(&at.field("rate_limits"), &message.rate_limits, Place::Route)?,
        mirror_policies: forward::mirrors(&at.field("request_mirror_policies"), &message.request_mirror_policies)?,
        per_filter_config: per_filter_config(cx, at, message.typed_per_filter_config)?,
        metadata: metadata(message.metadata),
    })
}

fn virtual_cluster(at: &At<'_>, message: &pb::VirtualCluster) -> Result<VirtualCluster, Refused> {
    let headers_at = at.field("headers");
    if message.headers.is_empty() {
        return Err(refuse(&headers_at, Problem::Missing));
    }
    Ok(VirtualCluster { name: message.name.as_str().into(), headers: matcher::headers(&headers_at, &message.headers)? })
}

fn route(cx: &mut Context, at: &At<'_>, message: pb::Route) -> Result<Route, Refused> {
    if !message.route_specifiers.is_empty() {
        return Err(unsupported(&at.field("route_specifiers"), "a route specifier"));
    }
    let match_at = at.field("match");
    let Some(matches) = &message.r#match else {
        return Err(refuse(&match_at, Problem::Missing));
    };
    Ok(Route {
        name: message.name.into(),
        matches: matching::route_match(&match_at, matches)?,
        action: action::action(cx, at, message.action)?,
        metadata: metadata(message.metadata),
        request_headers: mutations(at, "request", &message.request_headers_to_add, &message.request_headers_to_remove)?,
        response_headers: mutations(
            at,
            "response",
            &message.response_headers_to_add,
            &message.response_headers_to_remove,
        )?,
        per_filter_config: per_filter_config(cx, at, message.typed_per_filter_config)?,
        request_body_buffer_limit: body_buffer_limit(
            at,
            message.request_body_buffer_limit,
            message.per_request_buffer_limit_bytes,
        )?,
    })
}

/// `request_body_buffer_limit`, or the older field that it replaces.
fn body_buffer_limit(
    at: &At<'_>,
    limit: Option<UInt64Value>,
    older: Option<UInt32Value>,
) -> Result<Option<u64>, Refused> {
    match (limit, older) {
        (Some(_), Some(_)) => {
            Err(conflict(&at.field("request_body_buffer_limit"), "per_request_buffer_limit_bytes is set as well"))
        }
        (limit, older) => Ok(limit.map(|limit| limit.value).or(older.map(|older| older.value.into()))),
    }
}

/// `typed_per_filter_config` of any level.
fn per_filter_config(cx: &mut Context, at: &At<'_>, configs: HashMap<String, Any>) -> Result<PerFilterConfig, Refused> {
    let at = at.field("typed_per_filter_config");
    // In the order of their names, so that remarks and the first refusal are always the same.
    let mut configs: Vec<_> = configs.into_iter().collect();
    configs.sort_by(|a, b| a.0.cmp(&b.0));
    configs
        .into_iter()
        .map(|(name, any)| {
            let entry = filter_override::filter_override(cx, &at.key(&name), &any)?;
            Ok((name.into(), entry))
        })
        .collect()
}

//! `RouteAction`: where a request is sent, and how.

use std::collections::HashSet;
use std::sync::Arc;

use http::StatusCode;
use mesh_core::resource::Problem;
use mesh_core::resource::route::{
    ClusterSpecifier, Forward, HedgePolicy, HostRewrite, MaxStreamDuration, MirrorPolicy, PathRewrite, RoutingPriority,
    UpgradeConfig,
};
use mesh_proto::envoy::config::core::v3::{self as core, TypedExtensionConfig};
use mesh_proto::envoy::config::route::v3 as pb;
use mesh_proto::envoy::extensions::path::rewrite::uri_template::v3::UriTemplateRewriteConfig;
use pb::route_action::HostRewriteSpecifier;

use super::super::context::Context;
use super::super::extension::Extension;
use super::super::headers::steps;
use super::super::matcher::regex_rewrite;
use super::super::rate_limit::{Place, rate_limits};
use super::super::refused::{At, Refused, conflict, refuse, unsupported};
use super::super::scalar::{duration, flag, known, metadata, non_empty, runtime_fraction};
use super::{hash_policy, retry, weighted};

pub(super) fn forward(cx: &mut Context, at: &At<'_>, message: pb::RouteAction) -> Result<Forward, Refused> {
    use pb::route_action::ClusterNotFoundResponseCode as NotFound;
    if message.retry_policy_typed_config.is_some() {
        return Err(unsupported(&at.field("retry_policy_typed_config"), "a retry policy extension"));
    }
    let retry_policy = match &message.retry_policy {
        Some(policy) => Some(Arc::new(retry::policy(cx, &at.field("retry_policy"), policy)?)),
        None => None,
    };
    Ok(Forward {
        path_rewrite: path_rewrite(at, &message)?,
        host_rewrite: host_rewrite(at, message.host_rewrite_specifier.as_ref())?,
        cluster: cluster(cx, at, message.cluster_specifier)?,
        cluster_not_found_response_code: match known(
            &at.field("cluster_not_found_response_code"),
            message.cluster_not_found_response_code,
        )? {
            NotFound::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            NotFound::NotFound => StatusCode::NOT_FOUND,
            NotFound::InternalServerError => StatusCode::INTERNAL_SERVER_ERROR,
        },
        metadata_match: metadata(message.metadata_match),
        append_x_forwarded_host: message.append_x_forwarded_host,
        timeout: duration(&at.field("timeout"), message.timeout)?,
        idle_timeout: duration(&at.field("idle_timeout"), message.idle_timeout)?,
        max_stream_duration: match &message.max_stream_duration {
            Some(limits) => Some(max_stream_duration(&at.field("max_stream_duration"), limits)?),
            None => None,
        },
        max_grpc_timeout: duration(&at.field("max_grpc_timeout"), message.max_grpc_timeout)?,
        grpc_timeout_offset: duration(&at.field("grpc_timeout_offset"), message.grpc_timeout_offset)?,
        retry_policy,
        hedge_policy: message.hedge_policy.as_ref().map(hedge_policy),
        hash_policy: hash_policy::policies(&at.field("hash_policy"), &message.hash_policy)?,
        mirror_policies: mirrors(&at.field("request_mirror_policies"), &message.request_mirror_policies)?,
        priority: priority(&at.field("priority"), message.priority)?,
        rate_limits: rate_limits(&at.field("rate_limits"), &message.rate_limits, Place::Route)?,
        include_virtual_host_rate_limits: flag(message.include_vh_rate_limits),
        upgrade_configs: upgrades(&at.field("upgrade_configs"), &message.upgrade_configs)?,
    })
}

fn max_stream_duration(
    at: &At<'_>,
    message: &pb::route_action::MaxStreamDuration,
) -> Result<MaxStreamDuration, Refused> {
    Ok(MaxStreamDuration {
        max_stream_duration: duration(&at.field("max_stream_duration"), message.max_stream_duration)?,
        grpc_timeout_header_max: duration(&at.field("grpc_timeout_header_max"), message.grpc_timeout_header_max)?,
        grpc_timeout_header_offset: duration(
            &at.field("grpc_timeout_header_offset"),
            message.grpc_timeout_header_offset,
        )?,
    })
}

fn cluster(
    cx: &mut Context,
    at: &At<'_>,
    specifier: Option<pb::route_action::ClusterSpecifier>,
) -> Result<ClusterSpecifier, Refused> {
    use pb::route_action::ClusterSpecifier as Pb;
    let plugin = |field| Err(unsupported(&at.field(field), "a cluster specifier plugin"));
    match specifier {
        None => Err(refuse(&at.field("cluster_specifier"), Problem::Missing)),
        Some(Pb::Cluster(name)) => Ok(ClusterSpecifier::Cluster(name.into())),
        Some(Pb::ClusterHeader(header)) => Ok(ClusterSpecifier::ClusterHeader(header)),
        Some(Pb::WeightedClusters(message)) => {
            weighted::clusters(cx, &at.field("weighted_clusters"), message).map(ClusterSpecifier::WeightedClusters)
        }
        Some(Pb::ClusterSpecifierPlugin(_)) => plugin("cluster_specifier_plugin"),
        Some(Pb::InlineClusterSpecifierPlugin(_)) => plugin("inline_cluster_specifier_plugin"),
    }
}

fn path_rewrite(at: &At<'_>, message: &pb::RouteAction) -> Result<Option<PathRewrite>, Refused> {
    if !message.path_rewrite.is_empty() {
        return Err(unsupported(&at.field("path_rewrite"), "a path rewrite by format string"));
    }
    let regex = match &message.regex_rewrite {
        Some(regex) => Some(regex_rewrite(&at.field("regex_rewrite"), regex)?),
        None => None,
    };
    let template = match &message.path_rewrite_policy {
        Some(policy) => Some(uri_template(&at.field("path_rewrite_policy"), policy)?),
        None => None,
    };
    PathRewrite::one_of(non_empty(&message.prefix_rewrite), regex, template).map_err(|problem| refuse(at, problem))
}

fn uri_template(at: &At<'_>, policy: &TypedExtensionConfig) -> Result<String, Refused> {
    let at = at.field("typed_config");
    let Some(any) = &policy.typed_config else {
        return Err(refuse(&at, Problem::Missing));
    };
    let extension = Extension::of(&at, any)?;
    if extension.type_name() != "envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig" {
        return Err(unsupported(&at, format!("a path rewriter of type {}", extension.type_url())));
    }
    let config: UriTemplateRewriteConfig = extension.message(&at)?;
    Ok(config.path_template_rewrite)
}

fn host_rewrite(at: &At<'_>, specifier: Option<&HostRewriteSpecifier>) -> Result<Option<HostRewrite>, Refused> {
    Ok(match specifier {
        None => None,
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => non_empty(host).map(HostRewrite::Literal),
        Some(HostRewriteSpecifier::AutoHostRewrite(auto)) => auto.value.then_some(HostRewrite::Auto),
        Some(HostRewriteSpecifier::HostRewriteHeader(header)) => non_empty(header).map(HostRewrite::Header),
        Some(HostRewriteSpecifier::HostRewritePathRegex(regex)) => {
            Some(HostRewrite::PathRegex(regex_rewrite(&at.field("host_rewrite_path_regex"), regex)?))
        }
        Some(HostRewriteSpecifier::HostRewrite(_)) => {
            return Err(unsupported(&at.field("host_rewrite"), "a host rewrite by format string"));
        }
    })
}

/// `request_mirror_policies` of any level.
pub(super) fn mirrors(
    at: &At<'_>,
    policies: &[pb::route_action::RequestMirrorPolicy],
) -> Result<Vec<MirrorPolicy>, Refused> {
    policies.iter().enumerate().map(|(index, one)| mirror(&at.index(index), one)).collect()
}

fn mirror(at: &At<'_>, message: &pb::route_action::RequestMirrorPolicy) -> Result<MirrorPolicy, Refused> {
    let cluster = match (message.cluster.as_str(), message.cluster_header.as_str()) {
        ("", "") => return Err(refuse(&at.field("cluster"), Problem::Missing)),
        (name, "") => ClusterSpecifier::Cluster(name.into()),
        ("", header) => ClusterSpecifier::ClusterHeader(header.to_owned()),
        _ => return Err(conflict(at, "cluster and cluster_header are both set")),
    };
    Ok(MirrorPolicy {
        cluster,
        runtime_fraction: match &message.runtime_fraction {
            Some(fraction) => Some(runtime_fraction(&at.field("runtime_fraction"), fraction)?),
            None => None,
        },
        trace_sampled: message.trace_sampled.map(|flag| flag.value),
        disable_shadow_host_suffix_append: message.disable_shadow_host_suffix_append,
        request_headers: steps(&at.field("request_headers_mutations"), &message.request_headers_mutations)?,
        host_rewrite_literal: non_empty(&message.host_rewrite_literal),
    })
}

pub(super) fn hedge_policy(message: &pb::HedgePolicy) -> HedgePolicy {
    HedgePolicy { hedge_on_per_try_timeout: message.hedge_on_per_try_timeout }
}

/// A `RoutingPriority`.
pub(in crate::decode) fn priority(at: &At<'_>, priority: i32) -> Result<RoutingPriority, Refused> {
    Ok(match known(at, priority)? {
        core::RoutingPriority::Default => RoutingPriority::Default,
        core::RoutingPriority::High => RoutingPriority::High,
    })
}

fn upgrades(at: &At<'_>, configs: &[pb::route_action::UpgradeConfig]) -> Result<Vec<UpgradeConfig>, Refused> {
    let mut seen = HashSet::new();
    let configs = configs.iter().enumerate().map(|(index, config)| {
        let at = at.index(index);
        if config.connect_config.is_some() {
            return Err(unsupported(&at.field("connect_config"), "ending CONNECT here"));
        }
        if !seen.insert(config.upgrade_type.to_ascii_lowercase()) {
            return Err(conflict(&at.field("upgrade_type"), format!("{:?} is there twice", config.upgrade_type)));
        }
        let enabled = config.enabled.is_none_or(|flag| flag.value);
        Ok(UpgradeConfig { upgrade_type: config.upgrade_type.clone(), enabled })
    });
    configs.collect()
}

//! `HttpConnectionManager`.

use std::sync::Arc;

use mesh_core::resource::listener::{EscapedSlashes, HttpConnectionManager, PathNormalization, RouteSource, StripPort};
use mesh_core::resource::{Name, Problem};
use mesh_proto::envoy::config::core::v3::http_protocol_options::HeadersWithUnderscoresAction;
use mesh_proto::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use pb::http_connection_manager::{
    CodecType, PathWithEscapedSlashesAction, RouteSpecifier, StripPortMode, UpgradeConfig,
};

use super::super::config_source;
use super::super::context::Context;
use super::super::extension::Extension;
use super::super::refused::{At, Refused, conflict, refuse, unsupported};
use super::super::route;
use super::super::scalar::{cidr, duration_or_off, flag, known};
use super::{downstream, http_filter};

/// `at` is the `Any` that holds it.
pub(super) fn manager(
    cx: &mut Context,
    at: &At<'_>,
    extension: &Extension<'_>,
) -> Result<HttpConnectionManager, Refused> {
    let message: pb::HttpConnectionManager = extension.message(at)?;
    refuse_what_guards(at, &message)?;
    let downstream = downstream::options(at, &message)?;
    let (http_filters, router) = http_filter::filters(cx, &at.field("http_filters"), &message.http_filters)?;
    let common_at = at.field("common_http_protocol_options");
    let common = message.common_http_protocol_options.unwrap_or_default();
    let internal = message.internal_address_config.unwrap_or_default();
    let ranges_at = at.field("internal_address_config");
    let ranges_at = ranges_at.field("cidr_ranges");
    let ranges = internal.cidr_ranges.iter().enumerate();
    let escaped_at = at.field("path_with_escaped_slashes_action");
    let default = HttpConnectionManager::new(RouteSource::Rds(Name::default()));
    Ok(HttpConnectionManager {
        downstream,
        stat_prefix: message.stat_prefix,
        routes: routes(cx, at, message.route_specifier)?,
        http_filters,
        path: PathNormalization {
            normalize: flag(message.normalize_path),
            merge_slashes: message.merge_slashes,
            escaped_slashes: match known(&escaped_at, message.path_with_escaped_slashes_action)? {
                PathWithEscapedSlashesAction::ImplementationSpecificDefault
                | PathWithEscapedSlashesAction::KeepUnchanged => EscapedSlashes::KeepUnchanged,
                PathWithEscapedSlashesAction::RejectRequest => EscapedSlashes::RejectRequest,
                PathWithEscapedSlashesAction::UnescapeAndRedirect => EscapedSlashes::UnescapeAndRedirect,
                PathWithEscapedSlashesAction::UnescapeAndForward => EscapedSlashes::UnescapeAndForward,
            },
        },
        idle_timeout: duration_or_off(&common_at.field("idle_timeout"), common.idle_timeout, default.idle_timeout)?,
        stream_idle_timeout: duration_or_off(
            &at.field("stream_idle_timeout"),
            message.stream_idle_timeout,
            default.stream_idle_timeout,
        )?,
        request_timeout: duration_or_off(&at.field("request_timeout"), message.request_timeout, None)?,
        strip_port: match (message.strip_matching_host_port, message.strip_port_mode) {
            (true, Some(StripPortMode::StripAnyHostPort(true))) => {
                return Err(conflict(&at.field("strip_any_host_port"), "strip_matching_host_port is set as well"));
            }
            (_, Some(StripPortMode::StripAnyHostPort(true))) => StripPort::Any,
            (true, _) => StripPort::Matching,
            (false, _) => StripPort::Keep,
        },
        upgrades: upgrades(&at.field("upgrade_configs"), &message.upgrade_configs)?,
        use_remote_address: flag(message.use_remote_address),
        xff_num_trusted_hops: message.xff_num_trusted_hops,
        internal_addresses: ranges
            .map(|(index, range)| cidr(&ranges_at.index(index), range))
            .collect::<Result<_, _>>()?,
        suppress_envoy_headers: router.suppress_envoy_headers,
        respect_expected_rq_timeout: router.respect_expected_rq_timeout,
    })
}

/// Settings that keep requests out, or decide who the caller is.
fn refuse_what_guards(at: &At<'_>, message: &pb::HttpConnectionManager) -> Result<(), Refused> {
    if !message.original_ip_detection_extensions.is_empty() {
        return Err(unsupported(
            &at.field("original_ip_detection_extensions"),
            "another way to find the caller's address",
        ));
    }
    if !message.early_header_mutation_extensions.is_empty() {
        return Err(unsupported(&at.field("early_header_mutation_extensions"), "changing headers before routing"));
    }
    if message.typed_header_validation_config.is_some() {
        return Err(unsupported(&at.field("typed_header_validation_config"), "a header validator"));
    }
    if known::<CodecType>(&at.field("codec_type"), message.codec_type)? == CodecType::Http3 {
        return Err(unsupported(&at.field("codec_type"), "HTTP/3"));
    }
    if let Some(common) = &message.common_http_protocol_options {
        let at = at.field("common_http_protocol_options");
        let at = at.field("headers_with_underscores_action");
        if known::<HeadersWithUnderscoresAction>(&at, common.headers_with_underscores_action)?
            != HeadersWithUnderscoresAction::Allow
        {
            return Err(unsupported(&at, "refusing or dropping headers with underscores"));
        }
    }
    Ok(())
}

fn routes(cx: &mut Context, at: &At<'_>, specifier: Option<RouteSpecifier>) -> Result<RouteSource, Refused> {
    match specifier {
        None => Err(refuse(&at.field("route_specifier"), Problem::Missing)),
        Some(RouteSpecifier::RouteConfig(config)) => {
            let config = route::configuration(cx, &at.field("route_config"), config)?;
            Ok(RouteSource::Inline(Arc::new(config)))
        }
        Some(RouteSpecifier::Rds(rds)) => {
            let at = at.field("rds");
            config_source::check(cx, &at.field("config_source"), rds.config_source.as_ref())?;
            if rds.route_config_name.is_empty() {
                return Err(refuse(&at.field("route_config_name"), Problem::Missing));
            }
            Ok(RouteSource::Rds(rds.route_config_name.into()))
        }
        Some(RouteSpecifier::ScopedRoutes(_)) => {
            Err(unsupported(&at.field("scoped_routes"), "a scoped route configuration"))
        }
    }
}

fn upgrades(at: &At<'_>, configs: &[UpgradeConfig]) -> Result<Vec<String>, Refused> {
    let mut upgrades: Vec<String> = Vec::with_capacity(configs.len());
    let mut seen: Vec<String> = Vec::with_capacity(configs.len());
    for (index, config) in configs.iter().enumerate() {
        let at = at.index(index);
        if !config.filters.is_empty() {
            return Err(unsupported(&at.field("filters"), "filters for one upgrade type"));
        }
        let upgrade = config.upgrade_type.to_ascii_lowercase();
        if seen.contains(&upgrade) {
            return Err(conflict(&at.field("upgrade_type"), format!("{upgrade:?} is there twice")));
        }
        if config.enabled.is_none_or(|flag| flag.value) {
            upgrades.push(upgrade.clone());
        }
        seen.push(upgrade);
    }
    Ok(upgrades)
}

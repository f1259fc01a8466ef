//! `HttpConnectionManager.http_filters`: which are in force, which are left out, and which refuse the listener.
//!
//! The line is access: a filter that can keep a request out is never left out, marked optional or not. Neither is
//! one that nobody knows here, unless it is marked optional (A39, F26).

use mesh_core::resource::Problem;
use mesh_core::resource::listener::{FilterConfig, HttpFilter};
use mesh_proto::envoy::extensions::filters::http::router::v3::Router;
use mesh_proto::envoy::extensions::filters::http::wasm::v3::Wasm;
use mesh_proto::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use mesh_proto::envoy::extensions::wasm::v3::FailurePolicy;
use pb::http_filter::ConfigType;

use super::super::context::Context;
use super::super::extension::Extension;
use super::super::filter;
use super::super::refused::{At, Refused, refuse, unsupported};

const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";
const WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";

/// Filters that narrow nobody's access: leaving them out loses their effect, which is reported.
const LEFT_OUT: &[&str] = &[
    "envoy.extensions.filters.http.compressor.v3.Compressor",
    "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb",
    "io.istio.http.peer_metadata.Config",
    "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
    "stats.PluginConfig",
];

/// Filters that decide about access: being marked optional does not help them out of the way.
const GUARDS: &[&str] = &[
    "envoy.extensions.filters.http.api_key_auth.",
    "envoy.extensions.filters.http.basic_auth.",
    "envoy.extensions.filters.http.csrf.",
    "envoy.extensions.filters.http.ext_authz.",
    "envoy.extensions.filters.http.jwt_authn.",
    "envoy.extensions.filters.http.oauth2.",
    "envoy.extensions.filters.http.rbac.",
    "envoy.extensions.filters.network.",
];

/// The filters before the router, and the router, which must be there and last; `at` is the list.
pub(super) fn filters(
    cx: &mut Context,
    at: &At<'_>,
    filters: &[pb::HttpFilter],
) -> Result<(Vec<HttpFilter>, Router), Refused> {
    let Some((router, others)) = filters.split_last() else {
        return Err(refuse(at, "there must be a router"));
    };
    let mut kept = Vec::with_capacity(others.len());
    for (index, filter) in others.iter().enumerate() {
        kept.push(one(cx, &at.index(index), filter)?);
    }
    Ok((kept, last(cx, &at.index(others.len()), router)?))
}

fn one(cx: &mut Context, at: &At<'_>, entry: &pb::HttpFilter) -> Result<HttpFilter, Refused> {
    if matches!(entry.config_type, Some(ConfigType::ConfigDiscovery(_))) {
        // Whatever arrives could be a guard, so "optional" is not enough.
        return Err(unsupported(&at.field("config_discovery"), "extension config discovery"));
    }
    let extension = config(at, entry)?;
    let kind = extension.type_name();
    if kind == ROUTER {
        return Err(refuse(at, format!("{:?} must be the last filter", entry.name)));
    }
    if let Some(config) = filter::config(&at.field("typed_config"), &extension)? {
        return Ok(HttpFilter { name: entry.name.as_str().into(), disabled: entry.disabled, config });
    }
    if LEFT_OUT.contains(&kind) {
        cx.left_out(at, format!("HTTP filter {kind} is not in force"));
    } else if kind == WASM && fails_open(at, &extension)? {
        cx.left_out(at, "Wasm is not in force; the filter asks to fail open");
    } else if entry.is_optional && !GUARDS.iter().any(|guard| kind.starts_with(guard)) {
        cx.left_out(at, format!("optional HTTP filter {kind} is left out"));
    } else {
        return Err(unsupported(at, format!("HTTP filter {:?} of type {:?}", entry.name, extension.type_url())));
    }
    Ok(HttpFilter {
        name: entry.name.as_str().into(),
        disabled: entry.disabled,
        config: FilterConfig::NotInForce(extension.type_url().into()),
    })
}

fn last(cx: &mut Context, at: &At<'_>, filter: &pb::HttpFilter) -> Result<Router, Refused> {
    let extension = config(at, filter)?;
    if extension.type_name() != ROUTER {
        // Say what is wrong with the filter itself first: more often it is one that is not known.
        one(cx, at, filter)?;
        return Err(refuse(at, format!("{:?} cannot be the last filter: the router must be", filter.name)));
    }
    if filter.disabled {
        return Err(refuse(&at.field("disabled"), "the router cannot be switched off"));
    }
    let at = at.field("typed_config");
    let router: Router = extension.message(&at)?;
    let filters = at.field("upstream_http_filters");
    for (index, filter) in router.upstream_http_filters.iter().enumerate() {
        let at = filters.index(index);
        let extension = config(&at, filter)?;
        if extension.type_name() != "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec" {
            return Err(unsupported(&at, format!("upstream HTTP filter {:?}", filter.name)));
        }
        cx.left_out(&at, "the codec needs no filter");
    }
    Ok(router)
}

fn config<'a>(at: &At<'_>, filter: &'a pb::HttpFilter) -> Result<Extension<'a>, Refused> {
    match &filter.config_type {
        Some(ConfigType::TypedConfig(any)) => Extension::of(&at.field("typed_config"), any),
        Some(ConfigType::ConfigDiscovery(_)) => {
            Err(unsupported(&at.field("config_discovery"), "extension config discovery"))
        }
        None => Err(refuse(&at.field("config_type"), Problem::Missing)),
    }
}

/// A plugin that cannot run lets requests pass if it says so; here none can run.
fn fails_open(at: &At<'_>, extension: &Extension<'_>) -> Result<bool, Refused> {
    let config = extension.message::<Wasm>(&at.field("typed_config"))?.config.unwrap_or_default();
    Ok(match FailurePolicy::try_from(config.failure_policy) {
        Ok(FailurePolicy::Unspecified) => config.fail_open,
        Ok(FailurePolicy::FailOpen) => true,
        _ => false,
    })
}

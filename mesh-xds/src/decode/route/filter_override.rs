//! One entry of `typed_per_filter_config`: for a filter that is in force, for one that is left out, or refused.
//!
//! Filters that decide who may do what are not there yet, and the listeners that ask for them are refused. An override
//! for one of them is refused as well, except when all it does is to switch the filter off.

use mesh_core::resource::filter::RouteConfig;
use mesh_core::resource::route::FilterOverride;
use mesh_proto::envoy::config::route::v3::FilterConfig;
use mesh_proto::envoy::extensions::filters::http::ext_authz::v3::{ExtAuthzPerRoute, ext_authz_per_route::Override};
use mesh_proto::envoy::extensions::filters::http::jwt_authn::v3::{
    PerRouteConfig, per_route_config::RequirementSpecifier,
};
use mesh_proto::envoy::extensions::filters::http::rbac::v3::RbacPerRoute;
use mesh_proto::google::protobuf::Any;

use super::super::context::Context;
use super::super::extension::Extension;
use super::super::filter;
use super::super::refused::{At, Refused, unsupported};

/// Types of overrides for filters that may be left out, since they narrow nobody's access.
const LEFT_OUT: &[&str] = &["envoy.extensions.filters.http.compressor.v3.CompressorPerRoute"];

pub(super) fn filter_override(cx: &mut Context, at: &At<'_>, any: &Any) -> Result<FilterOverride, Refused> {
    let outer = Extension::of(at, any)?;
    if outer.type_name() != "envoy.config.route.v3.FilterConfig" {
        return entry(cx, at, &outer, &FilterConfig::default());
    }
    let wrapper: FilterConfig = outer.message(at)?;
    match &wrapper.config {
        Some(config) => {
            let config_at = at.field("config");
            entry(cx, &config_at, &Extension::of(&config_at, config)?, &wrapper)
        }
        None => Ok(FilterOverride {
            disabled: wrapper.disabled,
            is_optional: wrapper.is_optional,
            ..FilterOverride::default()
        }),
    }
}

fn entry(
    cx: &mut Context,
    at: &At<'_>,
    config: &Extension<'_>,
    wrapper: &FilterConfig,
) -> Result<FilterOverride, Refused> {
    let name = config.type_name();
    let mut disabled = wrapper.disabled;
    let mut known = None;
    if let Some(mine) = filter::route_config(at, config)? {
        disabled |= mine.disabled;
        known = mine.config;
    } else if !disabled {
        disabled = switches_off(at, config)?;
        if LEFT_OUT.contains(&name) {
            cx.left_out(at, format!("{name} is not in force"));
        } else if !disabled && !narrows(name) && wrapper.is_optional {
            cx.left_out(at, format!("optional {name} is left out"));
        } else if !disabled {
            return Err(unsupported(at, format!("per-filter configuration of type {:?}", config.type_url())));
        }
    }
    let config = known.or_else(|| (!disabled).then(|| RouteConfig::NotInForce(config.type_url().into())));
    Ok(FilterOverride { disabled, is_optional: wrapper.is_optional, config })
}

/// Overrides that decide about access: optional or not, they are never left out.
fn narrows(type_name: &str) -> bool {
    type_name.starts_with("envoy.extensions.filters.http.rbac.")
        || type_name.starts_with("envoy.extensions.filters.http.jwt_authn.")
        || type_name.starts_with("envoy.extensions.filters.http.ext_authz.")
}

/// Whether an override of an access filter does nothing but switch it off.
fn switches_off(at: &At<'_>, config: &Extension<'_>) -> Result<bool, Refused> {
    Ok(match config.type_name() {
        "envoy.extensions.filters.http.rbac.v3.RBACPerRoute" => config.message::<RbacPerRoute>(at)?.rbac.is_none(),
        "envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig" => {
            let config: PerRouteConfig = config.message(at)?;
            config.requirement_specifier == Some(RequirementSpecifier::Disabled(true))
        }
        "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute" => {
            let config: ExtAuthzPerRoute = config.message(at)?;
            config.r#override == Some(Override::Disabled(true))
        }
        _ => false,
    })
}

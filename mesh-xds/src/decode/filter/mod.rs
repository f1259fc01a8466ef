//! HTTP filters that are in force: their own configuration, and what routes say to them. One file each.
//!
//! What is left out, and what refuses the resource, is decided where filters are listed (`listener::http_filter`) and
//! overridden (`route::filter_override`).

mod buffer;
mod cors;
mod fault;
mod header_mutation;
mod local_rate_limit;
mod quota;

use mesh_core::resource::filter::{FilterConfig, RouteConfig};
use mesh_core::resource::route::FilterOverride;
use mesh_proto::mixer;

use super::extension::Extension;
use super::refused::{At, Refused};

const LOCAL_RATE_LIMIT: &str = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
/// The same message for the filter and for routes.
const FAULT: &str = "envoy.extensions.filters.http.fault.v3.HTTPFault";

/// The configuration of a filter that is in force; `None` for others. `at` is the `Any`.
pub(super) fn config(at: &At<'_>, config: &Extension<'_>) -> Result<Option<FilterConfig>, Refused> {
    Ok(Some(match config.type_name() {
        "envoy.extensions.filters.http.buffer.v3.Buffer" => FilterConfig::Buffer(buffer::config(at, config)?),
        LOCAL_RATE_LIMIT => FilterConfig::LocalRateLimit(local_rate_limit::config(at, config)?),
        "envoy.extensions.filters.http.cors.v3.Cors" => {
            cors::config(at, config)?;
            FilterConfig::Cors
        }
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation" => {
            FilterConfig::HeaderMutation(Box::new(header_mutation::config(at, config)?))
        }
        FAULT => FilterConfig::Fault(Box::new(fault::config(at, config)?)),
        mixer::TYPE => FilterConfig::Quota(quota::config(at, config.any())?),
        _ => return Ok(None),
    }))
}

/// What a route says to a filter that is in force; `None` for others. `at` is the `Any`.
pub(super) fn route_config(at: &At<'_>, config: &Extension<'_>) -> Result<Option<FilterOverride>, Refused> {
    Ok(Some(match config.type_name() {
        "envoy.extensions.filters.http.buffer.v3.BufferPerRoute" => match buffer::per_route(at, config)? {
            None => FilterOverride::off(),
            Some(buffer) => FilterOverride::with(RouteConfig::Buffer(buffer)),
        },
        LOCAL_RATE_LIMIT => FilterOverride::with(RouteConfig::LocalRateLimit(local_rate_limit::config(at, config)?)),
        "envoy.extensions.filters.http.cors.v3.CorsPolicy" => {
            FilterOverride::with(RouteConfig::Cors(Box::new(cors::per_route(at, config)?)))
        }
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute" => {
            FilterOverride::with(RouteConfig::HeaderMutation(Box::new(header_mutation::per_route(at, config)?)))
        }
        FAULT => FilterOverride::with(RouteConfig::Fault(Box::new(fault::config(at, config)?))),
        _ => return Ok(None),
    }))
}

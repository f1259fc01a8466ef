//! From a filter's configuration to the filter: one arm for each.

use std::sync::Arc;

use super::{HttpFilter, RouteConfig};
use crate::engine::buffer::{Buffer, BufferLimit};
use crate::engine::cors::{Cors, CorsPolicy};
use crate::engine::fault::{Fault, FaultSettings};
use crate::engine::header_mutation::{HeaderMutation, Mutations};
use crate::engine::quota::{Quota, Registry};
use crate::engine::rate_limit::{LocalRateLimit, RouteLimit};
use crate::resource::filter::{FilterConfig, RouteConfig as RouteFilterConfig};
use crate::resource::{FieldPath, Name, Problem};

/// Makes a filter. `at` is its configuration's place, `quotas` what quotas have counted so far; `None` for one that is left out (decode has reported it).
///
/// # Errors
/// Where and what is wrong with its configuration.
pub fn compile(
    config: &FilterConfig,
    at: &FieldPath,
    quotas: &mut Registry,
) -> Result<Option<Arc<dyn HttpFilter>>, (FieldPath, Problem)> {
    Ok(match config {
        FilterConfig::Buffer(config) => Some(Arc::new(Buffer::new(*config))),
        FilterConfig::LocalRateLimit(config) => Some(Arc::new(LocalRateLimit::compile(config, at)?)),
        FilterConfig::Fault(config) => Some(Arc::new(Fault::compile(config, at)?)),
        FilterConfig::Quota(config) => Some(Arc::new(Quota::compile(config, at, quotas)?)),
        FilterConfig::Cors => Some(Arc::new(Cors::default())),
        FilterConfig::HeaderMutation(config) => Some(Arc::new(HeaderMutation::compile(config, at)?)),
        FilterConfig::NotInForce(_) => None,
    })
}

/// Compiles what a route says to a filter; `at` is its place.
///
/// # Errors
/// Where and what is wrong with it.
pub fn compile_route(config: &RouteFilterConfig, at: &FieldPath) -> Result<RouteConfig, (FieldPath, Problem)> {
    Ok(match config {
        RouteFilterConfig::Buffer(config) => RouteConfig::Buffer(BufferLimit::new(*config)),
        RouteFilterConfig::LocalRateLimit(config) => RouteConfig::LocalRateLimit(RouteLimit::compile(config, at)?),
        RouteFilterConfig::Fault(config) => RouteConfig::Fault(Box::new(FaultSettings::compile(config, at)?)),
        RouteFilterConfig::Cors(config) => RouteConfig::Cors(Box::new(CorsPolicy::compile(config, at)?)),
        RouteFilterConfig::HeaderMutation(config) => {
            RouteConfig::HeaderMutation(Box::new(Mutations::compile(config, &at.field("mutations"))?))
        }
        RouteFilterConfig::NotInForce(type_url) => RouteConfig::NotInForce(Name::clone(type_url)),
    })
}

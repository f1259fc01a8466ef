//! HTTP filters as configured: one type for each filter's own configuration, and for what routes say to it.
//!
//! A filter that is known here has a variant in [`FilterConfig`] and, if routes may speak to it, in [`RouteConfig`].
//! Nothing is compiled: [`crate::engine::filter`] does that, or refuses.

mod buffer;
mod cors;
mod fault;
mod header_mutation;
mod local_rate_limit;
mod quota;

pub use self::buffer::Buffer;
pub use self::cors::CorsPolicy;
pub use self::fault::{AbortError, Fault, FaultAbort, FaultDelay, FaultRateLimit};
pub use self::header_mutation::{HeaderMutation, Mutations, QueryMutation};
pub use self::local_rate_limit::{LocalDescriptor, LocalRateLimit, VirtualHostLimits};
pub use self::quota::{
    Algorithm, Attribute, Charge, Expression, Function, QuotaLimit, QuotaOverride, QuotaRoute, Quotas,
};

use super::Name;

/// The configuration of a filter that this version knows.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FilterConfig {
    /// `envoy.extensions.filters.http.buffer.v3.Buffer`.
    Buffer(Buffer),
    /// `envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit`.
    LocalRateLimit(Box<LocalRateLimit>),
    /// `envoy.extensions.filters.http.fault.v3.HTTPFault`.
    Fault(Box<Fault>),
    /// Mixer's quota, a filter of our own.
    Quota(Box<Quotas>),
    /// `envoy.extensions.filters.http.cors.v3.Cors`: only routes say anything.
    Cors,
    /// `envoy.extensions.filters.http.header_mutation.v3.HeaderMutation`.
    HeaderMutation(Box<HeaderMutation>),
    /// Known and harmless to leave out: reported as not in force, never silently skipped. The type URL.
    NotInForce(Name),
}

/// What a route, or a level above it, says to a filter.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RouteConfig {
    /// `envoy.extensions.filters.http.buffer.v3.BufferPerRoute.buffer`.
    Buffer(Buffer),
    /// `envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit`.
    LocalRateLimit(Box<LocalRateLimit>),
    /// `envoy.extensions.filters.http.fault.v3.HTTPFault`.
    Fault(Box<Fault>),
    /// `envoy.extensions.filters.http.cors.v3.CorsPolicy`.
    Cors(Box<CorsPolicy>),
    /// `envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute`.
    HeaderMutation(Box<Mutations>),
    /// For a filter that is left out. The type URL.
    NotInForce(Name),
}

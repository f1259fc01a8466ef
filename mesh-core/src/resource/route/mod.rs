//! `envoy.config.route.v3.RouteConfiguration`: virtual hosts with their routes, as configured.
//!
//! Nothing here is compiled or looked up: regular expressions and format strings are text, clusters are
//! names. [`crate::engine::routing`] turns a route configuration into a table, or refuses it.

mod action;
mod matching;

pub use self::action::{
    ClusterSpecifier, DirectResponse, Forward, HashPolicy, HashSpecifier, HedgePolicy, HostRewrite, MaxStreamDuration,
    MirrorPolicy, PathRedirect, PathRewrite, Redirect, RegexRewrite, RouteAction, RoutingPriority, SchemeRedirect,
    UpgradeConfig, WeightedCluster, WeightedClusters,
};
pub use self::matching::{
    CookieMatcher, FractionalPercent, PathSpecifier, QueryParameterMatcher, QuerySpecifier, RouteMatch, TlsContextMatch,
};

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Name;
use super::filter::RouteConfig;
use super::header_mutation::HeaderMutations;
use super::matcher::HeaderMatcher;
use super::metadata::Metadata;
use super::rate_limit::RateLimit;
use super::retry::RetryPolicy;

/// A route configuration (RDS).
#[derive(Clone, Debug, PartialEq, Default)]
pub struct RouteConfiguration {
    /// Its name, e.g. `9080`.
    pub name: Name,
    /// The virtual hosts; a host name belongs to at most one.
    pub virtual_hosts: Vec<VirtualHost>,
    /// `internal_only_headers`: removed from requests that do not come from within.
    pub internal_only_headers: Vec<String>,
    /// Changes to every request.
    pub request_headers: HeaderMutations,
    /// Changes to every response.
    pub response_headers: HeaderMutations,
    /// `most_specific_header_mutations_wins`: apply the route's changes last instead of first.
    pub most_specific_header_mutations_wins: bool,
    /// `request_mirror_policies` for routes and virtual hosts that have none.
    pub mirror_policies: Vec<MirrorPolicy>,
    /// `ignore_port_in_host_matching`: compare hosts without their port.
    pub ignore_port_in_host_matching: bool,
    /// `ignore_path_parameters_in_path_matching`: compare paths up to the first `;`.
    pub ignore_path_parameters_in_path_matching: bool,
    /// `max_direct_response_body_size_bytes`, default 4096.
    pub max_direct_response_body_size_bytes: Option<u32>,
    /// `typed_per_filter_config`.
    pub per_filter_config: PerFilterConfig,
    /// `metadata`.
    pub metadata: Metadata,
}

/// The routes for some host names.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct VirtualHost {
    /// Its name.
    pub name: Name,
    /// Host names: exact, `*.suffix`, `prefix.*` or `*`.
    pub domains: Vec<String>,
    /// `require_tls`.
    pub require_tls: TlsRequirement,
    /// Names for some of its requests, used in statistics only.
    pub virtual_clusters: Vec<VirtualCluster>,
    /// The routes; the first that matches is used.
    pub routes: Vec<Route>,
    /// Changes to its requests.
    pub request_headers: HeaderMutations,
    /// Changes to its responses.
    pub response_headers: HeaderMutations,
    /// The retry policy of routes that have none.
    pub retry_policy: Option<Arc<RetryPolicy>>,
    /// The hedge policy of routes that have none.
    pub hedge_policy: Option<HedgePolicy>,
    /// How many bytes of a request body are kept for retries, mirrors and the like
    /// (`request_body_buffer_limit`, or the older `per_request_buffer_limit_bytes`).
    pub request_body_buffer_limit: Option<u64>,
    /// Send `x-envoy-attempt-count` to the upstream.
    pub include_request_attempt_count: bool,
    /// Send `x-envoy-attempt-count` to the caller.
    pub include_attempt_count_in_response: bool,
    /// Send `x-envoy-is-timeout-retry` to the upstream on retries.
    pub include_is_timeout_retry_header: bool,
    /// `rate_limits`.
    pub rate_limits: Vec<RateLimit>,
    /// `request_mirror_policies` of routes that have none.
    pub mirror_policies: Vec<MirrorPolicy>,
    /// `typed_per_filter_config`.
    pub per_filter_config: PerFilterConfig,
    /// `metadata`.
    pub metadata: Metadata,
}

/// `VirtualHost.TlsRequirementType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum TlsRequirement {
    /// Plain text is served.
    #[default]
    None,
    /// Callers from outside are redirected to `https`.
    ExternalOnly,
    /// Every caller is redirected to `https`.
    All,
}

/// `VirtualCluster`: the first whose headers match names the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualCluster {
    /// Its name.
    pub name: Name,
    /// All of these must match.
    pub headers: Vec<HeaderMatcher>,
}

/// A route: which requests, and what happens to them.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Its name, for logs; may be empty.
    pub name: Name,
    /// Which requests.
    pub matches: RouteMatch,
    /// What happens to them.
    pub action: RouteAction,
    /// `metadata`.
    pub metadata: Metadata,
    /// Changes to its requests.
    pub request_headers: HeaderMutations,
    /// Changes to its responses.
    pub response_headers: HeaderMutations,
    /// `typed_per_filter_config`.
    pub per_filter_config: PerFilterConfig,
    /// How many bytes of a request body are kept; unset is the virtual host's.
    pub request_body_buffer_limit: Option<u64>,
}

impl Route {
    /// A route with nothing but a match and an action.
    #[must_use]
    pub fn new(matches: RouteMatch, action: RouteAction) -> Self {
        Self {
            name: Name::default(),
            matches,
            action,
            metadata: Metadata::new(),
            request_headers: HeaderMutations::default(),
            response_headers: HeaderMutations::default(),
            per_filter_config: PerFilterConfig::new(),
            request_body_buffer_limit: None,
        }
    }
}

/// `typed_per_filter_config`: filter instance name → what this level says about the filter.
pub type PerFilterConfig = BTreeMap<Name, FilterOverride>;

/// One entry of `typed_per_filter_config`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct FilterOverride {
    /// `envoy.config.route.v3.FilterConfig.disabled`: the filter is off here.
    pub disabled: bool,
    /// `envoy.config.route.v3.FilterConfig.is_optional`: an unknown filter may be left out.
    pub is_optional: bool,
    /// The configuration, the wrapper taken off; `None` leaves the filter its own.
    pub config: Option<RouteConfig>,
}

impl FilterOverride {
    /// A configuration in place of the filter's own.
    #[must_use]
    pub const fn with(config: RouteConfig) -> Self {
        Self { disabled: false, is_optional: false, config: Some(config) }
    }

    /// Switches the filter off.
    #[must_use]
    pub const fn off() -> Self {
        Self { disabled: true, is_optional: false, config: None }
    }
}

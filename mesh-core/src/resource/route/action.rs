//! What a route does with a request: forward it, redirect it, answer it, or leave it to the server.
//!
//! `envoy.config.route.v3.{RouteAction, RedirectAction, DirectResponseAction, NonForwardingAction}`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::PerFilterConfig;
use super::matching::FractionalPercent;
use crate::resource::header_mutation::HeaderMutations;
use crate::resource::metadata::Metadata;
use crate::resource::rate_limit::RateLimit;
use crate::resource::retry::RetryPolicy;
use crate::resource::{Name, Problem};

/// `Route.action`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RouteAction {
    /// `route`: send it to a cluster.
    Forward(Box<Forward>),
    /// `redirect`: tell the caller where to go.
    Redirect(Redirect),
    /// `direct_response`: answer it here.
    DirectResponse(DirectResponse),
    /// `non_forwarding_action`: it is for the server that the caller reached.
    NonForwarding,
}

/// `RouteAction`: how a request is sent on.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// To which cluster.
    pub cluster: ClusterSpecifier,
    /// Status of the answer when there is no such cluster, default 503.
    pub cluster_not_found_response_code: StatusCode,
    /// `metadata_match`: only endpoints with this `envoy.lb` metadata.
    pub metadata_match: Metadata,
    /// What happens to the path.
    pub path_rewrite: Option<PathRewrite>,
    /// What happens to the host.
    pub host_rewrite: Option<HostRewrite>,
    /// `append_x_forwarded_host`: keep the original host in `x-forwarded-host` when it is rewritten.
    pub append_x_forwarded_host: bool,
    /// `timeout` of the whole response: unset is 15 s, zero is none.
    pub timeout: Option<Duration>,
    /// `idle_timeout`: unset is the connection manager's, zero is none.
    pub idle_timeout: Option<Duration>,
    /// `max_stream_duration`: limits the stream in place of all of the route's own timeouts (`timeout`,
    /// `max_grpc_timeout`), even when nothing is set in it.
    pub max_stream_duration: Option<MaxStreamDuration>,
    /// `max_grpc_timeout` (deprecated but what Istio sends): honour `grpc-timeout` up to this; zero is any.
    pub max_grpc_timeout: Option<Duration>,
    /// `grpc_timeout_offset` (deprecated): taken off the header's value.
    pub grpc_timeout_offset: Option<Duration>,
    /// The retry policy; `None` is the virtual host's.
    pub retry_policy: Option<Arc<RetryPolicy>>,
    /// The hedge policy; `None` is the virtual host's.
    pub hedge_policy: Option<HedgePolicy>,
    /// What consistent-hashing load balancers hash, in order.
    pub hash_policy: Vec<HashPolicy>,
    /// Where copies of the request go.
    pub mirror_policies: Vec<MirrorPolicy>,
    /// Which circuit breaker thresholds and connection pool are used.
    pub priority: RoutingPriority,
    /// `rate_limits`.
    pub rate_limits: Vec<RateLimit>,
    /// `include_vh_rate_limits`: those of the virtual host count as well.
    pub include_virtual_host_rate_limits: bool,
    /// Upgrades allowed or refused on this route.
    pub upgrade_configs: Vec<UpgradeConfig>,
}

impl Forward {
    /// Forwards to `cluster` with Envoy's defaults.
    #[must_use]
    pub fn new(cluster: ClusterSpecifier) -> Self {
        Self {
            cluster,
            cluster_not_found_response_code: StatusCode::SERVICE_UNAVAILABLE,
            metadata_match: Metadata::new(),
            path_rewrite: None,
            host_rewrite: None,
            append_x_forwarded_host: false,
            timeout: None,
            idle_timeout: None,
            max_stream_duration: None,
            max_grpc_timeout: None,
            grpc_timeout_offset: None,
            retry_policy: None,
            hedge_policy: None,
            hash_policy: Vec::new(),
            mirror_policies: Vec::new(),
            priority: RoutingPriority::Default,
            rate_limits: Vec::new(),
            include_virtual_host_rate_limits: false,
            upgrade_configs: Vec::new(),
        }
    }

    /// Forwards to the cluster of this name with Envoy's defaults.
    pub fn to(cluster: impl Into<Name>) -> Self {
        Self::new(ClusterSpecifier::Cluster(cluster.into()))
    }
}

/// `RouteAction.cluster_specifier`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ClusterSpecifier {
    /// `cluster`.
    Cluster(Name),
    /// `cluster_header`: the request header that names the cluster.
    ClusterHeader(String),
    /// `weighted_clusters`.
    WeightedClusters(WeightedClusters),
}

/// `WeightedCluster`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct WeightedClusters {
    /// The entries; an entry of weight 0 gets nothing.
    pub clusters: Vec<WeightedCluster>,
    /// `random_value_header`: a request header with the number to draw by.
    pub random_value_header: Option<String>,
}

/// `WeightedCluster.ClusterWeight`.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedCluster {
    /// The cluster, by name or by header. A weighted list inside a weighted list is refused when compiled.
    pub cluster: ClusterSpecifier,
    /// Its share of the sum.
    pub weight: u32,
    /// `metadata_match` on top of the route's.
    pub metadata_match: Metadata,
    /// Changes to its requests.
    pub request_headers: HeaderMutations,
    /// Changes to its responses.
    pub response_headers: HeaderMutations,
    /// `typed_per_filter_config`.
    pub per_filter_config: PerFilterConfig,
    /// `host_rewrite_literal`.
    pub host_rewrite_literal: Option<String>,
}

impl WeightedCluster {
    /// An entry with nothing but a cluster and a weight.
    pub fn new(cluster: impl Into<Name>, weight: u32) -> Self {
        Self {
            cluster: ClusterSpecifier::Cluster(cluster.into()),
            weight,
            metadata_match: Metadata::new(),
            request_headers: HeaderMutations::default(),
            response_headers: HeaderMutations::default(),
            per_filter_config: PerFilterConfig::new(),
            host_rewrite_literal: None,
        }
    }
}

/// What happens to a forwarded request's path; its query is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathRewrite {
    /// `prefix_rewrite`: replaces what matched (a matched prefix, else the whole path).
    Prefix(String),
    /// `regex_rewrite`: replaces every match.
    Regex(RegexRewrite),
    /// `path_rewrite_policy` with a URI template over the variables of the matched one.
    UriTemplate(String),
}

impl PathRewrite {
    /// Judges the three fields, which exclude one another.
    ///
    /// # Errors
    /// When more than one is given.
    pub fn one_of(
        prefix_rewrite: Option<String>,
        regex_rewrite: Option<RegexRewrite>,
        path_rewrite_policy: Option<String>,
    ) -> Result<Option<Self>, Problem> {
        let mut given = prefix_rewrite
            .map(Self::Prefix)
            .into_iter()
            .chain(regex_rewrite.map(Self::Regex))
            .chain(path_rewrite_policy.map(Self::UriTemplate));
        let first = given.next();
        if given.next().is_some() {
            return Err(Problem::Conflict(
                "at most one of prefix_rewrite, regex_rewrite and path_rewrite_policy may be set".to_owned(),
            ));
        }
        Ok(first)
    }
}

/// `envoy.type.matcher.v3.RegexMatchAndSubstitute`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegexRewrite {
    /// The regular expression; every match is replaced.
    pub pattern: String,
    /// The replacement, with `\0` to `\9` for groups and `\\` for a backslash.
    pub substitution: String,
}

/// `RouteAction.host_rewrite_specifier`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostRewrite {
    /// `host_rewrite_literal`.
    Literal(String),
    /// `auto_host_rewrite`: the endpoint's host name.
    Auto,
    /// `host_rewrite_header`: the value of this request header; nothing happens when it is absent or empty.
    Header(String),
    /// `host_rewrite_path_regex`: the path, rewritten.
    PathRegex(RegexRewrite),
}

/// `RouteAction.MaxStreamDuration`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MaxStreamDuration {
    /// The stream's absolute limit; unset is the connection manager's, zero is none.
    pub max_stream_duration: Option<Duration>,
    /// Honour `grpc-timeout` up to this; zero is any, unset is not at all.
    pub grpc_timeout_header_max: Option<Duration>,
    /// Taken off the header's value.
    pub grpc_timeout_header_offset: Option<Duration>,
}

/// `RoutingPriority`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum RoutingPriority {
    /// `DEFAULT`.
    #[default]
    Default,
    /// `HIGH`.
    High,
}

/// `RouteAction.UpgradeConfig`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeConfig {
    /// The protocol, e.g. `websocket` or `CONNECT`; compared without case.
    pub upgrade_type: String,
    /// Whether it is passed on, default true.
    pub enabled: bool,
}

/// `HedgePolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct HedgePolicy {
    /// A try that times out is kept while the next one runs.
    pub hedge_on_per_try_timeout: bool,
}

/// `RouteAction.RequestMirrorPolicy`.
#[derive(Clone, Debug, PartialEq)]
pub struct MirrorPolicy {
    /// Where the copy goes: a cluster by name or by header, never weighted.
    pub cluster: ClusterSpecifier,
    /// The share of requests copied; `None` is all.
    pub runtime_fraction: Option<FractionalPercent>,
    /// `trace_sampled`: unset is as the original.
    pub trace_sampled: Option<bool>,
    /// `disable_shadow_host_suffix_append`: leave out the `-shadow` behind the host.
    pub disable_shadow_host_suffix_append: bool,
    /// `request_headers_mutations`, in order: each step changes the copy's headers as the one before left them.
    pub request_headers: Vec<HeaderMutations>,
    /// `host_rewrite_literal`: the copy's host, without a suffix.
    pub host_rewrite_literal: Option<String>,
}

impl MirrorPolicy {
    /// Copies of all requests go to this cluster.
    pub fn to(cluster: impl Into<Name>) -> Self {
        Self {
            cluster: ClusterSpecifier::Cluster(cluster.into()),
            runtime_fraction: None,
            trace_sampled: None,
            disable_shadow_host_suffix_append: false,
            request_headers: Vec::new(),
            host_rewrite_literal: None,
        }
    }
}

/// `RouteAction.HashPolicy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashPolicy {
    /// What is hashed.
    pub specifier: HashSpecifier,
    /// Later policies are left out once there is a hash.
    pub terminal: bool,
}

/// `HashPolicy.policy_specifier`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashSpecifier {
    /// `header`.
    Header {
        /// The header.
        name: String,
        /// Applied to its values before they are hashed.
        regex_rewrite: Option<RegexRewrite>,
    },
    /// `cookie`.
    Cookie {
        /// The cookie.
        name: String,
        /// When set, a missing cookie is made: zero for the session.
        ttl: Option<Duration>,
        /// Path of a made cookie; empty is none.
        path: String,
        /// Further attributes of a made cookie; one without a value is empty.
        attributes: Vec<(String, String)>,
    },
    /// `connection_properties.source_ip`.
    SourceIp,
    /// `query_parameter`.
    QueryParameter(String),
    /// `filter_state`.
    FilterState(String),
}

/// `RedirectAction`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// What happens to the scheme.
    pub scheme: Option<SchemeRedirect>,
    /// `host_redirect`; the request's port goes with its host.
    pub host: Option<String>,
    /// `port_redirect`.
    pub port: Option<u16>,
    /// What happens to the path.
    pub path: Option<PathRedirect>,
    /// `response_code`: 301, 302, 303, 307 or 308.
    pub response_code: StatusCode,
    /// `strip_query`.
    pub strip_query: bool,
}

impl Default for Redirect {
    fn default() -> Self {
        Self {
            scheme: None,
            host: None,
            port: None,
            path: None,
            response_code: StatusCode::MOVED_PERMANENTLY,
            strip_query: false,
        }
    }
}

/// `RedirectAction.scheme_rewrite_specifier`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemeRedirect {
    /// `https_redirect`.
    Https,
    /// `scheme_redirect`.
    Scheme(String),
}

/// `RedirectAction.path_rewrite_specifier`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathRedirect {
    /// `path_redirect`: the whole path; a query of its own replaces the request's.
    Path(String),
    /// `prefix_rewrite`.
    Prefix(String),
    /// `regex_rewrite`.
    Regex(RegexRewrite),
}

/// `DirectResponseAction`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectResponse {
    /// `status`, 200 to 599.
    pub status: StatusCode,
    /// `body`.
    pub body: Bytes,
}

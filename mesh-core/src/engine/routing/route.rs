//! A route in compiled form.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::uri::Authority;

use super::ClusterId;
use super::hash_policy::CompiledHashPolicy;
use super::mirror::Mirror;
use super::redirect::CompiledRedirect;
use super::rewrite::{CompiledHostRewrite, CompiledPathRewrite};
use super::weighted::Weights;
use crate::engine::headers::HeaderChanges;
use crate::engine::matcher::HeaderKey;
use crate::engine::rate_limit::RouteRateLimits;
use crate::engine::retry::Retry;
use crate::engine::timeout::RouteTimeouts;
use crate::resource::Name;
use crate::resource::metadata::Metadata;
use crate::resource::retry::RetryPolicy;
use crate::resource::route::{HedgePolicy, RoutingPriority, UpgradeConfig};

/// A route, ready for the request path. What configuration leaves to the virtual host is already filled in.
#[derive(Debug)]
pub struct CompiledRoute {
    pub(super) name: Name,
    pub(super) virtual_host: Name,
    pub(super) action: Action,
    pub(super) metadata: Metadata,
    pub(super) request_changes: Box<[Arc<HeaderChanges>]>,
    pub(super) response_changes: Box<[Arc<HeaderChanges>]>,
    pub(super) overrides: usize,
    pub(super) request_body_buffer_limit: Option<u64>,
    pub(super) effects: Effects,
}

/// What every request asks of its route, settled once. Of a route with weighted clusters it holds if it holds of any.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Effects {
    /// A request may be sent on in another form.
    pub(super) on_request: bool,
    /// A response may be changed.
    pub(super) on_response: bool,
    /// A response may be changed by what the request was.
    pub(super) response_reads_request: bool,
}

impl Effects {
    pub(super) fn of(action: &Action, request: &[Arc<HeaderChanges>], response: &[Arc<HeaderChanges>]) -> Self {
        let mut effects = Self {
            on_request: !request.is_empty(),
            on_response: !response.is_empty(),
            response_reads_request: response.iter().any(|changes| changes.reads_request()),
        };
        let Action::Forward(forwarding) = action else { return effects };
        effects.on_request |= forwarding.host_rewrite.is_some() || forwarding.path_rewrite.is_some();
        if let Targets::Weighted { entries, .. } = &forwarding.targets {
            for entry in entries {
                effects.on_request |= entry.request_changes.is_some() || entry.host_rewrite.is_some();
                effects.on_response |= entry.response_changes.is_some();
                effects.response_reads_request |=
                    entry.response_changes.as_ref().is_some_and(HeaderChanges::reads_request);
            }
        }
        let makes_cookies = forwarding.hash_policy.iter().any(CompiledHashPolicy::makes_cookies);
        effects.on_response |= makes_cookies;
        effects.response_reads_request |= makes_cookies;
        effects
    }
}

/// What a route does with a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum Action {
    /// Sends it to a cluster.
    Forward(Box<Forwarding>),
    /// Tells the caller where to go.
    Redirect(Box<CompiledRedirect>),
    /// Sends callers without TLS to `https` (`require_tls`).
    RequireTls,
    /// Answers it.
    DirectResponse {
        /// The status.
        status: StatusCode,
        /// The body.
        body: Bytes,
    },
    /// Leaves it to the server that was called.
    NonForwarding,
    /// There is no route: 404.
    NoRoute,
}

/// How a route sends requests on.
#[derive(Debug)]
pub struct Forwarding {
    pub(super) targets: Targets,
    pub(super) cluster_not_found: StatusCode,
    pub(super) path_rewrite: Option<CompiledPathRewrite>,
    pub(super) host_rewrite: Option<CompiledHostRewrite>,
    pub(super) append_x_forwarded_host: bool,
    pub(super) timeouts: RouteTimeouts,
    pub(super) retry: Option<Arc<Retry>>,
    pub(super) retry_policy: Option<Arc<RetryPolicy>>,
    pub(super) hedge_policy: Option<HedgePolicy>,
    pub(super) hash_policy: Box<[CompiledHashPolicy]>,
    pub(super) mirrors: Box<[Mirror]>,
    pub(super) priority: RoutingPriority,
    pub(super) upgrades: Box<[UpgradeConfig]>,
    pub(super) rate_limits: Option<Box<RouteRateLimits>>,
    pub(super) metadata_match: Metadata,
}

/// Where a route sends requests.
#[derive(Debug)]
pub(super) enum Targets {
    One(ClusterRef),
    Weighted { entries: Box<[Entry]>, weights: Weights, random_value_header: Option<HeaderKey> },
}

/// One of several weighted clusters.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) cluster: ClusterRef,
    pub(super) request_changes: Option<HeaderChanges>,
    pub(super) response_changes: Option<HeaderChanges>,
    pub(super) host_rewrite: Option<Authority>,
    pub(super) metadata_match: Metadata,
    pub(super) overrides: usize,
}

/// A cluster that a route names, or the request header that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterRef {
    /// By name: the snapshot's number for it, and the name for messages.
    Cluster(ClusterId, Name),
    /// By the first value of a request header.
    Header(HeaderKey),
}

impl CompiledRoute {
    /// The route's name; may be empty.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// The virtual host's name.
    #[must_use]
    pub const fn virtual_host(&self) -> &Name {
        &self.virtual_host
    }

    /// What happens to a request.
    #[must_use]
    pub const fn action(&self) -> &Action {
        &self.action
    }

    /// `metadata`.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The retry policy in force, compiled: the route's, else the virtual host's.
    #[must_use]
    pub fn retry(&self) -> Option<&Arc<Retry>> {
        self.forwarding()?.retry.as_ref()
    }

    /// The retry policy in force, as configured.
    #[must_use]
    pub fn retry_policy(&self) -> Option<&Arc<RetryPolicy>> {
        self.forwarding()?.retry_policy.as_ref()
    }

    /// The hedge policy in force.
    #[must_use]
    pub fn hedge_policy(&self) -> Option<HedgePolicy> {
        self.forwarding()?.hedge_policy
    }

    /// Whether a try that takes too long goes on while the next one runs.
    #[must_use]
    pub fn hedges(&self) -> bool {
        self.hedge_policy().is_some_and(|policy| policy.hedge_on_per_try_timeout)
    }

    /// The timeouts, as configured.
    #[must_use]
    pub fn timeouts(&self) -> &RouteTimeouts {
        self.forwarding().map_or(&RouteTimeouts::UNSET, |forwarding| &forwarding.timeouts)
    }

    /// Where copies go: the route's mirrors, else the virtual host's, else the route configuration's.
    #[must_use]
    pub fn mirrors(&self) -> &[Mirror] {
        self.forwarding().map_or(&[], |forwarding| &forwarding.mirrors)
    }

    /// What consistent-hashing load balancers hash.
    #[must_use]
    #[inline]
    pub fn hash_policy(&self) -> &[CompiledHashPolicy] {
        self.forwarding().map_or(&[], |forwarding| &forwarding.hash_policy)
    }

    /// Which circuit breaker thresholds count.
    #[must_use]
    pub fn priority(&self) -> RoutingPriority {
        self.forwarding().map_or(RoutingPriority::Default, |forwarding| forwarding.priority)
    }

    /// What the route and its virtual host say of requests for rate limits, if they say anything.
    #[must_use]
    pub fn rate_limits(&self) -> Option<&RouteRateLimits> {
        self.forwarding()?.rate_limits.as_deref()
    }

    /// `upgrade_configs`.
    #[must_use]
    pub fn upgrades(&self) -> &[UpgradeConfig] {
        self.forwarding().map_or(&[], |forwarding| &forwarding.upgrades)
    }

    /// Status of the answer when the cluster does not exist.
    #[must_use]
    pub fn cluster_not_found_response_code(&self) -> StatusCode {
        self.forwarding().map_or(StatusCode::SERVICE_UNAVAILABLE, |forwarding| forwarding.cluster_not_found)
    }

    /// How many bytes of a request body are kept; the route's limit, else the virtual host's.
    #[must_use]
    pub const fn request_body_buffer_limit(&self) -> Option<u64> {
        self.request_body_buffer_limit
    }

    /// The clusters that the route names, mirrors left out.
    pub fn cluster_ids(&self) -> impl Iterator<Item = (ClusterId, &Name)> {
        let (one, entries) = match self.forwarding().map(|forwarding| &forwarding.targets) {
            Some(Targets::One(cluster)) => (Some(cluster), &[][..]),
            Some(Targets::Weighted { entries, .. }) => (None, &entries[..]),
            None => (None, &[][..]),
        };
        one.into_iter().chain(entries.iter().map(|entry| &entry.cluster)).filter_map(|cluster| match cluster {
            ClusterRef::Cluster(id, name) => Some((*id, name)),
            ClusterRef::Header(_) => None,
        })
    }

    pub(super) fn forwarding(&self) -> Option<&Forwarding> {
        match &self.action {
            Action::Forward(forwarding) => Some(forwarding),
            _ => None,
        }
    }

    pub(super) fn entry(&self, at: Option<usize>) -> Option<&Entry> {
        match &self.forwarding()?.targets {
            Targets::Weighted { entries, .. } => entries.get(at?),
            Targets::One(_) => None,
        }
    }
}

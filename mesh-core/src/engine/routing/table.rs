//! The compiled route configuration, and the decision.

use std::ops::Range;

use http::{HeaderMap, HeaderName};

use super::condition::{Condition, View};
use super::hosts::Hosts;
use super::overrides::{FilterOverrides, Words};
use super::path_match::PathMatch;
use super::redirect;
use super::route::{Action, ClusterRef, CompiledRoute, Entry, Targets};
use super::scan::Index;
use super::{ClusterId, draw};
use crate::engine::facts::RequestFacts;
use crate::engine::local_reply::LocalReply;
use crate::engine::matcher::HeaderMatch;
use crate::resource::metadata::Metadata;
use crate::resource::route::TlsRequirement;
use crate::resource::{Invalid, Name};

/// A route configuration, compiled. Immutable; decisions made with it belong to it.
#[derive(Debug)]
pub struct RouteTable {
    pub(super) hosts: Hosts,
    pub(super) virtual_hosts: Box<[VirtualHost]>,
    /// The conditions of all routes, side by side for the scan.
    pub(super) conditions: Box<[Condition]>,
    /// The routes of the conditions, and behind them the one that asks for TLS and the one for what no route takes.
    pub(super) routes: Box<[CompiledRoute]>,
    pub(super) overrides: Box<[FilterOverrides]>,
    pub(super) words: Words,
    pub(super) internal_only_headers: Box<[HeaderName]>,
    pub(super) ignore_path_parameters: bool,
}

/// A virtual host, compiled.
#[derive(Debug)]
pub(super) struct VirtualHost {
    pub(super) name: Name,
    pub(super) require_tls: TlsRequirement,
    pub(super) routes: Range<usize>,
    /// What the routes' paths must have: tested first.
    pub(super) index: Index,
    pub(super) virtual_clusters: Box<[VirtualCluster]>,
    pub(super) include_request_attempt_count: bool,
    pub(super) include_attempt_count_in_response: bool,
    pub(super) include_is_timeout_retry_header: bool,
}

/// A name for the requests whose headers all match.
#[derive(Debug)]
pub(super) struct VirtualCluster {
    pub(super) name: Name,
    pub(super) headers: Box<[HeaderMatch]>,
}

/// Which route a request takes, and which of its weighted clusters. Only for the table that decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteDecision {
    pub(super) virtual_host: u32,
    pub(super) route: u32,
    /// `u32::MAX`: the route has no weighted clusters.
    pub(super) entry: u32,
}

/// What becomes of a request by a decision.
#[derive(Debug)]
pub enum Decided<'a> {
    /// It goes to this cluster. `None`: by a header that is not there, so that there is no cluster.
    Forward(Option<ClusterId>),
    /// It goes to the cluster that the request names.
    ForwardByName(&'a str),
    /// It is answered.
    Reply(Box<LocalReply>),
    /// It is for the server that was called.
    NonForwarding,
}

/// No route takes the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// No virtual host is for its host.
    #[error("no virtual host")]
    VirtualHost,
    /// None of the virtual host's routes matches.
    #[error("no route")]
    Route,
}

impl NoRoute {
    /// The answer: 404, `NR`.
    #[must_use]
    pub fn into_reply(self, _facts: &RequestFacts<'_>) -> LocalReply {
        LocalReply::no_route()
    }
}

/// `x-envoy-internal: true`, which only the mesh itself sets.
const INTERNAL: HeaderName = HeaderName::from_static("x-envoy-internal");
/// Uses of a request's random number.
const FRACTION: u64 = 1;
const WEIGHT: u64 = 2;

impl RouteTable {
    /// Compiles a route configuration. `resolve` gives each cluster name its number, whether or not the cluster
    /// exists yet.
    ///
    /// # Errors
    /// What Envoy refuses, with the protobuf path of the field: two virtual hosts for one name, weights without a
    /// sum, regular expressions and format strings that do not compile, and so on.
    pub fn compile(
        config: &crate::resource::route::RouteConfiguration,
        resolve: &mut dyn FnMut(&str) -> ClusterId,
    ) -> Result<Self, Invalid> {
        super::compile::compile(config, None, resolve)
    }

    /// As [`Self::compile`], in place of `before`: what says the same to a filter as before keeps its state.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub fn compile_after(
        config: &crate::resource::route::RouteConfiguration,
        before: Option<&Self>,
        resolve: &mut dyn FnMut(&str) -> ClusterId,
    ) -> Result<Self, Invalid> {
        super::compile::compile(config, before, resolve)
    }

    /// Chooses the route. `random` is the request's: the same number decides the same.
    ///
    /// # Errors
    /// No virtual host or no route takes the request.
    #[inline]
    pub fn decide(&self, facts: &RequestFacts<'_>, random: u64) -> Result<RouteDecision, NoRoute> {
        self.decide_by(facts, |salt| draw(random, salt))
    }

    /// Chooses the route, every draw giving `value` itself: for whoever says which share is meant, as Envoy's
    /// `router_check_tool` does.
    ///
    /// # Errors
    /// As [`Self::decide`].
    pub fn decide_as_drawn(&self, facts: &RequestFacts<'_>, value: u64) -> Result<RouteDecision, NoRoute> {
        self.decide_by(facts, |_| value)
    }

    #[inline]
    fn decide_by(&self, facts: &RequestFacts<'_>, drawn: impl Fn(u64) -> u64) -> Result<RouteDecision, NoRoute> {
        let (number, _) = self.hosts.find(facts.authority).ok_or(NoRoute::VirtualHost)?;
        let host = self.virtual_host(number).ok_or(NoRoute::VirtualHost)?;
        if host.asks_for_tls(facts) {
            return Ok(self.require_tls(number));
        }
        let view = self.view(facts, drawn(FRACTION));
        let conditions = self.conditions.get(host.routes.clone()).unwrap_or_default();
        let matches = |at: usize| conditions.get(at).is_some_and(|condition| condition.check(&view).is_ok());
        let found = host.index.find(view.path(), matches).ok_or(NoRoute::Route)?;
        Ok(self.chosen(number, host.routes.start + found, facts, || drawn(WEIGHT)))
    }

    fn view<'a>(&self, facts: &'a RequestFacts<'a>, drawn: u64) -> View<'a> {
        View::new(facts, self.ignore_path_parameters, drawn)
    }

    /// As [`Self::decide`] draws, for [`Self::explain`].
    pub(super) fn view_drawn<'a>(&self, facts: &'a RequestFacts<'a>, random: u64) -> View<'a> {
        self.view(facts, draw(random, FRACTION))
    }

    /// As [`Self::decide`] draws, for [`Self::explain`].
    pub(super) fn chosen_drawn(
        &self,
        virtual_host: u32,
        route: usize,
        facts: &RequestFacts<'_>,
        random: u64,
    ) -> RouteDecision {
        self.chosen(virtual_host, route, facts, || draw(random, WEIGHT))
    }

    pub(super) fn virtual_host(&self, number: u32) -> Option<&VirtualHost> {
        self.virtual_hosts.get(usize::try_from(number).ok()?)
    }

    /// The decision to send the caller to `https`.
    pub(super) fn require_tls(&self, virtual_host: u32) -> RouteDecision {
        RouteDecision { virtual_host, route: number(self.conditions.len()), entry: u32::MAX }
    }

    /// A decision that says nothing more about a request on its way to a cluster: no retries, no timeouts, no header
    /// changes, no subset. For copies, whose cluster their mirror names.
    #[must_use]
    pub fn unrouted(&self, decision: RouteDecision) -> RouteDecision {
        self.require_tls(decision.virtual_host)
    }

    /// The decision about a request that no route takes: its route answers 404, for requests that filters are to see
    /// first.
    #[must_use]
    pub fn no_route(&self) -> RouteDecision {
        RouteDecision { virtual_host: u32::MAX, route: number(self.conditions.len() + 1), entry: u32::MAX }
    }

    /// Whether a decision is for a route of the configuration's virtual hosts.
    #[must_use]
    pub fn is_route(&self, decision: RouteDecision) -> bool {
        !matches!(self.route(decision).action, Action::NoRoute)
    }

    /// The decision for a route, its weighted cluster drawn.
    #[inline]
    fn chosen(
        &self,
        virtual_host: u32,
        route: usize,
        facts: &RequestFacts<'_>,
        drawn: impl FnOnce() -> u64,
    ) -> RouteDecision {
        let entry = match self.routes[route].forwarding().map(|forwarding| &forwarding.targets) {
            Some(Targets::Weighted { weights, random_value_header, .. }) => {
                let given = random_value_header
                    .as_ref()
                    .and_then(|name| std::str::from_utf8(name.first(facts)?).ok()?.parse().ok());
                number(weights.draw(given.unwrap_or_else(drawn)))
            }
            _ => u32::MAX,
        };
        RouteDecision { virtual_host, route: number(route), entry }
    }

    /// The route of a decision.
    ///
    /// # Panics
    /// When another table decided.
    #[must_use]
    pub fn route(&self, decision: RouteDecision) -> &CompiledRoute {
        &self.routes[decision.route as usize]
    }

    /// What becomes of the request by a decision about it.
    #[must_use]
    pub fn action<'a>(&'a self, decision: RouteDecision, facts: &'a RequestFacts<'a>) -> Decided<'a> {
        let route = self.route(decision);
        match &route.action {
            Action::Forward(_) => match self.cluster(decision) {
                Some(ClusterRef::Cluster(id, _)) => Decided::Forward(Some(*id)),
                Some(ClusterRef::Header(name)) => {
                    let named = name
                        .first(facts)
                        .and_then(|name| std::str::from_utf8(name).ok())
                        .filter(|name| !name.is_empty());
                    named.map_or(Decided::Forward(None), Decided::ForwardByName)
                }
                None => Decided::Forward(None),
            },
            Action::Redirect(redirect) => {
                let reply = self
                    .path_match(decision)
                    .map_or_else(LocalReply::rewrite_failed, |path| redirect.reply(facts, path));
                Decided::Reply(Box::new(reply))
            }
            Action::RequireTls => Decided::Reply(Box::new(redirect::to_https(facts))),
            Action::DirectResponse { status, body } => Decided::Reply(Box::new(redirect::direct(*status, body, facts))),
            Action::NonForwarding => Decided::NonForwarding,
            Action::NoRoute => Decided::Reply(Box::new(LocalReply::no_route())),
        }
    }

    /// The cluster of a decision that forwards.
    #[must_use]
    pub fn cluster(&self, decision: RouteDecision) -> Option<&ClusterRef> {
        match (&self.route(decision).forwarding()?.targets, self.entry(decision)) {
            (Targets::One(cluster), _) => Some(cluster),
            (Targets::Weighted { .. }, entry) => entry.map(|entry| &entry.cluster),
        }
    }

    /// The subset of endpoints that a decision asks for: the weighted cluster's on top of the route's.
    #[must_use]
    pub fn metadata_match(&self, decision: RouteDecision) -> Option<&Metadata> {
        let of_route = || self.route(decision).forwarding().map(|forwarding| &forwarding.metadata_match);
        self.entry(decision)
            .map(|entry| &entry.metadata_match)
            .or_else(of_route)
            .filter(|metadata| !metadata.is_empty())
    }

    pub(super) fn entry(&self, decision: RouteDecision) -> Option<&Entry> {
        self.route(decision).entry(usize::try_from(decision.entry).ok())
    }

    pub(super) fn path_match(&self, decision: RouteDecision) -> Option<&PathMatch> {
        self.conditions.get(decision.route as usize).map(|condition| &condition.path)
    }

    /// The name of the first virtual cluster whose headers match; for statistics.
    #[must_use]
    pub fn virtual_cluster(&self, decision: RouteDecision, facts: &RequestFacts<'_>) -> Option<&Name> {
        let host = self.virtual_host(decision.virtual_host)?;
        let found = host.virtual_clusters.iter().find(|cluster| cluster.headers.iter().all(|one| one.matches(facts)));
        found.map(|cluster| &cluster.name)
    }

    /// Whether the decision's virtual host names any virtual cluster: then a request of none belongs to `other`.
    #[must_use]
    pub fn has_virtual_clusters(&self, decision: RouteDecision) -> bool {
        self.virtual_host(decision.virtual_host).is_some_and(|host| !host.virtual_clusters.is_empty())
    }

    /// The virtual host's name.
    #[must_use]
    pub fn virtual_host_name(&self, decision: RouteDecision) -> Option<&Name> {
        self.virtual_host(decision.virtual_host).map(|host| &host.name)
    }

    /// Whether a virtual host is for this authority.
    #[must_use]
    pub fn names_host(&self, authority: &str) -> bool {
        self.hosts.find(authority).is_some()
    }

    /// Whether a virtual host is for this authority in particular, and not for every one (`*`).
    #[must_use]
    pub fn names_host_itself(&self, authority: &str) -> bool {
        self.hosts.find(authority).is_some_and(|(_, by)| by != super::hosts::By::Any)
    }

    /// Whether the upstream is told which try it sees (`include_request_attempt_count`).
    #[must_use]
    pub fn includes_attempt_count(&self, decision: RouteDecision) -> bool {
        self.virtual_host(decision.virtual_host).is_some_and(|host| host.include_request_attempt_count)
    }

    /// Whether the upstream is told that a retry follows a timeout (`include_is_timeout_retry_header`).
    #[must_use]
    pub fn includes_is_timeout_retry(&self, decision: RouteDecision) -> bool {
        self.virtual_host(decision.virtual_host).is_some_and(|host| host.include_is_timeout_retry_header)
    }

    /// Where what all levels say about filters is kept.
    fn override_set(&self, decision: RouteDecision) -> usize {
        self.entry(decision).map_or_else(|| self.route(decision).overrides, |entry| entry.overrides)
    }

    /// What all levels say about filters, for a decision.
    #[must_use]
    pub fn overrides(&self, decision: RouteDecision) -> Option<&FilterOverrides> {
        self.overrides.get(self.override_set(decision))
    }

    /// The routes, in the order of the configuration.
    #[must_use]
    pub fn routes(&self) -> &[CompiledRoute] {
        &self.routes[..self.conditions.len()]
    }

    /// Removes `internal_only_headers`: for requests that do not come from within, before routing.
    pub fn remove_internal_only_headers(&self, headers: &mut HeaderMap) {
        for name in &self.internal_only_headers {
            headers.remove(name);
        }
    }
}

impl VirtualHost {
    pub(super) fn asks_for_tls(&self, facts: &RequestFacts<'_>) -> bool {
        match self.require_tls {
            TlsRequirement::None => false,
            TlsRequirement::All => facts.scheme != "https",
            TlsRequirement::ExternalOnly => {
                facts.scheme != "https" && facts.headers.get(INTERNAL).is_none_or(|value| value != "true")
            }
        }
    }
}

/// A position as the decision keeps it. Tables are checked to be small enough when they are compiled.
pub(super) fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

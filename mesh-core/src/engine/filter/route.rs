//! What a filter may ask about the route of a request, and what the route says to the filter.

use std::sync::Arc;

use crate::engine::buffer::BufferLimit;
use crate::engine::cors::CorsPolicy;
use crate::engine::facts::RequestFacts;
use crate::engine::fault::FaultSettings;
use crate::engine::header_mutation::Mutations;
use crate::engine::rate_limit::RouteLimit;
use crate::engine::routing::{ClusterRef, CompiledRoute, RouteDecision, RouteTable};
use crate::resource::Name;
use crate::resource::metadata::Metadata;

/// One level's word to a filter, compiled.
#[derive(Debug)]
pub struct RouteFilter {
    /// The filter is off here.
    pub disabled: bool,
    /// Its configuration here; `None` leaves it its own.
    pub config: Option<RouteConfig>,
}

/// A route's configuration for a filter, compiled. It may hold state: it is kept as it is when routes arrive anew and
/// say the same.
#[derive(Debug)]
#[non_exhaustive]
pub enum RouteConfig {
    /// Of the buffer filter.
    Buffer(BufferLimit),
    /// Of the local rate limit: with its buckets.
    LocalRateLimit(RouteLimit),
    /// Of the fault filter.
    Fault(Box<FaultSettings>),
    /// Of the CORS filter.
    Cors(Box<CorsPolicy>),
    /// Of the header mutation filter.
    HeaderMutation(Box<Mutations>),
    /// Of a filter that is left out. The type URL.
    NotInForce(Name),
}

/// What route configuration, virtual host, route and weighted cluster say to one filter.
#[derive(Clone, Copy, Debug, Default)]
pub struct RouteConfigs<'a>(&'a [Arc<RouteFilter>]);

impl<'a> RouteConfigs<'a> {
    /// The levels that say something, the least specific first.
    #[must_use]
    pub const fn new(levels: &'a [Arc<RouteFilter>]) -> Self {
        Self(levels)
    }

    /// The word in force: the most specific level's.
    #[must_use]
    pub fn word(self) -> Option<&'a RouteFilter> {
        self.0.last().map(|level| &**level)
    }

    /// The most specific level's configuration.
    #[must_use]
    pub fn effective(self) -> Option<&'a RouteConfig> {
        self.word()?.config.as_ref()
    }

    /// Every level's configuration, the most specific first. For filters that merge.
    pub fn levels(self) -> impl DoubleEndedIterator<Item = &'a RouteConfig> {
        self.0.iter().rev().filter_map(|level| level.config.as_ref())
    }
}

/// A request's route.
#[derive(Clone, Copy, Debug)]
pub struct RouteView<'a> {
    table: &'a RouteTable,
    decision: RouteDecision,
}

impl<'a> RouteView<'a> {
    /// `None` when no route takes the request.
    #[must_use]
    pub fn new(table: &'a RouteTable, decision: RouteDecision) -> Option<Self> {
        table.is_route(decision).then_some(Self { table, decision })
    }

    /// The route.
    #[must_use]
    pub fn route(self) -> &'a CompiledRoute {
        self.table.route(self.decision)
    }

    /// The route's name; may be empty.
    #[must_use]
    pub fn name(self) -> &'a Name {
        self.route().name()
    }

    /// The virtual host's name.
    #[must_use]
    pub fn virtual_host(self) -> &'a Name {
        self.route().virtual_host()
    }

    /// `Route.metadata`.
    #[must_use]
    pub fn metadata(self) -> &'a Metadata {
        self.route().metadata()
    }

    /// Whether it forwards, rather than answer itself.
    #[must_use]
    pub fn is_forwarded(self) -> bool {
        self.table.cluster(self.decision).is_some()
    }

    /// The cluster that was chosen: of a route that forwards. `facts` are those of the request.
    #[must_use]
    pub fn cluster<'f>(self, facts: &'f RequestFacts<'f>) -> Option<&'f str>
    where
        'a: 'f,
    {
        match self.table.cluster(self.decision)? {
            ClusterRef::Cluster(_, name) => Some(name),
            ClusterRef::Header(name) => std::str::from_utf8(name.first(facts)?).ok(),
        }
    }
}

//! What an HTTP filter is: asked on the way in, told on the way out, in the order the configuration gives.
//!
//! A filter never waits: what takes time it asks for as an [`Effect`], which the driver carries out and hands
//! back. One instance serves all requests; what it must remember of one goes into the request's [`Notes`].
//! `exchange::filters` runs them; the filters themselves are engines of their own. Spec: Envoy's HTTP filters.

mod compile;
mod notes;
mod route;
mod set;

pub use self::compile::{compile, compile_route};
pub use self::notes::{DynamicMetadata, Notes, RequestNotes};
pub use self::route::{RouteConfig, RouteConfigs, RouteFilter, RouteView};
pub use self::set::{FilterInstance, FilterSet};

use std::fmt;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use http::{HeaderMap, request, response};

use super::facts::{ConnectionFacts, RequestFacts};
use super::headers::UpstreamFacts;
use super::local_reply::{LocalReply, ResponseFlags};
use super::random::Random;
use crate::state::Lane;

/// One instance of a filter, shared by all requests.
pub trait HttpFilter: Send + Sync + fmt::Debug {
    /// Whether it does nothing at all on routes that say nothing to it. Requests on such routes are not shown to it.
    fn waits_for_route(&self) -> bool {
        false
    }

    /// A request's head arrived.
    fn on_request(&self, cx: &mut RequestCx<'_>) -> FilterStep;

    /// What the filter asked for is done. Default: go on.
    fn on_effect(&self, cx: &mut RequestCx<'_>, outcome: EffectOutcome) -> FilterStep {
        let _ = (cx, outcome);
        FilterStep::Continue
    }

    /// A response's head arrived; also an answer of any filter, one further out included, so that the request may be
    /// unknown here: as in Envoy, an answer passes every filter on its way out. Default: nothing.
    fn on_response(&self, cx: &mut ResponseCx<'_>) {
        let _ = cx;
    }

    /// The response's trailers arrived; called only if [`BodyPlan::trailers`] was set. Default: nothing.
    fn on_response_trailers(&self, cx: &mut TrailersCx<'_>) {
        let _ = cx;
    }
}

/// A filter's view of a request.
#[derive(Debug)]
pub struct RequestCx<'a> {
    /// The head; changes reach later filters, the router and the upstream.
    pub head: &'a mut request::Parts,
    /// The connection it came by.
    pub connection: &'a ConnectionFacts,
    /// What filters tell one another.
    pub dynamic_metadata: &'a mut DynamicMetadata,
    /// The route; `None` when no route takes the request.
    pub route: Option<RouteView<'a>>,
    /// What the route and the levels above it say to this filter.
    pub route_configs: RouteConfigs<'a>,
    /// The service cluster of this node; may be empty.
    pub service_cluster: &'a str,
    /// Whether the caller speaks gRPC.
    pub grpc: bool,
    /// Flags that the response is to carry, beside those of its own.
    pub flags: &'a mut ResponseFlags,
    /// What this filter remembers of the request, until the response's body has ended.
    pub notes: Notes<'a>,
    /// Now.
    pub now: Instant,
    /// The caller's lane, for sharded counters.
    pub lane: Lane,
    /// The request's randomness.
    pub random: &'a mut Random,
}

impl RequestCx<'_> {
    /// The request as matchers and format strings see it.
    #[must_use]
    pub fn facts(&self) -> RequestFacts<'_> {
        RequestFacts::of_head(self.head, self.connection, self.dynamic_metadata.all())
    }
}

/// A filter's view of a response.
#[derive(Debug)]
pub struct ResponseCx<'a> {
    /// The head.
    pub head: &'a mut response::Parts,
    /// The connection that the request came by.
    pub connection: &'a ConnectionFacts,
    /// What filters told one another.
    pub dynamic_metadata: &'a DynamicMetadata,
    /// The route.
    pub route: Option<RouteView<'a>>,
    /// What the route and the levels above it say to this filter.
    pub route_configs: RouteConfigs<'a>,
    /// Where the response came from; `None` for an answer made here.
    pub upstream: Option<UpstreamFacts<'a>>,
    /// Whether the caller speaks gRPC.
    pub grpc: bool,
    /// What this filter remembers of the request. What is left here is dropped when the response's body has ended.
    pub notes: Notes<'a>,
    /// What is to happen to the body.
    pub body: &'a mut BodyPlan,
    /// Now.
    pub now: Instant,
}

/// A filter's view of a response's trailers.
#[derive(Debug)]
pub struct TrailersCx<'a> {
    /// The trailers.
    pub trailers: &'a mut HeaderMap,
    /// The connection that the request came by.
    pub connection: &'a ConnectionFacts,
    /// What filters told one another.
    pub dynamic_metadata: &'a DynamicMetadata,
    /// The route.
    pub route: Option<RouteView<'a>>,
    /// What the route and the levels above it say to this filter.
    pub route_configs: RouteConfigs<'a>,
}

/// What filters want to happen to a response's body; by default it passes as it is, and costs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyPlan {
    /// Let no more than so many bytes a second pass.
    pub throttle: Option<NonZeroU64>,
    /// Show filters the trailers.
    pub trailers: bool,
}

/// What a filter wants to happen next.
#[derive(Debug)]
pub enum FilterStep {
    /// The next filter.
    Continue,
    /// Answer here; inner filters and the upstream never see the request. Finished as a local reply: the route's
    /// response headers are applied.
    Reply(Box<LocalReply>),
    /// Answer here with a response that is the filter's own: the route's response headers are not applied, and a gRPC
    /// caller gets it as it is.
    Respond(Box<LocalReply>),
    /// Wait for something, then ask this filter again.
    Ask(Box<Effect>),
    /// Choose the route anew, then go on with the next filter. Honoured a bounded number of times.
    Reroute,
}

/// Something that takes time. Exhaustive on purpose: a driver that does not know one does not compile, and cannot let a
/// request pass in its place.
#[derive(Debug)]
pub enum Effect {
    /// Wait.
    Sleep(Duration),
    /// Read the request's body to its end and keep it, unless it has more bytes than this.
    Buffer {
        /// The most bytes that are kept.
        max_bytes: u64,
    },
}

/// What came of an [`Effect`].
#[derive(Debug)]
#[non_exhaustive]
pub enum EffectOutcome {
    /// The time is over.
    Slept,
    /// The body is here.
    Buffered {
        /// Its length, trailers not counted.
        bytes: u64,
    },
    /// The body is longer than it may be. The request cannot go on.
    TooLarge,
    /// The caller's body ended with an error. The request goes on with what there is, and the error behind it.
    BodyFailed,
}

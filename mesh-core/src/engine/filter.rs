//! What an HTTP filter is: asked on the way in, told on the way out, in the order the configuration gives.
//!
//! A filter never waits: what takes time it asks for as an [`Effect`], which the driver carries out and hands
//! back. `exchange::filters` runs them; the filters themselves are engines of their own.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, request, response};

use super::facts::ConnectionFacts;
use super::local_reply::LocalReply;
use super::random::Random;
use crate::resource::Name;
use crate::resource::metadata::Metadata;
use crate::resource::route::FilterOverride;

/// One instance of a filter, shared by all requests.
pub trait HttpFilter: Send + Sync + fmt::Debug {
    /// A request's head arrived.
    fn on_request(&self, cx: &mut RequestCx<'_>) -> FilterStep;

    /// What the filter asked for is done. Default: go on.
    fn on_effect(&self, cx: &mut RequestCx<'_>, outcome: EffectOutcome) -> FilterStep {
        let _ = (cx, outcome);
        FilterStep::Continue
    }

    /// A response's head arrived (also a local reply of a filter further in). Default: nothing.
    fn on_response(&self, cx: &mut ResponseCx<'_>) {
        let _ = cx;
    }

    /// A piece of the request's body passes. Default: nothing.
    fn on_request_body(&self, data: &Bytes) {
        let _ = data;
    }

    /// The response's trailers arrived. Default: nothing.
    fn on_trailers(&self, trailers: &mut HeaderMap) {
        let _ = trailers;
    }
}

/// A filter with the name that routes know it by.
#[derive(Clone, Debug)]
pub struct FilterInstance {
    /// Key of `typed_per_filter_config`.
    pub name: Name,
    /// Off unless a route turns it on.
    pub disabled: bool,
    /// The filter.
    pub filter: Arc<dyn HttpFilter>,
}

/// A filter's view of a request.
#[derive(Debug)]
pub struct RequestCx<'a> {
    /// The head; changes reach later filters, the router and the upstream.
    pub head: &'a mut request::Parts,
    /// The connection it came by.
    pub connection: &'a ConnectionFacts,
    /// What filters tell one another.
    pub dynamic_metadata: &'a mut Metadata,
    /// What the route says about this filter.
    pub route_config: Option<&'a FilterOverride>,
    /// Now.
    pub now: Instant,
    /// The request's randomness.
    pub random: &'a mut Random,
}

/// A filter's view of a response.
#[derive(Debug)]
pub struct ResponseCx<'a> {
    /// The head.
    pub head: &'a mut response::Parts,
    /// What filters told one another.
    pub dynamic_metadata: &'a Metadata,
    /// What the route says about this filter.
    pub route_config: Option<&'a FilterOverride>,
}

/// What a filter wants to happen next.
#[derive(Debug)]
pub enum FilterStep {
    /// The next filter.
    Continue,
    /// Answer here; inner filters never see the request.
    Reply(Box<LocalReply>),
    /// Wait for something, then ask this filter again.
    Ask(Box<Effect>),
    /// Choose the route anew, then go on with the next filter. Honoured a bounded number of times.
    Reroute,
}

/// Something that takes time.
#[derive(Debug)]
#[non_exhaustive]
pub enum Effect {
    /// Wait.
    Sleep(Duration),
}

/// What came of an [`Effect`].
#[derive(Debug)]
#[non_exhaustive]
pub enum EffectOutcome {
    /// The time is over.
    Slept,
}

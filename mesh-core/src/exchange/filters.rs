//! Runs the filters of a request in the configured order, and in reverse on the way out.
//!
//! A run stops where a filter answers or asks for something that takes time; the driver does that and resumes
//! the run. A filter may have the route chosen anew, [`MOST_REROUTES`] times at the most.

use std::sync::Arc;
use std::time::Instant;

use http::{Request, Response};

use super::attempt::Filtered;
use super::outbound::{Answered, Responder, Routed, choose, head_of};
use crate::engine::facts::ConnectionFacts;
use crate::engine::filter::{Effect, EffectOutcome, FilterInstance, FilterStep, RequestCx, ResponseCx};
use crate::resource::metadata::Metadata;
use crate::resource::route::FilterOverride;

/// How often filters may have the route of one request chosen anew.
pub const MOST_REROUTES: u8 = 4;

/// What running the filters came to.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "the large variant is the usual one, and must not cost an allocation")]
pub enum FilterOutcome<B> {
    /// All passed: the request goes on, and its response comes back through the exit, if there is one.
    Forward(Filtered<B>, Option<FilterExit>),
    /// A filter waits for this; hand the outcome to [`Waiting::resume`].
    Ask(Effect, Box<Waiting<B>>),
    /// A filter answered; the answer has been through the filters before it.
    Reply(Box<Answered>, Option<FilterExit>),
}

/// A run that waits for an effect.
#[derive(Debug)]
pub struct Waiting<B> {
    routed: Routed<B>,
    chain: Arc<[FilterInstance]>,
    at: usize,
    reroutes: u8,
}

/// The way out: the filters that a request passed, to be told of its response in reverse order.
#[derive(Debug)]
pub struct FilterExit {
    chain: Arc<[FilterInstance]>,
    passed: usize,
    metadata: Metadata,
    overrides: Box<[Option<FilterOverride>]>,
    responder: Responder,
}

impl<B> Routed<B> {
    /// Runs the filters of the route's listener.
    #[inline]
    pub fn filter(mut self, now: Instant) -> FilterOutcome<B> {
        match self.filters.take() {
            None => self.into_filtered(None),
            Some(chain) => Waiting { routed: self, chain, at: 0, reroutes: 0 }.run(None, now),
        }
    }
}

impl<B> Waiting<B> {
    /// Goes on with what came of the effect that was asked for.
    #[must_use]
    pub fn resume(self, outcome: EffectOutcome, now: Instant) -> FilterOutcome<B> {
        self.run(Some(outcome), now)
    }

    fn run(mut self, mut resumed: Option<EffectOutcome>, now: Instant) -> FilterOutcome<B> {
        while let Some(instance) = self.chain.get(self.at) {
            let route_config = self.routed.filter_override(&instance.name).cloned();
            if is_off(instance, route_config.as_ref()) {
                self.at += 1;
                continue;
            }
            let filter = Arc::clone(&instance.filter);
            let (mut head, body) = self.routed.request.into_parts();
            let mut cx = RequestCx {
                head: &mut head,
                connection: &IN_PROCESS,
                dynamic_metadata: self.routed.flight.dynamic_metadata.get_or_insert_default(),
                route_config: route_config.as_ref(),
                now,
                random: &mut self.routed.flight.random,
            };
            let step = match resumed.take() {
                Some(outcome) => filter.on_effect(&mut cx, outcome),
                None => filter.on_request(&mut cx),
            };
            self.routed.request = Request::from_parts(head, body);
            match step {
                FilterStep::Continue => self.at += 1,
                FilterStep::Ask(effect) => return FilterOutcome::Ask(*effect, Box::new(self)),
                FilterStep::Reply(reply) => {
                    self.routed.keep_head();
                    let responder = Some(self.routed.responder());
                    let answered = Answered { reply: *reply, grpc: self.routed.grpc, responder };
                    let exit = exit(&self.routed, self.chain, self.at);
                    return FilterOutcome::Reply(Box::new(answered), exit);
                }
                FilterStep::Reroute => {
                    self.at += 1;
                    if self.reroutes < MOST_REROUTES {
                        self.reroutes += 1;
                        // An answer in place of a route goes out through the filters that were passed, too.
                        let passed = exit(&self.routed, Arc::clone(&self.chain), self.at);
                        match reroute(self.routed) {
                            Ok(routed) => self.routed = routed,
                            Err(answered) => return FilterOutcome::Reply(answered, passed),
                        }
                    }
                }
            }
        }
        let passed = self.chain.len();
        let exit = exit(&self.routed, self.chain, passed);
        self.routed.into_filtered(exit)
    }
}

impl FilterExit {
    /// What finishes the response: of the route that was chosen last.
    #[must_use]
    pub const fn responder(&self) -> &Responder {
        &self.responder
    }

    /// Tells the filters of the response, the last one that saw the request first.
    pub fn on_response<B>(&self, response: Response<B>) -> Response<B> {
        let (mut head, body) = response.into_parts();
        for (instance, route_config) in self.chain[..self.passed].iter().zip(&self.overrides).rev() {
            if !is_off(instance, route_config.as_ref()) {
                let mut cx = ResponseCx {
                    head: &mut head,
                    dynamic_metadata: &self.metadata,
                    route_config: route_config.as_ref(),
                };
                instance.filter.on_response(&mut cx);
            }
        }
        Response::from_parts(head, body)
    }
}

/// A filter is off when the route says so, or by its own configuration unless the route has one for it.
fn is_off(instance: &FilterInstance, route_config: Option<&FilterOverride>) -> bool {
    route_config.map_or(instance.disabled, |config| config.disabled)
}

fn exit<B>(routed: &Routed<B>, chain: Arc<[FilterInstance]>, passed: usize) -> Option<FilterExit> {
    let config = |instance: &FilterInstance| routed.filter_override(&instance.name).cloned();
    let overrides = chain[..passed].iter().map(config).collect();
    (passed > 0).then(|| FilterExit {
        overrides,
        passed,
        metadata: routed.flight.metadata().clone(),
        responder: routed.responder(),
        chain,
    })
}

fn reroute<B>(mut routed: Routed<B>) -> Result<Routed<B>, Box<Answered>> {
    let (place, cluster) = choose(&routed.request, &mut routed.flight, routed.place.table, routed.grpc, None)?;
    (routed.place, routed.cluster) = (place, cluster);
    routed.head = head_of(&routed.flight.pin, place);
    Ok(routed)
}

static IN_PROCESS: ConnectionFacts = ConnectionFacts { remote: None, local: None, protocol: "", tls: None };

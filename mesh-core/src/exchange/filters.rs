//! Runs the filters of a request in the configured order, and all of them in reverse on the way out.
//!
//! A run stops where a filter answers or asks for something that takes time; the driver does that and resumes
//! the run. A filter may have the route chosen anew, [`MOST_REROUTES`] times at the most. What a route answers
//! itself, and that there is no route, is said behind the filters: it is Envoy's router, the last one, who says it.

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, Request, Response, request};

use super::Upstream;
use super::leg::Passage;
use super::outbound::{Answered, IN_PROCESS, Place, Responder, table};
use super::responder::keep_head;
use crate::engine::facts::ConnectionFacts;
use crate::engine::filter::{
    BodyPlan, DynamicMetadata, Effect, EffectOutcome, FilterInstance, FilterSet, FilterStep, RequestCx, RequestNotes,
    ResponseCx, RouteConfigs, RouteView, TrailersCx,
};
use crate::engine::headers::UpstreamFacts;
use crate::engine::local_reply::{LocalReply, ResponseFlags};
use crate::engine::routing::FilterOverrides;
use crate::resource::metadata::Metadata;
use crate::snapshot::Pin;

/// How often filters may have the route of one request chosen anew.
pub const MOST_REROUTES: u8 = 4;

/// What running the filters came to.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "the large variant is the usual one, and must not cost an allocation")]
pub enum FilterOutcome<P: Passage> {
    /// All passed: the request goes on, and its response comes back through the exit, if there is one.
    Forward(P::Next, Option<FilterExit>),
    /// A filter waits for this; hand the outcome to [`Waiting::resume`].
    Ask(Effect, Box<Waiting<P>>),
    /// The request is answered; the answer goes out through the exit, if there is one.
    Reply(Box<Answered>, Option<FilterExit>),
}

/// A run that waits for an effect.
#[derive(Debug)]
pub struct Waiting<P> {
    passage: P,
    at: usize,
    reroutes: u8,
    exit: FilterExit,
}

/// The way out: the filters of a request, to be told of its response in reverse order.
#[derive(Debug)]
pub struct FilterExit {
    set: Arc<FilterSet>,
    metadata: DynamicMetadata,
    notes: RequestNotes,
    flags: ResponseFlags,
    plan: BodyPlan,
    /// Of the route that was chosen last.
    responder: Responder,
}

/// Runs the filters of a request that has some.
#[cold]
#[inline(never)]
pub(super) fn start<P: Passage>(mut passage: P, set: Arc<FilterSet>, now: Instant) -> FilterOutcome<P> {
    let exit = FilterExit {
        set,
        metadata: DynamicMetadata::new(),
        notes: RequestNotes::default(),
        flags: ResponseFlags::NONE,
        plan: BodyPlan::default(),
        responder: passage.leg().responder(),
    };
    Waiting { passage, at: 0, reroutes: 0, exit }.run(None, now)
}

impl<P: Passage> Waiting<P> {
    /// Goes on with what came of the effect that was asked for.
    #[must_use]
    pub fn resume(self, outcome: EffectOutcome, now: Instant) -> FilterOutcome<P> {
        self.run(Some(outcome), now)
    }

    /// The request's body, for an effect that reads it.
    pub fn body(&mut self) -> &mut P::Body {
        self.passage.leg().request.body_mut()
    }

    fn run(mut self, mut resumed: Option<EffectOutcome>, now: Instant) -> FilterOutcome<P> {
        let (mut head, ()) = Request::new(()).into_parts();
        swap_head(&mut head, &mut self.passage.leg().request);
        while let Some(instance) = self.exit.set.instances().get(self.at) {
            let leg = self.passage.leg();
            let compiled = table(&leg.flight.pin, leg.place);
            let overrides = compiled.and_then(|one| one.routes.overrides(leg.place.decision));
            let route_configs = overrides.map_or_else(RouteConfigs::default, |one| one.of(&instance.name));
            if is_off(instance, route_configs) {
                self.at += 1;
                continue;
            }
            let mut cx = RequestCx {
                head: &mut head,
                connection: leg.connection.as_deref().unwrap_or(&IN_PROCESS),
                dynamic_metadata: &mut self.exit.metadata,
                route: compiled.and_then(|one| RouteView::new(&one.routes, leg.place.decision)),
                route_configs,
                service_cluster: leg.flight.pin.service_cluster(),
                grpc: leg.grpc,
                flags: &mut self.exit.flags,
                notes: self.exit.notes.of(self.at),
                now,
                lane: leg.flight.lane,
                random: &mut leg.flight.random,
            };
            let step = match resumed.take() {
                Some(outcome) => instance.filter.on_effect(&mut cx, outcome),
                None => instance.filter.on_request(&mut cx),
            };
            match step {
                FilterStep::Continue => self.at += 1,
                FilterStep::Ask(effect) => {
                    swap_head(&mut head, &mut leg.request);
                    return FilterOutcome::Ask(*effect, Box::new(self));
                }
                FilterStep::Reply(reply) => {
                    swap_head(&mut head, &mut leg.request);
                    return self.reply(*reply, true);
                }
                FilterStep::Respond(reply) => {
                    swap_head(&mut head, &mut leg.request);
                    return self.reply(*reply, false);
                }
                FilterStep::Reroute => {
                    self.at += 1;
                    if self.reroutes < MOST_REROUTES {
                        self.reroutes += 1;
                        swap_head(&mut head, &mut leg.request);
                        if let Err(answered) = self.passage.choose_anew(&self.exit.metadata) {
                            return FilterOutcome::Reply(answered, Some(self.exit));
                        }
                        self.exit.responder = self.passage.leg().responder();
                        swap_head(&mut head, &mut self.passage.leg().request);
                    }
                }
            }
        }
        swap_head(&mut head, &mut self.passage.leg().request);
        self.passage.onward(Some(self.exit))
    }

    /// As in Envoy, an answer goes out through every filter, those that never saw the request included.
    fn reply(mut self, reply: LocalReply, finished: bool) -> FilterOutcome<P> {
        let leg = self.passage.leg();
        keep_head(leg.head.as_ref(), &leg.request);
        let responder = finished.then(|| leg.responder());
        FilterOutcome::Reply(Box::new(Answered { reply, grpc: finished && leg.grpc, responder }), Some(self.exit))
    }
}

impl FilterExit {
    /// What finishes the response: of the route that was chosen last.
    #[must_use]
    pub const fn responder(&self) -> &Responder {
        &self.responder
    }

    /// What filters told.
    #[must_use]
    pub const fn metadata(&self) -> &DynamicMetadata {
        &self.metadata
    }

    /// Flags that the response is to carry, beside those of its own.
    #[must_use]
    pub const fn flags(&self) -> ResponseFlags {
        self.flags
    }

    /// Tells the filters of the response, the last one first. `upstream` is where it came from.
    pub fn on_response<B>(&mut self, response: Response<B>, upstream: Option<&Upstream>, now: Instant) -> Response<B> {
        let (mut head, body) = response.into_parts();
        let no_metadata = Metadata::new();
        let upstream = upstream.and_then(|one| {
            let host = one.endpoint()?;
            Some(UpstreamFacts { host, metadata: one.metadata().unwrap_or(&no_metadata) })
        });
        let view = View::of(&self.responder);
        for (at, instance) in self.set.instances().iter().enumerate().rev() {
            let route_configs = view.configs(instance);
            if is_off(instance, route_configs) {
                continue;
            }
            instance.filter.on_response(&mut ResponseCx {
                head: &mut head,
                connection: view.connection,
                dynamic_metadata: &self.metadata,
                route: view.route,
                route_configs,
                upstream,
                grpc: self.responder.grpc,
                notes: self.notes.of(at),
                body: &mut self.plan,
                now,
            });
        }
        Response::from_parts(head, body)
    }

    /// What is to happen to the response's body, once [`Self::on_response`] was called.
    #[must_use]
    pub const fn plan(&self) -> BodyPlan {
        self.plan
    }

    /// Whether the response's body must keep the exit until its end. Most need not.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        !self.notes.is_empty() || self.plan != BodyPlan::default()
    }

    /// Tells the filters of the response's trailers, the last one first.
    pub fn on_response_trailers(&mut self, trailers: &mut HeaderMap) {
        let view = View::of(&self.responder);
        for instance in self.set.instances().iter().rev() {
            let route_configs = view.configs(instance);
            if is_off(instance, route_configs) {
                continue;
            }
            instance.filter.on_response_trailers(&mut TrailersCx {
                trailers,
                connection: view.connection,
                dynamic_metadata: &self.metadata,
                route: view.route,
                route_configs,
            });
        }
    }
}

/// What is the same for all filters on the way out.
struct View<'a> {
    connection: &'a ConnectionFacts,
    route: Option<RouteView<'a>>,
    overrides: Option<&'a FilterOverrides>,
}

impl<'a> View<'a> {
    fn of(responder: &'a Responder) -> Self {
        let compiled = table(&responder.pin, responder.place);
        let decision = responder.place.decision;
        Self {
            connection: responder.connection.as_deref().unwrap_or(&IN_PROCESS),
            route: compiled.and_then(|one| RouteView::new(&one.routes, decision)),
            overrides: compiled.and_then(|one| one.routes.overrides(decision)),
        }
    }

    fn configs(&self, instance: &FilterInstance) -> RouteConfigs<'a> {
        self.overrides.map_or_else(RouteConfigs::default, |one| one.of(&instance.name))
    }
}

/// A filter is off when the route says so, or by its own configuration unless the route has one for it.
fn is_off(instance: &FilterInstance, route_configs: RouteConfigs<'_>) -> bool {
    route_configs.word().map_or(instance.disabled, |word| word.disabled)
}

/// The filters that a request is shown to; none if none of them does anything on this route.
pub(super) fn needed(set: &Arc<FilterSet>, pin: &Pin, place: Place) -> bool {
    let overrides = table(pin, place).and_then(|one| one.routes.overrides(place.decision));
    !set.waits_for_route() || overrides.is_some_and(|one| !one.is_empty())
}

/// Filters work on a head; a request has its head in it.
fn swap_head<B>(head: &mut request::Parts, request: &mut Request<B>) {
    std::mem::swap(&mut head.method, request.method_mut());
    std::mem::swap(&mut head.uri, request.uri_mut());
    std::mem::swap(&mut head.version, request.version_mut());
    std::mem::swap(&mut head.headers, request.headers_mut());
    std::mem::swap(&mut head.extensions, request.extensions_mut());
}

//! A request made to this process: received on a connection, shown to the filters, admitted by the inbound route,
//! answered by the application. There are no attempts: the application is in this process.

use std::sync::Arc;
use std::time::Instant;

use http::{Request, header};

use super::filters::{self, FilterExit, FilterOutcome};
use super::leg::{Leg, Passage};
use super::outbound::{Answered, Flight, IN_PROCESS, Place, Responder, authority};
use super::responder::{keep_head, place_for_head};
use super::{reserved, upgrade};
use crate::engine::facts::{self, ConnectionFacts, RequestFacts};
use crate::engine::filter::DynamicMetadata;
use crate::engine::headers::FormatContext;
use crate::engine::local_reply::LocalReply;
use crate::engine::random::Random;
use crate::engine::routing::{Decided, RewriteFailed, RouteDecision};
use crate::engine::timeout::{GRPC_TIMEOUT, Timeouts};
use crate::snapshot::{HttpScope, Pin, Table};
use crate::state::Lane;

/// A request as it arrived, with one version of the configuration pinned to it.
#[derive(Debug)]
pub struct Received<B> {
    request: Request<B>,
    connection: Arc<ConnectionFacts>,
    flight: Flight,
}

/// A request that may go to the application.
#[derive(Debug)]
pub struct Admitted<B> {
    /// The request, with its final head.
    pub request: Request<B>,
    /// How to finish its response.
    pub responder: Responder,
    /// The inbound route's limits.
    pub timeouts: Timeouts,
    /// When it arrived.
    pub started: Instant,
}

/// A request that has met its inbound route, or has none and is to be seen by filters before it is answered.
#[derive(Debug)]
pub struct Entered<B> {
    leg: Leg<B>,
}

impl<B> Received<B> {
    /// Takes a request on. `seed` must differ from request to request; `lane` by thread.
    pub fn new(
        request: Request<B>,
        connection: Arc<ConnectionFacts>,
        pin: Pin,
        lane: Lane,
        seed: u64,
        now: Instant,
    ) -> Self {
        let flight = Flight { pin, lane, random: Random::from_seed(seed), started: now };
        Self { request, connection, flight }
    }

    /// The configuration in force for this request.
    pub const fn pin(&self) -> &Pin {
        &self.flight.pin
    }

    /// Finds the request's route among those of the chain it came by.
    ///
    /// # Errors
    /// The answer, when no filter is to see the request first.
    pub fn route(mut self, scope: &HttpScope) -> Result<Entered<B>, Box<Answered>> {
        let grpc = facts::is_grpc(self.request.headers());
        let answered = |reply: LocalReply| Box::new(Answered { reply, grpc, responder: None });
        if let Err(reply) = reserved::prepare_path(&mut self.request, scope.manager.path) {
            return Err(answered(*reply));
        }
        // Nobody outside is trusted with the mesh's own headers, whatever address they claim (S10).
        drop(reserved::take(self.request.headers_mut(), &scope.manager));
        if authority(&self.request).is_none() {
            return Err(answered(LocalReply::missing_host_header()));
        }
        let random = self.flight.random.bits();
        let Some(table) = self.flight.pin.table(scope.table) else { return Err(answered(LocalReply::no_route())) };
        let decision = decide(table, &self.request, &self.connection, &DynamicMetadata::new(), random);
        let place = Place { table: scope.table, decision };
        let head = place_for_head(table, decision);
        let rejected = upgrade::is_asked(&self.request)
            && table.routes.is_route(decision)
            && !upgrade::is_allowed(&self.request, &scope.manager.upgrades, table.routes.route(decision).upgrades());
        let filters = scope.filters.as_ref().filter(|set| filters::needed(set, &self.flight.pin, place)).cloned();
        let connection = Some(self.connection);
        let leg =
            Leg { request: self.request, flight: self.flight, place, grpc, head, filters, connection, overrides: None };
        if rejected {
            return Err(answered_on(&leg, LocalReply::upgrade_failed()));
        }
        Ok(Entered { leg })
    }
}

impl<B> Entered<B> {
    /// Whether any filter wants to see this request.
    pub const fn has_filters(&self) -> bool {
        self.leg.filters.is_some()
    }

    /// Runs the filters of the chain that the request came by.
    pub fn filter(mut self, now: Instant) -> FilterOutcome<Self> {
        match self.leg.filters.take() {
            None => self.onward(None),
            Some(set) => filters::start(self, set, now),
        }
    }

    /// The same request with another body.
    pub fn map_body<C>(self, map: impl FnOnce(B) -> C) -> Entered<C> {
        Entered { leg: self.leg.map_body(map) }
    }

    fn admit(&mut self, metadata: &DynamicMetadata) -> Result<Timeouts, Box<LocalReply>> {
        let leg = &mut self.leg;
        let Some(table) = leg.flight.pin.table(leg.place.table) else { return Err(Box::new(LocalReply::no_route())) };
        let decision = leg.place.decision;
        let connection = leg.connection.as_deref().unwrap_or(&IN_PROCESS);
        if let Decided::Reply(reply) =
            table.routes.action(decision, &RequestFacts::of(&leg.request, connection, metadata.all()))
        {
            return Err(reply);
        }
        // The connection sends the 100 by itself when the application reads the body.
        let expect = leg.request.headers().get(header::EXPECT);
        if expect.is_some_and(|asks| asks.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
            leg.request.headers_mut().remove(header::EXPECT);
        }
        let timeouts =
            table.routes.route(decision).timeouts().decide(leg.request.headers().get(GRPC_TIMEOUT), leg.grpc, None);
        let cx = FormatContext::for_request(connection, metadata.all());
        let applied = table.routes.apply_request(decision, &mut leg.request, &cx);
        applied.map_err(|failed| Box::new(RewriteFailed::into_reply(failed)))?;
        Ok(timeouts)
    }
}

impl<B> Passage for Entered<B> {
    type Body = B;
    type Next = Admitted<B>;

    fn leg(&mut self) -> &mut Leg<B> {
        &mut self.leg
    }

    fn choose_anew(&mut self, metadata: &DynamicMetadata) -> Result<(), Box<Answered>> {
        let leg = &mut self.leg;
        let random = leg.flight.random.bits();
        let Some(table) = leg.flight.pin.table(leg.place.table) else { return Ok(()) };
        let connection = leg.connection.as_deref().unwrap_or(&IN_PROCESS);
        leg.place.decision = decide(table, &leg.request, connection, metadata, random);
        leg.head = place_for_head(table, leg.place.decision);
        Ok(())
    }

    fn onward(mut self, exit: Option<FilterExit>) -> FilterOutcome<Self> {
        let none = DynamicMetadata::new();
        let admitted = self.admit(exit.as_ref().map_or(&none, FilterExit::metadata));
        keep_head(self.leg.head.as_ref(), &self.leg.request);
        let timeouts = match admitted {
            Ok(timeouts) => timeouts,
            Err(reply) => return FilterOutcome::Reply(answered_on(&self.leg, *reply), exit),
        };
        let responder = self.leg.responder();
        let started = self.leg.flight.started;
        FilterOutcome::Forward(Admitted { request: self.leg.request, responder, timeouts, started }, exit)
    }
}

/// The route of a request; the one for what no route takes if there is none.
fn decide<B>(
    table: &Table,
    request: &Request<B>,
    connection: &ConnectionFacts,
    metadata: &DynamicMetadata,
    random: u64,
) -> RouteDecision {
    let facts = RequestFacts::of(request, connection, metadata.all());
    table.routes.decide(&facts, random).unwrap_or_else(|_| table.routes.no_route())
}

fn answered_on<B>(leg: &Leg<B>, reply: LocalReply) -> Box<Answered> {
    keep_head(leg.head.as_ref(), &leg.request);
    Box::new(Answered { reply, grpc: leg.grpc, responder: Some(leg.responder()) })
}

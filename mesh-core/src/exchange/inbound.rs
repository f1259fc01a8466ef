//! A request made to this process: received on a connection, admitted by the inbound route, answered by the
//! application. There are no attempts: the application is in this process.

use std::sync::Arc;
use std::time::Instant;

use http::{Request, header};

use super::outbound::{Answered, Place, Responder};
use super::responder::{keep_head, place_for_head};
use super::{reserved, upgrade};
use crate::engine::facts::{self, ConnectionFacts, RequestFacts};
use crate::engine::headers::FormatContext;
use crate::engine::local_reply::LocalReply;
use crate::engine::random::Random;
use crate::engine::routing::Decided;
use crate::engine::timeout::{GRPC_TIMEOUT, Timeouts};
use crate::resource::metadata::Metadata;
use crate::snapshot::{HttpScope, Pin};

/// A request as it arrived, with one version of the configuration pinned to it.
#[derive(Debug)]
pub struct Received<B> {
    request: Request<B>,
    connection: Arc<ConnectionFacts>,
    pin: Pin,
    random: Random,
    started: Instant,
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

impl<B> Received<B> {
    /// Takes a request on.
    pub fn new(request: Request<B>, connection: Arc<ConnectionFacts>, pin: Pin, seed: u64, now: Instant) -> Self {
        Self { request, connection, pin, random: Random::from_seed(seed), started: now }
    }

    /// The configuration in force for this request.
    pub const fn pin(&self) -> &Pin {
        &self.pin
    }

    /// Passes the request through the routes of the chain it came by.
    ///
    /// # Errors
    /// The answer, when it does not go to the application.
    pub fn route(mut self, scope: &HttpScope) -> Result<Admitted<B>, Box<Answered>> {
        let grpc = facts::is_grpc(self.request.headers());
        let answered = |reply: LocalReply| Box::new(Answered { reply, grpc, responder: None });
        if let Err(reply) = reserved::prepare_path(&mut self.request, scope.manager.path) {
            return Err(answered(*reply));
        }
        // Nobody outside is trusted with the mesh's own headers, whatever address they claim (S10).
        drop(reserved::take(self.request.headers_mut(), &scope.manager));
        let random = self.random.bits();
        let Some(authority) = self.authority() else { return Err(answered(LocalReply::missing_host_header())) };
        let Some(table) = self.pin.table(scope.table) else { return Err(answered(LocalReply::no_route())) };
        let none = Metadata::new();
        let facts = RequestFacts {
            method: self.request.method(),
            scheme: if self.connection.tls.is_some() { "https" } else { "http" },
            authority,
            path: self.request.uri().path_and_query().map_or("/", |path| path.as_str()),
            headers: self.request.headers(),
            connection: &self.connection,
            dynamic_metadata: &none,
        };
        let decision = match table.routes.decide(&facts, random) {
            Ok(decision) => decision,
            Err(no_route) => return Err(answered(no_route.into_reply(&facts))),
        };
        let responder = Responder {
            pin: self.pin.clone(),
            place: Place { table: scope.table, decision },
            grpc,
            head: place_for_head(table, decision),
            connection: Some(Arc::clone(&self.connection)),
        };
        if upgrade::is_asked(&self.request)
            && !upgrade::is_allowed(&self.request, &scope.manager.upgrades, table.routes.route(decision).upgrades())
        {
            let reply = LocalReply::upgrade_failed();
            keep_head(responder.head.as_ref(), &self.request);
            return Err(Box::new(Answered { reply, grpc, responder: Some(responder) }));
        }
        if let Decided::Reply(reply) = table.routes.action(decision, &facts) {
            keep_head(responder.head.as_ref(), &self.request);
            return Err(Box::new(Answered { reply: *reply, grpc, responder: Some(responder) }));
        }
        // The connection sends the 100 by itself when the application reads the body.
        if self
            .request
            .headers()
            .get(header::EXPECT)
            .is_some_and(|asks| asks.as_bytes().eq_ignore_ascii_case(b"100-continue"))
        {
            self.request.headers_mut().remove(header::EXPECT);
        }
        let route = table.routes.route(decision);
        let timeouts = route.timeouts().decide(self.request.headers().get(GRPC_TIMEOUT), grpc, None);
        let cx = FormatContext::for_request(&self.connection, &none);
        let applied = table.routes.apply_request(decision, &mut self.request, &cx);
        keep_head(responder.head.as_ref(), &self.request);
        if let Err(failed) = applied {
            return Err(Box::new(Answered { reply: failed.into_reply(), grpc, responder: Some(responder) }));
        }
        Ok(Admitted { request: self.request, responder, timeouts, started: self.started })
    }

    fn authority(&self) -> Option<&str> {
        if let Some(authority) = self.request.uri().authority() {
            return Some(authority.as_str());
        }
        self.request.headers().get(header::HOST)?.to_str().ok()
    }
}

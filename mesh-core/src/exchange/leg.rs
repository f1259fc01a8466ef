//! What a request carries through its filters, whichever way it goes.

use std::sync::Arc;

use http::Request;

use super::filters::{FilterExit, FilterOutcome};
use super::outbound::{Answered, Flight, Place, facts_of, table};
use super::overrides::{Manner, Overrides};
use super::responder::{KeptHead, Responder};
use crate::engine::facts::ConnectionFacts;
use crate::engine::filter::{DynamicMetadata, FilterSet};
use crate::engine::hash::RequestHash;
use crate::engine::routing::{self, ClusterId, MadeCookie};
use crate::resource::metadata::Metadata;

/// A request that has met its route, or has none.
#[derive(Debug)]
pub struct Leg<B> {
    pub(super) request: Request<B>,
    pub(super) flight: Flight,
    pub(super) place: Place,
    pub(super) grpc: bool,
    pub(super) head: Option<KeptHead>,
    pub(super) filters: Option<Arc<FilterSet>>,
    /// The connection that it came by; `None` for a request made in this process.
    pub(super) connection: Option<Arc<ConnectionFacts>>,
    /// What the request asks for itself; `None` for nearly all.
    pub(super) overrides: Option<Box<Overrides>>,
}

impl<B> Leg<B> {
    /// What the request hashes to, if its cluster picks hosts by that. A cookie that is made is kept with the head.
    #[cold]
    pub(super) fn hash(&mut self, cluster: ClusterId) -> RequestHash {
        let pin = &self.flight.pin;
        let hashes = pin.cluster(cluster).is_some_and(|cluster| cluster.balancer().hashes());
        let Some(table) = table(pin, self.place).filter(|_| hashes) else { return RequestHash::default() };
        let policies = table.routes.route(self.place.decision).hash_policy();
        let source = self.connection.as_ref().and_then(|connection| connection.remote).map(|remote| remote.ip());
        let none = Metadata::new();
        let facts = facts_of(&self.request, &none, self.connection.as_ref());
        let hashing = routing::hash(policies, &facts, source, &mut self.flight.random);
        if let Some(cookie) = hashing.cookie {
            self.request.extensions_mut().insert(MadeCookie(cookie));
        }
        hashing.hash
    }

    /// What finishes the response of this request.
    pub(super) fn responder(&self) -> Responder {
        Responder {
            pin: self.flight.pin.clone(),
            place: self.place,
            grpc: self.grpc,
            head: self.head.clone(),
            connection: self.connection.clone(),
            manner: self.overrides.as_ref().map_or(Manner::default(), |one| one.manner()),
            started: self.flight.started,
        }
    }

    /// Whether no headers of the mesh's own are added.
    pub(super) fn is_silent(&self) -> bool {
        self.overrides.as_ref().is_some_and(|one| one.manner().is_silent())
    }

    /// The same with another body.
    pub(super) fn map_body<C>(self, map: impl FnOnce(B) -> C) -> Leg<C> {
        Leg {
            request: self.request.map(map),
            flight: self.flight,
            place: self.place,
            grpc: self.grpc,
            head: self.head,
            filters: self.filters,
            connection: self.connection,
            overrides: self.overrides,
        }
    }
}

/// A request that may have filters to pass: one that this process makes, or one that it serves. Nobody else can make a
/// [`Leg`], so there are no others.
pub trait Passage: Sized {
    /// The request's body.
    type Body;
    /// What it is behind the filters.
    type Next;

    #[doc(hidden)]
    fn leg(&mut self) -> &mut Leg<Self::Body>;

    /// Chooses the route anew.
    ///
    /// # Errors
    /// The answer of a request that has no place at all any more.
    #[doc(hidden)]
    fn choose_anew(&mut self, metadata: &DynamicMetadata) -> Result<(), Box<Answered>>;

    /// Behind the last filter.
    #[doc(hidden)]
    fn onward(self, exit: Option<FilterExit>) -> FilterOutcome<Self>;
}

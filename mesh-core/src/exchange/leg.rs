//! What a request carries through its filters, whichever way it goes.

use std::sync::Arc;

use http::Request;

use super::filters::{FilterExit, FilterOutcome};
use super::outbound::{Answered, Flight, Place};
use super::overrides::{Manner, Overrides};
use super::responder::{KeptHead, Responder};
use crate::engine::facts::ConnectionFacts;
use crate::engine::filter::{DynamicMetadata, FilterSet};

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

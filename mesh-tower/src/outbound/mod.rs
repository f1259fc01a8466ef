//! The outbound stack, from an `http::Request` to a connection. File order is stack order:
//!
//! [`route`] → [`filters`] → [`mirror`] → [`timeout`] → [`retry`] → [`balance`] → [`circuit_breaker`] → [`connect`]
//!
//! Each layer takes the step of `mesh_core::exchange` that its request type names and hands the next one on:
//! `http::Request` → `Routed` → `Filtered` → `Attempt` → `Picked` → `Sendable`.

pub mod balance;
pub mod circuit_breaker;
pub mod connect;
pub mod filters;
pub mod mirror;
pub mod outlier;
mod overdue;
pub mod retry;
pub mod route;
pub mod timeout;

use mesh_core::snapshot::SnapshotStore;
use tower_layer::Layer;

use self::balance::{Balance, BalanceLayer};
use self::circuit_breaker::{CircuitBreaker, CircuitBreakerLayer, FromCluster};
use self::connect::Connect;
use self::filters::{Filters, FiltersLayer};
use self::mirror::{FromRoute as MirrorFromRoute, Mirror, MirrorLayer};
use self::retry::{FromRoute as RetryFromRoute, Retry, RetryLayer};
use self::route::{Route, RouteLayer};
use self::timeout::{FromRoute as TimeoutFromRoute, Timeout, TimeoutLayer};
use crate::pool::Connector;

/// The whole outbound stack over pooled connections: a `Service<http::Request<B>>` for any body.
pub type Outbound = Route<Filters<Mirror<Limited, MirrorFromRoute>>>;

/// A request and its tries: what copies go through, too.
type Limited = Timeout<Retry<Balance<CircuitBreaker<Connect, FromCluster>>, RetryFromRoute>, TimeoutFromRoute>;

/// Builds the whole outbound stack: configuration from `snapshots`, connections by `connector`.
#[must_use]
pub fn outbound(snapshots: SnapshotStore, connector: Connector) -> Outbound {
    let mirrors = MirrorLayer::from_route(connector.runtime().clone());
    let connect = Connect::new(connector);
    let limited = CircuitBreakerLayer::from_cluster().layer(connect);
    let balanced = BalanceLayer::new().layer(limited);
    let retried = RetryLayer::from_route().layer(balanced);
    let timed = TimeoutLayer::from_route().layer(retried);
    let mirrored = mirrors.layer(timed);
    let filtered = FiltersLayer::new().layer(mirrored);
    RouteLayer::new(snapshots).layer(filtered)
}

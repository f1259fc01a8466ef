//! The request path: Tower layers that carry a request from an `http::Request` to a pooled connection.
//!
//! Decisions are `mesh-core`'s; this crate waits, sends and receives. The order of the outbound stack is the
//! order of the types in `mesh_core::exchange`, and a stack in the wrong order does not compile. Layers also
//! work alone, with a fixed policy, around any service of `http::Request`.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that unwraps names its own failure"))]

mod accept;
pub mod body;
pub mod edge;
mod effect;
mod error;
pub mod fault;
pub mod health_check;
pub mod inbound;
pub mod outbound;
pub mod pool;
pub mod rate_limit;
pub mod response;

pub use self::error::{BoxError, Error};
pub use self::fault::FaultLayer;
pub use self::outbound::balance::BalanceLayer;
pub use self::outbound::circuit_breaker::CircuitBreakerLayer;
pub use self::outbound::filters::FiltersLayer;
pub use self::outbound::mirror::MirrorLayer;
pub use self::outbound::outlier::OutlierLayer;
pub use self::outbound::retry::RetryLayer;
pub use self::outbound::route::RouteLayer;
pub use self::outbound::timeout::TimeoutLayer;
pub use self::rate_limit::RateLimitLayer;

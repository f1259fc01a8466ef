//! The order of one request, as types: each step consumes the one before.
//!
//! ```text
//! outbound   Accepted ──▶ Routed ──▶ Filtered ──▶ Attempt ──▶ Picked ──▶ Sendable ──▶ Done
//!                           ▲  │           │        ▲  │
//!                           └──┘ a filter  └──▶ Fork └──┘ a retry
//!                                asks for a     a copy for a mirror,
//!                                new route      Filtered by itself
//! edge       Accepted, with the connection that it came by; then as outbound
//! inbound    Received ──▶ Entered ──▶ Admitted ──▶ (the application) ──▶ Done
//! ```
//!
//! Nobody can take steps out of order or leave one out, because the next step exists only as the result of
//! the one before. The Tower layers carry these types as their request type; the C ABI walks them behind
//! handles. Nothing here waits: whatever takes time is the driver's, which hands the result back.

mod attempt;
mod downstream;
pub mod filters;
pub mod inbound;
mod leg;
mod mirror;
pub mod outbound;
mod overrides;
pub mod reserved;
mod responder;
#[cfg(test)]
pub(crate) mod trial;
pub mod upgrade;
mod upstream;

pub use self::attempt::{Attempt, AttemptPlan, Before, Filtered, Load, Picked, Sendable, Target, Unpicked};
pub use self::downstream::Departure;
pub use self::leg::{Leg, Passage};
pub use self::mirror::{Fork, LONGEST_COPY, Lost};
pub use self::outbound::{Accepted, Answered, Responder, Routed};
pub use self::responder::Origin;
pub use self::upstream::Upstream;

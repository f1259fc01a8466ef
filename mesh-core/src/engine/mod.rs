//! What to do: each room owns one decision, its compiled form and `decide(config, facts, now, random)`.
//!
//! Engines know [`crate::resource`] and [`crate::state`], never a snapshot, a socket or a clock.

pub mod facts;
pub mod headers;
pub mod routing;

//! What to do: each room owns one decision, its compiled form and `decide(config, facts, now, random)`.
//!
//! Engines know [`crate::resource`] and [`crate::state`], never a snapshot, a socket or a clock.

pub mod buffer;
pub mod circuit_breaker;
pub mod cors;
pub mod facts;
pub mod fault;
pub mod filter;
pub mod hash;
pub mod header_mutation;
pub mod headers;
pub mod health_check;
pub mod load_balancing;
pub mod local_reply;
pub mod matcher;
pub mod outlier_detection;
pub mod quota;
pub mod random;
pub mod rate_limit;
pub mod response_flags;
pub mod retry;
pub mod routing;
pub mod throttle;
pub mod timeout;

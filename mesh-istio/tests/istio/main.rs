//! Behaviour of the whole crate: objects in, findings and resources out; and conformance with recorded data.
//!
//! One binary, so that Envoy's types are linked once.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod bad_input;
mod captures;
mod clusters;
mod data;
mod delegates;
mod fixture;
mod gateways;
mod hostile;
mod localities;
mod peers;
mod quotas;
mod recorded;
mod routing;
mod rules;
mod sidecars;
mod support;

//! The rules of the mesh, pure: no sockets, files, clock, global randomness, protobuf or YAML.
//!
//! Time and randomness are arguments, so that every decision is exact under test and serves the Tower
//! layers and the C ABI alike. The rooms point one way: [`resource`] ← [`engine`] ← [`snapshot`] ←
//! [`exchange`]; [`state`] is what outlives a snapshot and is used by engine and snapshot.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that unwraps names its own failure"))]

pub mod engine;
pub mod exchange;
pub mod resource;
pub mod snapshot;
pub mod state;

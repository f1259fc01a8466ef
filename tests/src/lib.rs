//! What the cross-crate tests are made of: scripted upstreams, recorded cases, and an edge before our data plane.
//!
//! A case is a configuration in Envoy's JSON, requests, and what a real Envoy answered. [`observed`] reads cases, [`upstream`]
//! plays the servers that Envoy talked to, [`edge`] puts the configuration in force (JSON → bytes → decode → snapshot) and sends
//! the request through the outbound stack over real connections, [`compare`] says what differs. Nothing in here knows a case by
//! name but the short table of those that depend on chance.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that unwraps names its own failure")]

pub mod compare;
pub mod data;
pub mod edge;
pub mod lb;
pub mod observed;
pub mod run;
pub mod upstream;

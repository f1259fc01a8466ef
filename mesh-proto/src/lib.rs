//! The vocabulary: Envoy v3 messages, their JSON form, and the walk over fields nobody reads.
//!
//! Everybody else in the workspace names protobuf types through this crate, so that the crate that generates them
//! is a choice made in one place. Nothing here judges a value (that is `mesh_xds::decode`) and nothing here knows Istio's
//! objects (that is `mesh-istio`).

pub use envoy_types::pb::{cel, envoy, google, udpa, validate, xds};
pub use prost;

pub mod type_url;

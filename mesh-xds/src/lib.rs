//! Configuration on the wire: judges Envoy v3 resources and turns them into mesh-core resources.
//!
//! [`decode`] is the one place that judges configuration, whatever its source: a control plane, Istio objects
//! that were translated in the process, or the disk. Nothing here connects to anything yet.

pub mod decode;

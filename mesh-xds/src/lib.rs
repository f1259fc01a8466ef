//! Configuration on the wire: the client of a control plane, and the judge of what it sends.
//!
//! [`decode`] is the one place that judges configuration, whatever its source: a control plane, Istio objects that were
//! translated in the process, or the disk. [`ads`] is the protocol as a function of events.

pub mod ads;
pub mod decode;

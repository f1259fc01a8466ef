//! Ejection of hosts that answer badly, as Envoy's outlier detection.
//!
//! Two halves, as in Envoy. The [`Monitor`] is on the request path: it counts how attempts ended in atomics of the
//! endpoint, and when a row of failures reaches its limit it notes that and rings a [`Bell`]. The [`Detector`] is on the
//! control side: a function of events (`detected`, `sweep`, a health check that passed) with time and randomness as
//! arguments. It ejects and returns hosts; whoever drives it has the balancer made again (`snapshot::Update::health`).
//!
//! ```text
//!            counted ──limit──▶ detected ──share and chance allow──▶ ejected for base × n
//!               ▲                                                        │
//!               └──────────── a sweep (or a passing check) ◀─────────────┘   n − 1 per healthy sweep
//! ```
//! Spec: `envoy.config.cluster.v3.OutlierDetection`.

mod detector;
mod monitor;
mod rates;

pub use self::detector::{Detector, Effect};
pub use self::monitor::{Bell, Monitor, Observation};

#[cfg(test)]
mod tests;

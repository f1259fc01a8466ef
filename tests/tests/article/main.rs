//! The manifests of the article, and matches like those it speaks of, on real requests: Istio's YAML → translation → decode →
//! the outbound stack → servers on loopback.
#![allow(clippy::unwrap_used, reason = "a test that unwraps names its own failure")]

mod breaker;
mod manifests;
mod matches;
mod shop;

//! The request path on real loopback sockets and with probes in place of its neighbours.
//!
//! One binary: `mesh` builds configuration, `server` holds the scripted upstreams, every other module proves one
//! part of the path. Waiting is for events, under one generous limit; time itself is only used when paused.
#![allow(clippy::unwrap_used, reason = "a test that unwraps names its own failure")]

mod asked;
mod cancellation;
mod connecting;
mod faults;
mod filters;
mod grpc;
mod health_checks;
mod hedging;
mod http1;
mod http1_limits;
mod http2;
mod http2_goaway;
mod http2_limits;
mod inbound;
mod inbound_filters;
mod layers;
mod mesh;
mod mirrors;
mod outcomes;
mod outlier;
mod pinning;
mod probe;
mod retries;
mod retry_bodies;
mod server;
mod sizes;
mod timeouts;
mod upgrades;

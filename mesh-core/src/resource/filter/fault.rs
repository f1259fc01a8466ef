//! `envoy.extensions.filters.http.fault.v3.HTTPFault`.

use std::time::Duration;

use crate::resource::Name;
use crate::resource::matcher::HeaderMatcher;
use crate::resource::metadata::Value;
use crate::resource::route::FractionalPercent;

/// Requests that are delayed, answered with an error, or whose responses are slowed down. On a route it takes the place of
/// the filter's own.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Fault {
    /// `delay`.
    pub delay: Option<FaultDelay>,
    /// `abort`.
    pub abort: Option<FaultAbort>,
    /// `response_rate_limit`.
    pub response_rate_limit: Option<FaultRateLimit>,
    /// `upstream_cluster`: only requests to this cluster.
    pub upstream_cluster: Option<Name>,
    /// `downstream_nodes`: only requests whose `x-envoy-downstream-service-node` is one of these; none are all.
    pub downstream_nodes: Vec<String>,
    /// `headers`: only requests that match all of these.
    pub headers: Vec<HeaderMatcher>,
    /// `max_active_faults`: no more requests with a fault at once; 0 never, `None` without limit.
    pub max_active_faults: Option<u32>,
    /// `filter_metadata`: told to later filters when a delay or an abort is injected. A struct.
    pub filter_metadata: Option<Value>,
}

/// `FaultDelay`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultDelay {
    /// `fixed_delay`, above 0; `None` takes it from the request's headers.
    pub fixed: Option<Duration>,
    /// Of how many requests; at the most, if their headers say how many.
    pub percentage: FractionalPercent,
}

/// `FaultAbort`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultAbort {
    /// What is answered.
    pub error: AbortError,
    /// Of how many requests; at the most, if their headers say how many.
    pub percentage: FractionalPercent,
    /// `response_body`; empty is Envoy's own.
    pub response_body: String,
}

/// `FaultAbort.error_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortError {
    /// `http_status`, 200 to 599.
    Http(u16),
    /// `grpc_status`.
    Grpc(u32),
    /// `header_abort`: what the request's headers ask for.
    Header,
}

/// `FaultRateLimit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultRateLimit {
    /// `limit_kbps` in KiB a second, above 0; `None` takes it from the request's headers.
    pub fixed_kbps: Option<u64>,
    /// Of how many responses; at the most, if the request's headers say how many.
    pub percentage: FractionalPercent,
}

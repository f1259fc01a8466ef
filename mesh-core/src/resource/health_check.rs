//! `envoy.config.core.v3.HealthCheck`: hosts are asked whether they are well.

use std::ops::Range;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

/// How hosts are asked, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// A check that takes longer has failed.
    pub timeout: Duration,
    /// From the end of one check to the next, of a host that is well.
    pub interval: Duration,
    /// The first check begins up to this much later, at random.
    pub initial_jitter: Duration,
    /// Each wait is longer by a random time up to this.
    pub interval_jitter: Duration,
    /// And by a random share of itself up to this, in percent.
    pub interval_jitter_percent: u32,
    /// So many failures in a row make a host unhealthy; a wrong answer does at once.
    pub unhealthy_threshold: u32,
    /// So many passes in a row make it healthy again; the very first check does at once.
    pub healthy_threshold: u32,
    /// The port that is asked, if not the host's.
    pub alt_port: Option<u16>,
    /// Whether a connection is kept for the next check, default true.
    pub reuse_connection: bool,
    /// The interval while the cluster never had a request, default 60 s.
    pub no_traffic_interval: Duration,
    /// The same for hosts that are well, default [`no_traffic_interval`](Self::no_traffic_interval).
    pub no_traffic_healthy_interval: Option<Duration>,
    /// The interval for a host that is unhealthy, default [`interval`](Self::interval).
    pub unhealthy_interval: Duration,
    /// The interval while failures are counted, default [`unhealthy_interval`](Self::unhealthy_interval).
    pub unhealthy_edge_interval: Duration,
    /// The interval while passes are counted, default [`interval`](Self::interval).
    pub healthy_edge_interval: Duration,
    /// What is asked.
    pub checker: HealthChecker,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthChecker {
    /// An HTTP request.
    Http(HttpHealthCheck),
    /// A connection, and perhaps bytes.
    Tcp(TcpHealthCheck),
    /// `grpc.health.v1.Health/Check`.
    Grpc(GrpcHealthCheck),
}

/// `HttpHealthCheck`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpHealthCheck {
    /// The authority; the cluster's name when unset.
    pub host: Option<String>,
    /// Path and query.
    pub path: String,
    /// Default GET.
    pub method: Method,
    /// Headers that are added.
    pub headers_to_add: Vec<(HeaderName, HeaderValue)>,
    /// Headers that are removed.
    pub headers_to_remove: Vec<HeaderName>,
    /// Statuses of a host that is well, default 200.
    pub expected_statuses: Vec<Range<u16>>,
    /// Statuses that count as a failure to reach the host.
    pub retriable_statuses: Vec<Range<u16>>,
    /// Whether HTTP/2 is spoken.
    pub http2: bool,
}

/// `TcpHealthCheck`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TcpHealthCheck {
    /// What is sent; empty: a connection is enough.
    pub send: Vec<u8>,
    /// What must come back, in this order, whatever is between.
    pub receive: Vec<Vec<u8>>,
}

/// `GrpcHealthCheck`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct GrpcHealthCheck {
    /// The service that is asked about; empty for the server as a whole.
    pub service_name: String,
    /// The authority; the cluster's name when unset.
    pub authority: Option<String>,
    /// Headers that are added.
    pub initial_metadata: Vec<(HeaderName, HeaderValue)>,
}

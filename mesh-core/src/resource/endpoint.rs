//! `envoy.config.endpoint.v3.ClusterLoadAssignment`: the hosts of a cluster.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Name;
use super::metadata::Metadata;
use super::route::FractionalPercent;

/// The endpoints of one cluster, in the order received.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ClusterLoadAssignment {
    /// The EDS service name, by default the cluster's name.
    pub cluster_name: Option<Name>,
    /// Groups of endpoints by locality and priority.
    pub localities: Vec<LocalityEndpoints>,
    /// `policy.overprovisioning_factor` in percent, default 140.
    pub overprovisioning_factor: Option<u32>,
    /// `policy.weighted_priority_health`: the health of a priority is reckoned by weights instead of numbers.
    pub weighted_priority_health: bool,
    /// `policy.drop_overloads`: a part of the requests that is not sent at all.
    pub drop_overload: Option<FractionalPercent>,
}

/// Endpoints that share a locality and a priority.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct LocalityEndpoints {
    /// Where they are.
    pub locality: Locality,
    /// 0 is used first.
    pub priority: u32,
    /// `load_balancing_weight` of the locality; unset is `None`.
    pub weight: Option<u32>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// `envoy.config.core.v3.Locality`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Locality {
    /// E.g. `europe-west4`.
    pub region: String,
    /// E.g. `europe-west4-a`.
    pub zone: String,
    /// E.g. a rack.
    pub sub_zone: String,
}

/// One host of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// Its host name, for `auto_host_rewrite` and health checks; empty when unset.
    pub hostname: String,
    /// `load_balancing_weight`, 1 when unset; never 0.
    pub weight: u32,
    /// What the control plane says of its health.
    pub health: HealthStatus,
    /// `metadata`.
    pub metadata: Metadata,
}

/// `envoy.config.core.v3.HealthStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum HealthStatus {
    /// Not said; treated as healthy.
    #[default]
    Unknown,
    /// Healthy.
    Healthy,
    /// Unhealthy: gets no traffic.
    Unhealthy,
    /// Draining: gets no traffic.
    Draining,
    /// A health check timed out: gets no traffic.
    Timeout,
    /// Degraded: used when too few are healthy.
    Degraded,
}

impl HealthStatus {
    /// Whether the endpoint may be picked outside of panic.
    #[must_use]
    pub fn is_usable(self) -> bool {
        !matches!(self, Self::Unhealthy | Self::Draining | Self::Timeout)
    }
}

/// An address to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Address {
    /// An IP and a port.
    Socket(SocketAddr),
    /// A name to be resolved (`STRICT_DNS`, `LOGICAL_DNS`) and a port.
    Dns {
        /// The name.
        host: Arc<str>,
        /// The port.
        port: u16,
    },
    /// A Unix socket's path; an abstract one starts with `@`.
    Pipe(Arc<str>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Dns { host, port } => write!(f, "{host}:{port}"),
            Self::Pipe(path) => f.write_str(path),
        }
    }
}

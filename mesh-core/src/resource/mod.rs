//! What configuration says: Envoy's vocabulary, valid by construction, without behaviour.
//!
//! These types are what `mesh_xds::decode` produces from Envoy v3 messages, whatever their source. A value
//! that exists here has passed every check that does not need another resource. Units are in the types.
//! No protobuf, no compiled forms (those are the engines'), no look-ups.

pub mod cluster;
pub mod downstream;
pub mod endpoint;
pub mod filter;
pub mod header_mutation;
pub mod health_check;
pub mod invalid;
pub mod listener;
pub mod matcher;
pub mod metadata;
pub mod outlier_detection;
pub mod rate_limit;
pub mod retry;
pub mod route;

pub use self::invalid::{FieldPath, Invalid, Problem};

use std::fmt;
use std::sync::Arc;

/// A resource, a cluster or a route by its name: cheap to clone, compared as text.
pub type Name = Arc<str>;

/// Which kind of xDS resource is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ResourceKind {
    /// `envoy.config.listener.v3.Listener` (LDS).
    Listener,
    /// `envoy.config.route.v3.RouteConfiguration` (RDS).
    RouteConfiguration,
    /// `envoy.config.cluster.v3.Cluster` (CDS).
    Cluster,
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment` (EDS).
    ClusterLoadAssignment,
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listener => "Listener",
            Self::RouteConfiguration => "RouteConfiguration",
            Self::Cluster => "Cluster",
            Self::ClusterLoadAssignment => "ClusterLoadAssignment",
        })
    }
}

/// A resource's kind and name, as errors and reports write it: `Cluster/outbound|80||a.example`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceName {
    /// The kind.
    pub kind: ResourceKind,
    /// The name within its kind.
    pub name: Name,
}

impl ResourceName {
    /// Names a resource.
    pub fn new(kind: ResourceKind, name: impl Into<Name>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

//! The types of resources that are asked for, and what the protocol says of each.
//!
//! The order is that of Envoy's requests: clusters before their endpoints, listeners before their routes, so that a server
//! that answers in order never sends a route before what it leads to.

use mesh_core::resource::ResourceKind;

/// Every type, in the order of requests.
pub(super) const KINDS: [ResourceKind; 4] = [
    ResourceKind::Cluster,
    ResourceKind::ClusterLoadAssignment,
    ResourceKind::Listener,
    ResourceKind::RouteConfiguration,
];

/// How many types there are.
pub(super) const COUNT: usize = KINDS.len();

/// The place of a type in [`KINDS`]; `None` for one that nobody here uses.
pub(super) fn index(kind: ResourceKind) -> Option<usize> {
    KINDS.iter().position(|one| *one == kind)
}

/// Whether a state-of-the-world response is the complete set, so that what is missing is deleted.
pub(super) fn is_full_set(kind: ResourceKind) -> bool {
    matches!(kind, ResourceKind::Cluster | ResourceKind::Listener)
}

//! Mixer's quotas of a port that is served, as a filter of our own before all others.

use mesh_proto::mixer::Quotas;

use super::cluster::ServiceName;
use super::scope::Scope;
use crate::mixer::{Called, Joined};

/// The quotas of requests for these services; `None` when they are charged nothing.
pub(super) fn quotas(scope: &Scope<'_>, joined: &Joined<'_>, names: &[ServiceName]) -> Option<Quotas> {
    let called: Vec<_> = names
        .iter()
        .map(|name| Called {
            host: &name.host,
            name: &name.name,
            namespace: &name.namespace,
            labels: &scope.proxy.labels,
            workload_namespace: &scope.proxy.namespace,
        })
        .collect();
    let charges = joined.charges(&called, scope.mesh);
    (!charges.is_empty()).then_some(Quotas { charges })
}

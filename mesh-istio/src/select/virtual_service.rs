//! Which VirtualService a host gets, and which hosts a VirtualService is for.
//!
//! Mesh VirtualServices of one host are not merged: the first wins. Order: private to the caller's namespace, exported to it
//! by name, public; each by age. Those for a gateway stand in the same order, and are merged.

use std::borrow::Cow;
use std::sync::Arc;

use super::delegate::Delegates;
use super::gateway::{MESH, resolve_gateway};
use super::{host, is_exported};
use crate::mesh_config::MeshConfig;
use crate::object::{HttpRoute, Object, Spec, VirtualService};
use crate::world::World;

/// A VirtualService that is in force for some callers, its hosts resolved and its delegates merged in.
#[derive(Clone, Debug)]
pub struct BoundVirtualService<'a> {
    /// The object.
    pub object: &'a Arc<Object>,
    /// Its body.
    pub spec: &'a VirtualService,
    /// Its hosts, lower-case, short names expanded.
    pub hosts: Vec<String>,
    /// Its HTTP rules, those of its delegates in their place.
    pub http: Cow<'a, [HttpRoute]>,
}

/// The VirtualServices that proxies in `namespace` obey for callers of `gateway` (`namespace/name`, or [`MESH`] for those within the
/// mesh), in order of precedence.
#[must_use]
pub fn virtual_services<'a>(
    world: &'a World,
    mesh: &MeshConfig,
    namespace: &str,
    gateway: &str,
) -> Vec<BoundVirtualService<'a>> {
    let delegates = Delegates::of(world, mesh);
    let mut ranked: Vec<(u8, BoundVirtualService<'a>)> = Vec::new();
    for object in world.objects() {
        let Spec::VirtualService(spec) = &object.spec else {
            continue;
        };
        // A match may narrow this list, it cannot widen it.
        if spec.hosts.is_empty() || !is_bound(object, &spec.gateways, gateway) {
            continue;
        }
        let export_to =
            if spec.export_to.is_empty() { &mesh.default_virtual_service_export_to } else { &spec.export_to };
        if !is_exported(export_to, export_to, &object.id.namespace, namespace) {
            continue;
        }
        let private = export_to.iter().all(|value| value == "." || *value == object.id.namespace);
        let rank = match () {
            () if private => 0,
            () if export_to.iter().any(|value| value == "*") => 2,
            () => 1,
        };
        let hosts =
            spec.hosts.iter().map(|name| host::resolve(name, &object.id.namespace, &mesh.cluster_domain)).collect();
        ranked.push((rank, BoundVirtualService { object, spec, hosts, http: delegates.rules(object, spec) }));
    }
    // Stable: age order within a rank.
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, service)| service).collect()
}

/// Whether a list of gateways in an object (none: the mesh) names that one.
#[must_use]
pub fn is_bound(object: &Object, gateways: &[String], gateway: &str) -> bool {
    if gateways.is_empty() {
        return gateway == MESH;
    }
    gateways.iter().any(|reference| resolve_gateway(reference, &object.id.namespace) == gateway)
}

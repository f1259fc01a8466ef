//! Which VirtualService a host gets, and which hosts a VirtualService is for.
//!
//! Mesh VirtualServices of one host are not merged: the first wins. Order: private to the caller's namespace, exported to it
//! by name, public; each by age.

use std::sync::Arc;

use super::{host, is_exported};
use crate::mesh_config::MeshConfig;
use crate::object::{Object, Spec, VirtualService};
use crate::world::World;

/// A VirtualService that is in force for callers within the mesh, its hosts resolved.
#[derive(Clone, Debug)]
pub struct MeshVirtualService<'a> {
    /// The object.
    pub object: &'a Arc<Object>,
    /// Its body.
    pub spec: &'a VirtualService,
    /// Its hosts, lower-case, short names expanded.
    pub hosts: Vec<String>,
}

/// The VirtualServices that callers in `namespace` obey, in order of precedence.
#[must_use]
pub fn virtual_services<'a>(world: &'a World, mesh: &MeshConfig, namespace: &str) -> Vec<MeshVirtualService<'a>> {
    let mut ranked: Vec<(u8, MeshVirtualService<'a>)> = Vec::new();
    for object in world.objects() {
        let Spec::VirtualService(spec) = &object.spec else {
            continue;
        };
        let for_mesh = |gateways: &[String]| gateways.iter().any(|gateway| gateway == "mesh");
        // A match may narrow this list, it cannot widen it.
        let bound = spec.gateways.is_empty() || for_mesh(&spec.gateways);
        if spec.hosts.is_empty() || !bound {
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
        ranked.push((rank, MeshVirtualService { object, spec, hosts }));
    }
    // Stable: age order within a rank.
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, service)| service).collect()
}

//! A world as one workload would have it: translated, judged and compiled, exactly as in the library.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use mesh_core::resource::{Invalid, ResourceKind, ResourceName};
use mesh_core::snapshot::{Compiler, Snapshot};
use mesh_istio::{MeshConfig, ProxyContext, World, lower};
use mesh_xds::decode::Batch;

use crate::resources::{self, Origins};

/// What came of a world for one workload.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) snapshot: Arc<Snapshot>,
    /// Resources in force.
    pub(crate) accepted: usize,
    pub(crate) refused: Vec<Invalid>,
    /// Fields that somebody set and that have no effect here.
    pub(crate) not_in_force: Vec<Unused>,
    pub(crate) origins: Origins,
}

/// A field without effect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unused {
    pub(crate) resource: ResourceName,
    /// Where it is, in protobuf field names.
    pub(crate) field: String,
    /// What it is.
    pub(crate) what: String,
}

impl Judged {
    pub(crate) fn new(world: &World, proxy: &ProxyContext, mesh: &MeshConfig) -> Self {
        let mut judged = Self::whole(world, proxy, mesh);
        judged.not_in_force.retain(|unused| !BY_ITSELF.contains(&(unused.resource.kind, unused.what.clone())));
        judged
    }

    /// With everything that has no effect, also what translation writes by itself.
    fn whole(world: &World, proxy: &ProxyContext, mesh: &MeshConfig) -> Self {
        let lowered = lower(world, proxy, mesh);
        let origins = Origins::of(&lowered);
        let mut batch = Batch::new();
        let mut unknown = Vec::new();
        for resource in resources::encoded(&lowered) {
            let name = resource.name.clone().unwrap_or_default();
            if let Err(error) = batch.add(resource) {
                // Cannot be: only kinds that are decoded are encoded. If it is, it must not go unsaid.
                unknown.push(Invalid::new(ResourceName::new(ResourceKind::Listener, name), "", error.to_string()));
            }
        }
        let verdicts = batch.finish();
        // The seed decides where balancers start, which nobody sees here.
        let (snapshot, not_compiled) = Compiler::new(0).apply(verdicts.update);
        let lines = verdicts.accepted.iter().flat_map(|one| one.not_in_force.iter().map(|line| (&one.name, line)));
        let not_in_force = lines.map(|(name, line)| {
            let (field, what) = line.split_once(": ").unwrap_or(("", line));
            let what = what.split_once(" (and ").map_or(what, |(what, _)| what);
            Unused { resource: name.clone(), field: field.to_owned(), what: what.to_owned() }
        });
        Self {
            not_in_force: not_in_force.collect(),
            accepted: verdicts.accepted.len() - not_compiled.len().min(verdicts.accepted.len()),
            refused: verdicts.refused.into_iter().chain(not_compiled).chain(unknown).collect(),
            snapshot,
            origins,
        }
    }
}

/// What translation itself writes for any service and that has no effect here: nobody asked for it, so nobody is told.
static BY_ITSELF: LazyLock<BTreeSet<(ResourceKind, String)>> = LazyLock::new(|| {
    let world = World::load([("plain", PLAIN)]);
    let judged = Judged::whole(&world, &ProxyContext::new("default"), &MeshConfig::default());
    judged.not_in_force.into_iter().map(|unused| (unused.resource.kind, unused.what)).collect()
});

/// Services of every protocol and resolution, and not a single wish.
const PLAIN: &str = "\
apiVersion: v1
kind: Service
metadata: {name: plain}
spec:
  ports: [{name: http, port: 80}, {name: grpc, port: 81}, {name: tcp, port: 82}, {name: other, port: 83}, {name: https, port: 84}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: names}
spec:
  hosts: [names.example]
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 81, name: tcp, protocol: TCP}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: name}
spec:
  hosts: [name.example]
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 81, name: tcp, protocol: TCP}]
  resolution: DNS_ROUND_ROBIN
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: any}
spec:
  hosts: ['*.any.example']
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 81, name: tcp, protocol: TCP}]
  resolution: NONE
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: static}
spec:
  hosts: [static.example]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1}]
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_services_are_accepted_and_draw_no_remark() {
        let world = World::load([("plain", PLAIN)]);
        assert!(world.findings().is_empty(), "{:?}", world.findings());
        let judged = Judged::new(&world, &ProxyContext::new("default"), &MeshConfig::default());
        assert_eq!((judged.refused, judged.not_in_force), (Vec::new(), Vec::new()));
        assert!(judged.accepted > 10);
    }
}

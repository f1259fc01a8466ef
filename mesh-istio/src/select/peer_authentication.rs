//! Which mode of mutual TLS holds for a port of a workload.
//!
//! Follows Istio's `ComposePeerAuthentication`: port, workload, namespace, mesh; in each the oldest policy, and UNSET asks the next.

use std::sync::Arc;

use super::labels_match;
use crate::mesh_config::MeshConfig;
use crate::object::{MutualTls, MutualTlsMode, Object, PeerAuthentication, Spec};
use crate::proxy::ProxyContext;
use crate::world::World;

/// The policies that hold for one workload.
#[derive(Clone, Copy, Debug)]
pub struct PeerPolicies<'a> {
    of_workload: Option<&'a PeerAuthentication>,
    of_namespace: Option<&'a PeerAuthentication>,
    of_mesh: Option<&'a PeerAuthentication>,
}

impl<'a> PeerPolicies<'a> {
    /// The policies for a workload; `None` where nobody wrote any.
    #[must_use]
    pub fn of(world: &'a World, mesh: &MeshConfig, proxy: &ProxyContext) -> Option<Self> {
        let all = || {
            world.objects().iter().filter_map(|object| match &object.spec {
                Spec::PeerAuthentication(spec) => Some((object, spec.as_ref())),
                _ => None,
            })
        };
        let labels = |spec: &'a PeerAuthentication| {
            spec.selector.as_ref().map(|selector| &selector.match_labels).filter(|labels| !labels.is_empty())
        };
        let whole = |namespace: &str| {
            let of = |(object, spec): &(&Arc<Object>, &'a PeerAuthentication)| {
                object.id.namespace == namespace && labels(spec).is_none()
            };
            all().find(of).map(|(_, spec)| spec)
        };
        let root = mesh.root_namespace.as_str();
        // A selector in the root namespace selects nobody.
        let selected = all().find(|(object, spec)| {
            object.id.namespace == proxy.namespace
                && proxy.namespace != root
                && labels(spec).is_some_and(|labels| labels_match(labels, &proxy.labels))
        });
        let of_namespace = if proxy.namespace == root { None } else { whole(&proxy.namespace) };
        let policies = Self { of_workload: selected.map(|(_, spec)| spec), of_namespace, of_mesh: whole(root) };
        let any = policies.of_workload.is_some() || policies.of_namespace.is_some() || policies.of_mesh.is_some();
        any.then_some(policies)
    }

    /// The mode of a port that the workload listens on; `None`: of every port without a mode of its own.
    #[must_use]
    pub fn mode(&self, port: Option<u32>) -> MutualTlsMode {
        let set = |mtls: Option<&MutualTls>| mtls.map(|mtls| mtls.mode).filter(|mode| *mode != MutualTlsMode::Unset);
        let of_port = || port.and_then(|port| self.of_workload?.port_level_mtls.as_ref()?.get(&port.to_string()));
        set(of_port())
            .or_else(|| {
                let policies = [self.of_workload, self.of_namespace, self.of_mesh];
                policies.into_iter().flatten().find_map(|policy| set(policy.mtls.as_ref()))
            })
            .unwrap_or(MutualTlsMode::Permissive)
    }
}

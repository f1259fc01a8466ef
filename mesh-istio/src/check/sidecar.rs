//! Sidecars that take each other's place, and hosts that they import and nobody has.

use std::sync::Arc;

use super::Checker;
use crate::finding::code;
use crate::object::{Object, Sidecar, Spec};
use crate::select::host;

impl Checker<'_> {
    pub(super) fn sidecar(&mut self, object: &Arc<Object>, spec: &Sidecar) {
        if let Some(first) = self.same_workloads(object, spec) {
            let whom = if labels(spec).is_some() { "the same workloads" } else { "all workloads of the namespace" };
            let reason = format!(
                "{} ({}:{}) is for {whom} already and is older: this one has no effect",
                first.id, first.file, first.line
            );
            self.warn(object, code::SIDECAR_CONFLICT, "spec.workloadSelector", reason);
        }
        for (e, listener) in spec.egress.iter().enumerate() {
            for (h, entry) in listener.hosts.iter().enumerate() {
                let Some((namespace, name)) = entry.split_once('/') else { continue };
                if namespace.starts_with('~') || name.starts_with('*') {
                    continue;
                }
                let name = name.to_ascii_lowercase();
                let of = |owner: &str| match namespace {
                    "*" => true,
                    // Of the root namespace's Sidecar: whoever's workload it is.
                    "." => owner == object.id.namespace || object.id.namespace == self.mesh.root_namespace,
                    named => owner == named,
                };
                let known = self
                    .registry
                    .services()
                    .iter()
                    .any(|service| of(&service.namespace) && host::subset_of(&service.hostname, &name));
                let routed = || {
                    self.world.objects().iter().any(|other| match &other.spec {
                        Spec::VirtualService(spec) => {
                            of(&other.id.namespace) && spec.hosts.iter().any(|host| self.resolve(other, host) == name)
                        }
                        _ => false,
                    })
                };
                if !known && !routed() {
                    let reason =
                        format!("neither a service nor a VirtualService of {entry} is there: nothing is imported");
                    self.warn(object, code::DANGLING_HOST, &format!("spec.egress[{e}].hosts[{h}]"), reason);
                }
            }
        }
    }

    /// An older Sidecar of the namespace for the same workloads.
    fn same_workloads(&self, object: &Arc<Object>, spec: &Sidecar) -> Option<Arc<Object>> {
        let older = self.world.objects().iter().take_while(|other| !Arc::ptr_eq(other, object));
        let same = |other: &&Arc<Object>| {
            other.id.namespace == object.id.namespace
                && matches!(&other.spec, Spec::Sidecar(other) if labels(other) == labels(spec))
        };
        older.into_iter().find(same).cloned()
    }
}

fn labels(spec: &Sidecar) -> Option<&std::collections::BTreeMap<String, String>> {
    spec.workload_selector.as_ref().map(|selector| &selector.labels).filter(|labels| !labels.is_empty())
}

//! What a VirtualService is bound to: the Gateways that it names, and the delegates that its rules refer to.
//!
//! Follows the analyzers of `istioctl analyze` for gateways and hosts on them.

use std::sync::Arc;

use super::Checker;
use crate::finding::code;
use crate::object::{Gateway, Object, Spec, VirtualService};
use crate::select::delegate::{Delegates, merge};
use crate::select::gateway::{MESH, common, resolve_gateway};
use crate::select::host;

impl<'a> Checker<'a> {
    /// Gateways that there are not, and hosts that no Gateway serves.
    pub(super) fn gateways(&mut self, object: &'a Arc<Object>, spec: &'a VirtualService) {
        let named = |reference: &String| resolve_gateway(reference, &object.id.namespace);
        let known: Vec<_> = spec.gateways.iter().map(|reference| self.gateway(&named(reference))).collect();
        let for_mesh = spec.gateways.is_empty() || spec.gateways.iter().any(|gateway| gateway == MESH);
        if !for_mesh && known.iter().all(Option::is_none) {
            let list = spec.gateways.join(", ");
            let reason =
                format!("bound only to gateways {list}, which are not here: no effect within the mesh (add \"mesh\")");
            self.warn(object, code::VS_NOT_FOR_MESH, "spec.gateways", reason);
            return;
        }
        for (index, (reference, gateway)) in spec.gateways.iter().zip(&known).enumerate() {
            if reference != MESH && gateway.is_none() {
                let reason = format!("there is no Gateway {}", named(reference));
                self.warn(object, code::VS_UNKNOWN_GATEWAY, &format!("spec.gateways[{index}]"), reason);
            }
        }
        if for_mesh {
            return;
        }
        for (index, name) in spec.hosts.iter().enumerate() {
            let resolved = host::resolve(name, &object.id.namespace, &self.mesh.cluster_domain);
            let served = known.iter().flatten().any(|(gateway, spec)| serves(gateway, spec, object, &resolved));
            if !served {
                let reason = format!("no server of its gateways is for {resolved}: no request for it is routed");
                self.warn(object, code::VS_HOST_NOT_ON_GATEWAY, &format!("spec.hosts[{index}]"), reason);
            }
        }
    }

    /// The Gateway of that `namespace/name`.
    fn gateway(&self, full_name: &str) -> Option<(&'a Object, &'a Gateway)> {
        let (namespace, name) = full_name.split_once('/')?;
        self.world.objects().iter().find_map(|object| match &object.spec {
            Spec::Gateway(spec) if object.id.namespace == namespace && object.id.name == name => {
                Some((object.as_ref(), spec.as_ref()))
            }
            _ => None,
        })
    }

    /// Delegates that there are not, and rules of delegates that contradict the rule that refers to them.
    pub(super) fn delegates(&mut self, object: &'a Arc<Object>, spec: &'a VirtualService) {
        if spec.http.iter().all(|rule| rule.delegate.is_none()) {
            return;
        }
        let delegates = Delegates::of(self.world, self.mesh);
        for (index, rule) in spec.http.iter().enumerate() {
            let Some(reference) = &rule.delegate else { continue };
            let field = format!("spec.http[{index}].delegate");
            let Some((delegate, rules)) = delegates.find(object, reference) else {
                let namespace =
                    if reference.namespace.is_empty() { &object.id.namespace } else { &reference.namespace };
                let reason = format!(
                    "there is no VirtualService {namespace}/{} without hosts that may be seen from here: the rule is passed over",
                    reference.name
                );
                self.warn(object, code::VS_DELEGATE_NOT_FOUND, &field, reason);
                continue;
            };
            for (l, leaf) in rules.http.iter().enumerate() {
                if merge(object, rule, delegate, leaf, &self.mesh.cluster_domain).is_none() {
                    let reason = format!(
                        "spec.http[{l}] of {} matches nothing that this rule matches: it is left out",
                        delegate.id
                    );
                    self.warn(object, code::VS_DELEGATE_CONFLICT, &field, reason);
                }
            }
        }
    }
}

fn serves(gateway: &Object, spec: &Gateway, object: &Object, name: &str) -> bool {
    spec.servers.iter().flat_map(|server| &server.hosts).any(|text| {
        let (namespace, host) = text.split_once('/').unwrap_or(("*", text));
        let namespace = if namespace == "." { &gateway.id.namespace } else { namespace };
        (namespace == "*" || namespace == object.id.namespace) && common(&host.to_ascii_lowercase(), name).is_some()
    })
}

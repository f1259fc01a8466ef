//! Which DestinationRule holds for a service: scopes, most specific host, merging of rules with one host.
//!
//! Follows Istio's `destinationRuleIndex`: the caller's namespace, then the service's, then the root namespace; the first scope with a
//! match wins and nothing is merged across scopes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{host, is_exported, labels_match};
use crate::mesh_config::MeshConfig;
use crate::object::{DestinationRule, Object, Spec, Subset, TrafficPolicy};
use crate::registry::RegistryService;
use crate::world::World;

/// Rules of one host in one namespace, merged.
#[derive(Clone, Debug)]
pub struct MergedRule<'a> {
    /// The objects it was merged from, oldest first; the first gives the name in metadata.
    pub objects: Vec<&'a Arc<Object>>,
    /// The first policy there was.
    pub traffic_policy: Option<&'a TrafficPolicy>,
    /// All subsets; of several with one name the first.
    pub subsets: Vec<&'a Subset>,
    /// Callers it is for; `None`: all.
    selector: Option<&'a BTreeMap<String, String>>,
    export_to: Vec<String>,
}

impl MergedRule<'_> {
    /// The subset of that name.
    #[must_use]
    pub fn subset(&self, name: &str) -> Option<&Subset> {
        self.subsets.iter().copied().find(|subset| subset.name == name)
    }
}

/// All rules of a world, by namespace and host.
#[derive(Debug)]
pub struct DestinationRules<'a> {
    by_namespace: BTreeMap<&'a str, BTreeMap<String, Vec<MergedRule<'a>>>>,
    root_namespace: String,
}

impl<'a> DestinationRules<'a> {
    /// Reads and merges the rules of a world.
    #[must_use]
    pub fn build(world: &'a World, mesh: &MeshConfig) -> Self {
        let mut by_namespace: BTreeMap<&str, BTreeMap<String, Vec<MergedRule<'a>>>> = BTreeMap::new();
        let rules = world.objects().iter().filter_map(|object| match &object.spec {
            Spec::DestinationRule(spec) => Some((object, spec.as_ref())),
            _ => None,
        });
        // Those with a selector first, each in age order.
        let (with, without): (Vec<_>, Vec<_>) = rules.partition(|(_, spec)| spec.workload_selector.is_some());
        for (object, spec) in with.into_iter().chain(without) {
            let resolved = host::resolve(&spec.host, &object.id.namespace, &mesh.cluster_domain);
            let kept = by_namespace.entry(&object.id.namespace).or_default().entry(resolved).or_default();
            add(kept, object, spec, mesh);
        }
        Self { by_namespace, root_namespace: mesh.root_namespace.clone() }
    }

    /// The rule that holds for calls from `namespace` by a workload with `labels` to `service`.
    #[must_use]
    pub fn find(
        &self,
        service: &RegistryService,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> Option<&MergedRule<'a>> {
        let root = self.root_namespace.as_str();
        if namespace == root {
            // The root namespace's own rules come first only when they are private to it.
            let private = |rule: &&MergedRule<'_>| rule.export_to.iter().all(|value| value == "." || value == root);
            if let Some(found) = self.in_scope(root, service, namespace, labels, private) {
                return Some(found);
            }
        } else if let Some(found) = self.in_scope(namespace, service, namespace, labels, |_| true) {
            return Some(found);
        }
        for scope in [service.namespace.as_str(), root] {
            if let Some(found) = self.in_scope(scope, service, namespace, labels, |_| true) {
                return Some(found);
            }
        }
        None
    }

    /// Whether some caller in `namespace` finds a subset of that name: rules with a selector count for the callers they select.
    #[must_use]
    pub fn has_subset(&self, service: &RegistryService, namespace: &str, subset: &str) -> bool {
        let none = BTreeMap::new();
        if self.find(service, namespace, &none).is_some_and(|rule| rule.subset(subset).is_some()) {
            return true;
        }
        let selected = self.by_namespace.get(namespace).and_then(|hosts| hosts.get(&service.hostname));
        selected.into_iter().flatten().any(|rule| rule.selector.is_some() && rule.subset(subset).is_some())
    }

    fn in_scope(
        &self,
        scope: &str,
        service: &RegistryService,
        namespace: &str,
        labels: &BTreeMap<String, String>,
        accept: impl Fn(&&MergedRule<'a>) -> bool,
    ) -> Option<&MergedRule<'a>> {
        let hosts = self.by_namespace.get(scope)?;
        let visible =
            |rule: &&MergedRule<'a>| is_exported(&rule.export_to, &rule.export_to, scope, namespace) && accept(rule);
        let seen = |rules: &&Vec<MergedRule<'a>>| rules.iter().any(|rule| visible(&rule));
        // The exact host is the most specific, and found without looking at the others.
        let exact = hosts.get(&service.hostname).filter(seen);
        let rules = exact.or_else(|| {
            let wildcards = hosts.iter().filter(|(key, rules)| key.starts_with('*') && seen(rules));
            let best = host::most_specific(&service.hostname, wildcards.map(|(key, _)| key.as_str()))?;
            hosts.get(best)
        })?;
        let mut last = None;
        for rule in rules.iter().filter(visible) {
            match rule.selector {
                // Selectors count for callers of the rule's own namespace.
                Some(selector) if scope == namespace && labels_match(selector, labels) => {
                    return Some(rule);
                }
                Some(_) => {}
                None => last = Some(rule),
            }
        }
        last
    }
}

fn add<'a>(kept: &mut Vec<MergedRule<'a>>, object: &'a Arc<Object>, spec: &'a DestinationRule, mesh: &MeshConfig) {
    let selector = spec.workload_selector.as_ref().map(|selector| &selector.match_labels);
    let export_to = if spec.export_to.is_empty() { &mesh.default_destination_rule_export_to } else { &spec.export_to };
    let mut export_to: Vec<String> =
        export_to.iter().map(|value| if value == "." { object.id.namespace.clone() } else { value.clone() }).collect();
    export_to.sort();
    let same = kept.iter_mut().find(|rule| rule.selector == selector && rule.export_to == export_to);
    let Some(rule) = same else {
        kept.push(MergedRule {
            objects: vec![object],
            traffic_policy: spec.traffic_policy.as_ref(),
            subsets: spec.subsets.iter().collect(),
            selector,
            export_to,
        });
        return;
    };
    rule.objects.push(object);
    rule.traffic_policy = rule.traffic_policy.or(spec.traffic_policy.as_ref());
    for subset in &spec.subsets {
        if rule.subset(&subset.name).is_none() {
            rule.subsets.push(subset);
        }
    }
}

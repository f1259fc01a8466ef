//! Rules that need more than one object: dangling hosts, subsets and ports, hosts claimed twice, rules that merge badly.
//!
//! Everything here is a warning: Istio accepts these objects, and a request finds out. Nothing here depends on a proxy. Follows the
//! analyzers of `istioctl analyze` as far as they concern the kinds in force. Gateways and delegates of VirtualServices are in `binding`.

mod binding;
mod quota;
mod sidecar;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::finding::{Finding, Severity, code};
use crate::mesh_config::MeshConfig;
use crate::object::{Destination, DestinationRule, EndpointSlice, Object, ServiceEntry, Spec, VirtualService};
use crate::registry::{Registry, RegistryService};
use crate::select::{DestinationRules, host, labels_match};
use crate::world::World;

/// What is wrong between objects. In the order of the objects.
#[must_use]
pub fn check(world: &World, mesh: &MeshConfig) -> Vec<Finding> {
    let registry = Registry::build(world, mesh);
    let mut checker = Checker {
        world,
        mesh,
        registry: &registry,
        rules: DestinationRules::build(world, mesh),
        findings: Vec::new(),
        virtual_hosts: BTreeMap::new(),
        entry_hosts: BTreeMap::new(),
        merged: BTreeMap::new(),
    };
    for object in world.objects() {
        match &object.spec {
            Spec::VirtualService(spec) => checker.virtual_service(object, spec),
            Spec::DestinationRule(spec) => checker.destination_rule(object, spec),
            Spec::ServiceEntry(spec) => checker.service_entry(object, spec),
            Spec::Sidecar(spec) => checker.sidecar(object, spec),
            Spec::EndpointSlice(spec) => checker.endpoint_slice(object, spec),
            _ => {}
        }
    }
    checker.quotas();
    checker.findings
}

/// What makes DestinationRules merge: namespace, host, selector, namespaces that see them.
type MergeKey = (String, String, Option<BTreeMap<String, String>>, BTreeSet<String>);

/// Who claims a host, and for which namespaces.
type Claims<'a> = BTreeMap<String, Vec<(&'a Arc<Object>, BTreeSet<String>)>>;

struct Merged<'a> {
    first: &'a Arc<Object>,
    policy: Option<&'a Arc<Object>>,
    subsets: BTreeMap<&'a str, &'a Arc<Object>>,
}

struct Checker<'a> {
    world: &'a World,
    mesh: &'a MeshConfig,
    registry: &'a Registry,
    rules: DestinationRules<'a>,
    findings: Vec<Finding>,
    virtual_hosts: Claims<'a>,
    entry_hosts: Claims<'a>,
    merged: BTreeMap<MergeKey, Merged<'a>>,
}

impl<'a> Checker<'a> {
    fn warn(&mut self, object: &Object, code: &'static str, field: &str, reason: String) {
        self.findings.push(Finding {
            file: object.file.clone(),
            line: object.line_of(field),
            severity: Severity::Warning,
            code,
            object: Some(object.id.clone()),
            field: field.to_owned(),
            reason,
        });
    }

    fn resolve(&self, object: &Object, name: &str) -> String {
        host::resolve(name, &object.id.namespace, &self.mesh.cluster_domain)
    }

    fn service(&self, hostname: &str) -> Option<&'a RegistryService> {
        self.registry.services().iter().find(|service| service.hostname == hostname)
    }

    fn virtual_service(&mut self, object: &'a Arc<Object>, spec: &'a VirtualService) {
        let for_mesh = spec.gateways.is_empty() || spec.gateways.iter().any(|gateway| gateway == "mesh");
        self.gateways(object, spec);
        self.delegates(object, spec);
        let mut ports: BTreeSet<u32> = BTreeSet::new();
        if for_mesh {
            let seen_by = visibility(object, &spec.export_to, &self.mesh.default_virtual_service_export_to);
            for (index, name) in spec.hosts.iter().enumerate() {
                let field = format!("spec.hosts[{index}]");
                let resolved = self.resolve(object, name);
                let services: Vec<_> = self
                    .registry
                    .services()
                    .iter()
                    .filter(|service| host::matches(&service.hostname, &resolved))
                    .collect();
                ports.extend(services.iter().flat_map(|service| service.ports.iter().map(|port| port.number)));
                if services.is_empty() {
                    self.unknown_host(object, &field, &resolved);
                }
                self.claim(object, &field, &resolved, &seen_by);
            }
        }
        for (index, http) in spec.http.iter().enumerate() {
            let at = format!("spec.http[{index}]");
            for (r, target) in http.route.iter().enumerate() {
                // A weight of 0 beside others is never used.
                if http.route.len() > 1 && target.weight.unwrap_or(0) == 0 {
                    continue;
                }
                self.destination(object, &format!("{at}.route[{r}].destination"), target.destination.as_ref(), &ports);
            }
            if let Some(mirror) = &http.mirror {
                self.destination(object, &format!("{at}.mirror"), Some(mirror), &ports);
            }
            for (m, mirror) in http.mirrors.iter().enumerate() {
                self.destination(
                    object,
                    &format!("{at}.mirrors[{m}].destination"),
                    mirror.destination.as_ref(),
                    &ports,
                );
            }
        }
    }

    fn unknown_host(&mut self, object: &Object, field: &str, resolved: &str) {
        let port_80 = self
            .registry
            .services()
            .iter()
            .any(|service| service.port(80).is_some_and(|port| port.protocol.is_http_or_auto()));
        // `reviews.prod` looks like a service of the namespace prod, and is not expanded.
        let short = self
            .registry
            .services()
            .iter()
            .find(|service| format!("{}.{}", service.name, service.namespace) == resolved);
        let reason = match (short, port_80) {
            (Some(service), _) => format!(
                "no service has the host {resolved} (a name with a dot is not expanded: write {})",
                service.hostname
            ),
            (None, true) => {
                format!("no service has the host {resolved}: only calls to port 80 are routed")
            }
            (None, false) => {
                format!("no service has the host {resolved}, and none has port 80: no call is routed")
            }
        };
        self.warn(object, code::VS_UNKNOWN_HOST, field, reason);
    }

    fn claim(&mut self, object: &'a Arc<Object>, field: &str, resolved: &str, seen_by: &BTreeSet<String>) {
        let claims = self.virtual_hosts.entry(resolved.to_owned()).or_default();
        let first = claims.iter().find(|(_, other)| overlap(other, seen_by)).map(|(first, _)| *first);
        claims.push((object, seen_by.clone()));
        if let Some(first) = first {
            let reason = format!(
                "{resolved} is claimed by {} ({}:{}) already, which wins: this rule has no effect there",
                first.id, first.file, first.line
            );
            self.warn(object, code::VS_DUPLICATE_HOST, field, reason);
        }
    }

    fn destination(&mut self, object: &Object, field: &str, destination: Option<&Destination>, called: &BTreeSet<u32>) {
        let Some(destination) = destination else {
            return;
        };
        let resolved = self.resolve(object, &destination.host);
        let Some(service) = self.service(&resolved) else {
            let reason = format!("no service has the host {resolved}: requests are answered 503 (NC)");
            self.warn(object, code::DANGLING_HOST, &format!("{field}.host"), reason);
            return;
        };
        let list =
            |ports: &mut dyn Iterator<Item = u32>| ports.map(|port| port.to_string()).collect::<Vec<_>>().join(", ");
        let has = list(&mut service.ports.iter().map(|port| port.number));
        match &destination.port {
            Some(port) if service.port(port.number).is_none() => {
                let reason =
                    format!("{resolved} has no port {} (it has {has}): requests are answered 503 (NC)", port.number);
                self.warn(object, code::DANGLING_PORT, &format!("{field}.port.number"), reason);
            }
            None if !called.is_empty() && !called.iter().any(|port| service.port(*port).is_some()) => {
                let called = list(&mut called.iter().copied());
                let reason = format!(
                    "without a port the called one is used ({called}), and {resolved} has only {has}: requests are answered 503 (NC)"
                );
                self.warn(object, code::DANGLING_PORT, &format!("{field}.port"), reason);
            }
            _ => {}
        }
        if !destination.subset.is_empty() && !self.rules.has_subset(service, &object.id.namespace, &destination.subset)
        {
            let reason = format!(
                "no DestinationRule defines subset {} of {resolved}: requests are answered 503 (NC)",
                destination.subset
            );
            self.warn(object, code::DANGLING_SUBSET, &format!("{field}.subset"), reason);
        }
    }

    fn destination_rule(&mut self, object: &'a Arc<Object>, spec: &'a DestinationRule) {
        let resolved = self.resolve(object, &spec.host);
        let services: Vec<_> =
            self.registry.services().iter().filter(|service| host::subset_of(&service.hostname, &resolved)).collect();
        if services.is_empty() {
            self.warn(
                object,
                code::DR_UNKNOWN_HOST,
                "spec.host",
                format!("no service has the host {resolved}: the rule has no effect"),
            );
        }
        for (index, subset) in spec.subsets.iter().enumerate() {
            let chosen = |service: &&RegistryService| {
                service.endpoints.iter().any(|endpoint| labels_match(&subset.labels, &endpoint.labels))
            };
            let known: Vec<_> = services.iter().copied().filter(|service| !service.endpoints.is_empty()).collect();
            if !known.is_empty() && !known.iter().any(chosen) {
                let reason = format!(
                    "no endpoint of {resolved} has the labels of subset {}: requests are answered 503 (UH)",
                    subset.name
                );
                self.warn(object, code::DR_EMPTY_SUBSET, &format!("spec.subsets[{index}].labels"), reason);
            }
        }
        let seen_by = visibility(object, &spec.export_to, &self.mesh.default_destination_rule_export_to);
        let selector = spec.workload_selector.as_ref().map(|selector| selector.match_labels.clone());
        let key = (object.id.namespace.clone(), resolved.clone(), selector, seen_by);
        let merged =
            self.merged.entry(key).or_insert_with(|| Merged { first: object, policy: None, subsets: BTreeMap::new() });
        let mut problems = Vec::new();
        if spec.traffic_policy.is_some() {
            match merged.policy {
                Some(first) => problems.push((
                    code::DR_POLICY_DROPPED,
                    "spec.trafficPolicy".to_owned(),
                    format!("{} has a policy for {resolved} already, which wins: this one has no effect", first.id),
                )),
                None => merged.policy = Some(object),
            }
        }
        for (index, subset) in spec.subsets.iter().enumerate() {
            match merged.subsets.get(subset.name.as_str()) {
                Some(first) if !Arc::ptr_eq(first, object) => problems.push((
                    code::DR_DUPLICATE_SUBSET,
                    format!("spec.subsets[{index}].name"),
                    format!(
                        "{} defines subset {} of {resolved} already, which wins (merged into {})",
                        first.id, subset.name, merged.first.id
                    ),
                )),
                _ => {
                    merged.subsets.insert(&subset.name, object);
                }
            }
        }
        for (code, field, reason) in problems {
            self.warn(object, code, &field, reason);
        }
    }

    fn service_entry(&mut self, object: &'a Arc<Object>, spec: &ServiceEntry) {
        let seen_by = visibility(object, &spec.export_to, &self.mesh.default_service_export_to);
        for (index, name) in spec.hosts.iter().enumerate() {
            let claims = self.entry_hosts.entry(name.to_ascii_lowercase()).or_default();
            let first = claims.iter().find(|(_, other)| overlap(other, &seen_by)).map(|(first, _)| *first);
            claims.push((object, seen_by.clone()));
            if let Some(first) = first {
                let reason = format!(
                    "{name} is declared by {} ({}:{}) already: callers see one of them, their own namespace's or the oldest",
                    first.id, first.file, first.line
                );
                self.warn(object, code::SE_DUPLICATE_HOST, &format!("spec.hosts[{index}]"), reason);
            }
        }
    }

    fn endpoint_slice(&mut self, object: &Object, spec: &EndpointSlice) {
        let namespace = &object.id.namespace;
        let Some(name) = object.labels.get("kubernetes.io/service-name") else {
            let reason = "without the label kubernetes.io/service-name its endpoints belong to nobody";
            self.warn(object, code::SLICE_WITHOUT_SERVICE, "metadata.labels", reason.to_owned());
            return;
        };
        let hostname = format!("{name}.{namespace}.svc.{}", self.mesh.cluster_domain).to_ascii_lowercase();
        let Some(service) = self.service(&hostname) else {
            self.warn(
                object,
                code::SLICE_WITHOUT_SERVICE,
                "metadata.labels",
                format!("there is no Service {name} in namespace {namespace}"),
            );
            return;
        };
        for (index, port) in spec.ports.iter().enumerate() {
            if port.protocol != "UDP" && !service.ports.iter().any(|known| known.name == port.name) {
                let reason = format!("Service {name} has no port named {:?}: ports meet by name", port.name);
                self.warn(object, code::DANGLING_PORT, &format!("ports[{index}].name"), reason);
            }
        }
    }
}

/// The namespaces that see an object; `*` for all.
fn visibility(object: &Object, export_to: &[String], default: &[String]) -> BTreeSet<String> {
    let effective = if export_to.is_empty() { default } else { export_to };
    effective.iter().map(|value| if value == "." { object.id.namespace.clone() } else { value.clone() }).collect()
}

fn overlap(a: &BTreeSet<String>, b: &BTreeSet<String>) -> bool {
    a.contains("*") || b.contains("*") || a.intersection(b).next().is_some()
}

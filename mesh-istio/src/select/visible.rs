//! `exportTo`: which objects a namespace may see, and which of several services with one host name it gets.

use std::collections::BTreeMap;

use crate::mesh_config::MeshConfig;
use crate::registry::{Provider, Registry, RegistryService};

/// Whether something of `owner` with this `exportTo` (or, when empty, the default) is visible in `namespace`.
#[must_use]
pub fn is_exported(export_to: &[String], default: &[String], owner: &str, namespace: &str) -> bool {
    let effective = if export_to.is_empty() { default } else { export_to };
    effective.iter().any(|value| match value.as_str() {
        "*" => true,
        "." => owner == namespace,
        "~" => false,
        other => other == namespace,
    })
}

/// The services that are exported to `namespace`, oldest first.
pub(super) fn exported<'a>(registry: &'a Registry, mesh: &MeshConfig, namespace: &str) -> Vec<&'a RegistryService> {
    let default = &mesh.default_service_export_to;
    let seen = |service: &&RegistryService| is_exported(&service.export_to, default, &service.namespace, namespace);
    registry.services().iter().filter(seen).collect()
}

/// One service for each host name, in the given order, which is that of age. Own before Kubernetes before ServiceEntry before the oldest.
pub(super) fn one_for_each_host<'a>(
    services: impl Iterator<Item = &'a RegistryService>,
    namespace: &str,
) -> Vec<&'a RegistryService> {
    let mut chosen: BTreeMap<&str, usize> = BTreeMap::new();
    let all: Vec<_> = services.collect();
    for (index, service) in all.iter().enumerate() {
        let rank =
            |service: &RegistryService| (service.namespace != namespace, service.provider != Provider::Kubernetes);
        let slot = chosen.entry(&service.hostname).or_insert(index);
        // The older one stays among equals.
        if rank(service) < rank(all[*slot]) {
            *slot = index;
        }
    }
    let mut indexes: Vec<usize> = chosen.into_values().collect();
    indexes.sort_unstable();
    indexes.into_iter().map(|index| all[index]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn export_to_is_read_as_istio_reads_it() {
        let all = ["*".to_owned()];
        let list = |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
        for (export_to, namespace, visible) in [
            ("", "b", true),
            ("*", "b", true),
            (".", "a", true),
            (".", "b", false),
            ("b", "b", true),
            ("b", "a", false),
            ("~", "a", false),
            (". b", "b", true),
        ] {
            assert_eq!(is_exported(&list(export_to), &all, "a", namespace), visible, "{export_to} {namespace}");
        }
        assert!(!is_exported(&[], &[".".to_owned()], "a", "b"));
    }
}

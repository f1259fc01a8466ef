//! Delegation: rules of a VirtualService without hosts in the place of a rule that refers to it.
//!
//! Follows Istio's `mergeVirtualServicesIfNeeded`: every pair of a root's match and a delegate's match that do not contradict each other is a match
//! of the result; a rule of the delegate with a match that contradicts all of the root's is left out. One level only.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::gateway::resolve_gateway;
use super::{host, is_exported};
use crate::mesh_config::MeshConfig;
use crate::object::{Delegate, Destination, HttpMatchRequest, HttpRoute, Object, Spec, StringMatch, VirtualService};
use crate::world::World;

/// Every VirtualService that others may refer to.
#[derive(Debug)]
pub(crate) struct Delegates<'a> {
    by_name: BTreeMap<(&'a str, &'a str), (&'a Arc<Object>, &'a VirtualService)>,
    mesh: &'a MeshConfig,
}

impl<'a> Delegates<'a> {
    pub(crate) fn of(world: &'a World, mesh: &'a MeshConfig) -> Self {
        let mut by_name = BTreeMap::new();
        for object in world.objects() {
            match &object.spec {
                Spec::VirtualService(spec) if spec.hosts.is_empty() => {
                    by_name.insert((object.id.namespace.as_str(), object.id.name.as_str()), (object, spec.as_ref()));
                }
                _ => {}
            }
        }
        Self { by_name, mesh }
    }

    /// The VirtualService that a rule of `root` refers to, when there is one and it may be seen from there.
    pub(crate) fn find(&self, root: &Object, reference: &Delegate) -> Option<(&'a Arc<Object>, &'a VirtualService)> {
        let namespace = if reference.namespace.is_empty() { &root.id.namespace } else { &reference.namespace };
        let (object, spec) = *self.by_name.get(&(namespace.as_str(), reference.name.as_str()))?;
        let default = &self.mesh.default_virtual_service_export_to;
        is_exported(&spec.export_to, default, namespace, &root.id.namespace).then_some((object, spec))
    }

    /// The HTTP rules of a VirtualService with those of its delegates.
    pub(crate) fn rules<'b>(&self, object: &Object, spec: &'b VirtualService) -> Cow<'b, [HttpRoute]> {
        if spec.http.iter().all(|rule| rule.delegate.is_none()) {
            return Cow::Borrowed(&spec.http);
        }
        let mut out = Vec::new();
        for rule in &spec.http {
            let Some(reference) = &rule.delegate else {
                out.push(rule.clone());
                continue;
            };
            if let Some((delegate, rules)) = self.find(object, reference) {
                let merged = |leaf| merge(object, rule, delegate, leaf, &self.mesh.cluster_domain);
                out.extend(rules.http.iter().filter_map(merged));
            }
        }
        Cow::Owned(out)
    }
}

/// A rule of a delegate as it stands in its root; `None` when it contradicts the root.
pub(crate) fn merge(
    root_object: &Object,
    root: &HttpRoute,
    leaf_object: &Object,
    leaf: &HttpRoute,
    cluster_domain: &str,
) -> Option<HttpRoute> {
    let root_matches = in_full(&root.r#match, root_object);
    let leaf_matches = in_full(&leaf.r#match, leaf_object);
    let mut out = leaf.clone();
    out.r#match = matches(&root_matches, &leaf_matches)?;
    out.name = joined(&root.name, &leaf.name);
    let namespace = &leaf_object.id.namespace;
    let resolve = |destination: &mut Destination| {
        destination.host = host::resolve(&destination.host, namespace, cluster_domain);
    };
    out.route.iter_mut().filter_map(|target| target.destination.as_mut()).for_each(resolve);
    out.mirror.iter_mut().for_each(resolve);
    out.mirrors.iter_mut().filter_map(|mirror| mirror.destination.as_mut()).for_each(resolve);

    let inherited = |mirror: &Destination| {
        let host = host::resolve(&mirror.host, &root_object.id.namespace, cluster_domain);
        Destination { host, ..mirror.clone() }
    };
    out.rewrite = out.rewrite.or_else(|| root.rewrite.clone());
    out.direct_response = out.direct_response.or_else(|| root.direct_response.clone());
    out.timeout = out.timeout.or(root.timeout);
    out.retries = out.retries.or_else(|| root.retries.clone());
    out.fault = out.fault.or_else(|| root.fault.clone());
    out.mirror = out.mirror.or_else(|| root.mirror.as_ref().map(inherited));
    out.mirror_percent = out.mirror_percent.or(root.mirror_percent);
    out.mirror_percentage = out.mirror_percentage.or_else(|| root.mirror_percentage.clone());
    out.cors_policy = out.cors_policy.or_else(|| root.cors_policy.clone());
    out.headers = out.headers.or_else(|| root.headers.clone());
    if out.mirrors.is_empty() {
        out.mirrors.clone_from(&root.mirrors);
        for mirror in &mut out.mirrors {
            mirror.destination = mirror.destination.as_ref().map(inherited);
        }
    }
    Some(out)
}

/// Matches with the full names of their gateways.
fn in_full(blocks: &[HttpMatchRequest], object: &Object) -> Vec<HttpMatchRequest> {
    let mut out = blocks.to_vec();
    for gateway in out.iter_mut().flat_map(|block| &mut block.gateways) {
        *gateway = resolve_gateway(gateway, &object.id.namespace);
    }
    out
}

fn joined(root: &str, leaf: &str) -> String {
    match (root, leaf) {
        ("", name) | (name, "") => name.to_owned(),
        (root, leaf) => format!("{root}-{leaf}"),
    }
}

/// The pairs that do not contradict each other; `None` when a match of the delegate fits none of the root's.
fn matches(roots: &[HttpMatchRequest], leaves: &[HttpMatchRequest]) -> Option<Vec<HttpMatchRequest>> {
    if roots.is_empty() || leaves.is_empty() {
        return Some(if roots.is_empty() { leaves } else { roots }.to_vec());
    }
    let mut out = Vec::new();
    for leaf in leaves {
        let before = out.len();
        out.extend(roots.iter().filter(|root| !contradict(root, leaf)).map(|root| both(root, leaf)));
        if out.len() == before {
            return None;
        }
    }
    Some(out)
}

/// What both ask for; where both say something, the delegate's is the narrower.
fn both(root: &HttpMatchRequest, leaf: &HttpMatchRequest) -> HttpMatchRequest {
    let map = |root: &BTreeMap<String, StringMatch>, leaf: &BTreeMap<String, StringMatch>| {
        let mut out = root.clone();
        out.extend(leaf.iter().map(|(key, value)| (key.clone(), value.clone())));
        out
    };
    let mut source_labels = root.source_labels.clone();
    source_labels.extend(leaf.source_labels.iter().map(|(key, value)| (key.clone(), value.clone())));
    let text = |leaf: &String, root: &String| if leaf.is_empty() { root.clone() } else { leaf.clone() };
    HttpMatchRequest {
        name: joined(&root.name, &leaf.name),
        uri: leaf.uri.clone().or_else(|| root.uri.clone()),
        scheme: leaf.scheme.clone().or_else(|| root.scheme.clone()),
        method: leaf.method.clone().or_else(|| root.method.clone()),
        authority: leaf.authority.clone().or_else(|| root.authority.clone()),
        headers: map(&root.headers, &leaf.headers),
        without_headers: map(&root.without_headers, &leaf.without_headers),
        query_params: map(&root.query_params, &leaf.query_params),
        port: if leaf.port == 0 { root.port } else { leaf.port },
        source_labels,
        source_namespace: text(&leaf.source_namespace, &root.source_namespace),
        gateways: if leaf.gateways.is_empty() { root.gateways.clone() } else { leaf.gateways.clone() },
        ignore_uri_case: leaf.ignore_uri_case,
        stat_prefix: text(&leaf.stat_prefix, &root.stat_prefix),
    }
}

fn contradict(root: &HttpMatchRequest, leaf: &HttpMatchRequest) -> bool {
    let texts = [
        (&root.uri, &leaf.uri),
        (&root.scheme, &leaf.scheme),
        (&root.method, &leaf.method),
        (&root.authority, &leaf.authority),
    ];
    let maps = [
        (&root.headers, &leaf.headers),
        (&root.without_headers, &leaf.without_headers),
        (&root.query_params, &leaf.query_params),
    ];
    let other = |(key, value): (&String, &String)| root.source_labels.get(key).is_some_and(|wanted| wanted != value);
    texts.iter().any(|(root, leaf)| texts_contradict(root.as_ref(), leaf.as_ref()))
        || maps.iter().any(|(root, leaf)| leaf.iter().any(|(key, value)| texts_contradict(root.get(key), Some(value))))
        || root.ignore_uri_case != leaf.ignore_uri_case
        || (root.port != 0 && leaf.port != 0 && root.port != leaf.port)
        || (!root.source_namespace.is_empty() && root.source_namespace != leaf.source_namespace)
        || leaf.source_labels.iter().any(other)
        || (!root.gateways.is_empty() && !leaf.gateways.iter().all(|gateway| root.gateways.contains(gateway)))
}

/// Whether a delegate asks for something outside of what its root asks for, as far as Istio looks: regular expressions are never within
/// anything.
fn texts_contradict(root: Option<&StringMatch>, leaf: Option<&StringMatch>) -> bool {
    use StringMatch::{Exact, Prefix};
    let (Some(root), Some(leaf)) = (root, leaf) else {
        return false;
    };
    match (root, leaf) {
        (Exact(root), Exact(leaf)) => root != leaf,
        (Prefix(root), Exact(leaf) | Prefix(leaf)) => !leaf.starts_with(root.as_str()),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delegate_may_only_narrow_what_its_root_asks_for() {
        use StringMatch::{Exact, Prefix, Present, Regex};
        let text = str::to_owned;
        for (root, leaf, contradicts) in [
            (Some(Exact(text("/a"))), None, false),
            (None, Some(Exact(text("/a"))), false),
            (Some(Exact(text("/a"))), Some(Exact(text("/a"))), false),
            (Some(Exact(text("/a"))), Some(Exact(text("/b"))), true),
            (Some(Exact(text("/a"))), Some(Prefix(text("/a"))), true),
            (Some(Prefix(text("/a"))), Some(Prefix(text("/a/b"))), false),
            (Some(Prefix(text("/a"))), Some(Exact(text("/a/b"))), false),
            (Some(Prefix(text("/a/b"))), Some(Prefix(text("/a"))), true),
            (Some(Prefix(text("/a"))), Some(Regex(text("/a.*"))), true),
            (Some(Regex(text("/a"))), Some(Regex(text("/a"))), true),
            (Some(Present), Some(Exact(text("a"))), true),
        ] {
            assert_eq!(texts_contradict(root.as_ref(), leaf.as_ref()), contradicts, "{root:?} {leaf:?}");
        }
    }

    #[test]
    fn matches_multiply_and_one_that_fits_nowhere_drops_the_rule() {
        let uri = |prefix: &str| HttpMatchRequest {
            uri: Some(StringMatch::Prefix(prefix.to_owned())),
            ..HttpMatchRequest::default()
        };
        let with_port = HttpMatchRequest { port: 80, ..HttpMatchRequest::default() };
        let merged = matches(&[uri("/a"), with_port.clone()], &[uri("/a/b")]).unwrap_or_default();
        assert_eq!(merged, [uri("/a/b"), HttpMatchRequest { port: 80, ..uri("/a/b") }]);
        assert_eq!(matches(&[uri("/a")], &[uri("/a/b"), uri("/c")]), None);
        assert_eq!(matches(&[uri("/a")], &[]), Some(vec![uri("/a")]));
        let other_port = HttpMatchRequest { port: 81, ..HttpMatchRequest::default() };
        assert_eq!(matches(&[with_port], &[other_port]), None);
    }
}

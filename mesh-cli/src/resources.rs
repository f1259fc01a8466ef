//! Translated resources by kind and name: encoded, to be judged, and asked which Istio object they come from.

use std::collections::BTreeMap;

use mesh_core::resource::{ResourceKind, ResourceName};
use mesh_istio::Lowered;
use mesh_proto::canonical;
use mesh_proto::envoy::config::core::v3::Metadata;
use mesh_proto::google::protobuf::value::Kind;
use mesh_proto::prost::{Message, Name};
use mesh_xds::decode::{self, Resource};

/// Every resource, encoded.
pub(crate) fn encoded(lowered: &Lowered) -> impl Iterator<Item = Resource> {
    fn all<M: Message + Name>(
        kind: ResourceKind,
        messages: &[M],
        name: impl Fn(&M) -> &str,
    ) -> impl Iterator<Item = Resource> {
        messages.iter().map(move |message| Resource {
            type_url: decode::type_url(kind).to_owned(),
            name: Some(name(message).into()),
            version: "".into(),
            value: canonical::encode(message).into(),
        })
    }
    all(ResourceKind::Cluster, &lowered.clusters, |one| &one.name)
        .chain(all(ResourceKind::ClusterLoadAssignment, &lowered.endpoints, |one| &one.cluster_name))
        .chain(all(ResourceKind::Listener, &lowered.listeners, |one| &one.name))
        .chain(all(ResourceKind::RouteConfiguration, &lowered.routes, |one| &one.name))
}

/// Which Istio objects made resources, by the path that translation leaves in their metadata.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    clusters: BTreeMap<String, String>,
    /// By route configuration, virtual host and route.
    routes: BTreeMap<String, Vec<Vec<Option<String>>>>,
}

impl Origins {
    pub(crate) fn of(lowered: &Lowered) -> Self {
        let clusters = lowered.clusters.iter();
        let clusters = clusters.filter_map(|one| Some((one.name.clone(), config_path(one.metadata.as_ref()?)?)));
        let routes = lowered.routes.iter().map(|one| {
            let hosts = one
                .virtual_hosts
                .iter()
                .map(|host| host.routes.iter().map(|route| route.metadata.as_ref().and_then(config_path)).collect());
            (one.name.clone(), hosts.collect())
        });
        Self { clusters: clusters.collect(), routes: routes.collect() }
    }

    /// The configuration path of the object behind a field of a resource, such as `virtual_hosts[2].routes[0].route.timeout`.
    pub(crate) fn find(&self, resource: &ResourceName, field: &str) -> Option<&str> {
        match resource.kind {
            ResourceKind::Cluster | ResourceKind::ClusterLoadAssignment => {
                self.clusters.get(&*resource.name).map(String::as_str)
            }
            ResourceKind::RouteConfiguration => {
                let hosts = self.routes.get(&*resource.name)?;
                let (host, rest) = index(field, "virtual_hosts")?;
                let (route, _) = index(rest.strip_prefix('.')?, "routes")?;
                hosts.get(host)?.get(route)?.as_deref()
            }
            _ => None,
        }
    }
}

/// Takes `name[3]` off the front of a path.
fn index<'a>(path: &'a str, name: &str) -> Option<(usize, &'a str)> {
    let (number, rest) = path.strip_prefix(name)?.strip_prefix('[')?.split_once(']')?;
    Some((number.parse().ok()?, rest))
}

fn config_path(metadata: &Metadata) -> Option<String> {
    match metadata.filter_metadata.get("istio")?.fields.get("config")?.kind.as_ref()? {
        Kind::StringValue(path) => Some(path.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_a_route_leads_to_the_object_of_that_route() {
        let mut origins = Origins::default();
        origins.routes.insert("80".into(), vec![vec![None], vec![None, Some("object".into())]]);
        let routes = ResourceName::new(ResourceKind::RouteConfiguration, "80");
        assert_eq!(origins.find(&routes, "virtual_hosts[1].routes[1].route.timeout"), Some("object"));
        for other in ["virtual_hosts[1].routes[0]", "virtual_hosts[9].routes[0]", "virtual_hosts[1]", "name", ""] {
            assert_eq!(origins.find(&routes, other), None, "{other}");
        }
    }
}

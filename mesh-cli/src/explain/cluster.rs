//! One cluster that a request may go to: its service, rule, policies and endpoints, and whether anybody answers there.

use mesh_core::resource::cluster::{Discovery, TransportSocket};
use mesh_core::resource::endpoint::{ClusterLoadAssignment, Endpoint};
use mesh_core::resource::route::RoutingPriority;
use mesh_core::snapshot::Cluster;
use mesh_istio::ObjectId;
use mesh_istio::registry::RegistryService;

use super::origin::{Origin, place};
use super::words;
use crate::page::{Table, count};

/// A cluster in words.
pub(super) struct Described {
    pub(super) rows: Table,
    /// Whether a request that comes here can go on.
    pub(super) reachable: bool,
    /// The objects behind it.
    pub(super) objects: Vec<ObjectId>,
}

/// More endpoints are only counted.
const SHOWN: usize = 20;

/// Describes the cluster of a name; `called` is the authority of the request.
pub(super) fn describe(
    name: &str,
    cluster: Option<&Cluster>,
    priority: RoutingPriority,
    called: &str,
    origin: &Origin<'_>,
) -> Described {
    let mut rows = Table::default();
    let mut row = |label: &str, text: String| rows.row([label.to_owned(), text]);
    let mut objects = Vec::new();
    let (subset, hostname) = parts(name);
    let service = origin.service(hostname);
    if let Some(service) = service {
        row("service", place(&service.object));
        objects.push(service.object.id.clone());
    }
    let Some(cluster) = cluster else {
        row("endpoints", "none: there is no such cluster, the request is answered 503 (NC)".to_owned());
        return Described { rows, reachable: false, objects };
    };
    let config = cluster.config();
    if let Some(rule) = origin.rule(config, subset) {
        row("rule", place(rule));
        objects.push(rule.id.clone());
    }
    if config.discovery != Discovery::OriginalDst {
        row("balancing", words::balancing(&config.lb_policy));
    }
    row("connections", words::connections(config));
    row("limits", words::limits(cluster.breaker().thresholds(priority)));
    let (lines, reachable) = endpoints(cluster, service, called, origin, &mut objects);
    for (at, line) in lines.lines().enumerate() {
        row(if at == 0 { "endpoints" } else { "" }, line.to_owned());
    }
    Described { rows, reachable, objects }
}

fn endpoints(
    cluster: &Cluster,
    service: Option<&RegistryService>,
    called: &str,
    origin: &Origin<'_>,
    objects: &mut Vec<ObjectId>,
) -> (String, bool) {
    let nobody = |why: &str| (format!("none: {why}, the request is answered 503 (UH)"), false);
    let resolved: Vec<Endpoint>;
    let (listed, names): (Vec<&Endpoint>, bool) = match &cluster.config().discovery {
        Discovery::OriginalDst => return (format!("{called}, which the caller names"), true),
        Discovery::StrictDns { endpoints, .. } | Discovery::LogicalDns { endpoints, .. } => {
            (all(endpoints).collect(), true)
        }
        Discovery::Static(_) | Discovery::Eds { .. } => {
            resolved = cluster.balancer().hosts().iter().map(|host| (*host.endpoint).clone()).collect();
            (resolved.iter().collect(), false)
        }
        _ => (Vec::new(), false),
    };
    if listed.is_empty() {
        return nobody("nobody stands behind it");
    }
    let mut table = Table::default();
    for endpoint in listed.iter().take(SHOWN) {
        let object = service.and_then(|service| origin.endpoint(service, endpoint));
        objects.extend(object.map(|object| object.id.clone()));
        let remark = match cluster.config().transport_socket(&endpoint.metadata) {
            TransportSocket::RawBuffer if endpoint.health.is_usable() => "",
            TransportSocket::RawBuffer => "not healthy",
            _ => "needs TLS",
        };
        table.row([
            endpoint.address.to_string(),
            format!("weight {}", endpoint.weight),
            remark.to_owned(),
            object.map_or_else(String::new, |object| place(object)),
        ]);
    }
    let mut text = table.lines("");
    if listed.len() > SHOWN {
        text.push_str(&format!("and {}\n", count(listed.len() - SHOWN, "more", "more")));
    }
    if names {
        text.push_str("names are resolved while running\n");
        return (text, true);
    }
    if cluster.balancer().eligible().is_empty() {
        text.push_str("none can be picked: the request is answered 503 (UH)\n");
        return (text, false);
    }
    (text, true)
}

fn all(assignment: &ClusterLoadAssignment) -> impl Iterator<Item = &Endpoint> {
    assignment.localities.iter().flat_map(|locality| &locality.endpoints)
}

/// Subset and host of `outbound|9080|v1|reviews.default.svc.cluster.local`.
fn parts(name: &str) -> (&str, &str) {
    let mut parts = name.rsplit('|');
    let hostname = parts.next().unwrap_or_default();
    (parts.next().unwrap_or_default(), hostname)
}

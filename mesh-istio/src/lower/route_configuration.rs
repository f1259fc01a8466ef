//! Route configurations: for each port one, with a virtual host for each service and each VirtualService host, and one for the rest.
//!
//! Follows istiod's sidecar RDS: each host gets exactly one VirtualService (exact before most specific wildcard, in order of precedence), domains
//! are never given twice, virtual hosts stand in the order of their names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use mesh_proto::envoy::config::route::v3::route::Action;
use mesh_proto::envoy::config::route::v3::route_action::ClusterSpecifier;
use mesh_proto::envoy::config::route::v3::{DirectResponseAction, Route, RouteAction, RouteConfiguration, VirtualHost};

use super::route::{self, Place};
use super::scope::Scope;
use super::values::{bool_value, seconds, u32_value};
use super::{domains, route_match};
use crate::registry::{RegistryService, ServicePort};
use crate::select::gateway::MESH;
use crate::select::{BoundVirtualService, host};

/// Hosts that no service has are routed for callers of this port only.
const HTTP_PORT: u32 = 80;
/// Istio's limit on bodies of direct responses.
pub(super) const MAX_DIRECT_RESPONSE: u32 = 1 << 20;

/// The name of a route configuration: a port, or a service and its port where the protocol is found out by looking.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RouteName {
    Port(u32),
    Sniffed { hostname: String, port: u32 },
}

impl fmt::Display for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "{port}"),
            Self::Sniffed { hostname, port } => write!(f, "{hostname}:{port}"),
        }
    }
}

pub(super) fn build(scope: &Scope<'_>, name: &RouteName) -> RouteConfiguration {
    let port = match name {
        RouteName::Port(port) | RouteName::Sniffed { port, .. } => *port,
    };
    let mut hosts = virtual_hosts(scope, port);
    match name {
        RouteName::Sniffed { hostname, .. } => {
            // The address said whose traffic it is: the name in the request does not matter.
            let own = format!("{hostname}:{port}");
            hosts.retain(|host| host.name == own);
            for host in &mut hosts {
                host.domains = vec!["*".to_owned()];
            }
        }
        RouteName::Port(_) => hosts.push(catch_all(scope)),
    }
    RouteConfiguration {
        name: name.to_string(),
        virtual_hosts: hosts,
        validate_clusters: bool_value(false),
        max_direct_response_body_size_bytes: u32_value(MAX_DIRECT_RESPONSE),
        ignore_port_in_host_matching: true,
        ..RouteConfiguration::default()
    }
}

/// A virtual host before its domains are known to be free.
struct Candidate {
    hostname: String,
    domains: Vec<String>,
    routes: Vec<Route>,
}

fn virtual_hosts(scope: &Scope<'_>, port: u32) -> Vec<VirtualHost> {
    let Some(egress) = scope.outbound.of_port(port) else {
        return Vec::new();
    };
    let services: BTreeMap<&str, (&RegistryService, &ServicePort)> = egress
        .services
        .iter()
        .filter_map(|seen| Some((seen.service.hostname.as_str(), (seen.service, seen.port(port)?))))
        .collect();
    let chosen = choose(&egress.virtual_services, services.keys().copied());
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut routed: BTreeSet<&str> = BTreeSet::new();
    for (index, virtual_service) in egress.virtual_services.iter().enumerate() {
        let mut of_services: Vec<&str> = Vec::new();
        let mut alone: Vec<&str> = Vec::new();
        for name in &virtual_service.hosts {
            let matched: Vec<&str> = match services.get_key_value(name.as_str()) {
                Some((hostname, _)) => vec![*hostname],
                None if name.starts_with('*') => {
                    services.keys().copied().filter(|hostname| host::subset_of(hostname, name)).collect()
                }
                None => Vec::new(),
            };
            if matched.is_empty() {
                alone.push(name);
            }
            of_services.extend(matched.into_iter().filter(|hostname| chosen.get(hostname) == Some(&index)));
        }
        of_services.retain(|hostname| services.get(hostname).is_some_and(|(_, port)| port.protocol.is_http_or_auto()));
        if port != HTTP_PORT {
            alone.clear();
        }
        if of_services.is_empty() && alone.is_empty() {
            continue;
        }
        let place = Place { scope, object: virtual_service.object, port, gateway: MESH };
        let routes = route::of_virtual_service(&place, &virtual_service.http);
        if routes.is_empty() {
            continue;
        }
        for name in alone {
            candidates.push(Candidate {
                hostname: name.to_owned(),
                domains: vec![name.to_owned()],
                routes: routes.clone(),
            });
        }
        for hostname in of_services {
            let Some((service, _)) = services.get(hostname) else {
                continue;
            };
            routed.insert(&service.hostname);
            candidates.push(Candidate {
                hostname: service.hostname.clone(),
                domains: domains::of_service(service, &scope.proxy.namespace),
                routes: routes.clone(),
            });
        }
    }
    for (hostname, (service, service_port)) in &services {
        if !routed.contains(hostname) && service_port.protocol.is_http_or_auto() {
            candidates.push(Candidate {
                hostname: service.hostname.clone(),
                domains: domains::of_service(service, &scope.proxy.namespace),
                routes: vec![route::of_service(scope, service, service_port)],
            });
        }
    }
    without_duplicates(candidates, port)
}

/// For each service host the VirtualService it gets: the first with the exact host, else the first with the most specific wildcard.
fn choose<'a>(all: &[BoundVirtualService<'_>], hostnames: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, virtual_service) in all.iter().enumerate() {
        for name in &virtual_service.hosts {
            first.entry(name).or_insert(index);
        }
    }
    let wildcards: Vec<&str> = first.keys().copied().filter(|name| name.starts_with('*')).collect();
    let best = |hostname: &'a str| {
        let wildcard = || first.get(host::most_specific(hostname, wildcards.iter().copied())?);
        Some((hostname, *first.get(hostname).or_else(wildcard)?))
    };
    hostnames.filter_map(best).collect()
}

/// The first virtual host of a name and the first owner of a domain win; full names are nobody else's short names.
fn without_duplicates(candidates: Vec<Candidate>, port: u32) -> Vec<VirtualHost> {
    let full_names: BTreeSet<String> = candidates.iter().map(|candidate| candidate.hostname.clone()).collect();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let mut names: BTreeSet<String> = BTreeSet::new();
    let mut out = Vec::new();
    for candidate in candidates {
        let name = format!("{}:{port}", candidate.hostname);
        if !names.insert(name.clone()) {
            continue;
        }
        let free = |domain: &String| domain == &candidate.hostname || !full_names.contains(domain);
        let domains: Vec<String> =
            candidate.domains.into_iter().filter(free).filter(|domain| taken.insert(domain.clone())).collect();
        if domains.is_empty() {
            continue;
        }
        out.push(VirtualHost {
            name,
            domains,
            routes: candidate.routes,
            include_request_attempt_count: true,
            ..VirtualHost::default()
        });
    }
    out.sort_by(|a, b| a.name.cmp(&b.name));
    out
}

/// The virtual host of hosts that nobody declared.
#[allow(deprecated, reason = "istiod still writes max_grpc_timeout")]
fn catch_all(scope: &Scope<'_>) -> VirtualHost {
    let (name, action) = match scope.undeclared() {
        Some(cluster) => {
            let action = RouteAction {
                timeout: seconds(0),
                max_grpc_timeout: seconds(0),
                cluster_specifier: Some(ClusterSpecifier::Cluster(cluster)),
                ..RouteAction::default()
            };
            ("allow_any", Action::Route(action))
        }
        None => (
            "block_all",
            Action::DirectResponse(DirectResponseAction { status: 502, ..DirectResponseAction::default() }),
        ),
    };
    let only = Route {
        name: name.to_owned(),
        r#match: Some(route_match::everything()),
        action: Some(action),
        ..Route::default()
    };
    VirtualHost {
        name: name.to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![only],
        include_request_attempt_count: true,
        ..VirtualHost::default()
    }
}

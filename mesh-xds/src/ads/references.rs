//! Which other resources a resource names: what must be there before it may come into force, and what is in use.

use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_core::resource::cluster::{Cluster, Discovery};
use mesh_core::resource::listener::{ChainHandler, HttpConnectionManager, Listener, RouteSource};
use mesh_core::resource::route::{ClusterSpecifier, MirrorPolicy, RouteAction, RouteConfiguration};
use mesh_core::resource::{Name, ResourceKind, ResourceName};

use crate::decode::AnyResource;

/// Names of other resources, each once. Shared between the newest version and the one in force.
pub(super) type References = Arc<[ResourceName]>;

/// What `resource` names.
pub(super) fn of(resource: &AnyResource) -> References {
    let mut found = BTreeSet::new();
    match resource {
        AnyResource::Listener(listener) => of_listener(listener, &mut found),
        AnyResource::RouteConfiguration(routes) => of_routes(routes, &mut found),
        AnyResource::Cluster(cluster) => of_cluster(cluster, &mut found),
        AnyResource::ClusterLoadAssignment(_) => {}
    }
    found.into_iter().collect()
}

type Found = BTreeSet<ResourceName>;

fn of_cluster(cluster: &Cluster, found: &mut Found) {
    if let Discovery::Eds { service_name } = &cluster.discovery {
        found.insert(ResourceName::new(ResourceKind::ClusterLoadAssignment, Arc::clone(service_name)));
    }
}

fn of_listener(listener: &Listener, found: &mut Found) {
    if let Some(manager) = &listener.api_listener {
        of_manager(manager, found);
    }
    for chain in listener.filter_chains.iter().chain(&listener.default_filter_chain) {
        match &chain.handler {
            ChainHandler::Http(manager) => of_manager(manager, found),
            ChainHandler::Tcp { cluster } => add(cluster, found),
            _ => {}
        }
    }
}

fn of_manager(manager: &HttpConnectionManager, found: &mut Found) {
    match &manager.routes {
        RouteSource::Rds(name) => {
            found.insert(ResourceName::new(ResourceKind::RouteConfiguration, Arc::clone(name)));
        }
        RouteSource::Inline(routes) => of_routes(routes, found),
    }
}

fn of_routes(routes: &RouteConfiguration, found: &mut Found) {
    of_mirrors(&routes.mirror_policies, found);
    for host in &routes.virtual_hosts {
        of_mirrors(&host.mirror_policies, found);
        for route in &host.routes {
            if let RouteAction::Forward(forward) = &route.action {
                of_specifier(&forward.cluster, found);
                of_mirrors(&forward.mirror_policies, found);
            }
        }
    }
}

fn of_mirrors(policies: &[MirrorPolicy], found: &mut Found) {
    policies.iter().for_each(|policy| of_specifier(&policy.cluster, found));
}

fn of_specifier(specifier: &ClusterSpecifier, found: &mut Found) {
    match specifier {
        ClusterSpecifier::Cluster(name) => add(name, found),
        ClusterSpecifier::WeightedClusters(weighted) => {
            // A weighted list inside of a weighted list does not compile, so that this ends.
            weighted.clusters.iter().for_each(|one| of_specifier(&one.cluster, found));
        }
        // Which one is known only when a request comes.
        _ => {}
    }
}

fn add(cluster: &Name, found: &mut Found) {
    found.insert(ResourceName::new(ResourceKind::Cluster, Arc::clone(cluster)));
}

//! Outbound clusters: one for each port of each service and one for each of its subsets, and the two fixed ones.

use mesh_proto::envoy::config::cluster::v3::Cluster;
use mesh_proto::envoy::config::cluster::v3::cluster::common_lb_config::{
    LocalityConfigSpecifier, LocalityWeightedLbConfig,
};
use mesh_proto::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CommonLbConfig, DiscoveryType, DnsLookupFamily, EdsClusterConfig, LbPolicy,
};
use mesh_proto::envoy::config::core::v3 as core;
use mesh_proto::envoy::config::core::v3::Metadata;
use mesh_proto::envoy::config::endpoint::v3::ClusterLoadAssignment;

use super::scope::Scope;
use super::values::{ads, duration, istio_metadata, list, nested, object, seconds, text, truth};
use super::{circuit_breakers, endpoint, load_balancer, names, outlier, protocol_options, tls};
use crate::object::Subset;
use crate::registry::{Protocol, RegistryService, ServicePort, ServiceResolution};
use crate::select::{Caller, EffectivePolicy, MergedRule, effective};

/// How long a passed-through connection may idle.
const PASSTHROUGH_IDLE_SECONDS: u64 = 300;

pub(super) fn outbound(scope: &Scope<'_>, clusters: &mut Vec<Cluster>, endpoints: &mut Vec<ClusterLoadAssignment>) {
    let caller = scope.caller();
    for seen in &scope.outbound.services {
        let service = seen.service;
        let rule = scope.rule(service);
        for port in seen.ports() {
            let mut add = |subset: Option<&Subset>| {
                if let Some((cluster, assignment)) = one(scope, service, port, rule, subset, &caller) {
                    clusters.push(cluster);
                    endpoints.extend(assignment);
                }
            };
            add(None);
            for subset in rule.map(|rule| rule.subsets.as_slice()).unwrap_or_default() {
                add(Some(subset));
            }
        }
    }
}

/// One cluster, and its endpoints when they travel apart.
#[allow(deprecated, reason = "istiod writes the older DNS fields, and so do we")]
fn one(
    scope: &Scope<'_>,
    service: &RegistryService,
    port: &ServicePort,
    rule: Option<&MergedRule<'_>>,
    subset: Option<&Subset>,
    caller: &Caller<'_>,
) -> Option<(Cluster, Option<ClusterLoadAssignment>)> {
    let subset_name = subset.map_or("", |subset| subset.name.as_str());
    let name = names::outbound_cluster(port.number, subset_name, &service.hostname);
    let policy = effective(rule.and_then(|rule| rule.traffic_policy), subset, port.number);
    let discovery = match service.resolution {
        ServiceResolution::ClientSide => DiscoveryType::Eds,
        ServiceResolution::Dns => DiscoveryType::StrictDns,
        ServiceResolution::DnsRoundRobin => DiscoveryType::LogicalDns,
        ServiceResolution::Passthrough => DiscoveryType::OriginalDst,
    };
    let mut cluster = base(scope, &name, discovery);
    let preference = scope.preference(service, &policy);
    let labels = subset.map(|subset| &subset.labels);
    let mut assignment = Some(endpoint::assignment(scope, &name, service, port.number, labels, &preference, caller));
    match discovery {
        DiscoveryType::Eds => {
            cluster.eds_cluster_config = Some(EdsClusterConfig { eds_config: Some(ads()), service_name: name });
        }
        DiscoveryType::OriginalDst => assignment = None,
        _ => {
            // A name to resolve is part of the cluster; without any the cluster could never answer.
            cluster.load_assignment = assignment.take().filter(|assignment| !assignment.endpoints.is_empty());
            cluster.load_assignment.as_ref()?;
            cluster.dns_refresh_rate = Some(duration(scope.mesh.dns_refresh_rate));
            cluster.dns_jitter = Some(duration(std::time::Duration::from_millis(100)));
            cluster.respect_dns_ttl = true;
            cluster.set_dns_lookup_family(DnsLookupFamily::V4Only);
        }
    }
    apply_policy(scope, &mut cluster, &policy, port.protocol);
    cluster.common_lb_config = Some(CommonLbConfig {
        healthy_panic_threshold: Some(outlier::panic_threshold(policy.outlier_detection)),
        locality_config_specifier: preference
            .weighs_localities()
            .then(|| LocalityConfigSpecifier::LocalityWeightedLbConfig(LocalityWeightedLbConfig::default())),
        ..CommonLbConfig::default()
    });
    cluster.outlier_detection = policy.outlier_detection.map(|detection| outlier::lower(detection, &scope.mesh.compat));
    load_balancer::apply(&mut cluster, policy.load_balancer);
    if cluster.eds_cluster_config.is_none() {
        assignment = None;
    }
    cluster.transport_socket = tls::socket(
        policy.tls,
        &tls::Upstream {
            server_name: names::server_name(port.number, subset_name, &service.hostname),
            identities: &service.identities(&scope.mesh.trust_domain),
            http2: port.protocol.is_http2(),
        },
    );
    cluster.metadata = Some(metadata(&[ServiceName::of(service)], rule, subset_name, service.external));
    Some((cluster, assignment))
}

/// What every cluster has.
pub(super) fn base(scope: &Scope<'_>, name: &str, discovery: DiscoveryType) -> Cluster {
    Cluster {
        name: name.to_owned(),
        // Statistics are named with an end mark, so that names of services cannot run into names of metrics.
        alt_stat_name: format!("{name};"),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(discovery.into())),
        connect_timeout: Some(duration(scope.mesh.connect_timeout)),
        ..Cluster::default()
    }
}

/// What a policy says of connections: limits, timeouts, protocol. Holds for inbound clusters too.
pub(super) fn apply_policy(scope: &Scope<'_>, cluster: &mut Cluster, policy: &EffectivePolicy<'_>, protocol: Protocol) {
    let pool = policy.connection_pool;
    if let Some(timeout) = pool.and_then(|pool| pool.tcp.as_ref()).and_then(|tcp| tcp.connect_timeout) {
        cluster.connect_timeout = Some(duration(timeout));
    }
    cluster.circuit_breakers = Some(circuit_breakers::lower(policy));
    cluster.upstream_connection_options = protocol_options::keepalive(pool);
    protocol_options::apply(cluster, pool, protocol, scope.mesh);
}

/// A service by name, as metadata of clusters has it.
#[derive(Clone, Debug)]
pub(super) struct ServiceName {
    pub(super) host: String,
    pub(super) name: String,
    pub(super) namespace: String,
}

impl ServiceName {
    pub(super) fn of(service: &RegistryService) -> Self {
        Self { host: service.hostname.clone(), name: service.name.clone(), namespace: service.namespace.clone() }
    }
}

/// Istio's metadata of a cluster: which rule, which subset, which services.
pub(super) fn metadata(
    services: &[ServiceName],
    rule: Option<&MergedRule<'_>>,
    subset: &str,
    external: bool,
) -> Metadata {
    let services = services.iter().map(|service| {
        nested(object([
            ("host", text(&service.host)),
            ("name", text(&service.name)),
            ("namespace", text(&service.namespace)),
        ]))
    });
    let mut fields = object([("services", list(services.collect()))]);
    let mut put = |key: &str, value| fields.fields.insert(key.to_owned(), value);
    if let Some(object) = rule.and_then(|rule| rule.objects.first()) {
        put("config", text(object.config_path()));
    }
    if !subset.is_empty() {
        put("subset", text(subset));
    }
    if external {
        put("external", truth(true));
    }
    istio_metadata(fields)
}

/// The cluster that never answers.
pub(super) fn black_hole(scope: &Scope<'_>) -> Cluster {
    base(scope, names::BLACK_HOLE, DiscoveryType::Static)
}

/// The cluster of hosts nobody declared: to the address that the caller chose.
pub(super) fn passthrough(scope: &Scope<'_>) -> Cluster {
    let mut cluster = base(scope, names::PASSTHROUGH, DiscoveryType::OriginalDst);
    cluster.set_lb_policy(LbPolicy::ClusterProvided);
    cluster.circuit_breakers = Some(circuit_breakers::lower(&EffectivePolicy::default()));
    let common = core::HttpProtocolOptions {
        idle_timeout: seconds(PASSTHROUGH_IDLE_SECONDS),
        ..core::HttpProtocolOptions::default()
    };
    protocol_options::put(
        &mut cluster,
        Some(common),
        protocol_options::as_downstream(core::Http2ProtocolOptions::default()),
    );
    cluster
}

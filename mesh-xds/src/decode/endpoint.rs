//! `envoy.config.endpoint.v3.ClusterLoadAssignment`, sent apart (EDS) or inside a cluster, and addresses.

use std::net::{IpAddr, SocketAddr};

use mesh_core::resource::Problem;
use mesh_core::resource::endpoint::{
    Address, ClusterLoadAssignment, Endpoint, HealthStatus, Locality, LocalityEndpoints,
};
use mesh_core::resource::route::FractionalPercent;
use mesh_proto::envoy::config::core::v3::{self as core, socket_address::PortSpecifier};
use mesh_proto::envoy::config::endpoint::v3 as pb;
use pb::lb_endpoint::HostIdentifier;
use pb::locality_lb_endpoints::LbConfig;

use super::refused::{At, Refused, refuse, unsupported};
use super::scalar::{fraction, known, metadata, number, port};

/// What an address may be, by how the cluster finds its hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hosts {
    /// IP addresses and Unix sockets.
    Addresses,
    /// Names, to be resolved; IP addresses too.
    Names,
}

/// The endpoints of a cluster.
pub(super) fn load_assignment(
    at: &At<'_>,
    message: pb::ClusterLoadAssignment,
    hosts: Hosts,
) -> Result<ClusterLoadAssignment, Refused> {
    if message.cluster_name.is_empty() {
        return Err(refuse(&at.field("cluster_name"), Problem::Missing));
    }
    let policy = message.policy.unwrap_or_default();
    if policy.drop_overloads.len() > 1 {
        let at = at.field("policy");
        return Err(refuse(&at.field("drop_overloads"), "more than one category is not allowed"));
    }
    let at_policy = at.field("policy");
    let factor = number(policy.overprovisioning_factor);
    if factor == Some(0) {
        return Err(refuse(&at_policy.field("overprovisioning_factor"), "must be above 0"));
    }
    let drop_overload = match policy.drop_overloads.into_iter().next() {
        None => None,
        Some(drop) => drop_overload(&at_policy.field("drop_overloads").index(0), drop)?,
    };
    let list = at.field("endpoints");
    let localities = message.endpoints.into_iter().enumerate();
    let localities = localities.map(|(index, one)| locality(&list.index(index), one, hosts));
    Ok(ClusterLoadAssignment {
        localities: localities.collect::<Result<_, _>>()?,
        cluster_name: Some(message.cluster_name.into()),
        overprovisioning_factor: factor,
        weighted_priority_health: policy.weighted_priority_health,
        drop_overload,
    })
}

/// `None` for one that drops nothing.
fn drop_overload(
    at: &At<'_>,
    message: pb::cluster_load_assignment::policy::DropOverload,
) -> Result<Option<FractionalPercent>, Refused> {
    if message.category.is_empty() {
        return Err(refuse(&at.field("category"), Problem::Missing));
    }
    let Some(share) = message.drop_percentage else { return Ok(None) };
    let share = fraction(&at.field("drop_percentage"), share)?;
    Ok((share.numerator > 0).then_some(share))
}

fn locality(at: &At<'_>, message: pb::LocalityLbEndpoints, hosts: Hosts) -> Result<LocalityEndpoints, Refused> {
    match message.lb_config {
        None => {}
        Some(LbConfig::LoadBalancerEndpoints(_)) => {
            return Err(unsupported(&at.field("load_balancer_endpoints"), "this list of endpoints"));
        }
        Some(LbConfig::LedsClusterLocalityConfig(_)) => {
            return Err(unsupported(&at.field("leds_cluster_locality_config"), "locality endpoint discovery"));
        }
    }
    let list = at.field("lb_endpoints");
    let endpoints = message.lb_endpoints.into_iter().enumerate();
    let endpoints = endpoints.map(|(index, one)| endpoint(&list.index(index), one, hosts));
    let endpoints: Vec<Endpoint> = endpoints.collect::<Result<_, _>>()?;
    let sum: u64 = endpoints.iter().map(|endpoint| u64::from(endpoint.weight)).sum();
    if sum > u64::from(u32::MAX) {
        return Err(refuse(&list, format!("the sum of the weights, {sum}, is above {}", u32::MAX)));
    }
    let place = message.locality.unwrap_or_default();
    Ok(LocalityEndpoints {
        locality: Locality { region: place.region, zone: place.zone, sub_zone: place.sub_zone },
        priority: message.priority,
        weight: number(message.load_balancing_weight),
        endpoints,
    })
}

fn endpoint(at: &At<'_>, message: pb::LbEndpoint, hosts: Hosts) -> Result<Endpoint, Refused> {
    let host = match message.host_identifier {
        None => return Err(refuse(&at.field("host_identifier"), Problem::Missing)),
        Some(HostIdentifier::EndpointName(_)) => {
            return Err(unsupported(&at.field("endpoint_name"), "an endpoint by name"));
        }
        Some(HostIdentifier::Endpoint(host)) => host,
    };
    let weight = number(message.load_balancing_weight).unwrap_or(1);
    if weight == 0 {
        return Err(refuse(&at.field("load_balancing_weight"), "must be at least 1"));
    }
    use core::HealthStatus as Health;
    Ok(Endpoint {
        address: address(&at.field("endpoint").field("address"), host.address.as_ref(), hosts)?,
        hostname: host.hostname,
        weight,
        health: match known(&at.field("health_status"), message.health_status)? {
            Health::Unknown => HealthStatus::Unknown,
            Health::Healthy => HealthStatus::Healthy,
            Health::Unhealthy => HealthStatus::Unhealthy,
            Health::Draining => HealthStatus::Draining,
            Health::Timeout => HealthStatus::Timeout,
            Health::Degraded => HealthStatus::Degraded,
        },
        metadata: metadata(message.metadata),
    })
}

fn address(at: &At<'_>, message: Option<&core::Address>, hosts: Hosts) -> Result<Address, Refused> {
    use core::address::Address as Pb;
    match message.and_then(|address| address.address.as_ref()) {
        None => Err(refuse(at, Problem::Missing)),
        Some(Pb::Pipe(pipe)) => Ok(Address::Pipe(pipe.path.as_str().into())),
        Some(Pb::EnvoyInternalAddress(_)) => {
            Err(unsupported(&at.field("envoy_internal_address"), "an internal address"))
        }
        Some(Pb::SocketAddress(socket)) => {
            let at = at.field("socket_address");
            let (host, port) = socket_address(&at, socket)?;
            match (host.parse(), hosts) {
                (Ok(ip), _) => Ok(Address::Socket(SocketAddr::new(ip, port))),
                (Err(_), Hosts::Names) => Ok(Address::Dns { host: host.into(), port }),
                (Err(_), Hosts::Addresses) => {
                    let why = format!("{host:?} is no IP address (names need type STRICT_DNS or LOGICAL_DNS)");
                    Err(refuse(&at.field("address"), why))
                }
            }
        }
    }
}

/// An address to listen on: an IP and a port.
pub(super) fn listen_address(at: &At<'_>, message: &core::Address) -> Result<(IpAddr, u16), Refused> {
    use core::address::Address as Pb;
    match &message.address {
        None => Err(refuse(&at.field("address"), Problem::Missing)),
        Some(Pb::Pipe(_)) => Err(unsupported(&at.field("pipe"), "listening on a Unix socket")),
        Some(Pb::EnvoyInternalAddress(_)) => {
            Err(unsupported(&at.field("envoy_internal_address"), "an internal address"))
        }
        Some(Pb::SocketAddress(socket)) => {
            let at = at.field("socket_address");
            let (host, port) = socket_address(&at, socket)?;
            let ip = host.parse().map_err(|_| refuse(&at.field("address"), format!("{host:?} is no IP address")))?;
            Ok((ip, port))
        }
    }
}

fn socket_address<'a>(at: &At<'_>, socket: &'a core::SocketAddress) -> Result<(&'a str, u16), Refused> {
    use core::socket_address::Protocol;
    if known::<Protocol>(&at.field("protocol"), socket.protocol)? == Protocol::Udp {
        return Err(unsupported(&at.field("protocol"), "UDP"));
    }
    if !socket.resolver_name.is_empty() {
        return Err(unsupported(&at.field("resolver_name"), "a custom resolver"));
    }
    if !socket.network_namespace_filepath.is_empty() {
        return Err(unsupported(&at.field("network_namespace_filepath"), "another network namespace"));
    }
    if socket.address.is_empty() {
        return Err(refuse(&at.field("address"), Problem::Missing));
    }
    match &socket.port_specifier {
        Some(PortSpecifier::PortValue(value)) => Ok((&socket.address, port(&at.field("port_value"), *value)?)),
        Some(PortSpecifier::NamedPort(_)) => Err(unsupported(&at.field("named_port"), "a port by name")),
        None => Err(refuse(&at.field("port_specifier"), Problem::Missing)),
    }
}

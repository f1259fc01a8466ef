//! From the names of a cluster and their addresses to endpoints, as Envoy's `STRICT_DNS` does: every address
//! of every name is a host with the name's weight, locality and metadata. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mesh_core::resource::cluster::DnsLookupFamily;
use mesh_core::resource::endpoint::{Address, ClusterLoadAssignment, Endpoint, LocalityEndpoints};

/// The names that a cluster lists, each once.
pub(super) fn names(listed: &ClusterLoadAssignment) -> BTreeSet<Arc<str>> {
    let endpoints = listed.localities.iter().flat_map(|group| &group.endpoints);
    endpoints
        .filter_map(|endpoint| match &endpoint.address {
            Address::Dns { host, .. } => Some(Arc::clone(host)),
            _ => None,
        })
        .collect()
}

/// The addresses of the families that are wanted, in a fixed order, each once.
pub(super) fn wanted(family: DnsLookupFamily, mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.sort_unstable();
    addresses.dedup();
    let (v4, v6): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv4);
    match family {
        DnsLookupFamily::V4Only => v4,
        DnsLookupFamily::V6Only => v6,
        DnsLookupFamily::Auto => {
            if v6.is_empty() {
                v4
            } else {
                v6
            }
        }
        DnsLookupFamily::V4Preferred => {
            if v4.is_empty() {
                v6
            } else {
                v4
            }
        }
        DnsLookupFamily::All => v4.into_iter().chain(v6).collect(),
    }
}

/// The cluster's endpoints with names replaced by addresses. Two names of one address give one host, the first.
pub(super) fn expand(
    listed: &ClusterLoadAssignment,
    answers: &BTreeMap<Arc<str>, Vec<IpAddr>>,
) -> ClusterLoadAssignment {
    let mut known = BTreeSet::new();
    let mut hosts = |endpoint: &Endpoint| -> Vec<Endpoint> {
        let expanded = match &endpoint.address {
            Address::Dns { host, port } => {
                let addresses = answers.get(host).map(Vec::as_slice).unwrap_or_default();
                let at = |ip: &IpAddr| Endpoint {
                    address: Address::Socket(SocketAddr::new(*ip, *port)),
                    // What `auto_host_rewrite` writes: the name, not the address.
                    hostname: if endpoint.hostname.is_empty() { host.to_string() } else { endpoint.hostname.clone() },
                    ..endpoint.clone()
                };
                addresses.iter().map(at).collect()
            }
            _ => vec![endpoint.clone()],
        };
        expanded.into_iter().filter(|endpoint| known.insert(endpoint.address.clone())).collect()
    };
    let group = |group: &LocalityEndpoints| LocalityEndpoints {
        endpoints: group.endpoints.iter().flat_map(&mut hosts).collect(),
        locality: group.locality.clone(),
        ..*group
    };
    ClusterLoadAssignment { localities: listed.localities.iter().map(group).collect(), ..listed.clone() }
}

#[cfg(test)]
mod tests {
    use mesh_core::resource::endpoint::HealthStatus;
    use mesh_core::resource::metadata::Metadata;

    use super::*;

    fn endpoint(address: Address, weight: u32) -> Endpoint {
        Endpoint { address, hostname: String::new(), weight, health: HealthStatus::Unknown, metadata: Metadata::new() }
    }

    fn dns(host: &str) -> Address {
        Address::Dns { host: host.into(), port: 80 }
    }

    #[test]
    fn every_address_of_every_name_is_a_host_once() {
        let fixed = Address::Socket(([10, 0, 0, 9], 80).into());
        let group = LocalityEndpoints {
            endpoints: vec![
                endpoint(dns("a"), 3),
                endpoint(dns("b"), 1),
                endpoint(fixed, 1),
                endpoint(dns("silent"), 1),
            ],
            priority: 2,
            ..LocalityEndpoints::default()
        };
        let listed = ClusterLoadAssignment { localities: vec![group], ..ClusterLoadAssignment::default() };
        assert_eq!(names(&listed).len(), 3);
        let one: IpAddr = [10, 0, 0, 1].into();
        let answers = [("a".into(), vec![one, [10, 0, 0, 2].into()]), ("b".into(), vec![one])].into();
        let expanded = expand(&listed, &answers);
        let hosts: Vec<_> = expanded.localities[0]
            .endpoints
            .iter()
            .map(|host| (host.address.to_string(), host.weight, host.hostname.as_str()))
            .collect();
        assert_eq!(
            hosts,
            [("10.0.0.1:80".to_owned(), 3, "a"), ("10.0.0.2:80".to_owned(), 3, "a"), ("10.0.0.9:80".to_owned(), 1, "")]
        );
        assert_eq!(expanded.localities[0].priority, 2);
    }

    #[test]
    fn families_are_chosen_as_envoy_documents() {
        let (v4, v6): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [0, 0, 0, 0, 0, 0, 0, 1].into());
        let of = |family, addresses: &[IpAddr]| wanted(family, addresses.to_vec());
        assert_eq!(of(DnsLookupFamily::V4Only, &[v6, v4, v4]), [v4]);
        assert!(of(DnsLookupFamily::V6Only, &[v4]).is_empty());
        assert_eq!(of(DnsLookupFamily::Auto, &[v4, v6]), [v6]);
        assert_eq!(of(DnsLookupFamily::Auto, &[v4]), [v4]);
        assert_eq!(of(DnsLookupFamily::V4Preferred, &[v6]), [v6]);
        assert_eq!(of(DnsLookupFamily::All, &[v6, v4]), [v4, v6]);
    }
}

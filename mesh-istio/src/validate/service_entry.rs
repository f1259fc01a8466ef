//! Rules of a ServiceEntry, and the few of a Kubernetes Service that an API server would otherwise have checked.
//!
//! Follows the CEL rules of the schema and Istio's `ValidateServiceEntry`.

use super::{Rules, names, workload_entry};
use crate::finding::code;
use crate::object::{Resolution, Service, ServiceEntry};
use crate::registry::{Protocol, TrafficDistribution};

pub(super) fn check(rules: &mut Rules<'_>, spec: &ServiceEntry) {
    hosts(rules, spec);
    rules.export_to(&spec.export_to, true);
    if spec.workload_selector.is_some() && !spec.endpoints.is_empty() {
        rules.refuse(code::EXCLUSIVE, "spec.endpoints", "only one of WorkloadSelector or Endpoints can be set");
    }
    if let Some(selector) = &spec.workload_selector {
        rules.selector("spec.workloadSelector.labels", &selector.labels);
    }
    for (index, address) in spec.addresses.iter().enumerate() {
        let at = format!("spec.addresses[{index}]");
        match names::address_or_prefix(address) {
            // Istio's schema lets other texts pass; what cannot be compared with an address is of no use.
            None => rules.warn(code::INEFFECTIVE, &at, format!("{address:?} is neither an address nor a prefix")),
            Some(true) if !matches!(spec.resolution, Resolution::None | Resolution::Static) => {
                rules.refuse(
                    code::INVALID_VALUE,
                    &at,
                    "CIDR addresses are allowed only for NONE/STATIC resolution types",
                );
            }
            Some(_) => {}
        }
    }
    ports(rules, spec);
    resolution(rules, spec);
    for (index, endpoint) in spec.endpoints.iter().enumerate() {
        let at = format!("spec.endpoints[{index}]");
        workload_entry::check(rules, &at, endpoint);
        for name in endpoint.ports.keys() {
            if !spec.ports.iter().any(|port| port.name == *name) {
                rules.refuse(
                    code::INVALID_VALUE,
                    &format!("{at}.ports[{name}]"),
                    format!("the entry has no port {name:?}"),
                );
            }
        }
        let unix = endpoint.address.starts_with("unix://");
        if unix && spec.ports.len() != 1 {
            rules.refuse(
                code::EXCLUSIVE,
                &format!("{at}.address"),
                "a UDS endpoint needs an entry with exactly one port",
            );
        }
        if spec.resolution == Resolution::Static
            && !unix
            && !names::is_ip(&endpoint.address)
            && names::is_fqdn(&endpoint.address)
        {
            rules.refuse(
                code::INVALID_VALUE,
                &format!("{at}.address"),
                "STATIC endpoints must be addresses, not names",
            );
        }
    }
}

fn hosts(rules: &mut Rules<'_>, spec: &ServiceEntry) {
    if spec.hosts.is_empty() {
        rules.refuse(code::REQUIRED, "spec.hosts", "at least one host is required");
    }
    for (index, host) in spec.hosts.iter().enumerate() {
        let at = format!("spec.hosts[{index}]");
        if host == "*" {
            rules.refuse(code::BAD_HOST, &at, "hostname cannot be wildcard");
        } else if !names::is_wildcard_domain(host) && !names::is_ip(host) {
            rules.refuse(code::BAD_HOST, &at, format!("{host:?} is not a host"));
        } else if host.starts_with('*') && !host.starts_with("*.") {
            rules.warn(code::INEFFECTIVE, &at, "only *. in front is a wildcard");
        }
        if spec.hosts[..index].contains(host) {
            rules.refuse(code::DUPLICATE_VALUE, &at, format!("{host:?} is written twice"));
        }
    }
}

fn ports(rules: &mut Rules<'_>, spec: &ServiceEntry) {
    for (index, port) in spec.ports.iter().enumerate() {
        let at = format!("spec.ports[{index}]");
        let earlier = &spec.ports[..index];
        if !(1..=65_535).contains(&port.number) {
            rules.refuse(
                code::INVALID_VALUE,
                &format!("{at}.number"),
                format!("{}: port must be between 1-65535", port.number),
            );
        } else if earlier.iter().any(|other| other.number == port.number) {
            rules.refuse(
                code::DUPLICATE_VALUE,
                &format!("{at}.number"),
                format!("{}: port number cannot be duplicated", port.number),
            );
        }
        if port.target_port > 65_535 {
            rules.refuse(
                code::INVALID_VALUE,
                &format!("{at}.targetPort"),
                format!("{}: port must be between 1-65535", port.target_port),
            );
        }
        if port.name.is_empty() {
            rules.refuse(code::REQUIRED, &format!("{at}.name"), "the name of a port is required");
        } else if !names::is_dns_label(&port.name) {
            rules.refuse(
                code::INVALID_VALUE,
                &format!("{at}.name"),
                format!("{:?} is not the name of a port", port.name),
            );
        } else if earlier.iter().any(|other| other.name == port.name) {
            rules.refuse(code::DUPLICATE_VALUE, &format!("{at}.name"), format!("Duplicate value {:?}", port.name));
        }
        if !port.protocol.is_empty() && Protocol::parse(&port.protocol) == Protocol::Auto {
            rules.refuse(
                code::INVALID_VALUE,
                &format!("{at}.protocol"),
                format!("{:?} is not a protocol", port.protocol),
            );
        }
    }
}

fn resolution(rules: &mut Rules<'_>, spec: &ServiceEntry) {
    let endpoints = &spec.endpoints;
    match spec.resolution {
        Resolution::None if !endpoints.is_empty() => {
            rules.refuse(code::EXCLUSIVE, "spec.endpoints", "NONE mode cannot set endpoints");
        }
        Resolution::Dns | Resolution::DnsRoundRobin => {
            if endpoints.is_empty() && spec.workload_selector.is_none() {
                for (index, host) in spec.hosts.iter().enumerate() {
                    if !names::is_fqdn(host) {
                        rules.refuse(
                            code::BAD_HOST,
                            &format!("spec.hosts[{index}]"),
                            "without endpoints a host must be a name that DNS can resolve",
                        );
                    }
                }
            }
            if spec.resolution == Resolution::DnsRoundRobin && endpoints.len() > 1 {
                rules.refuse(code::EXCLUSIVE, "spec.endpoints", "DNS_ROUND_ROBIN mode cannot have multiple endpoints");
            }
        }
        Resolution::DynamicDns => {
            if !spec.addresses.is_empty() || !endpoints.is_empty() {
                rules.refuse(code::EXCLUSIVE, "spec.resolution", "DYNAMIC_DNS allows neither addresses nor endpoints");
            }
            for (index, host) in spec.hosts.iter().enumerate() {
                if !host.starts_with('*') {
                    rules.refuse(code::BAD_HOST, &format!("spec.hosts[{index}]"), "DYNAMIC_DNS is for wildcard hosts");
                }
            }
            rules.not_in_force("spec.resolution", "DYNAMIC_DNS has no effect yet: the entry is passed over");
        }
        Resolution::None | Resolution::Static => {}
    }
    if spec.hosts.len() > 1 && spec.resolution != Resolution::None {
        for (index, port) in spec.ports.iter().enumerate() {
            let protocol = Protocol::parse(&port.protocol);
            if !protocol.is_http() && !protocol.is_tls() && protocol != Protocol::Auto {
                let reason = "several hosts cannot be told apart on a port that is neither HTTP nor TLS";
                rules.refuse(code::INVALID_VALUE, &format!("spec.ports[{index}].protocol"), reason);
            }
        }
    }
}

pub(super) fn check_kubernetes(rules: &mut Rules<'_>, spec: &Service) {
    for (index, port) in spec.ports.iter().enumerate() {
        rules.port(&format!("spec.ports[{index}].port"), port.port);
        let earlier = &spec.ports[..index];
        if earlier
            .iter()
            .any(|other| other.port == port.port && transport(&other.protocol) == transport(&port.protocol))
        {
            rules.refuse(
                code::DUPLICATE_VALUE,
                &format!("spec.ports[{index}].port"),
                format!("port {} is written twice", port.port),
            );
        }
        if port.name.is_empty() && spec.ports.len() > 1 {
            rules.refuse(
                code::REQUIRED,
                &format!("spec.ports[{index}].name"),
                "ports of a Service with several need names",
            );
        } else if earlier.iter().any(|other| other.name == port.name && !port.name.is_empty()) {
            rules.refuse(
                code::DUPLICATE_VALUE,
                &format!("spec.ports[{index}].name"),
                format!("port name {:?} is written twice", port.name),
            );
        }
    }
    if TrafficDistribution::parse(&spec.traffic_distribution).is_none() {
        let reason = format!("{:?}: must be PreferClose, PreferSameZone or PreferSameNode", spec.traffic_distribution);
        rules.refuse(code::INVALID_VALUE, "spec.trafficDistribution", reason);
    }
    if spec.internal_traffic_policy == "Local" {
        rules.not_in_force("spec.internalTrafficPolicy", "Local has no effect yet: endpoints of every node are used");
    }
    if spec.service_type == "ExternalName" {
        if spec.external_name.is_empty() {
            rules.refuse(code::REQUIRED, "spec.externalName", "an ExternalName service needs externalName");
        }
        rules.not_in_force("spec.externalName", "aliases have no effect yet: call the external name itself");
    }
}

fn transport(protocol: &str) -> &str {
    if protocol.is_empty() { "TCP" } else { protocol }
}

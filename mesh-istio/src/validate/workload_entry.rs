//! Rules of a WorkloadEntry, also as an endpoint within a ServiceEntry.
//!
//! Follows the CEL rules of the schema and Istio's `ValidateWorkloadEntry`.

use super::{Rules, names};
use crate::finding::code;
use crate::object::WorkloadEntry;

pub(super) fn check(rules: &mut Rules<'_>, at: &str, spec: &WorkloadEntry) {
    let address = format!("{at}.address");
    if let Some(path) = spec.address.strip_prefix("unix://") {
        if !(path.starts_with('/') || (path.starts_with('@') && path.len() > 1)) {
            rules.refuse(code::INVALID_VALUE, &address, "UDS must be an absolute path or abstract socket");
        } else if path.ends_with('/') {
            rules.refuse(code::INVALID_VALUE, &address, "UDS may not be a dir");
        }
        if !spec.ports.is_empty() {
            rules.refuse(code::EXCLUSIVE, &format!("{at}.ports"), "UDS may not include ports");
        }
    } else if spec.address.is_empty() {
        if spec.network.is_empty() {
            rules.refuse(code::REQUIRED, &address, "Address is required");
        } else {
            rules.warn(
                code::INEFFECTIVE,
                &address,
                "without an address the endpoint is only reached through a gateway of its network",
            );
        }
    } else if !names::is_ip(&spec.address) && !names::is_fqdn(&spec.address) {
        rules.refuse(code::BAD_HOST, &address, format!("{:?} is neither an address nor a host name", spec.address));
    }
    for (name, port) in &spec.ports {
        let at = format!("{at}.ports[{name}]");
        if !names::is_dns_label(name) {
            rules.refuse(code::INVALID_VALUE, &at, format!("{name:?} is not the name of a port"));
        }
        rules.port(&at, *port);
    }
    for (key, value) in &spec.labels {
        if !names::is_label_key(key) || !names::is_label_value(value) {
            rules.refuse(
                code::BAD_SELECTOR,
                &format!("{at}.labels[{key}]"),
                format!("{key}={value} is not a valid label"),
            );
        }
    }
    if !spec.network.is_empty() {
        rules.not_in_force(&format!("{at}.network"), "networks have no effect yet: the address is used as it is");
    }
}

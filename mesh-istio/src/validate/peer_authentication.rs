//! Rules of a PeerAuthentication.
//!
//! Follows the CEL rules of the schema and Istio's `ValidatePeerAuthentication`.

use super::Rules;
use crate::finding::code;
use crate::object::PeerAuthentication;

pub(super) fn check(rules: &mut Rules<'_>, spec: &PeerAuthentication) {
    if let Some(selector) = &spec.selector {
        rules.selector("spec.selector.matchLabels", &selector.match_labels);
    }
    let Some(ports) = &spec.port_level_mtls else { return };
    let at = "spec.portLevelMtls";
    if ports.is_empty() {
        rules.refuse(code::REQUIRED, at, "at least one port is required");
    }
    if spec.selector.as_ref().is_none_or(|selector| selector.match_labels.is_empty()) {
        rules.refuse(code::REQUIRED, at, "portLevelMtls requires selector");
    }
    for port in ports.keys() {
        let at = format!("{at}[{port}]");
        match port.parse() {
            Ok(number) => rules.port(&at, number),
            Err(_) => rules.refuse(code::INVALID_VALUE, &at, format!("{port:?} is no port: 1 to 65535")),
        }
    }
}

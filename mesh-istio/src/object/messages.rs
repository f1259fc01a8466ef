//! Which fields are known, message by message: what documentation of the supported fields is compared with.
//!
//! Read off the types themselves, so that no field can be missing. What a field does is said elsewhere.

use std::collections::BTreeMap;

use super::decode::{Decode, Messages};
use super::{
    DestinationRule, EndpointSlice, Gateway, Handler, Instance, QuotaSpec, QuotaSpecBinding, Rule, Service,
    ServiceEntry, Sidecar, VirtualService, WorkloadEntry,
};

/// Every message of the kinds in force, by name, with its fields in lowerCamelCase as the YAML has them, in the proto's
/// order. Of a Pod, which is not read as a message, there is none.
#[must_use]
pub fn messages() -> BTreeMap<&'static str, Vec<String>> {
    let mut out = Messages::new();
    VirtualService::messages(&mut out);
    DestinationRule::messages(&mut out);
    ServiceEntry::messages(&mut out);
    WorkloadEntry::messages(&mut out);
    Sidecar::messages(&mut out);
    Gateway::messages(&mut out);
    Handler::messages(&mut out);
    Instance::messages(&mut out);
    Rule::messages(&mut out);
    QuotaSpec::messages(&mut out);
    QuotaSpecBinding::messages(&mut out);
    Service::messages(&mut out);
    EndpointSlice::messages(&mut out);
    out.into_iter().map(|(message, fields)| (message, fields.iter().map(|field| camel(field)).collect())).collect()
}

/// `maxConnections` of `max_connections`; a raw identifier's mark goes.
fn camel(snake: &str) -> String {
    let mut out = String::new();
    let mut upper = false;
    for c in snake.strip_prefix("r#").unwrap_or(snake).chars() {
        match c {
            '_' => upper = true,
            c => out.push(if std::mem::take(&mut upper) { c.to_ascii_uppercase() } else { c }),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_deep_and_fields_have_the_names_of_the_yaml() {
        let messages = messages();
        assert_eq!(messages["HttpRetry"][..3], ["attempts", "perTryTimeout", "retryOn"]);
        assert_eq!(messages["HttpRoute"][1], "match");
        assert!(messages["OutlierDetection"].contains(&"consecutive5xxErrors".to_owned()));
        assert!(messages.contains_key("StringMatch") && messages.contains_key("SlicePort"));
    }
}

//! The rules of a single object: what refuses it, what is only worth a word, what has no effect yet.
//!
//! Rules that need other objects are in `check`. Follows Istio's webhook validation and the CEL rules of its schemas; messages
//! are our own. One rule, one line, stable codes.

mod destination_rule;
mod gateway;
pub(crate) mod matches;
mod mixer;
mod names;
mod peer_authentication;
mod regexes;
mod service_entry;
mod sidecar;
mod virtual_service;
mod workload_entry;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::finding::{Finding, Severity, code};
use crate::object::{Object, Spec};

/// Everything there is to say about one object.
pub(crate) fn object(object: &Object) -> Vec<Finding> {
    let mut rules = Rules { object, findings: Vec::new() };
    match &object.spec {
        Spec::VirtualService(spec) => virtual_service::check(&mut rules, spec),
        Spec::DestinationRule(spec) => destination_rule::check(&mut rules, spec),
        Spec::ServiceEntry(spec) => service_entry::check(&mut rules, spec),
        Spec::WorkloadEntry(spec) => workload_entry::check(&mut rules, "spec", spec),
        Spec::Sidecar(spec) => sidecar::check(&mut rules, spec),
        Spec::Gateway(spec) => gateway::check(&mut rules, spec),
        Spec::Handler(spec) => mixer::handler(&mut rules, spec),
        Spec::Instance(spec) => mixer::instance(&mut rules, spec),
        Spec::Rule(spec) => mixer::rule(&mut rules, spec),
        Spec::QuotaSpec(spec) => mixer::quota_spec(&mut rules, spec),
        Spec::QuotaSpecBinding(spec) => mixer::binding(&mut rules, spec),
        Spec::Service(spec) => service_entry::check_kubernetes(&mut rules, spec),
        Spec::PeerAuthentication(spec) => peer_authentication::check(&mut rules, spec),
        Spec::EndpointSlice(_) | Spec::Pod(_) | Spec::NotInForce => {}
    }
    rules.findings
}

/// Collects the findings of one object.
struct Rules<'a> {
    object: &'a Object,
    findings: Vec<Finding>,
}

impl Rules<'_> {
    fn say(&mut self, severity: Severity, code: &'static str, field: &str, reason: impl Into<String>) {
        self.findings.push(Finding {
            file: self.object.file.clone(),
            line: self.object.line_of(field),
            severity,
            code,
            object: Some(self.object.id.clone()),
            field: field.to_owned(),
            reason: reason.into(),
        });
    }

    fn refuse(&mut self, code: &'static str, field: &str, reason: impl Into<String>) {
        self.say(Severity::Refused, code, field, reason);
    }

    fn warn(&mut self, code: &'static str, field: &str, reason: impl Into<String>) {
        self.say(Severity::Warning, code, field, reason);
    }

    fn not_in_force(&mut self, field: &str, reason: impl Into<String>) {
        self.say(Severity::NotInForce, code::FIELD_NOT_IN_FORCE, field, reason);
    }

    fn security_not_in_force(&mut self, field: &str, reason: impl Into<String>) {
        self.say(Severity::NotInForce, code::SECURITY_NOT_IN_FORCE, field, reason);
    }

    /// Istio's duration rule: at least a millisecond, in whole milliseconds.
    fn duration(&mut self, field: &str, value: Option<Duration>) {
        let Some(value) = value else { return };
        if value < Duration::from_millis(1) {
            self.refuse(code::BAD_DURATION, field, "must be at least 1ms");
        } else if value.subsec_nanos() % 1_000_000 != 0 {
            self.refuse(code::BAD_DURATION, field, "must be a whole number of milliseconds");
        }
    }

    fn port(&mut self, field: &str, number: u32) {
        if !(1..=65_535).contains(&number) {
            self.refuse(code::INVALID_VALUE, field, format!("{number} is no port: 1 to 65535"));
        }
    }

    fn regex(&mut self, field: &str, regex: &str) {
        if let Err(reason) = regexes::check(regex) {
            self.refuse(code::BAD_REGEX, field, reason);
        }
    }

    fn selector(&mut self, field: &str, labels: &BTreeMap<String, String>) {
        for (key, value) in labels {
            let at = format!("{field}[{key}]");
            if key.is_empty() {
                self.refuse(code::BAD_SELECTOR, &at, "the key of a label must not be empty");
            } else if key.contains('*') || value.contains('*') {
                self.refuse(code::BAD_SELECTOR, &at, "wildcard is not supported in selector");
            } else if !names::is_label_key(key) || !names::is_label_value(value) {
                self.refuse(code::BAD_SELECTOR, &at, format!("{key}={value} is not a valid label"));
            }
        }
        if labels.is_empty() {
            self.warn(code::INEFFECTIVE, field, "an empty selector selects every workload");
        }
    }

    /// The rules of `exportTo`; `nobody` says whether `~` is allowed.
    fn export_to(&mut self, export_to: &[String], nobody: bool) {
        let own = &self.object.id.namespace;
        let mut seen: Vec<&str> = Vec::new();
        let mut problems = Vec::new();
        for (index, value) in export_to.iter().enumerate() {
            let at = format!("spec.exportTo[{index}]");
            let meaning = if value == "." { own.as_str() } else { value.as_str() };
            if seen.contains(&meaning) {
                problems.push((at, format!("{value:?} is written twice")));
                continue;
            }
            seen.push(meaning);
            match value.as_str() {
                "*" if export_to.len() > 1 => problems.push((at, "\"*\" must stand alone".to_owned())),
                "~" if !nobody => problems.push((at, "\"~\" (nobody) is for services only".to_owned())),
                "~" if export_to.len() > 1 => problems.push((at, "\"~\" must stand alone".to_owned())),
                "*" | "~" | "." => {}
                namespace if names::is_dns_label(namespace) => {}
                _ => problems.push((at, format!("{value:?} is neither a namespace nor \".\", \"*\""))),
            }
        }
        for (at, reason) in problems {
            self.refuse(code::BAD_EXPORT_TO, &at, reason);
        }
    }
}

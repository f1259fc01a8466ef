//! Conditions of a rule: texts, names of headers, what is known of the caller.

use super::super::{Rules, names};
use crate::finding::code;
use crate::object::{HttpMatchRequest, StringMatch};

pub(super) fn match_request(rules: &mut Rules<'_>, at: &str, block: &HttpMatchRequest, mesh_only: bool) {
    if let Some(uri) = &block.uri {
        string_match(rules, &format!("{at}.uri"), uri, true);
    }
    for (name, value) in [("scheme", &block.scheme), ("method", &block.method), ("authority", &block.authority)] {
        if let Some(value) = value {
            string_match(rules, &format!("{at}.{name}"), value, false);
        }
    }
    for (list, values) in [("headers", &block.headers), ("withoutHeaders", &block.without_headers)] {
        for (name, value) in values {
            let at = format!("{at}.{list}[{name}]");
            if name.starts_with("@request.auth.claims") {
                if mesh_only {
                    rules.refuse(code::INVALID_VALUE, &at, "claims can only be matched at a gateway");
                } else {
                    rules.not_in_force(&at, "matching of claims has no effect yet");
                }
                continue;
            }
            header_name(rules, &at, name, true);
            if !value.is_present() {
                string_match(rules, &at, value, false);
            }
        }
    }
    for (name, value) in &block.query_params {
        if !value.is_present() {
            let at = format!("{at}.queryParams[{name}]");
            match value {
                // An empty exact value matches `?key` and `?key=`.
                StringMatch::Exact(_) => {}
                value => string_match(rules, &at, value, false),
            }
        }
    }
    if block.port != 0 {
        rules.port(&format!("{at}.port"), block.port);
    }
    if !block.source_labels.is_empty() {
        rules.selector(&format!("{at}.sourceLabels"), &block.source_labels);
    }
    if !block.source_namespace.is_empty() && !names::is_dns_label(&block.source_namespace) {
        rules.refuse(
            code::INVALID_VALUE,
            &format!("{at}.sourceNamespace"),
            format!("{:?} is no namespace", block.source_namespace),
        );
    }
    if !block.stat_prefix.is_empty() {
        rules.not_in_force(&format!("{at}.statPrefix"), "statistics by route have no effect yet");
    }
}

pub(super) fn string_match(rules: &mut Rules<'_>, at: &str, value: &StringMatch, empty_prefix: bool) {
    match value {
        StringMatch::Regex(regex) => rules.regex(&format!("{at}.regex"), regex),
        StringMatch::Prefix(prefix) if prefix.is_empty() && !empty_prefix => {
            rules.refuse(code::INVALID_VALUE, &format!("{at}.prefix"), "an empty prefix matches everything");
        }
        StringMatch::Prefix(_) | StringMatch::Exact(_) | StringMatch::Present => {}
    }
}

pub(super) fn header_name(rules: &mut Rules<'_>, at: &str, name: &str, pseudo: bool) {
    let known = matches!(name, ":method" | ":scheme" | ":authority" | ":path" | ":status");
    if !(names::is_token(name) || (pseudo && known)) {
        rules.refuse(code::INVALID_VALUE, at, format!("{name:?} is not the name of a header"));
    }
}

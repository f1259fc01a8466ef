//! Changes of headers.

use super::super::Rules;
use super::request::header_name;
use crate::finding::code;
use crate::object::{HeaderOperations, Headers};

pub(super) fn is_authority(key: &str) -> bool {
    key.eq_ignore_ascii_case("host") || key == ":authority"
}

pub(super) fn headers(rules: &mut Rules<'_>, at: &str, headers: Option<&Headers>) {
    let Some(headers) = headers else { return };
    for (side, operations) in [("request", &headers.request), ("response", &headers.response)] {
        let Some(HeaderOperations { set, add, remove }) = operations else {
            continue;
        };
        for (list, values) in [("set", set), ("add", add)] {
            for (name, value) in values {
                let at = format!("{at}.{side}.{list}[{name}]");
                if side == "request" && is_authority(name) {
                    continue;
                }
                if is_authority(name) || name.starts_with(':') {
                    rules.refuse(code::INVALID_VALUE, &at, format!("{name} may not be changed here"));
                } else {
                    header_name(rules, &at, name, false);
                }
                header_value(rules, &at, value);
            }
        }
        for (index, name) in remove.iter().enumerate() {
            let at = format!("{at}.{side}.remove[{index}]");
            if is_authority(name) || name.starts_with(':') {
                rules.refuse(code::INVALID_VALUE, &at, format!("{name} may not be removed"));
            } else {
                header_name(rules, &at, name, false);
            }
        }
    }
}

fn header_value(rules: &mut Rules<'_>, at: &str, value: &str) {
    if value.bytes().any(|byte| byte < 0x20 && byte != b'\t' || byte == 0x7f) {
        rules.refuse(code::INVALID_VALUE, at, "control characters are not allowed in a header");
    }
    // `%%` is a literal percent sign; what remains must come in pairs around format operators.
    if !value.replace("%%", "").matches('%').count().is_multiple_of(2) {
        rules.refuse(code::INVALID_VALUE, at, "single % in a header: write %% for a percent sign");
    }
}

//! Names: DNS labels, hosts, addresses, label keys and values.
//!
//! Pure syntax, after RFC 1123 and Kubernetes; nothing here knows a registry.

use std::net::IpAddr;

/// An RFC 1123 label: at most 63 lower-case letters, digits and inner hyphens.
pub(super) fn is_dns_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= 63 && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// Upper case is allowed where names are compared without it.
fn is_any_case_label(text: &str) -> bool {
    is_dns_label(&text.to_ascii_lowercase())
}

/// A full host name: at most 255 characters, the last label not only digits, one trailing dot allowed.
pub(super) fn is_fqdn(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut last = "";
    for label in text.split('.') {
        if !is_any_case_label(label) {
            return false;
        }
        last = label;
    }
    text.len() <= 255 && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// A host as rules may name it: `*`, a full name, or a name whose first label begins with `*`.
pub(super) fn is_wildcard_domain(text: &str) -> bool {
    if text == "*" {
        return true;
    }
    let Some(rest) = text.strip_prefix('*') else {
        return is_fqdn(text);
    };
    match rest.strip_prefix('.') {
        Some(suffix) => is_fqdn(suffix),
        // The legacy form `*foo.com`.
        None => is_fqdn(rest.trim_start_matches('-')),
    }
}

pub(super) fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// An address or a prefix such as `10.0.0.0/8`: whether it is one, and whether it is a prefix.
pub(super) fn address_or_prefix(text: &str) -> Option<bool> {
    let Some((ip, bits)) = text.split_once('/') else {
        return is_ip(text).then_some(false);
    };
    let most = match ip.parse::<IpAddr>().ok()? {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    };
    (bits.parse::<u32>().ok()? <= most).then_some(true)
}

/// A Kubernetes label key: a name, perhaps behind a DNS prefix and a slash.
pub(super) fn is_label_key(text: &str) -> bool {
    let name = match text.split_once('/') {
        Some((prefix, name)) if is_fqdn(prefix) => name,
        Some(_) => return false,
        None => text,
    };
    !name.is_empty() && is_label_value(name)
}

/// A Kubernetes label value; may be empty.
pub(super) fn is_label_value(text: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    text.len() <= 63
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        && ends(bytes.first())
        && ends(bytes.last())
}

/// An RFC 9110 token: what a header's name is made of.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_from_what_is_none() {
        for good in ["reviews", "a.b.c", "*", "*.foo.com", "Foo.com", "foo.com.", "*foo.com", "1a.com"] {
            assert!(is_wildcard_domain(good), "{good}");
        }
        for bad in ["", "a..b", "-a.com", "a_b.com", "foo.*.com", "1.2.3.4", "foo*", "a b", "*."] {
            assert!(!is_wildcard_domain(bad), "{bad}");
        }
        assert!(!is_fqdn(&"a".repeat(64)));
    }

    #[test]
    fn prefixes_must_fit_their_family() {
        assert_eq!(address_or_prefix("10.0.0.0/8"), Some(true));
        assert_eq!(address_or_prefix("::1"), Some(false));
        assert_eq!(address_or_prefix("1.2.3.4/99"), None);
        assert_eq!(address_or_prefix("x/8"), None);
    }

    #[test]
    fn labels_follow_kubernetes() {
        assert!(is_label_key("app.kubernetes.io/name") && is_label_key("version") && is_label_value(""));
        assert!(!is_label_key("") && !is_label_key("/x") && !is_label_key("a b") && !is_label_value("-x"));
    }
}

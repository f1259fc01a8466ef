//! Host names: short names, wildcards, and which of several is the most specific.
//!
//! Pure text, after Istio's `host.Name`. Hosts compare without case: callers pass them lower-case where it matters.

/// A host as a rule in `namespace` means it: short names belong to that namespace, everything else stands as it is.
#[must_use]
pub fn resolve(host: &str, namespace: &str, cluster_domain: &str) -> String {
    let host = host.to_ascii_lowercase();
    if host.is_empty() || host.contains('.') || host.contains('*') || host.parse::<std::net::IpAddr>().is_ok() {
        return host;
    }
    format!("{host}.{namespace}.svc.{cluster_domain}")
}

/// Whether two hosts, either of which may be a wildcard, have a name in common.
#[must_use]
pub fn matches(a: &str, b: &str) -> bool {
    match (a.strip_prefix('*'), b.strip_prefix('*')) {
        (Some(a), Some(b)) => a.ends_with(b) || b.ends_with(a),
        (Some(suffix), None) => b.ends_with(suffix),
        (None, Some(suffix)) => a.ends_with(suffix),
        (None, None) => a == b,
    }
}

/// Whether every name of `inner` is one of `outer`.
#[must_use]
pub fn subset_of(inner: &str, outer: &str) -> bool {
    match (inner.strip_prefix('*'), outer.strip_prefix('*')) {
        (Some(inner), Some(outer)) => inner.ends_with(outer),
        (Some(_), None) => false,
        (None, Some(outer)) => inner.ends_with(outer),
        (None, None) => inner == outer,
    }
}

/// The most specific of `keys` that covers `host`: the exact one, else the wildcard with the longest suffix, else, of equal
/// length, the first in the alphabet.
#[must_use]
pub fn most_specific<'a>(host: &str, keys: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best: Option<&'a str> = None;
    for key in keys {
        if key == host {
            return Some(key);
        }
        let better = |best: &str| key.len() > best.len() || (key.len() == best.len() && key < best);
        if key.starts_with('*') && subset_of(host, key) && best.is_none_or(better) {
            best = Some(key);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_names_are_expanded() {
        let resolve = |host| resolve(host, "shop", "cluster.local");
        assert_eq!(resolve("reviews"), "reviews.shop.svc.cluster.local");
        for host in ["reviews.prod", "*", "*.com", "10.0.0.1", "::1", ""] {
            assert_eq!(resolve(host), host);
        }
    }

    #[test]
    fn wildcards_overlap_either_way() {
        for (a, b, overlap) in [
            ("*.com", "foo.com", true),
            ("foo.com", "*.com", true),
            ("*.com", "*.foo.com", true),
            ("*", "*.net", true),
            ("*.com", "*.net", false),
            ("foo.com", "bar.com", false),
            ("*.foo.com", "foo.com", false),
        ] {
            assert_eq!(matches(a, b), overlap, "{a} {b}");
        }
        assert!(subset_of("a.foo.com", "*.foo.com") && subset_of("*.foo.com", "*.com") && !subset_of("*.com", "a.com"));
    }

    #[test]
    fn the_longest_suffix_wins_behind_the_exact_host() {
        let keys = ["*", "*.com", "*.foo.com", "a.foo.com"];
        assert_eq!(most_specific("a.foo.com", keys), Some("a.foo.com"));
        assert_eq!(most_specific("b.foo.com", keys), Some("*.foo.com"));
        assert_eq!(most_specific("b.com", keys), Some("*.com"));
        assert_eq!(most_specific("b.net", keys), Some("*"));
        assert_eq!(most_specific("b.net", ["*.com"]), None);
    }
}

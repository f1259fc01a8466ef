//! Virtual hosts by the names they are for.
//!
//! Envoy's order: exact, then the longest `*.suffix`, then the longest `prefix.*`, then `*`. A partial wildcard
//! stands for at least one character; names are compared without case. A star in the middle is a character.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use smallvec::SmallVec;

/// Finds a virtual host's number by host name.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    exact: Names,
    /// By the length of the part behind the star, longest first.
    suffix: Vec<(usize, Names)>,
    /// By the length of the part before the star, longest first.
    prefix: Vec<(usize, Names)>,
    any: Option<u32>,
    pub(super) ignore_port: bool,
}

type Names = HashMap<Box<[u8]>, u32, BuildHasherDefault<NameHasher>>;

/// Which of a virtual host's names matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Exact,
    Suffix(usize),
    Prefix(usize),
    Any,
}

/// Why a name cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is somebody's already.
    Duplicate,
    /// There is a `*` already.
    SecondAny,
}

impl Hosts {
    /// Gives a name to a virtual host.
    pub(super) fn add(&mut self, domain: &str, vhost: u32) -> Result<(), Taken> {
        let domain = domain.to_ascii_lowercase();
        if domain == "*" {
            return match self.any.replace(vhost) {
                None => Ok(()),
                Some(_) => Err(Taken::SecondAny),
            };
        }
        let (names, text) = if let Some(suffix) = domain.strip_prefix('*') {
            (of_length(&mut self.suffix, suffix.len()), suffix)
        } else if let Some(prefix) = domain.strip_suffix('*') {
            (of_length(&mut self.prefix, prefix.len()), prefix)
        } else {
            (&mut self.exact, &*domain)
        };
        match names.insert(text.as_bytes().into(), vhost) {
            None => Ok(()),
            Some(_) => Err(Taken::Duplicate),
        }
    }

    /// The virtual host for an authority. Allocates only for a host over 255 bytes that is not in lower case.
    pub(super) fn find(&self, authority: &str) -> Option<(u32, By)> {
        let host = if self.ignore_port { without_port(authority) } else { authority };
        // Names are kept in lower case, and nearly every caller writes them so: the exact one is tried as it is.
        if let Some(vhost) = self.exact.get(host.as_bytes()) {
            return Some((*vhost, By::Exact));
        }
        // Looking at every byte without stopping is faster than stopping: the compiler takes many at a time.
        if !host.bytes().fold(false, |found, byte| found | byte.is_ascii_uppercase()) {
            return self.find_lower(host.as_bytes());
        }
        let mut lower: SmallVec<[u8; 256]> = SmallVec::from_slice(host.as_bytes());
        lower.make_ascii_lowercase();
        self.find_lower(&lower)
    }

    fn find_lower(&self, host: &[u8]) -> Option<(u32, By)> {
        if !host.is_empty() {
            if let Some(vhost) = self.exact.get(host) {
                return Some((*vhost, By::Exact));
            }
            for (length, names) in self.suffix.iter().filter(|(length, _)| *length < host.len()) {
                if let Some(vhost) = names.get(&host[host.len() - length..]) {
                    return Some((*vhost, By::Suffix(*length)));
                }
            }
            for (length, names) in self.prefix.iter().filter(|(length, _)| *length < host.len()) {
                if let Some(vhost) = names.get(&host[..*length]) {
                    return Some((*vhost, By::Prefix(*length)));
                }
            }
        }
        self.any.map(|vhost| (vhost, By::Any))
    }

    /// The configured name that matched `authority` by `by`.
    pub(super) fn domain(&self, authority: &str, by: By) -> String {
        let host = if self.ignore_port { without_port(authority) } else { authority };
        let host = host.to_ascii_lowercase();
        match by {
            By::Exact => host,
            By::Suffix(length) => format!("*{}", host.get(host.len().saturating_sub(length)..).unwrap_or_default()),
            By::Prefix(length) => format!("{}*", host.get(..length).unwrap_or_default()),
            By::Any => "*".to_owned(),
        }
    }
}

fn of_length(lengths: &mut Vec<(usize, Names)>, length: usize) -> &mut Names {
    let at = match lengths.binary_search_by(|(other, _)| length.cmp(other)) {
        Ok(at) => at,
        Err(at) => {
            lengths.insert(at, (length, Names::default()));
            at
        }
    };
    &mut lengths[at].1
}

/// A host without its port, as Envoy finds it: behind the last colon, unless a bracket follows.
pub(super) fn without_port(authority: &str) -> &str {
    // From the end, byte by byte: a port is short, and a bracket or the host's end comes soon.
    for (back, byte) in authority.bytes().rev().enumerate() {
        match byte {
            b':' => return &authority[..authority.len() - back - 1],
            b']' => return authority,
            _ => {}
        }
    }
    authority
}

/// A fast hash for names that configuration gave: a caller can only look up, so it cannot make them collide.
#[derive(Clone, Default)]
pub(super) struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_usize(&mut self, length: usize) {
        self.write_u64(length as u64);
    }

    fn finish(&self) -> u64 {
        // The table takes its bits from both ends; the product's low ones are the weak ones.
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(domains: &[&str]) -> Hosts {
        let mut hosts = Hosts::default();
        for (at, domain) in domains.iter().enumerate() {
            hosts.add(domain, u32::try_from(at).unwrap()).unwrap();
        }
        hosts
    }

    fn found(hosts: &Hosts, domains: &[&str], authority: &str) -> Option<String> {
        let (vhost, by) = hosts.find(authority)?;
        let domain = hosts.domain(authority, by);
        assert_eq!(domain, domains[vhost as usize].to_ascii_lowercase(), "the name that matched is the configured one");
        Some(domain)
    }

    #[test]
    fn exact_goes_before_suffix_before_prefix_before_any() {
        let domains = ["foo.com", "*.foo.com", "*.a.foo.com", "foo.*", "foo.net.*", "*-x.com", "foo.com:8080"];
        let table = hosts(&domains);
        for (authority, expected) in [
            ("foo.com", Some("foo.com")),
            ("FOO.com", Some("foo.com")),
            ("a.foo.com", Some("*.foo.com")),
            ("b.a.foo.com", Some("*.a.foo.com")),
            (".foo.com", None),
            ("foo.net", Some("foo.*")),
            ("foo.net.org", Some("foo.net.*")),
            ("foo.", None),
            ("foo.com:80", Some("foo.*")),
            ("foo.com:8080", Some("foo.com:8080")),
            ("bar.com", None),
            ("xfoo.com", None),
            ("foo.com.", Some("foo.*")),
            ("", None),
        ] {
            assert_eq!(found(&table, &domains, authority).as_deref(), expected, "{authority}");
        }
        let domains = ["foo.*", "*.bar"];
        assert_eq!(found(&hosts(&domains), &domains, "foo.bar").as_deref(), Some("*.bar"));
    }

    #[test]
    fn a_star_takes_whatever_is_left_and_the_empty_host() {
        let domains = ["*", "*-x.com", "*x.com"];
        let table = hosts(&domains);
        for (authority, expected) in
            [("zzz", "*"), ("foo.com", "*"), ("a-x.com", "*-x.com"), ("-x.com", "*x.com"), ("", "*")]
        {
            assert_eq!(found(&table, &domains, authority).as_deref(), Some(expected), "{authority}");
        }
    }

    #[test]
    fn ports_are_cut_off_only_when_they_are_to_be_ignored() {
        let domains = ["foo.com", "*.foo.com", "[::1]"];
        let mut table = hosts(&domains);
        assert_eq!(found(&table, &domains, "foo.com:99"), None);
        table.ignore_port = true;
        for (authority, expected) in [
            ("foo.com:99", "foo.com"),
            ("foo.com", "foo.com"),
            ("A.foo.com:1", "*.foo.com"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(found(&table, &domains, authority).as_deref(), Some(expected), "{authority}");
        }
    }

    #[test]
    fn a_star_in_the_middle_is_a_character() {
        let domains = ["a.*.b"];
        assert_eq!(found(&hosts(&domains), &domains, "a.x.b"), None);
        assert_eq!(found(&hosts(&domains), &domains, "a.*.b").as_deref(), Some("a.*.b"));
    }

    #[test]
    fn a_name_belongs_to_one_virtual_host_in_whatever_case() {
        let mut table = hosts(&["a", "*.b", "*"]);
        assert_eq!(table.add("A", 1), Err(Taken::Duplicate));
        assert_eq!(table.add("*.B", 1), Err(Taken::Duplicate));
        assert_eq!(table.add("*", 1), Err(Taken::SecondAny));
        assert_eq!(table.add("b.*", 1), Ok(()));
    }

    #[test]
    fn a_long_upper_case_host_is_found() {
        let long = "A".repeat(1000);
        assert!(hosts(&[&long]).find(&long).is_some());
    }
}

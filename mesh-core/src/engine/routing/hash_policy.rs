//! What a request hashes to, for clusters that pick hosts by it.
//!
//! `RouteAction.HashPolicy`: each policy may yield a hash; they are joined in order, up to the first one that yields one
//! and ends the list. A request of this process came by no connection: it has no source address, and a cookie that is
//! made for it is a random one. There is no filter state either: such a policy yields nothing.

use std::net::IpAddr;
use std::time::Duration;

use http::HeaderValue;
use smallvec::SmallVec;

use super::condition::{first_cookie, first_parameter};
use crate::engine::facts::RequestFacts;
use crate::engine::hash::{RequestHash, xxh64};
use crate::engine::matcher::{HeaderKey, Rewrite};
use crate::engine::random::Random;
use crate::resource::Problem;
use crate::resource::route::{HashPolicy, HashSpecifier};

/// A compiled hash policy.
#[derive(Debug)]
pub struct CompiledHashPolicy {
    source: Hashed,
    terminal: bool,
}

#[derive(Debug)]
enum Hashed {
    Header(HeaderKey, Option<Rewrite>),
    Cookie {
        name: Box<str>,
        /// What follows the value of one that is made; `None`: none is made.
        made: Option<Box<str>>,
    },
    Address,
    QueryParameter(Box<str>),
    /// Of what does not exist here.
    Nothing,
}

/// What came of a request's hash policies.
#[derive(Debug, Default)]
pub struct Hashing {
    /// The hash.
    pub hash: RequestHash,
    /// A cookie for the caller, made because the request had none.
    pub cookie: Option<HeaderValue>,
}

impl CompiledHashPolicy {
    pub(super) fn compile(policy: &HashPolicy) -> Result<Self, Problem> {
        let named = |name: &str| if name.is_empty() { Err(Problem::Missing) } else { Ok(Box::from(name)) };
        let source = match &policy.specifier {
            HashSpecifier::Header { name, regex_rewrite } => {
                Hashed::Header(HeaderKey::parse(name)?, regex_rewrite.as_ref().map(Rewrite::compile).transpose()?)
            }
            HashSpecifier::Cookie { name, ttl, path, attributes } => {
                let made = ttl.map(|ttl| suffix(ttl, path, attributes));
                if let Some(made) = &made
                    && HeaderValue::from_str(&format!("{name}{made}")).is_err()
                {
                    return Err(Problem::Value("is no cookie".to_owned()));
                }
                Hashed::Cookie { name: named(name)?, made }
            }
            HashSpecifier::SourceIp => Hashed::Address,
            HashSpecifier::QueryParameter(name) => Hashed::QueryParameter(named(name)?),
            HashSpecifier::FilterState(name) => named(name).map(|_| Hashed::Nothing)?,
        };
        Ok(Self { source, terminal: policy.terminal })
    }

    /// Whether it makes a cookie for callers without one.
    pub(super) const fn makes_cookies(&self) -> bool {
        matches!(&self.source, Hashed::Cookie { made: Some(_), .. })
    }
}

/// Hashes a request by `policies`, in order. `source` is where it came from.
pub fn hash(
    policies: &[CompiledHashPolicy],
    facts: &RequestFacts<'_>,
    source: Option<IpAddr>,
    random: &mut Random,
) -> Hashing {
    let mut out = Hashing::default();
    let mut joined: Option<u64> = None;
    for policy in policies {
        let hash = match &policy.source {
            Hashed::Header(HeaderKey::Named(name), rewrite) => {
                let lines: SmallVec<[&[u8]; 4]> =
                    facts.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
                of_lines(lines, rewrite.as_ref())
            }
            Hashed::Header(pseudo, rewrite) => of_lines(pseudo.first(facts).into_iter().collect(), rewrite.as_ref()),
            Hashed::Cookie { name, made } => match (first_cookie(facts.headers, name), made) {
                (Some(value), _) if !value.is_empty() => Some(xxh64(value, 0)),
                (_, Some(suffix)) => {
                    let value = format!("{:016x}", random.bits());
                    out.cookie = HeaderValue::from_str(&format!("{name}=\"{value}\"{suffix}")).ok();
                    Some(xxh64(value.as_bytes(), 0))
                }
                (_, None) => None,
            },
            Hashed::Address => source.map(|ip| xxh64(ip.to_string().as_bytes(), 0)),
            Hashed::QueryParameter(name) => {
                facts.query().and_then(|query| first_parameter(query, name)).map(|value| xxh64(value.as_bytes(), 0))
            }
            Hashed::Nothing => None,
        };
        if let Some(hash) = hash {
            joined = Some(joined.unwrap_or_default().rotate_left(1) ^ hash);
        }
        if policy.terminal && joined.is_some() {
            break;
        }
    }
    out.hash = joined.map_or_else(RequestHash::default, RequestHash::new);
    out
}

/// The lines of a header as one text, in the order of their bytes.
fn of_lines(mut lines: SmallVec<[&[u8]; 4]>, rewrite: Option<&Rewrite>) -> Option<u64> {
    if let ([only], None) = (&*lines, rewrite) {
        return Some(xxh64(only, 0));
    }
    if lines.is_empty() {
        return None;
    }
    let Some(rewrite) = rewrite else {
        lines.sort_unstable();
        return Some(xxh64(&lines.concat(), 0));
    };
    let mut rewritten: SmallVec<[Vec<u8>; 4]> = lines.into_iter().map(|line| rewrite.apply(line)).collect();
    rewritten.sort_unstable();
    Some(xxh64(&rewritten.concat(), 0))
}

/// What follows the value of a made cookie.
fn suffix(ttl: Duration, path: &str, attributes: &[(String, String)]) -> Box<str> {
    let mut suffix = String::new();
    if ttl.as_secs() > 0 {
        suffix.push_str(&format!("; Max-Age={}", ttl.as_secs()));
    }
    if !path.is_empty() {
        suffix.push_str(&format!("; Path={path}"));
    }
    for (name, value) in attributes {
        suffix.push_str("; ");
        suffix.push_str(name);
        if !value.is_empty() {
            suffix.push('=');
            suffix.push_str(value);
        }
    }
    suffix.push_str("; HttpOnly");
    suffix.into()
}

/// The made cookie of a request, kept with its head until its response is finished.
#[derive(Clone, Debug)]
pub(crate) struct MadeCookie(pub(crate) HeaderValue);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::facts::ConnectionFacts;
    use crate::resource::metadata::Metadata;
    use crate::resource::route::RegexRewrite;

    fn policy(specifier: HashSpecifier) -> HashPolicy {
        HashPolicy { specifier, terminal: false }
    }

    fn header(name: &str) -> HashPolicy {
        policy(HashSpecifier::Header { name: name.to_owned(), regex_rewrite: None })
    }

    fn cookie(ttl: Option<Duration>, attributes: &[(&str, &str)]) -> HashPolicy {
        let attributes = attributes.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        policy(HashSpecifier::Cookie { name: "SID".to_owned(), ttl, path: "/p".to_owned(), attributes })
    }

    fn hashed(policies: &[HashPolicy], uri: &str, headers: &[(&str, &str)]) -> Hashing {
        let compiled: Vec<_> = policies.iter().map(|one| CompiledHashPolicy::compile(one).unwrap()).collect();
        let mut request = http::Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (connection, none) = (ConnectionFacts::default(), Metadata::new());
        let request = request.body(()).unwrap();
        let facts = RequestFacts::of(&request, &connection, &none);
        hash(&compiled, &facts, Some([10, 0, 0, 1].into()), &mut Random::from_seed(1))
    }

    #[test]
    fn policies_join_in_order_until_one_that_ends_the_list() {
        let (key, k) = (xxh64(b"a", 0), xxh64(b"1", 0));
        let mut policies = vec![header("x-key"), policy(HashSpecifier::QueryParameter("k".to_owned()))];
        let of = |policies: &[HashPolicy]| hashed(policies, "http://h/?k=1&k=2", &[("x-key", "a")]).hash;
        assert_eq!(of(&policies), RequestHash::new(key.rotate_left(1) ^ k));
        policies[0].terminal = true;
        assert_eq!(of(&policies), RequestHash::new(key));
        policies[0] = HashPolicy { terminal: true, ..header("x-none") };
        assert_eq!(of(&policies), RequestHash::new(k), "nothing yielded ends nothing");
    }

    #[test]
    fn lines_of_a_header_hash_alike_in_any_order_and_after_their_rewrite() {
        let of = |lines: &[(&str, &str)]| hashed(&[header("x-key")], "http://h/", lines).hash;
        assert_eq!(of(&[("x-key", "b"), ("x-key", "a")]), of(&[("x-key", "a"), ("x-key", "b")]));
        assert_eq!(of(&[]), RequestHash::default());
        let rewrite = RegexRewrite { pattern: "^user-(.*)$".to_owned(), substitution: "\\1".to_owned() };
        let rewriting = policy(HashSpecifier::Header { name: "x-key".to_owned(), regex_rewrite: Some(rewrite) });
        let rewritten = hashed(&[rewriting], "http://h/", &[("x-key", "user-7")]).hash;
        assert_eq!(rewritten, RequestHash::new(xxh64(b"7", 0)));
    }

    #[test]
    fn addresses_hash_and_filter_state_does_not() {
        assert_eq!(
            hashed(&[policy(HashSpecifier::SourceIp)], "http://h/", &[]).hash,
            RequestHash::new(xxh64(b"10.0.0.1", 0))
        );
        let state = policy(HashSpecifier::FilterState("k".to_owned()));
        assert_eq!(hashed(&[state], "http://h/", &[]).hash, RequestHash::default());
    }

    #[test]
    fn a_missing_cookie_is_made_where_it_has_a_lifetime() {
        let made = hashed(
            &[cookie(Some(Duration::from_millis(60_500)), &[("SameSite", "Strict"), ("Secure", "")])],
            "http://h/",
            &[],
        );
        let text = made.cookie.unwrap().to_str().unwrap().to_owned();
        let (name, rest) = text.split_at(22);
        assert_eq!(rest, "; Max-Age=60; Path=/p; SameSite=Strict; Secure; HttpOnly");
        let value = name.strip_prefix("SID=\"").and_then(|value| value.strip_suffix('"')).unwrap();
        assert_eq!(made.hash, RequestHash::new(xxh64(value.as_bytes(), 0)));

        let session = hashed(&[cookie(Some(Duration::ZERO), &[])], "http://h/", &[]);
        assert!(session.cookie.unwrap().to_str().unwrap().ends_with("\"; Path=/p; HttpOnly"));
        let none = hashed(&[cookie(None, &[])], "http://h/", &[]);
        assert!(none.cookie.is_none() && none.hash == RequestHash::default());
        let carried = hashed(&[cookie(Some(Duration::ZERO), &[])], "http://h/", &[("cookie", "a=1; SID=\"abc\"")]);
        assert!(carried.cookie.is_none() && carried.hash == RequestHash::new(xxh64(b"abc", 0)));
    }
}

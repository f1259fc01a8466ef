//! A compiled `HeaderMatcher`, for requests and responses.
//!
//! Envoy 1.40's rules: every line of a header is matched on its own, and an inverted matcher wants no line to
//! match; a missing header never matches, inverted or not, unless presence is what is asked for or it is to be
//! treated as empty.

use std::fmt;

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::StringMatch;
use crate::engine::facts::RequestFacts;
use crate::resource::Problem;
use crate::resource::matcher::{HeaderMatcher, HeaderSpecifier};

/// A header by name, pseudo headers included.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HeaderKey {
    /// `:method`.
    Method,
    /// `:path`, with its query.
    Path,
    /// `:authority` or `host`.
    Authority,
    /// `:scheme`.
    Scheme,
    /// `:status`, of responses.
    Status,
    /// `:protocol`; no request here has one.
    Protocol,
    /// Any other.
    Named(HeaderName),
}

impl HeaderKey {
    /// Reads a name in any case.
    ///
    /// # Errors
    /// The text is no header name, or a pseudo header that nobody knows.
    pub fn parse(name: &str) -> Result<Self, Problem> {
        let bad = || Problem::Value(format!("{name:?} is no header name"));
        if name.starts_with(':') {
            return match &*name.to_ascii_lowercase() {
                ":method" => Ok(Self::Method),
                ":path" => Ok(Self::Path),
                ":authority" => Ok(Self::Authority),
                ":scheme" => Ok(Self::Scheme),
                ":status" => Ok(Self::Status),
                ":protocol" => Ok(Self::Protocol),
                _ => Err(bad()),
            };
        }
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        Ok(if name == header::HOST { Self::Authority } else { Self::Named(name) })
    }

    /// The first value, if there is one.
    #[must_use]
    pub fn first<'s, S: HeaderSource + ?Sized>(&self, source: &'s S) -> Option<&'s [u8]> {
        match self {
            Self::Named(name) => source.headers().get(name).map(http::HeaderValue::as_bytes),
            pseudo => source.pseudo(pseudo),
        }
    }
}

impl fmt::Display for HeaderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Method => ":method",
            Self::Path => ":path",
            Self::Authority => ":authority",
            Self::Scheme => ":scheme",
            Self::Status => ":status",
            Self::Protocol => ":protocol",
            Self::Named(name) => name.as_str(),
        })
    }
}

/// Where headers and pseudo headers come from.
pub trait HeaderSource {
    /// The ordinary headers.
    fn headers(&self) -> &HeaderMap;

    /// A pseudo header's value; never asked for a named one.
    fn pseudo(&self, key: &HeaderKey) -> Option<&[u8]>;
}

impl HeaderSource for RequestFacts<'_> {
    fn headers(&self) -> &HeaderMap {
        self.headers
    }

    fn pseudo(&self, key: &HeaderKey) -> Option<&[u8]> {
        match key {
            HeaderKey::Method => Some(self.method.as_str().as_bytes()),
            HeaderKey::Path => Some(self.path.as_bytes()),
            HeaderKey::Authority => Some(self.authority.as_bytes()),
            HeaderKey::Scheme => Some(self.scheme.as_bytes()),
            HeaderKey::Status | HeaderKey::Protocol | HeaderKey::Named(_) => None,
        }
    }
}

/// Headers alone: of pseudo headers only the host is known.
impl HeaderSource for HeaderMap {
    fn headers(&self) -> &HeaderMap {
        self
    }

    fn pseudo(&self, key: &HeaderKey) -> Option<&[u8]> {
        match key {
            HeaderKey::Authority => self.get(header::HOST).map(http::HeaderValue::as_bytes),
            _ => None,
        }
    }
}

/// The head of a response.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// The status.
    pub status: &'a StatusCode,
    /// The headers.
    pub headers: &'a HeaderMap,
}

impl HeaderSource for ResponseHead<'_> {
    fn headers(&self) -> &HeaderMap {
        self.headers
    }

    fn pseudo(&self, key: &HeaderKey) -> Option<&[u8]> {
        matches!(key, HeaderKey::Status).then(|| self.status.as_str().as_bytes())
    }
}

/// A compiled `HeaderMatcher`. Never allocates.
#[derive(Clone, Debug)]
pub struct HeaderMatch {
    key: HeaderKey,
    want: Want,
    invert: bool,
    missing_is_empty: bool,
}

#[derive(Clone, Debug)]
enum Want {
    Present(bool),
    Range(i64, i64),
    String(StringMatch),
}

impl HeaderMatch {
    /// Compiles a matcher.
    ///
    /// # Errors
    /// A bad name, an empty range, or a string matcher that does not compile.
    pub fn compile(matcher: &HeaderMatcher) -> Result<Self, Problem> {
        let want = match &matcher.specifier {
            HeaderSpecifier::Present(present) => Want::Present(*present),
            HeaderSpecifier::Range { start, end } => Want::Range(*start, *end),
            HeaderSpecifier::String(string) => Want::String(StringMatch::compile(string)?),
        };
        Ok(Self {
            key: HeaderKey::parse(&matcher.name)?,
            want,
            invert: matcher.invert_match,
            missing_is_empty: matcher.treat_missing_header_as_empty,
        })
    }

    /// Whether these headers match.
    #[must_use]
    pub fn matches<S: HeaderSource + ?Sized>(&self, source: &S) -> bool {
        let found = match &self.key {
            HeaderKey::Named(name) => {
                let headers = source.headers();
                // Nearly always no header has a second line, and then there is none to look for.
                let more = || {
                    headers.len() > headers.keys_len()
                        && headers.get_all(name).iter().any(|value| self.hit(value.as_bytes()))
                };
                headers.get(name).map(|first| self.hit(first.as_bytes()) || more())
            }
            pseudo => source.pseudo(pseudo).map(|value| self.hit(value)),
        };
        let hit = match (found, &self.want) {
            (Some(hit), _) => hit,
            (None, _) if self.missing_is_empty => self.hit(b""),
            (None, Want::Present(present)) => !present,
            (None, _) => return false,
        };
        hit != self.invert
    }

    /// Whether a value that is there matches, not yet inverted.
    fn hit(&self, value: &[u8]) -> bool {
        match &self.want {
            Want::Present(present) => *present,
            Want::Range(start, end) => {
                integer(value.trim_ascii()).is_some_and(|number| (*start..*end).contains(&number))
            }
            Want::String(string) => string.matches(value.trim_ascii()),
        }
    }
}

impl fmt::Display for HeaderMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "header {} ", self.key)?;
        if self.invert {
            f.write_str("not ")?;
        }
        match &self.want {
            Want::Present(true) => f.write_str("present"),
            Want::Present(false) => f.write_str("absent"),
            Want::Range(start, end) => write!(f, "in {start}..{end}"),
            Want::String(string) => string.fmt(f),
        }?;
        f.write_str(if self.missing_is_empty { " (missing is empty)" } else { "" })
    }
}

/// A whole decimal integer with an optional sign.
fn integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::resource::matcher::{StringMatcher, StringPattern};

    fn exact(text: &str) -> HeaderSpecifier {
        HeaderSpecifier::String(StringMatcher::exact(text))
    }

    fn check(specifier: &HeaderSpecifier, invert: bool, missing_is_empty: bool, values: &[&'static str]) -> bool {
        let mut matcher = HeaderMatcher::new("X-A", specifier.clone());
        matcher.invert_match = invert;
        matcher.treat_missing_header_as_empty = missing_is_empty;
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-a", HeaderValue::from_static(value));
        }
        HeaderMatch::compile(&matcher).unwrap().matches(&headers)
    }

    #[test]
    fn each_line_is_matched_on_its_own() {
        assert!(check(&exact("v"), false, false, &["w", "v"]));
        assert!(!check(&exact("a,b"), false, false, &["a", "b"]));
        assert!(check(&exact("a,b"), false, false, &["a,b"]));
        assert!(!check(&exact("v"), true, false, &["w", "v"]), "inverted: no line may hit");
        assert!(check(&exact("v"), true, false, &["w", "x"]));
        assert!(check(&exact("v"), true, false, &["v,w"]));
    }

    #[test]
    fn a_missing_header_fails_even_inverted_unless_treated_as_empty() {
        assert!(!check(&exact("v"), false, false, &[]));
        assert!(!check(&exact("v"), true, false, &[]));
        assert!(check(&exact("v"), true, true, &[]));
        assert!(check(&exact(""), false, true, &[]));
        assert!(!check(&HeaderSpecifier::Range { start: 1, end: 10 }, true, false, &[]));
    }

    #[test]
    fn presence_is_asked_for_or_its_absence() {
        let present = |present, invert, as_empty, values: &[&'static str]| {
            check(&HeaderSpecifier::Present(present), invert, as_empty, values)
        };
        assert!(present(true, false, false, &[""]) && !present(true, false, false, &[]));
        assert!(present(false, false, false, &[]) && !present(false, false, false, &["v"]));
        assert!(present(false, true, false, &["v"]) && !present(false, true, false, &[]));
        assert!(present(true, false, true, &[]), "treated as empty, it counts as there");
        assert!(present(true, true, false, &[]));
    }

    #[test]
    fn a_range_takes_whole_decimal_integers() {
        let range = HeaderSpecifier::Range { start: -10, end: 10 };
        for (value, expected) in [
            ("-10", true),
            ("10", false),
            ("9", true),
            ("+5", true),
            ("05", true),
            ("5x", false),
            ("5.0", false),
            ("0x5", false),
            ("", false),
            (" 5 ", true),
        ] {
            assert_eq!(check(&range, false, false, &[value]), expected, "{value}");
        }
        let inverted = HeaderSpecifier::Range { start: 1, end: 10 };
        assert!(check(&inverted, true, false, &["abc"]) && !check(&inverted, true, false, &["5"]));
    }

    #[test]
    fn outer_blanks_do_not_count() {
        assert!(check(&exact("v"), false, false, &[" v\t"]));
    }

    #[test]
    fn host_and_authority_are_the_same_and_status_is_of_responses() {
        assert_eq!(HeaderKey::parse("Host").unwrap(), HeaderKey::parse(":authority").unwrap());
        let status =
            HeaderMatch::compile(&HeaderMatcher::new(":status", HeaderSpecifier::Range { start: 500, end: 600 }))
                .unwrap();
        let headers = HeaderMap::new();
        assert!(status.matches(&ResponseHead { status: &StatusCode::BAD_GATEWAY, headers: &headers }));
        assert!(!status.matches(&headers));
    }

    #[test]
    fn bad_names_and_patterns_are_refused() {
        let regex = HeaderSpecifier::String(StringMatcher::new(StringPattern::SafeRegex("(".into())));
        assert!(HeaderMatch::compile(&HeaderMatcher::new("x", regex)).is_err());
        for name in ["", "a b", ":nope", "x\n"] {
            assert!(HeaderKey::parse(name).is_err(), "{name:?}");
        }
    }
}

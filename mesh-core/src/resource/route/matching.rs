//! `RouteMatch`: which requests a route takes. All conditions that are set must hold.

use crate::resource::Problem;
use crate::resource::matcher::{HeaderMatcher, MetadataMatcher, StringMatcher};

/// `envoy.config.route.v3.RouteMatch`.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteMatch {
    /// The path, without its query.
    pub path: PathSpecifier,
    /// `case_sensitive`, default true; of no effect on regular expressions and templates.
    pub case_sensitive: bool,
    /// Takes only a share of the requests; the others go on to the next route.
    pub runtime_fraction: Option<FractionalPercent>,
    /// Conditions on headers.
    pub headers: Vec<HeaderMatcher>,
    /// Conditions on query parameters.
    pub query_parameters: Vec<QueryParameterMatcher>,
    /// Conditions on cookies.
    pub cookies: Vec<CookieMatcher>,
    /// `grpc`: only gRPC requests.
    pub grpc: bool,
    /// Conditions on the caller's TLS connection.
    pub tls_context: Option<TlsContextMatch>,
    /// Conditions on what earlier filters found out.
    pub dynamic_metadata: Vec<MetadataMatcher>,
}

impl RouteMatch {
    /// A match on nothing but the path, case-sensitive.
    #[must_use]
    pub const fn new(path: PathSpecifier) -> Self {
        Self {
            path,
            case_sensitive: true,
            runtime_fraction: None,
            headers: Vec::new(),
            query_parameters: Vec::new(),
            cookies: Vec::new(),
            grpc: false,
            tls_context: None,
            dynamic_metadata: Vec::new(),
        }
    }

    /// A match on how the path starts.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self::new(PathSpecifier::Prefix(prefix.into()))
    }

    /// A match on the whole path.
    pub fn path(path: impl Into<String>) -> Self {
        Self::new(PathSpecifier::Path(path.into()))
    }
}

/// `RouteMatch.path_specifier`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathSpecifier {
    /// `prefix`: how the path starts, as plain text.
    Prefix(String),
    /// `path`: the whole path.
    Path(String),
    /// `path_separated_prefix`: the path or a parent of it. Does not end in `/`.
    PathSeparatedPrefix(String),
    /// `safe_regex`: a regular expression for the whole path.
    SafeRegex(String),
    /// `path_match_policy` with a URI template.
    UriTemplate(String),
    /// `connect_matcher`: CONNECT requests only.
    Connect,
}

/// `envoy.type.v3.FractionalPercent` (of a `RuntimeFractionalPercent`: its default value).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FractionalPercent {
    /// How many of `denominator`.
    pub numerator: u32,
    /// 100, 10 000 or 1 000 000.
    pub denominator: u32,
}

impl FractionalPercent {
    /// Parts per hundred.
    #[must_use]
    pub const fn percent(numerator: u32) -> Self {
        Self { numerator, denominator: 100 }
    }

    /// Whether `random` falls into the share. A numerator above the denominator is always.
    #[must_use]
    pub const fn takes(self, random: u64) -> bool {
        self.denominator != 0 && random % (self.denominator as u64) < self.numerator as u64
    }

    /// Whether the denominator is one of the three that there are.
    pub(crate) fn judge(self) -> Result<(), Problem> {
        match self.denominator {
            100 | 10_000 | 1_000_000 => Ok(()),
            other => Err(Problem::Value(format!("a denominator of {other} is none of 100, 10000 and 1000000"))),
        }
    }
}

/// `QueryParameterMatcher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryParameterMatcher {
    /// The key, case-sensitive, compared as it is written.
    pub name: String,
    /// What its first value must be.
    pub specifier: QuerySpecifier,
}

/// `QueryParameterMatcher.query_parameter_match_specifier`; without one it is `Present(true)`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuerySpecifier {
    /// `present_match`.
    Present(bool),
    /// `string_match`.
    String(StringMatcher),
}

/// `CookieMatcher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieMatcher {
    /// The cookie.
    pub name: String,
    /// What its value must be.
    pub string_match: StringMatcher,
    /// `invert_match`: a missing cookie then matches.
    pub invert_match: bool,
}

/// `RouteMatch.TlsContextMatchOptions`; `None` asks nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TlsContextMatch {
    /// Whether the caller presented a certificate.
    pub presented: Option<bool>,
    /// Whether it was validated.
    pub validated: Option<bool>,
}

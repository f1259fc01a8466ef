//! The conditions of one route. The one place where a request is compared with a route: deciding asks whether
//! it matches, explaining asks what did not.

use std::fmt;

use http::{HeaderMap, Method, header};

use super::path_match::PathMatch;
use super::scan::Hint;
use crate::engine::facts::RequestFacts;
use crate::engine::matcher::{HeaderMatch, MetadataMatch, StringMatch};
use crate::resource::route::{FractionalPercent, QuerySpecifier, RouteMatch, TlsContextMatch};
use crate::resource::{FieldPath, Problem};

/// All conditions of a route. Small, because routes are looked at one after another.
#[derive(Debug)]
pub(super) struct Condition {
    pub(super) path: PathMatch,
    more: Option<Box<More>>,
}

/// What few routes ask for.
#[derive(Debug, Default)]
struct More {
    grpc: bool,
    tls: Option<TlsContextMatch>,
    headers: Box<[HeaderMatch]>,
    query: Box<[QueryMatch]>,
    cookies: Box<[CookieMatch]>,
    metadata: Box<[MetadataMatch]>,
    fraction: Option<FractionalPercent>,
}

#[derive(Debug)]
struct QueryMatch {
    name: Box<str>,
    want: QueryWant,
}

#[derive(Debug)]
enum QueryWant {
    Present(bool),
    String(StringMatch),
}

#[derive(Debug)]
struct CookieMatch {
    name: Box<str>,
    string: StringMatch,
    invert: bool,
}

/// The first condition that did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mismatch {
    /// The path.
    Path,
    /// It is no gRPC request.
    Grpc,
    /// The caller's TLS connection.
    Tls,
    /// The header condition of this number.
    Header(u32),
    /// The query parameter condition of this number.
    QueryParameter(u32),
    /// The cookie condition of this number.
    Cookie(u32),
    /// The dynamic metadata condition of this number.
    DynamicMetadata(u32),
    /// The draw did not fall to this route.
    RuntimeFraction,
}

/// A request as conditions see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) facts: &'a RequestFacts<'a>,
    /// The path that is compared: without query, and without parameters where they are ignored.
    path: &'a [u8],
    connect: bool,
    /// The draw for fractions. One for all routes of a request, as in Envoy: of two routes at 50 %, a request
    /// that the first did not take is not taken by the second either.
    fraction: u64,
}

impl<'a> View<'a> {
    pub(super) fn new(facts: &'a RequestFacts<'a>, ignore_path_parameters: bool, fraction: u64) -> Self {
        let mut path = facts.path_only();
        if ignore_path_parameters {
            path = path.split(';').next().unwrap_or_default();
        }
        Self { facts, path: path.as_bytes(), connect: facts.method == Method::CONNECT, fraction }
    }
}

impl View<'_> {
    /// The path that is compared.
    pub(super) const fn path(&self) -> &[u8] {
        self.path
    }
}

impl Condition {
    pub(super) fn compile(config: &RouteMatch, at: &FieldPath) -> Result<Self, (FieldPath, Problem)> {
        let path = PathMatch::compile(config).map_err(|(field, problem)| (at.field(field), problem))?;
        let headers = each(&config.headers, at, "headers", HeaderMatch::compile)?;
        let query = each(&config.query_parameters, at, "query_parameters", |one| {
            let want = match &one.specifier {
                QuerySpecifier::Present(present) => QueryWant::Present(*present),
                QuerySpecifier::String(string) => QueryWant::String(StringMatch::compile(string)?),
            };
            Ok(QueryMatch { name: named(&one.name)?, want })
        })?;
        let cookies = each(&config.cookies, at, "cookies", |one| {
            Ok(CookieMatch {
                name: named(&one.name)?,
                string: StringMatch::compile(&one.string_match)?,
                invert: one.invert_match,
            })
        })?;
        let metadata = each(&config.dynamic_metadata, at, "dynamic_metadata", MetadataMatch::compile)?;
        if let Some(fraction) = config.runtime_fraction {
            fraction.judge().map_err(|problem| (at.field("runtime_fraction.default_value"), problem))?;
        }
        let plain = headers.is_empty() && query.is_empty() && cookies.is_empty() && metadata.is_empty();
        let nothing = plain && !config.grpc && config.tls_context.is_none() && config.runtime_fraction.is_none();
        let more = (!nothing).then(|| {
            let (tls, fraction) = (config.tls_context, config.runtime_fraction);
            Box::new(More { grpc: config.grpc, tls, headers, query, cookies, metadata, fraction })
        });
        Ok(Self { path, more })
    }

    /// What the path must have, for the quick test.
    pub(super) fn hint(&self) -> Hint {
        self.path.hint()
    }

    /// Whether the request matches; if not, the first condition that does not hold.
    pub(super) fn check(&self, view: &View<'_>) -> Result<(), Mismatch> {
        if !self.path.matches(view.path, view.connect) {
            return Err(Mismatch::Path);
        }
        match &self.more {
            None => Ok(()),
            Some(more) => more.check(view),
        }
    }

    /// Says what was asked for and not met.
    pub(super) fn describe(&self, mismatch: Mismatch, view: &View<'_>) -> String {
        let more = self.more.as_deref();
        let text = match mismatch {
            Mismatch::Path => Some(format!("{} does not match {:?}", self.path, String::from_utf8_lossy(view.path))),
            Mismatch::Header(at) => {
                more.and_then(|more| at_index(&more.headers, at)).map(|one| format!("{one} is not so"))
            }
            Mismatch::QueryParameter(at) => {
                more.and_then(|more| at_index(&more.query, at)).map(|one| format!("{one} is not so"))
            }
            Mismatch::Cookie(at) => {
                more.and_then(|more| at_index(&more.cookies, at)).map(|one| format!("{one} is not so"))
            }
            Mismatch::DynamicMetadata(at) => {
                more.and_then(|more| at_index(&more.metadata, at)).map(|one| format!("{one} does not match"))
            }
            Mismatch::RuntimeFraction => more
                .and_then(|more| more.fraction)
                .map(|fraction| format!("not drawn for its share of {}/{}", fraction.numerator, fraction.denominator)),
            Mismatch::Grpc | Mismatch::Tls => None,
        };
        text.unwrap_or_else(|| mismatch.to_string())
    }
}

fn at_index<T>(list: &[T], at: u32) -> Option<&T> {
    list.get(usize::try_from(at).ok()?)
}

impl More {
    fn check(&self, view: &View<'_>) -> Result<(), Mismatch> {
        let facts = view.facts;
        if self.grpc && !facts.is_grpc() {
            return Err(Mismatch::Grpc);
        }
        if let Some(wanted) = &self.tls {
            let tls = facts.connection.tls.as_ref();
            let presented = tls.is_some_and(|tls| tls.presented);
            let validated = tls.is_some_and(|tls| tls.validated);
            if wanted.presented.is_some_and(|wanted| wanted != presented)
                || wanted.validated.is_some_and(|wanted| wanted != validated)
            {
                return Err(Mismatch::Tls);
            }
        }
        first_miss(&self.headers, |one| one.matches(facts)).map_or(Ok(()), |at| Err(Mismatch::Header(at)))?;
        first_miss(&self.query, |one| one.matches(facts.query()))
            .map_or(Ok(()), |at| Err(Mismatch::QueryParameter(at)))?;
        first_miss(&self.cookies, |one| one.matches(facts.headers)).map_or(Ok(()), |at| Err(Mismatch::Cookie(at)))?;
        first_miss(&self.metadata, |one| one.matches(facts.dynamic_metadata))
            .map_or(Ok(()), |at| Err(Mismatch::DynamicMetadata(at)))?;
        match self.fraction {
            Some(fraction) if !fraction.takes(view.fraction) => Err(Mismatch::RuntimeFraction),
            _ => Ok(()),
        }
    }
}

fn first_miss<T>(list: &[T], matches: impl Fn(&T) -> bool) -> Option<u32> {
    // A route has nowhere near 2^32 conditions of a kind; the number is only for explaining.
    list.iter().position(|one| !matches(one)).map(|at| u32::try_from(at).unwrap_or(u32::MAX))
}

impl QueryMatch {
    fn matches(&self, query: Option<&str>) -> bool {
        let value = query.and_then(|query| first_parameter(query, &self.name));
        match &self.want {
            QueryWant::Present(present) => value.is_some() == *present,
            QueryWant::String(string) => value.is_some_and(|value| string.matches(value.as_bytes())),
        }
    }
}

/// The first value of a query parameter, as it is written. `a` and `a=` both have the value "".
pub(super) fn first_parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').filter(|parameter| !parameter.is_empty()).find_map(|parameter| {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (key == name).then_some(value)
    })
}

impl CookieMatch {
    fn matches(&self, headers: &HeaderMap) -> bool {
        let hit = first_cookie(headers, &self.name).is_some_and(|value| self.string.matches(value));
        hit != self.invert
    }
}

/// The first cookie of a name, without the quotes around its value.
pub(super) fn first_cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let cookies = headers.get_all(header::COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let value = cookies.filter_map(|cookie| {
        let at = cookie.iter().position(|byte| *byte == b'=')?;
        let (key, value) = cookie.split_at(at);
        (key.trim_ascii_start() == name.as_bytes()).then(|| value[1..].trim_ascii_end())
    });
    let value = { value }.next()?;
    Some(match value {
        [b'"', inside @ .., b'"'] => inside,
        other => other,
    })
}

fn named(name: &str) -> Result<Box<str>, Problem> {
    if name.is_empty() { Err(Problem::Value("needs a name".to_owned())) } else { Ok(name.into()) }
}

fn each<T, U>(
    list: &[T],
    at: &FieldPath,
    field: &str,
    compile: impl Fn(&T) -> Result<U, Problem>,
) -> Result<Box<[U]>, (FieldPath, Problem)> {
    let compiled = list
        .iter()
        .enumerate()
        .map(|(index, one)| compile(one).map_err(|problem| (at.field(field).index(index), problem)));
    compiled.collect()
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path => f.write_str("the path does not match"),
            Self::Grpc => f.write_str("it is no gRPC request"),
            Self::Tls => f.write_str("the caller's TLS connection does not match"),
            Self::Header(at) => write!(f, "headers[{at}] does not match"),
            Self::QueryParameter(at) => write!(f, "query_parameters[{at}] does not match"),
            Self::Cookie(at) => write!(f, "cookies[{at}] does not match"),
            Self::DynamicMetadata(at) => write!(f, "dynamic_metadata[{at}] does not match"),
            Self::RuntimeFraction => f.write_str("the draw did not fall to it"),
        }
    }
}

impl fmt::Display for QueryMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "query parameter {} ", self.name)?;
        match &self.want {
            QueryWant::Present(true) => f.write_str("present"),
            QueryWant::Present(false) => f.write_str("absent"),
            QueryWant::String(string) => string.fmt(f),
        }
    }
}

impl fmt::Display for CookieMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cookie {} {}{}", self.name, if self.invert { "not " } else { "" }, self.string)
    }
}

//! A match block as Envoy's route match. Regular expressions match the whole, names of headers sort.

use mesh_proto::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use mesh_proto::envoy::config::route::v3::query_parameter_matcher::QueryParameterMatchSpecifier;
use mesh_proto::envoy::config::route::v3::route_match::PathSpecifier;
use mesh_proto::envoy::config::route::v3::{HeaderMatcher, QueryParameterMatcher, RouteMatch};
use mesh_proto::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern};

use super::values::bool_value;
use crate::object::{HttpMatchRequest, StringMatch};

/// Matches every request.
pub(super) fn everything() -> RouteMatch {
    RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".to_owned())), ..RouteMatch::default() }
}

pub(super) fn lower(block: Option<&HttpMatchRequest>) -> RouteMatch {
    let mut out = everything();
    let Some(block) = block else { return out };
    // Names that Istio reserves for the fields of the same name decide nothing.
    let reserved = |name: &str| matches!(name, "uri" | "scheme" | "method" | "authority");
    // Claims are a gateway's business: a rule that asks for them never matches here, so it is not emitted at all (see `route`).
    for (name, value) in block.headers.iter().filter(|(name, _)| !reserved(name)) {
        out.headers.push(header(name, value));
    }
    for (name, value) in block.without_headers.iter().filter(|(name, _)| !reserved(name)) {
        out.headers.push(HeaderMatcher {
            invert_match: true,
            // A missing header has no value that could match, so it passes.
            treat_missing_header_as_empty: !value.is_present(),
            ..header(name, value)
        });
    }
    out.headers.sort_by(|a, b| a.name.cmp(&b.name));
    match &block.uri {
        Some(StringMatch::Exact(path)) => out.path_specifier = Some(PathSpecifier::Path(path.clone())),
        Some(StringMatch::Prefix(prefix)) => out.path_specifier = Some(PathSpecifier::Prefix(prefix.clone())),
        Some(StringMatch::Regex(regex)) => out.path_specifier = Some(PathSpecifier::SafeRegex(self::regex(regex))),
        Some(StringMatch::Present) | None => {}
    }
    out.case_sensitive = bool_value(!block.ignore_uri_case);
    for (name, value) in [(":method", &block.method), (":authority", &block.authority), (":scheme", &block.scheme)] {
        out.headers.extend(value.as_ref().map(|value| header(name, value)));
    }
    out.query_parameters = block.query_params.iter().map(|(name, value)| query_parameter(name, value)).collect();
    out
}

/// Whether a route takes every request, so that nothing behind it is ever reached.
pub(super) fn is_catch_all(route_match: &RouteMatch) -> bool {
    let every_path = match &route_match.path_specifier {
        Some(PathSpecifier::Prefix(prefix)) => prefix == "/",
        Some(PathSpecifier::SafeRegex(regex)) => regex.regex == ".*",
        _ => false,
    };
    every_path && route_match.headers.is_empty() && route_match.query_parameters.is_empty()
}

fn header(name: &str, value: &StringMatch) -> HeaderMatcher {
    let specifier = match string(value) {
        Some(matcher) => HeaderMatchSpecifier::StringMatch(matcher),
        None => HeaderMatchSpecifier::PresentMatch(true),
    };
    HeaderMatcher { name: name.to_owned(), header_match_specifier: Some(specifier), ..HeaderMatcher::default() }
}

fn query_parameter(name: &str, value: &StringMatch) -> QueryParameterMatcher {
    let specifier = match string(value) {
        Some(matcher) => QueryParameterMatchSpecifier::StringMatch(matcher),
        None => QueryParameterMatchSpecifier::PresentMatch(true),
    };
    QueryParameterMatcher { name: name.to_owned(), query_parameter_match_specifier: Some(specifier) }
}

/// A matcher of text; `None` when only presence is asked for.
pub(super) fn string(value: &StringMatch) -> Option<StringMatcher> {
    let pattern = match value {
        _ if value.is_present() => return None,
        StringMatch::Present => return None,
        StringMatch::Exact(text) => MatchPattern::Exact(text.clone()),
        StringMatch::Prefix(text) => MatchPattern::Prefix(text.clone()),
        StringMatch::Regex(text) => MatchPattern::SafeRegex(regex(text)),
    };
    Some(StringMatcher { match_pattern: Some(pattern), ignore_case: false })
}

pub(super) fn regex(regex: &str) -> RegexMatcher {
    RegexMatcher { regex: regex.to_owned(), ..RegexMatcher::default() }
}

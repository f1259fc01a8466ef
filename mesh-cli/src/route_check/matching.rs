//! What a test expects of headers: Envoy's `HeaderMatcher`s, judged and compiled as those of routes are.

use http::{HeaderMap, HeaderValue};
use mesh_core::engine::matcher::{HeaderMatch, ResponseHead};
use mesh_proto::json;
use mesh_xds::decode;
use serde_json::Value;

use super::actual::Actual;

/// Whose headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

/// One expectation.
pub(super) struct Expected {
    side: Side,
    name: String,
    matcher: HeaderMatch,
    pub(super) line: u32,
}

impl Expected {
    pub(super) fn parse(value: &Value, side: Side, line: u32, at: &str) -> Result<Self, (String, String)> {
        let below = |field: &str| if field.is_empty() { at.to_owned() } else { format!("{at}.{field}") };
        let bytes = json::encode("envoy.config.route.v3.HeaderMatcher", value)
            .map_err(|error| (below(&error.path), error.problem.to_string()))?;
        let matcher =
            decode::header_matcher(&bytes).map_err(|(field, problem)| (below(&field), problem.to_string()))?;
        let compiled = HeaderMatch::compile(&matcher).map_err(|problem| (at.to_owned(), problem.to_string()))?;
        Ok(Self { side, name: matcher.name, matcher: compiled, line })
    }

    /// What is wrong with the headers; `None` when they match.
    pub(super) fn fails_on(&self, actual: &Actual) -> Option<String> {
        let (matches, side, found) = match self.side {
            Side::Request => {
                let (head, facts) = (joined(actual.request.headers()), actual.facts());
                let facts = mesh_core::engine::facts::RequestFacts { headers: &head, ..facts };
                (self.matcher.matches(&facts), "request_header_matches", head)
            }
            Side::Response => {
                let head = joined(actual.response.headers());
                let status = actual.response.status();
                let response = ResponseHead { status: &status, headers: &head };
                (self.matcher.matches(&response), "response_header_matches", head)
            }
        };
        if matches {
            return None;
        }
        let value = match found.get(&self.name) {
            Some(value) => format!("is {:?}", String::from_utf8_lossy(value.as_bytes())),
            None if self.name.starts_with(':') => "is another".to_owned(),
            None => "is not there".to_owned(),
        };
        Some(format!("{side}: expected {}, but it {value} ({})", self.matcher, actual.route))
    }
}

/// Headers of several lines as one line, which is how Envoy's tool compares them.
fn joined(headers: &HeaderMap) -> HeaderMap {
    let mut out = HeaderMap::new();
    for name in headers.keys() {
        let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(value) = HeaderValue::from_bytes(&lines.join(&b","[..])) {
            out.insert(name, value);
        }
    }
    out
}

//! Recorded exchanges: a configuration, requests in order, and what came of each.
//!
//! The form: `{"cases": [{"name", "envoy_config", "request", "observed"}]}`. Requests that share a listener, and run in order on
//! it, say `"envoy_config": "as <first case>"`. A field that is not known here is an error: it would be compared by nobody.

mod waits;

pub use self::waits::waits_for;

use serde::Deserialize;
use serde_json::Value;

/// Header lines in order, names in lower case.
pub type Headers = Vec<(String, String)>;

/// Requests that share a configuration, in order.
#[derive(Clone, Debug)]
pub struct Group {
    /// `envoy_config` of the first case: parts of a listener, see [`crate::edge::listener`].
    pub config: Value,
    /// The exchanges.
    pub cases: Vec<Case>,
}

/// One exchange.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, e.g. `rt_5xx/3`.
    pub name: String,
    /// What was sent.
    pub request: Request,
    /// What came of it.
    pub observed: Observed,
}

/// A request as the client sent it, beside `x-id`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Path and query as sent.
    pub path: String,
    /// The `Host` header; `None` is none at all.
    pub host: Option<String>,
    /// Other headers, `x-up` (the upstream's script) among them.
    #[serde(default)]
    pub headers: Headers,
    /// `<N bytes>`.
    pub body: Option<String>,
}

/// What came of a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observed {
    /// The status; 0 when the client went away before there was one.
    pub status: u16,
    /// The body; `<upstream echo>` is whatever the upstream sent.
    pub body: String,
    /// `%RESPONSE_FLAGS%`.
    pub flags: String,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub details: String,
    /// Response headers of interest.
    #[serde(default)]
    pub headers: Headers,
    /// What the upstreams saw; `None` when no cluster was chosen.
    pub upstream: Option<Upstream>,
    /// The gRPC status that a gRPC client would have taken from the response.
    pub grpc_status: Option<u32>,
    /// How long it took, in seconds, where that matters.
    pub seconds: Option<f64>,
}

/// What the upstreams saw of a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// The cluster.
    pub cluster: String,
    /// `%UPSTREAM_REQUEST_ATTEMPT_COUNT%`.
    pub attempts: Option<u64>,
    /// Every request that arrived whole, in order; `None` when none was noted.
    pub requests_seen: Option<Vec<Seen>>,
    /// Headers of the first of them.
    pub first_request_headers: Option<Headers>,
}

/// A request that arrived at an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// The port as recorded; ours are others, see [`crate::upstream`].
    pub port: u16,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
}

#[derive(Deserialize)]
struct Document {
    cases: Vec<Recorded>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    name: String,
    envoy_config: Value,
    request: Request,
    observed: Observed,
}

/// Reads a document of cases.
///
/// # Panics
/// When it has another form.
#[must_use]
pub fn read(text: &str) -> Vec<Group> {
    let document: Document = serde_json::from_str(text).unwrap();
    let mut groups: Vec<Group> = Vec::new();
    for Recorded { name, envoy_config, request, observed } in document.cases {
        let case = Case { name, request, observed };
        match envoy_config.as_str().map(|text| text.strip_prefix("as ").expect("a reference says `as <case>`")) {
            None => groups.push(Group { config: envoy_config, cases: vec![case] }),
            Some(first) => {
                let of = groups.iter_mut().rev().find(|group| group.cases[0].name == first);
                of.unwrap_or_else(|| panic!("{} refers to {first}, which is not before it", case.name))
                    .cases
                    .push(case);
            }
        }
    }
    groups
}

impl Request {
    /// The size of the body.
    ///
    /// # Panics
    /// When the body is not written `<N bytes>`.
    #[must_use]
    pub fn body_size(&self) -> usize {
        let Some(body) = &self.body else { return 0 };
        let size = body.strip_prefix('<').and_then(|body| body.strip_suffix(" bytes>"));
        size.and_then(|size| size.parse().ok()).expect("a body is written `<N bytes>`")
    }

    /// A header's first value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
    }

    /// Whether the client promised more of a body than it sent.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.header("content-length").is_some_and(|length| length.parse() != Ok(self.body_size()))
    }
}

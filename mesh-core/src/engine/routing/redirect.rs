//! Where a redirect leads, and the answers of routes that forward nothing.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};

use crate::engine::facts::RequestFacts;
use crate::engine::local_reply::{LocalReply, ResponseFlags};
use crate::engine::matcher::Rewrite;
use crate::resource::Problem;
use crate::resource::route::{PathRedirect, Redirect, SchemeRedirect};

use super::path_match::PathMatch;

/// A compiled redirect.
#[derive(Debug)]
pub struct CompiledRedirect {
    scheme: Option<Box<str>>,
    host: Option<Box<str>>,
    port: Option<u16>,
    path: Option<NewPath>,
    status: StatusCode,
    strip_query: bool,
}

#[derive(Debug)]
enum NewPath {
    /// The whole path; whether it brings its own query.
    Whole(Box<str>, bool),
    Prefix(Box<str>),
    Regex(Rewrite),
}

const DETAILS: &str = "direct_response";

impl CompiledRedirect {
    /// Compiles a redirect.
    pub(super) fn compile(config: &Redirect) -> Result<Self, (&'static str, Problem)> {
        if !matches!(config.response_code.as_u16(), 301 | 302 | 303 | 307 | 308) {
            let why = format!("{} is none of 301, 302, 303, 307 and 308", config.response_code.as_u16());
            return Err(("response_code", Problem::Value(why)));
        }
        let text = |field: &'static str, text: &str| -> Result<Box<str>, (&'static str, Problem)> {
            match HeaderValue::from_str(text) {
                Ok(_) => Ok(text.into()),
                Err(_) => Err((field, Problem::Value(format!("{text:?} has no place in a header")))),
            }
        };
        let some = |field, value: &str| if value.is_empty() { Ok(None) } else { text(field, value).map(Some) };
        let scheme = match &config.scheme {
            None => None,
            Some(SchemeRedirect::Https) => Some("https".into()),
            Some(SchemeRedirect::Scheme(scheme)) => some("scheme_redirect", scheme)?,
        };
        let path = match &config.path {
            None => None,
            Some(PathRedirect::Path(path)) => some("path_redirect", path)?.map(|path| {
                let has_query = path.contains('?');
                NewPath::Whole(path, has_query)
            }),
            Some(PathRedirect::Prefix(prefix)) => some("prefix_rewrite", prefix)?.map(NewPath::Prefix),
            Some(PathRedirect::Regex(regex)) => {
                Some(NewPath::Regex(Rewrite::compile(regex).map_err(|problem| ("regex_rewrite", problem))?))
            }
        };
        Ok(Self {
            scheme,
            host: config.host.as_deref().map_or(Ok(None), |host| some("host_redirect", host))?,
            port: config.port.filter(|port| *port != 0),
            path,
            status: config.response_code,
            strip_query: config.strip_query,
        })
    }

    /// The answer; `matched` is what the route matched the path by.
    pub(super) fn reply(&self, facts: &RequestFacts<'_>, matched: &PathMatch) -> LocalReply {
        let scheme = self.scheme.as_deref().unwrap_or(facts.scheme);
        let host = self.host.as_deref().unwrap_or_else(|| host_for(facts, scheme, self.port.is_some()));
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let location = format!("{scheme}://{host}{port}{}", self.path_and_query(facts, matched));
        with_location(LocalReply::new(self.status, Bytes::new(), DETAILS, ResponseFlags::NONE), &location)
    }

    fn path_and_query<'a>(&'a self, facts: &'a RequestFacts<'a>, matched: &PathMatch) -> Cow<'a, str> {
        let path = facts.path_only();
        let new: Cow<'a, str> = match &self.path {
            None if !self.strip_query => return facts.path.into(),
            None => path.into(),
            Some(NewPath::Whole(new, true)) => return (&**new).into(),
            Some(NewPath::Whole(new, false)) => (&**new).into(),
            Some(NewPath::Prefix(new)) => {
                let rest = matched.matched_prefix().and_then(|length| path.get(length..)).unwrap_or_default();
                format!("{new}{rest}").into()
            }
            Some(NewPath::Regex(rewrite)) => {
                String::from_utf8_lossy(&rewrite.apply(path.as_bytes())).into_owned().into()
            }
        };
        match facts.query() {
            Some(query) if !self.strip_query => format!("{new}?{query}").into(),
            _ => new,
        }
    }
}

/// The request's host for a location of this scheme: without its port if another is to follow, or if it is the
/// old scheme's own and the scheme changes.
fn host_for<'a>(facts: &RequestFacts<'a>, scheme: &str, other_port: bool) -> &'a str {
    let host = super::hosts::without_port(facts.authority);
    let port = &facts.authority[host.len()..];
    let old_own = scheme != facts.scheme && matches!((facts.scheme, port), ("http", ":80") | ("https", ":443"));
    if other_port || old_own { host } else { facts.authority }
}

/// `require_tls`: the same address by `https`.
pub(super) fn to_https(facts: &RequestFacts<'_>) -> LocalReply {
    let location = format!("https://{}{}", facts.authority, facts.path);
    with_location(LocalReply::new(StatusCode::MOVED_PERMANENTLY, Bytes::new(), DETAILS, ResponseFlags::NONE), &location)
}

/// A direct response; one that creates or redirects says where, as Envoy does.
pub(super) fn direct(status: StatusCode, body: &Bytes, facts: &RequestFacts<'_>) -> LocalReply {
    let reply = LocalReply::new(status, body.clone(), DETAILS, ResponseFlags::NONE);
    if status == StatusCode::CREATED || status.is_redirection() {
        return with_location(reply, &format!("{}://{}{}", facts.scheme, facts.authority, facts.path));
    }
    reply
}

fn with_location(mut reply: LocalReply, location: &str) -> LocalReply {
    match HeaderValue::from_str(location) {
        Ok(location) => {
            reply.headers.insert(LOCATION, location);
            reply
        }
        Err(_) => LocalReply::rewrite_failed(),
    }
}

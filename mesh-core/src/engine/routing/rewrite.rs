//! What a route makes of a request's path and host.

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery};

use super::path_match::PathMatch;
use super::template::TemplateRewrite;
use crate::engine::facts::RequestFacts;
use crate::engine::matcher::{HeaderKey, Rewrite};
use crate::resource::Problem;
use crate::resource::route::{HostRewrite, PathRewrite};

/// A compiled path rewrite.
#[derive(Debug)]
pub(super) enum CompiledPathRewrite {
    Prefix(Box<str>),
    Regex(Rewrite),
    Template(TemplateRewrite),
}

/// A compiled host rewrite.
#[derive(Debug)]
pub(super) enum CompiledHostRewrite {
    Literal(Authority),
    /// The endpoint's host name, once there is one.
    Auto,
    Header(HeaderKey),
    PathRegex(Rewrite),
}

impl CompiledPathRewrite {
    /// Compiles a rewrite for a route that matches paths by `matched`. `None`: nothing is rewritten.
    pub(super) fn compile(config: &PathRewrite, matched: &PathMatch) -> Result<Option<Self>, (&'static str, Problem)> {
        Ok(Some(match config {
            // As unset: protobuf cannot tell them apart.
            PathRewrite::Prefix(prefix) if prefix.is_empty() => return Ok(None),
            PathRewrite::Prefix(prefix) => Self::Prefix(prefix.as_str().into()),
            PathRewrite::Regex(regex) => {
                Self::Regex(Rewrite::compile(regex).map_err(|problem| ("regex_rewrite", problem))?)
            }
            PathRewrite::UriTemplate(rewrite) => {
                let rewrite = TemplateRewrite::compile(rewrite, matched.template());
                Self::Template(rewrite.map_err(|problem| ("path_rewrite_policy", problem))?)
            }
        }))
    }

    /// The new path with the request's query. `None` when it is no path.
    pub(super) fn apply(&self, facts: &RequestFacts<'_>, matched: &PathMatch) -> Option<PathAndQuery> {
        let path = facts.path_only();
        let mut new = match self {
            Self::Prefix(prefix) => {
                let rest = match matched.matched_prefix() {
                    Some(length) => path.get(length..)?,
                    None => "",
                };
                [prefix, rest].concat().into_bytes()
            }
            Self::Regex(rewrite) => rewrite.apply(path.as_bytes()),
            Self::Template(rewrite) => rewrite.apply(matched.template()?, path.as_bytes())?,
        };
        // A path that does not start with a slash would run into the host, or past a policy upstream.
        if new.first() != Some(&b'/') {
            return None;
        }
        if let Some(query) = facts.query() {
            new.push(b'?');
            new.extend_from_slice(query.as_bytes());
        }
        // The URI type would cut a fragment off, silently.
        if new.contains(&b'#') {
            return None;
        }
        PathAndQuery::from_maybe_shared(Bytes::from(new)).ok()
    }
}

impl CompiledHostRewrite {
    /// Compiles a rewrite. `None`: nothing is rewritten.
    pub(super) fn compile(config: &HostRewrite) -> Result<Option<Self>, (&'static str, Problem)> {
        Ok(Some(match config {
            HostRewrite::Literal(host) if host.is_empty() => return Ok(None),
            HostRewrite::Literal(host) => {
                Self::Literal(authority(host).map_err(|problem| ("host_rewrite_literal", problem))?)
            }
            HostRewrite::Auto => Self::Auto,
            HostRewrite::Header(name) => {
                Self::Header(HeaderKey::parse(name).map_err(|problem| ("host_rewrite_header", problem))?)
            }
            HostRewrite::PathRegex(regex) => {
                Self::PathRegex(Rewrite::compile(regex).map_err(|problem| ("host_rewrite_path_regex", problem))?)
            }
        }))
    }

    /// The new host before an endpoint is chosen: `Ok(None)` when it stays.
    ///
    /// # Errors
    /// The result is no host.
    pub(super) fn apply(&self, facts: &RequestFacts<'_>) -> Result<Option<Authority>, ()> {
        let host = match self {
            Self::Literal(host) => return Ok(Some(host.clone())),
            Self::Auto => return Ok(None),
            Self::Header(name) => match name.first(facts) {
                Some(host) if !host.is_empty() => host.to_vec(),
                _ => return Ok(None),
            },
            Self::PathRegex(rewrite) => rewrite.apply(facts.path_only().as_bytes()),
        };
        Authority::from_maybe_shared(Bytes::from(host)).map(Some).map_err(|_| ())
    }
}

/// A configured host.
pub(super) fn authority(host: &str) -> Result<Authority, Problem> {
    host.parse().map_err(|_| Problem::Value(format!("{host:?} is no host")))
}

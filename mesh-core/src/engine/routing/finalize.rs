//! What a route changes on a request before it is sent, and on the response before the caller sees it.
//!
//! Envoy's order on requests: the weighted cluster's header changes and host, the header changes of the other
//! levels, the host, the path. Nothing is allocated for a route that changes nothing.

use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, header};

use super::rewrite::CompiledHostRewrite;
use super::route::ClusterRef;
use super::table::{RouteDecision, RouteTable};
use crate::engine::facts::RequestFacts;
use crate::engine::headers::{Change, FormatContext, HeaderChanges, ResponseFacts};
use crate::engine::local_reply::LocalReply;

const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
const ORIGINAL_HOST: HeaderName = HeaderName::from_static("x-envoy-original-host");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");

/// A rewrite made something that is no path or no host. The request must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RewriteFailed {
    /// The new path does not start with `/` or has characters that no path has.
    #[error("the rewritten path is no path")]
    Path,
    /// The new host is none.
    #[error("the rewritten host is no host")]
    Host,
}

impl RewriteFailed {
    /// The answer: 500.
    #[must_use]
    pub fn into_reply(self) -> LocalReply {
        LocalReply::rewrite_failed()
    }
}

impl RouteTable {
    /// Gives a request the form in which its route sends it on.
    ///
    /// # Errors
    /// A rewrite did not make a path or a host; the request is in part changed and must not be sent.
    pub fn apply_request<B>(
        &self,
        decision: RouteDecision,
        request: &mut Request<B>,
        cx: &FormatContext<'_>,
    ) -> Result<(), RewriteFailed> {
        let route = self.route(decision);
        let entry = self.entry(decision);
        let entry_changes = entry.and_then(|entry| entry.request_changes.as_ref());
        // The name is made only for a route that might print it.
        let prints = entry_changes.is_some() || !route.request_changes.is_empty();
        let cluster_name = if prints { self.cluster_name(decision, request) } else { "".into() };
        let cx = FormatContext { route_name: &route.name, cluster_name: &cluster_name, ..*cx };
        if let Some(changes) = entry_changes {
            change_request(changes, request, &cx);
        }
        if let Some(host) = entry.and_then(|entry| entry.host_rewrite.as_ref()) {
            set_host(request, host)?;
        }
        for changes in &route.request_changes {
            change_request(changes, request, &cx);
        }
        let Some(forwarding) = route.forwarding() else { return Ok(()) };
        if let Some(rewrite) = &forwarding.host_rewrite {
            let facts = RequestFacts::of(request, cx.connection, cx.dynamic_metadata);
            if let Some(host) = rewrite.apply(&facts).map_err(|()| RewriteFailed::Host)? {
                replace_host(request, &host, forwarding.append_x_forwarded_host)?;
            }
        }
        if let Some(rewrite) = &forwarding.path_rewrite {
            let facts = RequestFacts::of(request, cx.connection, cx.dynamic_metadata);
            let matched = self.path_match(decision).ok_or(RewriteFailed::Path)?;
            let path = rewrite.apply(&facts, matched).ok_or(RewriteFailed::Path)?;
            let original = HeaderValue::from_str(facts.path).map_err(|_| RewriteFailed::Path)?;
            set_path(request, path)?;
            request.headers_mut().insert(ORIGINAL_PATH, original);
        }
        Ok(())
    }

    /// Whether [`Self::apply_request`] would change nothing: so it is on most routes.
    #[must_use]
    #[inline]
    pub fn leaves_request(&self, decision: RouteDecision) -> bool {
        !self.route(decision).effects.on_request
    }

    /// Whether [`Self::apply_response`] would change nothing, not even the count of attempts.
    #[must_use]
    #[inline]
    pub fn leaves_response(&self, decision: RouteDecision) -> bool {
        !self.route(decision).effects.on_response
            && !self.virtual_host(decision.virtual_host).is_some_and(|host| host.include_attempt_count_in_response)
    }

    /// `auto_host_rewrite`: the host name of the endpoint that was chosen becomes the request's host. Does nothing
    /// on other routes, for an endpoint without a host name, or for one whose name is no host.
    pub fn apply_upstream_host<B>(&self, decision: RouteDecision, request: &mut Request<B>, hostname: &str) {
        let Some(forwarding) = self.route(decision).forwarding() else { return };
        if hostname.is_empty() || !matches!(forwarding.host_rewrite, Some(CompiledHostRewrite::Auto)) {
            return;
        }
        if let Ok(host) = hostname.parse::<Authority>() {
            // A host that does not fit into the URI leaves the request as it was.
            let _ = replace_host(request, &host, forwarding.append_x_forwarded_host);
        }
    }

    /// Gives a response the form in which the caller gets it. `cx.attempts` goes to the caller where the virtual
    /// host says so; `cx.request` is needed only if [`Self::response_reads_request`].
    pub fn apply_response<B>(&self, decision: RouteDecision, response: &mut Response<B>, cx: &FormatContext<'_>) {
        let route = self.route(decision);
        let entry = self.entry(decision).and_then(|entry| entry.response_changes.as_ref());
        let mut cx = FormatContext { route_name: &route.name, ..*cx };
        if let Some(ClusterRef::Cluster(_, name)) = self.cluster(decision)
            && cx.cluster_name.is_empty()
        {
            cx.cluster_name = name;
        }
        for changes in entry.into_iter().chain(route.response_changes.iter().map(|changes| &**changes)) {
            changes.remove_from(response.headers_mut());
            let computed = {
                let facts = ResponseFacts { status: response.status(), headers: response.headers() };
                changes.evaluate(response.headers(), &FormatContext { response: Some(facts), ..cx })
            };
            Change::put(computed, response.headers_mut());
        }
        if let Some(attempts) = cx.attempts
            && self.virtual_host(decision.virtual_host).is_some_and(|host| host.include_attempt_count_in_response)
        {
            response.headers_mut().insert(ATTEMPT_COUNT, HeaderValue::from(attempts));
        }
    }

    /// Whether a response header is made of the request's (`%REQ()%`), or of what it hashes to: its head must be kept
    /// then.
    #[must_use]
    #[inline]
    pub fn response_reads_request(&self, decision: RouteDecision) -> bool {
        self.route(decision).effects.response_reads_request
    }

    /// The cluster's name for `%UPSTREAM_CLUSTER%`. Copied only when the request names the cluster itself.
    fn cluster_name<B>(&self, decision: RouteDecision, request: &Request<B>) -> std::borrow::Cow<'_, str> {
        match self.cluster(decision) {
            Some(ClusterRef::Cluster(_, name)) => (&**name).into(),
            Some(ClusterRef::Header(crate::engine::matcher::HeaderKey::Named(name))) => {
                let value = request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
                value.to_owned().into()
            }
            _ => "".into(),
        }
    }
}

pub(super) fn change_request<B>(changes: &HeaderChanges, request: &mut Request<B>, cx: &FormatContext<'_>) {
    changes.remove_from(request.headers_mut());
    let computed = {
        let facts = RequestFacts::of(request, cx.connection, cx.dynamic_metadata);
        changes.evaluate(request.headers(), &FormatContext { request: Some(facts), ..*cx })
    };
    Change::put(computed, request.headers_mut());
}

/// Sets another host and keeps the one before in `x-envoy-original-host`, and if wanted in `x-forwarded-host`.
fn replace_host<B>(
    request: &mut Request<B>,
    host: &Authority,
    append_x_forwarded_host: bool,
) -> Result<(), RewriteFailed> {
    let before = match request.uri().authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => request.headers().get(header::HOST).cloned(),
    };
    set_host(request, host)?;
    if let Some(before) = before.filter(|before| !before.is_empty()) {
        if append_x_forwarded_host {
            forwarded_host(request.headers_mut(), &before);
        }
        request.headers_mut().insert(ORIGINAL_HOST, before);
    }
    Ok(())
}

/// Appends a host to `x-forwarded-host` unless it is the last one there.
fn forwarded_host(headers: &mut HeaderMap, host: &HeaderValue) {
    let joined = headers.get(FORWARDED_HOST).filter(|list| !list.is_empty()).map(|list| {
        let last = list.as_bytes().rsplit(|byte| *byte == b',').next().unwrap_or_default();
        if last.trim_ascii() == host.as_bytes() {
            return list.clone();
        }
        let joined = [list.as_bytes(), b",", host.as_bytes()].concat();
        HeaderValue::from_bytes(&joined).unwrap_or_else(|_| host.clone())
    });
    headers.insert(FORWARDED_HOST, joined.unwrap_or_else(|| host.clone()));
}

/// Sets the host where it stands: in the URI, in the `Host` header, or both.
pub(super) fn set_host<B>(request: &mut Request<B>, host: &Authority) -> Result<(), RewriteFailed> {
    let in_uri = request.uri().authority().is_some();
    if in_uri {
        let mut parts = request.uri().clone().into_parts();
        parts.authority = Some(host.clone());
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_| RewriteFailed::Host)?;
    }
    if !in_uri || request.headers().contains_key(header::HOST) {
        let value = HeaderValue::from_str(host.as_str()).map_err(|_| RewriteFailed::Host)?;
        request.headers_mut().insert(header::HOST, value);
    }
    Ok(())
}

fn set_path<B>(request: &mut Request<B>, path: PathAndQuery) -> Result<(), RewriteFailed> {
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = Some(path);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| RewriteFailed::Path)?;
    Ok(())
}

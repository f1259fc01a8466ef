//! What a rule does instead of forwarding, and how it changes what it forwards.

use super::super::Rules;
use super::headers::is_authority;
use crate::finding::code;
use crate::object::{HttpDirectResponse, HttpRedirect, HttpRewrite, HttpRoute};

/// Largest body of a direct response, and the size from which it is worth a word.
const MAX_BODY: usize = 1 << 20;
const LARGE_BODY: usize = 100 << 10;

pub(super) fn redirect(rules: &mut Rules<'_>, at: &str, route: &HttpRoute, redirect: &HttpRedirect) {
    let at_redirect = format!("{at}.redirect");
    if redirect.port.is_some() && redirect.derive_port.is_some() {
        rules.refuse(code::EXCLUSIVE, &format!("{at_redirect}.port"), "only one of port and derivePort may be set");
    }
    let port = redirect.port.is_some() || redirect.derive_port.is_some();
    if redirect.uri.is_empty() && redirect.authority.is_empty() && redirect.scheme.is_empty() && !port {
        rules.refuse(code::REQUIRED, &at_redirect, "at least one of uri, authority, scheme and port is required");
    }
    if let Some(port) = redirect.port {
        rules.port(&format!("{at_redirect}.port"), port);
    }
    if !redirect.scheme.is_empty() && redirect.scheme != "http" && redirect.scheme != "https" {
        rules.refuse(code::INVALID_VALUE, &format!("{at_redirect}.scheme"), "must be http or https");
    }
    match redirect.redirect_code {
        0 | 301 | 302 | 303 | 307 | 308 => {}
        status @ 300..=399 => {
            rules.warn(
                code::INEFFECTIVE,
                &format!("{at_redirect}.redirectCode"),
                format!("{status} is accepted and not usable: the rule has no action"),
            );
        }
        status => rules.refuse(
            code::INVALID_VALUE,
            &format!("{at_redirect}.redirectCode"),
            format!("{status} is no redirect"),
        ),
    }
    if route.retries.is_some() || route.timeout.is_some() {
        rules.warn(code::INEFFECTIVE, at, "timeout and retries have no effect on a redirect");
    }
}

pub(super) fn direct_response(rules: &mut Rules<'_>, at: &str, response: &HttpDirectResponse) {
    let at = format!("{at}.directResponse");
    if !(200..=599).contains(&response.status) {
        rules.refuse(
            code::INVALID_VALUE,
            &format!("{at}.status"),
            format!("{} is no status: 200 to 599", response.status),
        );
    }
    let Some(body) = &response.body else { return };
    if body.string.is_some() && body.bytes.is_some() {
        rules.refuse(code::EXCLUSIVE, &format!("{at}.body"), "only one of string and bytes may be set");
    }
    let length = match (&body.string, &body.bytes) {
        (Some(text), _) => text.len(),
        (None, Some(text)) => match crate::lower::base64(text) {
            Some(bytes) => bytes.len(),
            None => {
                rules.refuse(code::INVALID_VALUE, &format!("{at}.body.bytes"), "not base64");
                0
            }
        },
        (None, None) => 0,
    };
    if length > MAX_BODY {
        rules.refuse(code::INVALID_VALUE, &format!("{at}.body"), "larger than 1 MiB");
    } else if length > LARGE_BODY {
        rules.warn(code::INEFFECTIVE, &format!("{at}.body"), "larger than 100 KiB: every snapshot carries it");
    }
}

pub(super) fn rewrite(rules: &mut Rules<'_>, at: &str, route: &HttpRoute, rewrite: &HttpRewrite) {
    if rewrite.uri.is_empty() && rewrite.authority.is_empty() && rewrite.uri_regex_rewrite.is_none() {
        rules.refuse(code::REQUIRED, at, "at least one of uri, authority and uriRegexRewrite is required");
    }
    if let Some(regex) = &rewrite.uri_regex_rewrite {
        if !rewrite.uri.is_empty() {
            rules.refuse(code::EXCLUSIVE, &format!("{at}.uriRegexRewrite"), "not allowed together with uri");
        }
        rules.regex(&format!("{at}.uriRegexRewrite.match"), &regex.r#match);
    }
    let in_headers = route
        .headers
        .as_ref()
        .and_then(|headers| headers.request.as_ref())
        .is_some_and(|operations| operations.set.keys().chain(operations.add.keys()).any(|key| is_authority(key)));
    if !rewrite.authority.is_empty() && in_headers {
        rules.refuse(code::EXCLUSIVE, &format!("{at}.authority"), "the authority is set in headers.request too");
    }
}

//! Cross-origin requests: answers preflights, and tells browsers which origin may read a response.
//!
//! Envoy's `envoy.filters.http.cors`. It does nothing but on routes that forward and have a policy; the most specific
//! policy says whether it is in force, and what that one leaves out a less specific one may say.

use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::filter::{FilterStep, HttpFilter, RequestCx, ResponseCx, RouteConfig, RouteConfigs};
use super::local_reply::{LocalReply, ResponseFlags};
use super::matcher::StringMatch;
use super::random::Random;
use crate::resource::filter::CorsPolicy as Config;
use crate::resource::route::FractionalPercent;
use crate::resource::{FieldPath, Problem};

const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

const TRUE: HeaderValue = HeaderValue::from_static("true");

/// A level's policy, compiled.
#[derive(Debug, Default)]
pub struct CorsPolicy {
    origins: Box<[StringMatch]>,
    /// One of the origins is `*`, or matches it.
    any_origin: bool,
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
    credentials: Option<bool>,
    private_network: Option<bool>,
    forward: Option<bool>,
    enabled: Option<FractionalPercent>,
    shadow: Option<FractionalPercent>,
}

impl CorsPolicy {
    /// Compiles a policy; `at` is its place.
    ///
    /// # Errors
    /// Where and what: an origin that does not compile, a value that no header may have, a fraction of nothing.
    pub fn compile(config: &Config, at: &FieldPath) -> Result<Self, (FieldPath, Problem)> {
        let origins = config.allow_origins.iter().enumerate().map(|(number, origin)| {
            let at = || at.field("allow_origin_string_match").index(number);
            StringMatch::compile(origin).map_err(|problem| (at(), problem))
        });
        let origins = origins.collect::<Result<Box<[_]>, _>>()?;
        let value = |field: &str, text: &str| {
            let value = HeaderValue::from_str(text);
            let value = value.map_err(|_| (at.field(field), Problem::Value(format!("{text:?} is no header value"))))?;
            Ok((!value.is_empty()).then_some(value))
        };
        for (field, share) in [("filter_enabled", config.filter_enabled), ("shadow_enabled", config.shadow_enabled)] {
            if let Some(Err(problem)) = share.map(FractionalPercent::judge) {
                return Err((at.field(field).field("default_value"), problem));
            }
        }
        Ok(Self {
            any_origin: origins.iter().any(|origin| origin.matches(b"*")),
            origins,
            methods: value("allow_methods", &config.allow_methods)?,
            headers: value("allow_headers", &config.allow_headers)?,
            expose: value("expose_headers", &config.expose_headers)?,
            max_age: value("max_age", &config.max_age)?,
            credentials: config.allow_credentials,
            private_network: config.allow_private_network_access,
            forward: config.forward_not_matching_preflights,
            enabled: config.filter_enabled,
            shadow: config.shadow_enabled,
        })
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        self.any_origin || self.origins.iter().any(|allowed| allowed.matches(origin.as_bytes()))
    }
}

/// The policies of a request's levels, the most specific first.
#[derive(Clone, Copy, Debug)]
struct Policies<'a>(RouteConfigs<'a>);

impl<'a> Policies<'a> {
    fn all(self) -> impl Iterator<Item = &'a CorsPolicy> {
        self.0.levels().filter_map(|level| match level {
            RouteConfig::Cors(policy) => Some(&**policy),
            _ => None,
        })
    }

    /// What the first level says that says anything.
    fn say<T>(self, what: impl Fn(&'a CorsPolicy) -> Option<T>) -> Option<T> {
        self.all().find_map(what)
    }

    fn allow_credentials(self) -> bool {
        self.say(|policy| policy.credentials).unwrap_or(false)
    }

    fn allows(self, origin: &HeaderValue) -> bool {
        self.all().find(|policy| !policy.origins.is_empty()).is_some_and(|policy| policy.allows(origin))
    }

    /// The headers of the answer to a preflight.
    fn preflight(self, origin: Option<HeaderValue>, asked: &HeaderMap) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(origin) = origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
        if self.allow_credentials() {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        let or_asked = |value: &HeaderValue, name: HeaderName| match asked.get(name) {
            _ if value != "*" => value.clone(),
            Some(asked) => asked.clone(),
            None => HeaderValue::from_static(""),
        };
        if let Some(methods) = self.say(|policy| policy.methods.as_ref()) {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, or_asked(methods, ACCESS_CONTROL_REQUEST_METHOD));
        }
        if let Some(allowed) = self.say(|policy| policy.headers.as_ref()) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, or_asked(allowed, ACCESS_CONTROL_REQUEST_HEADERS));
        }
        if let Some(age) = self.say(|policy| policy.max_age.as_ref()) {
            headers.insert(ACCESS_CONTROL_MAX_AGE, age.clone());
        }
        let private = asked.get(REQUEST_PRIVATE_NETWORK).is_some_and(|asked| asked == "true");
        if private && self.say(|policy| policy.private_network) == Some(true) {
            headers.insert(ALLOW_PRIVATE_NETWORK, TRUE);
        }
        headers
    }
}

/// The filter. All that it says is said by routes.
#[derive(Debug, Default)]
pub struct Cors {
    valid: AtomicU64,
    invalid: AtomicU64,
}

/// How many origins were judged, by the names of Envoy's statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CorsStats {
    /// Requests of an origin that is allowed.
    pub origin_valid: u64,
    /// Requests of another one.
    pub origin_invalid: u64,
}

/// What a response is to say.
#[derive(Debug)]
struct Allowed {
    origin: HeaderValue,
    credentials: bool,
    expose: Option<HeaderValue>,
}

impl Cors {
    /// What was judged so far.
    #[must_use]
    pub fn stats(&self) -> CorsStats {
        CorsStats {
            origin_valid: self.valid.load(Ordering::Relaxed),
            origin_invalid: self.invalid.load(Ordering::Relaxed),
        }
    }
}

/// Whether a policy is in force for this request, and whether its origin is at least counted.
fn draw(policy: &CorsPolicy, random: &mut Random) -> (bool, bool) {
    let enabled = policy.enabled.is_none_or(|share| share.takes(random.bits()));
    (enabled, enabled || policy.shadow.is_some_and(|share| share.takes(random.bits())))
}

impl HttpFilter for Cors {
    fn waits_for_route(&self) -> bool {
        true
    }

    fn on_request(&self, cx: &mut RequestCx<'_>) -> FilterStep {
        let policies = Policies(cx.route_configs);
        let forwards = cx.route.is_some_and(|route| route.is_forwarded());
        let Some(policy) = policies.all().next().filter(|_| forwards) else { return FilterStep::Continue };
        let (enabled, counted) = draw(policy, cx.random);
        let Some(origin) = cx.head.headers.get(ORIGIN).filter(|origin| counted && !origin.is_empty()) else {
            return FilterStep::Continue;
        };
        let allowed = policies.allows(origin).then(|| origin.clone());
        (if allowed.is_some() { &self.valid } else { &self.invalid }).fetch_add(1, Ordering::Relaxed);
        if !enabled {
            return FilterStep::Continue;
        }
        if let Some(origin) = &allowed {
            cx.notes.put(Allowed {
                origin: origin.clone(),
                credentials: policies.allow_credentials(),
                expose: policies.say(|policy| policy.expose.clone()),
            });
        }
        let asked = cx.head.headers.get(ACCESS_CONTROL_REQUEST_METHOD).is_some_and(|method| !method.is_empty());
        let forward = || policies.say(|policy| policy.forward).unwrap_or(true);
        if cx.head.method != Method::OPTIONS || !asked || (allowed.is_none() && forward()) {
            return FilterStep::Continue;
        }
        let mut reply = LocalReply::new(StatusCode::OK, "", "cors_response", ResponseFlags::NONE);
        reply.headers = policies.preflight(allowed, &cx.head.headers);
        FilterStep::Respond(Box::new(reply))
    }

    fn on_response(&self, cx: &mut ResponseCx<'_>) {
        let Some(allowed) = cx.notes.take::<Allowed>() else { return };
        let headers = &mut cx.head.headers;
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed.origin);
        if allowed.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        if let Some(expose) = allowed.expose {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose);
        }
    }
}

#[cfg(test)]
mod tests;

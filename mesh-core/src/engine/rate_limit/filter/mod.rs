//! The filter: who gets no token is answered 429.

use std::sync::Arc;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use smallvec::SmallVec;

use super::action::{ActionCx, RateLimits};
use super::bucket::TokenBucket;
use super::counts::{Count, Counts};
use super::descriptor::{Descriptor, Descriptors};
use super::limiter::{Drawn, Limiter};
use crate::engine::filter::{FilterStep, HttpFilter, RequestCx, ResponseCx, RouteConfig};
use crate::engine::headers::{Change, FormatContext, HeaderChanges};
use crate::engine::local_reply::LocalReply;
use crate::resource::filter::{LocalRateLimit as Config, VirtualHostLimits};
use crate::resource::header_mutation::HeaderMutations;
use crate::resource::metadata::Metadata;
use crate::resource::route::FractionalPercent;
use crate::resource::{FieldPath, Problem};

/// `RESOURCE_EXHAUSTED`.
const RESOURCE_EXHAUSTED: u32 = 8;

/// The filter of one listener. Routes that say something to it have a [`RouteLimit`] in its place.
#[derive(Debug)]
pub struct LocalRateLimit(Limit);

/// What a route says in place of the filter's own configuration: with buckets of its own.
#[derive(Debug)]
pub struct RouteLimit(Box<Limit>);

#[derive(Debug)]
struct Limit {
    limiter: Limiter,
    /// Connections have buckets of their own, made of this, under this key.
    per_connection: Option<(Arc<()>, Box<Config>)>,
    enabled: FractionalPercent,
    enforced: FractionalPercent,
    status: StatusCode,
    request_headers: HeaderChanges,
    response_headers: HeaderChanges,
    stage: u32,
    rate_limits: RateLimits,
    virtual_host_limits: VirtualHostLimits,
    x_ratelimit_headers: bool,
    retry_after: bool,
    resource_exhausted: bool,
    counts: Counts,
}

/// The bucket whose state the response tells.
struct Told(Arc<TokenBucket>);

impl LocalRateLimit {
    /// As configured; `at` is the configuration's place.
    ///
    /// # Errors
    /// Where and what is wrong with it.
    pub fn compile(config: &Config, at: &FieldPath) -> Result<Self, (FieldPath, Problem)> {
        Limit::compile(config, at).map(Self)
    }

    /// What the filter did, routes that have a limit of their own left out.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.0.counts
    }
}

impl RouteLimit {
    /// As configured; `at` is the configuration's place.
    ///
    /// # Errors
    /// Where and what is wrong with it: a route must have a bucket.
    pub fn compile(config: &Config, at: &FieldPath) -> Result<Self, (FieldPath, Problem)> {
        if config.token_bucket.is_none() {
            return Err((at.field("token_bucket"), Problem::Missing));
        }
        Limit::compile(config, at).map(|limit| Self(Box::new(limit)))
    }

    /// What the limit did.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.0.counts
    }
}

impl HttpFilter for LocalRateLimit {
    fn waits_for_route(&self) -> bool {
        self.0.enabled.numerator == 0
    }

    fn on_request(&self, cx: &mut RequestCx<'_>) -> FilterStep {
        match cx.route_configs.effective() {
            Some(RouteConfig::LocalRateLimit(limit)) => limit.0.on_request(cx),
            _ => self.0.on_request(cx),
        }
    }

    fn on_response(&self, cx: &mut ResponseCx<'_>) {
        if let Some(Told(bucket)) = cx.notes.take() {
            let seconds = ceil_seconds(&bucket, cx.now);
            let headers = [
                (X_RATELIMIT_LIMIT, HeaderValue::from(bucket.max_tokens())),
                (X_RATELIMIT_REMAINING, HeaderValue::from(bucket.remaining(cx.now))),
                (X_RATELIMIT_RESET, HeaderValue::from(seconds)),
            ];
            for (name, value) in headers {
                cx.head.headers.append(name, value);
            }
        }
    }
}

const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

fn ceil_seconds(bucket: &TokenBucket, now: std::time::Instant) -> u64 {
    let wait = bucket.until_next(now);
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

impl Limit {
    fn compile(config: &Config, at: &FieldPath) -> Result<Self, (FieldPath, Problem)> {
        let changes = |mutations: &HeaderMutations, field: &str| {
            let at = at.field(field);
            HeaderChanges::compile(mutations, &at, &at)
        };
        if config.stage > super::MAX_STAGE {
            let why = format!("{} is above {}", config.stage, super::MAX_STAGE);
            return Err((at.field("stage"), Problem::Value(why)));
        }
        Ok(Self {
            limiter: Limiter::compile(config, at)?,
            per_connection: config.per_connection.then(|| (Arc::default(), Box::new(config.clone()))),
            enabled: config.filter_enabled,
            enforced: config.filter_enforced,
            status: if config.status.as_u16() < 400 { StatusCode::TOO_MANY_REQUESTS } else { config.status },
            request_headers: changes(
                &config.request_headers_when_not_enforced,
                "request_headers_to_add_when_not_enforced",
            )?,
            response_headers: changes(&config.response_headers, "response_headers_to_add")?,
            stage: config.stage,
            rate_limits: RateLimits::compile(&config.rate_limits, &at.field("rate_limits"))?,
            virtual_host_limits: config.virtual_host_limits,
            x_ratelimit_headers: config.x_ratelimit_headers,
            retry_after: config.retry_after,
            resource_exhausted: config.resource_exhausted,
            counts: Counts::default(),
        })
    }

    fn on_request(&self, cx: &mut RequestCx<'_>) -> FilterStep {
        if !self.enabled.takes(cx.random.bits()) {
            return FilterStep::Continue;
        }
        self.counts.add(cx.lane, Count::Enabled);
        let drawn = if self.limiter.has_descriptors() { self.describe_and_draw(cx) } else { self.draw(&[], cx) };
        let refused = self.judge(&drawn, cx);
        if drawn.x_ratelimit_headers.unwrap_or(self.x_ratelimit_headers)
            && let Some(bucket) = &drawn.bucket
        {
            cx.notes.put(Told(Arc::clone(bucket.get())));
        }
        refused.map_or(FilterStep::Continue, FilterStep::Reply)
    }

    fn judge(&self, drawn: &Drawn<'_>, cx: &mut RequestCx<'_>) -> Option<Box<LocalReply>> {
        if drawn.allowed {
            self.counts.add(cx.lane, Count::Ok);
            return None;
        }
        self.counts.add(cx.lane, Count::RateLimited);
        if drawn.shadow {
            self.counts.add(cx.lane, Count::ShadowMode);
            return None;
        }
        if !self.enforced.takes(cx.random.bits()) {
            let added = computed(&self.request_headers, &cx.head.headers, cx);
            Change::put(added, &mut cx.head.headers);
            return None;
        }
        self.counts.add(cx.lane, Count::Enforced);
        let mut reply = LocalReply::local_rate_limited(self.status);
        if self.resource_exhausted {
            reply = reply.with_grpc_status(RESOURCE_EXHAUSTED);
        }
        let added = computed(&self.response_headers, &reply.headers, cx);
        Change::put(added, &mut reply.headers);
        if self.retry_after
            && self.status == StatusCode::TOO_MANY_REQUESTS
            && let Some(bucket) = &drawn.bucket
        {
            let seconds = HeaderValue::from(ceil_seconds(bucket.get(), cx.now).max(1));
            reply.headers.entry(RETRY_AFTER).or_insert(seconds);
        }
        Some(Box::new(reply))
    }

    #[inline(never)]
    fn describe_and_draw(&self, cx: &RequestCx<'_>) -> Drawn<'_> {
        let facts = cx.facts();
        let none = Metadata::new();
        let action = ActionCx {
            facts: &facts,
            cluster: cx.route.and_then(|route| route.cluster(&facts)),
            route_metadata: cx.route.map_or(&none, |route| route.metadata()),
            service_cluster: cx.service_cluster,
        };
        let mut descriptors = Descriptors::new();
        if !self.rate_limits.is_empty() {
            self.rate_limits.describe(None, &action, &mut descriptors);
        } else if let Some(limits) = cx.route.and_then(|route| route.route().rate_limits()) {
            let stage = Some(self.stage);
            limits.route.describe(stage, &action, &mut descriptors);
            let include = match self.virtual_host_limits {
                _ if limits.include_virtual_host => true,
                VirtualHostLimits::Include => true,
                VirtualHostLimits::Ignore => false,
                VirtualHostLimits::Override => limits.route.is_empty(),
            };
            if include {
                limits.virtual_host.describe(stage, &action, &mut descriptors);
            }
        }
        self.draw(&descriptors, cx)
    }

    fn draw(&self, descriptors: &[Descriptor<'_>], cx: &RequestCx<'_>) -> Drawn<'_> {
        if let (Some((key, config)), Some(slots)) = (&self.per_connection, &cx.connection.slots) {
            // It compiled when the filter was made.
            let made = || Arc::new(Limiter::compile(config, &FieldPath::root()).ok());
            if let Some(limiter) = &*slots.of(key, made) {
                return limiter.draw(descriptors, cx.now).into_owned();
            }
        }
        self.limiter.draw(descriptors, cx.now)
    }
}

/// New headers; what format strings print is the request's.
fn computed<'c>(changes: &'c HeaderChanges, headers: &HeaderMap, cx: &RequestCx<'_>) -> SmallVec<[Change<'c>; 4]> {
    if changes.is_empty() {
        return SmallVec::new();
    }
    let facts = cx.facts();
    let format = FormatContext {
        request: Some(facts),
        route_name: cx.route.map_or("", |route| route.name()),
        ..FormatContext::for_request(cx.connection, cx.dynamic_metadata.all())
    };
    changes.evaluate(headers, &format)
}

#[cfg(test)]
mod tests;

//! `envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit`.

use http::StatusCode;

use crate::resource::header_mutation::HeaderMutations;
use crate::resource::rate_limit::{RateLimit, TokenBucket};
use crate::resource::route::FractionalPercent;

/// The filter's configuration, and what a route says in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalRateLimit {
    /// Prefix of its statistics.
    pub stat_prefix: String,
    /// Status of a refusal, default 429; below 400 it is 429.
    pub status: StatusCode,
    /// The default bucket. A route must have one; without one in the filter only descriptors are limited.
    pub token_bucket: Option<TokenBucket>,
    /// The share of requests that draw tokens; unset is none.
    pub filter_enabled: FractionalPercent,
    /// The share of those without a token that are refused; unset is none.
    pub filter_enforced: FractionalPercent,
    /// Headers of requests that got no token and go on.
    pub request_headers_when_not_enforced: HeaderMutations,
    /// Headers of refusals.
    pub response_headers: HeaderMutations,
    /// Buckets of their own.
    pub descriptors: Vec<LocalDescriptor>,
    /// Which rate limits of routes and virtual hosts count, 0 to 10.
    pub stage: u32,
    /// `enable_x_ratelimit_headers`: responses tell the bucket's state.
    pub x_ratelimit_headers: bool,
    /// `enable_retry_after_header`: refusals with 429 say when to come again.
    pub retry_after: bool,
    /// Whether rate limits of the virtual host count beside those of the route.
    pub virtual_host_limits: VirtualHostLimits,
    /// `local_rate_limit_per_downstream_connection`: each connection has buckets of its own. Requests made in this process have
    /// none, and share theirs.
    pub per_connection: bool,
    /// `always_consume_default_token_bucket`, default `true`: a request that a descriptor took draws on the default
    /// bucket as well.
    pub always_consume_default: bool,
    /// A gRPC caller is told `RESOURCE_EXHAUSTED` instead of `UNAVAILABLE`.
    pub resource_exhausted: bool,
    /// Rate limits of the filter's own: those of routes and virtual hosts do not count then.
    pub rate_limits: Vec<RateLimit>,
    /// How many buckets a descriptor with open values keeps, default 20.
    pub max_dynamic_descriptors: u32,
}

impl LocalRateLimit {
    /// A bucket for every request, in force.
    #[must_use]
    pub fn new(token_bucket: TokenBucket) -> Self {
        let all = FractionalPercent::percent(100);
        Self { token_bucket: Some(token_bucket), filter_enabled: all, filter_enforced: all, ..Self::default() }
    }
}

impl Default for LocalRateLimit {
    fn default() -> Self {
        Self {
            stat_prefix: String::new(),
            status: StatusCode::TOO_MANY_REQUESTS,
            token_bucket: None,
            filter_enabled: FractionalPercent::percent(0),
            filter_enforced: FractionalPercent::percent(0),
            request_headers_when_not_enforced: HeaderMutations::default(),
            response_headers: HeaderMutations::default(),
            descriptors: Vec::new(),
            stage: 0,
            x_ratelimit_headers: false,
            retry_after: false,
            virtual_host_limits: VirtualHostLimits::Override,
            per_connection: false,
            always_consume_default: true,
            resource_exhausted: false,
            rate_limits: Vec::new(),
            max_dynamic_descriptors: 20,
        }
    }
}

/// `LocalRateLimitDescriptor`: a bucket for the requests that are described by exactly these entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalDescriptor {
    /// Keys and values in order; an empty value is open: each value that comes has a bucket.
    pub entries: Vec<(String, String)>,
    /// The bucket.
    pub token_bucket: TokenBucket,
    /// Requests without a token are counted and go on.
    pub shadow_mode: bool,
}

/// `VhRateLimitsOptions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VirtualHostLimits {
    /// Those of the virtual host count when the route has none.
    Override,
    /// They count as well.
    Include,
    /// They never count.
    Ignore,
}

//! Local rate limits: buckets of tokens, what describes a request, and the filter that joins the two.
//!
//! Follows Envoy's `envoy.filters.http.local_ratelimit` and `envoy.config.route.v3.RateLimit`. Buckets belong to this
//! process: a workload of N replicas admits N times the limit. They live as long as the configuration that made them.

mod action;
mod bucket;
mod counts;
mod descriptor;
mod filter;
mod limiter;
mod wildcard;

pub use self::action::{ActionCx, MAX_STAGE, RateLimits, RouteRateLimits};
pub use self::bucket::TokenBucket;
pub use self::counts::{Count, Counts};
pub use self::descriptor::{Descriptor, Descriptors, Entry, Text};
pub use self::filter::{LocalRateLimit, RouteLimit};
pub use self::limiter::{Drawn, Held, Limiter};

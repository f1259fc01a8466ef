//! One rate-limit check: a request is described by a header, and draws on that descriptor's bucket and the default one.
//!
//! `rate-limit time N` and `rate-limit allocations` print figures per check as JSON.

use std::time::{Duration, Instant};

use http::Request;
use mesh_core::engine::facts::{ConnectionFacts, RequestFacts};
use mesh_core::engine::rate_limit::{ActionCx, Descriptors, Limiter, RateLimits};
use mesh_core::resource::FieldPath;
use mesh_core::resource::filter::{LocalDescriptor, LocalRateLimit};
use mesh_core::resource::metadata::Metadata;
use mesh_core::resource::rate_limit::{RateLimit, RateLimitAction, TokenBucket};

/// Descriptors beside the one that is drawn on.
const DESCRIPTORS: u32 = 100;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let n: u32 = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let check = Check::new();
    match arguments.first().map(String::as_str) {
        Some("time") => {
            check.run(n / 10);
            let start = Instant::now();
            check.run(n);
            println!("{}", serde_json::json!({ "nanoseconds": start.elapsed().as_secs_f64() * 1e9 / f64::from(n) }));
        }
        Some("allocations") => {
            check.run(100);
            let counted = allocation_counter::measure(|| check.run(1_000));
            println!("{}", serde_json::json!({ "allocations": counted.count_total as f64 / 1_000.0 }));
        }
        _ => eprintln!("rate-limit time N | allocations"),
    }
}

struct Check {
    limits: RateLimits,
    limiter: Limiter,
    request: Request<()>,
}

impl Check {
    fn new() -> Self {
        let action =
            RateLimitAction::RequestHeader { name: "x-user".into(), key: "user".into(), skip_if_absent: false };
        let bucket =
            TokenBucket { max_tokens: u32::MAX, tokens_per_fill: u32::MAX, fill_interval: Duration::from_secs(1) };
        let descriptor = |number: u32| LocalDescriptor {
            entries: vec![("user".to_owned(), format!("user-{number}"))],
            token_bucket: bucket,
            shadow_mode: false,
        };
        let config =
            LocalRateLimit { descriptors: (0..DESCRIPTORS).map(descriptor).collect(), ..LocalRateLimit::new(bucket) };
        let at = FieldPath::root();
        let (Ok(limits), Ok(limiter)) =
            (RateLimits::compile(&[RateLimit::by(vec![action])], &at), Limiter::compile(&config, &at))
        else {
            panic!("the configuration is valid")
        };
        let request = Request::get("http://a.test/").header("x-user", "user-50").body(()).unwrap_or_default();
        Self { limits, limiter, request }
    }

    fn run(&self, n: u32) {
        let (connection, nothing) = (ConnectionFacts::default(), Metadata::new());
        let now = Instant::now();
        for number in 0..n {
            let facts = RequestFacts::of(&self.request, &connection, &nothing);
            let cx = ActionCx { facts: &facts, cluster: None, route_metadata: &nothing, service_cluster: "" };
            let mut descriptors = Descriptors::new();
            self.limits.describe(Some(0), &cx, &mut descriptors);
            let drawn = self.limiter.draw(&descriptors, now + Duration::from_nanos(number.into()));
            assert!(std::hint::black_box(drawn).allowed);
        }
    }
}

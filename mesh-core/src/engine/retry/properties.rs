//! What holds for every policy and every outcome, hostile numbers included.

use proptest::prelude::*;

use super::*;
use crate::resource::{FieldPath, ResourceKind, ResourceName};

fn durations() -> impl Strategy<Value = Option<Duration>> {
    let some = prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::from_nanos(1)),
        Just(Duration::from_millis(25)),
        Just(Duration::from_secs(315_576_000_000)),
        Just(Duration::MAX),
    ];
    proptest::option::of(some)
}

fn counts() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(1), 2..20u32, Just(u32::MAX)]
}

fn policies() -> impl Strategy<Value = RetryPolicy> {
    let limits = proptest::option::of(durations().prop_map(|most| RateLimitedBackOff {
        reset_headers: vec![
            crate::resource::retry::ResetHeader { name: http::header::RETRY_AFTER, format: ResetFormat::Seconds },
            crate::resource::retry::ResetHeader { name: http::header::AGE, format: ResetFormat::UnixTimestamp },
        ],
        max_interval: most.unwrap_or(Duration::MAX),
    }));
    (any::<bool>(), proptest::option::of(counts()), durations(), durations(), durations(), limits, counts()).prop_map(
        |(all, num_retries, per_try_timeout, base_interval, max_interval, rate_limited, attempts)| RetryPolicy {
            retry_on: if all {
                RetryOn::FIVE_XX.union(RetryOn::GRPC).union(RetryOn::ENVOY_RATELIMITED)
            } else {
                RetryOn::NONE
            },
            num_retries,
            per_try_timeout,
            base_interval,
            max_interval,
            rate_limited,
            avoid_previous_hosts: true,
            host_selection_retry_max_attempts: attempts,
            ..RetryPolicy::default()
        },
    )
}

/// A status and what the response says of coming back.
fn answers() -> impl Strategy<Value = (u16, Option<&'static str>)> {
    let after = prop_oneof![Just("0"), Just("1"), Just("-1"), Just("18446744073709551615"), Just("nan"), Just("1e9")];
    (prop_oneof![Just(200), Just(500), Just(503), Just(599)], proptest::option::of(after))
}

proptest! {
    #[test]
    fn no_request_is_retried_more_often_than_its_policy_says_and_every_wait_has_an_end(
        policy in policies(),
        answers in proptest::collection::vec((answers(), any::<bool>()), 1..40),
        seed: u64,
        now in prop_oneof![Just(Duration::ZERO), Just(Duration::from_secs(1_700_000_000)), Just(Duration::MAX)],
    ) {
        let compiled = Retry::compile(&policy, |field, problem| {
            Invalid::new(ResourceName::new(ResourceKind::RouteConfiguration, "r"), FieldPath::from(field), problem)
        });
        let retry = compiled.unwrap();
        let mut random = Random::from_seed(seed);
        let Some(mut state) = retry.begin(&HeaderMap::new()) else {
            prop_assert!(policy.retry_on.is_empty());
            return Ok(());
        };
        let base = policy.base_interval.unwrap_or(BASE_INTERVAL).max(Duration::from_millis(1));
        let most = policy.max_interval.unwrap_or(base.saturating_mul(10)).max(base);
        let mut retries = 0u32;
        for ((status, after), is_slow) in answers {
            let mut headers = HeaderMap::new();
            if let Some(after) = after {
                headers.insert(http::header::RETRY_AFTER, after.parse().unwrap());
                headers.insert(http::header::AGE, after.parse().unwrap());
            }
            let outcome = Outcome::Response { status: StatusCode::from_u16(status).unwrap(), headers: &headers };
            let verdict = if is_slow {
                retry.on_slow_try(&mut state, &mut random)
            } else {
                retry.on_attempt(&mut state, &outcome, &mut random, now)
            };
            match verdict {
                Verdict::RetryAfter(wait) => {
                    retries += 1;
                    let asked = policy.rate_limited.as_ref().filter(|_| after.is_some() && !is_slow);
                    let longest = asked.map_or(most, |limited| {
                        most.max(limited.max_interval.saturating_add(limited.max_interval / 2))
                    });
                    prop_assert!(wait <= longest, "{wait:?} of {longest:?}");
                }
                Verdict::Exhausted => prop_assert_eq!(retries, policy.num_retries.unwrap_or(1)),
                Verdict::Finish => prop_assert!(!is_slow && status == 200),
            }
            prop_assert!(retries <= policy.num_retries.unwrap_or(1));
        }
    }

    #[test]
    fn whatever_a_request_asks_for_is_read_and_combined(
        values in proptest::collection::vec("[ -~]{0,12}|4294967295|0|18446744073709551616|418,,x, 999", 5),
        policy in policies(),
    ) {
        let names = [
            "x-envoy-retry-on",
            "x-envoy-retry-grpc-on",
            "x-envoy-max-retries",
            "x-envoy-retriable-status-codes",
            "x-envoy-retriable-header-names",
        ];
        let headers: HeaderMap = names.iter().zip(&values).map(|(name, value)| {
            (http::HeaderName::from_static(name), value.parse().unwrap())
        }).collect();
        let route = Retry::compile(&policy, |field, problem| {
            Invalid::new(ResourceName::new(ResourceKind::RouteConfiguration, "r"), FieldPath::from(field), problem)
        }).unwrap();
        if let Some(asked) = AskedRetry::read(&headers) {
            let merged = Retry::asked(Some(&route), &asked);
            prop_assert_eq!(merged.is_none(), policy.retry_on.union(asked.retry_on).is_empty());
            let most = asked.max_retries.unwrap_or(policy.num_retries.unwrap_or(1));
            prop_assert!(merged.is_none_or(|merged| merged.num_retries == most));
        }
    }
}

use http::HeaderValue;

use super::*;
use crate::resource::retry::ResetHeader;
use crate::resource::{FieldPath, ResourceKind, ResourceName};

fn retry(retry_on: &str) -> Retry {
    policy(RetryPolicy { retry_on: RetryOn::parse(retry_on).0, num_retries: Some(3), ..RetryPolicy::default() })
}

fn policy(policy: RetryPolicy) -> Retry {
    Retry::compile(&policy, |field, problem| {
        Invalid::new(ResourceName::new(ResourceKind::RouteConfiguration, "r"), FieldPath::from(field), problem)
    })
    .unwrap()
}

fn response(status: u16, headers: &[(&'static str, &'static str)]) -> (StatusCode, HeaderMap) {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, HeaderValue::from_static(value));
    }
    (StatusCode::from_u16(status).unwrap(), map)
}

fn covers(retry_on: &str, status: u16, headers: &[(&'static str, &'static str)]) -> bool {
    let (status, headers) = response(status, headers);
    retry(retry_on).covers(&Outcome::Response { status, headers: &headers })
}

const TERMINATED: Reset = Reset::ConnectionTermination { request_sent: true };
const UNSENT: Reset = Reset::ConnectionTermination { request_sent: false };

#[test]
fn each_status_token_covers_its_statuses_only() {
    for (token, yes, no) in [
        ("5xx", vec![500, 503, 599], vec![200, 404, 409]),
        ("gateway-error", vec![502, 503, 504], vec![500, 501, 505]),
        ("retriable-4xx", vec![409], vec![400, 429]),
        ("reset", vec![], vec![500, 503]),
        ("connect-failure", vec![], vec![503]),
    ] {
        assert!(yes.iter().all(|status| covers(token, *status, &[])), "{token}");
        assert!(!no.iter().any(|status| covers(token, *status, &[])), "{token}");
    }
}

#[test]
fn each_reset_token_covers_its_resets_only() {
    let all = [
        Reset::ConnectFailure,
        Reset::ConnectTimeout,
        TERMINATED,
        UNSENT,
        Reset::RemoteReset,
        Reset::RemoteRefused,
        Reset::ProtocolError,
    ];
    for (token, expected) in [
        ("5xx", &all[..]),
        ("gateway-error", &all[..]),
        ("reset", &all[..]),
        ("reset-before-request", &[Reset::ConnectFailure, Reset::ConnectTimeout, UNSENT]),
        ("connect-failure", &[Reset::ConnectFailure, Reset::ConnectTimeout]),
        ("refused-stream", &[Reset::RemoteRefused]),
        ("retriable-4xx", &[]),
        ("unavailable", &[]),
    ] {
        for reset in all {
            assert_eq!(retry(token).covers(&Outcome::Reset(reset)), expected.contains(&reset), "{token} {reset:?}");
        }
        assert!(!retry(token).covers(&Outcome::Reset(Reset::Overflow)), "{token} never retries overflow");
    }
}

#[test]
fn a_try_timeout_is_a_reset_but_no_connect_failure() {
    for (token, expected) in
        [("5xx", true), ("gateway-error", true), ("reset", true), ("connect-failure", false), ("refused-stream", false)]
    {
        assert_eq!(retry(token).covers(&Outcome::TryTimeout), expected, "{token}");
    }
}

#[test]
fn grpc_tokens_read_the_status_in_the_headers_only() {
    for (token, code) in [
        ("cancelled", "1"),
        ("deadline-exceeded", "4"),
        ("resource-exhausted", "8"),
        ("internal", "13"),
        ("unavailable", "14"),
    ] {
        assert!(covers(token, 200, &[("grpc-status", code)]), "{token}");
        assert!(!covers(token, 200, &[("grpc-status", "2")]), "{token}");
        assert!(!covers(token, 503, &[]), "{token}");
    }
    assert!(!covers("5xx", 200, &[("grpc-status", "14")]), "5xx ignores grpc-status");
}

#[test]
fn a_rate_limited_response_is_retried_only_by_its_own_token() {
    let limited = [("x-envoy-ratelimited", "true")];
    assert!(!covers("5xx", 503, &limited));
    assert!(covers("5xx,envoy-ratelimited", 503, &limited));
    assert!(covers("envoy-ratelimited", 429, &limited));
}

#[test]
fn status_lists_need_their_token() {
    let codes = vec![StatusCode::IM_A_TEAPOT];
    let (status, headers) = response(418, &[]);
    let outcome = Outcome::Response { status, headers: &headers };
    let with = policy(RetryPolicy {
        retry_on: RetryOn::RETRIABLE_STATUS_CODES,
        retriable_status_codes: codes.clone(),
        ..RetryPolicy::default()
    });
    let without =
        policy(RetryPolicy { retry_on: RetryOn::FIVE_XX, retriable_status_codes: codes, ..RetryPolicy::default() });
    assert!(with.covers(&outcome));
    assert!(!without.covers(&outcome));
}

#[test]
fn back_off_is_full_jitter_over_a_doubling_capped_interval() {
    let retry = policy(RetryPolicy { retry_on: RetryOn::RESET, num_retries: Some(8), ..RetryPolicy::default() });
    let mut highest = [Duration::ZERO; 8];
    let mut random = Random::from_seed(3);
    for _ in 0..2_000 {
        let mut state = retry.begin(&HeaderMap::new()).unwrap();
        for most in &mut highest {
            let Verdict::RetryAfter(wait) =
                retry.on_attempt(&mut state, &Outcome::Reset(TERMINATED), &mut random, Duration::ZERO)
            else {
                panic!("a retry was left")
            };
            *most = wait.max(*most);
        }
        assert_eq!(
            retry.on_attempt(&mut state, &Outcome::Reset(TERMINATED), &mut random, Duration::ZERO),
            Verdict::Exhausted
        );
    }
    for (most, limit) in highest.iter().zip([25, 50, 100, 200, 250, 250, 250, 250]) {
        let limit = Duration::from_millis(limit);
        assert!(*most < limit && *most > limit.mul_f64(0.98), "{highest:?}");
    }
}

#[test]
fn an_uncovered_outcome_finishes_without_spending_a_retry() {
    let retry = retry("connect-failure");
    let mut state = retry.begin(&HeaderMap::new()).unwrap();
    let before = state;
    assert_eq!(
        retry.on_attempt(&mut state, &Outcome::TryTimeout, &mut Random::from_seed(1), Duration::ZERO),
        Verdict::Finish
    );
    assert_eq!(state, before);
    assert!(!state.has_retried());
}

#[test]
fn a_policy_without_count_retries_once_and_one_without_tokens_never() {
    let once = policy(RetryPolicy { retry_on: RetryOn::RESET, ..RetryPolicy::default() });
    let mut state = once.begin(&HeaderMap::new()).unwrap();
    let mut random = Random::from_seed(1);
    assert!(matches!(
        once.on_attempt(&mut state, &Outcome::TryTimeout, &mut random, Duration::ZERO),
        Verdict::RetryAfter(_)
    ));
    assert!(state.is_spent());
    assert_eq!(once.on_attempt(&mut state, &Outcome::TryTimeout, &mut random, Duration::ZERO), Verdict::Exhausted);
    assert!(policy(RetryPolicy::default()).begin(&HeaderMap::new()).is_none());
    let zero = policy(RetryPolicy { retry_on: RetryOn::RESET, num_retries: Some(0), ..RetryPolicy::default() });
    let mut state = zero.begin(&HeaderMap::new()).unwrap();
    assert!(state.is_spent(), "nothing is left from the start");
    assert_eq!(zero.on_attempt(&mut state, &Outcome::TryTimeout, &mut random, Duration::ZERO), Verdict::Exhausted);
}

#[test]
fn a_rate_limited_response_says_how_long_to_wait_and_half_as_much_again_at_most() {
    let reset = |name: &'static str, format| ResetHeader { name: http::HeaderName::from_static(name), format };
    let limited = policy(RetryPolicy {
        retry_on: RetryOn::FIVE_XX,
        num_retries: Some(1),
        rate_limited: Some(RateLimitedBackOff {
            reset_headers: vec![
                reset("retry-after", ResetFormat::Seconds),
                reset("x-reset", ResetFormat::UnixTimestamp),
            ],
            max_interval: Duration::from_secs(300),
        }),
        ..RetryPolicy::default()
    });
    assert!(limited.reads_the_time());
    let now = Duration::from_secs(1_000);
    for (headers, seconds) in [
        (&[("retry-after", "2")][..], Some(2)),
        (&[("x-reset", "1004")], Some(4)),
        (&[("retry-after", "301"), ("x-reset", "1004")], Some(4)),
        (&[("retry-after", "soon"), ("x-reset", "1004")], Some(4)),
        // In the past, too long, or nothing to wait for: the usual back-off.
        (&[("x-reset", "999")], None),
        (&[("retry-after", "301")], None),
        (&[("retry-after", "0")], None),
        (&[], None),
    ] {
        let (status, headers) = response(503, headers);
        let outcome = Outcome::Response { status, headers: &headers };
        for seed in 0..200 {
            let mut state = limited.begin(&HeaderMap::new()).unwrap();
            let verdict = limited.on_attempt(&mut state, &outcome, &mut Random::from_seed(seed), now);
            let Verdict::RetryAfter(wait) = verdict else { panic!("a retry was left") };
            match seconds.map(Duration::from_secs) {
                Some(least) => assert!(wait >= least && wait <= least.mul_f64(1.5), "{headers:?}: {wait:?}"),
                None => assert!(wait < BASE_INTERVAL, "{headers:?}: {wait:?}"),
            }
        }
    }
}

fn asked(pairs: &[(&'static str, &'static str)]) -> Option<AskedRetry> {
    AskedRetry::read(&response(200, pairs).1)
}

#[test]
fn what_a_request_asks_for_comes_on_top_of_the_policy() {
    let status = |code: u16, headers: &[(&'static str, &'static str)]| response(code, headers);
    let covered = |policy: Option<&Retry>, pairs: &[(&'static str, &'static str)]| {
        let merged = Retry::asked(policy, &asked(pairs).unwrap());
        let answers = [status(503, &[]), status(418, &[]), status(200, &[("x-again", "1")]), status(409, &[])];
        answers.map(|(status, headers)| {
            merged.as_ref().is_some_and(|retry| retry.covers(&Outcome::Response { status, headers: &headers }))
        })
    };
    let route = policy(RetryPolicy {
        retry_on: RetryOn::RETRIABLE_4XX.union(RetryOn::RETRIABLE_STATUS_CODES).union(RetryOn::RETRIABLE_HEADERS),
        ..RetryPolicy::default()
    });
    for (pairs, expected) in [
        (&[("x-envoy-retry-on", "5xx, nonsense")][..], [true, false, false, true]),
        (&[("x-envoy-retriable-status-codes", "418, 70000, x")], [false, true, false, true]),
        (&[("x-envoy-retriable-header-names", "x-again, not a name")], [false, false, true, true]),
        (&[("x-envoy-max-retries", "7")], [false, false, false, true]),
    ] {
        assert_eq!(covered(Some(&route), pairs), expected, "{pairs:?}");
    }
    assert_eq!(covered(None, &[("x-envoy-retry-on", "5xx")]), [true, false, false, false]);
    let codes = [("x-envoy-retriable-status-codes", "418"), ("x-envoy-max-retries", "3")];
    assert_eq!(covered(None, &codes), [false; 4], "without a token nothing is retried");
}

#[test]
fn the_number_of_retries_that_is_asked_for_replaces_the_policys() {
    let left = |policy: Option<&Retry>, pairs: &[(&'static str, &'static str)]| {
        let merged = Retry::asked(policy, &asked(pairs).unwrap()).unwrap();
        merged.begin(&HeaderMap::new()).unwrap().left
    };
    let route = retry("5xx");
    let most = |count| [("x-envoy-max-retries", count)];
    for (count, expected) in [("1", 1), ("0", 0), ("4294967295", u32::MAX), ("18446744073709551615", u32::MAX)] {
        assert_eq!(left(Some(&route), &most(count)), expected, "{count}");
    }
    for unreadable in ["-1", "many", "99999999999999999999"] {
        assert!(asked(&most(unreadable)).is_none(), "{unreadable}");
    }
    assert_eq!(left(None, &[("x-envoy-retry-on", "reset")]), 1);
    assert_eq!(left(Some(&route), &[("x-envoy-retry-on", "reset")]), 3);
}

#[test]
fn each_header_takes_the_tokens_of_its_kind() {
    let tokens = |pairs| asked(pairs).map(|asked| asked.retry_on.tokens().collect::<Vec<_>>());
    let both = [("x-envoy-retry-on", "unavailable,5xx"), ("x-envoy-retry-grpc-on", "reset,cancelled")];
    assert_eq!(tokens(&both), Some(vec!["5xx", "cancelled"]));
    assert_eq!(tokens(&[("x-envoy-retry-on", "unavailable")]), None);
}

#[test]
fn a_request_that_the_policy_does_not_retry_cannot_ask_for_it() {
    let header = crate::resource::matcher::HeaderMatcher::new(
        "x-retry",
        crate::resource::matcher::HeaderSpecifier::Present(true),
    );
    let route = policy(RetryPolicy { retriable_request_headers: vec![header], ..RetryPolicy::default() });
    let merged = Retry::asked(Some(&route), &asked(&[("x-envoy-retry-on", "5xx")]).unwrap()).unwrap();
    assert!(merged.begin(&HeaderMap::new()).is_none());
    assert!(merged.begin(&response(200, &[("x-retry", "")]).1).is_some());
}

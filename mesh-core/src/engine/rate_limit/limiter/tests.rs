//! Which buckets a request draws on, and in which order.

#![allow(clippy::disallowed_methods, reason = "any instant will do to count from")]

use super::*;
use crate::engine::rate_limit::Entry;

const MINUTE: Duration = Duration::from_secs(60);

fn tokens(max_tokens: u32) -> Config {
    Config { max_tokens, tokens_per_fill: 1, fill_interval: MINUTE }
}

fn of(entries: &[(&str, &str)], token_bucket: Config) -> LocalDescriptor {
    let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    LocalDescriptor { entries, token_bucket, shadow_mode: false }
}

fn config(default: Option<Config>, descriptors: Vec<LocalDescriptor>) -> LocalRateLimit {
    LocalRateLimit { token_bucket: default, descriptors, ..LocalRateLimit::default() }
}

fn limiter(default: Option<Config>, descriptors: Vec<LocalDescriptor>) -> Limiter {
    Limiter::compile(&config(default, descriptors), &FieldPath::root()).unwrap()
}

fn says<'a>(entries: &[(&'a str, &'a str)]) -> Descriptor<'a> {
    let entries = entries.iter().map(|(key, value)| Entry::new(key, value.as_bytes())).collect();
    Descriptor { entries, hits: Hits::Take(1), x_ratelimit_headers: None }
}

#[test]
fn a_descriptor_takes_from_its_bucket_and_from_the_default_one() {
    let (limiter, now) = (limiter(Some(tokens(100)), vec![of(&[("u", "bob")], tokens(1))]), Instant::now());
    let left = |drawn: &Drawn<'_>| drawn.bucket.as_ref().map(|one| (one.get().max_tokens(), one.get().remaining(now)));
    let first = limiter.draw(&[says(&[("u", "bob")])], now);
    assert!(first.allowed && left(&first) == Some((1, 0)));
    let refused = limiter.draw(&[says(&[("u", "bob")])], now);
    assert!(!refused.allowed && left(&refused) == Some((1, 0)));
    let other = limiter.draw(&[says(&[("u", "al")])], now);
    assert!(other.allowed && left(&other) == Some((100, 98)), "bob took one, and none when he was refused");
}

#[test]
fn the_default_bucket_may_be_left_to_requests_without_a_descriptor() {
    let mut config = config(Some(tokens(1)), vec![of(&[("u", "bob")], tokens(5))]);
    config.always_consume_default = false;
    let (limiter, now) = (Limiter::compile(&config, &FieldPath::root()).unwrap(), Instant::now());
    assert!((0..3).all(|_| limiter.draw(&[says(&[("u", "bob")])], now).allowed));
    assert!(limiter.draw(&[], now).allowed && !limiter.draw(&[], now).allowed);
    assert!(limiter.draw(&[says(&[("u", "bob")])], now).allowed);
}

#[test]
fn without_a_default_bucket_only_descriptors_are_limited() {
    let (limiter, now) = (limiter(None, vec![of(&[("u", "bob")], tokens(1))]), Instant::now());
    let nobody = limiter.draw(&[], now);
    assert!(nobody.allowed && nobody.bucket.is_none());
    assert!(limiter.draw(&[says(&[("u", "bob")])], now).allowed);
    assert!(!limiter.draw(&[says(&[("u", "bob")])], now).allowed);
}

#[test]
fn the_slowest_bucket_is_asked_first_and_a_refusal_draws_on_no_other() {
    let fast = Config { max_tokens: 10, tokens_per_fill: 10, fill_interval: MINUTE };
    let list = vec![of(&[("fast", "1")], fast), of(&[("slow", "1")], tokens(1))];
    let (limiter, now) = (limiter(None, list), Instant::now());
    let both = [says(&[("fast", "1")]), says(&[("slow", "1")])];
    assert!(limiter.draw(&both, now).allowed && !limiter.draw(&both, now).allowed);
    let fast = limiter.draw(&[says(&[("fast", "1")])], now);
    assert_eq!(fast.bucket.map(|one| one.get().remaining(now)), Some(8), "the refused request took none of it");
}

#[test]
fn entries_must_be_equal_in_order_and_number() {
    let (limiter, now) = (limiter(None, vec![of(&[("a", "1"), ("b", "2")], tokens(0))]), Instant::now());
    let passes = |entries: &[(&str, &str)]| limiter.draw(&[says(entries)], now).allowed;
    assert!(!passes(&[("a", "1"), ("b", "2")]));
    for other in [
        &[("b", "2"), ("a", "1")][..],
        &[("a", "1")],
        &[("a", "1"), ("b", "2"), ("c", "3")],
        &[("a", "1"), ("b", "")],
        &[],
    ] {
        assert!(passes(other), "{other:?}");
    }
}

#[test]
fn exact_entries_go_before_open_ones_and_a_shadow_only_counts() {
    let mut shadow = of(&[("u", "bob")], tokens(0));
    shadow.shadow_mode = true;
    let (limiter, now) = (limiter(None, vec![of(&[("u", "")], tokens(1)), shadow]), Instant::now());
    let bob = limiter.draw(&[says(&[("u", "bob")])], now);
    assert!(!bob.allowed && bob.shadow);
    for user in ["ann", "eve"] {
        assert!(limiter.draw(&[says(&[("u", user)])], now).allowed);
        let refused = limiter.draw(&[says(&[("u", user)])], now);
        assert!(!refused.allowed && !refused.shadow);
    }
}

#[test]
fn a_request_costs_what_its_limit_says_or_gives_back() {
    let (limiter, now) = (limiter(None, vec![of(&[("u", "bob")], tokens(5))]), Instant::now());
    let draw = |hits| limiter.draw(&[Descriptor { hits, ..says(&[("u", "bob")]) }], now).allowed;
    assert!(
        draw(Hits::Take(4))
            && !draw(Hits::Take(2))
            && draw(Hits::Give(3))
            && draw(Hits::Take(4))
            && !draw(Hits::Take(1))
    );
    assert!(draw(Hits::Take(0)));
}

#[test]
fn thousands_of_descriptors_are_found_each() {
    let names: Vec<String> = (0..3_000).map(|number| number.to_string()).collect();
    let list = names.iter().map(|name| of(&[("n", name)], tokens(1))).collect();
    let (limiter, now) = (limiter(None, list), Instant::now());
    for expected in [true, false] {
        assert!(names.iter().all(|name| limiter.draw(&[says(&[("n", name)])], now).allowed == expected));
    }
}

#[test]
fn each_bad_setting_is_refused_with_its_path() {
    let quick = Config { fill_interval: Duration::from_millis(49), ..tokens(1) };
    let odd = Config { fill_interval: Duration::from_secs(90), ..tokens(1) };
    let idle = Config { tokens_per_fill: 0, ..tokens(1) };
    let one = || of(&[("k", "v")], tokens(1));
    let table = [
        (config(Some(quick), vec![]), "f.token_bucket.fill_interval: must be at least 50ms"),
        (config(Some(idle), vec![]), "f.token_bucket.tokens_per_fill: must be above 0"),
        (config(None, vec![of(&[], tokens(1))]), "f.descriptors[0].entries: is required"),
        (config(None, vec![of(&[("", "v")], tokens(1))]), "f.descriptors[0].entries[0].key: is required"),
        (
            config(None, vec![of(&[("k", "v")], quick)]),
            "f.descriptors[0].token_bucket.fill_interval: must be at least 50ms",
        ),
        (config(None, vec![one(), one()]), "f.descriptors[1].entries: descriptors[0] has the same entries"),
        (
            config(Some(tokens(1)), vec![of(&[("k", "v")], odd)]),
            "f.descriptors[0].token_bucket.fill_interval: is no multiple of the 60000ms of token_bucket",
        ),
    ];
    for (config, expected) in table {
        let (field, problem) = Limiter::compile(&config, &"f".into()).unwrap_err();
        assert_eq!(format!("{field}: {problem}"), expected);
    }
    let never = Config { max_tokens: 0, fill_interval: Duration::ZERO, tokens_per_fill: 1 };
    assert!(
        Limiter::compile(&config(Some(never), vec![]), &"f".into()).is_ok(),
        "what lets nothing pass need not fill"
    );
}

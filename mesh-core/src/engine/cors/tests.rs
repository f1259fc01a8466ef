use bytes::Bytes;
use http::{Request, Response};

use super::*;
use crate::exchange::trial::{Levels, Sent, Trial};
use crate::resource::filter::{FilterConfig, RouteConfig as Says};
use crate::resource::matcher::{StringMatcher, StringPattern};
use crate::resource::route::{DirectResponse, RouteAction};

fn policy() -> Config {
    Config {
        allow_origins: vec![StringMatcher::exact("http://o")],
        allow_methods: "GET,PUT".to_owned(),
        allow_headers: "x-h".to_owned(),
        expose_headers: "x-e".to_owned(),
        max_age: "60".to_owned(),
        allow_credentials: Some(true),
        ..Config::default()
    }
}

fn says(config: Config) -> Option<Says> {
    Some(Says::Cors(Box::new(config)))
}

fn trial(route: Config) -> Trial {
    Trial::new(FilterConfig::Cors, Levels { route: says(route), ..Levels::default() })
}

fn send(trial: &mut Trial, method: &str, headers: &[(&str, &str)]) -> Sent {
    let mut request = Request::builder().method(method).uri("http://a.test/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    trial.send(request.body(()).unwrap())
}

const FROM_O: (&str, &str) = ("origin", "http://o");
const FROM_BAD: (&str, &str) = ("origin", "http://bad");
const ASKS: (&str, &str) = ("access-control-request-method", "PUT");

/// The headers of a response that are about origins, without their common start.
fn said(response: &Response<()>) -> Vec<String> {
    let mut lines: Vec<_> = response
        .headers()
        .iter()
        .filter_map(|(name, value)| {
            let name = name.as_str().strip_prefix("access-control-")?;
            Some(format!("{name}: {}", value.to_str().unwrap()))
        })
        .collect();
    lines.sort();
    lines
}

fn preflight(config: Config, headers: &[(&str, &str)]) -> Option<Vec<String>> {
    let mut trial = trial(config);
    let sent = send(&mut trial, "OPTIONS", headers);
    if let Err(reply) = &sent.result {
        assert_eq!((reply.status, &*reply.details, reply.body.len()), (StatusCode::OK, "cors_response", 0));
    }
    sent.result.is_err().then(|| said(&sent.answer(trial.now)))
}

#[test]
fn a_preflight_is_answered_here() {
    let all = [
        "allow-credentials: true",
        "allow-headers: x-h",
        "allow-methods: GET,PUT",
        "allow-origin: http://o",
        "expose-headers: x-e",
        "max-age: 60",
    ];
    assert_eq!(preflight(policy(), &[FROM_O, ASKS]).unwrap(), all);
    // Neither the method that is asked for nor the private network matters.
    let other =
        [FROM_O, ("access-control-request-method", "DELETE"), ("access-control-request-private-network", "true")];
    assert_eq!(preflight(policy(), &other).unwrap(), all);
    for no_preflight in
        [&[FROM_O][..], &[ASKS], &[FROM_BAD, ASKS], &[("origin", "HTTP://O"), ASKS], &[("origin", ""), ASKS]]
    {
        assert_eq!(preflight(policy(), no_preflight), None, "{no_preflight:?}");
    }
}

#[test]
fn a_preflight_of_another_origin_may_be_answered_without_leave() {
    let strict = Config { forward_not_matching_preflights: Some(false), ..policy() };
    let without = ["allow-credentials: true", "allow-headers: x-h", "allow-methods: GET,PUT", "max-age: 60"];
    assert_eq!(preflight(strict, &[FROM_BAD, ASKS]).unwrap(), without);
}

#[test]
fn a_star_is_whatever_is_asked_for() {
    let any = Config {
        allow_origins: vec![StringMatcher::exact("*")],
        allow_methods: "*".to_owned(),
        allow_headers: "*".to_owned(),
        ..Config::default()
    };
    let headers = ("access-control-request-headers", "x-1,x-2");
    assert_eq!(
        preflight(any.clone(), &[FROM_BAD, ASKS, headers]).unwrap(),
        ["allow-headers: x-1,x-2", "allow-methods: PUT", "allow-origin: http://bad"]
    );
    assert_eq!(preflight(any, &[FROM_BAD, ASKS]).unwrap()[0], "allow-headers: ");
}

#[test]
fn the_private_network_is_opened_only_when_that_is_allowed_and_asked_for() {
    let asks = ("access-control-request-private-network", "true");
    let private = "allow-private-network: true".to_owned();
    for (allowed, asks, expected) in
        [(Some(true), asks, true), (Some(false), asks, false), (Some(true), ("x", "1"), false)]
    {
        let config = Config { allow_private_network_access: allowed, ..policy() };
        assert_eq!(preflight(config, &[FROM_O, ASKS, asks]).unwrap().contains(&private), expected);
    }
}

fn response_to(trial: &mut Trial, headers: &[(&str, &str)]) -> Vec<String> {
    let sent = send(trial, "GET", headers);
    let upstream =
        Response::builder().header("access-control-allow-origin", "*").header("access-control-expose-headers", "u");
    let (response, exit) = sent.respond(upstream.body(()).unwrap(), trial.now);
    // Nothing is kept for the body.
    assert!(exit.is_none_or(|exit| !exit.needs_body()));
    said(&response)
}

#[test]
fn a_response_says_who_may_read_it() {
    let mut trial = trial(policy());
    let upstreams = ["allow-origin: *", "expose-headers: u"];
    assert_eq!(
        response_to(&mut trial, &[FROM_O]),
        ["allow-credentials: true", "allow-origin: http://o", "expose-headers: x-e"]
    );
    assert_eq!(response_to(&mut trial, &[FROM_BAD]), upstreams);
    assert_eq!(response_to(&mut trial, &[]), upstreams);
}

#[test]
fn a_policy_that_is_off_does_nothing_and_a_shadow_counts_only() {
    let none = Some(FractionalPercent::percent(0));
    let all = Some(FractionalPercent::percent(100));
    for shadow in [None, none, all] {
        let config = Config { filter_enabled: none, shadow_enabled: shadow, ..policy() };
        assert_eq!(preflight(config.clone(), &[FROM_O, ASKS]), None);
        assert_eq!(response_to(&mut trial(config), &[FROM_O]), ["allow-origin: *", "expose-headers: u"]);
    }
    let share = |enabled, shadow| CorsPolicy { enabled, shadow, ..CorsPolicy::default() };
    let mut random = Random::from_seed(1);
    assert_eq!(draw(&share(none, all), &mut random), (false, true));
    assert_eq!(draw(&share(none, None), &mut random), (false, false));
    assert_eq!(draw(&share(None, all), &mut random), (true, true));
}

#[test]
fn what_a_level_leaves_out_a_less_specific_one_says() {
    let levels = Levels {
        route: says(Config { max_age: "1".to_owned(), allow_credentials: Some(false), ..Config::default() }),
        virtual_host: says(Config { allow_methods: "GET".to_owned(), ..Config::default() }),
        route_configuration: says(policy()),
        ..Levels::default()
    };
    let mut trial = Trial::new(FilterConfig::Cors, levels);
    let answer = send(&mut trial, "OPTIONS", &[FROM_O, ASKS]).answer(trial.now);
    assert_eq!(
        said(&answer),
        ["allow-headers: x-h", "allow-methods: GET", "allow-origin: http://o", "expose-headers: x-e", "max-age: 1"]
    );
}

#[test]
fn a_route_that_answers_itself_has_no_policy() {
    let direct = DirectResponse { status: StatusCode::NO_CONTENT, body: Bytes::new() };
    let levels =
        Levels { route: says(policy()), action: Some(RouteAction::DirectResponse(direct)), ..Levels::default() };
    let mut trial = Trial::new(FilterConfig::Cors, levels);
    let answer = send(&mut trial, "OPTIONS", &[FROM_O, ASKS]).answer(trial.now);
    assert_eq!((answer.status(), said(&answer)), (StatusCode::NO_CONTENT, vec![]));
}

#[test]
fn an_invalid_policy_is_refused_where_it_stands() {
    let odd = Some(FractionalPercent { numerator: 1, denominator: 3 });
    let regex = StringMatcher::new(StringPattern::SafeRegex("(".to_owned()));
    let table = [
        (
            Config { allow_origins: vec![StringMatcher::exact("a"), regex], ..policy() },
            "p.allow_origin_string_match[1]",
        ),
        (Config { allow_methods: "GET\n".to_owned(), ..policy() }, "p.allow_methods"),
        (Config { allow_headers: "\r".to_owned(), ..policy() }, "p.allow_headers"),
        (Config { expose_headers: "\0".to_owned(), ..policy() }, "p.expose_headers"),
        (Config { max_age: "\n".to_owned(), ..policy() }, "p.max_age"),
        (Config { filter_enabled: odd, ..policy() }, "p.filter_enabled.default_value"),
        (Config { shadow_enabled: odd, ..policy() }, "p.shadow_enabled.default_value"),
    ];
    for (config, field) in table {
        let (at, problem) = CorsPolicy::compile(&config, &"p".into()).unwrap_err();
        assert_eq!(at.as_str(), field, "{problem}");
    }
}

use http::{HeaderValue, Request, StatusCode};

use super::*;
use crate::engine::facts::ConnectionFacts;
use crate::exchange::trial::{Levels, Trial};
use crate::resource::filter::{
    AbortError, FaultAbort, FaultDelay, FaultRateLimit, FilterConfig, RouteConfig as RouteSays,
};
use crate::resource::matcher::{HeaderMatcher, HeaderSpecifier, StringMatcher};
use crate::resource::metadata::Metadata;
use crate::resource::route::FractionalPercent;

const ALWAYS: FractionalPercent = FractionalPercent::percent(100);
const MS: Duration = Duration::from_millis(1);

fn abort(error: AbortError) -> Config {
    aborting(error, ALWAYS)
}

fn aborting(error: AbortError, percentage: FractionalPercent) -> Config {
    Config { abort: Some(FaultAbort { error, percentage, response_body: String::new() }), ..Config::default() }
}

fn delay(fixed: Option<Duration>) -> Config {
    Config { delay: Some(FaultDelay { fixed, percentage: ALWAYS }), ..Config::default() }
}

fn compile(config: &Config) -> Fault {
    Fault::compile(config, &FieldPath::root()).unwrap()
}

/// What happens to a request with these headers.
fn run(fault: &Fault, headers: &[(&'static str, &str)]) -> Injection {
    let mut request = Request::new(());
    for (name, value) in headers {
        request.headers_mut().append(*name, HeaderValue::from_str(value).unwrap());
    }
    let (connection, metadata) = (ConnectionFacts::default(), Metadata::new());
    let facts = RequestFacts::of(&request, &connection, &metadata);
    let mut random = Random::from_seed(7);
    let mut injection = fault.begin(fault.settings(), &facts, Some("c"), &mut random);
    if injection.delay.is_some() {
        let delay = injection.delay;
        fault.after_delay(&mut injection, fault.settings(), request.headers(), &mut random);
        injection.delay = delay;
    }
    injection
}

/// The HTTP status and the gRPC status of an answer.
type Answer = Option<(u16, Option<u32>)>;

fn status(injection: &Injection) -> Answer {
    injection.reply.as_ref().map(|reply| (reply.status.as_u16(), reply.grpc_status))
}

#[test]
fn an_error_is_answered_as_envoy_does() {
    let injection = run(&compile(&abort(AbortError::Http(418))), &[]);
    let reply = injection.reply.as_ref().unwrap();
    assert_eq!(
        (reply.status, &reply.body[..], &*reply.details),
        (StatusCode::IM_A_TEAPOT, b"fault filter abort".as_slice(), "fault_filter_abort")
    );
    assert_eq!(reply.flags, ResponseFlags::FI);
    assert_eq!(status(&run(&compile(&abort(AbortError::Grpc(5))), &[])), Some((200, Some(5))));
    let mut own = abort(AbortError::Http(500));
    own.abort.as_mut().unwrap().response_body = "sorry".to_owned();
    assert_eq!(&run(&compile(&own), &[]).reply.unwrap().body[..], b"sorry");
}

#[test]
fn headers_say_what_is_injected_and_a_percentage_only_less() {
    let aborts = compile(&abort(AbortError::Header));
    let delays = compile(&delay(None));
    let table: [(&[(&str, &str)], Answer); 9] = [
        (&[("x-envoy-fault-abort-request", "430")], Some((430, None))),
        (&[("x-envoy-fault-abort-grpc-request", "7")], Some((200, Some(7)))),
        (&[("x-envoy-fault-abort-request", "503"), ("x-envoy-fault-abort-grpc-request", "7")], Some((503, None))),
        (&[("x-envoy-fault-abort-request", "199"), ("x-envoy-fault-abort-grpc-request", "7")], Some((200, Some(7)))),
        (&[("x-envoy-fault-abort-request", "600")], None),
        (&[("x-envoy-fault-abort-request", "lots")], None),
        (&[("x-envoy-fault-abort-request", "503"), ("x-envoy-fault-abort-request-percentage", "0")], None),
        (&[("x-envoy-fault-abort-request", "503"), ("x-envoy-fault-abort-request-percentage", "?")], Some((503, None))),
        (&[], None),
    ];
    for (headers, expected) in table {
        assert_eq!(status(&run(&aborts, headers)), expected, "{headers:?}");
    }
    for (value, expected) in [("250", Some(250 * MS)), ("0", None), ("-1", None), ("1.5", None)] {
        assert_eq!(run(&delays, &[("x-envoy-fault-delay-request", value)]).delay, expected, "{value}");
    }
    let rate = FaultRateLimit { fixed_kbps: None, percentage: ALWAYS };
    let rates = compile(&Config { response_rate_limit: Some(rate), ..Config::default() });
    for (value, expected) in [("2", Some(2048)), ("0", None), (&u64::MAX.to_string(), Some(u64::MAX))] {
        let injection = run(&rates, &[("x-envoy-fault-throughput-response", value)]);
        assert_eq!(injection.rate.map(NonZeroU64::get), expected, "{value}");
    }
    // A header can only lower the share that the configuration allows.
    let none = compile(&aborting(AbortError::Header, FractionalPercent::percent(0)));
    let asks = [("x-envoy-fault-abort-request", "503"), ("x-envoy-fault-abort-request-percentage", "100")];
    assert_eq!(status(&run(&none, &asks)), None);
}

#[test]
fn the_error_comes_after_the_delay() {
    let both = compile(&Config { abort: abort(AbortError::Http(503)).abort, ..delay(Some(200 * MS)) });
    let request = Request::new(());
    let (connection, metadata) = (ConnectionFacts::default(), Metadata::new());
    let facts = RequestFacts::of(&request, &connection, &metadata);
    let mut random = Random::from_seed(1);
    let mut injection = both.begin(both.settings(), &facts, None, &mut random);
    assert_eq!((injection.delay, status(&injection)), (Some(200 * MS), None));
    both.after_delay(&mut injection, both.settings(), request.headers(), &mut random);
    assert_eq!((injection.delay, status(&injection)), (None, Some((503, None))));
    let stats = both.stats();
    assert_eq!((stats.active_faults, stats.delays_injected, stats.aborts_injected), (1, 1, 1));
}

#[test]
fn only_requests_that_are_meant_are_hit() {
    let meant = Config {
        upstream_cluster: Some("c".into()),
        downstream_nodes: vec!["n1".to_owned(), "n2".to_owned()],
        headers: vec![HeaderMatcher::new("x-a", HeaderSpecifier::String(StringMatcher::exact("1")))],
        ..abort(AbortError::Http(503))
    };
    let node = |name| ("x-envoy-downstream-service-node", name);
    assert!(run(&compile(&meant), &[("x-a", "1"), node("n2")]).reply.is_some());
    assert!(run(&compile(&meant), &[("x-a", "1"), node("n3")]).reply.is_none());
    assert!(run(&compile(&meant), &[("x-a", "1")]).reply.is_none());
    assert!(run(&compile(&meant), &[node("n2")]).reply.is_none());
    let elsewhere = Config { upstream_cluster: Some("d".into()), ..meant };
    assert!(run(&compile(&elsewhere), &[("x-a", "1"), node("n2")]).reply.is_none());
}

#[test]
fn no_more_faults_at_once_than_allowed_and_a_place_is_given_back() {
    let few = compile(&Config { max_active_faults: Some(1), ..abort(AbortError::Http(503)) });
    let first = run(&few, &[]);
    assert!(run(&few, &[]).reply.is_none());
    assert_eq!((few.stats().active_faults, few.stats().faults_overflow), (1, 1));
    drop(first);
    assert!(run(&few, &[]).reply.is_some());
    assert_eq!(few.stats().active_faults, 0);
    let never = compile(&Config { max_active_faults: Some(0), ..abort(AbortError::Http(503)) });
    assert!(run(&never, &[]).is_nothing());
    // All faults of one request take one place.
    let rate = FaultRateLimit { fixed_kbps: Some(1), percentage: ALWAYS };
    let all = Config {
        max_active_faults: Some(1),
        response_rate_limit: Some(rate),
        abort: abort(AbortError::Http(503)).abort,
        ..delay(Some(MS))
    };
    let all = compile(&all);
    let injection = run(&all, &[]);
    assert!(injection.delay.is_some() && injection.rate.is_some() && injection.reply.is_some());
    assert_eq!((all.stats().active_faults, all.stats().response_rl_injected), (1, 1));
}

#[test]
fn what_hits_nobody_costs_nothing() {
    let none = FractionalPercent::percent(0);
    let settings = [
        Config::default(),
        aborting(AbortError::Http(503), none),
        Config { delay: Some(FaultDelay { fixed: None, percentage: none }), ..Config::default() },
    ];
    for config in settings {
        assert!(compile(&config).waits_for_route(), "{config:?}");
    }
    assert!(!compile(&abort(AbortError::Http(503))).waits_for_route());
}

#[test]
fn a_delay_of_less_than_a_millisecond_is_none() {
    assert_eq!(run(&compile(&delay(Some(MS / 2))), &[]).delay, None);
    assert_eq!(run(&compile(&delay(Some(MS * 3 / 2))), &[]).delay, Some(MS));
    let longest = Duration::new(u64::MAX, 999_999_999);
    assert!(run(&compile(&delay(Some(longest))), &[]).delay.is_some());
}

#[test]
fn an_invalid_fault_is_refused_where_it_stands() {
    let odd = FractionalPercent { numerator: 1, denominator: 7 };
    let rate = |fixed_kbps, percentage| Config {
        response_rate_limit: Some(FaultRateLimit { fixed_kbps, percentage }),
        ..Config::default()
    };
    let odd_delay = FaultDelay { fixed: None, percentage: odd };
    let table = [
        (abort(AbortError::Http(199)), "f.abort.http_status"),
        (abort(AbortError::Http(600)), "f.abort.http_status"),
        (abort(AbortError::Http(u16::MAX)), "f.abort.http_status"),
        (aborting(AbortError::Http(503), odd), "f.abort.percentage"),
        (delay(Some(Duration::ZERO)), "f.delay.fixed_delay"),
        (Config { delay: Some(odd_delay), ..Config::default() }, "f.delay.percentage"),
        (rate(Some(0), ALWAYS), "f.response_rate_limit.fixed_limit.limit_kbps"),
        (rate(Some(1), odd), "f.response_rate_limit.percentage"),
        (
            Config { headers: vec![HeaderMatcher::new("a b", HeaderSpecifier::Present(true))], ..Config::default() },
            "f.headers[0]",
        ),
    ];
    for (config, field) in table {
        let (at, problem) = Fault::compile(&config, &"f".into()).unwrap_err();
        assert_eq!(at.as_str(), field, "{problem}");
    }
}

#[test]
fn no_numbers_break_anything_and_every_place_is_given_back() {
    let mut random = Random::from_seed(4);
    let numbers = [0, 1, 50, 100, 1_000_000, u32::MAX];
    let values = ["", "0", "-1", "200", "430", "1e9", "18446744073709551615", "99999999999999999999", "NaN", " 7 "];
    let names = [
        "x-envoy-fault-delay-request",
        "x-envoy-fault-delay-request-percentage",
        "x-envoy-fault-abort-request",
        "x-envoy-fault-abort-grpc-request",
        "x-envoy-fault-abort-request-percentage",
        "x-envoy-fault-throughput-response",
        "x-envoy-fault-throughput-response-percentage",
    ];
    for _ in 0..5_000 {
        let numerator = numbers[random.below(numbers.len())];
        let percentage = FractionalPercent { numerator, denominator: [100, 10_000, 1_000_000][random.below(3)] };
        let max = [None, Some(0), Some(1), Some(u32::MAX)][random.below(4)];
        let fault = compile(&Config {
            delay: Some(FaultDelay { fixed: None, percentage }),
            response_rate_limit: Some(FaultRateLimit { fixed_kbps: None, percentage }),
            max_active_faults: max,
            ..aborting(AbortError::Header, percentage)
        });
        let injection = run(&fault, &names.map(|name| (name, values[random.below(values.len())])));
        if max == Some(0) || numerator == 0 {
            assert!(injection.is_nothing());
        }
        if injection.is_nothing() {
            assert!(injection.delay.is_none() && injection.rate.is_none() && injection.reply.is_none());
        }
        drop(injection);
        assert_eq!(fault.stats().active_faults, 0);
    }
}

#[test]
fn a_share_of_the_requests_is_hit() {
    let mut random = Random::from_seed(9);
    for (numerator, denominator, expected) in [(25, 100, 0.25), (1_000, 10_000, 0.1), (500_000, 1_000_000, 0.5)] {
        let share = FractionalPercent { numerator, denominator };
        let settings = FaultSettings::compile(&aborting(AbortError::Http(503), share), &FieldPath::root()).unwrap();
        let hit = (0..20_000).filter(|_| settings.abort(&HeaderMap::new(), &mut random).is_some()).count();
        let hit = f64::from(u32::try_from(hit).unwrap()) / 20_000.0;
        assert!((hit - expected).abs() < 0.02, "{share:?}: {hit}");
    }
}

fn filter(config: Config) -> FilterConfig {
    FilterConfig::Fault(Box::new(config))
}

fn get() -> Request<()> {
    Request::get("http://a.test/").body(()).unwrap()
}

#[test]
fn the_filter_waits_and_then_answers() {
    let both = Config { abort: abort(AbortError::Http(503)).abort, ..delay(Some(200 * MS)) };
    let sent = Trial::new(filter(both), Levels::default()).send(get());
    assert!(matches!(sent.asked[..], [Effect::Sleep(time)] if time == 200 * MS), "{:?}", sent.asked);
    assert_eq!(sent.flags(), ResponseFlags::DI);
    assert_eq!(sent.result.unwrap_err().status, StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn only_requests_to_its_cluster_are_hit_by_the_filter() {
    for (cluster, hit) in [("up", true), ("down", false)] {
        let config = Config { upstream_cluster: Some(cluster.into()), ..abort(AbortError::Http(503)) };
        assert_eq!(Trial::new(filter(config), Levels::default()).send(get()).result.is_err(), hit, "{cluster}");
    }
}

#[test]
fn places_are_counted_over_pushes_that_leave_the_filter_alone() {
    let few = Config { max_active_faults: Some(1), ..abort(AbortError::Http(503)) };
    let mut trial = Trial::new(filter(few.clone()), Levels::default());
    let first = trial.send(get());
    assert!(first.result.is_err());
    let own = RouteSays::Fault(Box::new(Config { max_active_faults: Some(1), ..abort(AbortError::Http(418)) }));
    for levels in [Levels::default(), Levels { route: Some(own), ..Levels::default() }] {
        assert_eq!(trial.push(filter(few.clone()), levels), vec![]);
        assert!(trial.send(get()).result.is_ok(), "the first one still has the only place");
    }
    drop(first);
    assert_eq!(trial.send(get()).result.unwrap_err().status, StatusCode::IM_A_TEAPOT);
}

#[test]
fn a_version_that_does_not_compile_leaves_the_one_before_in_force() {
    let good = filter(abort(AbortError::Http(503)));
    let mut trial = Trial::new(good.clone(), Levels::default());
    let said = |refused: Vec<crate::resource::Invalid>| refused.iter().map(ToString::to_string).collect::<Vec<_>>();
    let bad = abort(AbortError::Http(99));
    assert_eq!(
        said(trial.push(filter(bad.clone()), Levels::default())),
        ["Listener/l: filter_chains[0].http_filters[0].typed_config.abort.http_status: 99 is not within 200 to 599"]
    );
    let levels = Levels { virtual_host: Some(RouteSays::Fault(Box::new(bad))), ..Levels::default() };
    assert_eq!(
        said(trial.push(good, levels)),
        [
            "RouteConfiguration/r: virtual_hosts[0].typed_per_filter_config[\"f\"].abort.http_status: 99 is not within 200 to 599"
        ]
    );
    assert_eq!(trial.send(get()).result.unwrap_err().status, StatusCode::SERVICE_UNAVAILABLE);
}

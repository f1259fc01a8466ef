//! The filter on requests that pass through the exchange, at times of our own.

#![allow(clippy::disallowed_methods, reason = "any instant will do to count from")]

use std::time::{Duration, Instant};

use http::{Request, Response};

use super::*;
use crate::exchange::trial::{Levels, Sent, Trial};
use crate::resource::filter::{FilterConfig, LocalDescriptor, RouteConfig as RouteFilterConfig};
use crate::resource::header_mutation::{AppendAction, HeaderValueOption};
use crate::resource::rate_limit::{RateLimit, RateLimitAction, TokenBucket as BucketConfig};
use crate::resource::route::{Forward, RouteAction};
use crate::state::Lane;

const MINUTE: Duration = Duration::from_secs(60);

/// A mesh with this filter, and a clock that stands still.
struct Mesh {
    trial: Trial,
}

fn tokens(max_tokens: u32) -> BucketConfig {
    BucketConfig { max_tokens, tokens_per_fill: 1, fill_interval: MINUTE }
}

fn routes(forward: Forward, virtual_host: Vec<RateLimit>, route_says: Option<Config>) -> Levels {
    Levels {
        action: Some(RouteAction::Forward(Box::new(forward))),
        rate_limits: virtual_host,
        route: route_says.map(|config| RouteFilterConfig::LocalRateLimit(Box::new(config))),
        ..Levels::default()
    }
}

fn filter(config: Config) -> FilterConfig {
    FilterConfig::LocalRateLimit(Box::new(config))
}

impl Mesh {
    fn new(config: Config, levels: Levels) -> Self {
        Self { trial: Trial::new(filter(config), levels) }
    }

    fn plain(config: Config) -> Self {
        Self::new(config, Levels::default())
    }

    fn push(&mut self, config: Config, levels: Levels) {
        assert_eq!(self.trial.push(filter(config), levels), vec![]);
    }

    fn send(&mut self, headers: &[(&str, &str)]) -> Sent {
        let mut request = Request::get("/").header("host", "a.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = self.trial.send(request.body(()).unwrap());
        assert!(sent.asked.is_empty(), "a limit asks for nothing");
        sent
    }

    fn passes(&mut self, headers: &[(&str, &str)]) -> bool {
        self.send(headers).result.is_ok()
    }

    /// `limit/remaining/reset` of the response.
    fn told(&mut self, headers: &[(&str, &str)]) -> (u16, String) {
        let (sent, now) = (self.send(headers), self.trial.now);
        let response = if sent.result.is_ok() { sent.respond(Response::new(()), now).0 } else { sent.answer(now) };
        let text = |name: &HeaderName| response.headers().get(name).map_or("-", |value| value.to_str().unwrap());
        let told = [&X_RATELIMIT_LIMIT, &X_RATELIMIT_REMAINING, &X_RATELIMIT_RESET].map(text).join("/");
        (response.status().as_u16(), told)
    }
}

fn by_header() -> RateLimit {
    RateLimit::by(vec![RateLimitAction::RequestHeader { name: "x-u".into(), key: "u".into(), skip_if_absent: false }])
}

fn of_header(value: &str, max_tokens: u32) -> LocalDescriptor {
    LocalDescriptor { entries: vec![("u".into(), value.into())], token_bucket: tokens(max_tokens), shadow_mode: false }
}

#[test]
fn who_gets_no_token_is_answered_429_and_marked() {
    let mut mesh = Mesh::plain(Config::new(tokens(2)));
    assert!(mesh.passes(&[]) && mesh.passes(&[]));
    let refused = mesh.send(&[]).result;
    assert_eq!(refused.unwrap_err(), LocalReply::local_rate_limited(StatusCode::TOO_MANY_REQUESTS));
    mesh.trial.now += MINUTE;
    assert!(mesh.passes(&[]) && !mesh.passes(&[]), "a minute is one token");
}

#[test]
fn unset_shares_are_none_so_that_nothing_is_limited() {
    for unset in [
        Config { filter_enabled: FractionalPercent::percent(0), ..Config::new(tokens(0)) },
        Config { filter_enforced: FractionalPercent::percent(0), ..Config::new(tokens(0)) },
        Config { token_bucket: Some(tokens(0)), ..Config::default() },
    ] {
        let mut mesh = Mesh::plain(unset);
        assert!((0..10).all(|_| mesh.passes(&[])));
    }
}

#[test]
fn a_share_that_is_not_enforced_goes_on_with_headers() {
    let mut config = Config { filter_enforced: FractionalPercent::percent(50), ..Config::new(tokens(0)) };
    config.request_headers_when_not_enforced.add =
        vec![HeaderValueOption::new("x-over", "%REQ(x-u)%", AppendAction::AppendIfExistsOrAdd)];
    let mut mesh = Mesh::plain(config);
    let mut passed = 0;
    for _ in 0..1_000 {
        if let Ok(request) = mesh.send(&[("x-u", "bob")]).result {
            assert_eq!(request.headers().get("x-over").unwrap(), "bob");
            passed += 1;
        }
    }
    assert!((430..570).contains(&passed), "{passed}");
}

#[test]
fn a_refusal_looks_as_configured() {
    let mut config = Config { status: StatusCode::SERVICE_UNAVAILABLE, retry_after: true, ..Config::new(tokens(0)) };
    config.response_headers.add = vec![HeaderValueOption::new("x-l", "y", AppendAction::AppendIfExistsOrAdd)];
    config.resource_exhausted = true;
    let reply = Mesh::plain(config.clone()).send(&[]).result.unwrap_err();
    assert_eq!((reply.status.as_u16(), reply.grpc_status), (503, Some(RESOURCE_EXHAUSTED)));
    assert_eq!(reply.headers.get("x-l").unwrap(), "y");
    assert!(!reply.headers.contains_key(RETRY_AFTER), "only 429 says when");
    config.status = StatusCode::FOUND;
    let mut mesh = Mesh::plain(Config { token_bucket: Some(tokens(1)), ..config });
    assert!(mesh.passes(&[]));
    mesh.trial.now += Duration::from_millis(500);
    let reply = mesh.send(&[]).result.unwrap_err();
    assert_eq!(reply.status.as_u16(), 429, "below 400 it is 429");
    assert_eq!(reply.headers.get(RETRY_AFTER).unwrap(), "60");
}

#[test]
fn responses_tell_the_state_of_the_bucket_that_decided() {
    let config = Config {
        x_ratelimit_headers: true,
        descriptors: vec![of_header("bob", 1), of_header("", 1)],
        ..Config::new(tokens(100))
    };
    let forward = Forward { rate_limits: vec![by_header()], ..Forward::to("up") };
    let mut mesh = Mesh::new(config, routes(forward, vec![], None));
    let bob: &[(&str, &str)] = &[("x-u", "bob")];
    assert_eq!(mesh.told(bob), (200, "1/0/60".into()));
    assert_eq!(mesh.told(bob), (429, "1/0/60".into()));
    assert_eq!(mesh.told(&[]), (200, "100/98/0".into()), "bob's refusal took none of the default");
    assert_eq!(mesh.told(&[("x-u", "ann")]), (200, "1/0/60".into()));
    mesh.trial.now += Duration::from_millis(59_001);
    assert_eq!(mesh.told(bob), (429, "1/0/1".into()));
}

#[test]
fn the_virtual_hosts_limits_count_when_asked_for() {
    use VirtualHostLimits::{Ignore, Include, Override};
    let key = |value: &str| RateLimit::by(vec![RateLimitAction::GenericKey { key: "u".into(), value: value.into() }]);
    // The virtual host's descriptor has no tokens, the route's has.
    let refuses = |option, route: Vec<RateLimit>, include| {
        let config = Config {
            virtual_host_limits: option,
            descriptors: vec![of_header("vh", 0), of_header("route", 100)],
            ..Config::new(tokens(100))
        };
        let forward = Forward { rate_limits: route, include_virtual_host_rate_limits: include, ..Forward::to("up") };
        !Mesh::new(config, routes(forward, vec![key("vh")], None)).passes(&[])
    };
    let disabled = || RateLimit { disabled: true, ..key("route") };
    assert!(refuses(Override, vec![], false));
    assert!(!refuses(Override, vec![key("route")], false));
    assert!(!refuses(Override, vec![disabled()], false), "a disabled limit is one");
    assert!(refuses(Override, vec![key("route")], true));
    assert!(refuses(Include, vec![key("route")], false));
    assert!(!refuses(Ignore, vec![], false));
    assert!(refuses(Ignore, vec![], true));
}

#[test]
fn limits_of_the_filters_own_replace_those_of_routes_and_stages_select() {
    let key = |value: &str| RateLimit::by(vec![RateLimitAction::GenericKey { key: "u".into(), value: value.into() }]);
    let base = || Config { descriptors: vec![of_header("x", 0)], ..Config::new(tokens(100)) };
    let mesh =
        |config, limits| Mesh::new(config, routes(Forward { rate_limits: limits, ..Forward::to("up") }, vec![], None));
    assert!(!mesh(base(), vec![key("x")]).passes(&[]));
    assert!(mesh(Config { rate_limits: vec![key("y")], ..base() }, vec![key("x")]).passes(&[]));
    assert!(!mesh(Config { rate_limits: vec![key("x")], ..base() }, vec![]).passes(&[]));
    assert!(mesh(Config { stage: 3, ..base() }, vec![key("x")]).passes(&[]));
    assert!(!mesh(Config { stage: 3, ..base() }, vec![RateLimit { stage: 3, ..key("x") }]).passes(&[]));
}

#[test]
fn clusters_describe_requests() {
    let actions = vec![RateLimitAction::SourceCluster, RateLimitAction::DestinationCluster];
    let entries = vec![("source_cluster".into(), "shop".into()), ("destination_cluster".into(), "up".into())];
    let descriptors = vec![LocalDescriptor { entries, token_bucket: tokens(1), shadow_mode: false }];
    let forward = Forward { rate_limits: vec![RateLimit::by(actions)], ..Forward::to("up") };
    let mut mesh = Mesh::new(Config { descriptors, ..Config::new(tokens(100)) }, routes(forward, vec![], None));
    assert!(mesh.passes(&[]) && !mesh.passes(&[]));
}

#[test]
fn a_route_has_a_bucket_of_its_own_and_a_filter_without_one_waits_for_it() {
    let only_here = routes(Forward::to("up"), vec![], Some(Config::new(tokens(1))));
    let mut mesh = Mesh::new(Config::default(), only_here);
    assert!(mesh.passes(&[]) && !mesh.passes(&[]));
    let mut elsewhere = Mesh::plain(Config::default());
    assert!(!elsewhere.send(&[]).met_filters(), "requests on other routes do not even meet it");
    assert!(elsewhere.passes(&[]));
    let (field, problem) = RouteLimit::compile(&Config::default(), &"f".into()).unwrap_err();
    assert_eq!(format!("{field}: {problem}"), "f.token_bucket: is required");
}

#[test]
fn tokens_outlive_every_push_that_leaves_the_limit_alone() {
    let config = || Config { descriptors: vec![of_header("", 2)], ..Config::new(tokens(100)) };
    let own = || Config { rate_limits: vec![by_header()], ..config() };
    let named = |timeout, says| {
        let timeout = Some(Duration::from_secs(timeout));
        routes(Forward { timeout, rate_limits: vec![by_header()], ..Forward::to("up") }, vec![], says)
    };
    for says in [None, Some(own())] {
        let mut mesh = Mesh::new(config(), named(0, says.clone()));
        let bob: &[(&str, &str)] = &[("x-u", "bob")];
        assert!(mesh.passes(bob));
        for push in 1..=1_000 {
            mesh.push(config(), named(push, says.clone()));
        }
        assert!(mesh.passes(bob) && !mesh.passes(bob), "two tokens in all, whatever was pushed");
        let more = |config: Config| Config { descriptors: vec![of_header("", 3)], ..config };
        mesh.push(more(config()), named(0, says.map(more)));
        assert!((0..3).all(|_| mesh.passes(bob)) && !mesh.passes(bob), "another limit starts full");
    }
}

#[test]
fn what_it_did_is_counted() {
    let shadow = LocalDescriptor { shadow_mode: true, ..of_header("bob", 0) };
    let config = Config { descriptors: vec![shadow], rate_limits: vec![by_header()], ..Config::new(tokens(2)) };
    let filter = LocalRateLimit::compile(&config, &FieldPath::root()).unwrap();
    let counted = || Count::ALL.map(|(what, name)| format!("{name} {}", filter.counts().sum(what))).join(", ");
    let connection = crate::engine::facts::ConnectionFacts::default();
    let mut random = crate::engine::random::Random::from_seed(1);
    for user in ["ann", "bob", "ann", "ann"] {
        let (mut head, ()) = Request::get("/").header("x-u", user).body(()).unwrap().into_parts();
        let mut notes = crate::engine::filter::RequestNotes::default();
        let _ = filter.on_request(&mut RequestCx {
            head: &mut head,
            connection: &connection,
            dynamic_metadata: &mut crate::engine::filter::DynamicMetadata::new(),
            route: None,
            route_configs: crate::engine::filter::RouteConfigs::default(),
            service_cluster: "",
            grpc: false,
            flags: &mut crate::engine::local_reply::ResponseFlags::NONE.clone(),
            notes: notes.of(0),
            now: Instant::now(),
            lane: Lane::of_thread(3),
            random: &mut random,
        });
    }
    assert_eq!(counted(), "enabled 4, ok 2, rate_limited 2, enforced 1, shadow_mode 1");
}

#[test]
fn a_bad_setting_is_refused_with_its_path() {
    let header = |key: &str| vec![HeaderValueOption::new(key, "v", AppendAction::AppendIfExistsOrAdd)];
    let mut request_headers = Config::new(tokens(1));
    request_headers.request_headers_when_not_enforced.add = header(":path");
    let mut response_headers = Config::new(tokens(1));
    response_headers.response_headers.add = header("a b");
    for (config, expected) in [
        (Config { stage: 11, ..Config::default() }, "f.stage"),
        (request_headers, "f.request_headers_to_add_when_not_enforced[0].header.key"),
        (response_headers, "f.response_headers_to_add[0].header.key"),
        (Config { rate_limits: vec![RateLimit::by(vec![])], ..Config::default() }, "f.rate_limits[0].actions"),
    ] {
        assert_eq!(LocalRateLimit::compile(&config, &"f".into()).unwrap_err().0.as_str(), expected);
    }
}

#[test]
fn each_connection_may_have_buckets_of_its_own() {
    use crate::engine::facts::{ConnectionFacts, ConnectionSlots};
    let compile = |per_connection| {
        let config = Config { per_connection, ..Config::new(tokens(1)) };
        LocalRateLimit::compile(&config, &FieldPath::root()).unwrap()
    };
    let (filter, other, shared) = (compile(true), compile(true), compile(false));
    let connection =
        || ConnectionFacts { slots: Some(Arc::<ConnectionSlots>::default()), ..ConnectionFacts::default() };
    let now = Instant::now();
    let passes = |filter: &LocalRateLimit, connection: &ConnectionFacts| {
        let (mut head, ()) = Request::get("/").body(()).unwrap().into_parts();
        let mut notes = crate::engine::filter::RequestNotes::default();
        let step = filter.on_request(&mut RequestCx {
            head: &mut head,
            connection,
            dynamic_metadata: &mut crate::engine::filter::DynamicMetadata::new(),
            route: None,
            route_configs: crate::engine::filter::RouteConfigs::default(),
            service_cluster: "",
            grpc: false,
            flags: &mut crate::engine::local_reply::ResponseFlags::NONE.clone(),
            notes: notes.of(0),
            now,
            lane: Lane::default(),
            random: &mut crate::engine::random::Random::from_seed(1),
        });
        matches!(step, FilterStep::Continue)
    };
    let (first, second, in_process) = (connection(), connection(), ConnectionFacts::default());
    assert!(passes(&filter, &first) && !passes(&filter, &first));
    assert!(passes(&filter, &second) && !passes(&filter, &second));
    assert!(passes(&other, &first) && !passes(&other, &first), "another filter has its own");
    assert!(passes(&filter, &in_process) && !passes(&filter, &in_process));
    assert!(passes(&shared, &first) && !passes(&shared, &second));
}

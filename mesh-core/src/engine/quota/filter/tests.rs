//! Quotas on requests, at times of our own.

#![allow(clippy::disallowed_methods, reason = "any instant will do to count from")]

use std::time::{Duration, Instant};

use http::Request;

use super::*;
use crate::engine::facts::ConnectionFacts;
use crate::engine::filter::{DynamicMetadata, RequestNotes, RouteConfigs};
use crate::engine::random::Random;
use crate::exchange::Accepted;
use crate::exchange::filters::FilterOutcome;
use crate::resource::cluster::{Cluster, Discovery};
use crate::resource::endpoint::ClusterLoadAssignment;
use crate::resource::filter::FilterConfig;
use crate::resource::filter::{Algorithm, Charge as ChargeConfig, Function, QuotaOverride, QuotaRoute};
use crate::resource::listener::{
    ChainHandler, Direction, FilterChain, FilterChainMatch, HttpConnectionManager, HttpFilter as Entry, Listener,
    ListenerAddress,
};
use crate::resource::matcher::{StringMatcher, StringPattern};
use crate::resource::metadata::Metadata;
use crate::resource::route::{Forward, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost};
use crate::snapshot::{Change, Compiler, SnapshotStore, Update};
use crate::state::Lane;

fn limit(max_amount: u64) -> QuotaLimit {
    QuotaLimit {
        name: "handler/requestcount".into(),
        max_amount,
        valid_duration: Duration::from_secs(1),
        algorithm: Algorithm::RollingWindow,
        overrides: vec![],
        min_deduplication: Duration::from_secs(1),
    }
}

fn to(limit: QuotaLimit) -> QuotaRoute {
    QuotaRoute { matches: Expression::Bool(true), dimensions: BTreeMap::new(), limit }
}

fn charge(routes: Vec<QuotaRoute>) -> ChargeConfig {
    ChargeConfig { quota: "request-count".into(), amount: 1, matches: vec![], routes }
}

fn quota(charges: Vec<ChargeConfig>) -> Quota {
    Quota::compile(&Config { charges }, &FieldPath::root(), &mut Registry::default()).unwrap()
}

/// The answer, if there is one.
fn send(quota: &Quota, path: &str, user: &str, grpc: bool, now: Instant) -> Option<LocalReply> {
    let (mut head, ()) = Request::get(path).header("x-user", user).body(()).unwrap().into_parts();
    let mut notes = RequestNotes::default();
    let step = quota.on_request(&mut RequestCx {
        head: &mut head,
        connection: &ConnectionFacts::default(),
        dynamic_metadata: &mut DynamicMetadata::new(),
        route: None,
        route_configs: RouteConfigs::default(),
        service_cluster: "",
        grpc,
        flags: &mut ResponseFlags::NONE.clone(),
        notes: notes.of(0),
        now,
        lane: Lane::default(),
        random: &mut Random::from_seed(1),
    });
    match step {
        FilterStep::Continue => None,
        FilterStep::Reply(reply) => Some(*reply),
        other => panic!("{other:?}"),
    }
}

fn passed(quota: &Quota, tries: usize, user: &str, now: Instant) -> usize {
    (0..tries).filter(|_| send(quota, "/", user, false, now).is_none()).count()
}

fn header(name: &str) -> Expression {
    Expression::Attribute(Attribute::Header(name.into()))
}

#[test]
fn exactly_the_quota_passes_and_the_rest_is_answered_429_or_resource_exhausted() {
    let (quota, start) = (quota(vec![charge(vec![to(limit(500))])]), Instant::now());
    for second in 0..3 {
        let now = start + Duration::from_secs(second);
        assert_eq!(passed(&quota, 1_000, "a", now), 500, "second {second}");
        assert_eq!(passed(&quota, 10, "a", now + Duration::from_millis(999)), 0);
    }
    let now = start + Duration::from_millis(2_500);
    let reply = send(&quota, "/", "a", false, now).unwrap();
    assert_eq!((reply.status.as_u16(), reply.flags), (429, ResponseFlags::RL));
    assert_eq!(reply.body, "RESOURCE_EXHAUSTED:Quota is exhausted for: request-count");
    let reply = send(&quota, "/", "a", true, now).unwrap();
    assert_eq!((reply.grpc_status, &*reply.body), (Some(8), &b"Quota is exhausted for: request-count"[..]));
}

#[test]
fn dimensions_have_cells_of_their_own_and_the_first_override_that_fits_counts() {
    let by_user = |name: &str| BTreeMap::from([(name.to_owned(), header("x-user"))]);
    let fits = |value: &str, max_amount| QuotaOverride {
        dimensions: BTreeMap::from([("source".to_owned(), value.to_owned())]),
        max_amount,
        valid_duration: Duration::from_secs(5),
    };
    let overrides = vec![fits("bob", 1), fits("bob", 100), fits("eve", 0)];
    let route = QuotaRoute { dimensions: by_user("source"), ..to(QuotaLimit { overrides, ..limit(2) }) };
    let (quota, start) = (quota(vec![charge(vec![route])]), Instant::now());
    for (user, expected) in [("ann", 2), ("bob", 1), ("cid", 2), ("eve", 0)] {
        assert_eq!(passed(&quota, 9, user, start), expected, "{user}");
    }
    let later = start + Duration::from_secs(1);
    assert_eq!((passed(&quota, 9, "ann", later), passed(&quota, 9, "bob", later)), (2, 0), "bob's window is 5 s");
    assert_eq!(passed(&quota, 9, "bob", start + Duration::from_secs(5)), 1);
}

#[test]
fn only_requests_that_a_clause_and_a_rule_take_are_charged() {
    let exact = |path: &str| (Attribute::Path, StringMatcher::new(StringPattern::Exact(path.into())));
    let is_bob = Expression::Call(Function::Equal, vec![header("x-user"), Expression::Text("bob".into())]);
    let config = ChargeConfig {
        matches: vec![vec![exact("/a")], vec![exact("/b")]],
        ..charge(vec![QuotaRoute { matches: is_bob, ..to(limit(0)) }])
    };
    let (quota, now) = (quota(vec![config]), Instant::now());
    let refused = |path, user| send(&quota, path, user, false, now).is_some();
    assert!(refused("/a", "bob") && refused("/b", "bob") && !refused("/c", "bob") && !refused("/a", "ann"));
}

#[test]
fn the_first_rule_that_holds_takes_the_charge_and_no_rule_is_no_charge() {
    let never = QuotaRoute { matches: Expression::Bool(false), ..to(limit(0)) };
    let two = vec![never.clone(), to(QuotaLimit { name: "b".into(), ..limit(1) }), to(limit(0))];
    assert_eq!(passed(&quota(vec![charge(two)]), 9, "a", Instant::now()), 1);
    assert_eq!(passed(&quota(vec![charge(vec![never])]), 9, "a", Instant::now()), 9);
    assert_eq!(passed(&quota(vec![charge(vec![])]), 9, "a", Instant::now()), 9);
}

#[test]
fn every_charge_must_be_granted_and_all_exhausted_ones_are_named() {
    let named = |quota: &str, limit| ChargeConfig { quota: quota.into(), ..charge(vec![to(limit)]) };
    let other = |max| QuotaLimit { name: "other".into(), ..limit(max) };
    let (quota, now) = (quota(vec![named("a", limit(1)), named("b", other(2))]), Instant::now());
    assert!(send(&quota, "/", "u", false, now).is_none());
    let reply = send(&quota, "/", "u", true, now).unwrap();
    assert_eq!(reply.body, "Quota is exhausted for: a");
    let reply = send(&quota, "/", "u", true, now).unwrap();
    assert_eq!(reply.body, "Quota is exhausted for: a, b", "what b granted was not given back");
}

#[test]
fn an_expression_without_a_value_charges_nothing_and_is_counted() {
    let absent = || header("x-none");
    let dimensions = BTreeMap::from([("d".to_owned(), absent())]);
    let fails = QuotaRoute { dimensions, ..to(limit(0)) };
    let unless = Expression::Call(Function::Equal, vec![absent(), Expression::Text("x".into())]);
    let skipped = QuotaRoute { matches: unless, ..to(limit(0)) };
    let quota = quota(vec![charge(vec![fails]), charge(vec![skipped])]);
    assert_eq!(passed(&quota, 3, "a", Instant::now()), 3);
    assert_eq!(quota.counts().sum(Count::ShadowMode), 6);
}

#[test]
fn state_belongs_to_the_limit_and_outlives_the_filter() {
    let (mut registry, now) = (Registry::default(), Instant::now());
    let mut compile = |limits: Vec<QuotaLimit>| {
        let charges = limits.into_iter().map(|limit| charge(vec![to(limit)])).collect();
        Quota::compile(&Config { charges }, &FieldPath::root(), &mut registry).unwrap()
    };
    let first = compile(vec![limit(3)]);
    assert_eq!(passed(&first, 2, "a", now), 2);
    let other = QuotaLimit { name: "other".into(), ..limit(100) };
    let second = compile(vec![limit(3), other]);
    assert_eq!(passed(&second, 9, "a", now), 1, "a quota beside it changes nothing");
    drop(first);
    let third = compile(vec![limit(4)]);
    assert_eq!(passed(&third, 9, "a", now), 4, "another limit begins anew");
    drop(third);
    assert_eq!(passed(&compile(vec![limit(4)]), 9, "a", now), 4, "what nobody holds is forgotten");
    assert_eq!(registry.0.len(), 3, "one for each limit that is or was held last");
}

#[test]
fn a_bad_setting_is_refused_with_its_path() {
    let matcher = StringMatcher::new(StringPattern::SafeRegex("(".into()));
    for (bad, expected) in [
        (ChargeConfig { amount: 0, ..charge(vec![]) }, "f.charges[0].amount"),
        (ChargeConfig { matches: vec![vec![(Attribute::Path, matcher)]], ..charge(vec![]) }, "f.charges[0].match[0]"),
    ] {
        let refused = Quota::compile(&Config { charges: vec![bad] }, &"f".into(), &mut Registry::default());
        assert_eq!(refused.unwrap_err().0.as_str(), expected);
    }
}

/// A listener with these quotas; its route's timeout makes one differ from another.
fn listener(quotas: Config, timeout: u64) -> Listener {
    let forward = Forward { timeout: Some(Duration::from_secs(timeout)), ..Forward::to("up") };
    let route = Route::new(RouteMatch::prefix("/"), RouteAction::Forward(Box::new(forward)));
    let host =
        VirtualHost { name: "all".into(), domains: vec!["*".into()], routes: vec![route], ..VirtualHost::default() };
    let routes = RouteConfiguration { name: "r".into(), virtual_hosts: vec![host], ..RouteConfiguration::default() };
    let mut manager = HttpConnectionManager::inline(Arc::new(routes));
    let config = FilterConfig::Quota(Box::new(quotas));
    manager.http_filters = vec![Entry { name: "quota".into(), disabled: false, config }];
    Listener {
        name: "l".into(),
        address: Some(ListenerAddress { ip: [0, 0, 0, 0].into(), port: 80 }),
        direction: Direction::Outbound,
        use_original_dst: false,
        bind_to_port: true,
        filter_chains: vec![FilterChain {
            name: "c".into(),
            matches: FilterChainMatch::default(),
            handler: ChainHandler::Http(Arc::new(manager)),
            transport_socket: false,
        }],
        default_filter_chain: None,
        api_listener: None,
        metadata: Metadata::new(),
    }
}

#[test]
fn windows_outlive_every_push_that_leaves_their_limit_alone() {
    let up = Cluster::new("up", Discovery::Static(ClusterLoadAssignment::default()));
    let (mut compiler, now) = (Compiler::new(1), Instant::now());
    let store = SnapshotStore::new(Arc::clone(compiler.current()));
    let mut push = |quotas: Vec<ChargeConfig>, timeout| {
        let (next, refused) = compiler.apply(Update {
            clusters: vec![Change::Set(Arc::new(up.clone()))],
            listeners: vec![Change::Set(Arc::new(listener(Config { charges: quotas }, timeout)))],
            ..Update::default()
        });
        assert!(refused.is_empty(), "{refused:?}");
        store.publish(&next);
    };
    let passed = |tries: u64| {
        let pass = |seed: &u64| {
            let request = Request::get("/").header("host", "a.test").body(()).unwrap();
            let pin = store.pin(Lane::default());
            let routed = Accepted::new(request, pin, Lane::default(), *seed, now).route().unwrap();
            matches!(routed.filter(now), FilterOutcome::Forward(..))
        };
        (0..tries).filter(pass).count()
    };
    let other = || charge(vec![to(QuotaLimit { name: "other".into(), ..limit(1_000) })]);
    push(vec![charge(vec![to(limit(500))])], 0);
    assert_eq!(passed(300), 300);
    for number in 1..=1_000 {
        // Every other push changes the filter itself, too: a quota beside this one comes and goes.
        let beside = if number % 2 == 0 { vec![] } else { vec![other()] };
        push([vec![charge(vec![to(limit(500))])], beside].concat(), number);
    }
    assert_eq!(passed(300), 200);
    push(vec![charge(vec![to(limit(501))])], 0);
    assert_eq!(passed(600), 501, "another limit begins anew");
}

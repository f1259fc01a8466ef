//! Which route a request takes.

use super::*;
use crate::engine::facts::TlsFacts;
use crate::engine::routing::{Mismatch, NoRoute};
use crate::resource::matcher::{
    HeaderMatcher, HeaderSpecifier, MetadataMatcher, StringMatcher, StringPattern, ValueMatcher,
};
use crate::resource::metadata::Value;
use crate::resource::route::{
    ClusterSpecifier, CookieMatcher, FractionalPercent, PathSpecifier, QueryParameterMatcher, QuerySpecifier,
    TlsContextMatch, VirtualCluster, WeightedCluster, WeightedClusters,
};

/// Whether the first of two routes takes a request; the second takes everything else.
fn hits(matches: RouteMatch, asked: &Asked) -> bool {
    let table = compile(&routes(vec![route(matches, "hit"), route(RouteMatch::prefix("/"), "miss")]));
    let taken = cluster(&table, asked, 7);
    assert!(taken == "hit" || taken == "miss" || asked.method == Method::CONNECT, "{taken}");
    taken == "hit"
}

fn any() -> RouteMatch {
    RouteMatch::prefix("/")
}

#[test]
fn the_first_route_that_matches_is_taken() {
    let table = compile(&routes(vec![
        route(RouteMatch::path("/a"), "exact"),
        route(RouteMatch::prefix("/a"), "prefix"),
        route(RouteMatch::prefix("/a/b"), "never"),
    ]));
    assert_eq!(cluster(&table, &Asked::get("/a"), 0), "exact");
    assert_eq!(cluster(&table, &Asked::get("/a/b"), 0), "prefix");
    assert_eq!(table.decide(&Asked::get("/b").facts(), 0), Err(NoRoute::Route));
    assert_eq!(compile(&config(vec![])).decide(&Asked::get("/").facts(), 0), Err(NoRoute::VirtualHost));
}

#[test]
fn s03_no_path_predicate_sees_query_or_fragment() {
    for path in ["/x?", "/x?a", "/x#", "/x#?a", "/x?a#b"] {
        for specifier in [
            PathSpecifier::Path("/x".into()),
            PathSpecifier::SafeRegex("/x".into()),
            PathSpecifier::PathSeparatedPrefix("/x".into()),
            PathSpecifier::UriTemplate("/x".into()),
        ] {
            assert!(hits(RouteMatch::new(specifier.clone()), &Asked::get(path)), "{specifier:?} {path}");
        }
        assert!(!hits(RouteMatch::prefix("/x?"), &Asked::get(path)));
    }
}

#[test]
fn path_parameters_are_ignored_only_when_asked() {
    let mut config = routes(vec![route(RouteMatch::path("/a"), "a"), route(any(), "other")]);
    assert_eq!(cluster(&compile(&config), &Asked::get("/a;v=1"), 0), "other");
    config.ignore_path_parameters_in_path_matching = true;
    assert_eq!(cluster(&compile(&config), &Asked::get("/a;v=1?q"), 0), "a");
}

#[test]
fn headers_match_with_pseudo_headers_and_all_of_them_must() {
    let header =
        |name: &str, value: &str| HeaderMatcher::new(name, HeaderSpecifier::String(StringMatcher::exact(value)));
    let matches = |headers: Vec<HeaderMatcher>| RouteMatch { headers, ..any() };
    let asked = Asked::get("/p?q=1").header("x-a", "v");
    for (name, value) in [
        ("host", "a.test"),
        (":authority", "a.test"),
        (":path", "/p?q=1"),
        (":method", "GET"),
        (":scheme", "http"),
        ("X-A", "v"),
    ] {
        assert!(hits(matches(vec![header(name, value)]), &asked), "{name}");
    }
    assert!(!hits(matches(vec![header("x-a", "v"), header("x-b", "v")]), &asked));
}

#[test]
fn query_parameters_match_on_their_first_value_as_written() {
    let parameter = |specifier: QuerySpecifier| RouteMatch {
        query_parameters: vec![QueryParameterMatcher { name: "a".into(), specifier }],
        ..any()
    };
    let exact = |text: &str| parameter(QuerySpecifier::String(StringMatcher::exact(text)));
    for (path, expected) in [
        ("/?a=1", true),
        ("/?a=1&a=2", true),
        ("/?a=2&a=1", false),
        ("/?A=1", false),
        ("/?a=%31", false),
        ("/?%61=1", false),
        ("/?a", false),
        ("/", false),
        ("/?b=2&a=1", true),
        ("/?a=1;b=2", false),
        ("/?&&a=1", true),
    ] {
        assert_eq!(hits(exact("1"), &Asked::get(path)), expected, "{path}");
    }
    assert!(
        hits(exact(""), &Asked::get("/?a"))
            && hits(exact(""), &Asked::get("/?a="))
            && !hits(exact(""), &Asked::get("/?b"))
    );
    assert!(!hits(exact("x y"), &Asked::get("/?a=x%20y")) && !hits(exact("x y"), &Asked::get("/?a=x+y")));
    let any_case = StringMatcher { pattern: StringPattern::Prefix("FO".into()), ignore_case: true };
    assert!(hits(parameter(QuerySpecifier::String(any_case)), &Asked::get("/?a=foo")));
    assert!(
        hits(parameter(QuerySpecifier::Present(true)), &Asked::get("/?a"))
            && !hits(parameter(QuerySpecifier::Present(true)), &Asked::get("/"))
    );
    assert!(
        hits(parameter(QuerySpecifier::Present(false)), &Asked::get("/"))
            && !hits(parameter(QuerySpecifier::Present(false)), &Asked::get("/?a=1"))
    );
}

#[test]
fn cookies_match_on_the_first_of_their_name_and_a_missing_one_matches_inverted() {
    let cookie = |name: &str, invert_match| RouteMatch {
        cookies: vec![CookieMatcher { name: name.into(), string_match: StringMatcher::exact("1"), invert_match }],
        ..any()
    };
    for (line, plain, inverted) in [
        ("c=1", true, false),
        ("a=0; c=1", true, false),
        ("c=2; c=1", false, true),
        ("c=\"1\"; d=1", true, false),
        ("x=1", false, true),
        ("c", false, true),
    ] {
        let asked = Asked::get("/").header("cookie", line);
        assert_eq!((hits(cookie("c", false), &asked), hits(cookie("c", true), &asked)), (plain, inverted), "{line}");
    }
    assert!(hits(cookie("c", true), &Asked::get("/")));
    assert!(hits(cookie("c", false), &Asked::get("/").header("cookie", "a=2").header("cookie", "c=1")));
}

#[test]
fn grpc_is_told_by_its_content_type() {
    let matches = || RouteMatch { grpc: true, ..any() };
    for (content_type, expected) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc-web", false),
        ("application/grpcx", false),
        ("application/grpc;x", false),
    ] {
        assert_eq!(hits(matches(), &Asked::get("/").header("content-type", content_type)), expected, "{content_type}");
    }
}

#[test]
fn tls_conditions_look_at_the_callers_certificate() {
    let matches =
        |presented, validated| RouteMatch { tls_context: Some(TlsContextMatch { presented, validated }), ..any() };
    let plain = Asked::get("/");
    let mut tls = plain.clone();
    tls.connection.tls = Some(TlsFacts { presented: true, ..TlsFacts::default() });
    assert!(hits(matches(Some(true), None), &tls) && !hits(matches(Some(true), None), &plain));
    assert!(hits(matches(Some(false), Some(false)), &plain) && !hits(matches(None, Some(true)), &tls));
}

#[test]
fn dynamic_metadata_conditions_look_at_what_filters_found() {
    let value = ValueMatcher::String(StringMatcher::exact("v"));
    let matcher = MetadataMatcher { filter: "f".into(), path: vec!["k".into()], value, invert: false };
    let matches = || RouteMatch { dynamic_metadata: vec![matcher.clone()], ..any() };
    let mut asked = Asked::get("/");
    assert!(!hits(matches(), &asked));
    asked.metadata.insert("f".into(), Value::Struct([("k".to_owned(), Value::Text("v".into()))].into()));
    assert!(hits(matches(), &asked));
}

#[test]
fn connect_requests_take_only_connect_routes() {
    let mut asked = Asked::get("/");
    assert!(!hits(RouteMatch::new(PathSpecifier::Connect), &asked));
    asked.method = Method::CONNECT;
    assert!(hits(RouteMatch::new(PathSpecifier::Connect), &asked));
    assert!(!hits(any(), &asked));
}

#[test]
fn a_fraction_takes_its_share_and_leaves_the_rest_to_later_routes() {
    let part = |numerator, denominator| RouteMatch {
        runtime_fraction: Some(FractionalPercent { numerator, denominator }),
        ..any()
    };
    let table = compile(&routes(vec![
        route(part(25, 100), "quarter"),
        // The same draw as for the first route: half of all requests, of which the first has one half already.
        route(part(50, 100), "next"),
        route(any(), "rest"),
    ]));
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for random in 0..40_000 {
        *seen.entry(cluster(&table, &Asked::get("/"), random)).or_default() += 1;
    }
    for (name, expected) in [("quarter", 10_000), ("next", 10_000), ("rest", 20_000)] {
        assert!(seen[name].abs_diff(expected) < 400, "{seen:?}");
    }
    let none = compile(&routes(vec![route(part(0, 100), "none"), route(part(100, 100), "all")]));
    assert!((0..1000).all(|random| cluster(&none, &Asked::get("/"), random) == "all"));
}

#[test]
fn fraction_and_weights_are_drawn_independently() {
    let weighted = WeightedClusters {
        clusters: vec![WeightedCluster::new("a", 50), WeightedCluster::new("b", 50)],
        random_value_header: None,
    };
    let half = RouteMatch { runtime_fraction: Some(FractionalPercent::percent(50)), ..any() };
    let table = compile(&routes(vec![
        forward(half, Forward::new(ClusterSpecifier::WeightedClusters(weighted))),
        route(any(), "rest"),
    ]));
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for random in 0..40_000 {
        *seen.entry(cluster(&table, &Asked::get("/"), random)).or_default() += 1;
    }
    for (name, expected) in [("a", 10_000), ("b", 10_000), ("rest", 20_000)] {
        assert!(seen[name].abs_diff(expected) < 400, "{seen:?}");
    }
}

#[test]
fn weights_converge_and_the_same_number_draws_the_same() {
    let weighted = |weights: &[u32]| {
        let clusters =
            weights.iter().enumerate().map(|(at, weight)| WeightedCluster::new(at.to_string(), *weight)).collect();
        let action = Forward::new(ClusterSpecifier::WeightedClusters(WeightedClusters {
            clusters,
            random_value_header: Some("x-draw".into()),
        }));
        compile(&routes(vec![forward(any(), action)]))
    };
    for weights in [&[80, 20][..], &[1, 1, 1], &[3, 0, 7], &[1, 999], &[u32::MAX / 2, u32::MAX / 2]] {
        let table = weighted(weights);
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let mut seen = vec![0_u64; weights.len()];
        for random in 0..100_000 {
            let name = cluster(&table, &Asked::get("/"), random);
            assert_eq!(name, cluster(&table, &Asked::get("/"), random));
            seen[name.parse::<usize>().unwrap()] += 1;
        }
        for (weight, seen) in weights.iter().zip(&seen) {
            let expected = u64::from(*weight) * 100_000 / total;
            assert!(seen.abs_diff(expected) < 700, "{weights:?} {seen} {expected}");
        }
    }
    let table = weighted(&[1, 1]);
    for (given, expected) in [("0", "0"), ("1", "1"), ("2", "0")] {
        assert_eq!(cluster(&table, &Asked::get("/").header("x-draw", given), 7), expected);
    }
}

#[test]
fn a_decision_is_small_and_the_whole_of_it_is_in_three_numbers() {
    assert_eq!(size_of::<RouteDecision>(), 12);
}

#[test]
fn clusters_named_by_a_header_come_from_its_first_value() {
    let action = Forward::new(ClusterSpecifier::ClusterHeader("X-C".into()));
    let authority = Forward::new(ClusterSpecifier::ClusterHeader(":authority".into()));
    let table = compile(&routes(vec![forward(RouteMatch::prefix("/h"), authority), forward(any(), action)]));
    let named = |asked: &Asked| match table.action(decide(&table, asked), &asked.facts()) {
        Decided::ForwardByName(name) => Some(name.to_owned()),
        Decided::Forward(None) => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(named(&Asked::get("/").header("x-c", "up2").header("x-c", "up")).as_deref(), Some("up2"));
    assert_eq!(named(&Asked::get("/")), None);
    assert_eq!(named(&Asked::get("/").header("x-c", "")), None);
    assert_eq!(named(&Asked::get("/h")).as_deref(), Some("a.test"));
}

#[test]
fn virtual_clusters_name_requests_by_all_their_headers() {
    let regex = HeaderSpecifier::String(StringMatcher::new(StringPattern::SafeRegex("^/users/\\d+$".into())));
    let put = HeaderSpecifier::String(StringMatcher::exact("PUT"));
    let mut with = host(&["*"], vec![route(any(), "c")]);
    let headers = vec![HeaderMatcher::new(":path", regex), HeaderMatcher::new(":method", put)];
    with.virtual_clusters = vec![VirtualCluster { name: "update_user".into(), headers }];
    let table = compile(&config(vec![with]));
    let mut asked = Asked::get("/users/12");
    assert_eq!(table.virtual_cluster(decide(&table, &asked), &asked.facts()), None);
    asked.method = Method::PUT;
    assert_eq!(table.virtual_cluster(decide(&table, &asked), &asked.facts()).map(|name| &**name), Some("update_user"));
}

#[test]
fn an_explanation_names_the_domain_and_what_did_not_hold() {
    let mut matches = any();
    matches.headers = vec![HeaderMatcher::new("end-user", HeaderSpecifier::String(StringMatcher::exact("jason")))];
    let mut named = route(matches, "v2");
    named.name = "jason".into();
    let table =
        compile(&config(vec![host(&["*.test"], vec![route(RouteMatch::path("/x"), "x"), named, route(any(), "v1")])]));
    let explanation = table.explain(&Asked::get("/y").facts(), 7);
    assert_eq!(
        explanation.skipped.iter().map(|one| one.mismatch).collect::<Vec<_>>(),
        [Mismatch::Path, Mismatch::Header(0)]
    );
    assert_eq!(
        explanation.to_string(),
        "host a.test: virtual host *.test (domain *.test)\n  \
           route #0: path \"/x\" does not match \"/y\"\n  \
           route #1 (jason): header end-user exact \"jason\" is not so\n  \
           route #2: matches: cluster v1"
    );
    assert_eq!(table.explain(&Asked::get("/").host("b").facts(), 7).to_string(), "host b: no virtual host (404 NR)");
}

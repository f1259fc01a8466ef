//! What is refused, and where the refusal points; and what routes inherit.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::*;
use crate::resource::header_mutation::{AppendAction, HeaderValueOption};
use crate::resource::matcher::{HeaderMatcher, HeaderSpecifier, StringMatcher, StringPattern};
use crate::resource::retry::{RetryOn, RetryPolicy};
use crate::resource::route::{
    ClusterSpecifier, CookieMatcher, DirectResponse, FractionalPercent, HashPolicy, HashSpecifier, HostRewrite,
    MirrorPolicy, PathRewrite, PathSpecifier, QueryParameterMatcher, QuerySpecifier, Redirect, RegexRewrite,
    VirtualCluster, WeightedCluster, WeightedClusters,
};

fn any() -> RouteMatch {
    RouteMatch::prefix("/")
}

fn regex(pattern: &str) -> StringMatcher {
    StringMatcher::new(StringPattern::SafeRegex(pattern.into()))
}

fn weighted(clusters: Vec<WeightedCluster>) -> Route {
    let weighted = WeightedClusters { clusters, random_value_header: None };
    forward(any(), Forward::new(ClusterSpecifier::WeightedClusters(weighted)))
}

fn matching(change: impl FnOnce(&mut RouteMatch)) -> Route {
    let mut matches = any();
    change(&mut matches);
    route(matches, "c")
}

fn forwarding(change: impl FnOnce(&mut Forward)) -> Route {
    let mut to = Forward::to("c");
    change(&mut to);
    forward(any(), to)
}

fn mutating(change: impl FnOnce(&mut Route)) -> Route {
    let mut route = route(any(), "c");
    change(&mut route);
    route
}

fn mirror(cluster: ClusterSpecifier) -> MirrorPolicy {
    MirrorPolicy { cluster, ..MirrorPolicy::to("") }
}

#[test]
fn a_bad_route_is_refused_with_the_path_of_its_field() {
    let add = |key: &str, value: &str| vec![HeaderValueOption::new(key, value, AppendAction::AppendIfExistsOrAdd)];
    let bad_rewrite = || RegexRewrite { pattern: "(".into(), substitution: String::new() };
    let direct = |status: u16, body: usize| {
        let action =
            DirectResponse { status: StatusCode::from_u16(status).unwrap(), body: Bytes::from(vec![b'x'; body]) };
        Route::new(any(), RouteAction::DirectResponse(action))
    };
    let nested = WeightedCluster {
        cluster: ClusterSpecifier::WeightedClusters(WeightedClusters::default()),
        ..WeightedCluster::new("", 1)
    };
    let table: Vec<(Route, &str, &str)> = vec![
        (
            route(RouteMatch::new(PathSpecifier::PathSeparatedPrefix("/a/".into())), "c"),
            "match.path_separated_prefix",
            "\"/a/\"",
        ),
        (
            route(RouteMatch::new(PathSpecifier::SafeRegex("(".into())), "c"),
            "match.safe_regex.regex",
            "regular expression",
        ),
        (route(RouteMatch::new(PathSpecifier::UriTemplate("/{*}".into())), "c"), "match.path_match_policy", "template"),
        (
            matching(|one| one.headers = vec![HeaderMatcher::new("x", HeaderSpecifier::String(regex("(")))]),
            "match.headers[0]",
            "regular expression",
        ),
        (
            matching(|one| one.headers = vec![HeaderMatcher::new("a b", HeaderSpecifier::Present(true))]),
            "match.headers[0]",
            "header name",
        ),
        (
            matching(|one| {
                one.query_parameters =
                    vec![QueryParameterMatcher { name: String::new(), specifier: QuerySpecifier::Present(true) }]
            }),
            "match.query_parameters[0]",
            "name",
        ),
        (
            matching(|one| {
                one.cookies = vec![CookieMatcher { name: "c".into(), string_match: regex("["), invert_match: false }]
            }),
            "match.cookies[0]",
            "regular expression",
        ),
        (
            matching(|one| one.runtime_fraction = Some(FractionalPercent { numerator: 1, denominator: 7 })),
            "match.runtime_fraction.default_value",
            "7",
        ),
        (route(any(), ""), "route.cluster", "required"),
        (
            forward(any(), Forward::new(ClusterSpecifier::ClusterHeader(String::new()))),
            "route.cluster_header",
            "header name",
        ),
        (weighted(vec![]), "route.weighted_clusters.clusters", "required"),
        (weighted(vec![WeightedCluster::new("a", 0)]), "route.weighted_clusters.clusters", "greater than 0"),
        (
            weighted(vec![WeightedCluster::new("a", u32::MAX), WeightedCluster::new("b", 1)]),
            "route.weighted_clusters.clusters",
            "4294967295",
        ),
        (weighted(vec![WeightedCluster::new("", 1)]), "route.weighted_clusters.clusters[0].name", "required"),
        (weighted(vec![nested]), "route.weighted_clusters.clusters[0]", "nested"),
        (
            forwarding(|one| one.cluster_not_found_response_code = StatusCode::OK),
            "route.cluster_not_found_response_code",
            "200",
        ),
        (
            forwarding(|one| one.path_rewrite = Some(PathRewrite::Regex(bad_rewrite()))),
            "route.regex_rewrite",
            "regular expression",
        ),
        (
            forwarding(|one| one.path_rewrite = Some(PathRewrite::UriTemplate("/x".into()))),
            "route.path_rewrite_policy",
            "URI template",
        ),
        (
            forwarding(|one| one.host_rewrite = Some(HostRewrite::Literal("a b".into()))),
            "route.host_rewrite_literal",
            "host",
        ),
        (
            forwarding(|one| one.host_rewrite = Some(HostRewrite::PathRegex(bad_rewrite()))),
            "route.host_rewrite_path_regex",
            "regular expression",
        ),
        (
            forwarding(|one| {
                one.hash_policy =
                    vec![HashPolicy { specifier: HashSpecifier::QueryParameter(String::new()), terminal: false }]
            }),
            "route.hash_policy[0]",
            "required",
        ),
        (
            forwarding(|one| one.mirror_policies = vec![mirror(ClusterSpecifier::Cluster("".into()))]),
            "route.request_mirror_policies[0].cluster",
            "required",
        ),
        (
            forwarding(|one| {
                let header = HeaderMatcher::new("x", HeaderSpecifier::String(regex("(")));
                one.retry_policy =
                    Some(Arc::new(RetryPolicy { retriable_headers: vec![header], ..RetryPolicy::default() }));
            }),
            "route.retry_policy.retriable_headers[0]",
            "regular expression",
        ),
        (
            mutating(|one| one.request_headers.add = add("x", "%NOPE%")),
            "request_headers_to_add[0].header.value",
            "NOPE",
        ),
        (
            mutating(|one| one.request_headers.add = add("x", "50%")),
            "request_headers_to_add[0].header.value",
            "position 2",
        ),
        (mutating(|one| one.request_headers.add = add("host", "x")), "request_headers_to_add[0].header.key", "host"),
        (
            mutating(|one| one.response_headers.add = add(":status", "1")),
            "response_headers_to_add[0].header.key",
            "pseudo",
        ),
        (mutating(|one| one.request_headers.remove = vec!["Host".into()]), "request_headers_to_remove[0]", "host"),
        (direct(200, 4097), "direct_response.body", "4096"),
        (direct(100, 0), "direct_response.status", "100"),
        (direct(600, 0), "direct_response.status", "600"),
        (
            Route::new(
                any(),
                RouteAction::Redirect(Redirect { response_code: StatusCode::MULTIPLE_CHOICES, ..Redirect::default() }),
            ),
            "redirect.response_code",
            "300",
        ),
        (
            Route::new(any(), RouteAction::Redirect(Redirect { host: Some("a\nb".into()), ..Redirect::default() })),
            "redirect.host_redirect",
            "header",
        ),
    ];
    for (bad, field, why) in table {
        let error = try_compile(&routes(vec![route(any(), "c"), bad])).unwrap_err();
        assert_eq!(error.field.as_str(), format!("virtual_hosts[0].routes[1].{field}"));
        assert!(error.problem.to_string().contains(why), "{error}");
        assert!(error.to_string().starts_with("RouteConfiguration/rc: "), "{error}");
    }
}

#[test]
fn a_bad_virtual_host_or_configuration_is_refused_with_the_path_of_its_field() {
    let unnamed = VirtualHost { name: "".into(), ..host(&["a"], vec![]) };
    let headers = vec![HeaderMatcher::new("", HeaderSpecifier::Present(true))];
    let bad_cluster =
        VirtualHost { virtual_clusters: vec![VirtualCluster { name: "v".into(), headers }], ..host(&["a"], vec![]) };
    let internal = RouteConfiguration { internal_only_headers: vec!["a b".into()], ..config(vec![]) };
    let mut format = config(vec![]);
    format.response_headers.add = vec![HeaderValueOption::new("x", "%", AppendAction::default())];
    for (config, field, why) in [
        (
            config(vec![host(&["a", "b"], vec![]), host(&["B"], vec![])]),
            "virtual_hosts[1].domains[0]",
            "\"B\" is a domain",
        ),
        (
            config(vec![host(&["*"], vec![]), host(&["*"], vec![])]),
            "virtual_hosts[1].domains[0]",
            "one virtual host only",
        ),
        (config(vec![host(&["a", "A"], vec![])]), "virtual_hosts[0].domains[1]", "\"A\""),
        (config(vec![host(&["a", ""], vec![])]), "virtual_hosts[0].domains[1]", "required"),
        (config(vec![VirtualHost { name: "v".into(), ..host(&[], vec![]) }]), "virtual_hosts[0].domains", "required"),
        (config(vec![unnamed]), "virtual_hosts[0].name", "required"),
        (config(vec![bad_cluster]), "virtual_hosts[0].virtual_clusters[0].headers[0]", "header name"),
        (internal, "internal_only_headers[0]", "header name"),
        (format, "response_headers_to_add[0].header.value", "%"),
    ] {
        let error = try_compile(&config).unwrap_err();
        assert_eq!(error.field.as_str(), field);
        assert!(error.problem.to_string().contains(why), "{error}");
    }
}

#[test]
fn several_path_rewrites_are_refused() {
    let regex = RegexRewrite { pattern: "a".into(), substitution: "b".into() };
    assert!(PathRewrite::one_of(Some("/a".into()), Some(regex.clone()), None).is_err());
    assert!(PathRewrite::one_of(None, Some(regex.clone()), Some("/".into())).is_err());
    assert_eq!(PathRewrite::one_of(None, Some(regex.clone()), None), Ok(Some(PathRewrite::Regex(regex))));
    assert_eq!(PathRewrite::one_of(None, None, None), Ok(None));
}

#[test]
fn a_larger_direct_response_is_taken_when_the_limit_allows_it() {
    let action = DirectResponse { status: StatusCode::OK, body: Bytes::from(vec![b'x'; 5000]) };
    let mut config = routes(vec![Route::new(any(), RouteAction::DirectResponse(action))]);
    assert!(try_compile(&config).is_err());
    config.max_direct_response_body_size_bytes = Some(5000);
    assert!(try_compile(&config).is_ok());
}

#[test]
fn routes_take_from_their_virtual_host_what_they_do_not_say() {
    let policy = |on: RetryOn| Arc::new(RetryPolicy { retry_on: on, ..RetryPolicy::default() });
    let own = forward(
        RouteMatch::path("/own"),
        Forward {
            retry_policy: Some(policy(RetryOn::RESET)),
            mirror_policies: vec![mirror(ClusterSpecifier::Cluster("m-route".into()))],
            timeout: Some(Duration::ZERO),
            ..Forward::to("c")
        },
    );
    let own = Route { request_body_buffer_limit: Some(1), ..own };
    let with = VirtualHost {
        retry_policy: Some(policy(RetryOn::FIVE_XX)),
        request_body_buffer_limit: Some(2),
        mirror_policies: vec![mirror(ClusterSpecifier::Cluster("m-vh".into()))],
        ..host(&["a"], vec![own, route(any(), "c")])
    };
    let without = host(&["b"], vec![route(any(), "c")]);
    let table = compile(&RouteConfiguration {
        mirror_policies: vec![mirror(ClusterSpecifier::Cluster("m-rc".into()))],
        ..config(vec![with, without])
    });
    for (authority, path, retry_on, limit, mirror, timeout) in [
        ("a", "/own", Some(RetryOn::RESET), Some(1), "m-route", Some(Duration::ZERO)),
        ("a", "/", Some(RetryOn::FIVE_XX), Some(2), "m-vh", None),
        ("b", "/", None, None, "m-rc", None),
    ] {
        let route = table.route(decide(&table, &Asked::get(path).host(authority)));
        assert_eq!(route.retry_policy().map(|policy| policy.retry_on), retry_on);
        assert_eq!(route.retry().is_some(), retry_on.is_some());
        assert_eq!(route.request_body_buffer_limit(), limit);
        assert_eq!(route.timeouts().timeout, timeout);
        assert_eq!(&*route.virtual_host().clone(), authority);
        let mirrors: Vec<_> = route.mirrors().iter().map(|one| one.cluster.clone()).collect();
        assert!(matches!(&mirrors[..], [ClusterRef::Cluster(_, name)] if **name == *mirror), "{mirrors:?}");
    }
}

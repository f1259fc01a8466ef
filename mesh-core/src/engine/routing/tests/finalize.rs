//! What reaches the upstream and the caller. The cases are what Envoy 1.40 was seen to do.

use http::{Request, Response};

use super::*;
use crate::engine::filter::RouteConfig;
use crate::engine::headers::FormatContext;
use crate::engine::routing::RewriteFailed;
use crate::resource::filter::RouteConfig as Config;
use crate::resource::header_mutation::{AppendAction, HeaderMutations, HeaderValueOption};
use crate::resource::route::{
    ClusterSpecifier, FilterOverride, HostRewrite, PathRewrite, PathSpecifier, PerFilterConfig, RegexRewrite,
    WeightedCluster, WeightedClusters,
};

/// A request by HTTP/1.1 (`Host` header) and the same one by HTTP/2 (absolute URI).
fn requests(path: &str) -> [Request<()>; 2] {
    let relative = Request::get(path).header("host", "a.test").header("x-id", "id.test").body(()).unwrap();
    let absolute = Request::get(format!("http://a.test{path}")).header("x-id", "id.test").body(()).unwrap();
    [relative, absolute]
}

fn sent(table: &RouteTable, request: &mut Request<()>) -> Result<RouteDecision, RewriteFailed> {
    let (connection, metadata) =
        (ConnectionFacts { protocol: "HTTP/1.1", ..ConnectionFacts::default() }, Metadata::new());
    let facts = RequestFacts::of(request, &connection, &metadata);
    let decision = table.decide(&facts, 7).unwrap();
    table.apply_request(decision, request, &FormatContext::for_request(&connection, &metadata)).map(|()| decision)
}

fn header<'r>(request: &'r Request<()>, name: &str) -> &'r str {
    request.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

fn host_of(request: &Request<()>) -> &str {
    request.uri().authority().map_or_else(|| header(request, "host"), http::uri::Authority::as_str)
}

fn rewriting(matches: RouteMatch, path: PathRewrite) -> RouteTable {
    compile(&routes(vec![forward(matches, Forward { path_rewrite: Some(path), ..Forward::to("c") })]))
}

fn regex(pattern: &str, substitution: &str) -> RegexRewrite {
    RegexRewrite { pattern: pattern.into(), substitution: substitution.into() }
}

#[test]
fn a_path_is_rewritten_as_plain_text_and_its_query_stays() {
    let prefix = |to: &str| PathRewrite::Prefix(to.into());
    let separated = || RouteMatch::new(PathSpecifier::PathSeparatedPrefix("/a".into()));
    let template = || RouteMatch::new(PathSpecifier::UriTemplate("/{x}/{y=**}".into()));
    let any_case = || RouteMatch { case_sensitive: false, ..RouteMatch::prefix("/api") };
    for (matches, rewrite, path, expected) in [
        (RouteMatch::prefix("/api"), prefix("/"), "/api", "/"),
        (RouteMatch::prefix("/api"), prefix("/"), "/api/x", "//x"),
        (RouteMatch::prefix("/api"), prefix("/"), "/apix", "/x"),
        (RouteMatch::prefix("/api"), prefix("/"), "/api?q=1", "/?q=1"),
        (any_case(), prefix("/n"), "/API/X", "/n/X"),
        (RouteMatch::path("/a/b"), prefix("/n"), "/a/b?q=1", "/n?q=1"),
        (separated(), prefix("/n"), "/a/b?q=1", "/n/b?q=1"),
        (separated(), prefix("/"), "/a/b?q=1", "//b?q=1"),
        (separated(), prefix("/"), "/a?q", "/?q"),
        (RouteMatch::new(PathSpecifier::SafeRegex("/r.*".into())), prefix("/n"), "/rest?q", "/n?q"),
        (RouteMatch::prefix("/"), PathRewrite::Regex(regex("a(b)?", "<\\1>")), "/x?ab=1", "/x?ab=1"),
        (RouteMatch::prefix("/"), PathRewrite::Regex(regex("a(b)?", "[\\1]")), "/ab/a/ab?ab=1", "/[b]/[]/[b]?ab=1"),
        (RouteMatch::prefix("/a"), prefix("/a"), "/a/b", "/a/b"),
        (template(), PathRewrite::UriTemplate("/n/{y}/{x}".into()), "/1/2/3?q", "/n/2/3/1?q"),
    ] {
        let table = rewriting(matches, rewrite);
        for mut request in requests(path) {
            let absolute = request.uri().authority().is_some();
            sent(&table, &mut request).unwrap();
            assert_eq!(request.uri().path_and_query().unwrap().as_str(), expected, "{path}");
            assert_eq!(header(&request, "x-envoy-original-path"), path);
            assert_eq!((request.uri().authority().is_some(), host_of(&request)), (absolute, "a.test"));
        }
    }
}

#[test]
fn an_empty_prefix_rewrite_is_none() {
    let table = rewriting(RouteMatch::prefix("/a"), PathRewrite::Prefix(String::new()));
    let [mut request, _] = requests("/a/b");
    sent(&table, &mut request).unwrap();
    assert_eq!((request.uri().path(), header(&request, "x-envoy-original-path")), ("/a/b", ""));
}

#[test]
fn a_rewrite_that_makes_no_path_or_host_fails_and_sends_nothing() {
    for rewrite in [regex("^/", ""), regex("b", " "), regex("b", "#"), regex("b", "\u{1}")] {
        for mut request in requests("/a/b") {
            let table = rewriting(RouteMatch::prefix("/"), PathRewrite::Regex(rewrite.clone()));
            assert_eq!(sent(&table, &mut request), Err(RewriteFailed::Path), "{rewrite:?}");
        }
    }
    let host_rewrite = Some(HostRewrite::PathRegex(regex("^/(.*)$", "\\1 x")));
    let table = compile(&routes(vec![forward(RouteMatch::prefix("/"), Forward { host_rewrite, ..Forward::to("c") })]));
    for mut request in requests("/a") {
        assert_eq!(sent(&table, &mut request), Err(RewriteFailed::Host));
    }
    assert_eq!(RewriteFailed::Host.into_reply().status.as_u16(), 500);
}

#[test]
fn a_host_is_rewritten_wherever_it_stands() {
    for (rewrite, append, expected) in [
        (HostRewrite::Literal("h.new".into()), true, "h.new"),
        (HostRewrite::Literal("h.new:81".into()), false, "h.new:81"),
        (HostRewrite::Header("x-id".into()), false, "id.test"),
        (HostRewrite::PathRegex(regex("^/([^/?]+).*$", "\\1.new")), true, "abc.new"),
    ] {
        let action = Forward { host_rewrite: Some(rewrite), append_x_forwarded_host: append, ..Forward::to("c") };
        let table = compile(&routes(vec![forward(RouteMatch::prefix("/"), action)]));
        for mut request in requests("/abc/x?y") {
            sent(&table, &mut request).unwrap();
            assert_eq!((host_of(&request), request.uri().path_and_query().unwrap().as_str()), (expected, "/abc/x?y"));
            assert_eq!(header(&request, "x-envoy-original-host"), "a.test");
            assert_eq!(header(&request, "x-forwarded-host"), if append { "a.test" } else { "" });
            assert!(request.headers().get_all("host").iter().count() <= 1);
        }
    }
    let action = Forward { host_rewrite: Some(HostRewrite::Header("x-none".into())), ..Forward::to("c") };
    let table = compile(&routes(vec![forward(RouteMatch::prefix("/"), action)]));
    for mut request in requests("/") {
        sent(&table, &mut request).unwrap();
        assert_eq!((host_of(&request), header(&request, "x-envoy-original-host")), ("a.test", ""));
    }
}

#[test]
fn both_places_of_a_host_are_rewritten_together() {
    let action = Forward { host_rewrite: Some(HostRewrite::Literal("h.new".into())), ..Forward::to("c") };
    let table = compile(&routes(vec![forward(RouteMatch::prefix("/"), action)]));
    let mut request = Request::get("http://a.test/").header("host", "other.test").body(()).unwrap();
    sent(&table, &mut request).unwrap();
    assert_eq!(
        (host_of(&request), header(&request, "host"), header(&request, "x-envoy-original-host")),
        ("h.new", "h.new", "a.test")
    );
}

#[test]
fn the_endpoints_host_name_is_used_only_where_the_route_says_so() {
    for (rewrite, hostname, expected) in [
        (Some(HostRewrite::Auto), "ep.test", "ep.test"),
        (Some(HostRewrite::Auto), "", "a.test"),
        (None, "ep.test", "a.test"),
    ] {
        let table = compile(&routes(vec![forward(
            RouteMatch::prefix("/"),
            Forward { host_rewrite: rewrite, ..Forward::to("c") },
        )]));
        for mut request in requests("/") {
            let decision = sent(&table, &mut request).unwrap();
            assert_eq!(host_of(&request), "a.test");
            table.apply_upstream_host(decision, &mut request, hostname);
            assert_eq!(host_of(&request), expected);
        }
    }
}

#[test]
fn x_forwarded_host_grows_unless_it_already_ends_so() {
    let action = Forward {
        host_rewrite: Some(HostRewrite::Literal("h".into())),
        append_x_forwarded_host: true,
        ..Forward::to("c")
    };
    let table = compile(&routes(vec![forward(RouteMatch::prefix("/"), action)]));
    for (before, after) in [("x.test", "x.test,a.test"), ("x.test, a.test", "x.test, a.test")] {
        let mut request =
            Request::get("/").header("host", "a.test").header("x-forwarded-host", before).body(()).unwrap();
        sent(&table, &mut request).unwrap();
        assert_eq!(header(&request, "x-forwarded-host"), after);
    }
}

/// Every level sets `x-o` and appends to `x-l`, on requests and responses.
fn levels(most_specific_wins: bool) -> RouteTable {
    let level = |name: &str| HeaderMutations {
        add: vec![
            HeaderValueOption::new("x-o", name, AppendAction::OverwriteIfExistsOrAdd),
            HeaderValueOption::new("x-l", name, AppendAction::AppendIfExistsOrAdd),
        ],
        remove: vec![],
        ..HeaderMutations::default()
    };
    let entry =
        WeightedCluster { request_headers: level("wc"), response_headers: level("wc"), ..WeightedCluster::new("c", 1) };
    let weighted = WeightedClusters { clusters: vec![entry], random_value_header: None };
    let mut route = forward(RouteMatch::prefix("/"), Forward::new(ClusterSpecifier::WeightedClusters(weighted)));
    (route.request_headers, route.response_headers) = (level("route"), level("route"));
    let vhost =
        VirtualHost { request_headers: level("vh"), response_headers: level("vh"), ..host(&["*"], vec![route]) };
    compile(&RouteConfiguration {
        request_headers: level("rc"),
        response_headers: level("rc"),
        most_specific_header_mutations_wins: most_specific_wins,
        ..config(vec![vhost])
    })
}

#[test]
fn header_changes_come_in_envoys_order_of_levels() {
    for (most_specific_wins, order, winner) in
        [(false, ["wc", "route", "vh", "rc"], "rc"), (true, ["wc", "rc", "vh", "route"], "route")]
    {
        let table = levels(most_specific_wins);
        let [mut request, _] = requests("/");
        let decision = sent(&table, &mut request).unwrap();
        let list = |headers: &HeaderMap| {
            headers.get_all("x-l").iter().map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!((list(request.headers()), header(&request, "x-o")), (order.map(str::to_owned).to_vec(), winner));
        let mut response = Response::new(());
        let (connection, metadata) = (ConnectionFacts::default(), Metadata::new());
        table.apply_response(decision, &mut response, &FormatContext::for_request(&connection, &metadata));
        assert_eq!(
            (list(response.headers()), response.headers()["x-o"].to_str().unwrap()),
            (order.map(str::to_owned).to_vec(), winner)
        );
    }
}

#[test]
fn formats_see_the_request_before_their_level_and_before_rewrites() {
    let option = |key: &str, value: &str| HeaderValueOption::new(key, value, AppendAction::OverwriteIfExistsOrAdd);
    let mut route = forward(
        RouteMatch::prefix("/"),
        Forward { path_rewrite: Some(PathRewrite::Prefix("/n".into())), ..Forward::to("up") },
    );
    route.name = "r".into();
    route.request_headers.add = vec![
        option("x-id", "new"),
        option("x-seen", "%REQ(x-id)% %REQ(:PATH)% %ROUTE_NAME% %UPSTREAM_CLUSTER% %RESPONSE_CODE%"),
    ];
    route.request_headers.remove = vec!["x-gone".into()];
    route.response_headers.add =
        vec![option("x-r", "%RESPONSE_CODE%|%UPSTREAM_CLUSTER%|%RESPONSE_FLAGS%|%REQ(x-id)%|%RESP(x-q)%")];
    let vhost = VirtualHost { include_attempt_count_in_response: true, ..host(&["*"], vec![route]) };
    let table = compile(&config(vec![vhost]));
    let [mut request, _] = requests("/p?q");
    request.headers_mut().insert("x-gone", HeaderValue::from_static("1"));
    let decision = sent(&table, &mut request).unwrap();
    assert_eq!(header(&request, "x-seen"), "id.test /p?q r up 0");
    assert_eq!((header(&request, "x-id"), request.headers().contains_key("x-gone")), ("new", false));

    assert!(table.response_reads_request(decision));
    let mut response = Response::builder().status(418).header("x-q", "qq").body(()).unwrap();
    let (connection, metadata) = (ConnectionFacts::default(), Metadata::new());
    let facts = RequestFacts::of(&request, &connection, &metadata);
    let cx =
        FormatContext { request: Some(facts), attempts: Some(2), ..FormatContext::for_request(&connection, &metadata) };
    table.apply_response(decision, &mut response, &cx);
    assert_eq!(
        (response.headers()["x-r"].as_bytes(), response.headers()["x-envoy-attempt-count"].as_bytes()),
        (&b"418|up|-|new|qq"[..], &b"2"[..])
    );
}

#[test]
fn a_weighted_clusters_host_is_set_without_a_trace_and_the_routes_goes_over_it() {
    let weighted = |host_rewrite| {
        let entry = WeightedCluster { host_rewrite_literal: Some("wc.test".into()), ..WeightedCluster::new("c", 1) };
        let cluster =
            ClusterSpecifier::WeightedClusters(WeightedClusters { clusters: vec![entry], random_value_header: None });
        compile(&routes(vec![forward(RouteMatch::prefix("/"), Forward { host_rewrite, ..Forward::new(cluster) })]))
    };
    for mut request in requests("/") {
        sent(&weighted(None), &mut request).unwrap();
        assert_eq!((host_of(&request), header(&request, "x-envoy-original-host")), ("wc.test", ""));
    }
    for mut request in requests("/") {
        sent(&weighted(Some(HostRewrite::Literal("r.test".into()))), &mut request).unwrap();
        assert_eq!(host_of(&request), "r.test");
    }
}

#[test]
fn filter_overrides_are_merged_down_to_the_weighted_cluster() {
    let level =
        |name: &str| PerFilterConfig::from([("f".into(), FilterOverride::with(Config::NotInForce(name.into())))]);
    let entry = WeightedCluster { per_filter_config: level("wc"), ..WeightedCluster::new("c", 1) };
    let weighted = WeightedClusters { clusters: vec![entry], random_value_header: None };
    let mut plain = route(RouteMatch::path("/plain"), "c");
    plain.per_filter_config = PerFilterConfig::new();
    let mut own = route(RouteMatch::path("/own"), "c");
    own.per_filter_config = level("route");
    let routes =
        vec![plain, own, forward(RouteMatch::prefix("/"), Forward::new(ClusterSpecifier::WeightedClusters(weighted)))];
    let vhost = VirtualHost { per_filter_config: level("vh"), ..host(&["*"], routes) };
    let table = compile(&RouteConfiguration { per_filter_config: level("rc"), ..config(vec![vhost]) });
    for (path, expected) in
        [("/plain", &["vh", "rc"][..]), ("/own", &["route", "vh", "rc"]), ("/", &["wc", "vh", "rc"])]
    {
        let decision = decide(&table, &Asked::get(path));
        let configs = table.overrides(decision).unwrap().of("f");
        let said = |config: &RouteConfig| match config {
            RouteConfig::NotInForce(says) => says.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(configs.levels().map(said).collect::<Vec<_>>(), expected);
        assert_eq!(configs.effective().map(said).as_deref(), Some(expected[0]));
    }
}

#[test]
fn internal_only_headers_are_removed_on_demand() {
    let table = compile(&RouteConfiguration { internal_only_headers: vec!["X-Internal".into()], ..config(vec![]) });
    let mut headers = Asked::get("/").header("x-internal", "1").header("x-other", "1").headers;
    table.remove_internal_only_headers(&mut headers);
    assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-other"]);
}

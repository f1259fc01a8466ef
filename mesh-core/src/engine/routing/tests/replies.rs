//! Routes that answer: redirects, direct responses, `require_tls`. The cases are what Envoy 1.40 was seen to do.

use bytes::Bytes;
use http::StatusCode;
use http::header::LOCATION;

use super::*;
use crate::resource::route::{DirectResponse, PathRedirect, Redirect, RegexRewrite, SchemeRedirect, TlsRequirement};

fn redirect(matches: RouteMatch, redirect: Redirect) -> RouteTable {
    compile(&routes(vec![Route::new(matches, RouteAction::Redirect(redirect))]))
}

fn location(table: &RouteTable, asked: &Asked) -> String {
    reply(table, asked).headers[LOCATION].to_str().unwrap().to_owned()
}

#[test]
fn a_redirect_leads_where_envoy_leads() {
    let https = || Redirect { scheme: Some(SchemeRedirect::Https), ..Redirect::default() };
    let to_host = |host: &str| Redirect { host: Some(host.into()), ..Redirect::default() };
    let to_port = |port| Redirect { port: Some(port), ..Redirect::default() };
    let to_path = |path: &str| Redirect { path: Some(PathRedirect::Path(path.into())), ..Redirect::default() };
    let regex = PathRedirect::Regex(RegexRewrite { pattern: "a".into(), substitution: "b".into() });
    let at = |path: &str, host: &str| Asked::get(path).host(host);
    for (redirect_to, asked, expected) in [
        (https(), at("/", "a.test:8080"), "https://a.test:8080/"),
        (https(), at("/", "a.test:80"), "https://a.test/"),
        (https(), at("/", "[::1]:80"), "https://[::1]/"),
        (https(), at("/", "a.test:443").scheme("https"), "https://a.test:443/"),
        (
            Redirect { scheme: Some(SchemeRedirect::Scheme("http".into())), ..Redirect::default() },
            at("/", "a.test:443").scheme("https"),
            "http://a.test/",
        ),
        (to_host("b.test"), at("/a?x=1", "a.test:8080"), "http://b.test/a?x=1"),
        (Redirect { port: Some(77), ..to_host("b.test:99") }, at("/a", "a.test"), "http://b.test:99:77/a"),
        (to_port(80), at("/", "a.test:8080"), "http://a.test:80/"),
        (Redirect { port: Some(443), ..https() }, at("/", "a.test:8080"), "https://a.test:443/"),
        (to_port(90), at("/", "a.test"), "http://a.test:90/"),
        (to_path("/n"), at("/a?x=1", "a.test"), "http://a.test/n?x=1"),
        (to_path("/n"), at("/a", "a.test"), "http://a.test/n"),
        (to_path("/n?y=2"), at("/a?x=1", "a.test"), "http://a.test/n?y=2"),
        (Redirect { strip_query: true, ..to_path("/n?y=2") }, at("/a?x=1", "a.test"), "http://a.test/n?y=2"),
        (Redirect { strip_query: true, ..to_path("/n") }, at("/a?x=1", "a.test"), "http://a.test/n"),
        (Redirect { strip_query: true, ..Redirect::default() }, at("/a?x=1", "a.test"), "http://a.test/a"),
        (Redirect { path: Some(regex), ..Redirect::default() }, at("/aa/a?a=1", "a.test"), "http://a.test/bb/b?a=1"),
    ] {
        assert_eq!(location(&redirect(RouteMatch::prefix("/"), redirect_to), &asked), expected);
    }
}

#[test]
fn a_prefix_redirect_replaces_what_matched() {
    let to = || Redirect { path: Some(PathRedirect::Prefix("/blah".into())), ..Redirect::default() };
    assert_eq!(
        location(&redirect(RouteMatch::prefix("/rewrite"), to()), &Asked::get("/rewrite/x?q")),
        "http://a.test/blah/x?q"
    );
    assert_eq!(location(&redirect(RouteMatch::path("/rewrite"), to()), &Asked::get("/rewrite")), "http://a.test/blah");
}

#[test]
fn a_grpc_caller_is_redirected_in_trailers() {
    let to = Redirect {
        scheme: Some(SchemeRedirect::Https),
        response_code: StatusCode::TEMPORARY_REDIRECT,
        ..Redirect::default()
    };
    let answer = reply(&redirect(RouteMatch::prefix("/"), to), &Asked::get("/"));
    assert_eq!((answer.status, &*answer.details), (StatusCode::TEMPORARY_REDIRECT, "direct_response"));
    let (head, _) = answer.into_head(true);
    assert_eq!(
        (head.status, head.headers["grpc-status"].as_bytes(), head.headers[LOCATION].as_bytes()),
        (StatusCode::OK, &b"2"[..], &b"https://a.test/"[..])
    );
}

#[test]
fn a_direct_response_is_answered_and_a_created_one_says_where() {
    let direct = |status: u16, body: &'static str| {
        let action =
            DirectResponse { status: StatusCode::from_u16(status).unwrap(), body: Bytes::from_static(body.as_bytes()) };
        reply(
            &compile(&routes(vec![Route::new(RouteMatch::prefix("/"), RouteAction::DirectResponse(action))])),
            &Asked::get("/201?x"),
        )
    };
    let plain = direct(418, "teapot");
    assert_eq!((plain.status.as_u16(), &plain.body[..], plain.headers.len()), (418, &b"teapot"[..], 0));
    assert_eq!(direct(201, "").headers[LOCATION], "http://a.test/201?x");
}

#[test]
fn tls_can_be_required_of_all_or_of_those_from_outside() {
    let table = |require_tls| {
        compile(&config(vec![VirtualHost { require_tls, ..host(&["*"], vec![route(RouteMatch::prefix("/"), "c")]) }]))
    };
    let plain = Asked::get("/foo?x").host("api.lyft.com");
    let inside = plain.clone().header("x-envoy-internal", "true");
    for (require, asked, expected) in [
        (TlsRequirement::All, &plain, true),
        (TlsRequirement::All, &inside, true),
        (TlsRequirement::All, &plain.clone().scheme("https"), false),
        (TlsRequirement::ExternalOnly, &plain, true),
        (TlsRequirement::ExternalOnly, &inside, false),
        (TlsRequirement::None, &plain, false),
    ] {
        let table = table(require);
        if expected {
            let answer = reply(&table, asked);
            assert_eq!(
                (answer.status.as_u16(), answer.headers[LOCATION].as_bytes()),
                (301, &b"https://api.lyft.com/foo?x"[..])
            );
        } else {
            assert_eq!(cluster(&table, asked, 0), "c", "{require:?}");
        }
    }
}

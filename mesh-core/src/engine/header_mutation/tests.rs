use http::{HeaderValue, Response, StatusCode};

use super::*;
use crate::exchange::trial::{Levels, Trial};
use crate::resource::filter::{FilterConfig, QueryMutation, RouteConfig as Says};
use crate::resource::header_mutation::{AppendAction, HeaderValueOption};
use crate::resource::matcher::{StringMatcher, StringPattern};

fn append(key: &str, value: &str) -> HeaderMutations {
    let add = vec![HeaderValueOption::new(key, value, AppendAction::AppendIfExistsOrAdd)];
    HeaderMutations { add, ..HeaderMutations::default() }
}

fn remove(name: &str) -> HeaderMutations {
    HeaderMutations { remove: vec![name.to_owned()], ..HeaderMutations::default() }
}

fn of_request(steps: Vec<HeaderMutations>) -> MutationsConfig {
    MutationsConfig { request: steps, ..MutationsConfig::default() }
}

fn of_response(steps: Vec<HeaderMutations>) -> MutationsConfig {
    MutationsConfig { response: steps, ..MutationsConfig::default() }
}

fn filter(mutations: MutationsConfig, most_specific_wins: bool) -> FilterConfig {
    FilterConfig::HeaderMutation(Box::new(Config { mutations, most_specific_wins }))
}

fn says(mutations: MutationsConfig) -> Option<Says> {
    Some(Says::HeaderMutation(Box::new(mutations)))
}

/// Each level appends its name to `x-m`, both ways.
fn levels() -> Levels {
    let named =
        |name| says(MutationsConfig { response: vec![append("x-m", name)], ..of_request(vec![append("x-m", name)]) });
    Levels { route_configuration: named("rc"), virtual_host: named("vh"), route: named("route"), ..Levels::default() }
}

fn get() -> Request<()> {
    Request::get("http://a.test/p?b=1").header("x-a", "1").body(()).unwrap()
}

fn lines(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[test]
fn the_filter_comes_first_and_the_most_specific_level_next_unless_it_wins() {
    for (wins, expected) in [(false, ["filter", "route", "vh", "rc"]), (true, ["filter", "rc", "vh", "route"])] {
        let own =
            MutationsConfig { response: vec![append("x-m", "filter")], ..of_request(vec![append("x-m", "filter")]) };
        let mut trial = Trial::new(filter(own, wins), levels());
        let sent = trial.send(get());
        assert_eq!(lines(sent.result.as_ref().unwrap().headers(), "x-m"), expected);
        let (response, _) = sent.respond(Response::new(()), trial.now);
        assert_eq!(lines(response.headers(), "x-m"), expected);
    }
}

#[test]
fn each_entry_sees_what_the_one_before_left() {
    let matching = HeaderMutations {
        remove_matching: vec![StringMatcher::new(StringPattern::Prefix("x-b".to_owned()))],
        ..HeaderMutations::default()
    };
    let steps = vec![
        append("x-b", "%REQ(x-a)%"),
        append("x-c", "%REQ(x-b)%"),
        remove("x-a"),
        append("x-d", "%REQ(x-a)%"),
        append("x-bb", "2"),
        matching,
    ];
    let mut trial = Trial::new(filter(of_request(steps), false), Levels::default());
    let sent = trial.send(get()).result.unwrap();
    let ours = |name: &&http::HeaderName| !name.as_str().starts_with("x-envoy-");
    let names = sent.headers().keys().filter(ours);
    let headers: Vec<_> = names.map(|name| (name.as_str(), sent.headers()[name].as_bytes())).collect();
    assert_eq!(headers, [("x-c", &b"1"[..])]);
}

#[test]
fn a_query_is_changed_behind_the_headers() {
    let query = |key: &str, value: &str| QueryMutation::Set {
        key: key.to_owned(),
        value: value.to_owned(),
        action: AppendAction::AppendIfExistsOrAdd,
    };
    let own = MutationsConfig { query: vec![query("a", "%REQ(x-n)%")], ..of_request(vec![append("x-n", "new")]) };
    let route = MutationsConfig { query: vec![QueryMutation::Remove("b".to_owned())], ..MutationsConfig::default() };
    let mut trial = Trial::new(filter(own, false), Levels { route: says(route), ..Levels::default() });
    assert_eq!(trial.send(get()).result.unwrap().uri(), "http://a.test/p?a=new");
}

#[test]
fn a_response_may_print_the_request_and_its_own_status() {
    let steps = vec![append("x-r", "%REQ(x-a)% %RESPONSE_CODE% %RESP(x-up)%"), remove("x-up")];
    let mut trial = Trial::new(filter(of_response(steps), false), Levels::default());
    let upstream = Response::builder().status(StatusCode::CREATED).header("x-up", "u").body(()).unwrap();
    let (response, exit) = trial.send(get()).respond(upstream, trial.now);
    assert_eq!(response.headers()["x-r"], "1 201 u");
    assert!(!response.headers().contains_key("x-up"));
    assert!(!exit.unwrap().needs_body());
}

#[test]
fn trailers_are_changed_and_only_then_looked_at() {
    let changes = MutationsConfig {
        response_trailers: vec![append("x-t", "%ROUTE_NAME%t"), remove("x-gone")],
        ..MutationsConfig::default()
    };
    let mut trial =
        Trial::new(filter(MutationsConfig::default(), false), Levels { route: says(changes), ..Levels::default() });
    let (_, exit) = trial.send(get()).respond(Response::new(()), trial.now);
    let mut exit = exit.unwrap();
    assert!(exit.plan().trailers && exit.needs_body());
    let mut trailers = HeaderMap::new();
    trailers.insert("x-gone", HeaderValue::from_static("1"));
    exit.on_response_trailers(&mut trailers);
    assert_eq!((lines(&trailers, "x-t"), trailers.len()), (vec!["t".to_owned()], 1));
}

#[test]
fn a_filter_without_changes_waits_for_routes_that_have_some() {
    let empty = HeaderMutation::compile(&Config::default(), &FieldPath::root()).unwrap();
    assert!(empty.waits_for_route());
    let some = Config { mutations: of_response(vec![remove("x")]), ..Config::default() };
    assert!(!HeaderMutation::compile(&some, &FieldPath::root()).unwrap().waits_for_route());
}

#[test]
fn an_invalid_change_is_refused_where_it_stands() {
    let matching = HeaderMutations {
        remove_matching: vec![StringMatcher::new(StringPattern::SafeRegex("(".to_owned()))],
        ..HeaderMutations::default()
    };
    let trailers = MutationsConfig { response_trailers: vec![append("a b", "v")], ..MutationsConfig::default() };
    let query = MutationsConfig { query: vec![QueryMutation::Remove(String::new())], ..MutationsConfig::default() };
    let table = [
        (
            of_request(vec![append("x", "v"), append(":path", "/")]),
            "f.mutations.request_mutations[1].append.header.key",
        ),
        (of_request(vec![append("x", "%NOPE%")]), "f.mutations.request_mutations[0].append.header.value"),
        (of_request(vec![remove("host")]), "f.mutations.request_mutations[0].remove"),
        (of_response(vec![matching]), "f.mutations.response_mutations[0].remove_on_match.key_matcher"),
        (trailers, "f.mutations.response_trailers_mutations[0].append.header.key"),
        (query, "f.mutations.query_parameter_mutations[0].remove"),
    ];
    for (mutations, field) in table {
        let config = Config { mutations, ..Config::default() };
        let (at, problem) = HeaderMutation::compile(&config, &"f".into()).unwrap_err();
        assert_eq!(at.as_str(), field, "{problem}");
    }
}

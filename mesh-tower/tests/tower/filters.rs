//! HTTP filters in the outbound stack: order in, reverse order out, effects, answers, new routes, per-route config.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use mesh_core::engine::filter::{
    Effect, EffectOutcome, FilterInstance, FilterStep, HttpFilter as Filter, RequestCx, ResponseCx, RouteConfig,
};
use mesh_core::engine::local_reply::{LocalReply, ResponseFlags};
use mesh_core::resource::Name;
use mesh_core::resource::filter::{Buffer, Fault, FaultDelay, RouteConfig as Config};
use mesh_core::resource::header_mutation::{AppendAction, HeaderMutations, HeaderValueOption};
use mesh_core::resource::listener::{FilterConfig, HttpFilter};
use mesh_core::resource::matcher::{HeaderMatcher, HeaderSpecifier, StringMatcher};
use mesh_core::resource::metadata::Value;
use mesh_core::resource::route::{DirectResponse, FilterOverride, FractionalPercent, Route, RouteAction, RouteMatch};

use crate::mesh::{Mesh, Setup, ask, forward, get, http1, post, route};
use crate::server::{H1Server, refused_address};

/// A filter entry; its name says what it does, up to the first `-`.
pub(crate) fn filter(name: &str) -> HttpFilter {
    HttpFilter { name: name.into(), disabled: false, config: FilterConfig::NotInForce("test".into()) }
}

/// The same configuration with these filters.
pub(crate) fn setup_with(mut setup: Setup, filters: Vec<HttpFilter>) -> Setup {
    setup.manager.http_filters = filters;
    setup.filters = Some(make);
    setup
}

fn make(config: &HttpFilter) -> Option<FilterInstance> {
    let filter: Arc<dyn Filter> = match config.name.split('-').next()? {
        "mark" => Arc::new(Mark(Arc::clone(&config.name))),
        "reply" => Arc::new(Reply),
        "hop" => Arc::new(Hop),
        "sleep" => Arc::new(Sleepy),
        "gate" => Arc::new(gate::Gate),
        _ => return None,
    };
    Some(FilterInstance { name: Arc::clone(&config.name), disabled: config.disabled, filter })
}

/// Adds its name on the way in and on the way out.
#[derive(Debug)]
struct Mark(Name);

const IN: HeaderName = HeaderName::from_static("x-in");
const OUT: HeaderName = HeaderName::from_static("x-out");

impl Filter for Mark {
    fn on_request(&self, cx: &mut RequestCx<'_>) -> FilterStep {
        let what = match cx.route_configs.effective() {
            Some(RouteConfig::NotInForce(says)) => format!("{}+{says}", self.0),
            _ => self.0.to_string(),
        };
        cx.head.headers.append(IN, HeaderValue::from_str(&what).unwrap());
        FilterStep::Continue
    }

    fn on_response(&self, cx: &mut ResponseCx<'_>) {
        cx.head.headers.append(OUT, HeaderValue::from_str(&self.0).unwrap());
    }
}

/// Answers itself.
#[derive(Debug)]
struct Reply;

impl Filter for Reply {
    fn on_request(&self, _: &mut RequestCx<'_>) -> FilterStep {
        let reply =
            LocalReply::new(StatusCode::IM_A_TEAPOT, Bytes::from_static(b"short"), "by_filter", ResponseFlags::FI);
        FilterStep::Reply(Box::new(reply))
    }
}

/// Counts up `x-hop` and asks for a new route.
#[derive(Debug)]
struct Hop;

impl Filter for Hop {
    fn on_request(&self, cx: &mut RequestCx<'_>) -> FilterStep {
        let hop: u32 = cx.head.headers.get("x-hop").map_or(0, |hop| hop.to_str().unwrap().parse().unwrap());
        cx.head.headers.insert("x-hop", (hop + 1).into());
        FilterStep::Reroute
    }
}

/// Sleeps an hour, twice.
#[derive(Debug)]
struct Sleepy;

impl Filter for Sleepy {
    fn on_request(&self, _: &mut RequestCx<'_>) -> FilterStep {
        FilterStep::Ask(Box::new(Effect::Sleep(Duration::from_secs(3600))))
    }

    fn on_effect(&self, cx: &mut RequestCx<'_>, _: EffectOutcome) -> FilterStep {
        if cx.head.headers.insert("x-slept", HeaderValue::from_static("1")).is_some() {
            return FilterStep::Continue;
        }
        self.on_request(cx)
    }
}

/// A filter that says when a request to `/gate` is in it, and keeps it for a moment.
pub(crate) mod gate {
    use super::{AtomicUsize, Duration, Effect, Filter, FilterStep, Ordering, RequestCx};

    pub(crate) static ENTERED: AtomicUsize = AtomicUsize::new(0);

    #[derive(Debug)]
    pub(crate) struct Gate;

    impl Filter for Gate {
        fn on_request(&self, cx: &mut RequestCx<'_>) -> FilterStep {
            if cx.head.uri.path() != "/gate" {
                return FilterStep::Continue;
            }
            ENTERED.fetch_add(1, Ordering::SeqCst);
            FilterStep::Ask(Box::new(Effect::Sleep(Duration::from_millis(200))))
        }
    }
}

/// Answers with the `x-in` headers that arrived.
async fn telling() -> H1Server {
    H1Server::start(|mut connection| async move {
        while let Some(request) = connection.request().await {
            let lines = request.head.lines().filter_map(|line| line.strip_prefix("x-in: "));
            connection.respond(200, lines.collect::<Vec<_>>().join(" ").as_bytes()).await;
        }
    })
    .await
}

fn out(answer: &crate::mesh::Answer) -> Vec<&str> {
    answer.headers.get_all(OUT).iter().map(|value| value.to_str().unwrap()).collect()
}

fn with_header(mut route: Route) -> Route {
    let add = vec![HeaderValueOption::new("x-out", "route", AppendAction::AppendIfExistsOrAdd)];
    route.response_headers = HeaderMutations { add, ..HeaderMutations::default() };
    route
}

#[tokio::test]
async fn filters_see_requests_in_order_and_responses_in_reverse_after_the_router() {
    let server = telling().await;
    let setup = Setup::new(vec![http1("c", server.address)], vec![with_header(route("/", forward("c")))]);
    let client = Mesh::new(setup_with(setup, vec![filter("mark-1"), filter("mark-2"), filter("mark-3")])).client();
    let answer = ask(&client, get("/")).await;
    assert_eq!((answer.text(), out(&answer)), ("mark-1 mark-2 mark-3", vec!["route", "mark-3", "mark-2", "mark-1"]));
    assert_eq!((answer.outcome(), &*answer.info.details), ((200, "-".to_owned()), "via_upstream"));
}

#[tokio::test]
async fn a_filter_that_answers_keeps_the_request_from_those_behind_it_and_all_see_the_answer() {
    let server = telling().await;
    let setup = Setup::new(vec![http1("c", server.address)], vec![with_header(route("/", forward("c")))]);
    let filters = vec![filter("mark-1"), filter("mark-2"), filter("reply"), filter("mark-3")];
    let client = Mesh::new(setup_with(setup, filters)).client();
    let answer = ask(&client, get("/")).await;
    assert_eq!((answer.outcome(), answer.text()), ((418, "FI".to_owned()), "short"));
    assert_eq!((&*answer.info.details, out(&answer)), ("by_filter", vec!["route", "mark-3", "mark-2", "mark-1"]));
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn an_answer_of_the_router_itself_passes_the_filters_too() {
    let setup = Setup::new(vec![http1("c", refused_address().await)], vec![with_header(route("/", forward("c")))]);
    let client = Mesh::new(setup_with(setup, vec![filter("mark-1"), filter("mark-2")])).client();
    let answer = ask(&client, get("/")).await;
    assert_eq!((answer.outcome(), out(&answer)), ((503, "UF".to_owned()), vec!["route", "mark-2", "mark-1"]));
}

#[tokio::test]
async fn a_filter_is_off_by_its_entry_or_its_route_and_on_by_its_route() {
    let server = telling().await;
    let say = |text: &str| FilterOverride::with(Config::NotInForce(text.into()));
    let mut special = route("/special", forward("c"));
    special.per_filter_config =
        [("mark-1".into(), FilterOverride::off()), ("mark-2".into(), say("on")), ("mark-3".into(), say("own"))].into();
    let setup = Setup::new(vec![http1("c", server.address)], vec![special, route("/", forward("c"))]);
    let off = HttpFilter { disabled: true, ..filter("mark-2") };
    let client = Mesh::new(setup_with(setup, vec![filter("mark-1"), off, filter("mark-3")])).client();
    let answer = ask(&client, get("/")).await;
    assert_eq!((answer.text(), out(&answer)), ("mark-1 mark-3", vec!["mark-3", "mark-1"]));
    let answer = ask(&client, get("/special")).await;
    assert_eq!((answer.text(), out(&answer)), ("mark-2+on mark-3+own", vec!["mark-3", "mark-2"]));
}

fn at_hop(hop: u32) -> Route {
    let mut matches = RouteMatch::prefix("/");
    let specifier = HeaderSpecifier::String(StringMatcher::exact(hop.to_string()));
    matches.headers = vec![HeaderMatcher::new("x-hop", specifier)];
    let body = Bytes::from(format!("hop {hop}"));
    Route::new(matches, RouteAction::DirectResponse(DirectResponse { status: StatusCode::OK, body }))
}

#[tokio::test]
async fn a_filter_may_have_the_route_chosen_anew() {
    let (first, second) = (telling().await, telling().await);
    let mut hopped = with_header(route("/", forward("second")));
    hopped.matches.headers = vec![HeaderMatcher::new("x-hop", HeaderSpecifier::String(StringMatcher::exact("1")))];
    let setup = Setup::new(
        vec![http1("first", first.address), http1("second", second.address)],
        vec![hopped, route("/", forward("first"))],
    );
    let client = Mesh::new(setup_with(setup, vec![filter("mark-1"), filter("hop"), filter("mark-2")])).client();
    let answer = ask(&client, get("/")).await;
    assert_eq!(answer.info.upstream.as_ref().unwrap().cluster(), "second");
    assert_eq!((answer.text(), out(&answer)), ("mark-1 mark-2", vec!["route", "mark-2", "mark-1"]));
    assert_eq!((first.connections(), second.connections()), (0, 1));
}

#[tokio::test]
async fn a_new_route_that_answers_itself_does_so_behind_all_filters() {
    let setup = Setup::new(vec![http1("c", refused_address().await)], vec![at_hop(1), route("/", forward("c"))]);
    let client = Mesh::new(setup_with(setup, vec![filter("mark-1"), filter("hop"), filter("mark-2")])).client();
    let answer = ask(&client, get("/")).await;
    assert_eq!(
        (answer.outcome(), answer.text(), out(&answer)),
        ((200, "-".to_owned()), "hop 1", vec!["mark-2", "mark-1"])
    );
}

#[tokio::test]
async fn d13_new_routes_are_chosen_a_bounded_number_of_times() {
    let server = telling().await;
    // Six filters ask for a new route; were all heard, the request would end at the direct response.
    let setup = Setup::new(vec![http1("c", server.address)], vec![at_hop(5), at_hop(6), route("/", forward("c"))]);
    let hops = (0..6).map(|n| filter(&format!("hop-{n}"))).collect();
    let answer = ask(&Mesh::new(setup_with(setup, hops)).client(), get("/")).await;
    assert_eq!((answer.outcome(), &*answer.info.details), ((200, "-".to_owned()), "via_upstream"));
    assert_eq!(server.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_filter_may_wait_and_is_asked_again() {
    // No host: the answer needs no socket, and time may be paused.
    let setup = Setup::new(
        vec![crate::mesh::cluster("c", mesh_core::resource::cluster::UpstreamProtocol::Http1, &[])],
        vec![route("/", forward("c"))],
    );
    let client = Mesh::new(setup_with(setup, vec![filter("mark-1"), filter("sleep"), filter("mark-2")])).client();
    let start = tokio::time::Instant::now();
    let answer = tower::ServiceExt::oneshot(client, get("/")).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 7200);
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers().get_all(OUT).iter().collect::<Vec<_>>(), ["mark-2", "mark-1"]);
}

#[tokio::test]
async fn a_request_that_does_not_fit_the_buffer_is_refused_and_others_arrive_whole() {
    let server = H1Server::start(|mut connection| async move {
        while let Some(request) = connection.request().await {
            connection.respond(200, &request.body).await;
        }
    })
    .await;
    let (mut off, mut small) = (route("/off", forward("c")), route("/small", forward("c")));
    off.per_filter_config = [("b".into(), FilterOverride::off())].into();
    let limit = Config::Buffer(Buffer { max_request_bytes: 2 });
    small.per_filter_config = [("b".into(), FilterOverride::with(limit))].into();
    let mut setup = Setup::new(vec![http1("c", server.address)], vec![off, small, route("/", forward("c"))]);
    let config = FilterConfig::Buffer(Buffer { max_request_bytes: 4 });
    setup.manager.http_filters = vec![HttpFilter { name: "b".into(), disabled: false, config }];
    let client = Mesh::new(setup).client();
    for (path, body, status) in
        [("/", "four", 200), ("/", "fives", 413), ("/off", "fives", 200), ("/small", "two", 413), ("/small", "", 200)]
    {
        let answer = ask(&client, post(path, body)).await;
        assert_eq!(answer.outcome(), (status, "-".to_owned()), "{path} {body}");
        assert_eq!(answer.text(), if status == 200 { body } else { "Payload Too Large" }, "{path}");
    }
}

#[tokio::test]
async fn a_fault_tells_later_filters() {
    let server = telling().await;
    let mut told = route("/", forward("c"));
    let format = "%DYNAMIC_METADATA(envoy.filters.http.fault:kind)%";
    let add = vec![HeaderValueOption::new("x-in", format, AppendAction::AppendIfExistsOrAdd)];
    told.request_headers = HeaderMutations { add, ..HeaderMutations::default() };
    let mut setup = Setup::new(vec![http1("c", server.address)], vec![told]);
    let kind = ("kind".to_owned(), Value::Text("test".to_owned()));
    let delay = FaultDelay { fixed: Some(Duration::from_millis(1)), percentage: FractionalPercent::percent(100) };
    let fault = Fault { delay: Some(delay), filter_metadata: Some(Value::Struct([kind].into())), ..Fault::default() };
    let config = FilterConfig::Fault(Box::new(fault));
    setup.manager.http_filters = vec![HttpFilter { name: "fault".into(), disabled: false, config }];
    let answer = ask(&Mesh::new(setup).client(), get("/")).await;
    assert_eq!((answer.outcome(), answer.text()), ((200, "DI".to_owned()), "test"));
}

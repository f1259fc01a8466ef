//! The filters of a listener that is served, on the wire.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use mesh_core::resource::filter::{
    AbortError, Buffer, CorsPolicy, Fault, FaultAbort, FaultDelay, HeaderMutation, Mutations, RouteConfig,
};
use mesh_core::resource::header_mutation::{AppendAction, HeaderMutations, HeaderValueOption};
use mesh_core::resource::listener::{ChainHandler, FilterConfig, HttpFilter, Listener, RouteSource};
use mesh_core::resource::matcher::StringMatcher;
use mesh_core::resource::route::{FilterOverride, FractionalPercent};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::inbound::{open, served};
use crate::mesh::{Mesh, Setup, ask, get, http1, post, within};

const ALWAYS: FractionalPercent = FractionalPercent::percent(100);

/// Faults by header, one at a time; a policy for `http://o`; a header on every response; bodies of four bytes.
fn with_filters(port: u16) -> Option<Listener> {
    let mut listener = open(port)?;
    let ChainHandler::Http(manager) = &mut listener.filter_chains[0].handler else { return None };
    let manager = Arc::make_mut(manager);
    let fault = Fault {
        delay: Some(FaultDelay { fixed: None, percentage: ALWAYS }),
        abort: Some(FaultAbort { error: AbortError::Header, percentage: ALWAYS, response_body: String::new() }),
        max_active_faults: Some(1),
        ..Fault::default()
    };
    let add = vec![HeaderValueOption::new("x-by", "%REQ(x-who)%", AppendAction::AppendIfExistsOrAdd)];
    let response = vec![HeaderMutations { add, ..HeaderMutations::default() }];
    let mutations = Mutations { response, ..Mutations::default() };
    let filter = |name: &str, config| HttpFilter { name: name.into(), disabled: false, config };
    manager.http_filters = vec![
        filter("fault", FilterConfig::Fault(Box::new(fault))),
        filter("cors", FilterConfig::Cors),
        filter(
            "mutate",
            FilterConfig::HeaderMutation(Box::new(HeaderMutation { mutations, ..HeaderMutation::default() })),
        ),
        filter("buffer", FilterConfig::Buffer(Buffer { max_request_bytes: 4 })),
    ];
    let RouteSource::Inline(routes) = &mut manager.routes else { return None };
    let policy = CorsPolicy { allow_origins: vec![StringMatcher::exact("http://o")], ..CorsPolicy::default() };
    let policy = FilterOverride::with(RouteConfig::Cors(Box::new(policy)));
    Arc::make_mut(routes).virtual_hosts[0].per_filter_config.insert("cors".into(), policy);
    Some(listener)
}

fn with_header(mut request: Request<Full<Bytes>>, name: &'static str, value: &'static str) -> Request<Full<Bytes>> {
    request.headers_mut().insert(name, http::HeaderValue::from_static(value));
    request
}

#[tokio::test]
async fn filters_stand_before_the_application_in_their_order() {
    let served = served(with_filters, |_| ()).await;
    let client = Mesh::new(Setup::to(http1("c", served.address))).client();
    let aborted = ask(&client, with_header(get("/"), "x-envoy-fault-abort-request", "418")).await;
    assert_eq!((aborted.outcome().0, aborted.text()), (418, "fault filter abort"));
    let asks = with_header(get("/"), "access-control-request-method", "PUT");
    let mut preflight = with_header(asks, "origin", "http://o");
    *preflight.method_mut() = http::Method::OPTIONS;
    let answer = ask(&client, preflight).await;
    assert_eq!((answer.outcome().0, answer.header("access-control-allow-origin")), (200, "http://o"));
    assert_eq!(ask(&client, post("/", "fives")).await.outcome().0, 413);
    assert_eq!(served.requests.load(Ordering::SeqCst), 0, "nothing of it reached the application");
    let answer = ask(&client, with_header(with_header(post("/", "four"), "x-who", "me"), "origin", "http://o")).await;
    assert_eq!((answer.outcome().0, answer.text()), (200, "four"));
    assert_eq!((answer.header("x-by"), answer.header("access-control-allow-origin")), ("me", "http://o"));
    let start = std::time::Instant::now();
    let delayed = ask(&client, with_header(get("/"), "x-envoy-fault-delay-request", "50")).await;
    assert_eq!(delayed.outcome().0, 200);
    assert!(start.elapsed() >= Duration::from_millis(50), "{:?}", start.elapsed());
    assert_eq!(served.requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_caller_that_hangs_up_during_its_delay_gives_its_place_back() {
    let served = served(with_filters, |_| ()).await;
    let client = Mesh::new(Setup::to(http1("c", served.address))).client();
    let abort = || with_header(get("/"), "x-envoy-fault-abort-request", "418");
    let mut leaving = TcpStream::connect(served.address).await.unwrap();
    let head = "GET /late HTTP/1.1\r\nhost: a.test\r\nx-envoy-fault-delay-request: 3600000\r\n\r\n";
    leaving.write_all(head.as_bytes()).await.unwrap();
    // It has the only place as soon as others are spared.
    let spared = async || while ask(&client, abort()).await.outcome().0 == 418 {};
    within(spared()).await;
    let before = served.requests.load(Ordering::SeqCst);
    drop(leaving);
    let hit = async || {
        let mut others = 0;
        while ask(&client, abort()).await.outcome().0 != 418 {
            others += 1;
        }
        others
    };
    let others = within(hit()).await;
    assert_eq!(served.requests.load(Ordering::SeqCst), before + others, "the one that left never arrived");
}

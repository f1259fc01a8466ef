//! The decision alone: route, pick and report over 100 routes and 1,000 endpoints, without any I/O.
//!
//! `decision count N THREADS` runs N decisions on each thread (run it under valgrind and take the difference of two
//! N); `decision time` and `decision allocations` print figures per request as JSON. A last word `idle` or `on` puts
//! HTTP filters before the router, without or with something to look at.

use std::net::SocketAddr;
use std::time::Instant;

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use mesh_benches::config::{AUTHORITY, Filters, store_with};
use mesh_core::engine::retry::Outcome;
use mesh_core::exchange::Accepted;
use mesh_core::exchange::filters::FilterOutcome;
use mesh_core::resource::cluster::UpstreamProtocol;
use mesh_core::snapshot::SnapshotStore;
use mesh_core::state::Lane;

const ROUTES: usize = 100;
const ENDPOINTS: u16 = 1_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    let endpoints: Vec<SocketAddr> = (0..ENDPOINTS).map(|n| SocketAddr::from(([127, 0, 0, 1], 1024 + n))).collect();
    let filters = match arguments.last().map(String::as_str) {
        Some("idle") => Filters::Idle,
        Some("on") => Filters::On,
        _ => Filters::None,
    };
    let store = store_with(ROUTES, &endpoints, UpstreamProtocol::Http2, filters);
    match arguments.first().map(String::as_str) {
        Some("count") => run(&store, number(1, 10_000), number(2, 1)),
        // What the loop itself costs: the header that each decision adds is put in and taken out again.
        Some("harness") => {
            let mut request = request();
            for seed in 0..number(1, 10_000) as u64 {
                request
                    .headers_mut()
                    .insert(mesh_core::exchange::reserved::ATTEMPT_COUNT, HeaderValue::from_static("1"));
                request.headers_mut().remove(mesh_core::exchange::reserved::ATTEMPT_COUNT);
                std::hint::black_box((&mut request, seed));
            }
        }
        Some("time") => {
            let (n, threads) = (number(1, 500_000), number(2, 1));
            run(&store, n / 10, threads);
            let start = Instant::now();
            run(&store, n, threads);
            #[allow(clippy::cast_precision_loss, reason = "a count of requests fits")]
            let nanos = start.elapsed().as_secs_f64() * 1e9 / n as f64;
            println!("{}", serde_json::json!({ "nanoseconds": nanos }));
        }
        Some("allocations") => {
            let now = Instant::now();
            let mut request = Some(request());
            for seed in 0..100 {
                request = request.map(|request| decide(&store, request, Lane::default(), seed, now));
            }
            let counted = allocation_counter::measure(|| {
                for seed in 0..1_000 {
                    request = request.take().map(|request| decide(&store, request, Lane::default(), seed, now));
                }
            });
            println!("{}", serde_json::json!({ "allocations": counted.count_total as f64 / 1_000.0 }));
        }
        _ => eprintln!("decision count N THREADS | time N THREADS | allocations"),
    }
}

fn run(store: &SnapshotStore, n: usize, threads: usize) {
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                let now = Instant::now();
                let mut request = request();
                for seed in 0..n as u64 {
                    request = decide(store, request, Lane::of_thread(thread), seed, now);
                }
            });
        }
    });
}

fn request() -> Request<()> {
    let mut request = Request::post(format!("http://{AUTHORITY}/bench.Echo/Call"));
    for (name, value) in [("te", "trailers"), ("content-type", "application/grpc"), ("user-agent", "tonic/0.14")] {
        request = request.header(name, HeaderValue::from_static(value));
    }
    request.body(()).unwrap_or_default()
}

/// Everything that is decided about one request, and its report. Gives the request back for the next one.
fn decide(store: &SnapshotStore, request: Request<()>, lane: Lane, seed: u64, now: Instant) -> Request<()> {
    let accepted = Accepted::new(request, store.pin(lane), lane, seed, now);
    let Ok(routed) = accepted.route() else { panic!("the request has a route") };
    let FilterOutcome::Forward(filtered, ref mut exit) = routed.filter(now) else {
        panic!("every filter lets it pass")
    };
    let (head, body, mut plan) = filtered.into_parts();
    let attempt = plan.attempt(Request::from_parts(head, body), None);
    let Ok(Ok((sendable, load))) = attempt.pick().map(|picked| picked.admit()) else { panic!("there are hosts") };
    let headers = HeaderMap::new();
    sendable.target.report(&Outcome::Response { status: StatusCode::OK, headers: &headers });
    if let Some(exit) = exit {
        exit.on_response(Response::new(()), None, now);
    }
    drop(load);
    let mut request = sendable.request;
    request.headers_mut().remove(mesh_core::exchange::reserved::ATTEMPT_COUNT);
    request
}

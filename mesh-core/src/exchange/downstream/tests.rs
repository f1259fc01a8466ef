//! A listener's connection manager against what Envoy 1.40 was seen to do.

use std::net::IpAddr;
use std::sync::Arc;

use http::{Request, Response, StatusCode, Version};

use super::*;
use crate::resource::downstream::DownstreamOptions;
use crate::resource::route::RouteConfiguration;

fn manager(set: impl FnOnce(&mut HttpConnectionManager)) -> Arc<HttpConnectionManager> {
    let mut manager = HttpConnectionManager::inline(Arc::new(RouteConfiguration::default()));
    set(&mut manager);
    Arc::new(manager)
}

fn options(set: impl FnOnce(&mut DownstreamOptions)) -> Arc<HttpConnectionManager> {
    manager(|manager| set(&mut manager.downstream))
}

fn edge(set: impl FnOnce(&mut DownstreamOptions)) -> Arc<HttpConnectionManager> {
    manager(|manager| {
        manager.use_remote_address = true;
        set(&mut manager.downstream);
    })
}

fn connection(peer: &str) -> Arc<ConnectionFacts> {
    let (peer, local) = (format!("{peer}:4000").parse().ok(), "10.9.9.9:8080".parse().ok());
    Arc::new(ConnectionFacts { remote: peer, local, protocol: "HTTP/1.1", tls: None, slots: None })
}

/// A request with these headers, as it goes on; who called; and whether it may override its route.
struct Seen {
    request: Request<()>,
    caller: Option<IpAddr>,
    overrides: bool,
    departure: Departure,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.request.headers().get(name).map(|value| value.to_str().unwrap())
    }
}

fn seen_from(peer: &str, manager: &Arc<HttpConnectionManager>, headers: &[(&str, &str)]) -> Seen {
    let request = headers.iter().fold(Request::get("/a"), |request, (name, value)| request.header(*name, *value));
    let mut request = request.body(()).unwrap();
    let mut departure = Departure::through(Arc::clone(manager), Some([192, 0, 2, 2].into()));
    let mut random = Random::from_seed(7);
    let arrived = arrive(&mut request, None, &connection(peer), &mut random, &mut departure);
    let caller = arrived.connection.remote.map(|remote| remote.ip());
    Seen { request, caller, overrides: arrived.overrides.is_some(), departure }
}

fn seen(manager: &Arc<HttpConnectionManager>, headers: &[(&str, &str)]) -> Seen {
    seen_from("10.1.1.1", manager, headers)
}

/// What a caller may make up.
const CLAIMS: &[(&str, &str)] = &[
    ("x-forwarded-for", "1.2.3.4, 10.0.0.1"),
    ("x-forwarded-proto", "https"),
    ("x-request-id", "mine"),
    ("x-envoy-original-path", "/q"),
    ("x-envoy-external-address", "9.9.9.9"),
    ("x-envoy-retry-on", "5xx"),
    ("x-envoy-internal", "true"),
    ("x-envoy-downstream-service-node", "n"),
    ("x-envoy-attempt-count", "7"),
    ("referer", "javascript:x"),
];

#[test]
fn the_edge_writes_down_who_called_and_trusts_nobody() {
    let seen = seen(&edge(|options| options.append_x_forwarded_port = true), CLAIMS);
    assert_eq!(seen.header("x-forwarded-for"), Some("1.2.3.4, 10.0.0.1,10.1.1.1"));
    assert_eq!((seen.header("x-forwarded-proto"), seen.header("x-forwarded-port")), (Some("http"), Some("8080")));
    assert_eq!((seen.header("x-envoy-external-address"), seen.caller), (Some("10.1.1.1"), "10.1.1.1".parse().ok()));
    for gone in ["x-envoy-original-path", "x-envoy-retry-on", "x-envoy-internal", "x-envoy-downstream-service-node"] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    assert_eq!((seen.header("referer"), seen.header("x-envoy-attempt-count")), (None, Some("7")));
    assert!(!seen.overrides);
    let kept = self::seen(&edge(|options| options.skip_xff_append = true), CLAIMS);
    assert_eq!(kept.header("x-forwarded-for"), Some("1.2.3.4, 10.0.0.1"));
    // A caller on the same machine is named by the machine's own address.
    let local = seen_from("127.0.0.1", &edge(|_| {}), &[]);
    assert_eq!(local.header("x-forwarded-for"), Some("192.0.2.2"));
    assert_eq!(local.header("x-envoy-external-address"), Some("127.0.0.1"));
}

#[test]
fn a_hop_within_keeps_what_the_edge_said() {
    let seen = seen(&options(|_| {}), CLAIMS);
    for (name, value) in CLAIMS {
        let kept = !matches!(*name, "x-envoy-retry-on" | "x-envoy-internal" | "referer");
        assert_eq!(seen.header(name), kept.then_some(*value), "{name}");
    }
    assert_eq!(seen.caller, "10.0.0.1".parse().ok());
}

#[test]
fn trusted_proxies_are_skipped_to_find_the_caller() {
    let hops = |use_remote_address: bool, hops: u32| {
        manager(|manager| {
            manager.use_remote_address = use_remote_address;
            manager.xff_num_trusted_hops = hops;
        })
    };
    let caller = |manager: &Arc<HttpConnectionManager>, xff: &str| {
        let headers: &[(&str, &str)] = if xff.is_empty() { &[] } else { &[("x-forwarded-for", xff)] };
        seen(manager, headers).caller.unwrap().to_string()
    };
    for (manager, xff, expected) in [
        (hops(false, 0), "1.2.3.4, 10.0.0.1", "10.0.0.1"),
        (hops(false, 1), "1.2.3.4, 10.0.0.1", "1.2.3.4"),
        (hops(false, 2), "1.2.3.4, 10.0.0.1", "10.1.1.1"),
        (hops(false, 0), "nonsense", "10.1.1.1"),
        (hops(false, 0), "", "10.1.1.1"),
        (hops(true, 0), "1.2.3.4, 10.0.0.1", "10.1.1.1"),
        (hops(true, 1), "1.2.3.4, 10.0.0.1", "10.0.0.1"),
        (hops(true, 2), "1.2.3.4, 10.0.0.1", "1.2.3.4"),
        (hops(true, 3), "1.2.3.4, 10.0.0.1", "10.1.1.1"),
    ] {
        assert_eq!(caller(&manager, xff), expected, "{xff:?} {}", manager.xff_num_trusted_hops);
    }
    // The proxy in front is believed about the scheme, too.
    assert_eq!(seen(&hops(true, 1), CLAIMS).header("x-forwarded-proto"), Some("https"));
}

#[test]
fn an_internal_caller_keeps_its_request_id_and_overrides_its_route() {
    let within = |use_remote_address: bool| {
        manager(|manager| {
            manager.use_remote_address = use_remote_address;
            manager.internal_addresses = vec![([10, 0, 0, 0].into(), 8)];
        })
    };
    let asks = [("x-envoy-retry-on", "5xx"), ("x-request-id", "mine")];
    let seen_at = seen(&within(true), &asks);
    assert!(seen_at.overrides);
    assert_eq!((seen_at.header("x-envoy-internal"), seen_at.header("x-request-id")), (Some("true"), Some("mine")));
    assert_eq!((seen_at.header("x-envoy-external-address"), seen_at.header("x-envoy-retry-on")), (None, None));
    let forwarded = |list| [("x-forwarded-for", list), asks[0], asks[1]];
    assert!(!seen(&within(true), &forwarded("10.0.0.1")).overrides, "somebody stands before it");
    assert!(seen(&within(false), &forwarded("10.0.0.1")).overrides);
    assert!(!seen(&within(false), &forwarded("10.0.0.1, 10.0.0.2")).overrides);
    assert!(!seen(&within(false), &asks).overrides, "nobody says who it is");
}

#[test]
fn request_ids_are_made_unless_one_is_to_be_kept() {
    let id = |manager: &Arc<HttpConnectionManager>, headers: &[(&str, &str)]| {
        seen(manager, headers).header("x-request-id").map(str::to_owned)
    };
    let given = [("x-request-id", "mine")];
    let made = id(&options(|_| {}), &[]).unwrap();
    assert_eq!((made.len(), made.matches('-').count(), &made[14..15]), (36, 4, "4"), "{made}");
    assert_eq!(id(&options(|_| {}), &given).as_deref(), Some("mine"));
    assert_ne!(id(&edge(|_| {}), &given).as_deref(), Some("mine"));
    assert_eq!(id(&edge(|options| options.preserve_external_request_id = true), &given).as_deref(), Some("mine"));
    assert_eq!(id(&options(|options| options.generate_request_id = false), &[]), None);
    let told = seen(&options(|options| options.always_set_request_id_in_response = true), &given);
    let (mut head, ()) = Response::new(()).into_parts();
    told.departure.finish(&mut head);
    assert_eq!(head.headers["x-request-id"], "mine");
}

#[test]
fn via_and_server_name_this_hop_in_both_directions() {
    let response = |manager: &Arc<HttpConnectionManager>, server: Option<&str>| {
        let (mut head, ()) = Response::builder().header("via", "u").body(()).unwrap().into_parts();
        if let Some(server) = server {
            head.headers.insert("server", server.parse().unwrap());
        }
        Departure::through(Arc::clone(manager), None).finish(&mut head);
        let text = |name: &str| head.headers.get(name).map_or("none", |value| value.to_str().unwrap()).to_owned();
        (text("server"), text("via"))
    };
    let named = options(|options| {
        options.via = "gw".to_owned();
        options.server_name = "mine".to_owned();
    });
    assert_eq!(response(&named, Some("theirs")), ("mine".to_owned(), "u, gw".to_owned()));
    assert_eq!(seen(&named, &[("via", "1.1 a")]).header("via"), Some("1.1 a, gw"));
    let absent = options(|options| options.server_header = ServerHeader::AppendIfAbsent);
    assert_eq!((response(&absent, Some("theirs")).0, response(&absent, None).0), ("theirs".into(), "envoy".into()));
    let pass = options(|options| options.server_header = ServerHeader::PassThrough);
    assert_eq!((response(&pass, Some("theirs")).0, response(&pass, None).0), ("theirs".into(), "none".into()));
}

#[test]
fn client_certificate_headers_stay_only_when_always_forwarded() {
    let given = [("x-forwarded-client-cert", "Hash=a")];
    assert_eq!(seen(&options(|_| {}), &given).header("x-forwarded-client-cert"), None);
    let always = options(|options| options.keep_client_cert_header = true);
    assert_eq!(seen(&always, &given).header("x-forwarded-client-cert"), Some("Hash=a"));
}

#[test]
fn the_scheme_is_what_the_hop_before_or_the_configuration_says() {
    let scheme_of = |manager: &Arc<HttpConnectionManager>, headers: &[(&str, &str)]| {
        scheme(seen(manager, headers).request.headers())
    };
    let claimed = [("x-forwarded-proto", "https")];
    assert_eq!(scheme_of(&options(|_| {}), &[]), "http");
    assert_eq!(scheme_of(&options(|_| {}), &claimed), "https");
    assert_eq!(scheme_of(&edge(|_| {}), &claimed), "http");
    assert_eq!(scheme_of(&options(|options| options.scheme = Some(Scheme::Https)), &[]), "https");
}

#[test]
fn hosts_lose_port_and_dot_where_configured() {
    let host = |manager: &Arc<HttpConnectionManager>, uri: &str, host: &str| {
        let mut request = Request::get(uri).header("host", host).body(()).unwrap();
        greet(&mut request, manager, &connection("10.1.1.1")).unwrap();
        super::super::outbound::authority(&request).unwrap().to_owned()
    };
    let any = manager(|manager| manager.strip_port = StripPort::Any);
    let matching = manager(|manager| manager.strip_port = StripPort::Matching);
    let dot = options(|options| options.strip_trailing_host_dot = true);
    for (manager, given, expected) in [
        (&any, "a.example:81", "a.example"),
        (&any, "[::1]:81", "[::1]"),
        (&any, "[::1]", "[::1]"),
        (&any, "a.example:x", "a.example:x"),
        (&matching, "a.example:8080", "a.example"),
        (&matching, "a.example:81", "a.example:81"),
        (&dot, "a.example.", "a.example"),
        (&dot, "a.example.:81", "a.example:81"),
        (&dot, "a.example", "a.example"),
        (&options(|_| {}), "a.example.:8080", "a.example.:8080"),
    ] {
        assert_eq!(host(manager, "/", given), expected, "{given}");
    }
    assert_eq!(host(&any, "http://b.example:81/", "a"), "b.example");
}

#[test]
fn http_1_0_is_refused_unless_accepted_and_then_has_a_default_host() {
    let greeted = |manager: &Arc<HttpConnectionManager>, version: Version| {
        let mut request = Request::get("/").version(version).body(()).unwrap();
        let answer = greet(&mut request, manager, &connection("10.1.1.1")).err().map(|reply| reply.status);
        (answer, request.headers().get("host").cloned())
    };
    assert_eq!(greeted(&options(|_| {}), Version::HTTP_10).0, Some(StatusCode::UPGRADE_REQUIRED));
    assert_eq!(greeted(&options(|_| {}), Version::HTTP_11).0, Some(StatusCode::BAD_REQUEST));
    let accepts = options(|options| {
        options.accept_http_10 = true;
        options.default_host_for_http_10 = "d.example".to_owned();
    });
    assert_eq!(greeted(&accepts, Version::HTTP_10), (None, Some(HeaderValue::from_static("d.example"))));
    assert_eq!(greeted(&accepts, Version::HTTP_11).0, Some(StatusCode::BAD_REQUEST));
}

//! Copies of requests on real sockets: what they look like, when they end, and that nobody waits for them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::channel::Channel;
use mesh_core::resource::cluster::{Cluster, Thresholds};
use mesh_core::resource::route::{
    ClusterSpecifier, Forward, FractionalPercent, HostRewrite, MirrorPolicy, PathRewrite, VirtualHost,
};
use mesh_core::state::{ClusterCounts, Lane, Load};
use mesh_tower::BoxError;
use tower::ServiceExt;

use crate::mesh::{
    HOST, Mesh, Setup, ask, eventually, forward, get, http1, http2, post, read, retrying, route, within,
};
use crate::server::{H1Server, H2Server, answer, refused_address};

/// What arrived at a mirror, whole: the head and the body.
type Copies = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Answers everything with a large body and notes what it got.
async fn noting() -> (H1Server, Copies) {
    let copies = Copies::default();
    let noted = Arc::clone(&copies);
    let server = H1Server::start(move |mut connection| {
        let noted = Arc::clone(&noted);
        async move {
            while let Some(request) = connection.request().await {
                noted.lock().unwrap().push((request.head.to_ascii_lowercase(), request.body));
                connection.respond(500, &[7; 20_000]).await;
            }
        }
    })
    .await;
    (server, copies)
}

fn mirrored(policies: Vec<MirrorPolicy>) -> Forward {
    Forward { mirror_policies: policies, ..forward("c") }
}

fn counts(mesh: &Mesh, cluster: &str) -> ClusterCounts {
    mesh.store.pin(Lane::default()).cluster_by_name(cluster).unwrap().state().counts()
}

fn under_way(mesh: &Mesh, cluster: &str) -> u32 {
    mesh.load(cluster, Load::Requests)
}

#[tokio::test]
async fn a_copy_has_the_finished_head_and_the_body_and_its_response_is_discarded() {
    let server = H1Server::echo().await;
    let (mirror, copies) = noting().await;
    let forward = Forward {
        path_rewrite: Some(PathRewrite::Prefix("/rw".to_owned())),
        host_rewrite: Some(HostRewrite::Literal("new.host".to_owned())),
        ..mirrored(vec![MirrorPolicy::to("m")])
    };
    let clusters = vec![http1("c", server.address), http1("m", mirror.address)];
    let mesh = Mesh::new(Setup::new(clusters, vec![route("/", forward)]));
    let client = mesh.client();
    for number in 0..3 {
        let answer = ask(&client, post("/x", format!("hello {number}"))).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, &*format!("hello {number}")));
        eventually("the copy is there", || copies.lock().unwrap().len() == number + 1).await;
        let (head, body) = copies.lock().unwrap()[number].clone();
        assert_eq!(body, format!("hello {number}").into_bytes());
        assert!(head.starts_with("post /rwx http/1.1\r\n"), "{head}");
        assert!(head.contains("\r\nhost: new.host-shadow\r\n"), "{head}");
        assert!(head.contains("\r\nx-envoy-internal: true\r\n"), "{head}");
        eventually("the copy's response was read", || under_way(&mesh, "m") == 0).await;
    }
    assert_eq!(mirror.connections(), 1, "a response that is read leaves its connection to the next copy");
    assert_eq!(counts(&mesh, "m").responses_5xx, 3, "copies are counted at their cluster");
    assert_eq!((counts(&mesh, "c").requests, counts(&mesh, "m").mirrors_dropped), (3, 0));
}

#[tokio::test]
async fn the_most_specific_level_with_mirrors_counts_and_each_mirror_is_drawn_for() {
    let server = H1Server::echo().await;
    let (first, first_copies) = noting().await;
    let (second, second_copies) = noting().await;
    let none = FractionalPercent { numerator: 0, denominator: 100 };
    let by_header = MirrorPolicy {
        cluster: ClusterSpecifier::ClusterHeader("x-to".to_owned()),
        disable_shadow_host_suffix_append: true,
        ..MirrorPolicy::to("")
    };
    let of_route = vec![
        MirrorPolicy { runtime_fraction: Some(none), ..MirrorPolicy::to("second") },
        MirrorPolicy::to("nowhere"),
        by_header,
    ];
    let clusters = vec![http1("c", server.address), http1("first", first.address), http1("second", second.address)];
    let host = VirtualHost { mirror_policies: vec![MirrorPolicy::to("second")], ..VirtualHost::default() };
    let routes = vec![route("/route", mirrored(of_route)), route("/", forward("c"))];
    let client = Mesh::new(Setup { host, ..Setup::new(clusters, routes) }).client();
    let mut request = get("/route");
    request.headers_mut().insert("x-to", "first".parse().unwrap());
    ask(&client, request).await;
    ask(&client, get("/route?no-header")).await;
    ask(&client, get("/host")).await;
    eventually("both copies", || !first_copies.lock().unwrap().is_empty() && !second_copies.lock().unwrap().is_empty())
        .await;
    let (head, _) = first_copies.lock().unwrap().pop().unwrap();
    assert!(head.contains(&format!("\r\nhost: {HOST}\r\n")), "no suffix: {head}");
    let (head, _) = second_copies.lock().unwrap().pop().unwrap();
    assert!(head.starts_with("get /host "), "{head}");
    assert_eq!((first_copies.lock().unwrap().len(), second_copies.lock().unwrap().len()), (0, 0));
}

#[tokio::test]
async fn d14_a_request_that_is_retried_is_copied_once_and_the_copy_is_not_retried() {
    let failing = H1Server::start(|mut connection| async move {
        while let Some(request) = connection.request().await {
            connection.respond(503, &request.body).await;
        }
    })
    .await;
    let (mirror, copies) = noting().await;
    let forward = Forward { mirror_policies: vec![MirrorPolicy::to("m")], ..retrying("c", "5xx", 2) };
    let clusters = vec![http1("c", failing.address), http1("m", mirror.address)];
    let mesh = Mesh::new(Setup::new(clusters, vec![route("/", forward)]));
    let answer = ask(&mesh.client(), post("/", "again")).await;
    assert_eq!((answer.outcome(), answer.attempts()), ((503, "URX".to_owned()), 3));
    eventually("the copy", || copies.lock().unwrap().len() == 1).await;
    assert_eq!(copies.lock().unwrap()[0].1, b"again");
    assert_eq!((counts(&mesh, "c").requests, counts(&mesh, "m").requests), (3, 1));
}

/// A mirror that takes connections and does `script` with each.
async fn misbehaving(kind: &str) -> SocketAddr {
    let server = match kind {
        "hangs" => H1Server::start(|connection| async move { connection.closed().await }).await,
        "resets" => H1Server::start(|connection| async move { connection.reset() }).await,
        "reads nothing" => {
            H1Server::start(|connection| async move {
                let _open = connection;
                std::future::pending::<()>().await;
            })
            .await
        }
        _ => return refused_address().await,
    };
    let address = server.address;
    // Until the end of the test.
    std::mem::forget(server);
    address
}

#[tokio::test]
async fn n22_a_mirror_that_is_dead_hangs_resets_or_reads_nothing_never_slows_or_fails_the_request() {
    for kind in ["dead", "hangs", "resets", "reads nothing"] {
        let server = H1Server::echo().await;
        let mut route = route("/", mirrored(vec![MirrorPolicy::to("m")]));
        // No more than this may wait for a mirror.
        route.request_body_buffer_limit = Some(64 << 10);
        let clusters = vec![http1("c", server.address), http1("m", misbehaving(kind).await)];
        let mesh = Mesh::new(Setup::new(clusters, vec![route]));
        let client = mesh.client();
        // 16 MiB in small parts: far more than sockets and the queue hold.
        let (mut sender, body) = Channel::<Bytes, BoxError>::new(1);
        let part = Bytes::from(vec![1; 16 << 10]);
        let sending = tokio::spawn(async move {
            for _ in 0..1024 {
                sender.send_data(part.clone()).await.unwrap();
            }
        });
        let request = Request::post(format!("http://{HOST}/")).body(body).unwrap();
        let answer = ask(&client, request).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 16 << 20), "{kind}");
        within(sending).await.unwrap();
        // One that takes everything and never answers has until its timeout, unless it fell behind.
        if kind != "hangs" {
            eventually("the copy has ended", || under_way(&mesh, "m") == 0).await;
        }
        if kind == "reads nothing" {
            assert_eq!(counts(&mesh, "m").mirrors_dropped, 1, "{kind}");
        }
    }
}

#[tokio::test]
async fn a_copy_takes_a_place_among_its_clusters_limits_and_is_dropped_without_one() {
    let server = H1Server::echo().await;
    let (mirror, copies) = noting().await;
    let full = Thresholds { max_requests: 0, ..Thresholds::default() };
    let mut limited = http1("m", mirror.address);
    limited.circuit_breakers.default = full;
    let clusters: Vec<Cluster> = vec![http1("c", server.address), limited];
    let mesh = Mesh::new(Setup::new(clusters, vec![route("/", mirrored(vec![MirrorPolicy::to("m")]))]));
    assert_eq!(ask(&mesh.client(), get("/")).await.status, 200);
    eventually("the copy is refused", || counts(&mesh, "m").overflows == 1).await;
    assert!(copies.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_copy_whose_body_has_gone_by_outlives_its_request_and_one_whose_body_has_not_ends_with_it() {
    let main = H2Server::serve(
        |_| {},
        |_, mut respond| async move {
            answer(&mut respond, "early");
        },
    )
    .await;
    let mirror = H1Server::start(|mut connection| async move { while connection.request().await.is_some() {} }).await;
    let clusters = || vec![http2("c", main.address), http1("m", mirror.address)];
    let setup = || Setup::new(clusters(), vec![route("/", mirrored(vec![MirrorPolicy::to("m")]))]);
    // The response comes before the rest of the body, and the caller goes.
    let mesh = Mesh::new(setup());
    let client = mesh.client();
    let (mut sender, body) = Channel::<Bytes, BoxError>::new(1);
    sender.send_data(Bytes::from_static(b"half")).await.unwrap();
    let request = Request::post(format!("http://{HOST}/")).body(body).unwrap();
    let response = within(client.clone().oneshot(request)).await.unwrap();
    eventually("the copy is under way", || under_way(&mesh, "m") == 1).await;
    within(read(response)).await.unwrap();
    drop(sender);
    eventually("the copy ends with its request", || under_way(&mesh, "m") == 0).await;
    assert_eq!(counts(&mesh, "m").mirrors_dropped, 0, "it was not slow");
    // A request without a body is copied whole at once: its caller may go.
    let mesh = Mesh::new(setup());
    let client = mesh.client();
    ask(&client, get("/")).await;
    eventually("the copy is under way", || under_way(&mesh, "m") == 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(under_way(&mesh, "m"), 1, "and goes on after the request has ended");
    drop(client);
    eventually("the end of the stack ends its copies", || under_way(&mesh, "m") == 0).await;
}

#[tokio::test]
async fn a_copy_has_the_timeout_of_its_request() {
    let server = H1Server::echo().await;
    let mirror = H1Server::start(|mut connection| async move { while connection.request().await.is_some() {} }).await;
    let forward = Forward { timeout: Some(Duration::from_millis(300)), ..mirrored(vec![MirrorPolicy::to("m")]) };
    let clusters = vec![http1("c", server.address), http1("m", mirror.address)];
    let mesh = Mesh::new(Setup::new(clusters, vec![route("/", forward)]));
    let client = mesh.client();
    ask(&client, get("/")).await;
    eventually("the copy is under way", || counts(&mesh, "m").requests == 1).await;
    eventually("the copy is given up", || under_way(&mesh, "m") == 0).await;
}

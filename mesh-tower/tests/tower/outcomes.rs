//! How tries end is said of their host exactly once, whoever ends them.

use std::sync::Arc;
use std::time::Duration;

use mesh_core::engine::outlier_detection::{Detector, Effect};
use mesh_core::engine::random::Random;
use mesh_core::resource::cluster::{Cluster, Thresholds};
use mesh_core::resource::outlier_detection::{Enforcing, OutlierDetection};
use mesh_core::resource::retry::RetryPolicy;
use mesh_core::resource::route::Forward;
use mesh_core::snapshot::Cluster as Compiled;
use mesh_core::state::{EjectionCause, Lane, Load};
use tower::ServiceExt;

use crate::mesh::{Mesh, Setup, ask, ask_aside, eventually, forward, get, http1, http2, retry_policy, route, within};
use crate::server::{H1Server, H2Server};

/// Long enough for a loopback exchange on a busy machine, short enough to wait for.
const SHORT: Duration = Duration::from_millis(400);

/// Ejects at this many gateway failures, or this many failures of our own where they are told apart.
fn judged(cluster: Cluster, limit: u32, split: bool) -> Cluster {
    let outlier_detection = Some(OutlierDetection {
        consecutive_gateway_failure: limit,
        consecutive_local_origin_failure: limit,
        consecutive_5xx: 0,
        max_ejection_percent: 100,
        split_external_local_origin_errors: split,
        enforcing: Enforcing { consecutive_gateway_failure: 100, ..Enforcing::default() },
        ..OutlierDetection::default()
    });
    Cluster { outlier_detection, ..cluster }
}

fn compiled(mesh: &Mesh) -> Arc<Compiled> {
    let pin = mesh.store.pin(Lane::default());
    Arc::clone(pin.cluster_by_name("c").unwrap())
}

/// Failures of the only host, and tries that took too long.
fn errors_and_timeouts(mesh: &Mesh) -> (u64, u64) {
    let cluster = compiled(mesh);
    (cluster.balancer().hosts()[0].state.errors(), cluster.state().counts().timeouts)
}

/// What a detector that begins before `requests` finds after them.
async fn detected<T>(mesh: &Mesh, requests: impl Future<Output = T>) -> Vec<EjectionCause> {
    let cluster = compiled(mesh);
    let config = cluster.config().outlier_detection.clone().unwrap();
    let mut detector = Detector::new(config, false, Arc::clone(cluster.state()), Duration::ZERO);
    detector.follow(cluster.balancer().hosts().iter().map(|host| (&host.endpoint.address, &host.state)));
    requests.await;
    let effects = detector.detected(Duration::ZERO, &mut Random::from_seed(1));
    let cause = |effect| match effect {
        Effect::Ejected { cause, .. } => cause,
        other => panic!("{other:?}"),
    };
    effects.into_iter().map(cause).collect()
}

async fn silent_http1() -> H1Server {
    H1Server::start(|mut connection| async move { while connection.request().await.is_some() {} }).await
}

async fn silent_http2() -> H2Server {
    H2Server::serve(
        |_| {},
        |_, mut respond| async move {
            let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
        },
    )
    .await
}

#[tokio::test]
async fn a_timeout_of_the_route_or_of_a_try_is_a_failure_of_the_host() {
    let (http1_server, http2_server) = (silent_http1().await, silent_http2().await);
    let by_route = Forward { timeout: Some(SHORT), ..forward("c") };
    let policy = RetryPolicy { per_try_timeout: Some(SHORT), ..retry_policy("5xx", 1) };
    let by_try = Forward { retry_policy: Some(Arc::new(policy)), ..forward("c") };
    for (forward, tries) in [(by_route, 1), (by_try, 2)] {
        for cluster in [http1("c", http1_server.address), http2("c", http2_server.address)] {
            let cluster = judged(cluster, tries, false);
            let mesh = Mesh::new(Setup::new(vec![cluster], vec![route("/", forward.clone())]));
            let client = mesh.client();
            let found = detected(&mesh, async { assert_eq!(ask(&client, get("/")).await.status, 504) }).await;
            assert_eq!(found, [EjectionCause::ConsecutiveGatewayFailure]);
            let tries = u64::from(tries);
            assert_eq!(errors_and_timeouts(&mesh), (tries, tries));
        }
    }
}

#[tokio::test]
async fn a_request_that_its_caller_gives_up_says_nothing_of_the_host() {
    let server = silent_http2().await;
    let mesh = Mesh::new(Setup::to(judged(http2("c", server.address), 1, false)));
    let client = mesh.client();
    let found = detected(&mesh, async {
        let given_up = tokio::spawn(async move { drop(client.oneshot(get("/")).await) });
        eventually("it is under way", || mesh.active("c") == 1).await;
        given_up.abort();
        eventually("it is given up", || mesh.active("c") == 0).await;
    })
    .await;
    assert_eq!((found, errors_and_timeouts(&mesh)), (vec![], (0, 0)));
}

#[tokio::test]
async fn a_request_that_waits_for_a_connection_in_vain_says_nothing_of_the_host() {
    let server = silent_http1().await;
    let mut cluster = judged(http1("c", server.address), 1, false);
    cluster.circuit_breakers.default = Thresholds { max_connections: 1, ..Thresholds::default() };
    let timed = Forward { timeout: Some(SHORT), ..forward("c") };
    let mesh = Mesh::new(Setup::new(vec![cluster], vec![route("/wait", timed), route("/", forward("c"))]));
    let found = detected(&mesh, async {
        let holder = ask_aside(mesh.client(), get("/"));
        eventually("the connection is taken", || server.connections() == 1).await;
        assert_eq!(ask(&mesh.client(), get("/wait")).await.status, 504);
        assert_eq!(errors_and_timeouts(&mesh), (0, 1), "the request is counted, the host is not blamed");
        holder.abort();
        eventually("nothing waits", || mesh.load("c", Load::Requests) == 0).await;
    })
    .await;
    assert_eq!(found, []);
}

#[tokio::test]
async fn where_failures_are_told_apart_a_refused_connection_is_our_own_and_a_silent_host_is_reachable() {
    let nobody = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    for cluster in [http1("c", nobody), http2("c", nobody)] {
        let mesh = Mesh::new(Setup::to(judged(cluster, 2, true)));
        let client = mesh.client();
        let found = detected(&mesh, async {
            for _ in 0..2 {
                assert_eq!(ask(&client, get("/")).await.outcome(), (503, "UF".to_owned()));
            }
        })
        .await;
        assert_eq!(found, [EjectionCause::ConsecutiveLocalOriginFailure]);
    }
    let (http1_server, http2_server) = (silent_http1().await, silent_http2().await);
    for cluster in [http1("c", http1_server.address), http2("c", http2_server.address)] {
        let timed = Forward { timeout: Some(SHORT), ..forward("c") };
        let mesh = Mesh::new(Setup::new(vec![judged(cluster, 2, true)], vec![route("/", timed)]));
        let client = mesh.client();
        let found = detected(&mesh, async {
            for _ in 0..2 {
                assert_eq!(within(ask(&client, get("/"))).await.status, 504);
            }
        })
        .await;
        assert_eq!(found, [], "every connection ends the row, as in Envoy");
    }
}

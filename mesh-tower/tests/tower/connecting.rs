//! Connections that are not made: refused, in a black hole, to several hosts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::resource::cluster::{Cluster, UpstreamProtocol};
use mesh_core::resource::retry::RetryPolicy;
use mesh_core::resource::route::Forward;
use mesh_core::state::Load;
use socket2::{Domain, Socket, Type};
use tokio::task::JoinSet;

use crate::mesh::{Mesh, Setup, ask, cluster, forward, get, retry_policy, retrying, route};
use crate::server::{H1Server, refused_address};

/// A listener whose queue is full: the kernel answers no further connection attempt.
struct BlackHole {
    address: SocketAddr,
    _listener: Socket,
    _queued: Vec<Socket>,
}

impl BlackHole {
    fn new() -> Self {
        let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&loopback.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        loop {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let is_full = socket.connect_timeout(&address.into(), Duration::from_millis(100)).is_err();
            queued.push(socket);
            if is_full {
                return Self { address, _listener: listener, _queued: queued };
            }
            assert!(queued.len() < 100, "the queue never fills up");
        }
    }
}

#[tokio::test]
async fn n01_a_refused_connection_is_an_upstream_connection_failure() {
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
        let mesh = Mesh::new(Setup::to(cluster("c", protocol, &[refused_address().await])));
        let answer = ask(&mesh.client(), get("/")).await;
        assert_eq!(answer.outcome(), (503, "UF".to_owned()));
        let text = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure";
        assert_eq!(answer.text(), text);
        let details = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}";
        assert_eq!(answer.info.details, details);
        for load in [Load::Requests, Load::Pending, Load::Connections] {
            assert_eq!(mesh.load("c", load), 0, "{load:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn n01_many_requests_to_a_host_that_refuses_all_fail_at_once() {
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
        let mesh = Mesh::new(Setup::to(cluster("c", protocol, &[refused_address().await])));
        let mut requests = JoinSet::new();
        for _ in 0..64 {
            let client = mesh.client();
            requests.spawn(async move { ask(&client, get("/")).await.outcome() });
        }
        assert!(requests.join_all().await.iter().all(|outcome| *outcome == (503, "UF".to_owned())));
    }
}

#[tokio::test]
async fn n02_a_connection_that_is_not_made_in_time_is_a_connection_timeout() {
    let hole = BlackHole::new();
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
        let connect_timeout = Duration::from_millis(50);
        let cluster = Cluster { connect_timeout, ..cluster("c", protocol, &[hole.address]) };
        let answer = ask(&Mesh::new(Setup::to(cluster)).client(), get("/")).await;
        assert_eq!(answer.outcome(), (503, "UF".to_owned()));
        assert!(answer.text().ends_with("reset reason: connection timeout"), "{}", answer.text());
        assert_eq!(answer.info.details, "upstream_reset_before_response_started{connection_timeout}");
    }
}

#[tokio::test]
async fn n02_a_retry_goes_to_another_host_than_the_one_in_the_black_hole() {
    let (hole, server) = (BlackHole::new(), H1Server::echo().await);
    let policy = RetryPolicy {
        avoid_previous_hosts: true,
        host_selection_retry_max_attempts: 5,
        ..retry_policy("connect-failure", 2)
    };
    let cluster = Cluster {
        connect_timeout: Duration::from_millis(50),
        ..cluster("c", UpstreamProtocol::Http1, &[hole.address, server.address])
    };
    let forward = Forward { retry_policy: Some(Arc::new(policy)), ..forward("c") };
    let client = Mesh::new(Setup::new(vec![cluster], vec![route("/", forward)])).client();
    let mut attempts = Vec::new();
    for _ in 0..4 {
        let answer = ask(&client, get("/")).await;
        assert_eq!(answer.outcome(), (200, "-".to_owned()));
        attempts.push(answer.attempts());
    }
    assert!(attempts.contains(&2) && attempts.iter().all(|made| *made <= 2), "{attempts:?}");
}

#[tokio::test]
async fn n01_retries_that_all_fail_say_so() {
    let setup = Setup::new(
        vec![cluster("c", UpstreamProtocol::Http1, &[refused_address().await])],
        vec![route("/", retrying("c", "connect-failure", 2))],
    );
    let answer = ask(&Mesh::new(setup).client(), get("/")).await;
    assert_eq!(answer.outcome(), (503, "URX,UF".to_owned()));
    assert!(answer.text().contains("retried and the latest reset reason: remote connection failure"));
}

#[tokio::test]
async fn a_cluster_without_hosts_has_no_healthy_upstream() {
    let answer = ask(&Mesh::new(Setup::to(cluster("c", UpstreamProtocol::Http1, &[]))).client(), get("/")).await;
    assert_eq!((answer.outcome(), answer.text()), ((503, "UH".to_owned()), "no healthy upstream"));
}

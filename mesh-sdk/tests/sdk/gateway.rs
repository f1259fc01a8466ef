//! A gateway: listeners opened for callers outside, from Istio's objects or from an Envoy configuration.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use mesh_sdk::{Gateway, Mesh, ProxyRole, Severity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::support::{closed_port, serve, server, until};

/// Sends bytes, and reads all that comes back.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    // A reset tells no less than an end.
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}

/// A GET; status and body.
pub(crate) async fn get(address: SocketAddr, host: &str, path: &str, headers: &str) -> (u16, String) {
    let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}\r\n");
    let text = exchange(address, &head).await;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, body.to_owned())
}

/// Answers with its request's headers, one a line.
fn mirror() -> Router {
    Router::new().fallback(|request: Request| async move {
        let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))
        };
        request.headers().iter().map(line).collect::<String>()
    })
}

pub(crate) fn listener(name: &str, more: &str, hosts: &str) -> String {
    format!(
        "  - name: {name}\n    address: {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}\n{more}    filter_chains:\n    \
         - filters:\n      - name: http\n        typed_config:\n          \
         '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n          \
         stat_prefix: {name}\n          max_request_headers_kb: 8\n          use_remote_address: true\n          \
         route_config: {{name: r, internal_only_headers: [x-secret], virtual_hosts: {hosts}}}\n          http_filters:\n          \
         - name: router\n            typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}\n",
        10_000 + name.bytes().map(u32::from).sum::<u32>()
    )
}

fn config(listeners: &str, port: u16) -> String {
    format!(
        "static_resources:\n  listeners:\n{listeners}  clusters:\n  - name: up\n    type: STATIC\n    load_assignment: {{cluster_name: up, \
         endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}]}}]}}\n"
    )
}

const TO_UP: &str = "[{name: v, domains: ['*'], routes: [{match: {prefix: /hi}, direct_response: {status: 201, body: {inline_string: hi}}}, \
                     {match: {prefix: /up}, route: {cluster: up}}]}]";

pub(crate) async fn mesh_of_envoy(text: &str) -> (Mesh, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("envoy.yaml"), text).unwrap();
    let mesh = Mesh::builder().envoy_config(folder.path().join("envoy.yaml")).build().await.unwrap();
    (mesh, folder)
}

pub(crate) async fn open(mesh: &Mesh) -> Gateway {
    mesh.gateway().on_loopback().open().await.unwrap()
}

#[tokio::test]
async fn a_gateway_serves_the_listeners_of_an_envoy_configuration() {
    let port = serve(mirror()).await;
    let tls = listener("two", "", "[{name: v, domains: ['*'], require_tls: ALL, routes: []}]");
    let (mesh, _folder) = mesh_of_envoy(&config(&(listener("one", "", TO_UP) + &tls), port)).await;
    assert!(mesh.findings().iter().all(|one| one.severity != Severity::Refused), "{:?}", mesh.findings());
    let gateway = open(&mesh).await;
    let addresses = gateway.addresses();
    let serving = tokio::spawn(gateway.serve());
    let (one, two) = (addresses["one"], addresses["two"]);
    assert_eq!(get(one, "a.example", "/hi", "").await, (201, "hi".to_owned()));
    assert_eq!(get(one, "a.example", "/other", "").await.0, 404);
    let (status, seen) = get(one, "a.example", "/up", "x-forwarded-for: 1.2.3.4\r\n").await;
    assert_eq!(status, 200);
    for line in
        ["host: a.example\n", "x-forwarded-for: 1.2.3.4,127.0.0.1\n", "x-forwarded-proto: http\n", "x-request-id: "]
    {
        assert!(seen.contains(line), "{line:?} in {seen}");
    }
    let redirect = exchange(two, "GET /a HTTP/1.1\r\nhost: b.example\r\nconnection: close\r\n\r\n").await;
    assert!(redirect.contains("301") && redirect.contains("location: https://b.example/a\r\n"), "{redirect}");
    assert!(redirect.contains("server: envoy\r\n"), "{redirect}");
    mesh.shutdown().await;
    serving.await.unwrap();
    assert!(TcpStream::connect(one).await.is_err());
}

#[tokio::test]
async fn internal_only_headers_of_callers_outside_do_not_arrive() {
    let port = serve(mirror()).await;
    let (mesh, _folder) = mesh_of_envoy(&config(&listener("one", "", TO_UP), port)).await;
    let gateway = open(&mesh).await;
    let address = gateway.addresses()["one"];
    tokio::spawn(gateway.serve());
    let (status, seen) = get(address, "a", "/up", "x-secret: 1\r\nx-open: 1\r\n").await;
    assert!(status == 200 && seen.contains("x-open: 1") && !seen.contains("x-secret"), "{seen}");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_answered_431() {
    let (mesh, _folder) = mesh_of_envoy(&config(&listener("one", "", TO_UP), closed_port().await)).await;
    let gateway = open(&mesh).await;
    let address = gateway.addresses()["one"];
    tokio::spawn(gateway.serve());
    let large = format!("x-large: {}\r\n", "x".repeat(9000));
    assert_eq!(get(address, "a", "/hi", &large).await.0, 431);
    let many = "x-one-of-many: 1\r\n".repeat(120);
    assert_eq!(get(address, "a", "/hi", &many).await.0, 431);
}

#[tokio::test]
async fn listeners_that_are_not_to_be_bound_are_not_served() {
    let listeners = listener("one", "    bind_to_port: false\n", TO_UP) + &listener("two", "", TO_UP);
    let (mesh, _folder) = mesh_of_envoy(&config(&listeners, closed_port().await)).await;
    assert_eq!(open(&mesh).await.addresses().into_keys().collect::<Vec<_>>(), ["two"]);
    // What a sidecar's caller finds by port is nothing to listen on, either.
    let mesh = crate::support::mesh_of(crate::support::service("app", &[("v1", 1)])).await;
    assert!(open(&mesh).await.addresses().is_empty());
}

#[tokio::test]
async fn listeners_come_and_go_with_the_configuration() {
    let port = serve(mirror()).await;
    let (one, two) = (listener("one", "", TO_UP), listener("two", "", TO_UP));
    let (mesh, folder) = mesh_of_envoy(&config(&one, port)).await;
    let gateway = open(&mesh).await;
    let addresses = gateway.watch();
    let first = addresses.now()["one"];
    tokio::spawn(gateway.serve());
    assert_eq!(get(first, "a", "/hi", "").await.0, 201);
    std::fs::write(folder.path().join("envoy.yaml"), config(&two, port)).unwrap();
    until("the other listener", async || addresses.now().keys().eq(["two"])).await;
    assert_eq!(get(addresses.now()["two"], "a", "/hi", "").await.0, 201);
    until("the first to close", async || TcpStream::connect(first).await.is_err()).await;
    // A broken text changes nothing.
    std::fs::write(folder.path().join("envoy.yaml"), "static_resources: [").unwrap();
    until("the finding", async || mesh.findings().iter().any(|one| one.severity == Severity::Refused)).await;
    assert_eq!(get(addresses.now()["two"], "a", "/hi", "").await.0, 201);
}

#[tokio::test]
async fn a_gateway_lets_requests_under_way_finish() {
    let (come, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let held = {
        let (come, go) = (Arc::clone(&come), Arc::clone(&go));
        Router::new().fallback(move || {
            let (come, go) = (Arc::clone(&come), Arc::clone(&go));
            async move {
                come.add_permits(1);
                go.acquire().await.unwrap().forget();
                "finished"
            }
        })
    };
    let (mesh, _folder) = mesh_of_envoy(&config(&listener("one", "", TO_UP), serve(held).await)).await;
    let gateway = open(&mesh).await;
    let address = gateway.addresses()["one"];
    let serving = tokio::spawn(gateway.serve());
    let request = tokio::spawn(async move { get(address, "a", "/up", "").await });
    come.acquire().await.unwrap().forget();
    let shutdown = tokio::spawn({
        let mesh = mesh.clone();
        async move { mesh.shutdown().await }
    });
    until("the port to close", async || TcpStream::connect(address).await.is_err()).await;
    assert!(!shutdown.is_finished(), "a request is under way");
    go.add_permits(1);
    assert_eq!(request.await.unwrap(), (200, "finished".to_owned()));
    shutdown.await.unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn an_upgrade_that_is_allowed_passes_through_a_gateway_in_both_directions() {
    let upstream = crate::support::listener().await;
    let port = upstream.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = upstream.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
        stream.write_all(switch.as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        tokio::io::copy(&mut read, &mut write).await.unwrap();
    });
    let allowed =
        TO_UP.replace("route: {cluster: up}", "route: {cluster: up, upgrade_configs: [{upgrade_type: echo}]}");
    let (mesh, _folder) = mesh_of_envoy(&config(&listener("one", "", &allowed), port)).await;
    let gateway = open(&mesh).await;
    let address = gateway.addresses()["one"];
    let serving = tokio::spawn(gateway.serve());
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(ask("/up").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    for message in [b"ping", b"pong"] {
        stream.write_all(message).await.unwrap();
        let mut back = [0; 4];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, message);
    }
    // It ends with the listener.
    tokio::time::timeout(Duration::from_secs(10), mesh.shutdown()).await.unwrap();
    serving.await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
}

#[tokio::test]
async fn gateways_of_istio_are_opened_and_virtual_services_route_there() {
    let (v1, v2) = (server("v1").await, server("v2").await);
    let yaml = crate::support::service("shop", &[("v1", v1), ("v2", v2)])
        + &crate::support::subsets("shop", &["v1", "v2"])
        + "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: public}\nspec:\n  selector: {istio: edge}\n  servers:\n  \
           - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*.example.com']}\n---\n\
           apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: shop-edge}\nspec:\n  hosts: [shop.example.com]\n  \
           gateways: [public]\n  http:\n  - match: [{uri: {prefix: /beta}}]\n    route: [{destination: {host: shop.example, subset: v2}}]\n  \
           - route: [{destination: {host: shop.example, subset: v1}}]\n";
    let mesh = Mesh::builder().literal(yaml).role(ProxyRole::Router).labels([("istio", "edge")]).build().await.unwrap();
    let gateway = open(&mesh).await;
    let address = gateway.addresses()["0.0.0.0_80"];
    tokio::spawn(gateway.serve());
    assert_eq!(get(address, "shop.example.com", "/", "").await, (200, "v1".to_owned()));
    assert_eq!(get(address, "shop.example.com:8080", "/beta/x", "").await, (200, "v2".to_owned()));
    assert_eq!(get(address, "other.example.com", "/", "").await.0, 404);
}

#[tokio::test]
async fn a_listener_that_cannot_be_opened_is_named() {
    let taken = crate::support::listener().await;
    let port = taken.local_addr().unwrap().port();
    let text = config(&listener("one", "", TO_UP), 1);
    let text = text.replace(&format!("port_value: {}", 10_000 + 111 + 110 + 101), &format!("port_value: {port}"));
    let (mesh, _folder) = mesh_of_envoy(&text).await;
    let error = mesh.gateway().open().await.unwrap_err();
    assert_eq!(error.to_string(), format!("listener one cannot listen on 127.0.0.1:{port}"));
    tokio::time::timeout(Duration::from_secs(5), mesh.shutdown()).await.unwrap();
}

//! The ingress as a process: started on a folder or a file, asked over the network, ended by its number.
#![allow(clippy::unwrap_used, reason = "a test that unwraps names its own failure")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mesh_tests::data;
use mesh_tests::upstream::{UP, Upstreams};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The example, running.
struct Running {
    child: Child,
    addresses: BTreeMap<String, SocketAddr>,
}

impl Running {
    fn start(config: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command.arg(config).args(["--loopback", "--namespace", "default"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut this = Self { child, addresses: BTreeMap::new() };
        for line in lines {
            let line = line.unwrap();
            if line == "ready" {
                return this;
            }
            let (name, address) = line.strip_prefix("listener ").unwrap().rsplit_once(" on ").unwrap();
            this.addresses.insert(name.to_owned(), address.parse().unwrap());
        }
        panic!("the gateway ended before it was ready");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A GET; status and body.
async fn get(address: SocketAddr, host: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nx-id: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The service that manifest 04 routes to, and the Gateway that it names.
fn around(upstreams: &Upstreams) -> String {
    format!(
        "\
apiVersion: v1
kind: Service
metadata: {{name: go-service}}
spec: {{ports: [{{name: http, port: 8080}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: go-service-1, labels: {{kubernetes.io/service-name: go-service}}}}
ports: [{{name: http, port: {}}}]
endpoints: [{{addresses: [127.0.0.1]}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: public-gateway}}
spec:
  selector: {{istio: ingressgateway}}
  servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ['*.example.com']}}]
",
        upstreams.address(UP).port()
    )
}

async fn go_service_is_reached(virtual_service: &str) {
    let upstreams = Upstreams::start().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("04.yaml"), virtual_service).unwrap();
    std::fs::write(folder.path().join("around.yaml"), around(&upstreams)).unwrap();
    let running = Running::start(folder.path());
    let address = running.addresses["0.0.0.0_80"];
    for host in ["go.example.com", "GO.example.com", "go.example.com:8080"] {
        let (status, body) = get(address, host, "/any?thing").await;
        assert!(status == 200 && body.contains("\"path\":\"/any?thing\""), "{host}: {status} {body}");
    }
    let [arrival] = &upstreams.journal.of("go.example.com")[..] else { panic!("one try") };
    let header = |name: &str| arrival.headers.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str());
    assert_eq!(header("host"), Some("go.example.com"));
    assert_eq!((header("x-forwarded-for"), header("x-forwarded-proto")), (Some("127.0.0.1"), Some("http")));
    assert_eq!(header("x-envoy-external-address"), Some("127.0.0.1"));
    assert!(header("x-request-id").is_some());
    for host in ["other.example.com", "example.com"] {
        assert_eq!(get(address, host, "/").await.0, 404, "{host}");
        assert!(upstreams.journal.of(host).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifest_04_is_served_through_the_gateway_that_it_names() {
    let Some(folder) = data::find("article") else { return data::report(0, 1) };
    let text = std::fs::read_to_string(folder.join("04-virtualservice-gateway.yaml")).unwrap();
    go_service_is_reached(&text).await;
    data::report(1, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_virtual_service_is_served_through_the_gateway_that_it_names() {
    go_service_is_reached(
        "apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\nmetadata: {name: go}\nspec:\n  hosts: [go.example.com]\n  \
         gateways: [public-gateway]\n  http: [{route: [{destination: {host: go-service, port: {number: 8080}}}]}]\n",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_configuration_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("envoy.yaml");
    std::fs::write(
        &path,
        "\
static_resources:
  listeners:
  - name: hello
    address: {socket_address: {address: 0.0.0.0, port_value: 10000}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: hello
          route_config: {virtual_hosts: [{name: all, domains: ['*'], routes: [{match: {prefix: /}, direct_response: {status: 200, body: {inline_string: hello}}}]}]}
          http_filters: [{name: router, typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]
",
    )
    .unwrap();
    let running = Running::start(&path);
    assert_eq!(get(running.addresses["hello"], "any", "/").await, (200, "hello".to_owned()));
}

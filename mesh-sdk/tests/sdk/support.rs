//! Servers that say who they are, YAML that names them, and a client that reads what came back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use mesh_sdk::{Mesh, ResponseInfo};
use tokio::net::TcpListener;
use tower::ServiceExt;

/// What a caller got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
    pub(crate) info: ResponseInfo,
}

impl Answer {
    pub(crate) fn flags(&self) -> String {
        self.info.flags.to_string()
    }

    pub(crate) fn cluster(&self) -> &str {
        self.info.upstream.as_ref().map(|upstream| upstream.cluster()).unwrap_or_default()
    }
}

/// Sends a GET with these headers.
pub(crate) async fn fetch(mesh: &Mesh, uri: &str, headers: &[(&str, &str)]) -> Answer {
    let request = headers.iter().fold(Request::get(uri), |request, (name, value)| request.header(*name, *value));
    let response = mesh.http_client().oneshot(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    let info = response.extensions().get::<ResponseInfo>().unwrap().clone();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Answer { status, body: String::from_utf8(body.to_vec()).unwrap(), info }
}

/// The body of a plain GET.
pub(crate) async fn get(mesh: &Mesh, uri: &str) -> String {
    fetch(mesh, uri, &[]).await.body
}

/// A server outside of the mesh that answers everything with its name.
pub(crate) async fn server(name: &'static str) -> u16 {
    serve(Router::new().fallback(move || async move { name })).await
}

/// A server outside of the mesh.
pub(crate) async fn serve(app: Router) -> u16 {
    let listener = listener().await;
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, app).await });
    port
}

pub(crate) async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// A port that nobody listens on.
pub(crate) async fn closed_port() -> u16 {
    listener().await.local_addr().unwrap().port()
}

/// Waits until `done` says so; fails after ten seconds.
pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !done().await {
        assert!(began.elapsed() < Duration::from_secs(10), "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A GET of an admin page, with a Host header of one's own: status and text.
pub(crate) async fn page(admin: SocketAddr, method: &str, path: &str, host: &str) -> Option<(u16, String)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(admin).await.ok()?;
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// A ServiceEntry `<name>` of host `<name>.example`, port 80, with endpoints on loopback: version label and port.
pub(crate) fn service(name: &str, endpoints: &[(&str, u16)]) -> String {
    service_speaking(name, "HTTP", endpoints)
}

pub(crate) fn service_speaking(name: &str, protocol: &str, endpoints: &[(&str, u16)]) -> String {
    let endpoints: String = endpoints
        .iter()
        .map(|(version, port)| {
            format!("  - {{address: 127.0.0.1, ports: {{main: {port}}}, labels: {{version: {version}}}}}\n")
        })
        .collect();
    let endpoints = if endpoints.is_empty() { String::new() } else { format!("  endpoints:\n{endpoints}") };
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}}}\nspec:\n  \
         hosts: [{name}.example]\n  location: MESH_INTERNAL\n  resolution: STATIC\n  \
         ports: [{{number: 80, name: main, protocol: {protocol}}}]\n{endpoints}---\n"
    )
}

/// A DestinationRule with one subset for each version.
pub(crate) fn subsets(name: &str, versions: &[&str]) -> String {
    let subsets: String =
        versions.iter().map(|version| format!("  - {{name: {version}, labels: {{version: {version}}}}}\n")).collect();
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: {name}}}\nspec:\n  \
         host: {name}.example\n  subsets:\n{subsets}---\n"
    )
}

/// A VirtualService with these rules, written as YAML items of `http`.
pub(crate) fn routes(name: &str, rules: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\nspec:\n  \
         hosts: [{name}.example]\n  http:\n{rules}\n---\n"
    )
}

/// A rule that sends everything to one subset.
pub(crate) fn to(name: &str, version: &str) -> String {
    format!("  - route: [{{destination: {{host: {name}.example, subset: {version}}}}}]\n")
}

pub(crate) async fn mesh_of(yaml: impl Into<String>) -> Mesh {
    Mesh::builder().literal(yaml).build().await.unwrap()
}

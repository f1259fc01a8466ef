//! The README's example: one service, called through the mesh by name. `cargo run --example readme`.

use http_body_util::{BodyExt, Empty};
use mesh_sdk::Mesh;
use tower::ServiceExt;

/// Usually a folder that is watched: `.directory("mesh/")`.
const MESH: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: hello}
spec:
  hosts: [hello.example]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1}]
";

#[tokio::main]
async fn main() -> Result<(), mesh_sdk::BoxError> {
    let mesh = Mesh::builder().literal(MESH).ip([127, 0, 0, 1]).build().await?;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    tokio::spawn(mesh.serve(listener, axum::Router::new().fallback(|| async { "hello" })));

    let request = http::Request::get("http://hello.example/").body(Empty::<bytes::Bytes>::new())?;
    let response = mesh.http_client().oneshot(request).await?;
    println!("{:?}", response.into_body().collect().await?.to_bytes()); // b"hello"
    Ok(())
}

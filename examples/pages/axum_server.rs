//! An axum server in the mesh: `cargo run --example axum_server`, then curl what it prints. Ctrl-C drains.

use std::net::Ipv4Addr;

use axum::{Router, routing::get};
use mesh_sdk::Mesh;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;

    // Usually a folder: `.directory("mesh/")`. The ServiceEntry says that this workload's port is one of `hello`'s.
    let mesh = Mesh::builder()
        .literal(format!(
            "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: hello, namespace: default}}
spec:
  hosts: [hello.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{{address: 127.0.0.1, ports: {{http: {}}}, labels: {{app: hello}}}}]
",
            address.port()
        ))
        .namespace("default")
        .labels([("app", "hello")])
        .ip(Ipv4Addr::LOCALHOST)
        .build()
        .await?;

    let router = Router::new().route("/hello/{name}", get(hello));
    println!("curl http://{address}/hello/world");
    let server = tokio::spawn(mesh.serve(listener, router));
    tokio::signal::ctrl_c().await?;
    mesh.shutdown().await;
    server.await??;
    Ok(())
}

async fn hello(axum::extract::Path(name): axum::extract::Path<String>) -> String {
    format!("hello, {name}\n")
}

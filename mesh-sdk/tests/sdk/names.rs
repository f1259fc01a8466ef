//! `STRICT_DNS` services follow their names.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use mesh_sdk::{Addresses, Mesh, MeshConfig, Resolve};
use tokio::net::TcpListener;

use crate::support::{fetch, get, until};

/// Answers what the test wants.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<Option<Vec<IpAddr>>>>);

impl Book {
    fn says(&self, answer: Option<&[[u8; 4]]>) {
        *self.0.lock().unwrap() = answer.map(|ips| ips.iter().copied().map(IpAddr::from).collect());
    }
}

impl Resolve for Book {
    fn resolve(&self, host: &str) -> Addresses {
        assert_eq!(host, "backend.internal");
        let answer = self.0.lock().unwrap().clone();
        Box::pin(async move { answer.ok_or_else(|| io::Error::other("the resolver is out of order")) })
    }
}

/// Servers of one port on 127.0.0.2 and 127.0.0.3 that say which they are.
async fn two_hosts() -> u16 {
    loop {
        let first = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let port = first.local_addr().unwrap().port();
        // Somebody else may have the port on the other address: then try another one.
        let Ok(second) = TcpListener::bind(("127.0.0.3", port)).await else { continue };
        for (listener, name) in [(first, "first"), (second, "second")] {
            let app = Router::new().fallback(move || async move { name });
            tokio::spawn(async move { axum::serve(listener, app).await });
        }
        return port;
    }
}

fn backend(port: u16) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: backend}}\nspec:\n  hosts: [backend.example]\n  \
         resolution: DNS\n  ports: [{{number: 80, name: http, protocol: HTTP}}]\n  \
         endpoints: [{{address: backend.internal, ports: {{http: {port}}}}}]\n"
    )
}

fn often() -> MeshConfig {
    let mut mesh = MeshConfig::default();
    mesh.dns_refresh_rate = Duration::from_millis(20);
    mesh
}

#[tokio::test]
async fn new_answers_move_the_traffic_and_a_failing_resolver_keeps_the_last_one() {
    let book = Book::default();
    book.says(Some(&[[127, 0, 0, 2]]));
    let yaml = backend(two_hosts().await);
    let mesh = Mesh::builder().literal(yaml).mesh_config(often()).resolver(book.clone()).build().await.unwrap();
    mesh.ready().await.unwrap();
    assert_eq!(get(&mesh, "http://backend.example/").await, "first");
    book.says(Some(&[[127, 0, 0, 3]]));
    until("the new address", async || get(&mesh, "http://backend.example/").await == "second").await;
    book.says(None);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(get(&mesh, "http://backend.example/").await, "second");
    book.says(Some(&[[127, 0, 0, 2]]));
    until("the resolver to work again", async || get(&mesh, "http://backend.example/").await == "first").await;
}

#[tokio::test]
async fn the_mesh_is_ready_although_a_name_does_not_resolve() {
    let mesh =
        Mesh::builder().literal(backend(1)).mesh_config(often()).resolver(Book::default()).build().await.unwrap();
    mesh.ready().await.unwrap();
    let answer = fetch(&mesh, "http://backend.example/", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.flags().as_str()), (503, "UH"));
}

#[tokio::test]
async fn the_mesh_is_not_ready_before_its_names_were_asked_for() {
    let never = |_: &str| -> Addresses { Box::pin(std::future::pending()) };
    let mesh = Mesh::builder().literal(backend(1)).resolver(never).admin("127.0.0.1:0").build().await.unwrap();
    let admin = mesh.admin_address().unwrap();
    let (status, reason) = crate::support::page(admin, "GET", "/ready", "localhost").await.unwrap();
    assert_eq!(status, 503);
    assert!(reason.contains("outbound|80||backend.example"), "{reason}");
    let ready = tokio::spawn(mesh.ready());
    mesh.shutdown().await;
    assert!(ready.await.unwrap().is_err());
}

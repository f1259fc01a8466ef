//! A service mesh in your process: Istio's YAML steers your clients and servers, without a proxy beside them.
//!
//! [`Mesh::builder`] reads the YAML and keeps following it; [`Mesh::channel`] and [`Mesh::http_client`] send through
//! the mesh; [`Mesh::serve`] receives through it. Every response tells where it came from ([`ResponseInfo`]), every
//! setting that has no effect is said on the admin page `/coverage`.
//!
//! ```
//! use http_body_util::{BodyExt, Empty};
//! use mesh_sdk::{Mesh, ResponseInfo};
//! use tower::ServiceExt;
//! # use bytes::Bytes;
//!
//! # #[tokio::main] async fn main() -> Result<(), mesh_sdk::BoxError> {
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let port = listener.local_addr()?.port();
//! let mesh = Mesh::builder()
//!     .literal(format!(r#"
//! apiVersion: networking.istio.io/v1
//! kind: ServiceEntry
//! metadata: {{name: hello}}
//! spec:
//!   hosts: [hello.example]
//!   ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {port}}}]
//!   resolution: STATIC
//!   endpoints: [{{address: 127.0.0.1}}]
//! "#))
//!     .ip([127, 0, 0, 1])
//!     .build()
//!     .await?;
//!
//! let app = axum::Router::new().fallback(|| async { "hello through the mesh" });
//! let server = tokio::spawn(mesh.serve(listener, app));
//!
//! let request = http::Request::get("http://hello.example/").body(Empty::<Bytes>::new())?;
//! let response = mesh.http_client().oneshot(request).await?;
//! let info = response.extensions().get::<ResponseInfo>().ok_or("every response has one")?;
//! let upstream = info.upstream.as_ref().ok_or("it was sent somewhere")?;
//! assert_eq!(upstream.cluster(), "outbound|80||hello.example");
//! assert_eq!(response.into_body().collect().await?.to_bytes(), "hello through the mesh");
//!
//! mesh.shutdown().await; // lets requests under way end
//! server.await??;
//! # Ok(()) }
//! ```
//!
//! Only assembly lives in this crate: the rules are `mesh-core`'s, the request path `mesh-tower`'s, the reading of
//! Istio objects `mesh-istio`'s, the judging of configuration `mesh-xds`'s.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that unwraps names its own failure"))]

mod admin;
mod build_error;
mod builder;
pub mod client;
mod control;
mod dns;
mod gateway;
mod mesh;
mod source;
mod view;

pub use self::build_error::BuildError;
pub use self::builder::MeshBuilder;
pub use self::client::{Channel, HttpClient};
pub use self::dns::{Addresses, Resolve};
pub use self::gateway::{Gateway, GatewayAddresses, GatewayBuilder, ListenerError};
pub use self::mesh::{Mesh, Stopped};

pub use mesh_core::engine::local_reply::ResponseFlags;
pub use mesh_core::exchange::Upstream;
pub use mesh_core::snapshot::status::StatusBoard;
pub use mesh_core::snapshot::{GrpcTimeoutStatus, RequestCompat, SnapshotStore};
pub use mesh_istio::{Compat, Finding, MeshConfig, OutboundTrafficPolicy, ProxyRole, Severity};
pub use mesh_tower::response::ResponseInfo;
pub use mesh_tower::{BoxError, Error};

/// Single layers of the request path, each for use around any service: see `mesh_tower`.
pub mod layer {
    pub use mesh_tower::{
        BalanceLayer, CircuitBreakerLayer, FiltersLayer, RateLimitLayer, RetryLayer, RouteLayer, TimeoutLayer,
    };
}

pub use mesh_core;
pub use mesh_istio;
pub use mesh_tower;

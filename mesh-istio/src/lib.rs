//! Istio objects in, Envoy v3 resources out: a small istiod.
//!
//! Text goes in ([`World::load`]), typed Envoy messages come out ([`lower()`]). Everything here is pure: no files, no sockets, no
//! clock. Bad input never stops its siblings: it becomes a [`Finding`], one line with file, line, object, field and
//! reason. Nothing here decides what a data plane does with a message; that is `mesh_xds::decode`.
//!
//! ```
//! use mesh_istio::{MeshConfig, ProxyContext, World, lower};
//!
//! let text = "\
//! apiVersion: v1
//! kind: Service
//! metadata: {name: reviews}
//! spec: {ports: [{name: http, port: 9080}]}
//! ";
//! let world = World::load([("mesh/reviews.yaml", text)]);
//! assert!(world.findings().is_empty());
//! let lowered = lower(&world, &ProxyContext::new("default"), &MeshConfig::default());
//! assert!(lowered.clusters.iter().any(|c| c.name == "outbound|9080||reviews.default.svc.cluster.local"));
//! ```

mod check;
mod finding;
mod mesh_config;
mod mixer;
mod proxy;
mod text;
mod world;

pub mod lower;
pub mod object;
pub mod registry;
pub mod select;
mod validate;

pub use check::check;
pub use finding::{Finding, Severity};
pub use lower::{Lowered, lower};
pub use mesh_config::{Compat, ConsecutiveErrors, MeshConfig, OutboundTrafficPolicy};
pub use object::{Kind, LoadOptions, Loaded, Object, ObjectId, UnknownFields, load_text};
pub use proxy::{BadNodeId, ProxyContext, ProxyRole};
pub use text::{Text, TextError};
pub use world::World;

//! Bookinfo: a small book shop whose services are real servers in one process and talk through the mesh.
//!
//! ```text
//! load ──▶ productpage ──▶ details ──▶ isbn.example.com (outside the mesh)
//!                    └──▶ reviews v1 │ v2 │ v3 ──▶ ratings
//! ```
//!
//! Every instance owns a `Mesh`, as every process would; all of them watch one folder of Istio YAML. The services
//! know nothing of versions, retries or where anybody listens: they call `http://details:9080`, and gRPC on
//! `reviews:9080`. Here stands the demo's own machinery too: [`load`] makes the traffic, [`ledger`] notes what each
//! caller saw, [`report`] prints it, [`check`] proves that edits arrive.

pub mod args;
pub mod bookinfo;
pub mod check;
pub mod demo;
pub mod folder;
mod instance;
pub mod ledger;
pub mod load;
mod observe;
pub mod proto;
pub mod report;
mod services;
pub mod topology;

pub use self::bookinfo::Bookinfo;
pub use self::folder::Folder;
pub use self::ledger::Ledger;

/// Why the demo, as a program, cannot go on; printed with its sources.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

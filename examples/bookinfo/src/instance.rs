//! One running instance: its mesh, its server, its port.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use mesh_sdk::{BuildError, Mesh};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::ledger::Ledger;
use crate::observe::Caller;
use crate::services::{details, isbn, productpage, ratings, reviews};
use crate::topology::{App, Workload};

/// A server and, unless it stands outside, its mesh.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) workload: Workload,
    pub(crate) address: SocketAddr,
    pub(crate) mesh: Option<Mesh>,
    server: JoinHandle<io::Result<()>>,
}

/// Joins the mesh that `folder` describes, as the workload of that name.
pub(crate) async fn join(folder: &Path, name: &str, app: &str, version: &str) -> Result<Mesh, BuildError> {
    Mesh::builder()
        .directory(folder)
        .namespace("default")
        .workload(name)
        .labels([("app", app), ("version", version)])
        .ip(Ipv4Addr::LOCALHOST)
        .admin("127.0.0.1:0")
        .build()
        .await
}

impl Instance {
    /// Serves the workload on its listener.
    pub(crate) async fn start(
        workload: Workload,
        listener: TcpListener,
        folder: &Path,
        ledger: &Ledger,
    ) -> Result<Self, crate::BoxError> {
        let address = listener.local_addr()?;
        if workload.app == App::Isbn {
            let server = tokio::spawn(axum::serve(listener, isbn::router()).into_future());
            return Ok(Self { workload, address, mesh: None, server });
        }
        let name = workload.name();
        let mesh = join(folder, &name, workload.app.name(), workload.version).await?;
        let caller = Caller::new(workload.deployment(), ledger);
        let server = match workload.app {
            App::Reviews => tokio::spawn(mesh.serve(listener, reviews::server(&mesh, &caller, &workload))),
            App::Productpage => tokio::spawn(mesh.serve(listener, productpage::router(&mesh, &caller, name))),
            App::Details => tokio::spawn(mesh.serve(listener, details::router(&mesh, &caller, name))),
            App::Ratings | App::Isbn => tokio::spawn(mesh.serve(listener, ratings::router())),
        };
        Ok(Self { workload, address, mesh: Some(mesh), server })
    }

    /// Lets the requests under way finish, then ends the server.
    pub(crate) async fn stop(self) {
        match self.mesh {
            Some(mesh) => {
                mesh.shutdown().await;
                let _ = self.server.await;
            }
            None => self.server.abort(),
        }
    }
}

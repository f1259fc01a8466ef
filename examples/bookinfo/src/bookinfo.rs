//! The whole shop: every instance, started in the order in which a folder can be true, stopped from the front backwards.

use std::net::SocketAddr;
use std::path::Path;

use tokio::task::JoinSet;

use crate::BoxError;
use crate::folder::Folder;
use crate::instance::Instance;
use crate::ledger::Ledger;
use crate::topology::{Workload, bind};

/// The running shop. It must be ended with [`Bookinfo::stop`] for requests under way to finish.
#[derive(Debug)]
pub struct Bookinfo {
    folder: Folder,
    ledger: Ledger,
    instances: Vec<Instance>,
}

impl Bookinfo {
    /// Starts all instances, on `base_port` and those after it as far as they are free (0: any), and waits until each
    /// has its first configuration.
    ///
    /// # Errors
    /// No port is free, the folder cannot be read or written, or a mesh cannot be built.
    pub async fn start(folder: Folder, base_port: u16) -> Result<Self, BoxError> {
        let bound = bind(base_port).await?;
        // Ports first, then the file that names them, then the meshes that read it.
        let mut endpoints = Vec::with_capacity(bound.len());
        for (workload, listener) in &bound {
            endpoints.push((*workload, listener.local_addr()?));
        }
        folder.write_endpoints(&endpoints)?;
        let ledger = Ledger::default();
        let mut instances = Vec::with_capacity(bound.len());
        for (workload, listener) in bound {
            instances.push(Instance::start(workload, listener, folder.path(), &ledger).await?);
        }
        for mesh in instances.iter().filter_map(|instance| instance.mesh.as_ref()) {
            mesh.ready().await?;
        }
        Ok(Self { folder, ledger, instances })
    }

    /// The folder that all instances watch.
    #[must_use]
    pub const fn folder(&self) -> &Folder {
        &self.folder
    }

    /// What callers saw.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Every instance: where it serves, and where its admin page is if it has a mesh.
    pub fn places(&self) -> impl Iterator<Item = (Workload, SocketAddr, Option<SocketAddr>)> {
        self.instances.iter().map(|instance| {
            let admin = instance.mesh.as_ref().and_then(mesh_sdk::Mesh::admin_address);
            (instance.workload, instance.address, admin)
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Drains every instance, callers before those whom they call.
    pub async fn stop(self) {
        let mut instances = self.instances.into_iter().peekable();
        while let Some(first) = instances.next() {
            let app = first.workload.app;
            let mut replicas = JoinSet::new();
            replicas.spawn(first.stop());
            while let Some(replica) = instances.next_if(|next| next.workload.app == app) {
                replicas.spawn(replica.stop());
            }
            replicas.join_all().await;
        }
    }
}

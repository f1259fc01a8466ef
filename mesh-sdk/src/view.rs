//! What everybody outside the control thread sees: the snapshot in force, and what there is to say about it.
//!
//! The control thread writes, handles and admin pages read. Requests only ever touch the snapshots.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_core::snapshot::SnapshotStore;
use mesh_core::snapshot::status::StatusBoard;
use mesh_istio::Finding;
use tokio::sync::watch;

/// Whether the mesh can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Not yet, and what is missing.
    Waiting(String),
    /// The first configuration is in force.
    Live,
    /// [`Mesh::shutdown`](crate::Mesh::shutdown) was called.
    Draining,
}

/// The shared view.
#[derive(Debug)]
pub(crate) struct View {
    /// What is in force.
    pub(crate) snapshots: SnapshotStore,
    /// Who we are, as admin pages and logs name it.
    pub(crate) workload: String,
    board: Mutex<StatusBoard>,
    findings: Mutex<Arc<[Finding]>>,
    readiness: watch::Sender<Readiness>,
    published: watch::Sender<()>,
}

impl View {
    /// Nothing is in force yet.
    pub(crate) fn new(workload: String) -> Self {
        Self {
            snapshots: SnapshotStore::default(),
            workload,
            board: Mutex::default(),
            findings: Mutex::default(),
            readiness: watch::Sender::new(Readiness::Waiting("no configuration is in force yet".to_owned())),
            published: watch::Sender::new(()),
        }
    }

    /// The status of every resource, locked: read or write, and let go.
    pub(crate) fn board(&self) -> MutexGuard<'_, StatusBoard> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is said of the Istio objects now in force or refused.
    pub(crate) fn findings(&self) -> Arc<[Finding]> {
        Arc::clone(&self.findings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace_findings(&self, findings: Arc<[Finding]>) {
        *self.findings.lock().unwrap_or_else(PoisonError::into_inner) = findings;
    }

    /// Tells that another snapshot is in force.
    pub(crate) fn tell_published(&self) {
        self.published.send_replace(());
    }

    /// Changes whenever another snapshot is in force.
    pub(crate) fn published(&self) -> watch::Receiver<()> {
        self.published.subscribe()
    }

    pub(crate) fn readiness(&self) -> watch::Receiver<Readiness> {
        self.readiness.subscribe()
    }

    /// Moves on; what drains never goes back, and what was live once stays so.
    pub(crate) fn set_readiness(&self, next: Readiness) {
        self.readiness.send_if_modified(|current| {
            let moves = match (&*current, &next) {
                (Readiness::Draining, _) => false,
                (Readiness::Live, next) => *next == Readiness::Draining,
                (Readiness::Waiting(_), next) => *current != *next,
            };
            if moves {
                *current = next;
            }
            moves
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_only_moves_forward() {
        let view = View::new(String::new());
        let seen = view.readiness();
        view.set_readiness(Readiness::Waiting("names".to_owned()));
        assert_eq!(*seen.borrow(), Readiness::Waiting("names".to_owned()));
        view.set_readiness(Readiness::Live);
        view.set_readiness(Readiness::Waiting("again".to_owned()));
        assert_eq!(*seen.borrow(), Readiness::Live);
        view.set_readiness(Readiness::Draining);
        view.set_readiness(Readiness::Live);
        assert_eq!(*seen.borrow(), Readiness::Draining);
    }
}

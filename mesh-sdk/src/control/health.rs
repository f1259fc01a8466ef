//! The health of hosts, on the control thread: requests ring the bell, time passes, and balancers are made again.
//!
//! What is decided is decided by [`mesh_core::snapshot::health`]; here are its clock, its bell and its log.

use std::sync::Arc;
use std::time::Duration;

use mesh_core::engine::outlier_detection::{Bell, Effect};
use mesh_core::resource::Name;
use mesh_core::snapshot::Snapshot;
use mesh_core::snapshot::health::{Changes, Health};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Follows the snapshots of one mesh.
#[derive(Debug)]
pub(super) struct Watch {
    health: Health,
    epoch: Instant,
}

/// Wakes the control thread when requests found something out.
#[derive(Clone, Debug, Default)]
pub(super) struct Caller(Arc<Notify>);

impl Caller {
    /// The bell that requests ring.
    pub(super) fn bell(&self) -> Bell {
        let notify = Arc::clone(&self.0);
        Bell::new(move || notify.notify_one())
    }

    /// Waits until it was rung since this was last awaited.
    ///
    /// # Cancel safety
    /// No ring is lost.
    pub(super) async fn called(&self) {
        self.0.notified().await;
    }
}

impl Watch {
    pub(super) fn new() -> Self {
        Self { health: Health::new(fastrand::u64(..)), epoch: Instant::now() }
    }

    /// Goes on with a snapshot that was published; the clusters whose balancers must be made again.
    pub(super) fn follow(&mut self, snapshot: &Snapshot) -> Vec<Name> {
        let now = self.now();
        said(self.health.follow(snapshot, now))
    }

    /// Does what is due; the clusters whose balancers must be made again.
    pub(super) fn run(&mut self) -> Vec<Name> {
        let now = self.now();
        said(self.health.run(now))
    }

    /// When [`run`](Self::run) is due, if ever.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.epoch.checked_add(self.health.wake_at()?)
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }
}

fn said(changes: Changes) -> Vec<Name> {
    for (cluster, effect) in &changes.ejections {
        let cluster = &**cluster;
        match effect {
            Effect::Ejected { address, cause } => {
                tracing::warn!(cluster, host = %address, cause = cause.as_str(), "a host is ejected");
            }
            Effect::Returned { address } => tracing::info!(cluster, host = %address, "a host is back"),
            Effect::NotEnforced { address, cause } => {
                tracing::debug!(cluster, host = %address, cause = cause.as_str(), "a host stands out and stays");
            }
            Effect::Overflow { address, cause } => {
                tracing::debug!(
                    cluster,
                    host = %address,
                    cause = cause.as_str(),
                    "a host stands out and stays: too many are ejected"
                );
            }
        }
    }
    changes.health
}

//! The health of hosts, on the control thread: requests ring the bell, time passes, and balancers are made again.
//!
//! What is decided is decided by [`mesh_core::snapshot::health`]; here are its clock, its bell and its log.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::engine::health_check::CheckOutcome;
use mesh_core::engine::outlier_detection::{Bell, Effect};
use mesh_core::resource::Name;
use mesh_core::snapshot::Snapshot;
use mesh_core::snapshot::health::{Changes, Check, CheckKey, Health};
use mesh_core::state::Finding;
use mesh_tower::health_check::{self, KeptConnection};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Follows the snapshots of one mesh.
#[derive(Debug)]
pub(super) struct Watch {
    health: Health,
    epoch: Instant,
    /// Checks that are to be made and that nobody took yet.
    checks: Vec<Check>,
}

/// Makes checks, on the control thread's runtime. Dropping it ends those under way.
#[derive(Debug, Default)]
pub(super) struct Checker {
    under_way: JoinSet<Done>,
    kept: HashMap<CheckKey, KeptConnection>,
}

/// A check that was made.
#[derive(Debug)]
pub(crate) struct Done {
    check: Check,
    outcome: CheckOutcome,
    kept: Option<KeptConnection>,
}

impl Done {
    /// Whose check it was.
    pub(super) fn key(&self) -> CheckKey {
        self.check.key()
    }
}

impl Checker {
    /// Begins checks.
    pub(super) fn begin(&mut self, checks: Vec<Check>) {
        for check in checks {
            let kept = self.kept.remove(&check.key());
            self.under_way.spawn(async move {
                let (outcome, kept) = health_check::check(&check, kept).await;
                Done { check, outcome, kept }
            });
        }
    }

    /// Waits for one that ends; for ever, when none is under way.
    ///
    /// # Cancel safety
    /// No end is lost.
    pub(super) async fn done(&mut self) -> Done {
        loop {
            match self.under_way.join_next().await {
                Some(Ok(done)) => return done,
                // No check is known to panic. Its host is asked no more; what was known of it stays.
                Some(Err(error)) => tracing::error!(%error, "a health check broke off: this is a defect"),
                None => std::future::pending().await,
            }
        }
    }

    /// Keeps the connection for the next check of a host that is still there.
    pub(super) fn keep(&mut self, done: Done) {
        if let Some(kept) = done.kept {
            self.kept.insert(done.check.key(), kept);
        }
    }

    /// Forgets connections to hosts that are checked no more.
    pub(super) fn retain(&mut self, keep: impl Fn(CheckKey) -> bool) {
        self.kept.retain(|key, _| keep(*key));
    }
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
        Self { health: Health::new(fastrand::u64(..)), epoch: Instant::now(), checks: Vec::new() }
    }

    /// Goes on with a snapshot that was published; the clusters whose balancers must be made again.
    pub(super) fn follow(&mut self, snapshot: &Snapshot) -> Vec<Name> {
        let now = self.now();
        let changes = self.health.follow(snapshot, now);
        self.noted(changes)
    }

    /// Does what is due; the clusters whose balancers must be made again.
    pub(super) fn run(&mut self) -> Vec<Name> {
        let now = self.now();
        let changes = self.health.run(now);
        self.noted(changes)
    }

    /// Takes in what came of a check; the clusters whose balancers must be made again.
    pub(super) fn checked(&mut self, done: &Done) -> Vec<Name> {
        let was_well = !done.check.host.state.is(Finding::CheckFailed);
        let now = self.now();
        let changes = self.health.checked(&done.check, done.outcome, now);
        let is_well = !done.check.host.state.is(Finding::CheckFailed);
        if was_well != is_well {
            let (cluster, host) = (&*done.check.cluster.config().name, &done.check.host.endpoint.address);
            if is_well {
                tracing::info!(cluster, %host, "a host passes its health checks");
            } else {
                tracing::warn!(cluster, %host, "a host fails its health checks");
            }
        }
        self.noted(changes)
    }

    /// The checks that are to be made now.
    pub(super) fn take_checks(&mut self) -> Vec<Check> {
        std::mem::take(&mut self.checks)
    }

    /// Whether a host is still checked.
    pub(super) fn is_checked(&self, key: CheckKey) -> bool {
        self.health.is_checked(key)
    }

    /// A cluster with a host that waits for its first check.
    pub(super) fn unchecked(&self) -> Option<&Name> {
        self.health.unchecked()
    }

    /// When [`run`](Self::run) is due, if ever.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.epoch.checked_add(self.health.wake_at()?)
    }

    fn noted(&mut self, mut changes: Changes) -> Vec<Name> {
        self.checks.append(&mut changes.checks);
        said(changes)
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

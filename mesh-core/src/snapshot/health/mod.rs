//! What is found out of hosts while they are used, for all clusters in force: outlier detection and its
//! sweeps, health checks.
//!
//! A function of snapshots, time and randomness, for whoever publishes snapshots: it follows each of them, runs when the
//! bell rings or the time comes, and says whose balancers must be made again ([`super::Update::health`]). Everything
//! it knows is keyed by cluster and host, and lives on across pushes that do not touch it.

mod checks;
mod window;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use self::checks::Checks;
pub use self::checks::{Check, CheckKey};
use self::window::Windows;
use super::{AlwaysEjectOne, Cluster, Snapshot};
use crate::engine::health_check::CheckOutcome;
use crate::engine::outlier_detection::{Detector, Effect};
use crate::engine::random::Random;
use crate::resource::Name;
use crate::state::Finding;

/// The health of all clusters' hosts. Time is counted from any fixed moment, the same for all calls.
#[derive(Debug)]
pub struct Health {
    outliers: HashMap<Name, Watched>,
    checks: Checks,
    windows: Windows,
    random: Random,
    round: u64,
}

#[derive(Debug)]
struct Watched {
    cluster: Arc<Cluster>,
    detector: Detector,
    /// When its cluster was last seen in a snapshot.
    round: u64,
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Changes {
    /// Clusters whose balancers must be made again now.
    pub health: Vec<Name>,
    /// What became of hosts, for logs.
    pub ejections: Vec<(Name, Effect)>,
    /// Checks to be made now; [`Health::checked`] takes what comes of them.
    pub checks: Vec<Check>,
}

impl Health {
    /// Nothing is watched yet. `seed` decides the chances that settings give.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            outliers: HashMap::new(),
            checks: Checks::default(),
            windows: Windows::default(),
            random: Random::from_seed(seed),
            round: 0,
        }
    }

    /// Watches the clusters of `snapshot`, which has just been published, and only these. Clusters that are as they were
    /// cost a look.
    pub fn follow(&mut self, snapshot: &Snapshot, now: Duration) -> Changes {
        self.round += 1;
        let always_eject_one = snapshot.compat().always_eject_one == AlwaysEjectOne::UnlessForbidden;
        let mut returned = Vec::new();
        for cluster in snapshot.clusters() {
            let Some(settings) = &cluster.config().outlier_detection else { continue };
            let name = &cluster.config().name;
            let known = self.outliers.get_mut(name).filter(|watched| {
                watched.detector.config() == settings && Arc::ptr_eq(watched.cluster.state(), cluster.state())
            });
            let watched = match known {
                Some(watched) => {
                    watched.round = self.round;
                    if Arc::ptr_eq(&watched.cluster, cluster) {
                        continue;
                    }
                    watched.cluster = Arc::clone(cluster);
                    watched
                }
                None => {
                    let state = Arc::clone(cluster.state());
                    let detector = Detector::new(settings.clone(), always_eject_one, state, now);
                    let watched = Watched { cluster: Arc::clone(cluster), detector, round: self.round };
                    self.outliers.entry(Arc::clone(name)).insert_entry(watched).into_mut()
                }
            };
            let hosts = cluster.balancer().hosts().iter().map(|host| (&host.endpoint.address, &host.state));
            if watched.detector.follow(hosts) {
                returned.push(Arc::clone(name));
            }
        }
        let round = self.round;
        self.outliers.retain(|name, watched| {
            let stays = watched.round == round;
            if !stays && watched.detector.release() && snapshot.cluster_by_name(name).is_some() {
                returned.push(Arc::clone(name));
            }
            stays
        });
        self.windows.follow(snapshot, now);
        returned.append(&mut self.checks.follow(snapshot, now, &mut self.random));
        let mut changes = Changes::default();
        returned.into_iter().for_each(|name| self.changed(name, now, &mut changes));
        changes
    }

    /// When [`run`](Self::run) is due, if ever: a sweep, or the end of a window.
    #[must_use]
    pub fn wake_at(&self) -> Option<Duration> {
        let sweep = self.outliers.values().map(|watched| watched.detector.next_sweep()).min();
        [sweep, self.windows.next(), self.checks.next()].into_iter().flatten().min()
    }

    /// Does what is due: what requests detected since the last run, sweeps, changes that were held back.
    pub fn run(&mut self, now: Duration) -> Changes {
        let mut changes = Changes::default();
        let mut changed = Vec::new();
        for (name, watched) in &mut self.outliers {
            let mut effects = Vec::new();
            if watched.detector.is_called() {
                effects = watched.detector.detected(now, &mut self.random);
            }
            if watched.detector.next_sweep() <= now {
                effects.append(&mut watched.detector.sweep(now, &mut self.random));
            }
            if effects.iter().any(Effect::changes_health) {
                changed.push(Arc::clone(name));
            }
            changes.ejections.extend(effects.into_iter().map(|effect| (Arc::clone(name), effect)));
        }
        changes.health = self.windows.due(now);
        changes.checks = self.checks.due(now);
        changed.into_iter().for_each(|name| self.changed(name, now, &mut changes));
        changes
    }

    /// Takes in how a check ended.
    pub fn checked(&mut self, check: &Check, outcome: CheckOutcome, now: Duration) -> Changes {
        let mut changes = Changes::default();
        let Some(ended) = self.checks.end(check, outcome, now, &mut self.random) else { return changes };
        let name = &check.cluster.config().name;
        let mut changed = ended.changed;
        // Who passes is ejected no longer, if the settings say so.
        if ended.passed
            && !check.host.state.is(Finding::CheckFailed)
            && let Some(watched) = self.outliers.get_mut(name)
            && let Some(effect) = watched.detector.passed_check(&check.host.state, now)
        {
            changed = true;
            changes.ejections.push((Arc::clone(name), effect));
        }
        if changed {
            self.changed(Arc::clone(name), now, &mut changes);
        }
        changes
    }

    /// Whether the host is checked still.
    #[must_use]
    pub fn is_checked(&self, key: CheckKey) -> bool {
        self.checks.is_checked(key)
    }

    /// A cluster with a host that was never checked although it is to be.
    #[must_use]
    pub fn unchecked(&self) -> Option<&Name> {
        self.checks.unchecked()
    }

    /// Notes that hosts of a cluster changed: at once, or when the window that is open has passed.
    fn changed(&mut self, name: Name, now: Duration, changes: &mut Changes) {
        if self.windows.opens(&name, now) && !changes.health.contains(&name) {
            changes.health.push(name);
        }
    }
}

#[cfg(test)]
mod tests;

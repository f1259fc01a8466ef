//! Who is asked when: the health checks of all clusters' hosts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::health_check::{CheckOutcome, Session};
use crate::engine::load_balancing::Host;
use crate::engine::random::Random;
use crate::resource::Name;
use crate::resource::health_check::HealthCheck;
use crate::snapshot::{Cluster, Snapshot};
use crate::state::{EndpointState, Finding};

/// A check to be made now: ask the host, within the timeout, and tell what came of it.
#[derive(Clone, Debug)]
pub struct Check {
    /// The cluster, for how its hosts are reached.
    pub cluster: Arc<Cluster>,
    /// Who is asked.
    pub host: Host,
    /// How.
    pub config: Arc<HealthCheck>,
}

impl Check {
    /// Stays the same for all checks of one host.
    #[must_use]
    pub fn key(&self) -> CheckKey {
        CheckKey::of(&self.host.state)
    }
}

/// A host that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CheckKey(usize);

impl CheckKey {
    /// The address only tells hosts apart; sessions hold the hosts themselves.
    fn of(host: &Arc<EndpointState>) -> Self {
        Self(Arc::as_ptr(host) as usize)
    }
}

#[derive(Debug, Default)]
pub(super) struct Checks(HashMap<Name, Checked>);

#[derive(Debug)]
struct Checked {
    cluster: Arc<Cluster>,
    sessions: HashMap<CheckKey, Session>,
}

/// What a check came to.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) changed: bool,
    pub(super) passed: bool,
}

impl Checks {
    /// Checks the hosts of these clusters and no others. The clusters whose hosts changed by that: those that are checked
    /// no more.
    pub(super) fn follow(&mut self, snapshot: &Snapshot, now: Duration, random: &mut Random) -> Vec<Name> {
        let mut released = Vec::new();
        self.0.retain(|name, checked| {
            let stays = snapshot.cluster_by_name(name);
            let is_checked = |cluster: &&Arc<Cluster>| {
                cluster.config().health_check.is_some() && Arc::ptr_eq(cluster.state(), checked.cluster.state())
            };
            if stays.filter(is_checked).is_some() {
                return true;
            }
            let findings = [Finding::CheckFailed, Finding::Degraded, Finding::Unchecked];
            let mut changed = false;
            for session in checked.sessions.values() {
                for finding in findings {
                    changed |= session.host().note(finding, false);
                }
            }
            if changed && stays.is_some() {
                released.push(Arc::clone(name));
            }
            false
        });
        for cluster in snapshot.clusters() {
            let Some(config) = &cluster.config().health_check else { continue };
            let name = &cluster.config().name;
            let new = || Checked { cluster: Arc::clone(cluster), sessions: HashMap::new() };
            let checked = match self.0.get_mut(name) {
                Some(checked) if Arc::ptr_eq(&checked.cluster, cluster) => continue,
                Some(checked) => checked,
                None => self.0.entry(Arc::clone(name)).or_insert_with(new),
            };
            checked.cluster = Arc::clone(cluster);
            let mut before = std::mem::take(&mut checked.sessions);
            for host in cluster.balancer().hosts() {
                let at = CheckKey::of(&host.state);
                let session =
                    before.remove(&at).unwrap_or_else(|| Session::new(config, Arc::clone(&host.state), now, random));
                checked.sessions.insert(at, session);
            }
        }
        released
    }

    /// When the next check is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.0.values().flat_map(|checked| checked.sessions.values()).filter_map(Session::due).min()
    }

    /// The checks that are due, which begin by that.
    pub(super) fn due(&mut self, now: Duration) -> Vec<Check> {
        let mut due = Vec::new();
        for checked in self.0.values_mut() {
            let Some(config) = &checked.cluster.config().health_check else { continue };
            for host in checked.cluster.balancer().hosts() {
                if let Some(session) = checked.sessions.get_mut(&CheckKey::of(&host.state))
                    && session.due().is_some_and(|due| due <= now)
                {
                    session.begin();
                    let (cluster, config) = (Arc::clone(&checked.cluster), Arc::clone(config));
                    due.push(Check { cluster, host: host.clone(), config });
                }
            }
        }
        due
    }

    /// Takes in how a check ended; `None` if the host is checked no more.
    pub(super) fn end(
        &mut self,
        check: &Check,
        outcome: CheckOutcome,
        now: Duration,
        random: &mut Random,
    ) -> Option<Ended> {
        let checked = self.0.get_mut(&check.cluster.config().name)?;
        let config = Arc::clone(checked.cluster.config().health_check.as_ref()?);
        let session = checked.sessions.get_mut(&check.key())?;
        let has_traffic = checked.cluster.state().counts().requests > 0;
        let changed = session.end(&config, outcome, has_traffic, now, random);
        Some(Ended { changed, passed: matches!(outcome, CheckOutcome::Passed { .. }) })
    }

    pub(super) fn is_checked(&self, key: CheckKey) -> bool {
        self.0.values().any(|checked| checked.sessions.contains_key(&key))
    }

    /// A cluster with a host that was never checked.
    pub(super) fn unchecked(&self) -> Option<&Name> {
        let waits = |checked: &Checked| checked.sessions.values().any(|session| !session.was_checked());
        self.0.iter().filter(|(_, checked)| waits(checked)).map(|(name, _)| name).min()
    }
}

//! `update_merge_window`: the first change of health in a cluster is in force at once; those that follow soon, also soon
//! after hosts came or went, are gathered, and are in force together when the window has passed. As in Envoy it is
//! counted from the first change that is held back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::load_balancing::Host;
use crate::resource::Name;
use crate::snapshot::{Cluster, Snapshot};

#[derive(Debug, Default)]
pub(super) struct Windows(HashMap<Name, Window>);

#[derive(Debug)]
struct Window {
    cluster: Arc<Cluster>,
    /// When all that was known was last in force.
    applied: Duration,
    /// When what is held back will be.
    due: Option<Duration>,
}

impl Windows {
    /// Goes on with these clusters: where hosts came or went, all that is known is in force now.
    pub(super) fn follow(&mut self, snapshot: &Snapshot, now: Duration) {
        self.0.retain(|name, _| snapshot.cluster_by_name(name).is_some_and(|cluster| is_watched(cluster)));
        for cluster in snapshot.clusters().filter(|cluster| is_watched(cluster)) {
            let name = &cluster.config().name;
            match self.0.get_mut(name) {
                Some(known) if Arc::ptr_eq(&known.cluster, cluster) => {}
                Some(known) if same_hosts(&known.cluster, cluster) => known.cluster = Arc::clone(cluster),
                _ => {
                    let window = Window { cluster: Arc::clone(cluster), applied: now, due: None };
                    self.0.insert(Arc::clone(name), window);
                }
            }
        }
    }

    /// Whether a change is in force at once.
    pub(super) fn opens(&mut self, name: &Name, now: Duration) -> bool {
        let Some(known) = self.0.get_mut(name) else { return true };
        let window = known.cluster.config().update_merge_window;
        if now.saturating_sub(known.applied) > window || window.is_zero() {
            (known.applied, known.due) = (now, None);
            return true;
        }
        known.due.get_or_insert(now.saturating_add(window));
        false
    }

    /// Whose held changes are due. They count as in force from now.
    pub(super) fn due(&mut self, now: Duration) -> Vec<Name> {
        let mut due = Vec::new();
        for (name, window) in &mut self.0 {
            if window.due.is_some_and(|at| at <= now) {
                (window.applied, window.due) = (now, None);
                due.push(Arc::clone(name));
            }
        }
        due
    }

    /// When the next are due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.0.values().filter_map(|window| window.due).min()
    }
}

fn is_watched(cluster: &Cluster) -> bool {
    cluster.config().outlier_detection.is_some() || cluster.config().health_check.is_some()
}

/// Whether nobody came and nobody went.
fn same_hosts(before: &Cluster, after: &Cluster) -> bool {
    let (before, after) = (before.balancer().hosts(), after.balancer().hosts());
    if before.len() != after.len() {
        return false;
    }
    let state = |host: &Host| Arc::as_ptr(&host.state);
    if before.iter().map(state).eq(after.iter().map(state)) {
        return true;
    }
    let known: HashSet<_> = before.iter().map(state).collect();
    after.iter().all(|host| known.contains(&state(host)))
}

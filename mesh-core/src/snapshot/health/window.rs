//! `update_merge_window`: the first change of health in a cluster is in force at once; those that follow soon, also soon
//! after hosts came or went, are gathered, and are in force together when the window has passed. As in Envoy it is
//! counted from the first change that is held back.

use std::collections::HashMap;
use std::time::Duration;

use crate::resource::Name;

#[derive(Debug, Default)]
pub(super) struct Windows(HashMap<Name, Window>);

#[derive(Debug)]
struct Window {
    /// When a change was last in force.
    applied: Duration,
    /// When those held back will be.
    due: Option<Duration>,
}

impl Windows {
    /// Whether a change is in force at once.
    pub(super) fn opens(&mut self, name: &Name, window: Duration, now: Duration) -> bool {
        let Some(known) = self.0.get_mut(name) else {
            self.0.insert(name.clone(), Window { applied: now, due: None });
            return true;
        };
        if now.saturating_sub(known.applied) > window || window.is_zero() {
            *known = Window { applied: now, due: None };
            return true;
        }
        known.due.get_or_insert(now.saturating_add(window));
        false
    }

    /// Notes that all that is known of a cluster is in force now: hosts came or went, which nothing holds back.
    pub(super) fn applied(&mut self, name: &Name, now: Duration) {
        self.0.insert(name.clone(), Window { applied: now, due: None });
    }

    /// Whose held changes are due. They count as in force from now.
    pub(super) fn due(&mut self, now: Duration) -> Vec<Name> {
        let mut due = Vec::new();
        for (name, window) in &mut self.0 {
            if window.due.is_some_and(|at| at <= now) {
                *window = Window { applied: now, due: None };
                due.push(name.clone());
            }
        }
        due
    }

    /// When the next are due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.0.values().filter_map(|window| window.due).min()
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| keep(name));
    }
}

//! When something is to happen although nothing arrives. Timers are never taken back: whoever is woken looks whether there is
//! still a reason.

use std::collections::BTreeMap;
use std::time::Instant;

use mesh_core::resource::{ResourceKind, ResourceName};

/// What a timer is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// A resource that was asked for and has not come does not exist (gRFC A57).
    DoesNotExist(ResourceName),
    /// A resource has waited long enough for those that it names.
    Held(ResourceName),
    /// A resource lives no longer than its `ttl`.
    Expires(ResourceName),
    /// What another server gave and this one did not confirm is gone.
    Unconfirmed(ResourceKind),
}

/// Timers by the moment that they are due.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeMap<Instant, Vec<Timer>>);

impl Timers {
    pub(super) fn add(&mut self, at: Instant, timer: Timer) {
        self.0.entry(at).or_default().push(timer);
    }

    /// The first moment at which something is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.keys().next().copied()
    }

    /// What is due by `now`, in order.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Timer> {
        let mut due = Vec::new();
        while let Some(entry) = self.0.first_entry().filter(|entry| *entry.key() <= now) {
            due.extend(entry.remove());
        }
        due
    }

    /// Forgets what only runs while a server is there to answer.
    pub(super) fn disconnected(&mut self) {
        self.0.retain(|_, timers| {
            timers.retain(|timer| matches!(timer, Timer::Expires(_)));
            !timers.is_empty()
        });
    }
}

//! Where the snapshot in force is found, and how a request pins it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Snapshot;
use crate::state::Lane;

/// The snapshot in force. Clones share it.
///
/// There is one reference count per [`Lane`], so that threads pinning at the same time do not contend. A
/// publish reaches the lanes one after the other; each request pins once and sees one version only.
#[derive(Clone)]
pub struct SnapshotStore(Arc<[Padded; Lane::COUNT]>);

#[repr(align(128))]
struct Padded(ArcSwap<Held>);

/// One lane's own count of pins on a snapshot.
struct Held(Arc<Snapshot>);

/// One version of the configuration, kept for as long as this value lives.
///
/// Hold it for a request, never for a client or a connection: it keeps the whole snapshot in memory.
#[derive(Clone)]
pub struct Pin(Arc<Held>);

impl SnapshotStore {
    /// Starts with `snapshot` in force.
    #[must_use]
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        Self(Arc::new(std::array::from_fn(|_| Padded(ArcSwap::from_pointee(Held(Arc::clone(&snapshot)))))))
    }

    /// Pins one version for a whole request: once, at the outermost layer, then passed down.
    #[must_use]
    pub fn pin(&self, lane: Lane) -> Pin {
        Pin(self.0[lane.index()].0.load_full())
    }

    /// Puts `next` in force for every request that starts from now on.
    pub fn publish(&self, next: &Arc<Snapshot>) {
        for lane in self.0.iter() {
            lane.0.store(Arc::new(Held(Arc::clone(next))));
        }
    }
}

impl Default for SnapshotStore {
    fn default() -> Self {
        Self::new(Arc::new(Snapshot::empty()))
    }
}

impl fmt::Debug for SnapshotStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SnapshotStore").field(&self.pin(Lane::default()).version()).finish()
    }
}

impl Deref for Pin {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0.0
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pin").field(&self.version()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_handles_keep_no_snapshot_alive() {
        let store = SnapshotStore::default();
        let clients: Vec<_> = (0..10_000).map(|_| store.clone()).collect();
        let first = Arc::new(Snapshot::empty());
        let old = Arc::downgrade(&first);
        store.publish(&first);
        drop(first);
        let pinned = clients[7].pin(Lane::default());
        store.publish(&Arc::new(Snapshot::empty()));
        assert!(old.upgrade().is_some(), "a request still has it");
        drop(pinned);
        assert!(old.upgrade().is_none(), "10,000 idle clients have not");
        assert_eq!(clients.len(), 10_000);
    }
}

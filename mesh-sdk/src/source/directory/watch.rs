//! Events of the operating system, reduced to "something may have changed".

use std::path::Path;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// A watch on a directory; without one (no watches left, no support) only polling remains.
#[derive(Debug)]
pub(super) struct Watch {
    /// Ends the watch when dropped.
    _watcher: Option<RecommendedWatcher>,
    events: mpsc::Receiver<()>,
}

impl Watch {
    pub(super) fn start(path: &Path) -> Self {
        // One place: events that come while one is waiting tell nothing new.
        let (wake, events) = mpsc::channel(1);
        let on_event = move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| may_change(event.kind)) {
                let _ = wake.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(on_event).and_then(|mut watcher| {
            watcher.watch(path, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        let watcher = watcher.inspect_err(|error| {
            tracing::warn!(%error, path = %path.display(), "the directory cannot be watched; it is polled");
        });
        Self { _watcher: watcher.ok(), events }
    }

    /// No watch: only polling remains.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self { _watcher: None, events: mpsc::channel(1).1 }
    }

    /// Waits for an event.
    ///
    /// # Cancel safety
    /// No event is lost.
    pub(super) async fn event(&mut self) {
        if self.events.recv().await.is_none() {
            // No watcher: polling is all there is.
            tokio::time::sleep(Duration::MAX).await;
        }
    }
}

/// Our own reading makes events too: those must not wake us.
fn may_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

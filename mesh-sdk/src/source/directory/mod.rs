//! A directory of Istio objects, watched: an edit is in force well within two seconds.
//!
//! Events of the operating system wake the reader; a look at the files' stamps once a second catches what they
//! miss (network file systems, symbolic links swapped elsewhere, too few watches). What is read and how it is
//! judged is in [`read`](self::read) and [`Files`].

mod read;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_istio::LoadOptions;
use tokio::time::timeout_at;

use self::read::{Listing, Stamps};
use self::watch::Watch;
use super::{Files, Reading};
use crate::build_error::BuildError;

/// Files are looked at this often, whatever the events say.
const POLL: Duration = Duration::from_secs(1);
/// Events have ended when none came for this long.
const QUIET: Duration = Duration::from_millis(50);
/// A writer that never pauses is read this long after its first event.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// A directory and what is known of it.
#[derive(Debug)]
pub(crate) struct Directory {
    path: Arc<Path>,
    files: Files,
    stamps: Stamps,
    watch: Watch,
}

impl Directory {
    /// Starts watching and reads for the first time.
    ///
    /// # Errors
    /// [`BuildError::Directory`] if it cannot be listed.
    pub(crate) async fn open(path: PathBuf, options: LoadOptions) -> Result<(Self, Reading), BuildError> {
        // Watching begins before the first reading, so that no change falls between the two.
        let watch = Watch::start(&path);
        let path: Arc<Path> = path.into();
        let mut this = Self { path: Arc::clone(&path), files: Files::new(options), stamps: Stamps::default(), watch };
        let listing =
            this.list(true).await.map_err(|source| BuildError::Directory { path: path.to_path_buf(), source })?;
        if let Some(listing) = listing {
            this.take(listing);
        }
        let reading = this.files.reading();
        Ok((this, reading))
    }

    /// Waits for the next change.
    pub(crate) async fn changed(&mut self) -> Reading {
        loop {
            let woken = tokio::time::timeout(POLL, self.watch.event()).await.is_ok();
            if woken {
                self.settle().await;
            }
            let read_all = woken || self.files.is_unsettled();
            let changed = match self.list(read_all).await {
                Ok(None) => false,
                Ok(Some(listing)) => self.take(listing),
                Err(error) => {
                    // Everything stays as it is: a directory that is gone for a moment must not empty the mesh.
                    let gone = [(self.path.display().to_string(), format!("the directory cannot be read: {error}"))];
                    self.files.update([].into(), &gone, Instant::now())
                }
            };
            if changed {
                return self.files.reading();
            }
        }
    }

    /// Lets a burst of events end.
    async fn settle(&mut self) {
        let last = tokio::time::Instant::now() + LONGEST_WAIT;
        loop {
            let quiet = (tokio::time::Instant::now() + QUIET).min(last);
            if timeout_at(quiet, self.watch.event()).await.is_err() || tokio::time::Instant::now() >= last {
                return;
            }
        }
    }

    /// Reads the directory, off this thread; `None` if the stamps tell that nothing changed.
    async fn list(&self, read_all: bool) -> std::io::Result<Option<Listing>> {
        let (path, stamps) = (Arc::clone(&self.path), self.stamps.clone());
        let read = tokio::task::spawn_blocking(move || read::read(&path, (!read_all).then_some(&stamps)));
        read.await.unwrap_or_else(|stopped| Err(std::io::Error::other(stopped)))
    }

    fn take(&mut self, listing: Listing) -> bool {
        self.stamps = listing.stamps;
        self.files.update(listing.files, &listing.unreadable, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{name: http, port: 80}}]}}\n"
        )
    }

    #[tokio::test(start_paused = true)]
    async fn an_edit_is_found_within_two_polls_although_no_event_comes() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.yaml"), service("a")).unwrap();
        let (mut directory, first) = Directory::open(folder.path().to_owned(), LoadOptions::default()).await.unwrap();
        directory.watch = Watch::none();
        assert_eq!(first.objects[0].id.name, "a");
        std::fs::write(folder.path().join("a.yaml"), service("b")).unwrap();
        let began = tokio::time::Instant::now();
        assert_eq!(directory.changed().await.objects[0].id.name, "b");
        assert!(began.elapsed() <= 2 * POLL, "{:?}", began.elapsed());
    }
}

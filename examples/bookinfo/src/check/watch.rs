//! Watches visits go by: counts them, and finds the moment when a new rule shows.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;

use super::Failed;
use crate::load::{Reader, Visit, Visits};

/// How long anything may take before the check gives up; not what is being measured.
const PATIENCE: Duration = Duration::from_secs(120);
/// Instances see an edit each for itself; visits this close after the first sign of it are not judged.
const SETTLE: Duration = Duration::from_millis(500);

/// The visits, as they come.
#[derive(Debug)]
pub(super) struct Watch {
    received: UnboundedReceiver<Visit>,
    opened: u64,
}

impl Watch {
    pub(super) const fn new(received: UnboundedReceiver<Visit>) -> Self {
        Self { received, opened: 0 }
    }

    /// Pages seen so far, none of which failed.
    pub(super) const fn opened(&self) -> u64 {
        self.opened
    }

    /// The next visit. One that failed ends the check.
    async fn next(&mut self) -> Result<(Visit, String), Failed> {
        let visit = tokio::time::timeout(PATIENCE, self.received.recv()).await.ok().flatten().ok_or(Failed::Stalled)?;
        let version = visit.version.clone().map_err(|reason| Failed::Page { reason })?;
        self.opened += 1;
        Ok((visit, version))
    }

    /// Reads what is left when the load has ended, and tells how many pages that were.
    pub(super) async fn drain(&mut self) -> Result<u64, Failed> {
        let before = self.opened;
        while let Some(visit) = self.received.recv().await {
            visit.version.map_err(|reason| Failed::Page { reason })?;
            self.opened += 1;
        }
        Ok(self.opened - before)
    }

    /// Counts visits until so many were anonymous.
    pub(super) async fn count(&mut self, anonymous: u64) -> Result<Visits, Failed> {
        let mut visits = Visits::default();
        while visits.opened(Reader::Anonymous) < anonymous {
            visits.add(self.next().await?.0);
        }
        Ok(visits)
    }

    /// Waits until the visits that began after `edit` show the new rule, and tells how long after the edit the
    /// last page needed to see it was there.
    pub(super) async fn arrival(&mut self, edit: Instant, sign: Sign) -> Result<Duration, Failed> {
        let mut recent: VecDeque<(Reader, String)> = VecDeque::with_capacity(sign.visits);
        loop {
            let (visit, version) = self.next().await?;
            if edit.elapsed() > PATIENCE {
                return Err(Failed::NeverArrived { sign: sign.name });
            }
            if visit.started < edit {
                continue;
            }
            if recent.len() == sign.visits {
                recent.pop_front();
            }
            recent.push_back((visit.reader, version));
            if recent.len() == sign.visits && (sign.shows)(recent.make_contiguous()) {
                return Ok(visit.finished.duration_since(edit));
            }
        }
    }

    /// Lets the visits go by that began before every instance can have seen the edit.
    pub(super) async fn settle(&mut self) -> Result<(), Failed> {
        let from = Instant::now() + SETTLE;
        while self.next().await?.0.started < from {}
        Ok(())
    }
}

/// By what a new rule is known: a look at the latest visits.
#[derive(Clone, Copy)]
pub(super) struct Sign {
    pub(super) name: &'static str,
    pub(super) visits: usize,
    pub(super) shows: fn(&[(Reader, String)]) -> bool,
}

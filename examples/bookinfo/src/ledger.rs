//! What each caller saw of each callee: counts and latencies by subset, over the last second and since the start.
//!
//! Written by the `observe` layer on every call, read once a second. No printing here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

/// The callers' notes. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    edges: Arc<Mutex<Vec<Arc<Edge>>>>,
}

impl Ledger {
    /// The notes of one caller about one callee.
    pub(crate) fn edge(&self, caller: &str, callee: &str) -> Arc<Edge> {
        let mut edges = lock(&self.edges);
        if let Some(edge) = edges.iter().find(|edge| edge.caller == caller && edge.callee == callee) {
            return Arc::clone(edge);
        }
        let edge = Arc::new(Edge { caller: caller.to_owned(), callee: callee.to_owned(), subsets: Mutex::default() });
        edges.push(Arc::clone(&edge));
        edge
    }

    /// Everything noted since the last call of this.
    #[must_use]
    pub fn take_window(&self) -> Vec<Line> {
        self.lines(|subset| std::mem::take(&mut subset.window))
    }

    /// Everything noted since the start.
    #[must_use]
    pub fn totals(&self) -> Vec<Line> {
        self.lines(|subset| subset.total.clone())
    }

    fn lines(&self, counts: impl Fn(&mut Subset) -> Counts) -> Vec<Line> {
        let mut lines = Vec::new();
        for edge in lock(&self.edges).iter() {
            let taken: Vec<(String, Counts)> =
                lock(&edge.subsets).iter_mut().map(|subset| (subset.name.clone(), counts(subset))).collect();
            let whole: u64 = taken.iter().map(|(_, counts)| counts.calls()).sum();
            for (subset, counts) in taken {
                lines.push(Line { caller: edge.caller.clone(), callee: edge.callee.clone(), subset, whole, counts });
            }
        }
        lines.sort_by(|a, b| (&a.caller, &a.callee, &a.subset).cmp(&(&b.caller, &b.callee, &b.subset)));
        lines
    }
}

/// One caller and one callee.
#[derive(Debug)]
pub(crate) struct Edge {
    caller: String,
    callee: String,
    subsets: Mutex<Vec<Subset>>,
}

impl Edge {
    /// Notes a call by the cluster it went to, how long its response head took, and whether it failed.
    pub(crate) fn note(&self, cluster: Option<&str>, took: Duration, failed: bool) {
        let name = subset_of(cluster);
        let mut subsets = lock(&self.subsets);
        let at = subsets.iter().position(|subset| subset.name == name).unwrap_or_else(|| {
            subsets.push(Subset { name: name.to_owned(), ..Subset::default() });
            subsets.len() - 1
        });
        if let Some(subset) = subsets.get_mut(at) {
            subset.window.note(took, failed);
            subset.total.note(took, failed);
        }
    }
}

/// `outbound|9080|v1|reviews.default.svc.cluster.local` is subset `v1`.
fn subset_of(cluster: Option<&str>) -> &str {
    match cluster {
        None => "(none)",
        Some(cluster) => match cluster.split('|').nth(2) {
            Some("") => "-",
            Some(subset) => subset,
            None => cluster,
        },
    }
}

#[derive(Debug, Default)]
struct Subset {
    name: String,
    window: Counts,
    total: Counts,
}

/// Calls, failures and latencies.
#[derive(Clone, Debug)]
pub struct Counts {
    latencies: Histogram<u64>,
    errors: u64,
}

impl Default for Counts {
    fn default() -> Self {
        // 1 us to 60 s in steps of 1 %.
        Self { latencies: Histogram::new_with_bounds(1, 60_000_000, 2).expect("the bounds are valid"), errors: 0 }
    }
}

impl Counts {
    fn note(&mut self, took: Duration, failed: bool) {
        self.latencies.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        self.errors += u64::from(failed);
    }

    /// How many calls.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.latencies.len()
    }

    /// How many of them failed.
    #[must_use]
    pub const fn errors(&self) -> u64 {
        self.errors
    }

    /// The latency that this part of the calls, 0 to 1, did not exceed.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Duration {
        Duration::from_micros(self.latencies.value_at_quantile(part))
    }
}

/// One line of a report.
#[derive(Clone, Debug)]
pub struct Line {
    /// Who called.
    pub caller: String,
    /// Whom.
    pub callee: String,
    /// The subset that the route chose; `-` where the service has none.
    pub subset: String,
    /// Calls of this caller to this callee, whatever the subset.
    pub whole: u64,
    /// Of this subset.
    pub counts: Counts,
}

/// A thread that panicked while noting leaves at worst one call uncounted.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_subset_and_a_window_is_taken_once() {
        let ledger = Ledger::default();
        let edge = ledger.edge("a", "b");
        edge.note(Some("outbound|9080|v1|b.default.svc.cluster.local"), Duration::from_millis(2), false);
        edge.note(Some("outbound|9080|v2|b.default.svc.cluster.local"), Duration::from_millis(2), true);
        edge.note(None, Duration::ZERO, true);
        let lines = ledger.take_window();
        let seen: Vec<_> = lines
            .iter()
            .map(|line| (line.subset.as_str(), line.counts.calls(), line.counts.errors(), line.whole))
            .collect();
        assert_eq!(seen, [("(none)", 1, 1, 3), ("v1", 1, 0, 3), ("v2", 1, 1, 3)]);
        assert!(ledger.take_window().iter().all(|line| line.counts.calls() == 0));
        assert_eq!(ledger.totals().iter().map(|line| line.counts.calls()).sum::<u64>(), 3);
    }
}

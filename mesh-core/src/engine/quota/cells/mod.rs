//! The cells of one limit: a window for each combination of dimensions, and what was granted to whom lately.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::window::{Fixed, Rolling, whole_seconds};
use crate::resource::filter::{Algorithm, QuotaLimit};

/// Cells by dimensions. One lock, as in memquota.
#[derive(Debug)]
pub struct Cells {
    algorithm: Algorithm,
    min_deduplication: Duration,
    start: OnceLock<Instant>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    cells: HashMap<Box<[u8]>, Cell>,
    /// When cells are next looked through for those that no longer count.
    look_at: usize,
    looked: Duration,
    /// Grants by deduplication id: those since the last tick, and those of the tick before.
    lately: [HashMap<Box<str>, Granted>; 2],
    swapped: Duration,
}

#[derive(Debug)]
struct Cell {
    window: Duration,
    count: Count,
}

#[derive(Debug)]
enum Count {
    Rolling(Rolling),
    Fixed(Fixed),
}

/// What is asked of a cell.
#[derive(Clone, Copy, Debug)]
pub struct Allocation<'a> {
    /// The dimensions, in one text.
    pub key: &'a [u8],
    /// How much; below 0 gives back.
    pub amount: i64,
    /// Grant what is left if it is not enough.
    pub best_effort: bool,
    /// The limit in force for these dimensions.
    pub max_amount: u64,
    /// And its window; zero never ends.
    pub valid_duration: Duration,
    /// The same id within the deduplication time gets the same answer and takes nothing.
    pub deduplication: Option<&'a str>,
}

/// What was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// How much.
    pub amount: u64,
    /// For how long; zero is until it is given back.
    pub valid_for: Duration,
}

/// Callers choose dimensions: further ones share a cell.
const MOST_CELLS: usize = 65_536;
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The name of that cell. No key is without a byte of its own.
const OTHERS: &[u8] = b"";

impl Cells {
    /// Without any.
    #[must_use]
    pub fn new(limit: &QuotaLimit) -> Self {
        Self {
            algorithm: limit.algorithm,
            min_deduplication: limit.min_deduplication,
            start: OnceLock::new(),
            inner: Mutex::default(),
        }
    }

    /// Takes from a cell, or gives back.
    pub fn allocate(&self, allocation: &Allocation<'_>, now: Instant) -> Granted {
        let now = now.saturating_duration_since(*self.start.get_or_init(|| now));
        // What a panic left behind is whole: no step of a change can panic.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(id) = allocation.deduplication else { return self.take(&mut inner, allocation, now) };
        inner.forget(self.min_deduplication, now);
        if let Some(known) = inner.lately.iter().find_map(|lately| lately.get(id)) {
            return *known;
        }
        let granted = self.take(&mut inner, allocation, now);
        inner.lately[0].insert(id.into(), granted);
        granted
    }

    fn take(&self, inner: &mut Inner, allocation: &Allocation<'_>, now: Duration) -> Granted {
        let window = match self.algorithm {
            Algorithm::RollingWindow => whole_seconds(allocation.valid_duration),
            Algorithm::FixedWindow => allocation.valid_duration,
        };
        let count = inner.count(allocation.key, window, self.algorithm, now);
        let amount = allocation.amount.unsigned_abs();
        let (max, best_effort) = (allocation.max_amount, allocation.best_effort);
        let amount = match (count, allocation.amount < 0) {
            (Count::Rolling(count), false) => count.take(amount, max, window, best_effort, now),
            (Count::Fixed(count), false) => count.take(amount, max, window, best_effort, now),
            (Count::Rolling(count), true) => {
                count.give(amount);
                0
            }
            (Count::Fixed(count), true) => {
                count.give(amount);
                0
            }
        };
        Granted { amount, valid_for: allocation.valid_duration }
    }
}

impl Inner {
    fn count(&mut self, key: &[u8], window: Duration, algorithm: Algorithm, now: Duration) -> &mut Count {
        let known = self.cells.contains_key(key);
        // Looking costs as much as there are cells: each time they have doubled, and when they are full, now and then.
        let full = self.cells.len() >= MOST_CELLS && now.saturating_sub(self.looked) >= LOOK_EVERY;
        if !known && (full || self.cells.len() >= self.look_at.max(64)) {
            self.cells.retain(|_, cell| !cell.is_over(now));
            (self.look_at, self.looked) = (self.cells.len() * 2, now);
        }
        let key = if known || self.cells.len() < MOST_CELLS { key } else { OTHERS };
        if !self.cells.contains_key(key) {
            // A window that never ends is a counter, whatever the algorithm.
            let count = match algorithm {
                Algorithm::RollingWindow if !window.is_zero() => Count::Rolling(Rolling::default()),
                _ => Count::Fixed(Fixed::default()),
            };
            self.cells.insert(key.into(), Cell { window, count });
        }
        let cell = self.cells.get_mut(key).expect("it was there or has been put in");
        // Another override may have another window for the same cell.
        cell.window = cell.window.max(window);
        &mut cell.count
    }

    /// Two maps, swapped at every tick: an id is known for one to two ticks.
    fn forget(&mut self, tick: Duration, now: Duration) {
        let passed = now.saturating_sub(self.swapped);
        if passed < tick {
            return;
        }
        let [lately, before] = &mut self.lately;
        if passed >= tick.saturating_mul(2) {
            lately.clear();
        }
        std::mem::swap(lately, before);
        lately.clear();
        self.swapped = now;
    }
}

impl Cell {
    fn is_over(&mut self, now: Duration) -> bool {
        match &mut self.count {
            Count::Rolling(count) => count.is_over(self.window, now),
            Count::Fixed(count) => count.is_over(self.window, now),
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "any instant will do to count from")]
mod tests;

//! What arrived at the upstreams, by the `x-id` of the request.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::observed::{Headers, Seen};

/// A request that arrived whole.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Where and what.
    pub seen: Seen,
    /// Its headers in order, without what the harness itself added.
    pub headers: Headers,
    /// Bytes of its body.
    pub body: usize,
    /// When.
    pub at: Instant,
}

/// Arrivals by `x-id`.
#[derive(Debug, Default)]
pub struct Journal(Mutex<HashMap<String, Vec<Arrival>>>);

impl Journal {
    /// Notes an arrival; returns how many there were before with that id.
    pub fn note(&self, id: &str, arrival: Arrival) -> usize {
        let mut map = self.map();
        let arrivals = map.entry(id.to_owned()).or_default();
        arrivals.push(arrival);
        arrivals.len() - 1
    }

    /// What arrived with that id so far.
    #[must_use]
    pub fn of(&self, id: &str) -> Vec<Arrival> {
        self.map().get(id).cloned().unwrap_or_default()
    }

    /// What arrived with that id, after giving `expected` of them a moment to arrive.
    pub async fn settled(&self, id: &str, expected: usize) -> Vec<Arrival> {
        for _ in 0..200 {
            let arrivals = self.of(id);
            if arrivals.len() >= expected {
                return arrivals;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.of(id)
    }

    fn map(&self) -> MutexGuard<'_, HashMap<String, Vec<Arrival>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

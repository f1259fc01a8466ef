//! Least request over unequal weights: earliest deadline first with weights that shrink under load.
//!
//! A host's weight is `weight / (active + 1)^bias`, taken when the host is picked. As in Envoy there is one
//! schedule per worker, here per lane, so that the lock around it is not contended.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::engine::random::Random;
use crate::state::Lane;

pub(super) struct WeightedLeastRequest {
    weights: Box<[u32]>,
    bias: f64,
    lanes: [OnceLock<Mutex<Schedule>>; Lane::COUNT],
}

#[derive(Debug)]
struct Schedule {
    due: BinaryHeap<Entry>,
    added: u64,
}

#[derive(Debug)]
struct Entry {
    deadline: f64,
    /// Ties go to whoever was added first.
    order: u64,
    at: usize,
}

impl WeightedLeastRequest {
    pub(super) fn new(weights: Vec<u32>, bias: f64) -> Self {
        // A negative bias would prefer the busiest host: Envoy treats it as 0.
        Self { weights: weights.into(), bias: bias.max(0.0), lanes: Default::default() }
    }

    /// The position of the next host; `active` tells the load of a position.
    pub(super) fn pick(&self, lane: Lane, random: &mut Random, active: impl Fn(usize) -> u32) -> usize {
        let schedule = self.lanes[lane.index()].get_or_init(|| Mutex::new(self.fresh(random)));
        // A panic cannot leave the schedule half-changed in a way that matters: deadlines stay numbers.
        let mut schedule = schedule.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(next) = schedule.due.pop() else { return 0 };
        schedule.added += 1;
        let entry = Entry {
            deadline: next.deadline + 1.0 / self.effective(next.at, active(next.at)),
            order: schedule.added,
            at: next.at,
        };
        schedule.due.push(entry);
        next.at
    }

    fn effective(&self, at: usize, active: u32) -> f64 {
        let weight = f64::from(self.weights[at].max(1));
        let load = f64::from(active) + 1.0;
        let shrink = if (self.bias - 1.0).abs() < f64::EPSILON { load } else { load.powf(self.bias) };
        weight / shrink
    }

    /// All hosts at a random position of their cycle, so that lanes and clients do not align.
    fn fresh(&self, random: &mut Random) -> Schedule {
        let entry = |(at, weight): (usize, &u32)| {
            let period = 1.0 / f64::from((*weight).max(1));
            Entry { deadline: period * random.fraction(), order: at as u64, at }
        };
        Schedule { due: self.weights.iter().enumerate().map(entry).collect(), added: self.weights.len() as u64 }
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        // Reversed: the heap's greatest is the earliest deadline.
        other.deadline.total_cmp(&self.deadline).then(other.order.cmp(&self.order))
    }
}

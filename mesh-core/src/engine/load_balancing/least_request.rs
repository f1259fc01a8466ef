//! Earliest deadline first with weights that change: under load (least request over unequal weights), and while hosts
//! warm up (`slow_start`).
//!
//! A host's weight is taken when it is picked. As in Envoy there is one schedule per worker, here per lane, so that the
//! lock around it is not contended; for very many hosts there are fewer, so that they do not outweigh the hosts.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::engine::random::Random;
use crate::state::Lane;

/// Schedules over the same hosts.
pub(super) struct Deadlines {
    hosts: u32,
    schedules: Box<[OnceLock<Mutex<Schedule>>]>,
}

#[derive(Debug)]
struct Schedule {
    due: BinaryHeap<Entry>,
    added: u32,
}

#[derive(Debug)]
struct Entry {
    deadline: f64,
    /// Ties go to whoever was added first.
    order: u32,
    at: u32,
}

/// How many entries all schedules together may have before there are fewer of them: four for each host.
const ENTRIES: usize = 1 << 12;

impl Deadlines {
    pub(super) fn new(hosts: usize) -> Self {
        let lanes = (ENTRIES / hosts.max(1)).clamp(4, Lane::COUNT);
        Self {
            hosts: u32::try_from(hosts).unwrap_or(u32::MAX),
            schedules: (0..lanes).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The position of the next host; `weight` tells what a position weighs now.
    pub(super) fn pick(&self, lane: Lane, random: &mut Random, weight: impl Fn(usize) -> f64) -> usize {
        let schedule = &self.schedules[lane.index() % self.schedules.len()];
        let schedule = schedule.get_or_init(|| Mutex::new(self.fresh(random, &weight)));
        // A panic cannot leave the schedule half-changed in a way that matters: deadlines stay numbers.
        let mut schedule = schedule.lock().unwrap_or_else(PoisonError::into_inner);
        let order = schedule.added.wrapping_add(1);
        schedule.added = order;
        let Some(mut next) = schedule.due.peek_mut() else { return 0 };
        let at = next.at as usize;
        *next = Entry { deadline: next.deadline + period(weight(at)), order, at: next.at };
        at
    }

    /// All hosts at a random position of their cycle, so that lanes and clients do not align.
    fn fresh(&self, random: &mut Random, weight: &impl Fn(usize) -> f64) -> Schedule {
        let entry = |at: u32| Entry { deadline: period(weight(at as usize)) * random.fraction(), order: at, at };
        Schedule { due: (0..self.hosts).map(entry).collect(), added: self.hosts }
    }
}

/// The time between two turns. Whatever a weight is, time goes on, and never to its end.
fn period(weight: f64) -> f64 {
    let period = 1.0 / weight;
    if period.is_finite() && period > 0.0 { period.min(LONGEST) } else { LONGEST }
}

/// Longer than any weight needs, and small enough that deadlines still grow by the shortest period beside it.
const LONGEST: f64 = 1e6;

/// What a host weighs that has so much under way.
pub(super) fn under_load(weight: u32, active: u32, bias: f64) -> f64 {
    let weight = f64::from(weight.max(1));
    let load = f64::from(active) + 1.0;
    // A negative bias would prefer the busiest host: Envoy treats it as 0.
    let shrink = if (bias - 1.0).abs() < f64::EPSILON { load } else { load.powf(bias.max(0.0)) };
    weight / shrink
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

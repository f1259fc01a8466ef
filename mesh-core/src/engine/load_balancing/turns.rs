//! Turns by weight, without a lock: equal ones count up, small ones walk a cycle that is written out once (Envoy's
//! earliest deadline first), any others walk an alias table.
//!
//! The walk over the alias table is a Weyl sequence: its `n`-th point is the fraction of `n` times the golden ratio. Such
//! points fill every interval in proportion to its length, as evenly as points can, so that shares are those of the
//! weights whatever their scale and however many there are, at two reads a turn.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::schedule::cycle;
use crate::engine::random::Random;

/// Whose turn it is, among so many positions.
#[derive(Debug)]
pub(super) struct Turns {
    turn: AtomicUsize,
    order: Order,
}

#[derive(Debug)]
enum Order {
    /// One after the other.
    Equal(usize),
    /// As written.
    Cycle(Box<[u32]>),
    /// Drawn evenly.
    Alias(Box<[Column]>),
}

/// A column of an alias table: its own position below the threshold, another one above.
#[derive(Clone, Copy, Debug)]
struct Column {
    threshold: u64,
    other: u32,
}

impl Turns {
    /// Turns of positions with these weights; 0 counts as 1. Where they begin is drawn.
    pub(super) fn new(weights: &[u64], random: &mut Random) -> Self {
        let order = if weights.windows(2).all(|pair| pair[0] == pair[1]) {
            Order::Equal(weights.len())
        } else {
            cycle(weights).map_or_else(|| Order::Alias(alias(weights)), Order::Cycle)
        };
        let begin = match &order {
            Order::Equal(len) => random.below(*len),
            Order::Cycle(cycle) => random.below(cycle.len()),
            Order::Alias(_) => random.below(usize::MAX),
        };
        Self { turn: AtomicUsize::new(begin), order }
    }

    /// The position whose turn it is.
    #[inline]
    pub(super) fn next(&self) -> usize {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        match &self.order {
            Order::Equal(len) => turn % (*len).max(1),
            Order::Cycle(cycle) => cycle[turn % cycle.len()] as usize,
            Order::Alias(columns) => drawn(columns, turn),
        }
    }

    /// Goes on where the turns of the same positions were before.
    pub(super) fn go_on_from(&mut self, before: &Self) {
        if matches!((&self.order, &before.order), (Order::Equal(_), Order::Equal(_))) {
            *self.turn.get_mut() = before.turn.load(Ordering::Relaxed);
        }
    }
}

fn drawn(columns: &[Column], turn: usize) -> usize {
    /// 2^64 divided by the golden ratio.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let point = (turn as u64).wrapping_mul(STEP);
    let scaled = u128::from(point) * columns.len() as u128;
    #[allow(clippy::cast_possible_truncation, reason = "the product's high half is below the number of columns")]
    let (column, within) = ((scaled >> 64) as usize, scaled as u64);
    if within < columns[column].threshold { column } else { columns[column].other as usize }
}

/// Walker's alias table (Vose's way of making it).
fn alias(weights: &[u64]) -> Box<[Column]> {
    #[allow(clippy::cast_precision_loss, reason = "shares to 53 bits are exact enough")]
    let weight = |at: usize| weights[at].max(1) as f64;
    let sum: f64 = (0..weights.len()).map(weight).sum();
    #[allow(clippy::cast_precision_loss, reason = "a number of hosts fits")]
    let mut left: Vec<f64> = (0..weights.len()).map(|at| weight(at) * weights.len() as f64 / sum).collect();
    let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let mut columns: Box<[Column]> =
        (0..weights.len()).map(|at| Column { threshold: u64::MAX, other: number(at) }).collect();
    let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..weights.len()).partition(|at| left[*at] < 1.0);
    while let (Some(&poor), Some(&rich)) = (small.last(), large.last()) {
        small.pop();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0 and 2^64, and saturates")]
        let threshold = (left[poor] * 18_446_744_073_709_551_616.0) as u64;
        columns[poor] = Column { threshold, other: number(rich) };
        left[rich] -= 1.0 - left[poor];
        if left[rich] < 1.0 {
            large.pop();
            small.push(rich);
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(weights: &[u64], turns: usize) -> f64 {
        let order = Turns::new(weights, &mut Random::from_seed(5));
        let mut seen = vec![0u32; weights.len()];
        for _ in 0..turns {
            seen[order.next()] += 1;
        }
        let sum: u64 = weights.iter().sum();
        let off = |(at, weight): (usize, &u64)| {
            (f64::from(seen[at]) / turns as f64 - *weight as f64 / sum as f64).abs() * sum as f64 / *weight as f64
        };
        weights.iter().enumerate().map(off).fold(0.0, f64::max)
    }

    #[test]
    fn ten_thousand_hosts_of_weights_one_to_a_hundred_get_their_shares() {
        let weights: Vec<u64> = (0..10_000).map(|n| n % 100 + 1).collect();
        assert!(worst(&weights, 505_000 * 20) < 0.1, "each host within a tenth of its own share");
    }

    #[test]
    fn shares_hold_over_the_whole_scale_of_integers() {
        assert!(worst(&[1 << 31, 1 << 30, (1 << 30) - 1], 1_000_000) < 1e-3);
        assert!(worst(&[3_000_000_000, 1_000_000, 777], 50_000_000) < 0.1);
        assert!(worst(&[1, 2, 5], 800) < 1e-9);
        assert!(worst(&[9; 13], 1_300) < 1e-9);
    }

    #[test]
    fn one_beside_everything_neither_spins_nor_takes_more_than_its_part() {
        let order = Turns::new(&[u64::from(u32::MAX), 1, 0], &mut Random::from_seed(5));
        let rare = (0..1_000_000).filter(|_| order.next() != 0).count();
        assert!(rare <= 2, "{rare}");
        assert_eq!(Turns::new(&[], &mut Random::from_seed(5)).next(), 0);
    }
}

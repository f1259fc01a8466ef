//! How often a limit did what: `<stat_prefix>.http_local_rate_limit.*`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::state::Lane;

/// What is counted, by Envoy's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Count {
    /// `enabled`: the limit was asked.
    Enabled,
    /// `ok`: there was a token.
    Ok,
    /// `rate_limited`: there was none.
    RateLimited,
    /// `enforced`: the request was refused.
    Enforced,
    /// `shadow_mode`: there was none in a bucket that only counts.
    ShadowMode,
}

impl Count {
    /// All of them, with their names.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Enabled, "enabled"),
        (Self::Ok, "ok"),
        (Self::RateLimited, "rate_limited"),
        (Self::Enforced, "enforced"),
        (Self::ShadowMode, "shadow_mode"),
    ];
}

/// Counters, spread over lanes: threads do not wait for one another.
#[derive(Debug, Default)]
pub struct Counts([Row; Lane::COUNT]);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Row([AtomicU64; Count::ALL.len()]);

impl Counts {
    /// One more.
    #[inline]
    pub fn add(&self, lane: Lane, what: Count) {
        self.0[lane.index()].0[what as usize].fetch_add(1, Relaxed);
    }

    /// How many so far.
    #[must_use]
    pub fn sum(&self, what: Count) -> u64 {
        self.0.iter().map(|row| row.0[what as usize].load(Relaxed)).fold(0, u64::wrapping_add)
    }
}

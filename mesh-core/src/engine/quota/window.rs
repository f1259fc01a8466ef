//! One cell's count: what was granted, and when it no longer counts. Times are since the limit was first asked.

use std::collections::VecDeque;
use std::time::Duration;

/// Slots of a rolling window are of this length, or longer when the window would have too many.
const TICK: Duration = Duration::from_millis(100);
const MOST_SLOTS: u32 = 1_024;

/// A rolling window: grants count until they are a whole window old.
///
/// Grants of one tick share a slot and leave together, a window after the last of them: so no span of the window's length
/// ever has more than the limit, which memquota, who drops whole slots by the clock, does not promise.
#[derive(Debug, Default)]
pub(super) struct Rolling {
    used: u64,
    slots: VecDeque<Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    tick: u128,
    last: Duration,
    amount: u64,
}

impl Rolling {
    /// Grants what fits: all or nothing, or with `best_effort` what is left.
    pub(super) fn take(&mut self, amount: u64, max: u64, window: Duration, best_effort: bool, now: Duration) -> u64 {
        self.roll(window, now);
        let left = max.saturating_sub(self.used);
        let granted = granted(amount, left, best_effort);
        if granted == 0 {
            return 0;
        }
        self.used += granted;
        let length = TICK.max(window / MOST_SLOTS).as_nanos();
        let tick = now.as_nanos() / length;
        match self.slots.back_mut() {
            Some(slot) if slot.tick >= tick => {
                slot.amount += granted;
                slot.last = slot.last.max(now);
            }
            _ => self.slots.push_back(Slot { tick, last: now, amount: granted }),
        }
        granted
    }

    /// Gives back, the newest first.
    pub(super) fn give(&mut self, mut amount: u64) {
        while let Some(slot) = self.slots.back_mut().filter(|_| amount > 0) {
            let freed = slot.amount.min(amount);
            slot.amount -= freed;
            self.used -= freed;
            amount -= freed;
            if slot.amount == 0 {
                self.slots.pop_back();
            }
        }
    }

    /// Whether nothing counts any more.
    pub(super) fn is_over(&mut self, window: Duration, now: Duration) -> bool {
        self.roll(window, now);
        self.slots.is_empty()
    }

    fn roll(&mut self, window: Duration, now: Duration) {
        while let Some(slot) = self.slots.front().filter(|slot| now.saturating_sub(slot.last) >= window) {
            self.used -= slot.amount;
            self.slots.pop_front();
        }
    }
}

/// A fixed window: the count starts anew when it is over.
#[derive(Debug, Default)]
pub(super) struct Fixed {
    used: u64,
    start: Duration,
}

impl Fixed {
    /// As [`Rolling::take`]. A zero window never ends.
    pub(super) fn take(&mut self, amount: u64, max: u64, window: Duration, best_effort: bool, now: Duration) -> u64 {
        if self.is_over(window, now) {
            (self.used, self.start) = (0, now);
        }
        let granted = granted(amount, max.saturating_sub(self.used), best_effort);
        self.used += granted;
        granted
    }

    /// Gives back.
    pub(super) const fn give(&mut self, amount: u64) {
        self.used = self.used.saturating_sub(amount);
    }

    /// Whether nothing counts any more.
    pub(super) fn is_over(&self, window: Duration, now: Duration) -> bool {
        self.used == 0 || (!window.is_zero() && now.saturating_sub(self.start) >= window)
    }
}

const fn granted(amount: u64, left: u64, best_effort: bool) -> u64 {
    if amount <= left {
        amount
    } else if best_effort {
        left
    } else {
        0
    }
}

/// memquota counts in whole seconds.
pub(super) fn whole_seconds(window: Duration) -> Duration {
    Duration::from_secs(window.as_secs().saturating_add(u64::from(window.subsec_nanos() > 0)))
}

//! When the next page may be opened: evenly spaced, and time that was lost is not made up for in a burst.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Hands out the moments.
#[derive(Debug)]
pub(super) struct Pace {
    /// Zero does not wait.
    interval: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    /// So many a second; 0 is without limit.
    pub(super) fn new(rate: u32) -> Self {
        let interval = Duration::from_secs(1).checked_div(rate).unwrap_or_default();
        Self { interval, next: Mutex::new(Instant::now()) }
    }

    pub(super) async fn wait(&self) {
        if self.interval.is_zero() {
            // Even without a limit, others on this thread get their turn.
            tokio::task::yield_now().await;
            return;
        }
        let now = Instant::now();
        let mine = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            // Lateness within the grain is made up for; more would come as a burst.
            let mine = (*next).max(now.checked_sub(GRAIN).unwrap_or(now));
            *next = mine + self.interval;
            mine
        };
        tokio::time::sleep_until(mine).await;
    }
}

/// What a timer of 1 ms and a busy machine are late by as a matter of course.
const GRAIN: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pages_are_spaced_evenly() {
        let pace = Pace::new(100);
        let start = Instant::now();
        for _ in 0..201 {
            pace.wait().await;
        }
        let took = start.elapsed();
        assert!((Duration::from_millis(1_990)..=Duration::from_millis(2_010)).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn lost_time_is_not_made_up_for() {
        let pace = Pace::new(100);
        tokio::time::sleep(Duration::from_secs(10)).await;
        let start = Instant::now();
        for _ in 0..101 {
            pace.wait().await;
        }
        assert!(start.elapsed() >= Duration::from_millis(950), "{:?}", start.elapsed());
    }
}

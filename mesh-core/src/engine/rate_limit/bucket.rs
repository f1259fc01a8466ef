//! A bucket of tokens that fills up with time: Envoy's, which fills continuously.
//!
//! One number is its whole state: when it will be full again. Taking tokens moves that time on, and may not move it
//! further away than an empty bucket needs to fill. So nothing has to be done when time passes, and taking is one
//! compare-and-swap. Time is counted in whole units of which every token costs a whole number, so that no rounding
//! ever lets a token more than the rate pass.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::resource::rate_limit::TokenBucket as Config;

/// A bucket. Many threads may take from it.
#[derive(Debug)]
pub struct TokenBucket {
    scale: Scale,
    max_tokens: u32,
    /// When it is full again, in units since `start`.
    full_at: AtomicU64,
    /// When it was asked first; it was full then.
    start: OnceLock<Instant>,
}

impl TokenBucket {
    /// A full bucket.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            scale: Scale::new(config),
            max_tokens: config.max_tokens,
            full_at: AtomicU64::new(0),
            start: OnceLock::new(),
        }
    }

    /// Takes so many tokens, all or none. None can always be taken.
    pub fn take(&self, tokens: u32, now: Instant) -> bool {
        if tokens > self.max_tokens {
            return false;
        }
        let now = self.units(now);
        let cost = u64::from(tokens) * self.scale.cost;
        let mut full_at = self.full_at.load(Relaxed);
        loop {
            let next = full_at.max(now).saturating_add(cost);
            if next - now > self.scale.burst {
                return false;
            }
            match self.full_at.compare_exchange_weak(full_at, next, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(changed) => full_at = changed,
            }
        }
    }

    /// Gives tokens back, as far as they fit.
    pub fn give(&self, tokens: u32) {
        let cost = u64::from(tokens).saturating_mul(self.scale.cost);
        let mut full_at = self.full_at.load(Relaxed);
        while let Err(changed) =
            self.full_at.compare_exchange_weak(full_at, full_at.saturating_sub(cost), Relaxed, Relaxed)
        {
            full_at = changed;
        }
    }

    /// The most tokens there are.
    #[must_use]
    pub const fn max_tokens(&self) -> u32 {
        self.max_tokens
    }

    /// Whole tokens that are there.
    #[must_use]
    pub fn remaining(&self, now: Instant) -> u64 {
        self.scale.burst.saturating_sub(self.spent(now)) / self.scale.cost
    }

    /// How long until there is a token; zero while there is one.
    #[must_use]
    pub fn until_next(&self, now: Instant) -> Duration {
        let one_left = self.scale.burst.saturating_sub(self.scale.cost);
        self.scale.time(self.spent(now).saturating_sub(one_left))
    }

    /// Tokens a second.
    #[must_use]
    pub const fn fill_rate(&self) -> f64 {
        self.scale.per_second
    }

    fn spent(&self, now: Instant) -> u64 {
        self.full_at.load(Relaxed).saturating_sub(self.units(now))
    }

    fn units(&self, now: Instant) -> u64 {
        let start = *self.start.get_or_init(|| now);
        self.scale.units(now.saturating_duration_since(start))
    }
}

/// How time is counted.
#[derive(Clone, Copy, Debug)]
struct Scale {
    /// Units of one token, above 0.
    cost: u64,
    /// Units of a full bucket.
    burst: u64,
    /// `units = nanoseconds * times / by`.
    times: u64,
    by: u64,
    per_second: f64,
}

/// More units in a nanosecond would count too few years.
const FINEST: u64 = 64;
/// What a full bucket may come to, so that nothing overflows.
const MOST: u128 = 1 << 62;

impl Scale {
    fn new(config: Config) -> Self {
        let interval = config.fill_interval.as_nanos().clamp(1, u64::MAX.into());
        let tokens = u128::from(config.tokens_per_fill.max(1));
        #[allow(clippy::cast_precision_loss, reason = "rates are compared, not counted with")]
        let per_second = tokens as f64 * 1e9 / interval as f64;
        let shared = gcd(interval, tokens);
        let (mut cost, mut times) = (interval / shared, tokens / shared);
        if times > FINEST.into() {
            // Rounded up: the rate is met to one part in `cost`, and never exceeded.
            cost = (cost * u128::from(FINEST)).div_ceil(times);
            times = FINEST.into();
        }
        let by = (cost * u128::from(config.max_tokens)).div_ceil(MOST).max(1);
        cost = cost.div_ceil(by).max(1);
        let whole = |value: u128| u64::try_from(value).unwrap_or(u64::MAX);
        Self {
            cost: whole(cost),
            burst: whole(cost * u128::from(config.max_tokens)),
            times: whole(times),
            by: whole(by),
            per_second,
        }
    }

    fn units(self, time: Duration) -> u64 {
        // In 64 bits: 128 cost more than all the rest.
        let nanos = time.as_secs().saturating_mul(1_000_000_000).saturating_add(time.subsec_nanos().into());
        let units = nanos.saturating_mul(self.times);
        if self.by == 1 { units } else { units / self.by }
    }

    fn time(self, units: u64) -> Duration {
        let nanos = (u128::from(units) * u128::from(self.by)).div_ceil(self.times.into());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

const fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "any instant will do to count from")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn bucket(max_tokens: u32, tokens_per_fill: u32, fill_interval: Duration) -> TokenBucket {
        TokenBucket::new(Config { max_tokens, tokens_per_fill, fill_interval })
    }

    #[test]
    fn a_bucket_starts_full_and_fills_continuously() {
        let (bucket, start) = (bucket(2, 2, SECOND), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert!(bucket.take(1, start) && bucket.take(1, start) && !bucket.take(1, start));
        assert!(!bucket.take(1, at(499)));
        assert!(bucket.take(1, at(500)), "two a second are one in half a second");
        assert!(!bucket.take(1, at(999)) && bucket.take(1, at(1_000)));
        assert!(bucket.take(2, at(60_000)) && !bucket.take(1, at(60_000)), "no more than it holds");
    }

    #[test]
    fn what_is_left_and_when_there_is_more_is_told() {
        let (bucket, start) = (bucket(2, 1, 60 * SECOND), Instant::now());
        assert_eq!((bucket.remaining(start), bucket.until_next(start)), (2, Duration::ZERO));
        bucket.take(1, start);
        assert_eq!((bucket.remaining(start), bucket.until_next(start)), (1, Duration::ZERO));
        bucket.take(1, start);
        assert_eq!((bucket.remaining(start), bucket.until_next(start)), (0, 60 * SECOND));
        assert_eq!(bucket.until_next(start + 59 * SECOND), SECOND);
        assert_eq!(bucket.remaining(start + 60 * SECOND), 1);
    }

    #[test]
    fn tokens_are_given_back_as_far_as_they_fit() {
        let (bucket, start) = (bucket(5, 1, 60 * SECOND), Instant::now());
        assert!(bucket.take(5, start));
        bucket.give(3);
        assert_eq!(bucket.remaining(start), 3);
        bucket.give(u32::MAX);
        assert_eq!(bucket.remaining(start), 5);
    }

    #[test]
    fn more_than_it_holds_is_never_taken_and_nothing_always_is() {
        let start = Instant::now();
        let none = bucket(0, 1, SECOND);
        assert!(!none.take(1, start) && !none.take(1, start + 3_600 * SECOND) && none.take(0, start));
        let few = bucket(2, 1, SECOND);
        assert!(!few.take(3, start) && few.take(2, start) && few.take(0, start));
    }

    #[test]
    fn an_earlier_time_than_the_first_gives_nothing_away() {
        let start = Instant::now() + 60 * SECOND;
        let bucket = bucket(1, 1, SECOND);
        assert!(bucket.take(1, start));
        assert!(!bucket.take(1, start.checked_sub(30 * SECOND).unwrap()));
        assert!(bucket.take(1, start + SECOND));
    }

    #[test]
    fn two_threads_never_get_more_than_there_is() {
        let (bucket, start) = (bucket(10_000, 1, 3_600 * SECOND), Instant::now());
        let taken: usize = std::thread::scope(|scope| {
            let take = || (0..20_000).filter(|_| bucket.take(1, start)).count();
            let threads = [scope.spawn(take), scope.spawn(take)];
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 10_000);
    }

    proptest! {
        #[test]
        fn never_more_than_the_bucket_and_its_rate(
            max_tokens in 0u32..50,
            tokens_per_fill in 1u32..2_000,
            interval_ms in 50u64..5_000,
            steps in prop::collection::vec((0u64..400_000_000, 0u32..4), 1..200),
        ) {
            let (start, interval) = (Instant::now(), Duration::from_millis(interval_ms));
            let bucket = bucket(max_tokens, tokens_per_fill, interval);
            let (mut now, mut taken) = (start, 0u128);
            for (step, tokens) in steps {
                now += Duration::from_nanos(step);
                if bucket.take(tokens, now) {
                    taken += u128::from(tokens);
                }
                let earned = (now - start).as_nanos() * u128::from(tokens_per_fill) / interval.as_nanos();
                prop_assert!(taken <= u128::from(max_tokens) + earned);
                prop_assert!(bucket.remaining(now) <= max_tokens.into());
            }
        }

        #[test]
        fn a_caller_who_waits_as_told_is_served(
            max_tokens in 1u32..=u32::MAX,
            tokens_per_fill in 1u32..=u32::MAX,
            interval_ms in 50u64..10_000_000_000,
        ) {
            let start = Instant::now();
            let bucket = bucket(max_tokens, tokens_per_fill, Duration::from_millis(interval_ms));
            prop_assert!(bucket.take(max_tokens, start));
            let wait = bucket.until_next(start);
            prop_assert!(!wait.is_zero());
            if let Some(then) = start.checked_add(wait) {
                prop_assert!(bucket.take(1, then));
            }
        }

        #[test]
        fn hostile_numbers_neither_panic_nor_open_the_bucket(
            max_tokens: u32, tokens_per_fill: u32, secs in 0u64..9_223_372_036, nanos in 0u32..1_000_000_000,
            step in 0u64..u64::MAX / 4, tokens: u32,
        ) {
            let start = Instant::now();
            let bucket = bucket(max_tokens, tokens_per_fill, Duration::new(secs, nanos));
            let later = start.checked_add(Duration::from_nanos(step)).unwrap_or(start);
            for now in [start, later, start] {
                let _ = (bucket.take(tokens, now), bucket.remaining(now), bucket.until_next(now), bucket.fill_rate());
                bucket.give(tokens);
                prop_assert!(bucket.remaining(now) <= max_tokens.into());
                prop_assert!(tokens <= max_tokens || !bucket.take(tokens, now));
            }
        }
    }
}

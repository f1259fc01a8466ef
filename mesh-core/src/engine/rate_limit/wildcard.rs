//! A descriptor with open values: a bucket for every value that comes, the least recently used ones given up.
//!
//! Callers choose the values, so there are never more buckets than configured, and finding one costs the same whatever
//! they choose. This is the one place where a rate limit takes a lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use smallvec::SmallVec;

use super::bucket::TokenBucket;
use super::descriptor::Descriptor;
use crate::resource::filter::LocalDescriptor;
use crate::resource::rate_limit::TokenBucket as Config;

/// Buckets by the values of open entries.
#[derive(Debug)]
pub(super) struct Wildcard {
    /// Keys, and the value where it is given.
    entries: Box<[Wanted]>,
    config: Config,
    shadow: bool,
    most: usize,
    recent: Mutex<Recent>,
}

type Wanted = (Box<str>, Option<Box<str>>);

/// Buckets in the order of their last use.
#[derive(Debug, Default)]
struct Recent {
    by_values: HashMap<Arc<[u8]>, usize>,
    slots: Vec<Slot>,
    newest: usize,
    oldest: usize,
}

#[derive(Debug)]
struct Slot {
    values: Arc<[u8]>,
    bucket: Arc<TokenBucket>,
    newer: usize,
    older: usize,
}

/// No slot.
const NONE: usize = usize::MAX;

impl Wildcard {
    pub(super) fn new(config: &LocalDescriptor, most: u32) -> Self {
        let entry =
            |(key, value): &(String, String)| (key.as_str().into(), (!value.is_empty()).then(|| value.as_str().into()));
        Self {
            entries: config.entries.iter().map(entry).collect(),
            config: config.token_bucket,
            shadow: config.shadow_mode,
            most: usize::try_from(most).unwrap_or(usize::MAX).max(1),
            recent: Mutex::default(),
        }
    }

    pub(super) fn is_for(&self, descriptor: &Descriptor<'_>) -> bool {
        self.entries.len() == descriptor.entries.len()
            && self.entries.iter().zip(&descriptor.entries).all(|((key, value), entry)| {
                **key == *entry.key && value.as_ref().is_none_or(|value| value.as_bytes() == entry.value.bytes())
            })
    }

    pub(super) const fn shadow(&self) -> bool {
        self.shadow
    }

    /// The bucket of the descriptor's values: full, if they have none yet.
    pub(super) fn bucket(&self, descriptor: &Descriptor<'_>) -> Arc<TokenBucket> {
        let mut values = SmallVec::<[u8; 128]>::new();
        for entry in &descriptor.entries {
            values.extend_from_slice(&entry.value.bytes().len().to_le_bytes());
            values.extend_from_slice(entry.value.bytes());
        }
        // What a panic left behind is whole: no step of a change can panic.
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.bucket(&values, self.most, || Arc::new(TokenBucket::new(self.config)))
    }
}

impl Recent {
    fn bucket(&mut self, values: &[u8], most: usize, make: impl FnOnce() -> Arc<TokenBucket>) -> Arc<TokenBucket> {
        if let Some(&at) = self.by_values.get(values) {
            if at != self.newest {
                self.unlink(at);
                self.link(at);
            }
            return Arc::clone(&self.slots[at].bucket);
        }
        let (values, bucket) = (Arc::<[u8]>::from(values), make());
        let slot = Slot { values: Arc::clone(&values), bucket: Arc::clone(&bucket), newer: NONE, older: NONE };
        let at = if self.slots.len() < most {
            self.slots.push(slot);
            self.slots.len() - 1
        } else {
            let at = self.oldest;
            self.unlink(at);
            self.by_values.remove(&self.slots[at].values);
            self.slots[at] = slot;
            at
        };
        self.link(at);
        self.by_values.insert(values, at);
        bucket
    }

    fn unlink(&mut self, at: usize) {
        let (newer, older) = (self.slots[at].newer, self.slots[at].older);
        match self.slots.get_mut(newer) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        match self.slots.get_mut(older) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
    }

    /// Puts an unlinked slot in front.
    fn link(&mut self, at: usize) {
        let first = self.slots.len() == 1;
        let before = if first { NONE } else { self.newest };
        (self.slots[at].newer, self.slots[at].older) = (NONE, before);
        match self.slots.get_mut(before) {
            Some(slot) => slot.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "any instant will do to count from")]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::engine::rate_limit::Entry;
    use crate::resource::rate_limit::Hits;

    fn wildcard(most: u32) -> Wildcard {
        let token_bucket = Config { max_tokens: 1, tokens_per_fill: 1, fill_interval: Duration::from_secs(60) };
        let entries = vec![("user".to_owned(), String::new()), ("plan".to_owned(), "free".to_owned())];
        Wildcard::new(&LocalDescriptor { entries, token_bucket, shadow_mode: false }, most)
    }

    fn descriptor<'a>(user: &'a str, plan: &'a str) -> Descriptor<'a> {
        let entries = [Entry::new("user", user.as_bytes()), Entry::new("plan", plan.as_bytes())].into_iter().collect();
        Descriptor { entries, hits: Hits::Take(1), x_ratelimit_headers: None }
    }

    #[test]
    fn each_value_has_a_bucket_and_given_values_must_be_equal() {
        let (wildcard, now) = (wildcard(20), Instant::now());
        let take = |user: &str| wildcard.bucket(&descriptor(user, "free")).take(1, now);
        assert!(take("ann") && !take("ann") && take("bob") && !take("bob") && take(""));
        assert!(wildcard.is_for(&descriptor("eve", "free")) && !wildcard.is_for(&descriptor("eve", "paid")));
        let mut short = descriptor("eve", "free");
        short.entries.pop();
        assert!(!wildcard.is_for(&short));
    }

    #[test]
    fn the_least_recently_used_bucket_is_given_up() {
        let (wildcard, now) = (wildcard(2), Instant::now());
        let take = |user: &str| wildcard.bucket(&descriptor(user, "free")).take(1, now);
        assert!(take("a") && take("b") && !take("a"));
        assert!(take("c"), "b was used last before a, and is gone");
        assert!(!take("a") && take("b"), "b starts anew, and c is gone");
        assert!(take("c") && wildcard.recent.lock().unwrap().slots.len() == 2);
    }

    #[test]
    fn one_bucket_at_a_time_is_enough_for_the_list() {
        let (wildcard, now) = (wildcard(1), Instant::now());
        for round in 0..3 {
            for user in ["a", "b"] {
                assert!(wildcard.bucket(&descriptor(user, "free")).take(1, now), "{round} {user}");
            }
        }
        assert_eq!(wildcard.recent.lock().unwrap().by_values.len(), 1);
    }
}

//! The buckets of one filter, and which of them a request draws on.
//!
//! Envoy's local rate limiter: of what describes the request, each descriptor that has a bucket takes from it, the
//! slowest bucket first, and then the default bucket. Who is refused by one draws on none behind it.

use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::bucket::TokenBucket;
use super::descriptor::{Descriptor, hash};
use super::wildcard::Wildcard;
use crate::resource::filter::{LocalDescriptor, LocalRateLimit};
use crate::resource::rate_limit::{Hits, TokenBucket as Config};
use crate::resource::{FieldPath, Problem};
use std::time::Duration;

/// Buckets. Many threads may draw on them.
#[derive(Debug)]
pub struct Limiter {
    default: Option<Arc<TokenBucket>>,
    always_consume_default: bool,
    fixed: Table,
    wildcards: Box<[Wildcard]>,
}

#[derive(Debug)]
struct Fixed {
    entries: Box<[(Box<str>, Box<str>)]>,
    bucket: Arc<TokenBucket>,
    shadow: bool,
}

/// What became of a request.
#[derive(Debug)]
pub struct Drawn<'l> {
    /// Whether it got all tokens it needed.
    pub allowed: bool,
    /// The bucket had none, but only counts.
    pub shadow: bool,
    /// The bucket that decided: the one that refused, else the first descriptor's, else the default.
    pub bucket: Option<Held<'l>>,
    /// Whether the response tells its state; `None` leaves it to the filter.
    pub x_ratelimit_headers: Option<bool>,
}

/// A bucket that a request draws on.
struct Match<'l> {
    bucket: Held<'l>,
    shadow: bool,
    hits: Hits,
    headers: Option<bool>,
}

/// A bucket: the limiter's own, or one that it may give up meanwhile.
#[derive(Clone, Debug)]
pub enum Held<'l> {
    /// Of a descriptor whose values are given, or the default one.
    Fixed(&'l Arc<TokenBucket>),
    /// Of an open descriptor.
    Dynamic(Arc<TokenBucket>),
}

/// The shortest interval that Envoy takes.
const SHORTEST_FILL: Duration = Duration::from_millis(50);

impl Limiter {
    /// Full buckets; `at` is the place of the filter's configuration.
    ///
    /// # Errors
    /// Where and what is wrong: a bucket that fills too often or not at all, the same descriptor twice, a descriptor's
    /// interval that is no multiple of the default bucket's.
    pub fn compile(config: &LocalRateLimit, at: &FieldPath) -> Result<Self, (FieldPath, Problem)> {
        let judge = |bucket: &Config, at: &FieldPath| {
            if bucket.tokens_per_fill == 0 {
                return Err((at.field("tokens_per_fill"), Problem::from("must be above 0")));
            }
            if bucket.max_tokens > 0 && bucket.fill_interval < SHORTEST_FILL {
                return Err((at.field("fill_interval"), Problem::from("must be at least 50ms")));
            }
            Ok(())
        };
        if let Some(bucket) = &config.token_bucket {
            judge(bucket, &at.field("token_bucket"))?;
        }
        let list = at.field("descriptors");
        let (mut fixed, mut wildcards) = (Vec::<(u64, Fixed)>::new(), Vec::new());
        for (index, one) in config.descriptors.iter().enumerate() {
            let at = list.index(index);
            let entries_at = at.field("entries");
            if one.entries.is_empty() {
                return Err((entries_at, Problem::Missing));
            }
            if let Some(index) = one.entries.iter().position(|(key, _)| key.is_empty()) {
                return Err((entries_at.index(index).field("key"), Problem::Missing));
            }
            if let Some(first) = config.descriptors[..index].iter().position(|other| other.entries == one.entries) {
                return Err((entries_at, Problem::Conflict(format!("descriptors[{first}] has the same entries"))));
            }
            judge(&one.token_bucket, &at.field("token_bucket"))?;
            refuse_another_beat(config.token_bucket.as_ref(), one, &at.field("token_bucket.fill_interval"))?;
            if one.entries.iter().any(|(_, value)| value.is_empty()) {
                wildcards.push(Wildcard::new(one, config.max_dynamic_descriptors));
            } else {
                let bytes = one.entries.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes()));
                fixed.push((hash(bytes), Fixed::new(one)));
            }
        }
        Ok(Self {
            default: config.token_bucket.map(|bucket| Arc::new(TokenBucket::new(bucket))),
            always_consume_default: config.always_consume_default,
            fixed: Table::new(fixed),
            wildcards: wildcards.into(),
        })
    }

    /// Whether any descriptor has a bucket, so that requests have to be described.
    #[must_use]
    pub fn has_descriptors(&self) -> bool {
        !self.fixed.is_empty() || !self.wildcards.is_empty()
    }

    /// Draws the tokens of a request.
    pub fn draw(&self, descriptors: &[Descriptor<'_>], now: Instant) -> Drawn<'_> {
        let mut matches: SmallVec<[Match<'_>; 4]> = descriptors.iter().filter_map(|one| self.find(one)).collect();
        if matches.len() > 1 {
            matches.sort_by(|a, b| a.bucket.get().fill_rate().total_cmp(&b.bucket.get().fill_rate()));
        }
        for one in &matches {
            let took = match one.hits {
                Hits::Take(tokens) => one.bucket.get().take(tokens, now),
                Hits::Give(tokens) => {
                    one.bucket.get().give(tokens);
                    true
                }
            };
            if !took {
                return Drawn {
                    allowed: false,
                    shadow: one.shadow,
                    bucket: Some(one.bucket.clone()),
                    x_ratelimit_headers: one.headers,
                };
            }
        }
        let first = matches.first();
        if let Some(default) = &self.default
            && (first.is_none() || self.always_consume_default)
        {
            let allowed = default.take(1, now);
            if !allowed || first.is_none() {
                let bucket = Some(Held::Fixed(default));
                return Drawn { allowed, shadow: false, bucket, x_ratelimit_headers: None };
            }
        }
        Drawn {
            allowed: true,
            shadow: false,
            bucket: first.map(|one| one.bucket.clone()),
            x_ratelimit_headers: first.and_then(|one| one.headers),
        }
    }

    /// The bucket of a descriptor: of exactly its entries, else of open ones that it fits.
    fn find(&self, descriptor: &Descriptor<'_>) -> Option<Match<'_>> {
        let entries = &descriptor.entries;
        let found =
            |bucket, shadow| Match { bucket, shadow, hits: descriptor.hits, headers: descriptor.x_ratelimit_headers };
        if !self.fixed.is_empty() {
            let hash = hash(entries.iter().map(|entry| (entry.key.as_bytes(), entry.value.bytes())));
            if let Some(one) = self.fixed.find(hash, descriptor) {
                return Some(found(Held::Fixed(&one.bucket), one.shadow));
            }
        }
        let open = self.wildcards.iter().find(|one| one.is_for(descriptor))?;
        Some(found(Held::Dynamic(open.bucket(descriptor)), open.shadow()))
    }
}

/// Descriptors by the hash of their entries: a table at most half full, searched from where the hash says.
#[derive(Debug)]
struct Table {
    slots: Box<[Option<(u64, Fixed)>]>,
}

impl Table {
    fn new(list: Vec<(u64, Fixed)>) -> Self {
        let room = if list.is_empty() { 0 } else { (list.len() * 2).next_power_of_two() };
        let mut slots: Box<[Option<(u64, Fixed)>]> = (0..room).map(|_| None).collect();
        for (hash, one) in list {
            let mut at = place(hash, room);
            while slots[at].is_some() {
                at = (at + 1) & (room - 1);
            }
            slots[at] = Some((hash, one));
        }
        Self { slots }
    }

    const fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// There is an empty slot, so that this ends.
    fn find(&self, hash: u64, descriptor: &Descriptor<'_>) -> Option<&Fixed> {
        let mut at = place(hash, self.slots.len());
        while let Some((known, one)) = self.slots.get(at)? {
            if *known == hash && one.is_for(descriptor) {
                return Some(one);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        None
    }
}

/// Where in a table of so many slots, a power of two, a hash is looked for first.
#[allow(clippy::cast_possible_truncation, reason = "only the lower bits are wanted")]
const fn place(hash: u64, room: usize) -> usize {
    hash as usize & room.saturating_sub(1)
}

impl Fixed {
    fn new(config: &LocalDescriptor) -> Self {
        let entries = config.entries.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into()));
        Self {
            entries: entries.collect(),
            bucket: Arc::new(TokenBucket::new(config.token_bucket)),
            shadow: config.shadow_mode,
        }
    }

    fn is_for(&self, descriptor: &Descriptor<'_>) -> bool {
        self.entries.len() == descriptor.entries.len()
            && self
                .entries
                .iter()
                .zip(&descriptor.entries)
                .all(|((key, value), entry)| **key == *entry.key && value.as_bytes() == entry.value.bytes())
    }
}

impl Drawn<'_> {
    /// For longer than the limiter may live.
    #[must_use]
    pub fn into_owned(self) -> Drawn<'static> {
        Drawn {
            allowed: self.allowed,
            shadow: self.shadow,
            bucket: self.bucket.map(|bucket| Held::Dynamic(Arc::clone(bucket.get()))),
            x_ratelimit_headers: self.x_ratelimit_headers,
        }
    }
}

impl Held<'_> {
    /// The bucket.
    #[must_use]
    pub const fn get(&self) -> &Arc<TokenBucket> {
        match self {
            Self::Fixed(bucket) => bucket,
            Self::Dynamic(bucket) => bucket,
        }
    }
}

/// A descriptor's bucket fills at every so many fills of the default one.
fn refuse_another_beat(
    default: Option<&Config>,
    descriptor: &LocalDescriptor,
    at: &FieldPath,
) -> Result<(), (FieldPath, Problem)> {
    let Some(default) = default else { return Ok(()) };
    let (of, beat) = (descriptor.token_bucket.fill_interval.as_millis(), default.fill_interval.as_millis());
    if beat > 0 && of % beat != 0 {
        return Err((at.clone(), Problem::Conflict(format!("is no multiple of the {beat}ms of token_bucket"))));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

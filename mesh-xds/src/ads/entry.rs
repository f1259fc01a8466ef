//! What is known of one resource, and of all of one type.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use mesh_core::resource::{Invalid, Name, ResourceName};

use super::references::References;
use crate::decode::{Accepted, AnyResource};

/// Everything known of one type of resource.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Whether all there are is asked for, instead of those in use.
    pub(super) wildcard: bool,
    /// Whether a server has answered for this type at all.
    pub(super) answered: bool,
    /// Whether another server answers now than the one that gave what is there.
    pub(super) unconfirmed: bool,
    pub(super) entries: HashMap<Name, Entry>,
    /// How often a name is in use: watched, or named by another resource (its newest version and the one in force count apart).
    pub(super) used: HashMap<Name, u32>,
    /// What the servers were asked for last; empty with `wildcard`.
    pub(super) asked: HashSet<Name>,
    /// Names whose use began or ended in this turn.
    pub(super) touched: Vec<Name>,
    /// Sum of the encoded good versions.
    pub(super) bytes: usize,
}

/// What is known of one resource.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// The newest good version.
    pub(super) good: Option<Good>,
    /// A later version that was refused, and why.
    pub(super) refused: Option<(Bytes, Invalid)>,
    /// What the version in force names; `None` while nothing is in force.
    pub(super) live: Option<References>,
    /// It was asked for and does not exist.
    pub(super) absent: bool,
    /// The server removed it, and it is kept because it is in use.
    pub(super) deleted: bool,
    /// Which server gave the newest version.
    pub(super) server: usize,
    /// When its `ttl` ends.
    pub(super) expires: Option<Instant>,
}

/// A version that was accepted.
#[derive(Debug)]
pub(super) struct Good {
    pub(super) version: Arc<str>,
    pub(super) encoded: Bytes,
    pub(super) references: References,
    /// Waits for others before it comes into force.
    pub(super) held: Option<Box<Held>>,
}

/// A version that waits.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) resource: AnyResource,
    pub(super) accepted: Accepted,
    /// What it waits for; never empty.
    pub(super) missing: HashSet<ResourceName>,
    /// When it stops waiting.
    pub(super) until: Instant,
}

impl Entry {
    /// Whether there is, or was, anything of it: an entry may only say that it does not exist.
    pub(super) fn is_given(&self) -> bool {
        self.good.is_some() || self.refused.is_some()
    }

    /// Whether nobody needs to wait for it any more.
    pub(super) fn is_settled(&self) -> bool {
        self.live.is_some() || self.absent || (self.good.is_none() && self.refused.is_some())
    }

    pub(super) fn held(&self) -> Option<&Held> {
        self.good.as_ref()?.held.as_deref()
    }

    pub(super) fn held_mut(&mut self) -> Option<&mut Held> {
        self.good.as_mut()?.held.as_deref_mut()
    }
}

impl Table {
    pub(super) fn is_used(&self, name: &str) -> bool {
        self.used.contains_key(name)
    }

    /// Whether a server may send it.
    pub(super) fn is_wanted(&self, name: &str) -> bool {
        self.wildcard || self.is_used(name)
    }

    /// One more use, or one less.
    pub(super) fn use_name(&mut self, name: &Name, more: bool) {
        if more {
            let count = self.used.entry(Arc::clone(name)).or_default();
            *count += 1;
            if *count > 1 {
                return;
            }
        } else {
            let Some(count) = self.used.get_mut(name) else { return };
            *count -= 1;
            if *count > 0 {
                return;
            }
            self.used.remove(name);
        }
        self.touched.push(Arc::clone(name));
    }

    /// How many resources there are.
    pub(super) fn given(&self) -> usize {
        self.entries.values().filter(|entry| entry.is_given()).count()
    }
}

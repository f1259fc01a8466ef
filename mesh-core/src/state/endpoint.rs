//! One endpoint of one cluster, as far as it outlives a snapshot.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::Outcomes;

/// Requests under way and totals of one endpoint. One per (cluster, address).
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct EndpointState {
    active: AtomicU32,
    found: AtomicU8,
    total: AtomicU64,
    errors: AtomicU64,
    outcomes: Outcomes,
}

/// What was found out about an endpoint while it was used. Several may hold at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Finding {
    /// Ejected by outlier detection.
    Ejected = 1,
    /// Failing its active health checks.
    CheckFailed = 2,
    /// Its health checks pass, and say that it is degraded.
    Degraded = 4,
    /// Never checked yet, where hosts without a check do not count (`ignore_new_hosts_until_first_hc`).
    Unchecked = 8,
}

impl EndpointState {
    /// Requests of this process under way to the endpoint.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// Attempts ever sent to it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Attempts that ended in a 5xx or without a response.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// What outlier detection counts of it.
    #[must_use]
    pub const fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// Notes that `finding` holds, or no longer does. Whether that changed anything.
    ///
    /// Balancers see it when their cluster is compiled again: see `snapshot::Update::health`.
    pub fn note(&self, finding: Finding, holds: bool) -> bool {
        let bit = finding as u8;
        let before = if holds {
            self.found.fetch_or(bit, Ordering::Relaxed)
        } else {
            self.found.fetch_and(!bit, Ordering::Relaxed)
        };
        (before & bit != 0) != holds
    }

    /// Whether `finding` holds.
    #[must_use]
    pub fn is(&self, finding: Finding) -> bool {
        self.found.load(Ordering::Relaxed) & finding as u8 != 0
    }

    /// Counts an attempt as failed (5xx, reset, no connection).
    pub fn count_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an attempt as under way until the guard is dropped.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.active.fetch_add(1, Ordering::Relaxed);
        self.total.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }
}

/// An attempt under way; dropping it ends the count.
#[derive(Debug)]
pub struct InFlight(Arc<EndpointState>);

impl InFlight {
    /// The endpoint it counts for.
    #[must_use]
    pub fn endpoint(&self) -> &EndpointState {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where the driver keeps what it needs to reach an endpoint (its connection pool), opaque here.
///
/// One per (cluster, address, connection settings): when the settings change, a new one takes over and the
/// old one goes with the last request that uses it.
#[derive(Default)]
pub struct Transport(OnceLock<Box<dyn Any + Send + Sync>>);

impl Transport {
    /// The attached value, made by `make` on first use. `None` if a value of another type is attached.
    pub fn attached<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.0.get_or_init(|| Box::new(make())).downcast_ref()
    }

    /// The attached value, if one of this type was made already.
    #[must_use]
    pub fn existing<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.get()?.downcast_ref()
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Transport").field(&self.0.get().is_some()).finish()
    }
}

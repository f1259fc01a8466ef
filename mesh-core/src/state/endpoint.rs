//! One endpoint of one cluster, as far as it outlives a snapshot.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Requests under way and totals of one endpoint. One per (cluster, address).
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct EndpointState {
    active: AtomicU32,
    total: AtomicU64,
    errors: AtomicU64,
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

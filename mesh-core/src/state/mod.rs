//! What outlives a snapshot: counts in flight, breaker loads, totals, and the transport kept per endpoint.
//!
//! Keyed by identity (cluster, endpoint address) and handed from one snapshot to the next, so that a push
//! whose relevant fields are unchanged forgets nothing. Many threads count here: what every request touches
//! is spread over [`Lane`]s. No configuration lives here, no decisions are made here.

mod cluster;
mod ejections;
mod endpoint;
mod outcomes;

pub use self::cluster::{Admission, ClusterCounts, ClusterState, Load, Slot, Total};
pub use self::ejections::{EjectionCause, EjectionCounts, Ejections};
pub use self::endpoint::{EndpointState, Finding, InFlight, Transport};
pub use self::outcomes::{Origin, Outcomes, Streak, Volume};

/// Which of a few counting lanes a caller uses: callers on different threads should pass different lanes.
///
/// Any value works (it is taken modulo [`Lane::COUNT`]); a good one only avoids that cores share cache lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub struct Lane(u8);

impl Lane {
    /// How many lanes there are.
    pub const COUNT: usize = 16;

    /// The lane of the `n`-th thread.
    #[must_use]
    pub const fn of_thread(n: usize) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "the value is below 16")]
        Self((n % Self::COUNT) as u8)
    }

    /// Its number, below [`Lane::COUNT`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize % Self::COUNT
    }
}

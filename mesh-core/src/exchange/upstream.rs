//! Where a response came from, for whoever made the request.

use std::fmt;
use std::sync::Arc;

use crate::engine::load_balancing::HostIndex;
use crate::resource::endpoint::Address;
use crate::resource::metadata::Metadata;
use crate::snapshot::Cluster;

/// A response extension: the cluster and endpoint that answered, and after how many attempts.
#[derive(Clone)]
pub struct Upstream {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) host: Option<HostIndex>,
    pub(crate) destination: Option<Address>,
    pub(crate) attempts: u32,
}

impl Upstream {
    /// The cluster's name.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster.config().name
    }

    /// The endpoint's address; `None` when no endpoint was reached.
    #[must_use]
    pub fn endpoint(&self) -> Option<&Address> {
        let picked = self.host.and_then(|host| self.cluster.balancer().host(host));
        picked.map(|host| &host.endpoint.address).or(self.destination.as_ref())
    }

    /// The endpoint's metadata.
    pub(super) fn metadata(&self) -> Option<&Metadata> {
        Some(&self.cluster.balancer().host(self.host?)?.endpoint.metadata)
    }

    /// Says that the request was sent this often, by those that ran beside the one that answered.
    pub fn count(&mut self, attempts: u32) {
        self.attempts = self.attempts.max(attempts);
    }

    /// How often the request was sent, retries included.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("cluster", &self.cluster())
            .field("endpoint", &self.endpoint().map(ToString::to_string))
            .field("attempts", &self.attempts)
            .finish()
    }
}

//! What became of every resource received: in force since which version, refused why, which fields rest.
//!
//! Kept beside the snapshots by whoever feeds them; read by the admin pages and the CLI, never by a request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use crate::resource::{Invalid, ResourceName};

/// The version of a resource that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// The source's version text.
    pub version: Arc<str>,
    /// When it came into force.
    pub since: SystemTime,
    /// Type URL of `encoded`.
    pub type_url: &'static str,
    /// The message as received; dumps decode it on demand.
    pub encoded: Bytes,
    /// Paths of fields that were set and have no effect here.
    pub not_in_force: Arc<[String]>,
}

/// One resource's status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceStatus {
    /// The last good version, if there ever was one.
    pub in_force: Option<InForce>,
    /// Why a later version was refused, until one is accepted.
    pub refused: Option<(SystemTime, Invalid)>,
}

/// The status of every resource, by kind and name.
#[derive(Clone, Debug, Default)]
pub struct StatusBoard(BTreeMap<ResourceName, ResourceStatus>);

impl StatusBoard {
    /// Notes that a version came into force.
    pub fn accepted(&mut self, name: ResourceName, in_force: InForce) {
        self.0.insert(name, ResourceStatus { in_force: Some(in_force), refused: None });
    }

    /// Notes a refusal; what was in force before stays so.
    pub fn refused(&mut self, invalid: Invalid, at: SystemTime) {
        let status = self.0.entry(invalid.resource.clone()).or_default();
        status.refused = Some((at, invalid));
    }

    /// Notes that the source removed a resource.
    pub fn removed(&mut self, name: &ResourceName) {
        self.0.remove(name);
    }

    /// Every resource, by kind and name.
    pub fn iter(&self) -> impl Iterator<Item = (&ResourceName, &ResourceStatus)> {
        self.0.iter()
    }

    /// One resource's status.
    #[must_use]
    pub fn find(&self, name: &ResourceName) -> Option<&ResourceStatus> {
        self.0.get(name)
    }
}

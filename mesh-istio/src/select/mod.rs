//! Who is affected by what: visibility, precedence, most specific hosts, merging, layering,
//! preference by place.
//!
//! Decisions only: nothing here builds a message. Follows Istio's `exportTo` rules, its choice of VirtualService by host, and its look-up
//! and merging of DestinationRules.

pub mod host;

pub(crate) mod delegate;
pub mod gateway;

mod destination_rule;
mod locality;
mod peer_authentication;
mod policy;
mod sidecar;
mod virtual_service;
mod visible;

pub use destination_rule::{DestinationRules, MergedRule};
pub use locality::{Caller, LocalityGroup, LocalityPreference, Place, locality_preference};
pub use peer_authentication::PeerPolicies;
pub use policy::{EffectivePolicy, effective};
pub use sidecar::{Egress, Outbound, Seen, SidecarObject, seen_by, sidecar};
pub use virtual_service::{BoundVirtualService, is_bound, virtual_services};
pub use visible::is_exported;

use std::collections::BTreeMap;

/// Whether every pair of `selector` stands in `labels`.
#[must_use]
pub fn labels_match(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

//! Rules that need more than one object: dangling hosts, subsets and ports, hosts claimed twice.
use crate::{Finding, MeshConfig, World};

/// TODO-later
#[must_use]
pub fn check(_world: &World, _mesh: &MeshConfig) -> Vec<Finding> { Vec::new() }

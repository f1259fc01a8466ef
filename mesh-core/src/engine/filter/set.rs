//! The filters of one connection manager.

use std::sync::Arc;

use super::HttpFilter;
use crate::resource::Name;

/// A filter with the name that routes know it by.
#[derive(Clone, Debug)]
pub struct FilterInstance {
    /// Key of `typed_per_filter_config`.
    pub name: Name,
    /// Off unless a route turns it on.
    pub disabled: bool,
    /// The filter.
    pub filter: Arc<dyn HttpFilter>,
}

/// The filters of one connection manager, in order.
#[derive(Debug)]
pub struct FilterSet {
    instances: Box<[FilterInstance]>,
    waits_for_route: bool,
}

impl FilterSet {
    /// `None` when there are no filters, so that requests pay nothing for them.
    #[must_use]
    pub fn new(instances: Vec<FilterInstance>) -> Option<Arc<Self>> {
        if instances.is_empty() {
            return None;
        }
        let waits_for_route = instances.iter().all(|one| one.disabled || one.filter.waits_for_route());
        Some(Arc::new(Self { instances: instances.into(), waits_for_route }))
    }

    /// The filters.
    #[must_use]
    pub fn instances(&self) -> &[FilterInstance] {
        &self.instances
    }

    /// Whether all of them do nothing on a route that says nothing to any filter.
    #[must_use]
    pub const fn waits_for_route(&self) -> bool {
        self.waits_for_route
    }
}

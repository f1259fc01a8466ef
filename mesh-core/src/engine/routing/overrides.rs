//! `typed_per_filter_config` of all levels, merged.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::resource::Name;
use crate::resource::route::{FilterOverride, PerFilterConfig};

/// What route configuration, virtual host, route and weighted cluster say about filters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterOverrides {
    /// By filter instance name; the most specific level is last.
    filters: BTreeMap<Name, SmallVec<[FilterOverride; 1]>>,
}

impl FilterOverrides {
    /// These and what a more specific level says.
    pub(super) fn with(&self, level: &PerFilterConfig) -> Self {
        let mut merged = self.clone();
        for (name, config) in level {
            merged.filters.entry(Name::clone(name)).or_default().push(config.clone());
        }
        merged
    }

    /// What is in force for the filter instance of this name: the most specific level's word.
    #[must_use]
    pub fn effective(&self, name: &str) -> Option<&FilterOverride> {
        self.filters.get(name)?.last()
    }

    /// What every level says about the filter instance of this name, the most specific one first. For filters
    /// that merge (`header_mutation`).
    pub fn levels(&self, name: &str) -> impl Iterator<Item = &FilterOverride> {
        self.filters.get(name).into_iter().flatten().rev()
    }

    /// The names of the filters that are spoken of.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.filters.keys()
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_level_is_in_force() {
        let level = |type_url: &str| {
            PerFilterConfig::from([(
                "f".into(),
                FilterOverride { type_url: type_url.into(), ..FilterOverride::default() },
            )])
        };
        let merged =
            FilterOverrides::default().with(&level("vhost")).with(&PerFilterConfig::new()).with(&level("route"));
        assert_eq!(&*merged.effective("f").unwrap().type_url, "route");
        assert_eq!(merged.levels("f").map(|one| &*one.type_url).collect::<Vec<_>>(), ["route", "vhost"]);
        assert!(merged.effective("g").is_none() && merged.levels("g").next().is_none());
    }
}

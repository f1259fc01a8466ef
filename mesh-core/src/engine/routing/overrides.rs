//! `typed_per_filter_config` of all levels, compiled and merged.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::engine::filter::{RouteConfigs, RouteFilter, compile_route};
use crate::resource::route::{FilterOverride, PerFilterConfig};
use crate::resource::{FieldPath, Name, Problem};

/// What route configuration, virtual host, route and weighted cluster say about filters.
#[derive(Clone, Debug, Default)]
pub struct FilterOverrides {
    /// By filter instance name; the most specific level is last. There are a few at the most: no map is faster.
    filters: SmallVec<[(Name, Levels); 1]>,
}

type Levels = SmallVec<[Arc<RouteFilter>; 1]>;

/// One level's words: by filter instance name.
pub(super) type Level = Vec<(Name, Arc<RouteFilter>)>;

impl FilterOverrides {
    /// These and what a more specific level says.
    pub(super) fn with(&self, level: &Level) -> Self {
        let mut merged = self.clone();
        for (name, word) in level {
            match merged.filters.iter_mut().find(|(known, _)| known == name) {
                Some((_, levels)) => levels.push(Arc::clone(word)),
                None => merged.filters.push((Name::clone(name), SmallVec::from_iter([Arc::clone(word)]))),
            }
        }
        merged
    }

    /// What all levels say to the filter instance of this name.
    #[must_use]
    pub fn of(&self, name: &str) -> RouteConfigs<'_> {
        let levels = self.filters.iter().find(|(known, _)| &**known == name);
        levels.map_or_else(RouteConfigs::default, |(_, levels)| RouteConfigs::new(levels))
    }

    /// The names of the filters that are spoken of.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.filters.iter().map(|(name, _)| name)
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }
}

/// Compiled words with what they were compiled from, by virtual host and filter.
///
/// State that a word holds (a bucket of tokens) outlives the table: the next table's words that say the same in the
/// same virtual host, in order, are these.
#[derive(Clone, Debug, Default)]
pub(super) struct Words(BTreeMap<(Name, Name), Said>);

type Said = VecDeque<(FilterOverride, Arc<RouteFilter>)>;

impl Words {
    /// Compiles one level of `virtual_host` (empty for the route configuration's own); `at` is the level.
    pub(super) fn level(
        &mut self,
        before: &mut Self,
        virtual_host: &Name,
        level: &PerFilterConfig,
        at: &FieldPath,
    ) -> Result<Level, (FieldPath, Problem)> {
        let mut words = Level::with_capacity(level.len());
        for (name, config) in level {
            let key = (Name::clone(virtual_host), Name::clone(name));
            let word = match before.take(&key, config) {
                Some(word) => word,
                None => {
                    let at = at.field("typed_per_filter_config").key(name);
                    let compiled = config.config.as_ref().map(|config| compile_route(config, &at)).transpose()?;
                    Arc::new(RouteFilter { disabled: config.disabled, config: compiled })
                }
            };
            self.0.entry(key).or_default().push_back((config.clone(), Arc::clone(&word)));
            words.push((Name::clone(name), word));
        }
        Ok(words)
    }

    fn take(&mut self, key: &(Name, Name), config: &FilterOverride) -> Option<Arc<RouteFilter>> {
        let words = self.0.get_mut(key)?;
        let found = words.iter().position(|(known, _)| known == config)?;
        words.remove(found).map(|(_, word)| word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::filter::RouteConfig;
    use crate::resource::filter::RouteConfig as Config;

    fn level(says: &str) -> PerFilterConfig {
        PerFilterConfig::from([("f".into(), FilterOverride::with(Config::NotInForce(says.into())))])
    }

    fn said(config: Option<&RouteConfig>) -> &str {
        match config {
            Some(RouteConfig::NotInForce(says)) => says,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_most_specific_level_is_in_force() {
        let mut words = Words::default();
        let mut compile = |config: &PerFilterConfig| {
            words.level(&mut Words::default(), &Name::default(), config, &"r".into()).unwrap()
        };
        let merged = FilterOverrides::default()
            .with(&compile(&level("vhost")))
            .with(&compile(&PerFilterConfig::new()))
            .with(&compile(&level("route")));
        assert_eq!(said(merged.of("f").effective()), "route");
        assert_eq!(merged.of("f").levels().map(|one| said(Some(one))).collect::<Vec<_>>(), ["route", "vhost"]);
        assert!(merged.of("g").effective().is_none() && merged.of("g").levels().next().is_none());
    }

    #[test]
    fn words_that_say_the_same_are_kept_one_for_one() {
        let host = Name::from("h");
        let mut first = Words::default();
        let one = first.level(&mut Words::default(), &host, &level("a"), &"r".into()).unwrap();
        let two = first.level(&mut Words::default(), &host, &level("a"), &"r".into()).unwrap();
        assert!(!Arc::ptr_eq(&one[0].1, &two[0].1), "routes share no state");
        let (mut before, mut next) = (first.clone(), Words::default());
        let mut again = |host: &str, says: &str| {
            let word = next.level(&mut before, &host.into(), &level(says), &"r".into()).unwrap();
            Arc::clone(&word[0].1)
        };
        let other = again("h", "b");
        assert!(!Arc::ptr_eq(&other, &one[0].1));
        assert!(!Arc::ptr_eq(&again("i", "a"), &one[0].1), "another virtual host");
        assert!(Arc::ptr_eq(&again("h", "a"), &one[0].1) && Arc::ptr_eq(&again("h", "a"), &two[0].1));
        assert!(!Arc::ptr_eq(&again("h", "a"), &two[0].1), "a third one is new");
    }
}

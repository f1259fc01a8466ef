//! The HTTP filters of listeners: made once, and kept for as long as their configuration does not change, so that what
//! they count outlives every push (D7 of the architecture: state outlives configuration).

use std::collections::HashMap;
use std::sync::Arc;

use crate::engine::filter::{FilterInstance, FilterSet, compile};
use crate::engine::quota::Registry;
use crate::resource::listener::{HttpConnectionManager, HttpFilter};
use crate::resource::{FieldPath, Problem};

/// Makes a filter that this crate does not have; `None` leaves the entry out (decode has reported it).
pub type FilterFactory = fn(&HttpFilter) -> Option<FilterInstance>;

/// The filters in force, by listener and chain.
#[derive(Debug)]
pub(super) struct Filters {
    factory: FilterFactory,
    made: HashMap<String, Made>,
    /// Those of the listeners as they were before the update that is being applied.
    before: HashMap<String, Made>,
    /// What quotas have counted: the same limit counts in one place, whichever listeners have it.
    quotas: Registry,
}

#[derive(Debug)]
struct Made {
    config: Vec<HttpFilter>,
    instances: Vec<Option<FilterInstance>>,
    set: Option<Arc<FilterSet>>,
}

impl Default for Filters {
    fn default() -> Self {
        Self { factory: |_| None, made: HashMap::new(), before: HashMap::new(), quotas: Registry::default() }
    }
}

impl Filters {
    pub(super) const fn use_factory(&mut self, factory: FilterFactory) {
        self.factory = factory;
    }

    /// Listeners are about to be indexed anew: what none of them asks for is gone afterwards.
    pub(super) fn begin(&mut self) {
        self.before = std::mem::take(&mut self.made);
    }

    /// All listeners were indexed.
    pub(super) fn end(&mut self) {
        self.before.clear();
    }

    /// Whether the filters of a connection manager can be made; `at` is its field.
    pub(super) fn check(manager: &HttpConnectionManager, at: &str) -> Result<(), (FieldPath, Problem)> {
        for (number, filter) in manager.http_filters.iter().enumerate() {
            compile(&filter.config, &place(at, number), &mut Registry::default())?;
        }
        Ok(())
    }

    /// The filters of a connection manager, which was checked.
    pub(super) fn of(&mut self, key: &str, manager: &HttpConnectionManager) -> Option<Arc<FilterSet>> {
        let before = self.before.remove(key);
        let made = match before {
            Some(before) if before.config == manager.http_filters => before,
            before => self.make(before, manager),
        };
        let set = made.set.clone();
        self.made.insert(key.to_owned(), made);
        set
    }

    fn make(&mut self, before: Option<Made>, manager: &HttpConnectionManager) -> Made {
        let mut known: Vec<(HttpFilter, Option<FilterInstance>)> =
            before.map(|before| before.config.into_iter().zip(before.instances).collect()).unwrap_or_default();
        let instances: Vec<_> = manager
            .http_filters
            .iter()
            .map(|config| {
                let same = |(one, _): &(HttpFilter, _)| one.name == config.name && one.config == config.config;
                match known.iter().position(same).map(|found| known.swap_remove(found)) {
                    Some((_, instance)) => instance.map(|one| FilterInstance { disabled: config.disabled, ..one }),
                    None => self.one(config),
                }
            })
            .collect();
        let set = FilterSet::new(instances.iter().flatten().cloned().collect());
        Made { config: manager.http_filters.clone(), instances, set }
    }

    fn one(&mut self, config: &HttpFilter) -> Option<FilterInstance> {
        if let Some(instance) = (self.factory)(config) {
            return Some(instance);
        }
        // It was made for the check already, so it can be made.
        let filter = compile(&config.config, &FieldPath::root(), &mut self.quotas).ok()??;
        Some(FilterInstance { name: Arc::clone(&config.name), disabled: config.disabled, filter })
    }
}

fn place(at: &str, number: usize) -> FieldPath {
    FieldPath::from(at).field("http_filters").index(number).field("typed_config")
}

//! All objects of one mesh, in age order, and what was said while reading them.
//!
//! A world is immutable and cheap to rebuild from objects that were already parsed: a watcher keeps the `Arc`s of unchanged
//! files, parses the changed one and builds a new world. Cross-object checks are in `check`, meaning in `select`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::finding::{Finding, Severity, code};
use crate::object::{LoadOptions, Object, ObjectId, load_text};

/// A set of objects. Order matters: Istio lets the oldest win, and without `creationTimestamp` the first loaded is the
/// oldest.
#[derive(Clone, Debug, Default)]
pub struct World {
    objects: Vec<Arc<Object>>,
    findings: Vec<Finding>,
}

impl World {
    /// Reads every file and keeps what is valid. Findings about the rest, and warnings, are in [`World::findings`].
    ///
    /// The caller's order is the age order of objects without `creationTimestamp`: pass files sorted by name.
    #[must_use]
    pub fn load<F, T>(files: impl IntoIterator<Item = (F, T)>) -> Self
    where
        F: AsRef<str>,
        T: AsRef<str>,
    {
        Self::load_with(files, &LoadOptions::default())
    }

    /// [`World::load`] with other options.
    #[must_use]
    pub fn load_with<F, T>(files: impl IntoIterator<Item = (F, T)>, options: &LoadOptions) -> Self
    where
        F: AsRef<str>,
        T: AsRef<str>,
    {
        let mut objects = Vec::new();
        let mut findings = Vec::new();
        for (file, text) in files {
            let loaded = load_text(file.as_ref(), text.as_ref(), options);
            objects.extend(loaded.objects);
            findings.extend(loaded.findings);
        }
        let mut world = Self::from_objects(objects);
        findings.append(&mut world.findings);
        world.findings = findings;
        world
    }

    /// Builds a world from parsed objects, in load order. An object whose identity was already taken is left out and
    /// reported; findings of the parsing are the caller's.
    #[must_use]
    pub fn from_objects(objects: impl IntoIterator<Item = Arc<Object>>) -> Self {
        let mut seen: BTreeMap<ObjectId, Arc<Object>> = BTreeMap::new();
        let mut kept = Vec::new();
        let mut findings = Vec::new();
        for object in objects {
            if let Some(first) = seen.get(&object.id) {
                findings.push(Finding {
                    file: object.file.clone(),
                    line: object.line,
                    severity: Severity::Refused,
                    code: code::DUPLICATE_OBJECT,
                    object: Some(object.id.clone()),
                    field: "metadata.name".to_owned(),
                    reason: format!("already defined in {}:{}", first.file, first.line),
                });
                continue;
            }
            seen.insert(object.id.clone(), object.clone());
            kept.push(object);
        }
        // Stable: without timestamps the load order stands.
        kept.sort_by(|a, b| a.age_order(b));
        Self { objects: kept, findings }
    }

    /// Objects in age order, oldest first.
    #[must_use]
    pub fn objects(&self) -> &[Arc<Object>] {
        &self.objects
    }

    /// What was said while reading: in order of files and lines as far as they were read in that order.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The object of that identity.
    #[must_use]
    pub fn object(&self, id: &ObjectId) -> Option<&Arc<Object>> {
        self.objects.iter().find(|object| object.id == *id)
    }

    /// The object that a route or cluster names in its metadata (`filter_metadata["istio"].config`), as [`Object::config_path`] writes it.
    #[must_use]
    pub fn object_at(&self, config_path: &str) -> Option<&Arc<Object>> {
        self.objects.iter().find(|object| object.config_path() == config_path)
    }
}

//! What filters remember of one request, and what they tell one another. Nothing is allocated until one does.

use std::any::Any;
use std::fmt;

use crate::resource::metadata::{Metadata, Value};

/// The notes of all filters about one request.
#[derive(Default)]
pub struct RequestNotes(Vec<(usize, Box<dyn Any + Send + Sync>)>);

impl RequestNotes {
    /// The notes of the filter at this place of the chain.
    pub const fn of(&mut self, at: usize) -> Notes<'_> {
        Notes { all: self, at }
    }

    /// Whether no filter remembers anything.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for RequestNotes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(at, _)| at)).finish()
    }
}

/// What one filter remembers of one request: at most one value of each type.
///
/// A value is dropped at the end of the response's body, or with the request when the caller goes away: so a guard
/// kept here is held for as long as the request is under way.
#[derive(Debug)]
pub struct Notes<'a> {
    all: &'a mut RequestNotes,
    at: usize,
}

impl Notes<'_> {
    /// Remembers a value, in place of one of the same type.
    pub fn put<T: Send + Sync + 'static>(&mut self, value: T) {
        drop(self.take::<T>());
        self.all.0.push((self.at, Box::new(value)));
    }

    /// The value of this type.
    #[must_use]
    pub fn find<T: 'static>(&self) -> Option<&T> {
        self.all.0.iter().filter(|(at, _)| *at == self.at).find_map(|(_, note)| note.downcast_ref())
    }

    /// Takes the value of this type out.
    pub fn take<T: 'static>(&mut self) -> Option<T> {
        let found = self.all.0.iter().position(|(at, note)| *at == self.at && note.is::<T>())?;
        self.all.0.swap_remove(found).1.downcast().ok().map(|value| *value)
    }
}

/// `dynamic_metadata` of a request: what filters tell one another, later routing and header formats.
#[derive(Debug, Default)]
pub struct DynamicMetadata(Option<Box<Metadata>>);

static NOTHING: Metadata = Metadata::new();

impl DynamicMetadata {
    /// Nothing told yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    /// All of it.
    #[must_use]
    pub fn all(&self) -> &Metadata {
        self.0.as_deref().unwrap_or(&NOTHING)
    }

    /// Sets fields of a namespace; fields that are not named stay.
    pub fn merge(&mut self, namespace: &str, fields: impl IntoIterator<Item = (String, Value)>) {
        let namespace = self.0.get_or_insert_default().entry(namespace.to_owned()).or_default();
        if !matches!(namespace, Value::Struct(_)) {
            *namespace = Value::Struct(std::collections::BTreeMap::new());
        }
        if let Value::Struct(known) = namespace {
            known.extend(fields);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_filter_has_notes_of_its_own() {
        let mut notes = RequestNotes::default();
        notes.of(0).put(1u32);
        notes.of(1).put(2u32);
        notes.of(1).put("text");
        notes.of(1).put(3u32);
        assert_eq!(notes.of(0).find::<u32>(), Some(&1));
        assert_eq!(notes.of(2).find::<u32>(), None);
        assert_eq!((notes.of(1).take::<u32>(), notes.of(1).take::<u32>()), (Some(3), None));
        assert_eq!(notes.of(1).find::<&str>(), Some(&"text"));
        notes.of(0).take::<u32>();
        notes.of(1).take::<&str>();
        assert!(notes.is_empty());
    }

    #[test]
    fn metadata_is_merged_by_namespace() {
        let mut metadata = DynamicMetadata::new();
        assert!(metadata.all().is_empty());
        metadata.merge("a", [("x".to_owned(), Value::Bool(true))]);
        metadata.merge("a", [("y".to_owned(), Value::Null)]);
        let Value::Struct(fields) = &metadata.all()["a"] else { panic!("no struct") };
        assert_eq!(fields.len(), 2);
    }
}

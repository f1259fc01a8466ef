//! What a decoder reads, stated as a table beside it: message → fields.
//!
//! Names are checked against the descriptors when the set is built, so a typing error cannot turn a field into one that is
//! always reported, or a renamed field into one that nobody misses.

use std::collections::{HashMap, HashSet};

use prost_reflect::FieldDescriptor;

use crate::descriptors;

/// The fields that are read, per message.
#[derive(Clone, Debug, Default)]
pub struct ReadSet {
    messages: HashMap<String, Fields>,
}

#[derive(Clone, Debug)]
enum Fields {
    All,
    Some(HashSet<u32>),
}

/// A row of a table names something that the API does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadSetError {
    /// No message has this full name.
    #[error("there is no message {0}")]
    UnknownMessage(String),
    /// The message has no field of this name.
    #[error("message {message} has no field {field}")]
    UnknownField {
        /// The full name of the message.
        message: String,
        /// The name that it lacks.
        field: String,
    },
}

impl ReadSet {
    /// Builds the set from rows of a message's full name and the names of its fields that are read; `"*"` stands for all of them
    /// (those of sub-messages excepted: they have rows of their own). Rows for the same message add up.
    ///
    /// # Errors
    /// The first row that names a message or field which does not exist.
    pub fn new(table: &[(&str, &[&str])]) -> Result<Self, ReadSetError> {
        let mut set = Self::default();
        for (message, fields) in table {
            set.add(message, fields)?;
        }
        Ok(set)
    }

    /// Adds all that `other` reads.
    pub fn extend(&mut self, other: &Self) {
        for (message, fields) in &other.messages {
            match (self.messages.get_mut(message), fields) {
                (None, _) | (Some(_), Fields::All) => drop(self.messages.insert(message.clone(), fields.clone())),
                (Some(Fields::Some(mine)), Fields::Some(theirs)) => mine.extend(theirs),
                (Some(Fields::All), Fields::Some(_)) => {}
            }
        }
    }

    /// Whether this field is read.
    #[must_use]
    pub fn contains(&self, field: &FieldDescriptor) -> bool {
        match self.messages.get(field.parent_message().full_name()) {
            None => false,
            Some(Fields::All) => true,
            Some(Fields::Some(numbers)) => numbers.contains(&field.number()),
        }
    }

    fn add(&mut self, message: &str, fields: &[&str]) -> Result<(), ReadSetError> {
        let descriptor =
            descriptors::message(message).ok_or_else(|| ReadSetError::UnknownMessage(message.to_owned()))?;
        let row = self.messages.entry(message.to_owned()).or_insert_with(|| Fields::Some(HashSet::new()));
        for &field in fields {
            if field == "*" {
                *row = Fields::All;
                continue;
            }
            let number = descriptor
                .get_field_by_name(field)
                .ok_or_else(|| ReadSetError::UnknownField { message: message.to_owned(), field: field.to_owned() })?
                .number();
            if let Fields::Some(numbers) = row {
                numbers.insert(number);
            }
        }
        Ok(())
    }
}

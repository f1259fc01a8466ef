//! What is wrong with a JSON document, or with a message to be printed, and where.

use crate::path::FieldPath;

/// A conversion that failed: `virtual_hosts[0].routes[1].weight: expected an unsigned integer, got a string`.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonError {
    /// Where, in protobuf field names; empty for the message itself.
    pub path: String,
    /// What.
    pub problem: Problem,
}

/// What is wrong at one place.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// No message has this full name.
    #[error("type {0:?} is unknown")]
    UnknownMessage(String),
    /// The message has no such field; the path ends with its name.
    #[error("unknown field of {message}")]
    UnknownField {
        /// The full name of the message.
        message: String,
    },
    /// A JSON value of another kind than the field takes.
    #[error("expected {expected}, got {found}")]
    Kind {
        /// What the field takes.
        expected: &'static str,
        /// What kind of JSON value was given.
        found: &'static str,
    },
    /// A value of the right kind that the field cannot take; the text says which and why.
    #[error("{0}")]
    Value(String),
    /// Two fields exclude each other.
    #[error("excludes {other} (oneof {oneof})")]
    Oneof {
        /// The choice that both belong to.
        oneof: String,
        /// The other field that was given.
        other: String,
    },
    /// The same field under both of its names.
    #[error("given twice")]
    Twice,
    /// An `Any` without its `@type`.
    #[error("\"@type\" is required")]
    MissingType,
    /// Nested deeper than [`crate::MAX_DEPTH`].
    #[error("nested too deeply")]
    TooDeep,
    /// The bytes are not such a message.
    #[error("malformed message: {0}")]
    Malformed(#[source] prost::DecodeError),
}

impl JsonError {
    pub(super) fn new(path: &FieldPath<'_>, problem: Problem) -> Self {
        Self {
            path: path.to_string(),
            problem,
        }
    }
}

impl std::fmt::Display for JsonError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        self.problem.fmt(f)
    }
}

impl std::error::Error for JsonError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The problem is part of this level's text; what lies below it is the source.
        self.problem.source()
    }
}

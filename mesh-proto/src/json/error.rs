//! What is wrong with a JSON document, or with a message to be printed, and where.

use serde_json::Value;

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
        Self { path: path.to_string(), problem }
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

/// A JSON value of the wrong kind.
pub(super) fn wrong(path: &FieldPath<'_>, expected: &'static str, json: &Value) -> JsonError {
    let found = match json {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    JsonError::new(path, Problem::Kind { expected, found })
}

/// Text of the right kind that does not say what it should.
pub(super) fn invalid(path: &FieldPath<'_>, text: &str, expected: &str) -> JsonError {
    // Long values are cut, lest a whole file ends up in a message.
    let shown: String = text.chars().take(80).collect();
    JsonError::new(path, Problem::Value(format!("{shown:?} is not {expected}")))
}

/// A number or string that is not what is expected is shown; of anything else the kind is named.
pub(super) fn wrong_or_invalid(path: &FieldPath<'_>, expected: &'static str, json: &Value) -> JsonError {
    match json {
        Value::Number(number) => invalid(path, &number.to_string(), expected),
        Value::String(text) => invalid(path, text, expected),
        _ => wrong(path, expected, json),
    }
}

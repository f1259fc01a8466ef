//! Why a resource was refused: the resource, the path of the field, the problem.
//!
//! One refusal never takes its siblings along; whoever refuses keeps the last good version in force.

use std::fmt;

use super::ResourceName;

/// A refusal: `RouteConfiguration/9080: virtual_hosts[0].routes[1].match: ...`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{resource}: {field}: {problem}")]
pub struct Invalid {
    /// What was refused.
    pub resource: ResourceName,
    /// Where in it, in protobuf field names.
    pub field: FieldPath,
    /// What is wrong there.
    pub problem: Problem,
}

impl Invalid {
    /// Refuses `resource` because of `field`.
    pub fn new(resource: ResourceName, field: impl Into<FieldPath>, problem: impl Into<Problem>) -> Self {
        Self { resource, field: field.into(), problem: problem.into() }
    }
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A required field is absent.
    #[error("is required")]
    Missing,
    /// A value outside of what the field allows; the text says which value and what is allowed.
    #[error("{0}")]
    Value(String),
    /// Something that another part of the configuration contradicts.
    #[error("{0}")]
    Conflict(String),
    /// Something valid that this version cannot do and must not ignore.
    #[error("{0} is not supported")]
    Unsupported(String),
}

impl From<String> for Problem {
    fn from(text: String) -> Self {
        Self::Value(text)
    }
}

impl From<&str> for Problem {
    fn from(text: &str) -> Self {
        Self::Value(text.to_owned())
    }
}

/// The path of a field inside a resource: `virtual_hosts[0].routes[1].route.timeout`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldPath(String);

impl FieldPath {
    /// The resource itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// This path extended by a field name.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.to_owned()) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// This path extended by an index into a repeated field.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// This path extended by the key of a map: `typed_per_filter_config["cors"]`.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key:?}]", self.0))
    }

    /// The path as text; empty for the resource itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(resource)" } else { &self.0 })
    }
}

impl From<&str> for FieldPath {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for FieldPath {
    fn from(text: String) -> Self {
        Self(text)
    }
}

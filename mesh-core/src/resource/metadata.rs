//! `envoy.config.core.v3.Metadata`: free-form values by namespace, as routes, clusters and endpoints carry them.

use std::collections::BTreeMap;

/// Values by filter namespace, e.g. `istio` or `envoy.lb`.
pub type Metadata = BTreeMap<String, Value>;

/// A `google.protobuf.Value`.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Value {
    /// `null`.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// Any number.
    Number(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Self>),
    /// A struct.
    Struct(BTreeMap<String, Self>),
}

impl Value {
    /// The value at `path` inside nested structs.
    #[must_use]
    pub fn at<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Option<&Self> {
        path.into_iter().try_fold(self, |value, key| match value {
            Self::Struct(fields) => fields.get(key),
            _ => None,
        })
    }

    /// The text, if this is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

//! Headers added to and removed from requests and responses: `HeaderValueOption` and the four
//! `*_headers_to_*` lists that occur at every level of a route configuration.
//!
//! As configured: values are text with format operators; [`crate::engine::headers`] compiles and applies them.

use super::matcher::StringMatcher;

/// What one level does to the headers of one direction. The removals happen first.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HeaderMutations {
    /// `*_headers_to_add`, in order.
    pub add: Vec<HeaderValueOption>,
    /// `*_headers_to_remove`.
    pub remove: Vec<String>,
    /// `remove_on_match`: every header whose name, in lower case, matches. Only lists of `HeaderMutation`s have it.
    pub remove_matching: Vec<StringMatcher>,
}

impl HeaderMutations {
    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty() && self.remove_matching.is_empty()
    }
}

/// `envoy.config.core.v3.HeaderValueOption`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderValueOption {
    /// The header.
    pub key: String,
    /// Its value, which may contain operators such as `%REQ(x-request-id)%`.
    pub value: String,
    /// What happens when the header is there already, or is not.
    pub append_action: AppendAction,
    /// Whether an empty value is set; by default nothing is added then.
    pub keep_empty_value: bool,
}

impl HeaderValueOption {
    /// An addition with this action that leaves empty values out.
    pub fn new(key: impl Into<String>, value: impl Into<String>, append_action: AppendAction) -> Self {
        Self { key: key.into(), value: value.into(), append_action, keep_empty_value: false }
    }
}

/// `HeaderValueOption.HeaderAppendAction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum AppendAction {
    /// Another value beside those that are there.
    #[default]
    AppendIfExistsOrAdd,
    /// Only when the header is absent.
    AddIfAbsent,
    /// The only value, whether or not the header was there.
    OverwriteIfExistsOrAdd,
    /// The only value, and only when the header was there.
    OverwriteIfExists,
}

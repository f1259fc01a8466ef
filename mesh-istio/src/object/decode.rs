//! From a tree to typed values, by the proto3 JSON mapping as Istio applies it.
//!
//! Every problem is kept with its path and line, and reading goes on, so that a user sees all of them at once. Unknown fields are
//! problems of their own sort: the caller decides whether they refuse. What values mean is not judged here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::node::{Node, Value};
use crate::finding::code;

/// Something that does not decode.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) code: &'static str,
    pub(crate) field: String,
    pub(crate) line: u32,
    pub(crate) reason: String,
}

/// Where in the tree we are, and what was wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    path: String,
    pub(crate) problems: Vec<Problem>,
}

impl Cursor {
    pub(crate) fn report(&mut self, node: &Node, code: &'static str, reason: impl Into<String>) {
        self.problems.push(Problem { code, field: self.path.clone(), line: node.line, reason: reason.into() });
    }

    fn wrong_type<T>(&mut self, node: &Node, wanted: &str) -> Option<T> {
        self.report(node, code::WRONG_TYPE, format!("expected {wanted}, found {}", node.describe()));
        None
    }

    /// Decodes `node`, which stands under `key` of where we are.
    pub(crate) fn enter<T: Decode>(&mut self, key: &str, node: &Node) -> Option<T> {
        let before = self.path.len();
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(key);
        let value = T::decode(node, self);
        self.path.truncate(before);
        value
    }

    /// Reports a field that no message has.
    pub(crate) fn unknown(&mut self, key: &str, node: &Node) {
        self.enter::<Unknown>(key, node);
    }

    fn enter_index<T: Decode>(&mut self, index: &dyn std::fmt::Display, node: &Node) -> Option<T> {
        let before = self.path.len();
        // Writing into a String cannot fail.
        let _ = write!(self.path, "[{index}]");
        let value = T::decode(node, self);
        self.path.truncate(before);
        value
    }

    /// The fields of a message; a problem when the node is not a map.
    pub(crate) fn fields<'a>(&mut self, node: &'a Node) -> Option<Fields<'a>> {
        match &node.value {
            Value::Map(entries) => {
                Some(Fields { entries: entries.iter().map(|(key, value)| (key.as_str(), Some(value))).collect() })
            }
            _ => self.wrong_type(node, "a map"),
        }
    }
}

/// The fields of one message that were not taken yet.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    entries: Vec<(&'a str, Option<&'a Node>)>,
}

impl Fields<'_> {
    /// Takes the field of that proto name in lowerCamelCase, in snake_case, or by one of the exact aliases.
    pub(crate) fn take<T: Decode + Default>(&mut self, cursor: &mut Cursor, name: &str, aliases: &[&str]) -> T {
        let name = name.strip_prefix("r#").unwrap_or(name);
        let mut found: Option<T> = None;
        for (key, slot) in &mut self.entries {
            if !(same_field(key, name) || aliases.contains(key)) {
                continue;
            }
            let Some(node) = slot.take() else { continue };
            if node.value == Value::Null {
                continue;
            }
            if found.is_some() {
                cursor.enter::<Twice>(key, node);
            } else {
                found = cursor.enter(key, node);
            }
        }
        found.unwrap_or_default()
    }

    /// Reports what nobody took.
    pub(crate) fn finish(self, cursor: &mut Cursor) {
        for (key, node) in self.entries {
            if let Some(node) = node {
                cursor.unknown(key, node);
            }
        }
    }
}

/// Whether a key spells a proto field: `max_connections` is written `maxConnections` or `max_connections`.
fn same_field(key: &str, snake: &str) -> bool {
    if key == snake {
        return true;
    }
    let mut key = key.bytes();
    let mut upper = false;
    for byte in snake.bytes() {
        if byte == b'_' {
            upper = true;
            continue;
        }
        let wanted = if upper { byte.to_ascii_uppercase() } else { byte };
        upper = false;
        if key.next() != Some(wanted) {
            return false;
        }
    }
    key.next().is_none()
}

/// A value that can be read from a tree. `None` after a problem was reported.
pub(crate) trait Decode: Sized {
    fn decode(node: &Node, cursor: &mut Cursor) -> Option<Self>;

    /// Notes the messages that it consists of, with the names of their fields.
    fn messages(_: &mut Messages) {}
}

/// Messages by name with the proto names of their fields.
pub(crate) type Messages = BTreeMap<&'static str, &'static [&'static str]>;

/// Reports a field that no message has.
struct Unknown;

impl Decode for Unknown {
    fn decode(node: &Node, cursor: &mut Cursor) -> Option<Self> {
        cursor.report(node, code::UNKNOWN_FIELD, "unknown field");
        None
    }
}

/// Reports a field written in two spellings.
struct Twice;

impl Decode for Twice {
    fn decode(node: &Node, cursor: &mut Cursor) -> Option<Self> {
        cursor.report(node, code::WRONG_TYPE, "the same field is written twice, in two spellings");
        None
    }
}

/// Whatever stands there; for fields that are read by somebody else or by nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Anything;

impl Decode for Anything {
    fn decode(_: &Node, _: &mut Cursor) -> Option<Self> {
        Some(Self)
    }
}

impl Decode for String {
    fn decode(node: &Node, cursor: &mut Cursor) -> Option<Self> {
        match &node.value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => cursor.wrong_type(node, "a string (quote it)"),
            _ => cursor.wrong_type(node, "a string"),
        }
    }
}

impl Decode for bool {
    fn decode(node: &Node, cursor: &mut Cursor) -> Option<Self> {
        match node.value {
            Value::Bool(value) => Some(value),
            _ => cursor.wrong_type(node, "true or false"),
        }
    }
}

macro_rules! integers {
    ($($ty:ty),*) => {$(
        impl Decode for $ty {
            fn decode(node: &Node, cursor: &mut Cursor) -> Option<Self> {
                let value = match &node.value {
                    Value::Int(value) => Some(*value),
                    Value::Float(value) if value.fract() == 0.0 && value.abs() < 1e15 => format!("{value:.0}").parse().ok(),
                    // The JSON mapping quotes 64-bit numbers, and accepts quoted ones everywhere.
                    Value::String(text) => text.parse::<i128>().ok(),
                    _ => None,
                };
                let Some(value) = value else { return cursor.wrong_type(node, "a whole number") };
                match Self::try_from(value) {
                    Ok(value) => Some(value),
                    Err(_) => cursor.wrong_type(node, concat!("a number that fits ", stringify!($ty))),
                }
            }
        }
    )*};
}

integers!(i32, i64, u32, u64);

impl Decode for f64 {
    fn decode(node: &Node, cursor: &mut Cursor) -> Option<Self> {
        let value = match &node.value {
            // Whole numbers in a config are far below 2^53.
            Value::Int(value) => value.to_string().parse::<Self>().ok(),
            Value::Float(value) => Some(*value),
            Value::String(text) => text.parse::<Self>().ok(),
            _ => None,
        };
        match value {
            Some(value) if value.is_finite() => Some(value),
            _ => cursor.wrong_type(node, "a number"),
        }
    }
}

impl Decode for Duration {
    fn decode(node: &Node, cursor: &mut Cursor) -> Option<Self> {
        let Value::String(text) = &node.value else {
            return cursor.wrong_type(node, "a duration such as \"5s\"");
        };
        let parsed = super::duration::parse(text);
        if parsed.is_none() {
            cursor.report(
                node,
                code::BAD_DURATION,
                format!("{text:?} is not a duration such as \"5s\", \"1.5s\" or \"1h30m\""),
            );
        }
        parsed
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node, cursor: &mut Cursor) -> Option<Self> {
        T::decode(node, cursor).map(Some)
    }

    fn messages(out: &mut Messages) {
        T::messages(out);
    }
}

impl<T: Decode> Decode for Box<T> {
    fn decode(node: &Node, cursor: &mut Cursor) -> Option<Self> {
        T::decode(node, cursor).map(Self::new)
    }

    fn messages(out: &mut Messages) {
        T::messages(out);
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, cursor: &mut Cursor) -> Option<Self> {
        let Value::List(items) = &node.value else {
            return cursor.wrong_type(node, "a list");
        };
        let mut out = Self::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            out.extend(cursor.enter_index::<T>(&index, item));
        }
        Some(out)
    }

    fn messages(out: &mut Messages) {
        T::messages(out);
    }
}

impl<T: Decode> Decode for BTreeMap<String, T> {
    fn decode(node: &Node, cursor: &mut Cursor) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            return cursor.wrong_type(node, "a map");
        };
        let mut out = Self::new();
        for (key, value) in entries {
            if let Some(value) = cursor.enter_index::<T>(key, value) {
                out.insert(key.clone(), value);
            }
        }
        Some(out)
    }

    fn messages(out: &mut Messages) {
        T::messages(out);
    }
}

/// How a text is compared: Istio's `StringMatch`. Regular expressions match the whole text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StringMatch {
    /// Nothing was said (`{}`): the header or parameter need only be there.
    Present,
    /// Equal.
    Exact(String),
    /// Starts with.
    Prefix(String),
    /// Matches as a whole (RE2 syntax).
    Regex(String),
}

impl StringMatch {
    /// Whether only presence is asked for: `{}` or the regular expression `*`.
    pub(crate) fn is_present(&self) -> bool {
        match self {
            Self::Present => true,
            Self::Regex(regex) => regex == "*",
            Self::Exact(_) | Self::Prefix(_) => false,
        }
    }
}

impl Decode for StringMatch {
    fn messages(out: &mut Messages) {
        out.insert("StringMatch", &["exact", "prefix", "regex"]);
    }

    fn decode(node: &Node, cursor: &mut Cursor) -> Option<Self> {
        let mut fields = cursor.fields(node)?;
        let exact: Option<String> = fields.take(cursor, "exact", &[]);
        let prefix: Option<String> = fields.take(cursor, "prefix", &[]);
        let regex: Option<String> = fields.take(cursor, "regex", &[]);
        fields.finish(cursor);
        match (exact, prefix, regex) {
            (Some(text), None, None) => Some(Self::Exact(text)),
            (None, Some(text), None) => Some(Self::Prefix(text)),
            (None, None, Some(text)) => Some(Self::Regex(text)),
            (None, None, None) => Some(Self::Present),
            _ => {
                cursor.report(node, code::EXCLUSIVE, "only one of exact, prefix and regex may be set");
                None
            }
        }
    }
}

/// Declares a message: a struct whose fields are named as in the proto, and its decoding. `= ["alias"]` adds exact spellings.
macro_rules! message {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident : $ty:ty $(= [$($alias:literal),+])?,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name { $($(#[$field_meta])* pub $field: $ty,)* }

        impl $crate::object::decode::Decode for $name {
            fn decode(node: &$crate::object::node::Node, cursor: &mut $crate::object::decode::Cursor) -> Option<Self> {
                let mut fields = cursor.fields(node)?;
                let message = Self { $($field: fields.take(cursor, stringify!($field), &[$($($alias),+)?]),)* };
                fields.finish(cursor);
                Some(message)
            }

            fn messages(out: &mut $crate::object::decode::Messages) {
                if out.insert(stringify!($name), &[$(stringify!($field)),*]).is_none() {
                    $(<$ty as $crate::object::decode::Decode>::messages(out);)*
                }
            }
        }
    )*};
}

/// Declares an enum that is written by name or by number. The first value is the default.
macro_rules! enumeration {
    ($($(#[$meta:meta])* pub enum $name:ident { $(#[$first_meta:meta])* $first:ident = $first_number:literal $first_text:literal, $($(#[$value_meta:meta])* $value:ident = $number:literal $text:literal,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $(#[$first_meta])* #[default] $first, $($(#[$value_meta])* $value,)* }

        impl $crate::object::decode::Decode for $name {
            fn decode(node: &$crate::object::node::Node, cursor: &mut $crate::object::decode::Cursor) -> Option<Self> {
                use $crate::object::node::Value;
                match &node.value {
                    Value::String(text) => match text.as_str() {
                        $first_text => return Some(Self::$first),
                        $($text => return Some(Self::$value),)*
                        _ => {}
                    },
                    Value::Int($first_number) => return Some(Self::$first),
                    $(Value::Int($number) => return Some(Self::$value),)*
                    _ => {}
                }
                cursor.report(
                    node,
                    $crate::finding::code::WRONG_TYPE,
                    format!("expected one of {}, found {}", [$first_text, $($text),*].join(", "), node.describe()),
                );
                None
            }
        }
    )*};
}

pub(crate) use {enumeration, message};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    #![allow(unreachable_pub, reason = "the macros declare public types")]
    use super::super::node;
    use super::*;

    message! {
        /// For tests.
        pub struct Pool {
            /// Camel and snake.
            pub http1_max_pending_requests: i32,
            /// Digits.
            pub consecutive_5xx_errors: Option<u32>,
            /// Alias.
            pub cluster_ip: String = ["clusterIP"],
            /// Duration.
            pub idle_timeout: Option<Duration>,
            /// List.
            pub names: Vec<String>,
            /// Enum.
            pub colour: Colour,
        }
    }

    enumeration! {
        /// For tests.
        pub enum Colour {
            /// Default.
            Unset = 0 "UNSET",
            /// Other.
            Red = 1 "RED",
        }
    }

    fn decode(text: &str) -> (Option<Pool>, Vec<String>) {
        let node = node::parse(&node::documents(text)[0]).unwrap();
        let mut cursor = Cursor::default();
        let pool = cursor.enter("spec", &node);
        let problems = cursor.problems.iter().map(|p| format!("{} {} {}", p.line, p.code, p.field)).collect();
        (pool, problems)
    }

    #[test]
    fn both_spellings_aliases_quoted_numbers_and_enum_numbers_are_read() {
        let (pool, problems) = decode(
            "http1MaxPendingRequests: '7'\nconsecutive_5xx_errors: 0\nclusterIP: None\nidleTimeout: 1m\ncolour: 1\n",
        );
        assert_eq!(problems, Vec::<String>::new());
        let pool = pool.unwrap();
        assert_eq!(pool.http1_max_pending_requests, 7);
        assert_eq!(pool.consecutive_5xx_errors, Some(0));
        assert_eq!(pool.cluster_ip, "None");
        assert_eq!(pool.idle_timeout, Some(Duration::from_secs(60)));
        assert_eq!(pool.colour, Colour::Red);
    }

    #[test]
    fn null_is_unset_and_unset_is_not_zero() {
        let (pool, problems) = decode("consecutive5xxErrors: null\nnames: null\n");
        assert!(problems.is_empty());
        assert_eq!(pool.unwrap(), Pool::default());
    }

    #[test]
    fn every_problem_is_reported_with_path_and_line() {
        let (_, problems) =
            decode("http1MaxPendingRequests: lots\nnames: [a, 1]\nidleTimeout: 5\ncolour: BLUE\nmystery: 1\n");
        assert_eq!(
            problems,
            [
                "1 WRONG_TYPE spec.http1MaxPendingRequests",
                "3 WRONG_TYPE spec.idleTimeout",
                "2 WRONG_TYPE spec.names[1]",
                "4 WRONG_TYPE spec.colour",
                "5 UNKNOWN_FIELD spec.mystery"
            ]
        );
    }

    #[test]
    fn a_field_in_two_spellings_is_a_problem() {
        let (_, problems) = decode("idleTimeout: 1s\nidle_timeout: 2s\n");
        assert_eq!(problems, ["2 WRONG_TYPE spec.idle_timeout"]);
    }
}

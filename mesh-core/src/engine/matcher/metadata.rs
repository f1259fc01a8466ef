//! A compiled `MetadataMatcher` with its `ValueMatcher`.

use std::fmt;

use super::StringMatch;
use crate::resource::Problem;
use crate::resource::matcher::{MetadataMatcher, ValueMatcher};
use crate::resource::metadata::{Metadata, Value};

/// Looks for a value in metadata. Never allocates.
#[derive(Clone, Debug)]
pub struct MetadataMatch {
    filter: Box<str>,
    path: Box<[Box<str>]>,
    value: ValueMatch,
    invert: bool,
}

#[derive(Clone, Debug)]
enum ValueMatch {
    Null,
    Double(f64),
    DoubleRange(f64, f64),
    String(StringMatch),
    Bool(bool),
    Present(bool),
    ListOneOf(Box<Self>),
    Or(Box<[Self]>),
}

impl MetadataMatch {
    /// Compiles a matcher.
    ///
    /// # Errors
    /// No namespace, no path, or a string matcher that does not compile.
    pub fn compile(matcher: &MetadataMatcher) -> Result<Self, Problem> {
        if matcher.filter.is_empty() || matcher.path.is_empty() || matcher.path.iter().any(String::is_empty) {
            return Err(Problem::from("needs a filter and a path without empty keys"));
        }
        Ok(Self {
            filter: matcher.filter.as_str().into(),
            path: matcher.path.iter().map(|key| key.as_str().into()).collect(),
            value: ValueMatch::compile(&matcher.value, 0)?,
            invert: matcher.invert,
        })
    }

    /// Whether the metadata matches.
    #[must_use]
    pub fn matches(&self, metadata: &Metadata) -> bool {
        let value = metadata.get(&*self.filter).and_then(|value| value.at(self.path.iter().map(|key| &**key)));
        self.value.matches(value) != self.invert
    }
}

impl fmt::Display for MetadataMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metadata {}:{}{}", self.filter, self.path.join(":"), if self.invert { " (inverted)" } else { "" })
    }
}

/// How deep value matchers may nest: deeper ones would only cost stack.
const MAX_DEPTH: usize = 32;

impl ValueMatch {
    fn compile(matcher: &ValueMatcher, depth: usize) -> Result<Self, Problem> {
        if depth > MAX_DEPTH {
            return Err(Problem::from("nests too deep"));
        }
        Ok(match matcher {
            ValueMatcher::Null => Self::Null,
            ValueMatcher::Double(number) => Self::Double(*number),
            ValueMatcher::DoubleRange { start, end } => Self::DoubleRange(*start, *end),
            ValueMatcher::String(string) => Self::String(StringMatch::compile(string)?),
            ValueMatcher::Bool(bool) => Self::Bool(*bool),
            ValueMatcher::Present(present) => Self::Present(*present),
            ValueMatcher::ListOneOf(one) => Self::ListOneOf(Box::new(Self::compile(one, depth + 1)?)),
            ValueMatcher::Or(several) => {
                Self::Or(several.iter().map(|one| Self::compile(one, depth + 1)).collect::<Result<_, _>>()?)
            }
        })
    }

    fn matches(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Self::Or(several), value) => several.iter().any(|one| one.matches(value)),
            (Self::Null, Some(Value::Null)) => true,
            // Equal as Envoy compares doubles: exactly.
            (Self::Double(wanted), Some(Value::Number(number))) => number.total_cmp(wanted).is_eq() || number == wanted,
            (Self::DoubleRange(start, end), Some(Value::Number(number))) => (*start..*end).contains(number),
            (Self::String(string), Some(Value::Text(text))) => string.matches(text.as_bytes()),
            (Self::Bool(wanted), Some(Value::Bool(bool))) => wanted == bool,
            (Self::Present(present), Some(_)) => *present,
            (Self::ListOneOf(one), Some(Value::List(list))) => list.iter().any(|value| one.matches(Some(value))),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::matcher::StringMatcher;

    fn check(value: ValueMatcher, invert: bool, path: &[&str]) -> bool {
        let inner = [
            ("s", Value::Text("v".into())),
            ("n", Value::Number(5.0)),
            ("b", Value::Bool(true)),
            ("l", Value::List(vec![Value::Number(1.0)])),
            ("z", Value::Null),
        ];
        let inner = Value::Struct(inner.map(|(key, value)| (key.to_owned(), value)).into());
        let metadata = Metadata::from([("ns".to_owned(), inner)]);
        let path = path.iter().map(|&key| key.to_owned()).collect();
        MetadataMatch::compile(&MetadataMatcher { filter: "ns".into(), path, value, invert })
            .unwrap()
            .matches(&metadata)
    }

    #[test]
    fn each_kind_of_value_is_matched_by_its_kind_only() {
        let text = || ValueMatcher::String(StringMatcher::exact("v"));
        assert!(check(text(), false, &["s"]) && !check(text(), false, &["n"]));
        assert!(
            check(ValueMatcher::Double(5.0), false, &["n"])
                && check(ValueMatcher::DoubleRange { start: 5.0, end: 6.0 }, false, &["n"])
        );
        assert!(!check(ValueMatcher::DoubleRange { start: 4.0, end: 5.0 }, false, &["n"]));
        assert!(check(ValueMatcher::Bool(true), false, &["b"]) && check(ValueMatcher::Null, false, &["z"]));
        assert!(check(ValueMatcher::ListOneOf(Box::new(ValueMatcher::Double(1.0))), false, &["l"]));
        assert!(check(ValueMatcher::Or(vec![ValueMatcher::Null, text()]), false, &["s"]));
    }

    #[test]
    fn a_missing_value_matches_only_inverted() {
        assert!(
            !check(ValueMatcher::Present(true), false, &["nope"])
                && check(ValueMatcher::Present(true), true, &["nope"])
        );
        assert!(!check(ValueMatcher::Null, false, &["s", "deeper"]));
    }
}

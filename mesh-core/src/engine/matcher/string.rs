//! A compiled `StringMatcher`.

use std::fmt;

use super::FullMatch;
use crate::resource::Problem;
use crate::resource::matcher::{StringMatcher, StringPattern};

/// Compares text as configured. Never allocates.
#[derive(Clone, Debug)]
pub struct StringMatch {
    kind: Kind,
    ignore_case: bool,
}

#[derive(Clone, Debug)]
enum Kind {
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Contains(Box<[u8]>),
    Regex(FullMatch),
}

impl StringMatch {
    /// Compiles a matcher.
    ///
    /// # Errors
    /// An empty prefix, suffix or part; a regular expression that does not compile.
    pub fn compile(matcher: &StringMatcher) -> Result<Self, Problem> {
        let bytes = |text: &String| -> Box<[u8]> { text.as_bytes().into() };
        let some = |text: &String, field: &str| {
            if text.is_empty() { Err(Problem::Value(format!("{field} must not be empty"))) } else { Ok(bytes(text)) }
        };
        let kind = match &matcher.pattern {
            StringPattern::Exact(text) => Kind::Exact(bytes(text)),
            StringPattern::Prefix(text) => Kind::Prefix(some(text, "prefix")?),
            StringPattern::Suffix(text) => Kind::Suffix(some(text, "suffix")?),
            StringPattern::Contains(text) => Kind::Contains(some(text, "contains")?),
            StringPattern::SafeRegex(pattern) => Kind::Regex(FullMatch::compile(pattern)?),
        };
        Ok(Self { kind, ignore_case: matcher.ignore_case })
    }

    /// Whether `text` matches.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        let same = |a: &[u8], b: &[u8]| if self.ignore_case { a.eq_ignore_ascii_case(b) } else { a == b };
        match &self.kind {
            Kind::Exact(pattern) => same(text, pattern),
            Kind::Prefix(pattern) => text.get(..pattern.len()).is_some_and(|head| same(head, pattern)),
            Kind::Suffix(pattern) => {
                text.len().checked_sub(pattern.len()).is_some_and(|from| same(&text[from..], pattern))
            }
            Kind::Contains(pattern) => text.windows(pattern.len()).any(|part| same(part, pattern)),
            Kind::Regex(regex) => regex.matches(text),
        }
    }
}

impl fmt::Display for StringMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (form, text) = match &self.kind {
            Kind::Exact(text) => ("exact", &**text),
            Kind::Prefix(text) => ("prefix", &**text),
            Kind::Suffix(text) => ("suffix", &**text),
            Kind::Contains(text) => ("contains", &**text),
            Kind::Regex(regex) => return write!(f, "safe_regex {:?}", regex.source()),
        };
        write!(f, "{form} {:?}{}", String::from_utf8_lossy(text), if self.ignore_case { " in any case" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(pattern: StringPattern, ignore_case: bool) -> Result<StringMatch, Problem> {
        StringMatch::compile(&StringMatcher { pattern, ignore_case })
    }

    #[test]
    fn every_form_compares_its_part_of_the_text() {
        use StringPattern::{Contains, Exact, Prefix, SafeRegex, Suffix};
        let table: [(StringPattern, bool, &str, bool); 14] = [
            (Exact("v".into()), false, "v", true),
            (Exact("v".into()), false, "V", false),
            (Exact("v".into()), true, "V", true),
            (Exact(String::new()), false, "", true),
            (Prefix("ab".into()), false, "abc", true),
            (Prefix("ab".into()), false, "a", false),
            (Prefix("FO".into()), true, "foo", true),
            (Suffix("bc".into()), false, "abc", true),
            (Suffix("bc".into()), false, "bcd", false),
            (Suffix("BC".into()), true, "abc", true),
            (Contains("FoO".into()), true, "xfoox", true),
            (Contains("foo".into()), false, "fo", false),
            (SafeRegex("a|b".into()), false, "b", true),
            (SafeRegex("a".into()), true, "A", false),
        ];
        for (pattern, ignore_case, text, expected) in table {
            assert_eq!(
                matcher(pattern.clone(), ignore_case).unwrap().matches(text.as_bytes()),
                expected,
                "{pattern:?} {text}"
            );
        }
    }

    #[test]
    fn empty_parts_are_refused() {
        for pattern in [
            StringPattern::Prefix(String::new()),
            StringPattern::Suffix(String::new()),
            StringPattern::Contains(String::new()),
        ] {
            assert!(matcher(pattern.clone(), false).is_err(), "{pattern:?}");
        }
    }
}

//! Matchers that many resources share: `StringMatcher`, `HeaderMatcher`, `MetadataMatcher`, `ValueMatcher`.
//!
//! As configured: regular expressions are text here; the engines compile them (and refuse them) once.
//! Follows `envoy.type.matcher.v3` and `envoy.config.route.v3.HeaderMatcher`.

/// `envoy.type.matcher.v3.StringMatcher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringMatcher {
    /// What is compared, and how.
    pub pattern: StringPattern,
    /// Compare without ASCII case; a regular expression is not affected.
    pub ignore_case: bool,
}

impl StringMatcher {
    /// A case-sensitive matcher.
    #[must_use]
    pub const fn new(pattern: StringPattern) -> Self {
        Self { pattern, ignore_case: false }
    }

    /// A case-sensitive exact matcher.
    pub fn exact(text: impl Into<String>) -> Self {
        Self::new(StringPattern::Exact(text.into()))
    }
}

/// `StringMatcher.match_pattern`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StringPattern {
    /// The whole text.
    Exact(String),
    /// How it starts.
    Prefix(String),
    /// How it ends.
    Suffix(String),
    /// What it contains.
    Contains(String),
    /// A regular expression (RE2 syntax) for the whole text.
    SafeRegex(String),
}

/// `envoy.config.route.v3.HeaderMatcher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatcher {
    /// The header, pseudo headers such as `:method` included.
    pub name: String,
    /// What its value must be.
    pub specifier: HeaderSpecifier,
    /// `invert_match`: flips the comparison, not the rule for a missing header.
    pub invert_match: bool,
    /// `treat_missing_header_as_empty`: a missing header has the value "".
    pub treat_missing_header_as_empty: bool,
}

impl HeaderMatcher {
    /// A matcher that is neither inverted nor treats missing headers as empty.
    pub fn new(name: impl Into<String>, specifier: HeaderSpecifier) -> Self {
        Self { name: name.into(), specifier, invert_match: false, treat_missing_header_as_empty: false }
    }
}

/// `HeaderMatcher.header_match_specifier`; the deprecated forms are the same `String` patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderSpecifier {
    /// `present_match`: there (true) or not there (false). Without any specifier it is `Present(true)`.
    Present(bool),
    /// `range_match`: a base-10 integer in `start..end`.
    Range {
        /// First value that matches.
        start: i64,
        /// First value beyond.
        end: i64,
    },
    /// `string_match`.
    String(StringMatcher),
}

/// `envoy.type.matcher.v3.MetadataMatcher`.
#[derive(Clone, Debug, PartialEq)]
pub struct MetadataMatcher {
    /// The namespace (`filter`).
    pub filter: String,
    /// Keys to go down by.
    pub path: Vec<String>,
    /// What must be found there.
    pub value: ValueMatcher,
    /// Matches when the value does not.
    pub invert: bool,
}

/// `envoy.type.matcher.v3.ValueMatcher`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ValueMatcher {
    /// The value is null.
    Null,
    /// The value is this number.
    Double(f64),
    /// The value is a number in `start..end`.
    DoubleRange {
        /// First value that matches.
        start: f64,
        /// First value beyond.
        end: f64,
    },
    /// The value is a text that matches.
    String(StringMatcher),
    /// The value is this boolean.
    Bool(bool),
    /// The value is there (true). `false` never matches, as in Envoy.
    Present(bool),
    /// The value is a list, and one of its members matches.
    ListOneOf(Box<Self>),
    /// One of these matches.
    Or(Vec<Self>),
}

//! Matchers in compiled form: strings, headers, metadata, regular expressions.
//!
//! Shared by routes, retry policies and filters. A regular expression is matched only through
//! [`FullMatch`], so that nobody matches a part of a text by accident. Follows `envoy.type.matcher.v3`,
//! `envoy.config.route.v3.HeaderMatcher` and RE2's syntax.

mod header;
mod metadata;
mod re2;
mod regex;
mod string;

pub use self::header::{HeaderKey, HeaderMatch, HeaderSource, ResponseHead};
pub use self::metadata::MetadataMatch;
pub use self::regex::{FullMatch, MAX_COMPILED_BYTES, Rewrite};
pub use self::string::StringMatch;

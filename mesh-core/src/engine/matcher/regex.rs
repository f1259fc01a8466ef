//! Regular expressions, bounded in size, matched against the whole text or used to rewrite it.
//!
//! Envoy's `RegexMatcher` and `RegexMatchAndSubstitute` on RE2: linear time, no back references.

use regex::bytes::{Regex, RegexBuilder};

use super::re2;
use crate::resource::Problem;
use crate::resource::route::RegexRewrite;

/// Largest compiled program, in bytes. A larger one is refused.
pub const MAX_COMPILED_BYTES: usize = 1 << 20;

fn compile(pattern: &str, translated: &str) -> Result<Regex, Problem> {
    RegexBuilder::new(translated).size_limit(MAX_COMPILED_BYTES).build().map_err(|error| {
        let why = match error {
            regex::Error::CompiledTooBig(_) => "is over 1 MiB when compiled".to_owned(),
            // The last line says what; the ones before draw the pattern, over several lines.
            other => {
                format!("is no regular expression: {}", other.to_string().lines().last().unwrap_or_default().trim())
            }
        };
        Problem::Value(format!("{:?} {why}", shortened(pattern)))
    })
}

/// The beginning of a pattern: a message must not repeat a megabyte.
fn shortened(pattern: &str) -> String {
    let mut short: String = pattern.chars().take(120).collect();
    if short.len() < pattern.len() {
        short.push('…');
    }
    short
}

/// A regular expression that matches a whole text or not at all.
#[derive(Clone, Debug)]
pub struct FullMatch {
    regex: Regex,
    source: Box<str>,
}

impl FullMatch {
    /// Compiles RE2 syntax.
    ///
    /// # Errors
    /// Not RE2 syntax, or over [`MAX_COMPILED_BYTES`].
    pub fn compile(pattern: &str) -> Result<Self, Problem> {
        let translated = re2::translate(pattern)
            .map_err(|why| Problem::Value(format!("{:?} is no regular expression: {why}", shortened(pattern))))?;
        let regex = compile(pattern, &format!(r"\A(?:{translated})\z"))?;
        Ok(Self { regex, source: pattern.into() })
    }

    /// Whether the whole text matches.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the one place: the pattern is anchored at both ends")]
    pub fn matches(&self, text: &[u8]) -> bool {
        self.regex.is_match(text)
    }

    /// The pattern as it was configured.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The groups of a text that matches as a whole: group 0 is the text.
    pub(crate) fn groups<'t>(&self, text: &'t [u8]) -> Option<regex::bytes::Captures<'t>> {
        self.regex.captures(text)
    }
}

/// A search that replaces every match.
#[derive(Clone, Debug)]
pub struct Rewrite {
    pattern: Regex,
    substitution: Box<[Piece]>,
}

#[derive(Clone, Debug)]
enum Piece {
    Text(Box<[u8]>),
    Group(usize),
}

impl Rewrite {
    /// Compiles a pattern and its substitution.
    ///
    /// # Errors
    /// As [`FullMatch::compile`]; a substitution with a group that the pattern lacks or a stray backslash.
    pub fn compile(rewrite: &RegexRewrite) -> Result<Self, Problem> {
        let translated = re2::translate(&rewrite.pattern).map_err(|why| {
            Problem::Value(format!("{:?} is no regular expression: {why}", shortened(&rewrite.pattern)))
        })?;
        let pattern = compile(&rewrite.pattern, &translated)?;
        let substitution = pieces(&rewrite.substitution, pattern.captures_len())?;
        Ok(Self { pattern, substitution })
    }

    /// The text with every match replaced.
    #[must_use]
    pub fn apply(&self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        let mut from = 0;
        for groups in self.pattern.captures_iter(text) {
            let Some(whole) = groups.get(0) else { continue };
            out.extend_from_slice(&text[from..whole.start()]);
            from = whole.end();
            for piece in &self.substitution {
                match piece {
                    Piece::Text(text) => out.extend_from_slice(text),
                    // A group that took no part is empty.
                    Piece::Group(group) => {
                        out.extend_from_slice(groups.get(*group).map_or(b"", |found| found.as_bytes()))
                    }
                }
            }
        }
        out.extend_from_slice(&text[from..]);
        out
    }
}

fn pieces(substitution: &str, groups: usize) -> Result<Box<[Piece]>, Problem> {
    let wrong = |why: &str| Problem::Value(format!("substitution {substitution:?}: {why}"));
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut chars = substitution.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            text.push(char);
            continue;
        }
        match chars.next() {
            Some('\\') => text.push('\\'),
            Some(digit @ '0'..='9') => {
                let group = digit as usize - '0' as usize;
                if group >= groups {
                    return Err(wrong(&format!("the pattern has no group {group}")));
                }
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text).into_bytes().into()));
                }
                pieces.push(Piece::Group(group));
            }
            _ => return Err(wrong("a backslash must be followed by a digit or a backslash")),
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text.into_bytes().into()));
    }
    Ok(pieces.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(pattern: &str, substitution: &str) -> Result<Rewrite, Problem> {
        Rewrite::compile(&RegexRewrite { pattern: pattern.to_owned(), substitution: substitution.to_owned() })
    }

    #[test]
    fn a_match_is_of_the_whole_text() {
        let digits = FullMatch::compile("/a[0-9]+|/b").unwrap();
        for (text, expected) in
            [("/a12", true), ("/b", true), ("/a12/x", false), ("x/a1", false), ("/bb", false), ("/a1\n", false)]
        {
            assert_eq!(digits.matches(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn flags_and_anchors_inside_stay_inside() {
        assert!(FullMatch::compile("(?i)abc").unwrap().matches(b"ABC"));
        assert!(FullMatch::compile("^/users/\\d+$").unwrap().matches(b"/users/1"));
        assert!(!FullMatch::compile("(?m)^a$").unwrap().matches(b"a\nb"));
    }

    #[test]
    fn a_pattern_cannot_close_the_group_it_is_put_in() {
        assert!(FullMatch::compile("a)|(?:b").is_err());
    }

    #[test]
    fn a_program_over_one_mebibyte_is_refused() {
        let problem = FullMatch::compile("(?:(?:[a-z]{100}){100}){100}").unwrap_err().to_string();
        assert!(problem.contains("1 MiB"), "{problem}");
    }

    #[test]
    fn rewriting_replaces_every_match_and_an_absent_group_is_empty() {
        assert_eq!(rewrite("a(b)?", "[\\1]").unwrap().apply(b"/ab/a/ab"), b"/[b]/[]/[b]");
        assert_eq!(rewrite("a", "\\0\\\\").unwrap().apply(b"xaa"), b"xa\\a\\");
        assert_eq!(rewrite("b*", "-").unwrap().apply(b"abc"), b"-a-c-");
    }

    #[test]
    fn a_substitution_with_an_unknown_group_or_a_stray_backslash_is_refused() {
        for (pattern, substitution) in [("a", "\\1"), ("a", "\\x"), ("a", "x\\"), ("(", "")] {
            assert!(rewrite(pattern, substitution).is_err(), "{pattern} {substitution}");
        }
    }
}

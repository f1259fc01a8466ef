//! YAML and JSON text as a tree in which every value knows its line.
//!
//! No meaning is given to anything here: types and fields are `decode`'s. Documents are cut at `---` before parsing, so
//! that a syntax error costs one document and not the file.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{NonFiniteFloatPolicy, Spanned};

/// Deepest nesting that is read. Kubernetes objects stay below 30, its schemas below 60.
const MAX_DEPTH: usize = 48;

/// A value and the line on which it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) line: u32,
    pub(crate) value: Value,
}

/// The shapes that YAML and JSON have in common.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    String(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// One document of a file: its text, and how many lines of the file come before it.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    pub(crate) text: &'a str,
    pub(crate) lines_before: u32,
}

impl Document<'_> {
    /// First line with content, counted from 1 in the file.
    pub(crate) fn first_line(&self) -> u32 {
        let blank = self.text.lines().take_while(|line| is_blank(line) || line.starts_with("---")).count();
        self.lines_before.saturating_add(u32::try_from(blank).unwrap_or(u32::MAX)).saturating_add(1)
    }
}

/// What went wrong in a document that is not YAML.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) line: u32,
    pub(crate) reason: String,
}

fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#') || line.starts_with('%')
}

/// Cuts a file into documents. A line that starts with `---` always separates: YAML allows it nowhere else.
pub(crate) fn documents(text: &str) -> Vec<Document<'_>> {
    let mut out = Vec::new();
    let mut start = 0;
    let mut lines_before = 0;
    let mut offset = 0;
    for (line_number, line) in (0u32..).zip(text.split_inclusive('\n')) {
        let body = line.trim_end_matches(['\n', '\r']);
        let separates = body == "---" || body.starts_with("--- ") || body.starts_with("---\t");
        let ends = body == "..." || body.starts_with("... ");
        if separates || ends {
            out.push(Document { text: &text[start..offset], lines_before });
            start = if ends { offset + line.len() } else { offset };
            lines_before = if ends { line_number + 1 } else { line_number };
        }
        offset += line.len();
    }
    out.push(Document { text: &text[start..], lines_before });
    out.retain(|document| document.text.lines().any(|line| !is_blank(line) && !matches!(line.trim_end(), "---")));
    out
}

/// Parses one document.
pub(crate) fn parse(document: &Document<'_>) -> Result<Node, SyntaxError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH, flow_nesting_limit: MAX_DEPTH },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        // No field takes one: the field says so, rather than the whole document.
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    };
    let mut node = match serde_saphyr::from_str_with_options::<Spanned<Node>>(document.text, options) {
        Ok(spanned) => located(spanned),
        Err(error) => {
            let line = error.location().map_or(1, |location| line_of(&location));
            return Err(SyntaxError {
                line: document.lines_before.saturating_add(line),
                reason: without_place(&error.without_snippet().to_string()),
            });
        }
    };
    node.shift(document.lines_before);
    Ok(node)
}

/// The parser counts lines within the document; ours count within the file and are said elsewhere.
fn without_place(reason: &str) -> String {
    reason.rsplit_once(" at line ").map_or(reason, |(before, _)| before).to_owned()
}

fn line_of(location: &serde_saphyr::Location) -> u32 {
    u32::try_from(location.line()).unwrap_or(u32::MAX).max(1)
}

fn located(spanned: Spanned<Node>) -> Node {
    Node { line: line_of(&spanned.referenced), ..spanned.value }
}

impl Node {
    fn shift(&mut self, lines: u32) {
        self.line = self.line.saturating_add(lines);
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.shift(lines)),
            Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| value.shift(lines)),
            _ => {}
        }
    }

    /// The value under a key, when this is a map that has it.
    pub(crate) fn field(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text, when this is a string.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// What the value is, for messages.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => format!("the boolean {value}"),
            Value::Int(value) => format!("the number {value}"),
            Value::Float(value) => format!("the number {value}"),
            Value::String(value) => format!("the string {value:?}"),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }

    /// Line of the value at a path such as `spec.http[0].route`, or of the deepest parent that exists.
    pub(crate) fn line_of(&self, path: &str) -> u32 {
        let mut at = self;
        for step in path.split('.') {
            let (key, indexes) = step.split_once('[').map_or((step, ""), |(key, rest)| (key, rest));
            let Some(next) = at.step(key) else {
                return at.line;
            };
            at = next;
            for index in indexes.split(['[', ']']).filter(|index| !index.is_empty()) {
                let next = match (&at.value, index.parse::<usize>()) {
                    (Value::List(items), Ok(index)) => items.get(index),
                    _ => at.field(index),
                };
                let Some(next) = next else { return at.line };
                at = next;
            }
        }
        at.line
    }

    /// A key in any of its accepted spellings.
    fn step(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else {
            return None;
        };
        let plain = |text: &str| text.replace('_', "").to_ascii_lowercase();
        let wanted = plain(key);
        entries.iter().find(|(name, _)| plain(name) == wanted).map(|(_, value)| value)
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor).map(|value| Self { line: 0, value })
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Int(value.into()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Spanned<Node>>()? {
            items.push(located(item));
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            entries.push((key, located(map.next_value::<Spanned<Node>>()?)));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;

    #[test]
    fn documents_are_cut_at_separators_and_know_where_they_start() {
        let text = "# licence\n---\na: 1\n---\n# nothing\n---\nb: 2\n...\nc: 3\n";
        let documents = documents(text);
        let first_lines: Vec<_> = documents.iter().map(Document::first_line).collect();
        assert_eq!(first_lines, [3, 7, 9]);
    }

    #[test]
    fn every_value_knows_its_line_in_the_file() {
        let text = "x: 0\n---\nspec:\n  http:\n  - name: a\n    route:\n    - weight: 5\n";
        let documents = documents(text);
        let node = parse(&documents[1]).unwrap();
        assert_eq!(node.line_of("spec.http[0].route[0].weight"), 7);
        assert_eq!(node.line_of("spec.http[0].timeout"), 5);
        assert_eq!(node.line_of("spec.tcp"), 4);
    }

    #[test]
    fn carriage_returns_are_line_ends() {
        let documents = documents("a: 1\r\n---\r\nb: x\r\n");
        assert_eq!(documents.len(), 2);
        assert_eq!(parse(&documents[1]).unwrap().field("b").unwrap().as_str(), Some("x"));
    }

    #[test]
    fn json_is_read_too() {
        let documents = documents("{\"a\": [1, \"two\", null, true, 1.5]}");
        let node = parse(&documents[0]).unwrap();
        let Value::List(items) = &node.field("a").unwrap().value else { panic!("a list") };
        assert_eq!(items.len(), 5);
        assert_eq!(items[2].value, Value::Null);
    }

    #[test]
    fn a_syntax_error_names_its_line_in_the_file() {
        let documents = documents("ok: 1\n---\nbad: [1,\nnext: 2\n");
        let error = parse(&documents[1]).unwrap_err();
        assert!((3..=5).contains(&error.line), "{error:?}");
    }

    #[test]
    fn nesting_without_end_is_an_error() {
        for bomb in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000)] {
            let documents = documents(&bomb);
            assert!(parse(&documents[0]).is_err());
        }
    }
}

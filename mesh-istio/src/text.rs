//! Configuration files that are no Istio objects, such as Envoy's own: one document of YAML or JSON, as a JSON value whose
//! parts know their lines.
//!
//! JSON is read as its authors write it: with comments (`//`, `/* */`, `#`) and trailing commas, which Envoy's
//! reader takes as well. What the document means is for whoever asked.

use std::fmt;

use serde_json::{Map, Number, Value as Json};

use crate::object::node::{self, Node, Value};

/// A document that was read.
#[derive(Clone, Debug)]
pub struct Text {
    root: Node,
}

/// Text that is neither YAML nor JSON, or not one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    /// The line, from 1.
    pub line: u32,
    /// Why.
    pub reason: String,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for TextError {}

impl Text {
    /// Reads one document.
    ///
    /// # Errors
    /// [`TextError`]: a syntax error, a key twice, nothing at all, or more than one document.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let plain = if is_json(text) { plain_json(text) } else { text.to_owned() };
        let documents = node::documents(&plain);
        match &documents[..] {
            [] => Err(TextError { line: 1, reason: "there is nothing in it".to_owned() }),
            [one] => match node::parse(one) {
                Ok(root @ Node { value: Value::Map(_), .. }) => Ok(Self { root }),
                Ok(other) => {
                    Err(TextError { line: other.line, reason: format!("expected a map, found {}", other.describe()) })
                }
                Err(error) => Err(TextError { line: error.line, reason: error.reason }),
            },
            [_, second, ..] => {
                Err(TextError { line: second.first_line(), reason: "more than one document".to_owned() })
            }
        }
    }

    /// The document's value.
    #[must_use]
    pub fn value(&self) -> Json {
        json(&self.root)
    }

    /// Line of the value at a path such as `static_resources.listeners[0].name`, or of the deepest parent that is there.
    #[must_use]
    pub fn line_of(&self, path: &str) -> u32 {
        self.root.line_of(path)
    }
}

fn json(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => number(*value),
        Value::Float(value) => Number::from_f64(*value).map_or(Json::Null, Json::Number),
        Value::String(value) => Json::String(value.clone()),
        Value::List(items) => Json::Array(items.iter().map(json).collect()),
        Value::Map(entries) => {
            Json::Object(entries.iter().map(|(key, value)| (key.clone(), json(value))).collect::<Map<_, _>>())
        }
    }
}

/// An integer; one that no field can hold stays recognisable as text.
fn number(value: i128) -> Json {
    match (u64::try_from(value), i64::try_from(value)) {
        (Ok(value), _) => value.into(),
        (_, Ok(value)) => value.into(),
        _ => Json::String(value.to_string()),
    }
}

/// Whether the first thing that is no comment opens a JSON object or list.
fn is_json(text: &str) -> bool {
    let mut rest = text.trim_start();
    loop {
        let after = match rest {
            _ if rest.starts_with("//") || rest.starts_with('#') => rest.split_once('\n').map(|(_, after)| after),
            _ if rest.starts_with("/*") => rest.split_once("*/").map(|(_, after)| after),
            _ => return rest.starts_with(['{', '[']),
        };
        let Some(after) = after else { return false };
        rest = after.trim_start();
    }
}

/// JSON without comments, tabs and trailing commas; every line stays where it was.
fn plain_json(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    // Where a comma stands behind which nothing has come yet.
    let mut comma = None;
    while let Some(&byte) = bytes.get(at) {
        let end = match byte {
            b'"' => {
                comma = None;
                let end = string_end(bytes, at);
                out.extend_from_slice(&bytes[at..end]);
                at = end;
                continue;
            }
            b'#' => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                let close = bytes[at + 2..].windows(2).position(|two| two == b"*/");
                close.map_or(bytes.len(), |close| at + 2 + close + 2)
            }
            _ => {
                match byte {
                    b',' => comma = Some(out.len()),
                    b']' | b'}' => {
                        if let Some(comma) = comma.take() {
                            out[comma] = b' ';
                        }
                    }
                    _ if byte.is_ascii_whitespace() => {}
                    _ => comma = None,
                }
                out.push(if byte == b'\t' { b' ' } else { byte });
                at += 1;
                continue;
            }
        };
        out.extend(bytes[at..end].iter().map(|byte| if matches!(byte, b'\n' | b'\r') { *byte } else { b' ' }));
        at = end;
    }
    // Whole characters were kept or replaced byte by byte with blanks, so that this is UTF-8 as before.
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn line_end(bytes: &[u8], start: usize) -> usize {
    bytes[start..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| start + length)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use serde_json::json;

    use super::*;

    #[test]
    fn json_may_have_comments_tabs_and_trailing_commas() {
        let text = "// what it is\n{\n\t\"a\": [1, 2,], /* two\n\tlines */ \"b\": \"// no comment, }\\\"#\", # the end\n\t\"c\": -3,\n}\n";
        let text = Text::parse(text).unwrap();
        assert_eq!(text.value(), json!({ "a": [1, 2], "b": "// no comment, }\"#", "c": -3 }));
        assert_eq!((text.line_of("a[1]"), text.line_of("b"), text.line_of("c")), (3, 4, 5));
    }

    #[test]
    fn yaml_is_read_with_the_lines_of_its_values() {
        let text = Text::parse("# Envoy\nstatic_resources:\n  listeners:\n  - name: a\n  clusters: []\n").unwrap();
        assert_eq!(text.value(), json!({ "static_resources": { "listeners": [{ "name": "a" }], "clusters": [] } }));
        assert_eq!(text.line_of("static_resources.listeners[0].name"), 4);
        assert_eq!(text.line_of("static_resources.listeners[0].address.port"), 4);
    }

    #[test]
    fn what_is_no_document_says_on_which_line() {
        for (text, line, reason) in [
            ("", 1, "nothing"),
            ("# only this\n", 1, "nothing"),
            ("a: 1\n---\nb: 2\n", 3, "more than one document"),
            ("{\n\"a\": 1,\n\"a\": 2\n}", 3, "duplicate"),
            ("{ \"a\": ", 1, ""),
            ("{ \"a\": \"open", 1, ""),
            ("/* open", 1, "expected a map"),
            ("- a\n", 1, "expected a map, found a list"),
        ] {
            let error = Text::parse(text).unwrap_err();
            assert!(error.line == line && error.reason.contains(reason), "{text:?}: {error}");
        }
    }
}

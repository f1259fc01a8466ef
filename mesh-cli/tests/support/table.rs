//! The page's tables: under a `## part`, the message in a `###` heading, and lines of fields, status and tests.

use std::fs;
use std::path::Path;

/// One line of a table.
#[derive(Debug)]
pub(super) struct Line {
    /// The full name in the heading above; empty when there is none.
    pub(super) message: String,
    pub(super) fields: Vec<String>,
    /// The first words of the second cell, up to a colon.
    pub(super) status: String,
    pub(super) tests: Vec<String>,
}

/// The lines of a part of the page.
pub(super) fn section(name: &str) -> Vec<Line> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/support.md");
    let text = fs::read_to_string(page).unwrap();
    let lines = parse(&text, name);
    assert!(!lines.is_empty(), "there is no part {name:?}");
    lines
}

fn parse(text: &str, name: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let (mut inside, mut message) = (false, String::new());
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            inside = heading == name;
            message.clear();
        } else if let Some(heading) = line.strip_prefix("### ") {
            message = quoted(heading).into_iter().next().unwrap_or_default();
        } else if inside && line.starts_with('|') {
            lines.extend(row(line, &message));
        }
    }
    lines
}

/// `| fields | status: more | tests |`; nothing for heads and rules of tables.
fn row(line: &str, message: &str) -> Option<Line> {
    let [fields, status, tests] = line.trim_matches('|').split('|').collect::<Vec<_>>()[..] else {
        panic!("not three cells: {line}")
    };
    let fields = quoted(fields);
    let status = status.split(':').next().unwrap_or_default().trim().to_owned();
    (!fields.is_empty()).then(|| Line { message: message.to_owned(), fields, status, tests: quoted(tests) })
}

/// Everything between backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn a_line_belongs_to_the_heading_above() {
    let text = "## A\n### `m`, words\n| Fields | Status | Tests |\n|---|---|---|\n| `a` `b` | in force: so | `t`, `u` |\n## B\n| `c` | x | |\n";
    let lines = parse(text, "A");
    assert_eq!(lines.len(), 1);
    let Line { message, fields, status, tests } = &lines[0];
    assert_eq!((message.as_str(), status.as_str(), fields.len(), tests.len()), ("m", "in force", 2, 2));
    assert_eq!(parse(text, "B")[0].message, "");
}

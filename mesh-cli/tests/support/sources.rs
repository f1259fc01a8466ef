//! The tests of the workspace, by name, as its sources declare them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Names of all functions marked as tests.
pub(super) fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        // Members, not build output.
        if path.is_dir() && !path.ends_with("target") && !path.file_name().unwrap().to_string_lossy().starts_with('.') {
            walk(&path, &mut names);
        }
    }
    names
}

fn walk(path: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            collect(&fs::read_to_string(&path).unwrap(), names);
        }
    }
}

fn collect(source: &str, names: &mut BTreeSet<String>) {
    let mut marked = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some(name) = function(line).filter(|_| marked) {
            names.insert(name.to_owned());
            marked = false;
        }
    }
}

fn function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    line.split_once('(').map(|(name, _)| name)
}

#[test]
fn tests_are_found_behind_attributes_and_comments() {
    let mut names = BTreeSet::new();
    collect(
        "#[test]\n#[cfg(unix)]\n    fn one() {\n}\n#[tokio::test(x)]\nasync fn two() {}\nfn three() {}",
        &mut names,
    );
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["one", "two"]);
}

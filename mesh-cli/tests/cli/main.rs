//! The `mesh` command from outside: what it prints and how it exits, on folders of our own.
#![allow(clippy::unwrap_used, reason = "a failing test is what unwrap is for")]

mod check;
mod conformance;
mod effect;
mod explain;
mod lower;
mod route_check;

use std::path::Path;
use std::process::Command;

/// What a run of the command gave.
struct Run {
    code: i32,
    out: String,
    err: String,
}

/// Runs `mesh` beside the folders, so that paths in its output are the same everywhere.
fn mesh(arguments: &[&str]) -> Run {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    let done = Command::new(env!("CARGO_BIN_EXE_mesh")).args(arguments).current_dir(here).output().unwrap();
    Run {
        code: done.status.code().unwrap(),
        out: String::from_utf8(done.stdout).unwrap(),
        err: String::from_utf8(done.stderr).unwrap(),
    }
}

/// A folder with one file in it.
fn folder(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mesh.yaml"), text).unwrap();
    folder
}

fn path(folder: &tempfile::TempDir) -> &str {
    folder.path().to_str().unwrap()
}

#[test]
fn wrong_usage_exits_with_2_and_prints_nothing_on_stdout() {
    let wrong: [&[&str]; 9] = [
        &[],
        &["check"],
        &["check", "shop", "--format", "xml"],
        &["explain", "shop", "GET"],
        &["explain", "shop", "GET", "reviews:9080"],
        &["explain", "shop", "GET", "http://reviews:9080/", "-H", "no colon"],
        &["explain", "shop", "GET", "http://reviews:9080/", "--labels", "app"],
        &["lower", "shop"],
        &["lower", "shop", "--node", "sidecar~nowhere~a.b~c"],
    ];
    for arguments in wrong {
        let run = mesh(arguments);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{arguments:?}");
        assert!(!run.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_folder_that_cannot_be_read_or_has_no_configuration_exits_with_2() {
    let run = mesh(&["check", "nowhere"]);
    assert_eq!((run.code, run.out.as_str()), (2, ""));
    assert!(run.err.starts_with("mesh: nowhere: "), "{}", run.err);
    let empty = tempfile::tempdir().unwrap();
    let run = mesh(&["explain", path(&empty), "GET", "http://reviews/"]);
    assert_eq!((run.code, run.out.as_str()), (2, ""));
    assert!(run.err.contains("no *.yaml, *.yml or *.json"), "{}", run.err);
}

#[test]
fn the_same_folder_gives_the_same_text_every_time() {
    for arguments in [&["check", "broken"][..], &["explain", "shop", "GET", "http://reviews:9080/"]] {
        let first = mesh(arguments);
        assert!((0..3).all(|_| mesh(arguments).out == first.out));
    }
}

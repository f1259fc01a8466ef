//! Finds the conformance data, which is no part of the project, and says how much of it was used.
//!
//! `MESH_CONFORMANCE_DATA` names its folder; unset (or `required`) it is `../shared/data` beside the project. Tests that do not
//! find it say so and pass, unless it is `required`.

use std::path::{Path, PathBuf};

/// A file or folder of the conformance data; `None` when it is not there.
///
/// # Panics
/// When it is required and not there.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    let given = std::env::var("MESH_CONFORMANCE_DATA").ok();
    let root = match given.as_deref() {
        None | Some("" | "required") => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        Some(path) => PathBuf::from(path),
    };
    let found = root.join(name);
    if found.exists() {
        return Some(found);
    }
    assert_ne!(given.as_deref(), Some("required"), "{} is required and not there", found.display());
    None
}

/// Prints how many cases ran and how many did not.
pub fn report(ran: usize, skipped: usize) {
    println!("conformance: {ran} ran, {skipped} skipped");
}

/// A fixture of the project's own.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

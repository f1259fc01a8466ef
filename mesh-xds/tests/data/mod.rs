//! Finds the conformance data, which is not part of the project, and says how much of it was used.
#![allow(dead_code, reason = "not every test needs all of it")]

use std::path::{Path, PathBuf};

/// A folder of the conformance data; `None` when it is not there, unless it is required to be.
pub(crate) fn folder(name: &str) -> Option<PathBuf> {
    let given = std::env::var("MESH_CONFORMANCE_DATA").ok();
    let root = match given.as_deref() {
        None | Some("" | "required") => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        Some(path) => PathBuf::from(path),
    };
    let folder = root.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    assert_ne!(given.as_deref(), Some("required"), "{} is required and not there", folder.display());
    None
}

/// Prints how many cases ran.
pub(crate) fn report(ran: usize, skipped: usize) {
    println!("conformance: {ran} ran, {skipped} skipped");
}

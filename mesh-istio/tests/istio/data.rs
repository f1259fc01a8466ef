//! Where conformance data is, and how to say that it is not there.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder `name` of the conformance data. `None` when there is none, which is a failure only if the data is required.
pub(crate) fn folder(name: &str) -> Option<PathBuf> {
    let given = std::env::var("MESH_CONFORMANCE_DATA").unwrap_or_default();
    let root = match given.as_str() {
        "" | "required" => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        path => PathBuf::from(path),
    };
    let folder = root.join(name);
    if folder.exists() {
        return Some(folder);
    }
    assert!(given != "required", "conformance data is required and {} is not there", folder.display());
    println!("conformance: 0 ran, 1 skipped (no {name})");
    None
}

/// Every file below `folder` whose name ends so, sorted, with its text. Files that are not text are left out.
pub(crate) fn files(folder: &Path, endings: &[&str]) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
            if !endings.iter().any(|ending| name.ends_with(ending)) {
                continue;
            }
            if let Ok(text) = fs::read_to_string(&path) {
                out.push((name, text));
            }
        }
    }
    out.sort();
    out
}

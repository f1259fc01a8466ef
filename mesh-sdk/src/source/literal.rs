//! Istio YAML written in the program: read once, never changes.

use std::time::Instant;

use mesh_istio::LoadOptions;

use super::{Content, Files, Reading};

/// Reads the `number`-th literal text.
pub(crate) fn read(number: usize, text: &str, options: &LoadOptions) -> Reading {
    let mut files = Files::new(options.clone());
    files.update([(format!("literal-{number}"), Content::Text(text.to_owned()))].into(), &[], Instant::now());
    files.reading()
}

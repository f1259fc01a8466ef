//! Where Istio objects come from: a watched [`directory`], or text in the program ([`literal`]).
//!
//! A source gives a [`Reading`]: the objects that are good (the last good version where the newest is broken)
//! and what there is to say about the rest. Nothing here knows what objects mean.

pub(crate) mod directory;
mod files;
mod literal;

use std::path::PathBuf;
use std::sync::Arc;

use mesh_istio::{Finding, Object};

pub(crate) use self::files::{Content, Files};
pub(crate) use self::literal::read as read_literal;

/// A source as the user named it.
#[derive(Clone, Debug)]
pub(crate) enum SourceConfig {
    /// A directory of YAML and JSON files, watched.
    Directory(PathBuf),
    /// YAML text.
    Literal(String),
}

/// What one source gives at one time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// Good objects, in file order. Last good versions that stand in for broken ones come last.
    pub(crate) objects: Vec<Arc<Object>>,
    /// How many of `objects` are of the newest reading.
    pub(crate) fresh: usize,
    /// What was said, file by file.
    pub(crate) findings: Vec<Finding>,
}

//! Where configuration comes from: Istio objects in a watched [`directory`] or in the program ([`literal`]), or Envoy
//! resources in a static configuration ([`envoy_config`]).
//!
//! A source gives a [`Reading`]: the objects or resources that are good (the last good version where the newest is broken)
//! and what there is to say about the rest. Nothing here knows what objects mean.

pub(crate) mod directory;
pub(crate) mod envoy_config;
mod files;
mod literal;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use mesh_core::resource::ResourceName;
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
    /// A static Envoy configuration, watched.
    EnvoyConfig(PathBuf),
}

/// An Envoy resource as its source gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) name: ResourceName,
    pub(crate) bytes: Bytes,
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
    /// Envoy resources; `None` of a source of Istio objects.
    pub(crate) resources: Option<Vec<Given>>,
}

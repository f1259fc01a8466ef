//! A case: one YAML file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

/// A configuration and the requests that show it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// The file's name, without its end.
    #[serde(skip)]
    pub(crate) name: String,
    /// What it shows.
    #[allow(dead_code, reason = "for readers of the file")]
    about: String,
    /// Parts of its listener, see `mesh_tests::edge::listener`.
    pub(crate) listener: Value,
    /// Clusters of its own, beside those that every case has.
    #[serde(default)]
    pub(crate) clusters: Vec<Cluster>,
    /// What is sent, in order.
    pub(crate) requests: Vec<Request>,
}

/// A cluster over the servers that stand for these ports, with further fields.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) ports: Vec<u16>,
    #[serde(flatten)]
    pub(crate) more: BTreeMap<String, Value>,
}

/// A request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    #[serde(default = "get")]
    pub(crate) method: String,
    #[serde(default = "root")]
    pub(crate) path: String,
    /// The `Host`; empty for none.
    #[serde(default = "host")]
    pub(crate) host: String,
    /// Header lines, `name: value`.
    #[serde(default)]
    pub(crate) headers: Vec<String>,
    /// What the server does with it: `mesh_tests::upstream::Script`.
    #[serde(default)]
    pub(crate) up: String,
    /// Size of the body in bytes.
    #[serde(default)]
    pub(crate) body: usize,
    /// Over HTTP/2.
    #[serde(default)]
    pub(crate) http2: bool,
    /// `HTTP/1.0` instead of 1.1.
    #[serde(default)]
    pub(crate) http10: bool,
    /// How often, one after the other.
    #[serde(default = "once")]
    pub(crate) times: usize,
    /// All of them at the same time instead, begun 0.1 s apart.
    #[serde(default)]
    pub(crate) at_once: bool,
    /// Only which server gets how many is compared: shares may differ by so many percent.
    pub(crate) shares: Option<f64>,
    /// Seconds to wait before.
    #[serde(default)]
    pub(crate) after: f64,
    /// No answer is the right one.
    #[serde(default)]
    pub(crate) silent: bool,
}

impl Case {
    /// Whether its outcome hangs on how long a server takes, and on nothing that an earlier round leaves behind.
    pub(crate) fn hangs_on_timers(&self) -> bool {
        self.requests.iter().any(|request| request.up.contains("d=") || request.up.contains("slowbody"))
    }
}

/// All cases, or those whose names contain what `INTEROP_CASE` says.
pub(crate) fn all() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/cases");
    let wanted = std::env::var("INTEROP_CASE").unwrap_or_default();
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &Path| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).unwrap();
        let case: Case = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Case { name, ..case }
    };
    paths.iter().map(|path| read(path)).filter(|case| case.name.contains(&wanted)).collect()
}

fn get() -> String {
    "GET".to_owned()
}

fn root() -> String {
    "/".to_owned()
}

fn host() -> String {
    "a.example".to_owned()
}

const fn once() -> usize {
    1
}

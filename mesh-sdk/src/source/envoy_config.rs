//! A static Envoy configuration (`envoy.config.bootstrap.v3.Bootstrap`): its listeners and clusters, each judged on its own.
//!
//! What is wrong is said with file, line and path. A field that the API does not have refuses its resource, because what it was
//! to narrow is not known; a resource that is refused keeps its last good version. Everything beside the static
//! resources is reported: this process has a node, admin pages and a runtime of its own.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::resource::{ResourceKind, ResourceName};
use mesh_istio::{Finding, Severity, Text};
use mesh_proto::json::{self, UnknownFields};
use mesh_proto::{descriptors, type_url};
use mesh_xds::decode;
use serde_json::{Map, Value};

use super::{Given, Reading};
use crate::build_error::BuildError;

/// The file is looked at this often.
const POLL: Duration = Duration::from_secs(1);

const BOOTSTRAP: &str = "envoy.config.bootstrap.v3.Bootstrap";
const STATIC_RESOURCES: &str = "envoy.config.bootstrap.v3.Bootstrap.StaticResources";

/// A file and what is known of it.
#[derive(Debug)]
pub(crate) struct EnvoyConfig {
    path: PathBuf,
    stamp: Option<(u64, SystemTime)>,
    config: Config,
}

impl EnvoyConfig {
    /// Reads for the first time.
    ///
    /// # Errors
    /// [`BuildError::EnvoyConfig`] if the file cannot be read.
    pub(crate) async fn open(path: PathBuf) -> Result<(Self, Reading), BuildError> {
        let stamp = stamp(&path).await;
        let text = match text(&path).await {
            Ok(text) => text,
            Err(source) => return Err(BuildError::EnvoyConfig { path, source }),
        };
        let mut this = Self { config: Config::new(&path), path, stamp };
        let reading = this.config.read(&text);
        Ok((this, reading))
    }

    /// Waits for the next change. A file that cannot be read stays as it was.
    pub(crate) async fn changed(&mut self) -> Reading {
        loop {
            tokio::time::sleep(POLL).await;
            let stamp = stamp(&self.path).await;
            // What was written within the last moment may be half of it.
            let settled = stamp.is_some_and(|(_, at)| at.elapsed().is_ok_and(|age| age >= POLL / 2));
            if stamp == self.stamp || !settled {
                continue;
            }
            if let Ok(text) = text(&self.path).await {
                self.stamp = stamp;
                return self.config.read(&text);
            }
        }
    }
}

async fn stamp(path: &Path) -> Option<(u64, SystemTime)> {
    let metadata = off_thread(path, |path| std::fs::metadata(path)).await.ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

async fn text(path: &Path) -> io::Result<String> {
    off_thread(path, |path| std::fs::read_to_string(path)).await
}

async fn off_thread<T: Send + 'static>(path: &Path, read: fn(&Path) -> io::Result<T>) -> io::Result<T> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || read(&path)).await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
}

/// What the texts of one file gave, without the file.
#[derive(Debug)]
struct Config {
    file: Arc<str>,
    /// By name, the version in force.
    good: BTreeMap<ResourceName, Given>,
}

impl Config {
    fn new(path: &Path) -> Self {
        Self { file: path.display().to_string().into(), good: BTreeMap::new() }
    }

    /// Reads a text; where it is broken, what was good before stays.
    fn read(&mut self, text: &str) -> Reading {
        let text = match Text::parse(text) {
            Ok(text) => text,
            Err(error) => {
                let findings = vec![finding(&self.file, error.line, Severity::Refused, "", error.reason)];
                let resources = Some(self.good.values().cloned().collect());
                return Reading { findings, resources, ..Reading::default() };
            }
        };
        let mut page = Page { file: &self.file, text: &text, findings: Vec::new(), given: Vec::new() };
        page.bootstrap(&text.value());
        let Page { mut findings, given, .. } = page;
        findings.sort();
        let mut now = BTreeMap::new();
        let mut resources = Vec::with_capacity(given.len());
        for (name, given) in given {
            let Some(given) = given.or_else(|| self.good.get(&name).cloned()) else { continue };
            resources.push(given.clone());
            now.entry(name).or_insert(given);
        }
        self.good = now;
        Reading { findings, resources: Some(resources), ..Reading::default() }
    }
}

/// One reading.
struct Page<'a> {
    file: &'a Arc<str>,
    text: &'a Text,
    findings: Vec<Finding>,
    /// Names with the resource; `None` when it is refused.
    given: Vec<(ResourceName, Option<Given>)>,
}

impl Page<'_> {
    fn bootstrap(&mut self, root: &Value) {
        for (field, value) in root.as_object().into_iter().flatten() {
            match field.as_str() {
                "static_resources" | "staticResources" => match value.as_object() {
                    Some(resources) => self.resources(field, resources),
                    None => self.say(Severity::Refused, field, "expected a map"),
                },
                "admin" => self.say(Severity::NotInForce, field, "admin pages are asked for where the mesh is built"),
                "node" => self.say(Severity::NotInForce, field, "who this process is, is said where the mesh is built"),
                _ => self.aside(BOOTSTRAP, field, field),
            }
        }
    }

    fn resources(&mut self, at: &str, resources: &Map<String, Value>) {
        for (field, value) in resources {
            let path = format!("{at}.{field}");
            let kind = match field.as_str() {
                "listeners" => ResourceKind::Listener,
                "clusters" => ResourceKind::Cluster,
                _ => {
                    self.aside(STATIC_RESOURCES, field, &path);
                    continue;
                }
            };
            match value.as_array() {
                Some(list) => {
                    for (number, one) in list.iter().enumerate() {
                        self.resource(kind, &format!("{path}[{number}]"), one);
                    }
                }
                None => self.say(Severity::Refused, &path, "expected a list"),
            }
        }
    }

    /// A field that is not read: known to the API, or not.
    fn aside(&mut self, message: &str, field: &str, path: &str) {
        let known = descriptors::message(message).is_some_and(|message| {
            message.get_field_by_name(field).or_else(|| message.get_field_by_json_name(field)).is_some()
        });
        if known {
            self.say(Severity::NotInForce, path, "has no effect here");
        } else {
            self.say(Severity::Refused, path, format!("unknown field of {message}"));
        }
    }

    fn resource(&mut self, kind: ResourceKind, path: &str, value: &Value) {
        let mut value = value.clone();
        if let Some(fields) = value.as_object_mut()
            && kind == ResourceKind::Listener
            && fields.get("name").is_none_or(|name| name.as_str() == Some(""))
        {
            // Envoy makes one up as well.
            fields.insert("name".to_owned(), path.into());
        }
        let name = ResourceName::new(kind, value["name"].as_str().unwrap_or(path));
        let given = self.judge(&name, path, &value);
        self.given.push((name, given));
    }

    fn judge(&mut self, name: &ResourceName, path: &str, value: &Value) -> Option<Given> {
        let mut unknown = Vec::new();
        let type_url = decode::type_url(name.kind);
        let encoded = json::encode_with(type_url, value, UnknownFields::Collect, &mut unknown);
        for field in &unknown {
            let message = type_url::type_name(type_url);
            self.say(Severity::Refused, &join(path, field), format!("unknown field within {message}: it is refused"));
        }
        let bytes = match encoded {
            Ok(bytes) if unknown.is_empty() => bytes,
            Ok(_) => return None,
            Err(error) => {
                self.say(Severity::Refused, &join(path, &error.path), error.problem.to_string());
                return None;
            }
        };
        let judged = match name.kind {
            ResourceKind::Listener => decode::listener(&bytes).map(|decoded| decoded.not_in_force),
            _ => decode::cluster(&bytes).map(|decoded| decoded.not_in_force),
        };
        match judged {
            Ok(aside) => {
                for line in aside {
                    let (field, what) = line.split_once(": ").unwrap_or(("", &line));
                    self.say(Severity::NotInForce, &join(path, field), what);
                }
            }
            // It is given all the same: whoever keeps the status of resources keeps its last good version as well.
            Err(invalid) => {
                self.say(Severity::Refused, &join(path, invalid.field.as_str()), invalid.problem.to_string());
            }
        }
        Some(Given { name: name.clone(), bytes: bytes.into() })
    }

    fn say(&mut self, severity: Severity, path: &str, reason: impl Into<String>) {
        self.findings.push(finding(self.file, self.text.line_of(path), severity, path, reason.into()));
    }
}

fn join(path: &str, field: &str) -> String {
    if field.is_empty() { path.to_owned() } else { format!("{path}.{field}") }
}

fn finding(file: &Arc<str>, line: u32, severity: Severity, field: &str, reason: String) -> Finding {
    let code = if severity == Severity::Refused { "ENVOY_CONFIG" } else { "ENVOY_NOT_IN_FORCE" };
    Finding { file: Arc::clone(file), line, severity, code, object: None, field: field.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
static_resources:
  clusters:
  - {name: a, type: STATIC, load_assignment: {cluster_name: a}}
  - {name: b, type: STATIC, load_assignment: {cluster_name: b}}
";

    fn read(config: &mut Config, text: &str) -> (Vec<String>, Vec<String>) {
        let reading = config.read(text);
        let names = reading.resources.unwrap().iter().map(|given| given.name.to_string()).collect();
        (names, reading.findings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn static_resources_are_given_one_by_one_and_the_rest_is_reported_with_its_line() {
        let mut config = Config::new(Path::new("envoy.yaml"));
        let text = format!("{GOOD}  secrets: []\nstats_sinks: []\nnodee: {{}}\n");
        let (names, said) = read(&mut config, &text);
        assert_eq!(names, ["Cluster/a", "Cluster/b"]);
        assert_eq!(
            said,
            [
                "envoy.yaml:1: admin: admin pages are asked for where the mesh is built",
                "envoy.yaml:6: static_resources.secrets: has no effect here",
                "envoy.yaml:7: stats_sinks: has no effect here",
                "envoy.yaml:8: nodee: unknown field of envoy.config.bootstrap.v3.Bootstrap",
            ]
        );
    }

    #[test]
    fn a_resource_with_an_unknown_field_is_refused_alone_and_keeps_its_last_good_version() {
        let mut config = Config::new(Path::new("envoy.yaml"));
        let bad = GOOD.replace("name: a,", "name: a, nmae: x, typ: y,");
        let (names, said) = read(&mut config, &bad);
        assert_eq!(names, ["Cluster/b"]);
        let refused: Vec<_> = said.iter().filter(|line| line.contains("clusters[0]")).collect();
        assert_eq!(refused.len(), 2, "{said:?}");
        assert!(refused[0].starts_with("envoy.yaml:4: static_resources.clusters[0].nmae: unknown field"), "{said:?}");
        assert_eq!(read(&mut config, GOOD).0, ["Cluster/a", "Cluster/b"]);
        assert_eq!(read(&mut config, &bad).0, ["Cluster/a", "Cluster/b"], "the last good one");
        assert_eq!(read(&mut config, "{").0, ["Cluster/a", "Cluster/b"], "all of them");
        assert_eq!(read(&mut config, "static_resources: {}").0, Vec::<String>::new(), "what is gone is gone");
    }

    #[test]
    fn what_decode_refuses_is_said_with_file_and_path() {
        let mut config = Config::new(Path::new("envoy.yaml"));
        let text =
            "static_resources:\n  listeners:\n  - address: {socket_address: {address: 127.0.0.1, port_value: 1}}\n";
        let (names, said) = read(&mut config, text);
        assert_eq!(names, ["Listener/static_resources.listeners[0]"]);
        assert_eq!(said, ["envoy.yaml:3: static_resources.listeners[0].filter_chains: there is no filter chain"]);
    }
}

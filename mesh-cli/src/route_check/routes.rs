//! The routes under test: judged once as they are, and compiled for each runtime key that a test turns on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mesh_core::engine::routing::{ClusterId, RouteTable};
use mesh_istio::Text;
use mesh_proto::envoy::config::core::v3::RuntimeFractionalPercent;
use mesh_proto::envoy::config::route::v3::RouteConfiguration;
use mesh_proto::envoy::r#type::v3::FractionalPercent;
use mesh_proto::json;
use mesh_proto::prost::Message;
use mesh_xds::decode;

/// A route configuration, and its compiled forms by the runtime key that is on.
pub(super) struct Routes {
    path: PathBuf,
    text: Text,
    message: RouteConfiguration,
    not_in_force: Vec<String>,
    tables: BTreeMap<String, RouteTable>,
}

impl Routes {
    /// # Errors
    /// The file cannot be read, or its routes are refused: with file, line, field and reason.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = super::read(path)?;
        let mut message: RouteConfiguration = json::from_json(&text.value())
            .map_err(|error| format!("{}:{}: {error}", path.display(), text.line_of(&error.path)))?;
        if message.name.is_empty() {
            // Envoy's tool asks for no name; a resource has one.
            message.name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        }
        let mut routes =
            Self { path: path.to_owned(), text, message, not_in_force: Vec::new(), tables: BTreeMap::new() };
        let (table, not_in_force) = routes.compile(&routes.message)?;
        routes.not_in_force = not_in_force;
        routes.tables.insert(String::new(), table);
        Ok(routes)
    }

    /// The routes while `key` is the only runtime key that is on; while every one has its default, when it is empty.
    pub(super) fn with_runtime(&mut self, key: &str) -> Result<&RouteTable, String> {
        if !self.tables.contains_key(key) {
            let mut message = self.message.clone();
            let routes = message.virtual_hosts.iter_mut().flat_map(|host| &mut host.routes);
            for fraction in routes.filter_map(|route| route.r#match.as_mut()?.runtime_fraction.as_mut()) {
                decide(fraction, key);
            }
            let (table, _) = self.compile(&message)?;
            self.tables.insert(key.to_owned(), table);
        }
        self.tables.get(key).ok_or_else(|| "no routes".to_owned())
    }

    /// What the file sets and has no effect, for people to see beside the results.
    pub(super) fn aside(&self) -> String {
        let line = |line: &String| {
            let (field, what) = line.split_once(": ").unwrap_or(("", line));
            format!("{}:{}: not in force: {field}: {what}\n", self.path.display(), self.text.line_of(field))
        };
        self.not_in_force.iter().map(line).collect()
    }

    fn compile(&self, message: &RouteConfiguration) -> Result<(RouteTable, Vec<String>), String> {
        let refused = |invalid: mesh_core::resource::Invalid| {
            let (field, line) = (invalid.field.as_str(), self.text.line_of(invalid.field.as_str()));
            format!("{}:{line}: {field}: {}", self.path.display(), invalid.problem)
        };
        let decoded = decode::route_configuration(&message.encode_to_vec()).map_err(refused)?;
        let mut clusters = BTreeMap::new();
        let mut number = |name: &str| {
            let next = u32::try_from(clusters.len()).unwrap_or(u32::MAX);
            ClusterId(*clusters.entry(name.to_owned()).or_insert(next))
        };
        let table = RouteTable::compile(&decoded.value, &mut number).map_err(refused)?;
        Ok((table, decoded.not_in_force))
    }
}

/// With a runtime key given, a route that asks for it matches, and one that asks for another does not.
fn decide(fraction: &mut RuntimeFractionalPercent, key: &str) {
    let numerator = if fraction.runtime_key == key { 100 } else { 0 };
    fraction.default_value = Some(FractionalPercent { numerator, denominator: 0 });
}

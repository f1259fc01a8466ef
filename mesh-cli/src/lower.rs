//! `mesh lower`: the Envoy resources that a folder becomes for one node, as JSON.
//!
//! What is printed is what `mesh_xds::decode` would be given, before it judges; [`crate::check`] tells what it says.

use mesh_istio::{LoadOptions, Lowered, Severity, World};
use mesh_proto::json;
use mesh_proto::prost::{Message, Name};
use serde_json::{Map, Value};

use crate::Outcome;
use crate::args::{LowerArgs, ResourceType};
use crate::folder;

pub(crate) fn run(args: &LowerArgs) -> Result<Outcome, String> {
    let folder = folder::read(&args.path)?;
    let (proxy, mesh) = (args.proxy(), args.config());
    let mut options = LoadOptions::default();
    options.namespace.clone_from(&proxy.namespace);
    let world = World::load_with(&folder.files, &options);
    let unreadable = folder.unreadable.iter().map(|(path, why)| format!("{path}: {why}\n"));
    let refused = world.findings().iter().filter(|finding| finding.severity == Severity::Refused);
    let aside: String = unreadable.chain(refused.map(|finding| format!("refused: {finding}\n"))).collect();
    let lowered = mesh_istio::lower(&world, &proxy, &mesh);
    let value = printed(&lowered, &args.types)?;
    let mut text = serde_json::to_string_pretty(&value).map_err(|error| error.to_string())?;
    text.push('\n');
    Ok(Outcome { text, good: aside.is_empty(), aside })
}

fn printed(lowered: &Lowered, types: &[ResourceType]) -> Result<Value, String> {
    let mut out = Map::new();
    let mut put = |kind: ResourceType, name: &str, list: Result<Value, String>| {
        if types.is_empty() || types.contains(&kind) {
            out.insert(name.to_owned(), list?);
        }
        Ok::<_, String>(())
    };
    put(ResourceType::Listeners, "listeners", list(&lowered.listeners))?;
    put(ResourceType::Routes, "routes", list(&lowered.routes))?;
    put(ResourceType::Clusters, "clusters", list(&lowered.clusters))?;
    put(ResourceType::Endpoints, "endpoints", list(&lowered.endpoints))?;
    Ok(Value::Object(out))
}

fn list<M: Message + Name>(messages: &[M]) -> Result<Value, String> {
    let values: Result<Vec<_>, _> = messages.iter().map(json::to_json_of).collect();
    values.map(Value::Array).map_err(|error| error.to_string())
}

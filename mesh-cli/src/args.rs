//! What the command line takes. Words only: nothing here reads a file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{ColorChoice, Parser, Subcommand, ValueEnum};
use http::{HeaderName, HeaderValue, Method};
use mesh_istio::{MeshConfig, OutboundTrafficPolicy, ProxyContext};

/// Judges Istio configuration, and says where a request would go, without running anything.
#[derive(Debug, Parser)]
#[command(name = "mesh", version, color = ColorChoice::Never, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Check(CheckArgs),
    Explain(ExplainArgs),
    Lower(LowerArgs),
    RouteCheck(RouteCheckArgs),
}

/// Says what is refused, what probably does not do what its author meant, and what has no effect here
///
/// Reads *.yaml, *.yml and *.json below DIR. Prints one line for each remark: file and line, object, field, reason.
/// Exit code: 0 when nothing is refused, 1 when something is, 2 when DIR cannot be read or the usage is wrong.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// Folder (or file) of Istio and Kubernetes objects
    #[arg(value_name = "DIR")]
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) mesh: MeshArgs,
    /// Exit code 1 also for warnings, and for objects that were meant to protect and have no effect
    #[arg(long)]
    pub(crate) strict: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Follows one request: virtual host, routes and why they match or not, clusters, endpoints, policies
///
/// Names the object, file and line behind each. Nothing is sent: names are not resolved, weights are shown and not drawn.
/// Exit code: 0 when the request is sent on, redirected or answered by a route; 1 when it fails in the mesh (no route, no
/// cluster, no endpoint); 2 when DIR cannot be read or the usage is wrong.
#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    /// Folder (or file) of Istio and Kubernetes objects
    #[arg(value_name = "DIR")]
    pub(crate) path: PathBuf,
    /// Method of the request, such as GET
    #[arg(value_parser = method)]
    pub(crate) method: Method,
    /// URL of the request, such as http://reviews:9080/reviews/1
    pub(crate) url: http::Uri,
    /// Header of the request, such as 'end-user: jason'; may be given several times
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = header)]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    #[command(flatten)]
    pub(crate) mesh: MeshArgs,
}

/// Prints the Envoy resources that the objects become for one node, as JSON: what istiod would send to it
///
/// One JSON object with the lists listeners, routes, clusters and endpoints. Nothing is judged: a resource that would be
/// refused is printed all the same. Objects that are refused are named on standard error.
/// Exit code: 0; 1 when an object is refused; 2 when DIR cannot be read or the usage is wrong.
#[derive(Debug, clap::Args)]
pub(crate) struct LowerArgs {
    /// Folder (or file) of Istio and Kubernetes objects
    #[arg(value_name = "DIR")]
    pub(crate) path: PathBuf,
    /// The node: sidecar~IP~NAME.NAMESPACE~DOMAIN, or router~... for a gateway
    #[arg(long, value_name = "ID", value_parser = ProxyContext::of_node)]
    node: ProxyContext,
    /// Labels of the node's workload, such as app=productpage,version=v1
    #[arg(long, value_name = "KEY=VALUE", value_parser = label, value_delimiter = ',')]
    labels: Vec<(String, String)>,
    /// Where the node runs: REGION/ZONE/SUBZONE
    #[arg(long, value_name = "LOCALITY", default_value = "")]
    locality: String,
    /// Only resources of this kind; may be given several times
    #[arg(long = "type", value_name = "TYPE", value_enum)]
    pub(crate) types: Vec<ResourceType>,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// A kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResourceType {
    /// LDS
    Listeners,
    /// RDS
    Routes,
    /// CDS
    Clusters,
    /// EDS
    Endpoints,
}

impl LowerArgs {
    /// The node.
    pub(crate) fn proxy(&self) -> ProxyContext {
        let mut proxy = self.node.clone();
        proxy.labels = self.labels.iter().cloned().collect();
        proxy.locality(&self.locality)
    }

    /// The mesh-wide settings.
    pub(crate) fn config(&self) -> MeshConfig {
        self.settings.config()
    }
}

/// Tests routes: each test is a request and what is expected to become of it
///
/// ROUTES is an Envoy RouteConfiguration, TESTS a file in the format of Envoy's router_check_tool; both YAML or JSON, JSON also
/// with comments and trailing commas. Prints one line for each thing that is not as expected: file and line, test, field, what it is
/// instead. Exit code: 0 when all tests pass, 1 when one fails, 2 when a file cannot be read or is refused.
#[derive(Debug, clap::Args)]
pub(crate) struct RouteCheckArgs {
    /// Routes: an envoy.config.route.v3.RouteConfiguration
    pub(crate) routes: PathBuf,
    /// Tests of them
    pub(crate) tests: PathBuf,
}

/// Whose configuration is meant, in which mesh.
#[derive(Debug, clap::Args)]
pub(crate) struct MeshArgs {
    /// Namespace of the calling workload, and of objects that name none
    #[arg(long, default_value = "default", value_name = "NAME")]
    namespace: String,
    /// Labels of the calling workload, such as app=productpage,version=v1
    #[arg(long, value_name = "KEY=VALUE", value_parser = label, value_delimiter = ',')]
    labels: Vec<(String, String)>,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Which mesh.
#[derive(Debug, clap::Args)]
struct SettingsArgs {
    /// DNS suffix of Kubernetes services
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN")]
    cluster_domain: String,
    /// Hosts that nobody declared are answered 502 instead of passed through (outboundTrafficPolicy REGISTRY_ONLY)
    #[arg(long)]
    registry_only: bool,
    /// Weights that are written as several routes of one destination each count as one split
    #[arg(long)]
    fold_split_routes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

impl MeshArgs {
    /// The calling workload.
    pub(crate) fn proxy(&self) -> ProxyContext {
        let mut proxy = ProxyContext::new(&self.namespace);
        proxy.labels = self.labels.iter().cloned().collect::<BTreeMap<_, _>>();
        proxy
    }

    /// The mesh-wide settings.
    pub(crate) fn config(&self) -> MeshConfig {
        self.settings.config()
    }
}

impl SettingsArgs {
    fn config(&self) -> MeshConfig {
        let mut mesh = MeshConfig::default();
        mesh.cluster_domain.clone_from(&self.cluster_domain);
        mesh.compat.fold_split_routes = self.fold_split_routes;
        if self.registry_only {
            mesh.outbound_traffic_policy = OutboundTrafficPolicy::RegistryOnly;
        }
        mesh
    }
}

fn method(text: &str) -> Result<Method, String> {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
    // Methods are case-sensitive; nobody means a method of his own by `get`.
    let text = known.into_iter().find(|known| known.eq_ignore_ascii_case(text)).unwrap_or(text);
    text.parse().map_err(|_| "no HTTP method".to_owned())
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("a name, a colon and a value are required")?;
    let name = name.trim().parse().map_err(|_| format!("{name:?} is no header name"))?;
    let value = value.trim().parse().map_err(|_| format!("{value:?} is no header value"))?;
    Ok((name, value))
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a key, = and a value are required")?;
    if key.is_empty() { Err("the key is empty".to_owned()) } else { Ok((key.to_owned(), value.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_header_is_a_name_a_colon_and_a_value_that_may_have_colons() {
        let (name, value) = header("X-Time: 12:30 ").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-time", "12:30"));
        assert!(header("end-user=jason").is_err());
        assert!(header("end user: jason").is_err());
        assert_eq!(header("empty:").unwrap().1, "");
    }

    #[test]
    fn known_methods_are_written_large_and_unknown_ones_stay() {
        assert_eq!(method("get").unwrap(), Method::GET);
        assert_eq!(method("Purge").unwrap().as_str(), "Purge");
        assert!(method("a b").is_err());
    }
}

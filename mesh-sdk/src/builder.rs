//! Says what a mesh is made of; [`MeshBuilder::build`] puts its first configuration in force.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::snapshot::RequestCompat;
use mesh_istio::{MeshConfig, ProxyContext, ProxyRole};
use mesh_tower::pool::Connector;
use tokio::runtime::Handle;

use crate::build_error::BuildError;
use crate::control::{Control, Plan};
use crate::dns::{Resolve, Resolver, SystemResolver};
use crate::mesh::{Mesh, Serving};
use crate::source::SourceConfig;
use crate::view::View;

/// Builds a [`Mesh`]. A source is required: [`directory`](Self::directory), [`literal`](Self::literal),
/// [`envoy_config`](Self::envoy_config), or several of them, whose objects are read in the order named.
#[derive(Clone, Debug)]
#[must_use = "nothing happens before build()"]
pub struct MeshBuilder {
    sources: Vec<SourceConfig>,
    proxy: ProxyContext,
    workload: Option<String>,
    mesh: MeshConfig,
    cluster_domain: Option<String>,
    admin: Option<Admin>,
    runtime: Option<Handle>,
    resolver: Resolver,
    allow_unconfigured_ports: bool,
    drain_timeout: Duration,
    compat: RequestCompat,
}

#[derive(Clone, Debug)]
struct Admin {
    text: String,
    anywhere: bool,
}

/// Istio's `terminationDrainDuration`.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

impl MeshBuilder {
    pub(crate) fn new() -> Self {
        Self {
            sources: Vec::new(),
            proxy: ProxyContext::new("default"),
            workload: None,
            mesh: MeshConfig::default(),
            cluster_domain: None,
            admin: None,
            runtime: None,
            resolver: Resolver(Arc::new(SystemResolver)),
            allow_unconfigured_ports: false,
            drain_timeout: DRAIN_TIMEOUT,
            compat: RequestCompat::default(),
        }
    }

    /// Reads Istio objects from `*.yaml`, `*.yml` and `*.json` in a directory and those below, and follows edits: they are
    /// in force within two seconds. A broken file or object keeps its last good version.
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.sources.push(SourceConfig::Directory(path.into()));
        self
    }

    /// Reads Istio objects from a text: YAML of any number of documents, or JSON. Findings name it `literal-1`.
    pub fn literal(mut self, text: impl Into<String>) -> Self {
        self.sources.push(SourceConfig::Literal(text.into()));
        self
    }

    /// Reads a static Envoy configuration, in YAML or JSON: the listeners and clusters of its `static_resources`. Edits are in
    /// force within two seconds; a resource that is refused keeps its last good version, and the rest loads.
    ///
    /// With no other source there is nothing but what it says. What else it sets is on the page `/coverage`.
    pub fn envoy_config(mut self, path: impl Into<PathBuf>) -> Self {
        self.sources.push(SourceConfig::EnvoyConfig(path.into()));
        self
    }

    /// What the workload does in the mesh. Default [`ProxyRole::Sidecar`]; at the edge ([`Mesh::gateway`]) it is
    /// [`ProxyRole::Router`], for which Gateways that select its [`labels`](Self::labels) are listeners.
    pub const fn role(mut self, role: ProxyRole) -> Self {
        self.proxy.role = role;
        self
    }

    /// The workload's namespace, and that of objects which name none. Default `default`.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.proxy.namespace = namespace.into();
        self
    }

    /// Adds labels of the workload: selectors and `sourceLabels` look at them.
    pub fn labels<K: Into<String>, V: Into<String>>(mut self, labels: impl IntoIterator<Item = (K, V)>) -> Self {
        self.proxy.labels.extend(labels.into_iter().map(|(key, value)| (key.into(), value.into())));
        self
    }

    /// The workload's name, as logs and admin pages show it. Default: its label `app`, else `workload`.
    pub fn workload(mut self, name: impl Into<String>) -> Self {
        self.workload = Some(name.into());
        self
    }

    /// Adds an address of the workload. Ports of services that have an endpoint on it get inbound configuration.
    pub fn ip(mut self, ip: impl Into<IpAddr>) -> Self {
        self.proxy.ips.push(ip.into());
        self
    }

    /// Where the workload runs, as `region/zone/subzone`, any of it empty: decides which endpoints are near. What the registry knows of
    /// an endpoint at an address of the workload comes first. Default: unknown.
    pub fn locality(mut self, locality: impl Into<String>) -> Self {
        self.proxy.locality = locality.into();
        self
    }

    /// DNS suffix of Kubernetes services. Default `cluster.local`, or what [`mesh_config`](Self::mesh_config) says.
    pub fn cluster_domain(mut self, domain: impl Into<String>) -> Self {
        self.cluster_domain = Some(domain.into());
        self
    }

    /// Mesh-wide settings: outbound traffic policy, default timeouts, behaviour of older Istio releases. Default:
    /// Istio's.
    pub fn mesh_config(mut self, mesh: MeshConfig) -> Self {
        self.mesh = mesh;
        self
    }

    /// Serves the admin pages on a loopback address such as `127.0.0.1:15000`; port 0 takes a free one, see
    /// [`Mesh::admin_address`]. Default: none.
    pub fn admin(mut self, address: impl ToString) -> Self {
        self.admin = Some(Admin { text: address.to_string(), anywhere: false });
        self
    }

    /// As [`admin`](Self::admin), but on any address. The pages show the whole configuration to whoever reaches them, and
    /// ask nobody who they are.
    pub fn danger_admin_on_any_address(mut self, address: impl ToString) -> Self {
        self.admin = Some(Admin { text: address.to_string(), anywhere: true });
        self
    }

    /// The runtime that drives connections. Default: the one that [`build`](Self::build) is called on.
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Resolves the names of `STRICT_DNS` clusters. Default: the operating system's resolver.
    pub fn resolver(mut self, resolver: impl Resolve) -> Self {
        self.resolver = Resolver(Arc::new(resolver));
        self
    }

    /// Whether [`Mesh::serve`] serves a port while no inbound configuration has arrived. Default false: connections are
    /// closed.
    pub fn allow_unconfigured_ports(mut self, allow: bool) -> Self {
        self.allow_unconfigured_ports = allow;
        self
    }

    /// How long requests under way may take after [`Mesh::shutdown`] before they are cut off. Default 5 s.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// Where this mesh does what users of a library expect instead of what Envoy does; [`RequestCompat::envoy`] is strict
    /// parity. Default: as users expect.
    pub const fn request_compat(mut self, compat: RequestCompat) -> Self {
        self.compat = compat;
        self
    }

    /// Starts the control thread and waits until the first configuration is in force.
    ///
    /// Objects that are refused do not fail the build: see [`Mesh::findings`] and the page `/coverage`.
    ///
    /// # Errors
    /// [`BuildError`]: no source, no runtime, a directory that cannot be read, admin pages that cannot be served.
    ///
    /// # Cancel safety
    /// Dropping the future stops what was started.
    pub async fn build(self) -> Result<Mesh, BuildError> {
        if self.sources.is_empty() {
            return Err(BuildError::NoSource);
        }
        let runtime = match self.runtime {
            Some(runtime) => runtime,
            None => Handle::try_current().map_err(|_| BuildError::NoRuntime)?,
        };
        let admin = self.admin.as_ref().map(Admin::address).transpose()?;
        let mut mesh = self.mesh;
        if let Some(domain) = self.cluster_domain {
            mesh.cluster_domain = domain;
        }
        let label = || self.proxy.labels.get("app").cloned();
        let workload = self.workload.or_else(label).unwrap_or_else(|| "workload".to_owned());
        let view = Arc::new(View::new(format!("{workload}.{}", self.proxy.namespace)));
        let node = self.proxy.ips.iter().copied().find(|ip| !ip.is_loopback());
        let plan = Plan {
            sources: self.sources,
            proxy: self.proxy,
            mesh,
            compat: self.compat,
            admin,
            resolver: self.resolver,
            view: Arc::clone(&view),
        };
        let (control, started) = Control::start(plan).await?;
        let outbound = mesh_tower::outbound::outbound(view.snapshots.clone(), Connector::new(runtime));
        let serving = Serving {
            allow_unconfigured_ports: self.allow_unconfigured_ports,
            drain_timeout: self.drain_timeout,
            node,
        };
        Ok(Mesh::new(view, control, outbound, started, serving))
    }
}

impl Admin {
    fn address(&self) -> Result<SocketAddr, BuildError> {
        let numeric = match self.text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => self.text.clone(),
        };
        let address: SocketAddr = numeric.parse().map_err(|_| BuildError::AdminAddress { text: self.text.clone() })?;
        if address.ip().is_loopback() || self.anywhere {
            Ok(address)
        } else {
            Err(BuildError::AdminNotLoopback { address })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_pages_stay_on_loopback_unless_danger_is_asked_for() {
        let address = |text: &str, anywhere| Admin { text: text.to_owned(), anywhere }.address();
        assert_eq!(address("localhost:15000", false).unwrap(), "127.0.0.1:15000".parse().unwrap());
        assert!(address("[::1]:0", false).is_ok());
        assert!(matches!(address("0.0.0.0:15000", false), Err(BuildError::AdminNotLoopback { .. })));
        assert!(address("0.0.0.0:15000", true).is_ok());
        assert!(matches!(address("admin.example:80", true), Err(BuildError::AdminAddress { .. })));
    }
}

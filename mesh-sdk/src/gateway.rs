//! Serves listeners of the configuration for callers outside, and follows it: listeners come and go.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mesh_core::resource::Name;
use mesh_core::resource::listener::{Listener, ListenerAddress};
use mesh_core::state::Lane;
use mesh_tower::edge::EdgeOptions;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::mesh::Mesh;

/// A listener that could not be opened is tried again this often.
const AGAIN: Duration = Duration::from_secs(1);

/// Says how a [`Gateway`] opens its listeners.
#[derive(Clone, Debug)]
#[must_use = "nothing happens before open()"]
pub struct GatewayBuilder {
    mesh: Mesh,
    loopback: bool,
}

/// The listener that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("listener {name} cannot listen on {address}")]
pub struct ListenerError {
    /// Its name.
    pub name: String,
    /// Where it was to listen.
    pub address: SocketAddr,
    /// Why not.
    #[source]
    pub source: io::Error,
}

impl GatewayBuilder {
    pub(crate) const fn new(mesh: Mesh) -> Self {
        Self { mesh, loopback: false }
    }

    /// Opens every listener on a free port of loopback instead of the address that it names: for tests, and for trying a
    /// configuration out. [`Gateway::addresses`] tells which.
    pub const fn on_loopback(mut self) -> Self {
        self.loopback = true;
        self
    }

    /// Opens the listeners that are in force. Connections wait until [`Gateway::serve`].
    ///
    /// # Errors
    /// [`ListenerError`]: the first listener that cannot be opened; none is then.
    pub async fn open(self) -> Result<Gateway, ListenerError> {
        let mut gateway = Gateway {
            drain: self.mesh.drain(),
            changes: self.mesh.view().published(),
            mesh: self.mesh,
            loopback: self.loopback,
            open: BTreeMap::new(),
            waiting: Vec::new(),
            addresses: Arc::default(),
        };
        for (address, name) in gateway.wanted() {
            let tcp = gateway.bind(address, &name).await?;
            gateway.waiting.push((address, name, tcp));
        }
        Ok(gateway)
    }
}

/// Listeners of the configuration, open to callers outside: each request goes through its listener's connection manager and
/// filters, and by its routes to a cluster. Plain HTTP/1.1 and HTTP/2 with prior knowledge.
#[derive(Debug)]
pub struct Gateway {
    mesh: Mesh,
    loopback: bool,
    drain: watch::Receiver<bool>,
    changes: watch::Receiver<()>,
    /// Open listeners, each with what ends it.
    open: BTreeMap<Name, (ListenerAddress, watch::Sender<bool>)>,
    /// Opened and not served yet.
    waiting: Vec<(ListenerAddress, Name, TcpListener)>,
    addresses: Arc<Mutex<BTreeMap<String, SocketAddr>>>,
}

/// Where the listeners of a [`Gateway`] are open.
#[derive(Clone, Debug)]
pub struct GatewayAddresses(Arc<Mutex<BTreeMap<String, SocketAddr>>>);

impl GatewayAddresses {
    /// The addresses, by name of the listener.
    #[must_use]
    pub fn now(&self) -> BTreeMap<String, SocketAddr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Gateway {
    /// Where the listeners are open, by name.
    #[must_use]
    pub fn addresses(&self) -> BTreeMap<String, SocketAddr> {
        self.watch().now()
    }

    /// Tells where the listeners are open, also while the gateway serves.
    #[must_use]
    pub fn watch(&self) -> GatewayAddresses {
        GatewayAddresses(Arc::clone(&self.addresses))
    }

    /// Serves until [`Mesh::shutdown`]; then requests under way end within the drain timeout. Listeners that appear are
    /// opened, those that are gone drain. One that cannot be opened is logged and tried again.
    ///
    /// The future is itself a handle of the mesh.
    ///
    /// # Cancel safety
    /// Dropping the future closes all listeners and their connections.
    pub async fn serve(mut self) {
        let mut servers = JoinSet::new();
        for (address, name, tcp) in std::mem::take(&mut self.waiting) {
            self.start(&mut servers, address, name, tcp);
        }
        loop {
            let failed = self.reconcile(&mut servers).await;
            let again = async { if failed { tokio::time::sleep(AGAIN).await } else { std::future::pending().await } };
            tokio::select! {
                // The sender lives as long as `mesh`.
                _ = self.drain.wait_for(|drain| *drain) => break,
                _ = self.changes.changed() => {}
                Some(_) = servers.join_next() => {}
                () = again => {}
            }
        }
        for (_, end) in std::mem::take(&mut self.open).into_values() {
            end.send_replace(true);
        }
        while servers.join_next().await.is_some() {}
    }

    /// Opens what is new and ends what is gone; whether some listener could not be opened.
    async fn reconcile(&mut self, servers: &mut JoinSet<io::Result<()>>) -> bool {
        let wanted = self.wanted();
        let mut addresses = self.addresses();
        self.open.retain(|name, (address, end)| {
            let stays = wanted.iter().any(|(at, wanted)| wanted == name && at == address);
            if !stays {
                end.send_replace(true);
                addresses.remove(&**name);
            }
            stays
        });
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
        let mut failed = false;
        for (address, name) in wanted {
            if self.open.contains_key(&name) {
                continue;
            }
            match self.bind(address, &name).await {
                Ok(tcp) => self.start(servers, address, name, tcp),
                Err(error) => {
                    let reason = &error.source;
                    tracing::warn!(%reason, "{error}");
                    failed = true;
                }
            }
        }
        failed
    }

    fn start(&mut self, servers: &mut JoinSet<io::Result<()>>, address: ListenerAddress, name: Name, tcp: TcpListener) {
        let (end, mut ended) = watch::channel(false);
        let serving = self.mesh.serving();
        let drain_timeout = serving.drain_timeout;
        let options = EdgeOptions { listener: Arc::clone(&name), node: serving.node, drain_timeout };
        let stack = self.mesh.outbound();
        servers.spawn(async move {
            let shutdown = async {
                // An error tells that the gateway itself is gone.
                let _ = ended.wait_for(|ended| *ended).await;
            };
            mesh_tower::edge::serve(tcp, stack, options, shutdown).await
        });
        self.open.insert(name, (address, end));
    }

    /// The listeners in force, by name.
    fn wanted(&self) -> Vec<(ListenerAddress, Name)> {
        let pin = self.mesh.snapshots().pin(Lane::default());
        let one = |one: &Arc<Listener>| Some((one.address?, Arc::clone(&one.name)));
        let mut wanted: Vec<_> = pin.served().filter_map(one).collect();
        wanted.sort_by(|(_, a), (_, b)| a.cmp(b));
        wanted
    }

    async fn bind(&self, address: ListenerAddress, name: &Name) -> Result<TcpListener, ListenerError> {
        let address = match self.loopback {
            true => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            false => SocketAddr::from((address.ip, address.port)),
        };
        let failed = |source| ListenerError { name: name.to_string(), address, source };
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        let local = tcp.local_addr().map_err(failed)?;
        tracing::info!(listener = &**name, %local, "listener is open");
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_string(), local);
        Ok(tcp)
    }
}

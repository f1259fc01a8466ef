//! What is in force: compiled engines, assembled and indexed for the request path.
//!
//! A snapshot is immutable. [`Compiler::apply`] makes the next one out of the previous one and an
//! [`Update`]; what did not change keeps its `Arc`. A request pins one snapshot and goes on by numbers into it
//! ([`TableId`], [`ClusterId`]), never by name. What must outlive a snapshot is in [`crate::state`].

mod cluster;
mod compat;
mod compiler;
mod filters;
mod fixed;
pub mod health;
mod listener;
mod slots;
pub mod status;
mod store;

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

pub use self::cluster::Cluster;
pub use self::compat::{AlwaysEjectOne, GrpcTimeoutStatus, RequestCompat};
pub use self::compiler::{Change, Compiler, Update};
pub use self::filters::FilterFactory;
pub use self::listener::{AcceptedConnection, HttpScope, InboundChain, TableId};
pub use self::store::{Pin, SnapshotStore};

use self::listener::ListenerIndex;
pub(crate) use self::listener::contains;
use self::slots::Slots;
use crate::engine::routing::{ClusterId, RouteTable};
use crate::resource::Name;
use crate::resource::listener::Listener;
use crate::resource::route::RouteConfiguration;

/// One version of everything in force.
#[derive(Clone, Debug)]
pub struct Snapshot {
    version: u64,
    compat: RequestCompat,
    service_cluster: Name,
    listeners: Arc<BTreeMap<Name, Arc<Listener>>>,
    index: Arc<ListenerIndex>,
    tables: Slots<Table>,
    clusters: Slots<Cluster>,
    names: ClusterNames,
}

/// A route table with what it was compiled from.
#[derive(Debug)]
pub struct Table {
    /// As configured.
    pub config: Arc<RouteConfiguration>,
    /// Compiled.
    pub routes: RouteTable,
    /// The clusters it names, each held once by its number.
    clusters: Vec<Name>,
}

impl Snapshot {
    /// Nothing in force.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            version: 0,
            compat: RequestCompat::default(),
            service_cluster: Name::default(),
            listeners: Arc::default(),
            index: Arc::default(),
            tables: Slots::default(),
            clusters: Slots::default(),
            names: ClusterNames::default(),
        }
    }

    /// Counts up with every snapshot made by one compiler; 0 is the empty one.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Where this mesh differs from Envoy on purpose.
    #[must_use]
    pub const fn compat(&self) -> RequestCompat {
        self.compat
    }

    /// The service cluster of this node (`node.cluster`); may be empty.
    #[must_use]
    pub fn service_cluster(&self) -> &str {
        &self.service_cluster
    }

    /// A route table by number; `None` while its routes have not arrived.
    #[must_use]
    pub fn table(&self, id: TableId) -> Option<&Arc<Table>> {
        self.tables.get(id.0)
    }

    /// A cluster by number; `None` if it does not exist.
    #[must_use]
    pub fn cluster(&self, id: ClusterId) -> Option<&Arc<Cluster>> {
        self.clusters.get(id.0)
    }

    /// A cluster by name, for `cluster_header` and admin pages.
    #[must_use]
    pub fn cluster_by_name(&self, name: &str) -> Option<&Arc<Cluster>> {
        self.cluster(self.names.find(name)?)
    }

    /// All clusters.
    pub fn clusters(&self) -> impl Iterator<Item = &Arc<Cluster>> {
        self.clusters.iter()
    }

    /// All route tables, inline ones included.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.iter()
    }

    /// All listeners, by name.
    pub fn listeners(&self) -> impl Iterator<Item = &Arc<Listener>> {
        self.listeners.values()
    }

    /// The outbound connection managers for a port that is dialled, the most general first, and the one for
    /// ports that nobody declared.
    #[must_use]
    pub fn outbound(&self, port: u16) -> (&[HttpScope], Option<&HttpScope>) {
        (self.index.outbound.get(&port).map_or(&[], |scopes| scopes), self.index.fallback.as_ref())
    }

    /// Whether there are API listeners (gRPC style) at all.
    #[must_use]
    pub fn has_api_listeners(&self) -> bool {
        !self.index.api.is_empty()
    }

    /// The API listener (gRPC style) of this name, e.g. `reviews:9080`.
    #[must_use]
    pub fn api_listener(&self, name: &str) -> Option<&HttpScope> {
        self.index.api.get(name)
    }

    /// The inbound chain for a connection to us. `None`: no chain matches, so it must not be served.
    #[must_use]
    pub fn inbound(&self, connection: &AcceptedConnection<'_>) -> Option<&InboundChain> {
        let port = connection.local.port();
        let bound = |one: &&listener::Inbound| one.listener.address.is_some_and(|address| address.port == port);
        let any = |one: &&listener::Inbound| one.listener.use_original_dst;
        let listener = self.index.inbound.iter().find(bound).or_else(|| self.index.inbound.iter().find(any))?;
        listener.chain(connection)
    }

    /// The listeners that a gateway opens: those with an address of their own that are to be bound and are not inbound.
    pub fn served(&self) -> impl Iterator<Item = &Arc<Listener>> {
        self.index.served.values().map(|one| &one.listener)
    }

    /// The chain for a connection that a gateway took on the listener of this name, which may have been opened elsewhere
    /// than at its address. `None`: no chain matches, or the listener is gone.
    #[must_use]
    pub fn served_chain(&self, listener: &str, connection: &AcceptedConnection<'_>) -> Option<&InboundChain> {
        self.index.served.get(listener)?.chain(connection)
    }

    /// Whether any inbound listener arrived.
    #[must_use]
    pub fn has_inbound(&self) -> bool {
        !self.index.inbound.is_empty()
    }
}

/// Cluster numbers by name, in shards, so that adding one cluster copies a fraction of the map.
#[derive(Clone, Debug)]
struct ClusterNames(Arc<[Arc<HashMap<Name, ClusterId>>]>);

const SHARDS: usize = 64;

impl Default for ClusterNames {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Arc::default()).collect())
    }
}

impl ClusterNames {
    fn find(&self, name: &str) -> Option<ClusterId> {
        self.0[shard(name)].get(name).copied()
    }

    fn set(&mut self, name: &Name, id: Option<ClusterId>) {
        let shards = Arc::make_mut(&mut self.0);
        let shard = Arc::make_mut(&mut shards[shard(name)]);
        match id {
            Some(id) => shard.insert(Arc::clone(name), id),
            None => shard.remove(name),
        };
    }
}

fn shard(name: &str) -> usize {
    // FNV-1a: only spreads names over shards.
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    #[allow(clippy::cast_possible_truncation, reason = "reduced below 64 first")]
    let shard = (hash % SHARDS as u64) as usize;
    shard
}

#[cfg(test)]
mod tests;

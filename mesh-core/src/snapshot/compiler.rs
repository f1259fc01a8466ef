//! Makes the next snapshot: `(previous, update) -> (next, refusals)`, one writer.
//!
//! A refused resource keeps its last good version in force and takes nothing else along. Numbers of clusters
//! and tables are held by name for as long as anything names them, so that a route compiled before its cluster
//! arrives finds it later without being compiled again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cluster::Around;
use super::filters::{FilterFactory, Filters};
use super::listener::{HttpScope, Inbound, InboundChain, ListenerIndex, TableId, manager};
use super::slots::Numbers;
use super::{Cluster, RequestCompat, Snapshot, Table};
use crate::engine::load_balancing::Neighbourhood;
use crate::engine::outlier_detection::Bell;
use crate::engine::random::Random;
use crate::engine::routing::{ClusterId, RouteTable};
use crate::resource::cluster::{self as config, Discovery};
use crate::resource::endpoint::{ClusterLoadAssignment, Locality};
use crate::resource::listener::{
    ChainHandler, Direction, FilterChain, HttpConnectionManager, Listener, ListenerAddress, RouteSource,
};
use crate::resource::route::{Forward, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost};
use crate::resource::{Invalid, Name, ResourceKind, ResourceName};

/// One resource set or removed.
#[derive(Clone, Debug)]
pub enum Change<T> {
    /// New, or instead of the one of the same name.
    Set(Arc<T>),
    /// Gone.
    Remove(Name),
}

/// What changed, judged already: `mesh_xds::decode` makes the resources.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Listeners by their name.
    pub listeners: Vec<Change<Listener>>,
    /// Route configurations by their name.
    pub routes: Vec<Change<RouteConfiguration>>,
    /// Clusters by their name.
    pub clusters: Vec<Change<config::Cluster>>,
    /// EDS answers, by service name.
    pub endpoints: Vec<(Name, Option<Arc<ClusterLoadAssignment>>)>,
    /// What the names of a `STRICT_DNS` cluster resolved to, by cluster name.
    pub resolved: Vec<(Name, Option<Arc<ClusterLoadAssignment>>)>,
    /// Clusters whose endpoints' findings changed ([`crate::state::EndpointState::note`]): their balancers are made again.
    pub health: Vec<Name>,
}

impl Update {
    /// Notes that a resource is gone.
    pub fn remove(&mut self, name: &ResourceName) {
        let gone = Arc::clone(&name.name);
        match name.kind {
            ResourceKind::Listener => self.listeners.push(Change::Remove(gone)),
            ResourceKind::RouteConfiguration => self.routes.push(Change::Remove(gone)),
            ResourceKind::Cluster => self.clusters.push(Change::Remove(gone)),
            ResourceKind::ClusterLoadAssignment => self.endpoints.push((gone, None)),
        }
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listeners.is_empty()
            && self.routes.is_empty()
            && self.clusters.is_empty()
            && self.endpoints.is_empty()
            && self.resolved.is_empty()
            && self.health.is_empty()
    }
}

/// The one writer of snapshots.
#[derive(Debug)]
pub struct Compiler {
    current: Arc<Snapshot>,
    cluster_numbers: Numbers,
    table_numbers: Numbers,
    endpoints: HashMap<Name, Arc<ClusterLoadAssignment>>,
    resolved: HashMap<Name, Arc<ClusterLoadAssignment>>,
    /// Which clusters take their endpoints from a service name.
    eds_clusters: HashMap<Name, BTreeSet<Name>>,
    /// Table names that the listeners hold.
    listener_tables: BTreeSet<String>,
    random: Random,
    bell: Bell,
    /// The cluster of the caller's own service, and where the caller is.
    node: Option<(Name, Locality)>,
    neighbourhood: Option<Neighbourhood>,
    /// When the update under way arrived.
    now: Option<Instant>,
    filters: Filters,
}

impl Compiler {
    /// Starts with nothing in force. `seed` decides where balancers start their turns.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            current: Arc::new(Snapshot::empty()),
            cluster_numbers: Numbers::default(),
            table_numbers: Numbers::default(),
            endpoints: HashMap::new(),
            resolved: HashMap::new(),
            eds_clusters: HashMap::new(),
            listener_tables: BTreeSet::new(),
            random: Random::from_seed(seed),
            bell: Bell::default(),
            node: None,
            neighbourhood: None,
            now: None,
            filters: Filters::default(),
        }
    }

    /// Asks `factory` first for the HTTP filters of listeners that arrive from now on. Default: only the filters of this
    /// crate are made.
    #[must_use]
    pub fn with_filters(mut self, factory: FilterFactory) -> Self {
        self.filters.use_factory(factory);
        self
    }

    /// Decides where snapshots made from now on differ from Envoy on purpose.
    #[must_use]
    pub fn with_compat(mut self, compat: RequestCompat) -> Self {
        let mut current = (*self.current).clone();
        current.compat = compat;
        self.current = Arc::new(current);
        self
    }

    /// Heeds zones: `locality` is the caller's own, and `local_cluster` (`cluster_manager.local_cluster_name`) the cluster
    /// whose hosts are the caller's peers. Default: nothing is known of the caller, and its zone does not matter.
    #[must_use]
    pub fn with_node(mut self, local_cluster: impl Into<Name>, locality: Locality) -> Self {
        self.node = Some((local_cluster.into(), locality));
        self
    }

    /// Rings `bell` when requests find that a host answers badly. Default: nobody is told, and nobody is ejected.
    #[must_use]
    pub fn with_bell(mut self, bell: Bell) -> Self {
        self.bell = bell;
        self
    }

    /// Says which service cluster this node belongs to (`node.cluster`), for rate limits by `source_cluster`. Default: none.
    #[must_use]
    pub fn with_service_cluster(mut self, name: impl Into<Name>) -> Self {
        let mut current = (*self.current).clone();
        current.service_cluster = name.into();
        self.current = Arc::new(current);
        self
    }

    /// The snapshot made last.
    #[must_use]
    pub const fn current(&self) -> &Arc<Snapshot> {
        &self.current
    }

    /// As [`Self::apply`], at a time that is known: hosts that are new now warm up (`slow_start_config`).
    pub fn apply_at(&mut self, now: Instant, update: Update) -> (Arc<Snapshot>, Vec<Invalid>) {
        self.now = Some(now);
        let made = self.apply(update);
        self.now = None;
        made
    }

    /// Makes the next snapshot. Refused resources keep their last good version.
    pub fn apply(&mut self, update: Update) -> (Arc<Snapshot>, Vec<Invalid>) {
        let mut next = (*self.current).clone();
        next.version += 1;
        let mut refused = Vec::new();
        let mut changed = BTreeSet::new();
        for change in update.clusters {
            self.cluster(&mut next, change, &mut changed);
        }
        for (service, assignment) in update.endpoints {
            changed.extend(self.eds_clusters.get(&service).into_iter().flatten().cloned());
            remember(&mut self.endpoints, service, assignment);
        }
        for (cluster, assignment) in update.resolved {
            changed.insert(Arc::clone(&cluster));
            remember(&mut self.resolved, cluster, assignment);
        }
        let health: BTreeSet<Name> = update.health.into_iter().collect();
        for name in changed.union(&health) {
            self.compile_cluster(&mut next, name, health.contains(name));
        }
        self.look_around(&mut next);
        for change in update.routes {
            match change {
                Change::Set(config) => {
                    let name = Arc::clone(&config.name);
                    if let Err(invalid) = self.table(&mut next, &route_key(&name), config) {
                        refused.push(invalid);
                    }
                }
                Change::Remove(name) => self.remove_table(&mut next, &route_key(&name)),
            }
        }
        if !update.listeners.is_empty() {
            self.listeners(&mut next, update.listeners, &mut refused);
        }
        self.current = Arc::new(next);
        (Arc::clone(&self.current), refused)
    }

    fn cluster(&mut self, next: &mut Snapshot, change: Change<config::Cluster>, changed: &mut BTreeSet<Name>) {
        let (name, config) = match change {
            Change::Set(config) => (Arc::clone(&config.name), Some(config)),
            Change::Remove(name) => (name, None),
        };
        let before = next.cluster_by_name(&name).map(Arc::clone);
        if let Some(Discovery::Eds { service_name }) = before.as_ref().map(|one| &one.config().discovery)
            && let Some(users) = self.eds_clusters.get_mut(service_name)
        {
            users.remove(&name);
            if users.is_empty() {
                self.eds_clusters.remove(service_name);
            }
        }
        match (before, config) {
            (None, None) => {}
            (Some(_), None) => {
                if let Some(number) = self.cluster_numbers.find(&name) {
                    next.clusters.set(number, None);
                }
                self.cluster_numbers.release(&name);
                self.resolved.remove(&name);
                next.names.set(&name, None);
                changed.remove(&name);
            }
            (before, Some(config)) => {
                if let Discovery::Eds { service_name } = &config.discovery {
                    self.eds_clusters.entry(Arc::clone(service_name)).or_default().insert(Arc::clone(&name));
                }
                let id = match &before {
                    Some(before) => before.id(),
                    None => ClusterId(self.cluster_numbers.hold(&name)),
                };
                if before.is_none() {
                    next.names.set(&name, Some(id));
                }
                let compiled = self.compiled(id, config, before.as_deref());
                next.clusters.set(id.0, Some(Arc::new(compiled)));
                changed.remove(&name);
            }
        }
    }

    /// Compiles a cluster again because its endpoints or (`health`) what is known of them changed.
    fn compile_cluster(&mut self, next: &mut Snapshot, name: &str, health: bool) {
        let Some(before) = next.cluster_by_name(name).map(Arc::clone) else { return };
        if !health && self.assignment(before.config()).map(Arc::as_ptr) == before.assignment().map(Arc::as_ptr) {
            return;
        }
        let compiled = self.compiled(before.id(), Arc::clone(before.config()), Some(&before));
        next.clusters.set(before.id().0, Some(Arc::new(compiled)));
    }

    /// Compiles the clusters again for which zones matter, when the caller's peers are elsewhere than before.
    fn look_around(&mut self, next: &mut Snapshot) {
        let Some((name, own)) = &self.node else { return };
        let peers = next.cluster_by_name(name).map(|cluster| cluster.healthy_by_locality()).unwrap_or_default();
        let now = Some(Neighbourhood { own: own.clone(), peers });
        if now == self.neighbourhood {
            return;
        }
        self.neighbourhood = now;
        let by_zone: Vec<Name> = next
            .clusters()
            .filter(|one| one.config().heeds_zones() && one.localities().len() > 1)
            .map(|one| Arc::clone(&one.config().name))
            .collect();
        for name in by_zone {
            self.compile_cluster(next, &name, true);
        }
    }

    fn compiled(&mut self, id: ClusterId, config: Arc<config::Cluster>, before: Option<&Cluster>) -> Cluster {
        let assignment = self.assignment(&config).map(Arc::clone);
        let around = Around {
            bell: &self.bell,
            neighbourhood: self.neighbourhood.as_ref(),
            now: self.now,
            seed: self.random.bits(),
        };
        Cluster::compile(id, config, assignment, before, &around)
    }

    fn assignment(&self, config: &config::Cluster) -> Option<&Arc<ClusterLoadAssignment>> {
        match &config.discovery {
            Discovery::Eds { service_name } => self.endpoints.get(service_name),
            Discovery::StrictDns { .. } => self.resolved.get(&config.name),
            Discovery::Static(_) | Discovery::LogicalDns { .. } | Discovery::OriginalDst => None,
        }
    }

    /// Compiles a route table into the slot of `key`. On refusal the one before stays.
    fn table(&mut self, next: &mut Snapshot, key: &str, config: Arc<RouteConfiguration>) -> Result<(), Invalid> {
        let mut held: Vec<Name> = Vec::new();
        let numbers = &mut self.cluster_numbers;
        let before = self.table_numbers.find(key).and_then(|number| next.tables.get(number)).map(Arc::clone);
        let compiled = RouteTable::compile_after(&config, before.as_ref().map(|one| &one.routes), &mut |name: &str| {
            held.push(name.into());
            ClusterId(numbers.hold(name))
        });
        let routes = match compiled {
            Ok(routes) => routes,
            Err(invalid) => {
                held.iter().for_each(|name| self.cluster_numbers.release(name));
                return Err(invalid);
            }
        };
        let number = match self.table_numbers.find(key) {
            Some(number) if next.tables.get(number).is_some() => number,
            // A listener may wait for it already; the table is one more holder.
            _ => self.table_numbers.hold(key),
        };
        if let Some(before) = next.tables.get(number) {
            before.clusters.iter().for_each(|name| self.cluster_numbers.release(name));
        }
        next.tables.set(number, Some(Arc::new(Table { config, routes, clusters: held })));
        Ok(())
    }

    fn remove_table(&mut self, next: &mut Snapshot, key: &str) {
        let Some(number) = self.table_numbers.find(key) else { return };
        let Some(before) = next.tables.get(number) else { return };
        before.clusters.iter().for_each(|name| self.cluster_numbers.release(name));
        next.tables.set(number, None);
        self.table_numbers.release(key);
    }

    fn listeners(&mut self, next: &mut Snapshot, changes: Vec<Change<Listener>>, refused: &mut Vec<Invalid>) {
        let mut listeners: BTreeMap<Name, Arc<Listener>> = (*next.listeners).clone();
        for change in changes {
            match change {
                Change::Set(listener) => {
                    // Filters and inline routes that do not compile refuse the listener: its last good version stays.
                    match check_filters(&listener).and_then(|()| self.check_inline(next, &listener)) {
                        Ok(()) => {
                            listeners.insert(Arc::clone(&listener.name), listener);
                        }
                        Err(invalid) => refused.push(invalid),
                    }
                }
                Change::Remove(name) => {
                    listeners.remove(&name);
                }
            }
        }
        let before = std::mem::take(&mut self.listener_tables);
        self.filters.begin();
        let mut index = ListenerIndex::default();
        for listener in listeners.values() {
            self.index(next, &mut index, listener, refused);
        }
        self.filters.end();
        for key in before {
            if key.starts_with(INLINE) && !self.listener_tables.contains(&key) {
                self.remove_table(next, &key);
            }
            self.table_numbers.release(&key);
        }
        next.listeners = Arc::new(listeners);
        next.index = Arc::new(index);
    }

    /// Whether the routes that a listener carries compile. A refusal names the listener: its routes have no name of
    /// their own that a source would know.
    fn check_inline(&self, next: &Snapshot, listener: &Listener) -> Result<(), Invalid> {
        for (chain, manager) in managers(listener) {
            if let RouteSource::Inline(config) = &manager.routes
                && !next.tables().any(|table| Arc::ptr_eq(&table.config, config))
            {
                RouteTable::compile(config, &mut |_| ClusterId(0)).map_err(|invalid| {
                    let name = ResourceName::new(ResourceKind::Listener, Arc::clone(&listener.name));
                    let field = format!("{chain}.route_config.{}", invalid.field.as_str());
                    Invalid::new(name, field, invalid.problem)
                })?;
            }
        }
        Ok(())
    }

    fn index(
        &mut self,
        next: &mut Snapshot,
        index: &mut ListenerIndex,
        listener: &Arc<Listener>,
        refused: &mut Vec<Invalid>,
    ) {
        if let Some(manager) = &listener.api_listener {
            let scope = self.scope(next, listener, "api", manager, refused);
            index.api.insert(Arc::clone(&listener.name), scope);
        }
        if listener.direction == Direction::Inbound {
            let mut chain = |chain: &FilterChain, at: usize| InboundChain {
                http: manager(chain).map(|manager| self.scope(next, listener, &at.to_string(), manager, refused)),
                chain: Arc::new(chain.clone()),
            };
            let chains = listener.filter_chains.iter().enumerate().map(|(at, one)| chain(one, at)).collect();
            let default = listener.default_filter_chain.as_ref().map(|one| chain(one, usize::MAX));
            index.inbound.push(Inbound { listener: Arc::clone(listener), chains, default });
            return;
        }
        let Some(address) = listener.address else { return };
        let general = |chain: &&FilterChain| chain.matches.destination_port.is_none();
        let chains = listener.filter_chains.iter().filter(general).chain(&listener.default_filter_chain);
        if listener.use_original_dst {
            if let Some(chain) = chains.last() {
                index.fallback = Some(self.fallback(next, listener, chain, refused));
            }
            return;
        }
        // A caller in this process speaks HTTP: the chain that speaks it serves the port.
        let Some(first) = chains.filter_map(manager).next() else { return };
        let scope = self.scope(next, listener, "0", first, refused);
        if !listener.bind_to_port {
            insert_scope(index, address, scope);
            return;
        }
        let mut served = |chain: &FilterChain, at: usize| InboundChain {
            http: manager(chain).map(|manager| {
                if Arc::ptr_eq(manager, first) {
                    scope.clone()
                } else {
                    self.scope(next, listener, &format!("served/{at}"), manager, refused)
                }
            }),
            chain: Arc::new(chain.clone()),
        };
        let all = listener.filter_chains.iter().enumerate().map(|(at, one)| served(one, at)).collect();
        let default = listener.default_filter_chain.as_ref().map(|one| served(one, usize::MAX));
        let all = Inbound { listener: Arc::clone(listener), chains: all, default };
        index.served.insert(Arc::clone(&listener.name), all);
        insert_scope(index, address, scope);
    }

    fn scope(
        &mut self,
        next: &mut Snapshot,
        listener: &Listener,
        chain: &str,
        manager: &Arc<HttpConnectionManager>,
        refused: &mut Vec<Invalid>,
    ) -> HttpScope {
        let key = match &manager.routes {
            RouteSource::Rds(name) => route_key(name),
            RouteSource::Inline(config) => {
                let key = format!("{INLINE}{}/{chain}", listener.name);
                self.inline(next, &key, config, refused);
                key
            }
        };
        let table = TableId(self.hold_for_listeners(key));
        let filters = self.filters.of(&format!("{}/{chain}", listener.name), manager);
        HttpScope { manager: Arc::clone(manager), table, listener: Arc::clone(&listener.name), filters }
    }

    /// Whatever `virtualOutbound` does with a port that nobody declared, as a route table.
    fn fallback(
        &mut self,
        next: &mut Snapshot,
        listener: &Listener,
        chain: &FilterChain,
        refused: &mut Vec<Invalid>,
    ) -> HttpScope {
        match &chain.handler {
            ChainHandler::Http(manager) => self.scope(next, listener, "fallback", manager, refused),
            ChainHandler::Tcp { cluster } => {
                let config = Arc::new(forward_all(&listener.name, cluster));
                // A TCP proxy knows no streams that could be idle.
                let manager = HttpConnectionManager::inline(config);
                let manager = Arc::new(HttpConnectionManager { stream_idle_timeout: None, ..manager });
                self.scope(next, listener, "fallback", &manager, refused)
            }
        }
    }

    fn inline(&mut self, next: &mut Snapshot, key: &str, config: &Arc<RouteConfiguration>, refused: &mut Vec<Invalid>) {
        let before = self.table_numbers.find(key).and_then(|number| next.tables.get(number));
        if before.is_some_and(|before| Arc::ptr_eq(&before.config, config) || before.config == *config) {
            return;
        }
        if let Err(invalid) = self.table(next, key, Arc::clone(config)) {
            refused.push(invalid);
        }
    }

    /// The number of a table that a listener uses, held once for all listeners.
    fn hold_for_listeners(&mut self, key: String) -> u32 {
        match self.table_numbers.find(&key) {
            Some(number) if self.listener_tables.contains(&key) => number,
            _ => {
                let number = self.table_numbers.hold(&key);
                self.listener_tables.insert(key);
                number
            }
        }
    }
}

/// Keys of tables that listeners carry; route configurations are `rds/<name>`.
const INLINE: &str = "inline/";

/// Routes that send everything to one cluster, without a limit in time, as a TCP proxy would.
fn forward_all(name: &Name, cluster: &Name) -> RouteConfiguration {
    let forward = Forward { timeout: Some(Duration::ZERO), ..Forward::to(Arc::clone(cluster)) };
    let route = Route::new(RouteMatch::prefix("/"), RouteAction::Forward(Box::new(forward)));
    let host = VirtualHost {
        name: Arc::clone(name),
        domains: vec!["*".to_owned()],
        routes: vec![route],
        ..VirtualHost::default()
    };
    RouteConfiguration { name: Arc::clone(name), virtual_hosts: vec![host], ..RouteConfiguration::default() }
}

/// Listeners on any address come first.
fn insert_scope(index: &mut ListenerIndex, address: ListenerAddress, scope: HttpScope) {
    let scopes = index.outbound.entry(address.port).or_default();
    if address.ip.is_unspecified() { scopes.insert(0, scope) } else { scopes.push(scope) }
}

/// Whether the HTTP filters of a listener can be made.
fn check_filters(listener: &Listener) -> Result<(), Invalid> {
    for (chain, manager) in managers(listener) {
        Filters::check(manager, &chain).map_err(|(field, problem)| {
            Invalid::new(ResourceName::new(ResourceKind::Listener, Arc::clone(&listener.name)), field, problem)
        })?;
    }
    Ok(())
}

fn route_key(name: &str) -> String {
    format!("rds/{name}")
}

/// The connection managers of a listener, with the field that each is found in.
fn managers(listener: &Listener) -> impl Iterator<Item = (String, &Arc<HttpConnectionManager>)> {
    let chains = listener.filter_chains.iter().enumerate().map(|(at, chain)| (format!("filter_chains[{at}]"), chain));
    let default = listener.default_filter_chain.iter().map(|chain| ("default_filter_chain".to_owned(), chain));
    let chains = chains.chain(default).filter_map(|(field, chain)| Some((field, manager(chain)?)));
    chains.chain(listener.api_listener.iter().map(|manager| ("api_listener".to_owned(), manager)))
}

fn remember(
    map: &mut HashMap<Name, Arc<ClusterLoadAssignment>>,
    name: Name,
    value: Option<Arc<ClusterLoadAssignment>>,
) {
    match value {
        Some(value) => map.insert(name, value),
        None => map.remove(&name),
    };
}

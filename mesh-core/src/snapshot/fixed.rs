//! A snapshot that never changes, for whoever uses a layer without a mesh: routes for every port, and clusters.

use std::sync::Arc;

use super::{Change, Compiler, Snapshot, Update};
use crate::resource::Invalid;
use crate::resource::cluster::Cluster;
use crate::resource::listener::{
    ChainHandler, Direction, FilterChain, FilterChainMatch, HttpConnectionManager, Listener, ListenerAddress,
    RouteSource,
};
use crate::resource::metadata::Metadata;
use crate::resource::route::RouteConfiguration;

impl Snapshot {
    /// `routes` for requests to any port, over `clusters`. `seed` decides where balancers start their turns.
    ///
    /// # Errors
    /// Routes that do not compile.
    pub fn fixed(routes: RouteConfiguration, clusters: Vec<Cluster>, seed: u64) -> Result<Arc<Self>, Invalid> {
        let manager = HttpConnectionManager::new(RouteSource::Rds(Arc::clone(&routes.name)));
        let chain = FilterChain {
            name: Arc::clone(&routes.name),
            matches: FilterChainMatch::default(),
            handler: ChainHandler::Http(Arc::new(manager)),
            transport_socket: false,
        };
        let listener = Listener {
            name: Arc::clone(&routes.name),
            address: Some(ListenerAddress { ip: [0, 0, 0, 0].into(), port: 0 }),
            direction: Direction::Outbound,
            use_original_dst: true,
            bind_to_port: false,
            filter_chains: Vec::new(),
            default_filter_chain: Some(chain),
            api_listener: None,
            metadata: Metadata::new(),
        };
        let (snapshot, refused) = Compiler::new(seed).apply(Update {
            listeners: vec![Change::Set(Arc::new(listener))],
            routes: vec![Change::Set(Arc::new(routes))],
            clusters: clusters.into_iter().map(|cluster| Change::Set(Arc::new(cluster))).collect(),
            ..Update::default()
        });
        refused.into_iter().next().map_or(Ok(snapshot), Err)
    }
}

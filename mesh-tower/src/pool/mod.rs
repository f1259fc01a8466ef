//! Connections to one endpoint of one cluster, kept in the endpoint's [`Transport`](mesh_core::state::Transport) and shared by all requests.
//!
//! HTTP/2 goes over the `h2` crate, HTTP/1.1 over hyper: see `docs/decisions/`. A pool lives as long as the
//! cluster's connection settings stay the same; requests under way on an older one finish there.
//!
//! ```text
//! request ─▶ a connection with a free stream ──────────────▶ sent at once
//!        └─▶ none free: admitted as pending ─▶ (connect) ─▶ woken ─▶ sent
//! ```
//!
//! Connecting is a task of the pool, not of the request that caused it: a request that is given up leaves
//! the connection to the next one.

mod connect;
mod h1;
mod h2;
pub(crate) mod io;
mod waiters;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::exchange::Target;
use mesh_core::resource::cluster::{Http2Options, HttpConnectionOptions, TcpKeepalive, UpstreamProtocol};
use mesh_core::resource::endpoint::Address;
use mesh_core::snapshot::Cluster;
use tokio::runtime::Handle;

use crate::error::Error;

pub(crate) use self::h1::{H1Lease, H1Pool, PoolBody};
pub(crate) use self::h2::{H2Pool, H2Stream, reset_of as h2_reset};

/// Where connections live: the runtime that drives them.
#[derive(Clone, Debug)]
pub struct Connector {
    runtime: Handle,
}

impl Connector {
    /// Connections are driven by `runtime`, wherever requests are made from.
    #[must_use]
    pub const fn new(runtime: Handle) -> Self {
        Self { runtime }
    }

    /// Connections are driven by the runtime that this is called on.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    #[must_use]
    pub fn current() -> Self {
        Self::new(Handle::current())
    }

    pub(crate) const fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// The pool of a target's endpoint, made on first use.
    pub(crate) fn pool<'a>(&self, target: &'a Target) -> Result<&'a EndpointPool, Error> {
        let host = target.host().ok_or(Error::NoHealthyHost)?;
        let make = || EndpointPool::new(&target.cluster, &host.endpoint.address, self.runtime.clone());
        host.transport.attached(make).ok_or(Error::NoHealthyHost)
    }
}

/// The connections to one endpoint.
pub(crate) struct EndpointPool {
    pub(crate) protocol: UpstreamProtocol,
    pub(crate) h1: Arc<H1Pool>,
    pub(crate) h2: Arc<H2Pool>,
}

/// What every connection of a pool has in common.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) address: Address,
    pub(crate) connect_timeout: Duration,
    pub(crate) tcp_keepalive: Option<TcpKeepalive>,
    pub(crate) http: HttpConnectionOptions,
    pub(crate) http2: Http2Options,
    pub(crate) runtime: Handle,
}

impl Settings {
    fn of(cluster: &Cluster, address: &Address, runtime: Handle) -> Self {
        let config = cluster.config();
        Self {
            address: address.clone(),
            connect_timeout: config.connect_timeout,
            tcp_keepalive: config.tcp_keepalive,
            http: config.http,
            http2: config.http2,
            runtime,
        }
    }
}

/// Opens a byte stream of its own to an address of a cluster; nothing but its own failure bounds how long that takes.
///
/// Must be called on a Tokio runtime.
pub(crate) async fn open(cluster: &Cluster, address: &Address) -> std::io::Result<io::Io> {
    connect::open(&Settings::of(cluster, address, Handle::current())).await
}

impl EndpointPool {
    fn new(cluster: &Cluster, address: &Address, runtime: Handle) -> Self {
        let settings = Arc::new(Settings::of(cluster, address, runtime));
        Self { protocol: cluster.config().protocol, h1: H1Pool::new(Arc::clone(&settings)), h2: H2Pool::new(settings) }
    }
}

impl Drop for EndpointPool {
    /// The endpoint is gone or its connection settings have changed: what is idle ends now, what is in use with its
    /// request.
    fn drop(&mut self) {
        self.h1.close();
        self.h2.close();
    }
}

impl fmt::Debug for EndpointPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointPool").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

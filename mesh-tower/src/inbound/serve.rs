//! Accepts connections and serves them until told to drain.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use mesh_core::engine::facts::ConnectionFacts;
use mesh_core::snapshot::SnapshotStore;
use tokio::net::TcpListener;
use tower_service::Service;

use super::{Cover, Inbound, cover};
use crate::accept;
use crate::body::RequestBody;
use crate::error::BoxError;
use crate::outbound::route::lane;

/// How a port is served.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where the inbound configuration in force is found.
    pub snapshots: SnapshotStore,
    /// Serve although no inbound listener has arrived at all. Default false: such connections are closed.
    pub allow_unconfigured_ports: bool,
    /// How long requests under way may take after the shutdown began, default 5 s (Istio's
    /// `terminationDrainDuration`); what is left then is cut off.
    pub drain_timeout: Duration,
    /// How long a connection may take to send a request's headers (HTTP/1.1), default 30 s.
    pub header_read_timeout: Duration,
    /// Streams at once on an HTTP/2 connection, default 1024.
    pub max_concurrent_streams: u32,
}

impl ServeOptions {
    /// The defaults, over the configuration in `snapshots`.
    #[must_use]
    pub const fn new(snapshots: SnapshotStore) -> Self {
        Self {
            snapshots,
            allow_unconfigured_ports: false,
            drain_timeout: Duration::from_secs(5),
            header_read_timeout: Duration::from_secs(30),
            max_concurrent_streams: 1024,
        }
    }
}

/// Serves `service` on `listener`, HTTP/1.1 and HTTP/2, until `shutdown` completes; then stops accepting, lets
/// requests under way finish within the drain timeout, and returns.
///
/// # Errors
/// The listener's address cannot be told. Errors of single connections, and a process out of file descriptors,
/// end neither this future nor other connections.
///
/// # Cancel safety
/// Dropping the future closes the listener and, at their next step, the connections it accepted.
pub async fn serve<S, RB>(
    listener: TcpListener,
    service: S,
    options: ServeOptions,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()>
where
    S: Service<Request<RequestBody<Incoming>>, Response = Response<RB>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    RB: Body<Data = Bytes> + Send + 'static,
    RB::Error: Into<BoxError>,
{
    let ServeOptions { snapshots, allow_unconfigured_ports, drain_timeout, .. } = options;
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(options.header_read_timeout);
    server.http2().timer(TokioTimer::new()).max_concurrent_streams(options.max_concurrent_streams);
    accept::serve(listener, drain_timeout, shutdown, move |connection| {
        if !admits(&snapshots, &connection, allow_unconfigured_ports) {
            return None;
        }
        let inbound = Inbound::new(service.clone(), snapshots.clone(), connection, allow_unconfigured_ports);
        Some((server.clone(), inbound))
    })
    .await
}

/// Whether a connection may be served; else it is closed.
fn admits(snapshots: &SnapshotStore, connection: &ConnectionFacts, allow_unconfigured: bool) -> bool {
    let (local, remote) = (connection.local, connection.remote);
    match cover(&snapshots.pin(lane()), connection) {
        Cover::Chain => true,
        Cover::Unconfigured if allow_unconfigured => true,
        Cover::Unconfigured => {
            tracing::warn!(?local, "connection closed: no inbound configuration has arrived for this port");
            false
        }
        Cover::Refused => {
            tracing::debug!(?local, ?remote, "connection closed: no filter chain takes it");
            false
        }
    }
}

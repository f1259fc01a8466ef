//! Accepts connections and serves them until told to drain.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use mesh_core::engine::facts::ConnectionFacts;
use mesh_core::snapshot::SnapshotStore;
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service;

use super::{Cover, Inbound, cover};
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
    let local = listener.local_addr()?;
    let graceful = GracefulShutdown::new();
    let mut connections = tokio::task::JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let (stream, remote) = tokio::select! {
            () = &mut shutdown => break,
            // Finished connections are reaped as they end, so that the set is as long as what is open.
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, or a peer that is gone already: the port must survive either.
                    tracing::warn!(%error, %local, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        if let Some(connection) = admit(&stream, remote, local, &options) {
            let inbound =
                Inbound::new(service.clone(), options.snapshots.clone(), connection, options.allow_unconfigured_ports);
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http1().timer(TokioTimer::new()).header_read_timeout(options.header_read_timeout);
            builder.http2().timer(TokioTimer::new()).max_concurrent_streams(options.max_concurrent_streams);
            let served =
                builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(inbound));
            let served = graceful.watch(served.into_owned());
            connections.spawn(async move {
                if let Err(error) = served.await {
                    tracing::debug!(%error, "inbound connection ended");
                }
            });
        }
    }
    drop(listener);
    if tokio::time::timeout(options.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!(%local, "drain timeout: connections are cut off");
    }
    connections.shutdown().await;
    Ok(())
}

/// The facts of a connection that may be served; `None` closes it.
fn admit(
    stream: &TcpStream,
    remote: SocketAddr,
    local: SocketAddr,
    options: &ServeOptions,
) -> Option<Arc<ConnectionFacts>> {
    let _ = stream.set_nodelay(true);
    let connection = ConnectionFacts {
        remote: Some(remote),
        local: stream.local_addr().ok().or(Some(local)),
        protocol: "",
        tls: None,
    };
    match cover(&options.snapshots.pin(lane()), &connection) {
        Cover::Chain => {}
        Cover::Unconfigured if options.allow_unconfigured_ports => {}
        Cover::Unconfigured => {
            tracing::warn!(%local, "connection closed: no inbound configuration has arrived for this port");
            return None;
        }
        Cover::Refused => {
            tracing::debug!(%local, %remote, "connection closed: no filter chain takes it");
            return None;
        }
    }
    Some(Arc::new(connection))
}

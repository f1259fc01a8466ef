//! Accepts connections and serves them until told to drain: the same for the application's ports and for listeners that are
//! opened for others.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use mesh_core::engine::facts::ConnectionFacts;
use mesh_core::snapshot::AcceptedConnection;
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service;

use crate::error::BoxError;

/// How an admitted connection is served.
pub(crate) type Admitted<S> = (auto::Builder<TokioExecutor>, S);

/// Serves the connections of `tcp` that `admit` takes until `shutdown` completes; then stops accepting, lets requests
/// under way finish within `drain_timeout`, and returns.
///
/// # Errors
/// The socket's address cannot be told. Errors of single connections, and a process out of file descriptors, end neither
/// this future nor other connections.
///
/// # Cancel safety
/// Dropping the future closes the socket and, at their next step, the connections it accepted.
pub(crate) async fn serve<S, B>(
    tcp: TcpListener,
    drain_timeout: Duration,
    shutdown: impl Future<Output = ()>,
    mut admit: impl FnMut(Arc<ConnectionFacts>) -> Option<Admitted<S>>,
) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let local = tcp.local_addr()?;
    let graceful = GracefulShutdown::new();
    let mut connections = tokio::task::JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let (stream, remote) = tokio::select! {
            () = &mut shutdown => break,
            // Finished connections are reaped as they end, so that the set is as long as what is open.
            Some(_) = connections.join_next() => continue,
            accepted = tcp.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, or a peer that is gone already: the port must survive either.
                    tracing::warn!(%error, %local, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let Some((server, service)) = admit(facts(&stream, remote, local)) else { continue };
        let served = server.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service));
        let served = graceful.watch(served.into_owned());
        connections.spawn(async move {
            if let Err(error) = served.await {
                tracing::debug!(%error, %local, "accepted connection ended");
            }
        });
    }
    drop(tcp);
    if tokio::time::timeout(drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!(%local, "drain timeout: connections are cut off");
    }
    connections.shutdown().await;
    Ok(())
}

/// The facts of a connection over plain TCP.
fn facts(stream: &TcpStream, remote: SocketAddr, local: SocketAddr) -> Arc<ConnectionFacts> {
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().ok().or(Some(local));
    Arc::new(ConnectionFacts { remote: Some(remote), local, protocol: "", tls: None, slots: Some(Arc::default()) })
}

/// A connection as filter chains match it.
pub(crate) fn accepted(connection: &ConnectionFacts) -> Option<AcceptedConnection<'_>> {
    let (transport_protocol, server_name) = match &connection.tls {
        Some(tls) => ("tls", tls.server_name.as_str()),
        None => ("raw_buffer", ""),
    };
    Some(AcceptedConnection { local: connection.local?, transport_protocol, application_protocols: &[], server_name })
}

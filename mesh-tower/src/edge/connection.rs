//! What is known of an accepted connection.

use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::engine::facts::ConnectionFacts;
use mesh_core::snapshot::AcceptedConnection;
use tokio::net::TcpStream;

/// The facts of a connection over plain TCP.
pub(crate) fn facts(stream: &TcpStream, remote: SocketAddr, local: SocketAddr) -> Arc<ConnectionFacts> {
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().ok().or(Some(local));
    Arc::new(ConnectionFacts { remote: Some(remote), local, protocol: "", tls: None })
}

/// A connection as filter chains match it.
pub(crate) fn accepted(connection: &ConnectionFacts) -> Option<AcceptedConnection<'_>> {
    let (transport_protocol, server_name) = match &connection.tls {
        Some(tls) => ("tls", tls.server_name.as_str()),
        None => ("raw_buffer", ""),
    };
    Some(AcceptedConnection { local: connection.local?, transport_protocol, application_protocols: &[], server_name })
}

//! Accepts connections for one listener until told to drain.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use mesh_core::resource::Name;
use mesh_core::resource::listener::HttpConnectionManager;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::entry::{Entry, scope};
use crate::accept;
use crate::outbound::Outbound;
use crate::outbound::route::lane;

/// How a listener is served.
#[derive(Clone, Debug)]
pub struct EdgeOptions {
    /// The listener's name: it is found by it, wherever it was opened.
    pub listener: Name,
    /// By which address others know this machine: named in `x-forwarded-for` for callers on the same machine. `None`: theirs.
    pub node: Option<IpAddr>,
    /// How long requests under way may take after the shutdown began; what is left then is cut off.
    pub drain_timeout: Duration,
}

/// Serves connections of `tcp` through a listener's connection manager and `stack`, HTTP/1.1 and HTTP/2, until `shutdown`
/// completes; then stops accepting, lets requests under way finish within the drain timeout, and returns.
///
/// # Errors
/// The socket's address cannot be told. Errors of single connections, and a process out of file descriptors, end neither
/// this future nor other connections.
///
/// # Cancel safety
/// Dropping the future closes the socket and, at their next step, the connections it accepted.
pub async fn serve(
    tcp: TcpListener,
    stack: Outbound,
    options: EdgeOptions,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let EdgeOptions { listener, node, drain_timeout } = options;
    // Ends upgraded connections once everything has drained.
    let (_open, open) = watch::channel(());
    accept::serve(tcp, drain_timeout, shutdown, |connection| {
        let Some(scope) = scope(&stack.pin(lane()), &listener, &connection) else {
            tracing::debug!(local = ?connection.local, remote = ?connection.remote, "connection closed: no filter chain takes it");
            return None;
        };
        Some((server(&scope.manager), Entry::new(&stack, listener.clone(), node, connection, open.clone())))
    })
    .await
}

/// A server with the limits of a connection manager.
fn server(manager: &HttpConnectionManager) -> auto::Builder<TokioExecutor> {
    let options = &manager.downstream;
    let bytes = options.max_request_headers_kb.saturating_mul(1024);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let mut http1 = builder.http1();
    http1.timer(TokioTimer::new());
    http1.max_headers(usize::try_from(options.max_headers_count).unwrap_or(usize::MAX));
    // The least that the server takes is 8 KiB.
    http1.max_buf_size(usize::try_from(bytes).unwrap_or(usize::MAX).max(8192));
    // It waits for the head from the moment that nothing else is to be done: so this is the idle timeout, too.
    http1.header_read_timeout(manager.idle_timeout);
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new());
    http2.max_concurrent_streams(options.http2.max_concurrent_streams);
    http2.initial_stream_window_size(options.http2.initial_stream_window_size);
    http2.initial_connection_window_size(options.http2.initial_connection_window_size);
    if let Some(keepalive) = options.http2.keepalive {
        http2.keep_alive_interval(keepalive.interval);
        http2.keep_alive_timeout(keepalive.timeout);
    }
    http2.max_header_list_size(bytes);
    builder
}

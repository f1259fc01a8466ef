//! HTTP/2 over the `h2` crate: a script gets each connection, or a handler each request.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};

/// One accepted connection after its handshake.
pub(crate) type H2Connection = Connection<TcpStream, Bytes>;

/// A server that runs a script per connection.
pub(crate) struct H2Server {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    _running: tokio::task::JoinSet<()>,
}

impl H2Server {
    /// Runs `script` with each connection and its number, from 1. The connection closes when the script ends.
    pub(crate) async fn start<F>(
        settings: impl FnOnce(&mut Builder),
        script: impl Fn(usize, H2Connection) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counted, opened) = (Arc::clone(&connections), Arc::clone(&open));
        let mut builder = Builder::new();
        settings(&mut builder);
        let mut running = tokio::task::JoinSet::new();
        running.spawn(async move {
            let mut scripts = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
                opened.fetch_add(1, Ordering::SeqCst);
                let opened = Arc::clone(&opened);
                match builder.handshake(stream).await {
                    Ok(connection) => {
                        let script = script(number, connection);
                        scripts.spawn(async move {
                            script.await;
                            opened.fetch_sub(1, Ordering::SeqCst);
                        });
                    }
                    Err(_) => {
                        opened.fetch_sub(1, Ordering::SeqCst);
                    }
                }
            }
        });
        Self { address, connections, open, _running: running }
    }

    /// Runs `handler` with each request of each connection, at the same time.
    pub(crate) async fn serve<F>(
        settings: impl FnOnce(&mut Builder),
        handler: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start(settings, move |_, mut connection| {
            let handler = handler.clone();
            async move {
                let mut handlers = tokio::task::JoinSet::new();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    handlers.spawn(handler(request, respond));
                }
                handlers.join_all().await;
            }
        })
        .await
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Connections whose script has not ended.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

/// 200 with this body.
pub(crate) fn answer(respond: &mut SendResponse<Bytes>, body: impl Into<Bytes>) {
    if let Ok(mut stream) = respond.send_response(Response::new(()), false) {
        let _ = stream.send_data(body.into(), true);
    }
}

/// 200 with this body and these trailers.
pub(crate) fn answer_with(respond: &mut SendResponse<Bytes>, body: impl Into<Bytes>, trailers: HeaderMap) {
    if let Ok(mut stream) = respond.send_response(Response::new(()), false) {
        let _ = stream.send_data(body.into(), false);
        let _ = stream.send_trailers(trailers);
    }
}

/// Sends back what arrives, as it arrives, from the first byte on.
pub(crate) async fn echo(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let mut body = request.into_body();
    let Ok(mut stream) = respond.send_response(Response::new(()), false) else { return };
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        if stream.send_data(data, false).is_err() {
            return;
        }
    }
    match body.trailers().await {
        Ok(Some(trailers)) => drop(stream.send_trailers(trailers)),
        _ => drop(stream.send_data(Bytes::new(), true)),
    }
}

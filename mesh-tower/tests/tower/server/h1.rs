//! HTTP/1.1 as text: a script gets each connection and says every byte.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server that runs a script per connection.
pub(crate) struct H1Server {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    _running: tokio::task::JoinSet<()>,
}

/// One accepted connection.
pub(crate) struct H1Connection {
    /// Which one, from 1.
    pub(crate) number: usize,
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

/// A request as it arrived.
#[derive(Debug)]
pub(crate) struct H1Request {
    /// Request line and headers.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl H1Server {
    pub(crate) async fn start<F>(script: impl Fn(H1Connection) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let mut running = tokio::task::JoinSet::new();
        running.spawn(async move {
            let mut scripts = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
                scripts.spawn(script(H1Connection { number, stream, buffer: Vec::new() }));
            }
        });
        Self { address, connections, _running: running }
    }

    /// Answers every request of every connection with its own body.
    pub(crate) async fn echo() -> Self {
        Self::start(|mut connection| async move {
            while let Some(request) = connection.request().await {
                connection.respond(200, &request.body).await;
            }
        })
        .await
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl H1Connection {
    /// The next request, read whole; `None` when the client has closed.
    pub(crate) async fn request(&mut self) -> Option<H1Request> {
        let head = self.head().await?;
        let lower = head.to_ascii_lowercase();
        let body = match lower.split("content-length:").nth(1) {
            Some(rest) => self.take(rest.lines().next()?.trim().parse().unwrap()).await?,
            None if lower.contains("transfer-encoding: chunked") => self.chunks().await?,
            None => Vec::new(),
        };
        Some(H1Request { head, body })
    }

    /// The next request's head alone.
    pub(crate) async fn head(&mut self) -> Option<String> {
        let end = self.find(b"\r\n\r\n").await?;
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        Some(String::from_utf8(head).unwrap())
    }

    /// Exactly so many bytes.
    pub(crate) async fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Some(self.buffer.drain(..length).collect())
    }

    async fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = self.find(b"\r\n").await?;
            let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let length = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
            body.extend(self.take(length).await?);
            assert_eq!(self.take(2).await?, b"\r\n");
            if length == 0 {
                return Some(body);
            }
        }
    }

    async fn find(&mut self, text: &[u8]) -> Option<usize> {
        loop {
            if let Some(at) = self.buffer.windows(text.len()).position(|window| window == text) {
                return Some(at);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Option<()> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }

    /// A response with a body of known length.
    pub(crate) async fn respond(&mut self, status: u16, body: &[u8]) {
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
        let _ = self.stream.write_all(&[head.as_bytes(), body].concat()).await;
    }

    /// Bytes as they are.
    pub(crate) async fn send(&mut self, bytes: &str) {
        let _ = self.stream.write_all(bytes.as_bytes()).await;
    }

    /// Closes with a reset instead of an orderly end.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    /// Waits for the client to close.
    pub(crate) async fn closed(mut self) {
        while self.fill().await.is_some() {}
    }
}

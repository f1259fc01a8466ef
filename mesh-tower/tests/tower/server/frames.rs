//! HTTP/2 frame by frame, for what a proper implementation would not do: unanswered pings, hard GOAWAYs.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Frame types (RFC 9113 §6).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const GOAWAY: u8 = 7;
}

/// A server that runs a script per connection.
pub(crate) struct FrameServer {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    _running: tokio::task::JoinSet<()>,
}

/// One accepted connection after the preface.
pub(crate) struct Frames {
    /// Which one, from 1.
    pub(crate) number: usize,
    stream: TcpStream,
}

/// A frame as it arrived.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

impl Frame {
    /// Whether it ends its side of the stream.
    pub(crate) fn ends_stream(&self) -> bool {
        matches!(self.kind, kind::DATA | kind::HEADERS) && self.flags & 1 != 0
    }
}

impl FrameServer {
    pub(crate) async fn start<F>(script: impl Fn(Frames) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Option<()>> + Send + 'static,
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
                let mut frames = Frames { number, stream };
                if frames.preface().await.is_some() {
                    let script = script(frames);
                    scripts.spawn(async move {
                        let _ = script.await;
                    });
                }
            }
        });
        Self { address, connections, _running: running }
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Frames {
    async fn preface(&mut self) -> Option<()> {
        let mut preface = [0; 24];
        self.stream.read_exact(&mut preface).await.ok()?;
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        self.send(kind::SETTINGS, 0, 0, &[]).await
    }

    /// The next frame; settings are acknowledged on the way. `None` when the client has closed.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).ok()?];
        self.stream.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if head[3] == kind::SETTINGS && head[4] & 1 == 0 {
            self.send(kind::SETTINGS, 1, 0, &[]).await?;
        }
        Some(Frame { kind: head[3], flags: head[4], stream })
    }

    /// The next frame that ends a request; its stream.
    pub(crate) async fn request(&mut self) -> Option<u32> {
        loop {
            let frame = self.next().await?;
            if frame.ends_stream() {
                return Some(frame.stream);
            }
        }
    }

    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Option<()> {
        let length = u32::try_from(payload.len()).ok()?.to_be_bytes();
        let frame = [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat();
        self.stream.write_all(&frame).await.ok()
    }

    /// GOAWAY: no stream above `last` was processed.
    pub(crate) async fn go_away(&mut self, last: u32) -> Option<()> {
        self.send(kind::GOAWAY, 0, 0, &[last.to_be_bytes(), 0_u32.to_be_bytes()].concat()).await
    }

    /// `:status: 200` without a body.
    pub(crate) async fn ok(&mut self, stream: u32) -> Option<()> {
        // 0x88 is the static table's `:status: 200`; END_STREAM and END_HEADERS.
        self.send(kind::HEADERS, 5, stream, &[0x88]).await
    }
}

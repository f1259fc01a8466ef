//! Upstreams that do exactly what a test says: HTTP/1.1 as text, HTTP/2 over the `h2` crate, HTTP/2 as frames.

mod frames;
mod h1;
mod h2;

pub(crate) use self::frames::{FrameServer, kind};
pub(crate) use self::h1::H1Server;
pub(crate) use self::h2::{H2Server, answer, answer_with, echo};

use std::net::SocketAddr;

use tokio::net::TcpListener;

/// An address on which nobody listens: bound once, so that nobody else gets it soon, and given up.
pub(crate) async fn refused_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

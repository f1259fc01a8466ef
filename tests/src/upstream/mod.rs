//! The servers that the recorded Envoy talked to, played on loopback with ports of our own.
//!
//! Recorded ports are labels here: [`Upstreams::address`] gives the address that stands for one. What a server does with a
//! request the request says itself (`x-up`, see [`Script`]); what arrived is kept by its `x-id`.

mod h1;
mod h2;
mod journal;
mod script;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

pub use self::journal::{Arrival, Journal};
pub use self::script::{Instead, Script};
use crate::observed::Headers;

/// HTTP/1.1, clusters `up` and others.
pub const UP: u16 = 21001;
/// HTTP/1.1, cluster `up2`.
pub const UP2: u16 = 21002;
/// Refuses connections, cluster `dead`.
pub const DEAD: u16 = 21003;
/// HTTP/2, cluster `h2up`.
pub const H2UP: u16 = 21004;
/// HTTP/1.1, cluster `mir`: a mirror.
pub const MIR: u16 = 21005;
/// HTTP/1.1, cluster `mir2`: another mirror.
pub const MIR2: u16 = 21006;
/// Takes no connection and refuses none, cluster `hole`. Not a recorded port.
pub const HOLE: u16 = 1;

/// All servers, until dropped.
#[derive(Debug)]
pub struct Upstreams {
    addresses: BTreeMap<u16, SocketAddr>,
    /// What arrived.
    pub journal: Arc<Journal>,
    _held: Vec<Socket>,
}

impl Upstreams {
    /// Starts all servers on the current runtime.
    ///
    /// # Panics
    /// When loopback has no free ports.
    pub async fn start() -> Self {
        let journal = Arc::new(Journal::default());
        let mut addresses = BTreeMap::new();
        for port in [UP, UP2, MIR, MIR2] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            addresses.insert(port, listener.local_addr().unwrap());
            tokio::spawn(h1::serve(listener, port, Arc::clone(&journal)));
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        addresses.insert(H2UP, listener.local_addr().unwrap());
        tokio::spawn(h2::serve(listener, H2UP, Arc::clone(&journal)));
        // Bound and never listening: the port is ours, and connections to it are refused.
        let dead = bound();
        addresses.insert(DEAD, address(&dead));
        let hole = hole().await;
        addresses.insert(HOLE, address(&hole[0]));
        let mut held = hole;
        held.push(dead);
        Self { addresses, journal, _held: held }
    }

    /// The address that stands for a recorded port.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn address(&self, port: u16) -> SocketAddr {
        self.addresses[&port]
    }

    /// A text with recorded addresses, written with ours.
    #[must_use]
    pub fn translate(&self, text: &str) -> String {
        self.addresses.iter().fold(text.to_owned(), |text, (port, address)| {
            text.replace(&format!("127.0.0.1:{port}"), &address.to_string())
        })
    }
}

/// A request's headers without those by which the harness steers.
fn journal_headers(headers: Headers) -> Headers {
    headers.into_iter().filter(|(name, _)| !matches!(name.as_str(), "x-id" | "x-up")).collect()
}

fn bound() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket
}

fn address(socket: &Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}

/// A listener whose queue is full, and the connections that fill it: the next SYN is dropped.
async fn hole() -> Vec<Socket> {
    let listener = bound();
    listener.listen(0).unwrap();
    let target = address(&listener).into();
    let mut held = vec![listener];
    for _ in 0..8 {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        filler.set_nonblocking(true).unwrap();
        // In progress at best: whether it was taken does not matter.
        let _ = filler.connect(&target);
        held.push(filler);
    }
    // Until the kernel has sorted out which of them are taken.
    tokio::time::sleep(Duration::from_millis(20)).await;
    held
}

//! Makes one byte stream to an endpoint, within the cluster's connect timeout.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::engine::retry::Reset;
use mesh_core::resource::cluster::TcpKeepalive;
use mesh_core::resource::endpoint::Address;
use tokio::net::TcpStream;

use super::Settings;
use super::io::Io;
use crate::error::Error;

/// Why a connection was not made. Many requests may have waited for it.
#[derive(Clone, Debug)]
pub(super) struct ConnectError {
    reset: Reset,
    text: Arc<str>,
}

impl ConnectError {
    pub(super) fn new(reset: Reset, text: impl fmt::Display) -> Self {
        Self { reset, text: text.to_string().into() }
    }
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        Self::Reset { reset: error.reset, source: Some(Box::new(error)) }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for ConnectError {}

/// Connects, and finishes `handshake` over the stream, within the connect timeout.
pub(super) async fn connect<T>(
    settings: &Settings,
    handshake: impl AsyncFnOnce(Io) -> Result<T, ConnectError>,
) -> Result<T, ConnectError> {
    let connecting = async {
        let io = open(settings).await.map_err(|error| {
            tracing::debug!(address = %settings.address, %error, "not connected");
            ConnectError::new(Reset::ConnectFailure, delayed(&error))
        })?;
        handshake(io).await
    };
    match tokio::time::timeout(settings.connect_timeout, connecting).await {
        Ok(done) => done,
        Err(_) => Err(ConnectError::new(
            Reset::ConnectTimeout,
            format_args!("{}: not connected within {:?}", settings.address, settings.connect_timeout),
        )),
    }
}

/// A failure to connect in Envoy's words, as they end up in `%RESPONSE_CODE_DETAILS%`.
fn delayed(error: &io::Error) -> String {
    let text = error.to_string();
    // The standard library's number of the error is not part of them.
    let text = text.split(" (os error ").next().unwrap_or_default();
    format!("delayed connect error: {text}")
}

/// Opens a byte stream; nothing bounds how long that takes.
pub(super) async fn open(settings: &Settings) -> io::Result<Io> {
    match &settings.address {
        Address::Socket(address) => tcp(*address, settings.tcp_keepalive).await.map(Io::Tcp),
        Address::Dns { host, port } => {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for address in tokio::net::lookup_host((&**host, *port)).await? {
                match tcp(address, settings.tcp_keepalive).await {
                    Ok(stream) => return Ok(Io::Tcp(stream)),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
        #[cfg(unix)]
        Address::Pipe(path) => unix(path).await.map(Io::Unix),
        other => Err(io::Error::new(io::ErrorKind::Unsupported, format!("cannot connect to {other}"))),
    }
}

async fn tcp(address: SocketAddr, keepalive: Option<TcpKeepalive>) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    if let Some(wanted) = keepalive {
        let mut options = socket2::TcpKeepalive::new();
        if let Some(time) = wanted.time {
            options = options.with_time(time);
        }
        if let Some(interval) = wanted.interval {
            options = options.with_interval(interval);
        }
        if let Some(probes) = wanted.probes {
            options = options.with_retries(probes);
        }
        let socket = socket2::SockRef::from(&stream);
        socket.set_keepalive(true)?;
        socket.set_tcp_keepalive(&options)?;
    }
    Ok(stream)
}

#[cfg(unix)]
async fn unix(path: &str) -> io::Result<tokio::net::UnixStream> {
    #[cfg(target_os = "linux")]
    if let Some(name) = path.strip_prefix('@') {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        let stream = std::os::unix::net::UnixStream::connect_addr(&address)?;
        stream.set_nonblocking(true)?;
        return tokio::net::UnixStream::from_std(stream);
    }
    tokio::net::UnixStream::connect(path).await
}

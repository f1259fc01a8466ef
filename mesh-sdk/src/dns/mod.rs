//! Names of `STRICT_DNS` clusters, resolved again and again.
//!
//! [`Resolve`] asks, [`refresh`](self::refresh) decides when, [`answers`](self::answers) turns addresses into
//! endpoints. A name that cannot be resolved keeps its last good answer. `LOGICAL_DNS` clusters resolve when they
//! connect, which is the request path's business.

mod answers;
mod refresh;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

pub(crate) use self::refresh::Refresher;

/// The addresses of a name, once they are known.
pub type Addresses = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Asks for the addresses of a host name. Called on the control thread: it must not block.
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of `host`, of both families, in any order. An error keeps the last good answer; an empty
    /// answer means that the name has no hosts any more.
    fn resolve(&self, host: &str) -> Addresses;
}

impl<F> Resolve for F
where
    F: Fn(&str) -> Addresses + Send + Sync + 'static,
{
    fn resolve(&self, host: &str) -> Addresses {
        self(host)
    }
}

/// The operating system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str) -> Addresses {
        let host = host.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect()) })
    }
}

/// A resolver, shared.
#[derive(Clone)]
pub(crate) struct Resolver(pub(crate) Arc<dyn Resolve>);

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

//! Why a mesh could not be built. What is wrong inside the configuration is never a reason: that is reported
//! object by object, and the rest loads.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why [`MeshBuilder::build`](crate::MeshBuilder::build) failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Nothing says where configuration comes from.
    #[error("no source of configuration: call directory(), literal() or envoy_config()")]
    NoSource,
    /// There is no Tokio runtime to drive connections.
    #[error("no Tokio runtime: build within one, or name one with runtime()")]
    NoRuntime,
    /// The directory cannot be read at all.
    #[error("the configuration directory {} cannot be read", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The Envoy configuration cannot be read at all.
    #[error("the Envoy configuration {} cannot be read", path.display())]
    EnvoyConfig {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The text given as the admin address is none.
    #[error("{text:?} is no address for the admin pages: an IP and a port are required, such as 127.0.0.1:15000")]
    AdminAddress {
        /// The text.
        text: String,
    },
    /// The admin pages would be open to other machines.
    #[error("the admin pages would be open to other machines on {address}: only loopback addresses are taken")]
    AdminNotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The admin port cannot be bound.
    #[error("the admin pages cannot listen on {address}")]
    Admin {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The control thread or its runtime cannot be started.
    #[error("the control thread cannot be started")]
    Thread(#[source] io::Error),
    /// The control thread ended before the first configuration was in force.
    #[error("the control thread ended early")]
    Stopped,
}

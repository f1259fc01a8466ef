//! The client side: services that send requests through the mesh.
//!
//! Clones are cheap and share everything; an idle client holds no configuration. A client keeps working after
//! the last [`Mesh`](crate::Mesh) handle has gone, with the configuration that was in force then.

mod channel;
mod http_client;

pub use self::channel::{Channel, ChannelFuture, InvalidTarget};
pub use self::http_client::{HttpClient, Response, ResponseFuture};

//! The edge: listeners that this process opens for others, whose requests go through the outbound stack to clusters.
//!
//! [`serve`] accepts connections for one listener of the configuration; per request [`Entry`] pins the configuration,
//! lets the connection manager of the connection's filter chain have its say (Envoy's `ConnectionManagerUtility`), and hands
//! on what the outbound stack takes. Nothing is terminated but HTTP: a listener with TLS is refused when it is decoded.

mod body;
mod entry;
mod serve;
mod tunnel;

pub use self::body::EdgeBody;
pub use self::entry::{Entry, ResponseFuture};
pub use self::serve::{EdgeOptions, serve};

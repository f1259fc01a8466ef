//! Header mutations in compiled form, and the substitution format strings of their values.
//!
//! `envoy.config.core.v3.HeaderValueOption` with Envoy's command operators (`%REQ(x-id)%`). Everything is
//! judged when it is compiled: an operator that nobody knows is refused, never written out. Knows no clock and
//! no environment: what an operator prints comes from the [`FormatContext`].

mod context;
mod format;
mod mutation;
mod operator;
mod render;
mod strftime;

pub use self::context::{FormatContext, NodeFacts, ResponseFacts, UpstreamFacts};
pub use self::format::Format;
pub use self::mutation::{Change, HeaderChanges};

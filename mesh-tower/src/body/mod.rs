//! Response bodies of the outbound stack. Each wrapper is generic and unboxed, and costs nothing when off.

mod deadline;
mod guarded;
mod local;
mod upstream;

pub(crate) use self::deadline::Deadline;
pub use self::deadline::DeadlineBody;
pub use self::guarded::GuardedBody;
pub use self::local::LocalOr;
pub use self::upstream::UpstreamBody;

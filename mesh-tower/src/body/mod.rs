//! Bodies on the request path, of requests and of responses. Each wrapper is generic and unboxed, and costs nothing when off.

mod deadline;
mod filtered;
mod guarded;
mod local;
mod mirror;
mod reported;
mod request;
mod upload;
mod upstream;

pub(crate) use self::deadline::Deadline;
pub use self::deadline::DeadlineBody;
pub use self::filtered::FilteredBody;
pub use self::guarded::GuardedBody;
pub use self::local::LocalOr;
pub(crate) use self::mirror::Budget;
pub use self::mirror::MirrorBody;
pub use self::reported::ReportedBody;
pub(crate) use self::request::Keep;
pub use self::request::RequestBody;
pub(crate) use self::upload::{IdleTimer, Timer};
pub use self::upload::{Upload, UploadBody};
pub use self::upstream::UpstreamBody;

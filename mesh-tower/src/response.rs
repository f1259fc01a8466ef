//! What a caller is told of a response beside the response: a typed extension on every one.

use std::borrow::Cow;

use mesh_core::engine::local_reply::ResponseFlags;
use mesh_core::exchange::Upstream;

/// A response extension: where the response came from and what happened on the way.
///
/// ```
/// # fn read(response: &http::Response<()>) -> Option<()> {
/// let info = response.extensions().get::<mesh_tower::response::ResponseInfo>()?;
/// println!("{} {} {:?}", info.flags, info.details, info.upstream);
/// # Some(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResponseInfo {
    /// Envoy's response flags; `-` when nothing went wrong.
    pub flags: ResponseFlags,
    /// Envoy's response code details, e.g. `via_upstream` or `no_healthy_upstream`.
    pub details: Cow<'static, str>,
    /// The cluster, endpoint and number of attempts; `None` for an answer made here, whatever was tried before.
    pub upstream: Option<Upstream>,
    /// The route's changes have been applied to the response's head.
    pub(crate) is_finished: bool,
}

impl ResponseInfo {
    /// Of an answer made here.
    pub(crate) const fn of_answer(flags: ResponseFlags, details: Cow<'static, str>) -> Self {
        Self { flags, details, upstream: None, is_finished: true }
    }

    /// Of a response from the wire.
    pub(crate) const fn of_upstream(upstream: Upstream) -> Self {
        let details = Cow::Borrowed("via_upstream");
        Self { flags: ResponseFlags::NONE, details, upstream: Some(upstream), is_finished: false }
    }
}

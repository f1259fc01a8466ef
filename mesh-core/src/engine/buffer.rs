//! The buffer filter: the whole request is here before it goes on, and one that is too long is answered 413.
//!
//! Envoy's `envoy.filters.http.buffer`. Reading the body is the driver's.

use http::HeaderValue;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

use super::filter::{Effect, EffectOutcome, FilterStep, HttpFilter, RequestCx, RouteConfig};
use super::local_reply::LocalReply;
use crate::resource::filter::Buffer as Config;

/// The most bytes that a request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferLimit(u64);

impl BufferLimit {
    /// As configured.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self(config.max_request_bytes.into())
    }
}

/// The filter.
#[derive(Debug)]
pub struct Buffer {
    limit: BufferLimit,
}

impl Buffer {
    /// As configured.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { limit: BufferLimit::new(config) }
    }
}

impl HttpFilter for Buffer {
    fn on_request(&self, cx: &mut RequestCx<'_>) -> FilterStep {
        let limit = match cx.route_configs.effective() {
            Some(RouteConfig::Buffer(limit)) => limit,
            _ => &self.limit,
        };
        FilterStep::Ask(Box::new(Effect::Buffer { max_bytes: limit.0 }))
    }

    fn on_effect(&self, cx: &mut RequestCx<'_>, outcome: EffectOutcome) -> FilterStep {
        match outcome {
            EffectOutcome::TooLarge => return FilterStep::Reply(Box::new(LocalReply::payload_too_large())),
            EffectOutcome::Buffered { bytes } if bytes > 0 && !cx.head.headers.contains_key(CONTENT_LENGTH) => {
                // The length is known now.
                cx.head.headers.remove(TRANSFER_ENCODING);
                cx.head.headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
            }
            _ => {}
        }
        FilterStep::Continue
    }
}

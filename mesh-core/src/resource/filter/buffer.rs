//! `envoy.extensions.filters.http.buffer.v3.Buffer`.

/// The whole request is read before it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// `max_request_bytes`: a longer body is refused. Above 0.
    pub max_request_bytes: u32,
}

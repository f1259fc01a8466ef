//! `envoy.extensions.filters.http.buffer.v3`.

use mesh_core::resource::Problem;
use mesh_core::resource::filter::Buffer;
use mesh_proto::envoy::extensions::filters::http::buffer::v3 as pb;

use super::super::extension::Extension;
use super::super::refused::{At, Refused, refuse};

pub(super) fn config(at: &At<'_>, config: &Extension<'_>) -> Result<Buffer, Refused> {
    buffer(at, &config.message(at)?)
}

/// `None` switches the filter off.
pub(super) fn per_route(at: &At<'_>, config: &Extension<'_>) -> Result<Option<Buffer>, Refused> {
    use pb::buffer_per_route::Override;
    match config.message::<pb::BufferPerRoute>(at)?.r#override {
        Some(Override::Disabled(true)) => Ok(None),
        Some(Override::Disabled(false)) => Err(refuse(&at.field("disabled"), "may only be true")),
        Some(Override::Buffer(message)) => buffer(&at.field("buffer"), &message).map(Some),
        None => Err(refuse(&at.field("override"), Problem::Missing)),
    }
}

fn buffer(at: &At<'_>, message: &pb::Buffer) -> Result<Buffer, Refused> {
    let at = at.field("max_request_bytes");
    match message.max_request_bytes {
        None => Err(refuse(&at, Problem::Missing)),
        Some(most) if most.value == 0 => Err(refuse(&at, "must be greater than 0")),
        Some(most) => Ok(Buffer { max_request_bytes: most.value }),
    }
}

//! Of `HttpConnectionManager`: what it does to requests and responses at a listener that is opened.

use mesh_core::resource::downstream::{DownstreamOptions, Scheme, ServerHeader};
use mesh_proto::envoy::config::core::v3::scheme_header_transformation::Transformation;
use mesh_proto::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use pb::http_connection_manager::{ForwardClientCertDetails, ServerHeaderTransformation};

use super::super::cluster;
use super::super::refused::{At, Refused, refuse};
use super::super::scalar::{known, number};

pub(super) fn options(at: &At<'_>, message: &pb::HttpConnectionManager) -> Result<DownstreamOptions, Refused> {
    let default = DownstreamOptions::default();
    let certificate_at = at.field("forward_client_cert_details");
    let certificate = known::<ForwardClientCertDetails>(&certificate_at, message.forward_client_cert_details)?;
    let http1 = message.http_protocol_options.clone().unwrap_or_default();
    let common = message.common_http_protocol_options.unwrap_or_default();
    let http2 = match &message.http2_protocol_options {
        Some(http2) => cluster::http2_options(&at.field("http2_protocol_options"), http2)?,
        None => default.http2,
    };
    Ok(DownstreamOptions {
        server_name: text(&at.field("server_name"), &message.server_name, &default.server_name)?,
        server_header: match known(&at.field("server_header_transformation"), message.server_header_transformation)? {
            ServerHeaderTransformation::Overwrite => ServerHeader::Overwrite,
            ServerHeaderTransformation::AppendIfAbsent => ServerHeader::AppendIfAbsent,
            ServerHeaderTransformation::PassThrough => ServerHeader::PassThrough,
        },
        via: text(&at.field("via"), &message.via, "")?,
        generate_request_id: message.generate_request_id.is_none_or(|flag| flag.value),
        preserve_external_request_id: message.preserve_external_request_id,
        always_set_request_id_in_response: message.always_set_request_id_in_response,
        skip_xff_append: message.skip_xff_append,
        append_x_forwarded_port: message.append_x_forwarded_port,
        keep_client_cert_header: certificate == ForwardClientCertDetails::AlwaysForwardOnly,
        scheme: scheme(at, message)?,
        strip_trailing_host_dot: message.strip_trailing_host_dot,
        accept_http_10: http1.accept_http_10,
        default_host_for_http_10: http1.default_host_for_http_10,
        max_request_headers_kb: number(message.max_request_headers_kb).unwrap_or(default.max_request_headers_kb),
        max_headers_count: number(common.max_headers_count).unwrap_or(default.max_headers_count),
        http2,
    })
}

fn scheme(at: &At<'_>, message: &pb::HttpConnectionManager) -> Result<Option<Scheme>, Refused> {
    let at = at.field("scheme_header_transformation");
    let at = at.field("scheme_to_overwrite");
    match message.scheme_header_transformation.as_ref().and_then(|one| one.transformation.as_ref()) {
        None => Ok(None),
        Some(Transformation::SchemeToOverwrite(scheme)) => match scheme.as_str() {
            "http" => Ok(Some(Scheme::Http)),
            "https" => Ok(Some(Scheme::Https)),
            other => Err(refuse(&at, format!("{other:?} is neither http nor https"))),
        },
    }
}

/// What a header is to hold; `default` when empty.
fn text(at: &At<'_>, value: &str, default: &str) -> Result<String, Refused> {
    let value = if value.is_empty() { default } else { value };
    if http::HeaderValue::from_str(value).is_err() {
        return Err(refuse(at, format!("{value:?} has no place in a header")));
    }
    Ok(value.to_owned())
}

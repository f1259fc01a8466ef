//! What an HTTP connection manager does at a listener that this process opens: headers of a hop, request ids, who the
//! caller is taken for. Requests made in this process meet none of it.
//!
//! Fields of Envoy's `HttpConnectionManager`.

use super::cluster::Http2Options;

/// Settings for requests that arrive over the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownstreamOptions {
    /// `server_name`, default `envoy`.
    pub server_name: String,
    /// `server_header_transformation`.
    pub server_header: ServerHeader,
    /// `via`: appended to that header, both ways; empty for none.
    pub via: String,
    /// `generate_request_id`, default true.
    pub generate_request_id: bool,
    /// `preserve_external_request_id`: keep what a caller outside says.
    pub preserve_external_request_id: bool,
    /// `always_set_request_id_in_response`.
    pub always_set_request_id_in_response: bool,
    /// `skip_xff_append`: with `use_remote_address`, leave `x-forwarded-for` as it is.
    pub skip_xff_append: bool,
    /// `append_x_forwarded_port`.
    pub append_x_forwarded_port: bool,
    /// `forward_client_cert_details` is `ALWAYS_FORWARD_ONLY`: the header of that name stays. Without TLS every other value
    /// removes it.
    pub keep_client_cert_header: bool,
    /// `scheme_header_transformation.scheme_to_overwrite`.
    pub scheme: Option<Scheme>,
    /// `strip_trailing_host_dot`.
    pub strip_trailing_host_dot: bool,
    /// `http_protocol_options.accept_http_10`: otherwise HTTP/1.0 is answered 426.
    pub accept_http_10: bool,
    /// `http_protocol_options.default_host_for_http_10`; empty for none.
    pub default_host_for_http_10: String,
    /// `max_request_headers_kb`, default 60.
    pub max_request_headers_kb: u32,
    /// `common_http_protocol_options.max_headers_count`, default 100.
    pub max_headers_count: u32,
    /// `http2_protocol_options`.
    pub http2: Http2Options,
}

impl Default for DownstreamOptions {
    fn default() -> Self {
        Self {
            server_name: "envoy".to_owned(),
            server_header: ServerHeader::Overwrite,
            via: String::new(),
            generate_request_id: true,
            preserve_external_request_id: false,
            always_set_request_id_in_response: false,
            skip_xff_append: false,
            append_x_forwarded_port: false,
            keep_client_cert_header: false,
            scheme: None,
            strip_trailing_host_dot: false,
            accept_http_10: false,
            default_host_for_http_10: String::new(),
            max_request_headers_kb: 60,
            max_headers_count: 100,
            http2: Http2Options::default(),
        }
    }
}

/// `ServerHeaderTransformation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ServerHeader {
    /// The header is this hop's.
    #[default]
    Overwrite,
    /// The upstream's, else this hop's.
    AppendIfAbsent,
    /// The upstream's, or none.
    PassThrough,
}

/// What a request's scheme is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
}

impl Scheme {
    /// As URIs write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

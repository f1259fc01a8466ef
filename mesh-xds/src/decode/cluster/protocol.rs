//! Which HTTP version is spoken to a cluster, and its settings: `HttpProtocolOptions`, or the older fields of the
//! cluster itself that it replaces.

use mesh_core::resource::Problem;
use mesh_core::resource::cluster::{Http2Keepalive, Http2Options, HttpConnectionOptions, UpstreamProtocol};
use mesh_proto::envoy::config::cluster::v3 as pb;
use mesh_proto::envoy::config::core::v3 as core;
use mesh_proto::envoy::extensions::upstreams::http::v3::{self as http, http_protocol_options as options};
use mesh_proto::google::protobuf::UInt32Value;
use options::UpstreamProtocolOptions;
use options::explicit_http_config::ProtocolConfig;
use pb::cluster::ClusterProtocolSelection;

use super::super::context::Context;
use super::super::extension::Extension;
use super::super::refused::{At, Refused, conflict, refuse, unsupported};
use super::super::scalar::{duration, duration_or_off, known, number};

/// The key under which a cluster carries them.
const HTTP_PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// What a cluster says about HTTP.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) protocol: UpstreamProtocol,
    pub(super) http: HttpConnectionOptions,
    pub(super) http2: Http2Options,
}

/// `at` is the cluster.
pub(super) fn options(cx: &mut Context, at: &At<'_>, message: &pb::Cluster) -> Result<Options, Refused> {
    let map = at.field("typed_extension_protocol_options");
    let mut found = None;
    let mut entries: Vec<_> = message.typed_extension_protocol_options.iter().collect();
    entries.sort_by_key(|(name, _)| name.as_str());
    for (name, any) in entries {
        let at = map.key(name);
        let extension = Extension::of(&at, any)?;
        if name != HTTP_PROTOCOL_OPTIONS || extension.type_name() != HTTP_PROTOCOL_OPTIONS {
            return Err(unsupported(&at, format!("protocol options of type {:?}", extension.type_url())));
        }
        found = Some(current(cx, &at, &extension.message(&at)?)?);
    }
    match found {
        Some(found) => Ok(found),
        None => older(at, message),
    }
}

fn current(cx: &mut Context, at: &At<'_>, message: &http::HttpProtocolOptions) -> Result<Options, Refused> {
    let filters = at.field("http_filters");
    for (index, filter) in message.http_filters.iter().enumerate() {
        let at = filters.index(index);
        let kind = match &filter.config_type {
            Some(mesh_proto::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType::TypedConfig(any)) => {
                Extension::of(&at.field("typed_config"), any)?.type_name().to_owned()
            }
            _ => String::new(),
        };
        // The codec is what we are; anything else would be left out.
        if kind != "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec" {
            return Err(unsupported(&at, format!("upstream HTTP filter {:?}", filter.name)));
        }
        cx.left_out(&at, "the codec needs no filter");
    }
    let (protocol, http2) = match &message.upstream_protocol_options {
        None => return Err(refuse(&at.field("upstream_protocol_options"), Problem::Missing)),
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(config)) => {
            let at = at.field("explicit_http_config");
            match &config.protocol_config {
                None => return Err(refuse(&at.field("protocol_config"), Problem::Missing)),
                Some(ProtocolConfig::HttpProtocolOptions(_)) => (UpstreamProtocol::Http1, Http2Options::default()),
                Some(ProtocolConfig::Http2ProtocolOptions(options)) => {
                    (UpstreamProtocol::Http2, http2(&at.field("http2_protocol_options"), options)?)
                }
                Some(ProtocolConfig::Http3ProtocolOptions(_)) => {
                    return Err(unsupported(&at.field("http3_protocol_options"), "HTTP/3"));
                }
            }
        }
        Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(config)) => {
            let at = at.field("use_downstream_protocol_config");
            if config.http3_protocol_options.is_some() {
                return Err(unsupported(&at.field("http3_protocol_options"), "HTTP/3"));
            }
            let options = match &config.http2_protocol_options {
                Some(options) => http2(&at.field("http2_protocol_options"), options)?,
                None => Http2Options::default(),
            };
            (UpstreamProtocol::UseDownstream, options)
        }
        Some(UpstreamProtocolOptions::AutoConfig(_)) => {
            // Envoy refuses it as well without a transport socket that can negotiate.
            return Err(conflict(&at.field("auto_config"), "choosing the HTTP version by ALPN needs TLS"));
        }
    };
    let common_at = at.field("common_http_protocol_options");
    let http = common(&common_at, message.common_http_protocol_options.as_ref(), None)?;
    Ok(Options { protocol, http, http2 })
}

fn older(at: &At<'_>, message: &pb::Cluster) -> Result<Options, Refused> {
    let options = match &message.http2_protocol_options {
        Some(options) => Some(http2(&at.field("http2_protocol_options"), options)?),
        None => None,
    };
    let selection = known(&at.field("protocol_selection"), message.protocol_selection)?;
    let protocol = match (selection, &options) {
        (ClusterProtocolSelection::UseDownstreamProtocol, _) => UpstreamProtocol::UseDownstream,
        (ClusterProtocolSelection::UseConfiguredProtocol, Some(_)) => UpstreamProtocol::Http2,
        (ClusterProtocolSelection::UseConfiguredProtocol, None) => UpstreamProtocol::Http1,
    };
    let common_at = at.field("common_http_protocol_options");
    Ok(Options {
        protocol,
        http: common(&common_at, message.common_http_protocol_options.as_ref(), message.max_requests_per_connection)?,
        http2: options.unwrap_or_default(),
    })
}

fn common(
    at: &At<'_>,
    message: Option<&core::HttpProtocolOptions>,
    max_requests: Option<UInt32Value>,
) -> Result<HttpConnectionOptions, Refused> {
    let default = HttpConnectionOptions::default();
    let message = message.cloned().unwrap_or_default();
    let max_requests = number(message.max_requests_per_connection).or(number(max_requests));
    Ok(HttpConnectionOptions {
        idle_timeout: duration_or_off(&at.field("idle_timeout"), message.idle_timeout, default.idle_timeout)?,
        max_connection_duration: duration_or_off(
            &at.field("max_connection_duration"),
            message.max_connection_duration,
            None,
        )?,
        max_requests_per_connection: max_requests.filter(|limit| *limit != 0),
        max_stream_duration: duration(&at.field("max_stream_duration"), message.max_stream_duration)?,
    })
}

/// `Http2ProtocolOptions`, of either side.
pub(in super::super) fn http2(at: &At<'_>, message: &core::Http2ProtocolOptions) -> Result<Http2Options, Refused> {
    let default = Http2Options::default();
    let keepalive = match &message.connection_keepalive {
        None => None,
        Some(settings) => {
            let at = at.field("connection_keepalive");
            let Some(timeout) = duration(&at.field("timeout"), settings.timeout)? else {
                return Err(refuse(&at.field("timeout"), Problem::Missing));
            };
            duration(&at.field("interval"), settings.interval)?.map(|interval| Http2Keepalive { interval, timeout })
        }
    };
    Ok(Http2Options {
        max_concurrent_streams: number(message.max_concurrent_streams).unwrap_or(default.max_concurrent_streams),
        initial_stream_window_size: number(message.initial_stream_window_size)
            .unwrap_or(default.initial_stream_window_size),
        initial_connection_window_size: number(message.initial_connection_window_size)
            .unwrap_or(default.initial_connection_window_size),
        keepalive,
    })
}

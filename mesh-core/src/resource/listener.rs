//! `envoy.config.listener.v3.Listener` with its HTTP connection managers.
//!
//! For requests of this process an outbound listener is found by the port a caller dials; an inbound one gives the filter
//! chains that apply to a port we serve. Only a gateway opens listeners, those that are to be bound.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Name;
pub use super::downstream::DownstreamOptions;
pub use super::filter::FilterConfig;
use super::metadata::Metadata;
use super::route::RouteConfiguration;

/// A listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Its name, e.g. `0.0.0.0_9080` or `virtualInbound`.
    pub name: Name,
    /// Where Envoy would bind it; `None` for an API listener.
    pub address: Option<ListenerAddress>,
    /// `traffic_direction`.
    pub direction: Direction,
    /// `use_original_dst`: stands for every port that no other listener has (`virtualOutbound`).
    pub use_original_dst: bool,
    /// `bind_to_port`, default true: whether a gateway opens it.
    pub bind_to_port: bool,
    /// The chains, in order; the most specific match wins.
    pub filter_chains: Vec<FilterChain>,
    /// Used when no chain matches.
    pub default_filter_chain: Option<FilterChain>,
    /// `api_listener`: the connection manager of a gRPC-style (proxyless) listener.
    pub api_listener: Option<Arc<HttpConnectionManager>>,
    /// `metadata`.
    pub metadata: Metadata,
}

/// An IP and a port to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerAddress {
    /// The IP; unspecified for any.
    pub ip: IpAddr,
    /// The port.
    pub port: u16,
}

/// `TrafficDirection`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum Direction {
    /// Not said.
    #[default]
    Unspecified,
    /// Towards us.
    Inbound,
    /// From us.
    Outbound,
}

/// One filter chain.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterChain {
    /// Its name.
    pub name: Name,
    /// Which connections it takes.
    pub matches: FilterChainMatch,
    /// What it does with them.
    pub handler: ChainHandler,
    /// Whether connections are TLS (`transport_socket` present).
    pub transport_socket: bool,
}

/// `FilterChainMatch`: empty lists and `None` match everything.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FilterChainMatch {
    /// The port that was dialled.
    pub destination_port: Option<u16>,
    /// The dialled IP is within one of these (address, prefix length).
    pub prefix_ranges: Vec<(IpAddr, u8)>,
    /// `tls` or `raw_buffer`; empty matches both.
    pub transport_protocol: String,
    /// One of the ALPN protocols offered.
    pub application_protocols: Vec<String>,
    /// The SNI.
    pub server_names: Vec<String>,
}

/// The terminal of a filter chain.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ChainHandler {
    /// `envoy.filters.network.http_connection_manager`.
    Http(Arc<HttpConnectionManager>),
    /// `envoy.filters.network.tcp_proxy` to a cluster.
    Tcp {
        /// The cluster.
        cluster: Name,
    },
}

/// `HttpConnectionManager`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpConnectionManager {
    /// Prefix of its statistics.
    pub stat_prefix: String,
    /// Where its routes come from.
    pub routes: RouteSource,
    /// Its HTTP filters in order, the terminal router left out.
    pub http_filters: Vec<HttpFilter>,
    /// Path preparation before anything looks at the path.
    pub path: PathNormalization,
    /// `common_http_protocol_options.idle_timeout` of downstream connections, default 1 h; `None` never.
    pub idle_timeout: Option<Duration>,
    /// `stream_idle_timeout`, default 5 min; `None` never.
    pub stream_idle_timeout: Option<Duration>,
    /// `request_timeout`: the whole request must arrive within it; `None` never.
    pub request_timeout: Option<Duration>,
    /// `strip_port_mode`: remove any port, or the listener's port, from the host before routing.
    pub strip_port: StripPort,
    /// `upgrade_configs`: upgrade types that are passed on, lower case.
    pub upgrades: Vec<String>,
    /// `use_remote_address`: trust only the connection's peer address, and append it to `x-forwarded-for`.
    pub use_remote_address: bool,
    /// `xff_num_trusted_hops`.
    pub xff_num_trusted_hops: u32,
    /// `internal_address_config.cidr_ranges`, as address and prefix length.
    pub internal_addresses: Vec<(IpAddr, u8)>,
    /// The router's `suppress_envoy_headers`: no `x-envoy-*` headers are added.
    pub suppress_envoy_headers: bool,
    /// The router's `respect_expected_rq_timeout`: the `x-envoy-expected-rq-timeout-ms` of a request from within is its
    /// timeout.
    pub respect_expected_rq_timeout: bool,
    /// What concerns requests that arrive over the network.
    pub downstream: DownstreamOptions,
}

impl HttpConnectionManager {
    /// A connection manager with these routes and Envoy's defaults.
    #[must_use]
    pub fn inline(routes: Arc<RouteConfiguration>) -> Self {
        Self::new(RouteSource::Inline(routes))
    }

    /// A connection manager with Envoy's defaults.
    #[must_use]
    pub fn new(routes: RouteSource) -> Self {
        Self {
            stat_prefix: String::new(),
            routes,
            http_filters: Vec::new(),
            path: PathNormalization::default(),
            idle_timeout: Some(Duration::from_secs(3600)),
            stream_idle_timeout: Some(Duration::from_secs(300)),
            request_timeout: None,
            strip_port: StripPort::Keep,
            upgrades: Vec::new(),
            use_remote_address: false,
            xff_num_trusted_hops: 0,
            internal_addresses: Vec::new(),
            suppress_envoy_headers: false,
            respect_expected_rq_timeout: false,
            downstream: DownstreamOptions::default(),
        }
    }
}

impl HttpConnectionManager {
    /// Whether an address is one of `internal_address_config`.
    #[must_use]
    pub fn is_internal_address(&self, ip: IpAddr) -> bool {
        self.internal_addresses.iter().any(|(net, length)| crate::snapshot::contains(*net, *length, ip))
    }
}

/// Where a connection manager's routes come from.
#[derive(Clone, Debug, PartialEq)]
pub enum RouteSource {
    /// `rds`: a route configuration by name.
    Rds(Name),
    /// `route_config`: written in place.
    Inline(Arc<RouteConfiguration>),
}

/// One entry of `http_filters`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpFilter {
    /// The instance name, the key of per-filter configuration.
    pub name: Name,
    /// `disabled`: off unless a route turns it on.
    pub disabled: bool,
    /// What it is.
    pub config: FilterConfig,
}

/// `strip_port_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum StripPort {
    /// The port stays.
    #[default]
    Keep,
    /// The port goes when it is the listener's own.
    Matching,
    /// Any port goes.
    Any,
}

/// How a request's path is prepared (`normalize_path`, `merge_slashes`, `path_with_escaped_slashes_action`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PathNormalization {
    /// RFC 3986 normalisation of dot segments and unreserved characters; `\` becomes `/`.
    pub normalize: bool,
    /// Runs of `/` become one.
    pub merge_slashes: bool,
    /// What to do with `%2F` and `%5C`.
    pub escaped_slashes: EscapedSlashes,
}

/// `path_with_escaped_slashes_action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EscapedSlashes {
    /// Leave them.
    #[default]
    KeepUnchanged,
    /// Answer 400.
    RejectRequest,
    /// Answer 307 with the unescaped path.
    UnescapeAndRedirect,
    /// Unescape and go on.
    UnescapeAndForward,
}

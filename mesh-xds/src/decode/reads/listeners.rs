//! Of listeners and their connection managers.

use super::Row;

pub(super) const LISTENERS: &[Row] = &[
    // The filters that are allowed find out what is known anyway.
    (
        "envoy.config.listener.v3.Listener",
        &[
            "name",
            "address",
            "filter_chains",
            "use_original_dst",
            "default_filter_chain",
            "metadata",
            "listener_filters",
            "traffic_direction",
            "api_listener",
            "bind_to_port",
        ],
    ),
    ("envoy.config.listener.v3.ListenerFilter", &["name", "typed_config"]),
    ("envoy.config.listener.v3.ApiListener", &["api_listener"]),
    ("envoy.config.listener.v3.FilterChain", &["name", "filter_chain_match", "filters", "transport_socket"]),
    (
        "envoy.config.listener.v3.FilterChainMatch",
        &["destination_port", "prefix_ranges", "server_names", "transport_protocol", "application_protocols"],
    ),
    ("envoy.config.listener.v3.Filter", &["name", "typed_config"]),
    ("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", &["cluster"]),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        &[
            "stat_prefix",
            "rds",
            "route_config",
            "http_filters",
            "stream_idle_timeout",
            "use_remote_address",
            "internal_address_config",
            "server_name",
            "server_header_transformation",
            "via",
            "generate_request_id",
            "preserve_external_request_id",
            "always_set_request_id_in_response",
            "skip_xff_append",
            "xff_num_trusted_hops",
            "append_x_forwarded_port",
            "forward_client_cert_details",
            "scheme_header_transformation",
            "strip_matching_host_port",
            "strip_any_host_port",
            "strip_trailing_host_dot",
            "max_request_headers_kb",
            "common_http_protocol_options",
            "http_protocol_options",
            "http2_protocol_options",
            "upgrade_configs",
            "normalize_path",
            "merge_slashes",
            "path_with_escaped_slashes_action",
        ],
    ),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.InternalAddressConfig",
        &["cidr_ranges"],
    ),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig",
        &["upgrade_type", "enabled"],
    ),
    ("envoy.extensions.filters.network.http_connection_manager.v3.Rds", &["config_source", "route_config_name"]),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
        &["name", "typed_config", "is_optional", "disabled"],
    ),
    (
        "envoy.extensions.filters.http.router.v3.Router",
        &["suppress_envoy_headers", "respect_expected_rq_timeout", "upstream_http_filters"],
    ),
];

/// Of listeners: the same messages in a cluster are read otherwise.
pub(super) const DOWNSTREAM: &[Row] = &[
    (
        "envoy.config.core.v3.HttpProtocolOptions",
        &["idle_timeout", "max_headers_count", "headers_with_underscores_action"],
    ),
    ("envoy.config.core.v3.Http1ProtocolOptions", &["accept_http_10", "default_host_for_http_10"]),
    ("envoy.config.core.v3.SchemeHeaderTransformation", &["scheme_to_overwrite"]),
];

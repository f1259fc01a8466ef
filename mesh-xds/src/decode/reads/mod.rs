//! Which fields the decoders read, message by message. Whatever else is set is reported as not in force.
//!
//! This table stands beside the decoders and must say what they do: a field belongs here when leaving it out of a
//! resource changes what is decoded, or when its value is judged (a refusal, a remark). A field that is decoded and that
//! nothing acts on yet does not belong here: whoever sets it must be told. The tests take every field of
//! the table out of a configuration and demand that the outcome differs.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use mesh_proto::descriptors;
use mesh_proto::unknown::ReadSet;

const HEADERS: [&str; 4] =
    ["request_headers_to_add", "request_headers_to_remove", "response_headers_to_add", "response_headers_to_remove"];

/// Message, fields.
type Row = (&'static str, &'static [&'static str]);

/// Fields that every level of a route configuration has.
const LEVELS: &[Row] = &[
    ("envoy.config.route.v3.RouteConfiguration", &HEADERS),
    ("envoy.config.route.v3.VirtualHost", &HEADERS),
    ("envoy.config.route.v3.Route", &HEADERS),
    ("envoy.config.route.v3.WeightedCluster.ClusterWeight", &HEADERS),
];

const SHARED: &[Row] = &[
    ("envoy.config.core.v3.Address", &["socket_address", "pipe"]),
    ("envoy.config.core.v3.CidrRange", &["*"]),
    ("envoy.config.core.v3.ConfigSource", &["ads", "self", "resource_api_version"]),
    ("envoy.config.core.v3.DataSource", &["inline_bytes", "inline_string"]),
    ("envoy.config.core.v3.HeaderValue", &["key", "value", "raw_value"]),
    ("envoy.config.core.v3.HeaderValueOption", &["header", "append", "append_action", "keep_empty_value"]),
    (
        "envoy.config.core.v3.Http2ProtocolOptions",
        &[
            "max_concurrent_streams",
            "initial_stream_window_size",
            "initial_connection_window_size",
            "connection_keepalive",
        ],
    ),
    ("envoy.config.core.v3.KeepaliveSettings", &["interval", "timeout"]),
    ("envoy.config.core.v3.Locality", &["region", "zone", "sub_zone"]),
    ("envoy.config.core.v3.Metadata", &["filter_metadata"]),
    ("envoy.config.core.v3.Pipe", &["path"]),
    ("envoy.config.core.v3.RuntimeDouble", &["default_value"]),
    ("envoy.config.core.v3.RuntimeFractionalPercent", &["default_value"]),
    ("envoy.config.core.v3.SocketAddress", &["protocol", "address", "port_value"]),
    ("envoy.config.core.v3.TcpKeepalive", &["keepalive_probes", "keepalive_time", "keepalive_interval"]),
    ("envoy.config.core.v3.TransportSocket", &["name", "typed_config"]),
    ("envoy.config.core.v3.TypedExtensionConfig", &["name", "typed_config"]),
    ("envoy.type.matcher.v3.DoubleMatcher", &["range", "exact"]),
    ("envoy.type.matcher.v3.ListMatcher", &["one_of"]),
    ("envoy.type.matcher.v3.MetadataMatcher", &["filter", "path", "value", "invert"]),
    ("envoy.type.matcher.v3.MetadataMatcher.PathSegment", &["key"]),
    ("envoy.type.matcher.v3.OrMatcher", &["value_matchers"]),
    ("envoy.type.matcher.v3.RegexMatchAndSubstitute", &["pattern", "substitution"]),
    ("envoy.type.matcher.v3.RegexMatcher", &["regex"]),
    ("envoy.type.matcher.v3.StringMatcher", &["exact", "prefix", "suffix", "safe_regex", "contains", "ignore_case"]),
    (
        "envoy.type.matcher.v3.ValueMatcher",
        &["null_match", "double_match", "string_match", "bool_match", "present_match", "list_match", "or_match"],
    ),
    ("envoy.type.v3.DoubleRange", &["start", "end"]),
    ("envoy.type.v3.FractionalPercent", &["numerator", "denominator"]),
    ("envoy.type.v3.Int64Range", &["start", "end"]),
    ("envoy.type.v3.Percent", &["value"]),
];

const ROUTES: &[Row] = &[
    (
        "envoy.config.route.v3.RouteConfiguration",
        &[
            "name",
            "virtual_hosts",
            "most_specific_header_mutations_wins",
            "validate_clusters",
            "request_mirror_policies",
            "max_direct_response_body_size_bytes",
            "ignore_port_in_host_matching",
            "ignore_path_parameters_in_path_matching",
            "typed_per_filter_config",
            "metadata",
            "internal_only_headers",
        ],
    ),
    (
        "envoy.config.route.v3.VirtualHost",
        &[
            "name",
            "domains",
            "routes",
            "require_tls",
            "typed_per_filter_config",
            "request_mirror_policies",
            "include_request_attempt_count",
            "include_attempt_count_in_response",
            "include_is_timeout_retry_header",
            "retry_policy",
            "rate_limits",
            "hedge_policy",
            "per_request_buffer_limit_bytes",
            "request_body_buffer_limit",
            "metadata",
        ],
    ),
    (
        "envoy.config.route.v3.Route",
        &[
            "name",
            "match",
            "route",
            "redirect",
            "direct_response",
            "non_forwarding_action",
            "metadata",
            "typed_per_filter_config",
            "per_request_buffer_limit_bytes",
            "request_body_buffer_limit",
        ],
    ),
    (
        "envoy.config.route.v3.RouteMatch",
        &[
            "prefix",
            "path",
            "safe_regex",
            "connect_matcher",
            "path_separated_prefix",
            "path_match_policy",
            "case_sensitive",
            "runtime_fraction",
            "headers",
            "query_parameters",
            "cookies",
            "grpc",
            "tls_context",
            "dynamic_metadata",
        ],
    ),
    ("envoy.config.route.v3.RouteMatch.TlsContextMatchOptions", &["presented", "validated"]),
    ("envoy.config.route.v3.HeaderMatcher", &["*"]),
    ("envoy.config.route.v3.QueryParameterMatcher", &["name", "string_match", "present_match"]),
    ("envoy.config.route.v3.CookieMatcher", &["name", "string_match", "invert_match"]),
    ("envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig", &["path_template"]),
    ("envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig", &["path_template_rewrite"]),
    (
        "envoy.config.route.v3.RouteAction",
        &[
            "cluster",
            "cluster_header",
            "weighted_clusters",
            "cluster_not_found_response_code",
            "metadata_match",
            "prefix_rewrite",
            "regex_rewrite",
            "path_rewrite_policy",
            "host_rewrite_literal",
            "auto_host_rewrite",
            "host_rewrite_header",
            "host_rewrite_path_regex",
            "append_x_forwarded_host",
            "timeout",
            "idle_timeout",
            "max_stream_duration",
            "max_grpc_timeout",
            "grpc_timeout_offset",
            "retry_policy",
            "hedge_policy",
            "request_mirror_policies",
            "hash_policy",
            "priority",
            "rate_limits",
            "include_vh_rate_limits",
            "upgrade_configs",
        ],
    ),
    (
        "envoy.config.route.v3.RouteAction.RequestMirrorPolicy",
        &[
            "cluster",
            "cluster_header",
            "runtime_fraction",
            "disable_shadow_host_suffix_append",
            "request_headers_mutations",
            "host_rewrite_literal",
        ],
    ),
    ("envoy.config.common.mutation_rules.v3.HeaderMutation", &["remove", "append", "remove_on_match"]),
    ("envoy.config.common.mutation_rules.v3.HeaderMutation.RemoveOnMatch", &["key_matcher"]),
    (
        "envoy.config.route.v3.RouteAction.MaxStreamDuration",
        &["max_stream_duration", "grpc_timeout_header_max", "grpc_timeout_header_offset"],
    ),
    (
        "envoy.config.route.v3.RouteAction.HashPolicy",
        &["header", "cookie", "connection_properties", "query_parameter", "filter_state", "terminal"],
    ),
    ("envoy.config.route.v3.RouteAction.HashPolicy.Header", &["header_name", "regex_rewrite"]),
    ("envoy.config.route.v3.RouteAction.HashPolicy.Cookie", &["name", "ttl", "path", "attributes"]),
    ("envoy.config.route.v3.RouteAction.HashPolicy.CookieAttribute", &["name", "value"]),
    ("envoy.config.route.v3.RouteAction.HashPolicy.ConnectionProperties", &["source_ip"]),
    ("envoy.config.route.v3.RouteAction.HashPolicy.QueryParameter", &["name"]),
    ("envoy.config.route.v3.RouteAction.HashPolicy.FilterState", &["key"]),
    ("envoy.config.route.v3.HedgePolicy", &["hedge_on_per_try_timeout"]),
    ("envoy.config.route.v3.RouteAction.UpgradeConfig", &["upgrade_type", "enabled"]),
    ("envoy.config.route.v3.WeightedCluster", &["clusters", "header_name", "use_hash_policy"]),
    (
        "envoy.config.route.v3.WeightedCluster.ClusterWeight",
        &["name", "cluster_header", "weight", "metadata_match", "typed_per_filter_config", "host_rewrite_literal"],
    ),
    (
        "envoy.config.route.v3.RetryPolicy",
        &[
            "retry_on",
            "num_retries",
            "per_try_timeout",
            "retry_host_predicate",
            "host_selection_retry_max_attempts",
            "retriable_status_codes",
            "retry_back_off",
            "rate_limited_retry_back_off",
            "retriable_headers",
            "retriable_request_headers",
        ],
    ),
    ("envoy.config.route.v3.RetryPolicy.RateLimitedRetryBackOff", &["reset_headers", "max_interval"]),
    ("envoy.config.route.v3.RetryPolicy.ResetHeader", &["name", "format"]),
    ("envoy.config.route.v3.RetryPolicy.RetryBackOff", &["base_interval", "max_interval"]),
    ("envoy.config.route.v3.RetryPolicy.RetryHostPredicate", &["name", "typed_config"]),
    ("envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig", &["metadata_match"]),
    (
        "envoy.config.route.v3.RateLimit",
        &["stage", "disable_key", "actions", "hits_addend", "apply_on_stream_done", "x_ratelimit_option"],
    ),
    ("envoy.config.route.v3.RateLimit.HitsAddend", &["number", "is_negative_hits"]),
    (
        "envoy.config.route.v3.RateLimit.Action",
        &[
            "source_cluster",
            "destination_cluster",
            "request_headers",
            "query_parameters",
            "remote_address",
            "generic_key",
            "header_value_match",
            "dynamic_metadata",
            "metadata",
            "masked_remote_address",
            "query_parameter_value_match",
            "remote_address_match",
        ],
    ),
    ("envoy.config.route.v3.RateLimit.Action.RequestHeaders", &["header_name", "descriptor_key", "skip_if_absent"]),
    (
        "envoy.config.route.v3.RateLimit.Action.QueryParameters",
        &["query_parameter_name", "descriptor_key", "skip_if_absent"],
    ),
    ("envoy.config.route.v3.RateLimit.Action.MaskedRemoteAddress", &["v4_prefix_mask_len", "v6_prefix_mask_len"]),
    ("envoy.config.route.v3.RateLimit.Action.GenericKey", &["descriptor_value", "descriptor_key"]),
    (
        "envoy.config.route.v3.RateLimit.Action.HeaderValueMatch",
        &["descriptor_value", "descriptor_key", "expect_match", "headers"],
    ),
    (
        "envoy.config.route.v3.RateLimit.Action.QueryParameterValueMatch",
        &["descriptor_value", "descriptor_key", "expect_match", "query_parameters"],
    ),
    (
        "envoy.config.route.v3.RateLimit.Action.RemoteAddressMatch",
        &["descriptor_value", "descriptor_key", "address_matcher"],
    ),
    ("envoy.type.matcher.v3.AddressMatcher", &["ranges", "invert_match"]),
    ("xds.core.v3.CidrRange", &["*"]),
    ("envoy.config.route.v3.RateLimit.Action.DynamicMetaData", &["descriptor_key", "metadata_key", "default_value"]),
    (
        "envoy.config.route.v3.RateLimit.Action.MetaData",
        &["descriptor_key", "metadata_key", "default_value", "source", "skip_if_absent"],
    ),
    ("envoy.type.metadata.v3.MetadataKey", &["key", "path"]),
    ("envoy.type.metadata.v3.MetadataKey.PathSegment", &["key"]),
    (
        "envoy.config.route.v3.RedirectAction",
        &[
            "https_redirect",
            "scheme_redirect",
            "host_redirect",
            "port_redirect",
            "path_redirect",
            "prefix_rewrite",
            "regex_rewrite",
            "response_code",
            "strip_query",
        ],
    ),
    ("envoy.config.route.v3.DirectResponseAction", &["status", "body"]),
    ("envoy.config.route.v3.FilterConfig", &["config", "is_optional", "disabled"]),
    // An override that only switches a filter off.
    ("envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig", &["disabled"]),
    ("envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute", &["disabled"]),
];

const LISTENERS: &[Row] = &[
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
const DOWNSTREAM: &[Row] = &[
    (
        "envoy.config.core.v3.HttpProtocolOptions",
        &["idle_timeout", "max_headers_count", "headers_with_underscores_action"],
    ),
    ("envoy.config.core.v3.Http1ProtocolOptions", &["accept_http_10", "default_host_for_http_10"]),
    ("envoy.config.core.v3.SchemeHeaderTransformation", &["scheme_to_overwrite"]),
];

/// HTTP filters, in listeners and as routes speak to them.
const FILTERS: &[Row] = &[
    ("envoy.extensions.filters.http.buffer.v3.Buffer", &["max_request_bytes"]),
    ("envoy.extensions.filters.http.buffer.v3.BufferPerRoute", &["disabled", "buffer"]),
    (
        "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        &[
            "stat_prefix",
            "status",
            "token_bucket",
            "filter_enabled",
            "filter_enforced",
            "request_headers_to_add_when_not_enforced",
            "response_headers_to_add",
            "descriptors",
            "stage",
            "local_rate_limit_per_downstream_connection",
            "enable_x_ratelimit_headers",
            "vh_rate_limits",
            "always_consume_default_token_bucket",
            "rate_limited_as_resource_exhausted",
            "rate_limits",
            "max_dynamic_descriptors",
            "enable_retry_after_header",
        ],
    ),
    ("envoy.extensions.common.ratelimit.v3.LocalRateLimitDescriptor", &["entries", "token_bucket", "shadow_mode"]),
    ("envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.Entry", &["key", "value"]),
    ("envoy.type.v3.HttpStatus", &["code"]),
    ("envoy.type.v3.TokenBucket", &["max_tokens", "tokens_per_fill", "fill_interval"]),
    (
        "envoy.extensions.filters.http.cors.v3.CorsPolicy",
        &[
            "allow_origin_string_match",
            "allow_methods",
            "allow_headers",
            "expose_headers",
            "max_age",
            "allow_credentials",
            "filter_enabled",
            "shadow_enabled",
            "allow_private_network_access",
            "forward_not_matching_preflights",
        ],
    ),
    (
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
        &["mutations", "most_specific_header_mutations_wins"],
    ),
    ("envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute", &["mutations"]),
    (
        "envoy.extensions.filters.http.header_mutation.v3.Mutations",
        &["request_mutations", "query_parameter_mutations", "response_mutations", "response_trailers_mutations"],
    ),
    ("envoy.config.core.v3.KeyValueMutation", &["append", "remove"]),
    ("envoy.config.core.v3.KeyValueAppend", &["record", "action"]),
    ("envoy.config.core.v3.KeyValuePair", &["key", "value"]),
    (
        "envoy.extensions.filters.http.fault.v3.HTTPFault",
        &[
            "delay",
            "abort",
            "upstream_cluster",
            "headers",
            "downstream_nodes",
            "max_active_faults",
            "response_rate_limit",
            "filter_metadata",
        ],
    ),
    (
        "envoy.extensions.filters.http.fault.v3.FaultAbort",
        &["http_status", "grpc_status", "header_abort", "percentage", "response_body"],
    ),
    ("envoy.extensions.filters.common.fault.v3.FaultDelay", &["fixed_delay", "header_delay", "percentage"]),
    ("envoy.extensions.filters.common.fault.v3.FaultRateLimit", &["fixed_limit", "header_limit", "percentage"]),
    ("envoy.extensions.filters.common.fault.v3.FaultRateLimit.FixedLimit", &["limit_kbps"]),
];

/// Of clusters: the same message in a listener is not read.
const UPSTREAM: &[Row] = &[(
    "envoy.config.core.v3.HttpProtocolOptions",
    &["idle_timeout", "max_connection_duration", "max_requests_per_connection"],
)];

const CLUSTERS: &[Row] = &[
    (
        "envoy.config.cluster.v3.Cluster",
        &[
            "transport_socket_matches",
            "name",
            "type",
            "eds_cluster_config",
            "connect_timeout",
            "lb_policy",
            "load_assignment",
            "max_requests_per_connection",
            "circuit_breakers",
            "common_http_protocol_options",
            "http2_protocol_options",
            "typed_extension_protocol_options",
            "dns_refresh_rate",
            "dns_lookup_family",
            "least_request_lb_config",
            "round_robin_lb_config",
            "ring_hash_lb_config",
            "maglev_lb_config",
            "common_lb_config",
            "outlier_detection",
            "health_checks",
            "ignore_health_on_host_removal",
            "transport_socket",
            "metadata",
            "protocol_selection",
            "upstream_connection_options",
            "filters",
            "load_balancing_policy",
        ],
    ),
    ("envoy.config.cluster.v3.Cluster.TransportSocketMatch", &["name", "match", "transport_socket"]),
    ("envoy.config.cluster.v3.Cluster.EdsClusterConfig", &["eds_config", "service_name"]),
    (
        "envoy.config.cluster.v3.Cluster.LeastRequestLbConfig",
        &["choice_count", "active_request_bias", "slow_start_config"],
    ),
    ("envoy.config.cluster.v3.Cluster.RoundRobinLbConfig", &["slow_start_config"]),
    ("envoy.config.cluster.v3.Cluster.SlowStartConfig", &["slow_start_window", "aggression", "min_weight_percent"]),
    ("envoy.config.cluster.v3.Cluster.RingHashLbConfig", &["minimum_ring_size", "maximum_ring_size", "hash_function"]),
    ("envoy.config.cluster.v3.Cluster.MaglevLbConfig", &["table_size"]),
    (
        "envoy.config.cluster.v3.Cluster.CommonLbConfig.ZoneAwareLbConfig",
        &["routing_enabled", "min_cluster_size", "fail_traffic_on_panic"],
    ),
    (
        "envoy.config.cluster.v3.Cluster.CommonLbConfig.ConsistentHashingLbConfig",
        &["use_hostname_for_hashing", "hash_balance_factor"],
    ),
    (
        "envoy.config.cluster.v3.Cluster.CommonLbConfig",
        &[
            "healthy_panic_threshold",
            "zone_aware_lb_config",
            "locality_weighted_lb_config",
            "consistent_hashing_lb_config",
            "update_merge_window",
            "ignore_new_hosts_until_first_hc",
        ],
    ),
    (
        "envoy.config.cluster.v3.OutlierDetection",
        &[
            "consecutive_5xx",
            "interval",
            "base_ejection_time",
            "max_ejection_percent",
            "enforcing_consecutive_5xx",
            "enforcing_success_rate",
            "success_rate_minimum_hosts",
            "success_rate_request_volume",
            "success_rate_stdev_factor",
            "consecutive_gateway_failure",
            "enforcing_consecutive_gateway_failure",
            "split_external_local_origin_errors",
            "consecutive_local_origin_failure",
            "enforcing_consecutive_local_origin_failure",
            "enforcing_local_origin_success_rate",
            "failure_percentage_threshold",
            "enforcing_failure_percentage",
            "enforcing_failure_percentage_local_origin",
            "failure_percentage_minimum_hosts",
            "failure_percentage_request_volume",
            "max_ejection_time",
            "max_ejection_time_jitter",
            "successful_active_health_check_uneject_host",
            "always_eject_one_host",
        ],
    ),
    ("envoy.config.cluster.v3.CircuitBreakers", &["thresholds"]),
    (
        "envoy.config.cluster.v3.CircuitBreakers.Thresholds",
        &["priority", "max_connections", "max_pending_requests", "max_requests", "max_retries", "retry_budget"],
    ),
    ("envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget", &["budget_percent", "min_retry_concurrency"]),
    (
        "envoy.config.core.v3.HealthCheck",
        &[
            "timeout",
            "interval",
            "initial_jitter",
            "interval_jitter",
            "interval_jitter_percent",
            "unhealthy_threshold",
            "healthy_threshold",
            "alt_port",
            "reuse_connection",
            "http_health_check",
            "tcp_health_check",
            "grpc_health_check",
            "no_traffic_interval",
            "no_traffic_healthy_interval",
            "unhealthy_interval",
            "unhealthy_edge_interval",
            "healthy_edge_interval",
        ],
    ),
    (
        "envoy.config.core.v3.HealthCheck.HttpHealthCheck",
        &[
            "host",
            "path",
            "request_headers_to_add",
            "request_headers_to_remove",
            "expected_statuses",
            "retriable_statuses",
            "codec_client_type",
            "method",
        ],
    ),
    ("envoy.config.core.v3.HealthCheck.TcpHealthCheck", &["send", "receive"]),
    ("envoy.config.core.v3.HealthCheck.GrpcHealthCheck", &["service_name", "authority", "initial_metadata"]),
    ("envoy.config.core.v3.HealthCheck.Payload", &["text", "binary"]),
    ("envoy.config.cluster.v3.LoadBalancingPolicy", &["policies"]),
    ("envoy.config.cluster.v3.LoadBalancingPolicy.Policy", &["typed_extension_config"]),
    ("envoy.config.cluster.v3.UpstreamConnectionOptions", &["tcp_keepalive"]),
    (
        "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
        &[
            "choice_count",
            "active_request_bias",
            "enable_full_scan",
            "selection_method",
            "slow_start_config",
            "locality_lb_config",
        ],
    ),
    (
        "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin",
        &["slow_start_config", "locality_lb_config"],
    ),
    ("envoy.extensions.load_balancing_policies.random.v3.Random", &["locality_lb_config"]),
    (
        "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash",
        &[
            "hash_function",
            "minimum_ring_size",
            "maximum_ring_size",
            "consistent_hashing_lb_config",
            "locality_weighted_lb_config",
        ],
    ),
    (
        "envoy.extensions.load_balancing_policies.maglev.v3.Maglev",
        &["table_size", "consistent_hashing_lb_config", "locality_weighted_lb_config"],
    ),
    (
        "envoy.extensions.load_balancing_policies.common.v3.ConsistentHashingLbConfig",
        &["use_hostname_for_hashing", "hash_balance_factor"],
    ),
    (
        "envoy.extensions.load_balancing_policies.common.v3.SlowStartConfig",
        &["slow_start_window", "aggression", "min_weight_percent"],
    ),
    (
        "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig",
        &["zone_aware_lb_config", "locality_weighted_lb_config"],
    ),
    (
        "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig",
        &["routing_enabled", "min_cluster_size", "fail_traffic_on_panic", "force_local_zone", "locality_basis"],
    ),
    (
        "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig.ForceLocalZone",
        &["min_size"],
    ),
    ("envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality", &["endpoint_picking_policy"]),
    (
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        &["common_http_protocol_options", "explicit_http_config", "use_downstream_protocol_config", "http_filters"],
    ),
    (
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig",
        &["http_protocol_options", "http2_protocol_options"],
    ),
    (
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig",
        &["http_protocol_options", "http2_protocol_options"],
    ),
];

const ENDPOINTS: &[Row] = &[
    ("envoy.config.endpoint.v3.ClusterLoadAssignment", &["cluster_name", "endpoints", "policy"]),
    (
        "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy",
        &["drop_overloads", "overprovisioning_factor", "weighted_priority_health"],
    ),
    ("envoy.config.endpoint.v3.ClusterLoadAssignment.Policy.DropOverload", &["category", "drop_percentage"]),
    (
        "envoy.config.endpoint.v3.LocalityLbEndpoints",
        &["locality", "lb_endpoints", "load_balancing_weight", "priority"],
    ),
    ("envoy.config.endpoint.v3.LbEndpoint", &["endpoint", "health_status", "metadata", "load_balancing_weight"]),
    ("envoy.config.endpoint.v3.Endpoint", &["address", "hostname"]),
];

/// What the decoder of listeners reads.
pub(super) static LISTENER: LazyLock<ReadSet> =
    LazyLock::new(|| set(&[SHARED, LEVELS, ROUTES, LISTENERS, DOWNSTREAM, FILTERS]));
/// What the decoder of route configurations reads.
pub(super) static ROUTE_CONFIGURATION: LazyLock<ReadSet> = LazyLock::new(|| set(&[SHARED, LEVELS, ROUTES, FILTERS]));
/// What the decoder of clusters reads.
pub(super) static CLUSTER: LazyLock<ReadSet> = LazyLock::new(|| set(&[SHARED, CLUSTERS, ENDPOINTS, UPSTREAM]));
/// What the decoder of load assignments reads.
pub(super) static CLUSTER_LOAD_ASSIGNMENT: LazyLock<ReadSet> = LazyLock::new(|| set(&[SHARED, ENDPOINTS]));

/// A name that the API lacks would leave its table out, and everything in it would be reported: loud, and safe. A test
/// keeps it from happening.
fn set(tables: &[&[Row]]) -> ReadSet {
    let mut set = ReadSet::default();
    for table in tables {
        set.extend(&ReadSet::new(table).unwrap_or_default());
    }
    set
}

const ALL: &[&[Row]] = &[SHARED, LEVELS, ROUTES, LISTENERS, DOWNSTREAM, FILTERS, CLUSTERS, UPSTREAM, ENDPOINTS];

/// Every field that some decoder reads: the full name of its message, and its own.
pub(super) fn fields() -> BTreeSet<(String, String)> {
    let mut out = BTreeSet::new();
    for (message, fields) in ALL.iter().copied().flatten() {
        for field in *fields {
            if *field == "*" {
                let all =
                    descriptors::message(message).into_iter().flat_map(|message| message.fields().collect::<Vec<_>>());
                out.extend(all.map(|field| ((*message).to_owned(), field.name().to_owned())));
            } else {
                out.insert(((*message).to_owned(), (*field).to_owned()));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;

//! Type URLs of the resources and extensions that the mesh names.
//!
//! Envoy identifies a typed message by `type.googleapis.com/` and its full protobuf name. Only constants live here; what
//! a message means is for whoever decodes it.

/// What comes before the full name in every type URL that Envoy and Istio write.
pub const PREFIX: &str = "type.googleapis.com/";

/// The full message name in a type URL: everything behind the last `/`, or the whole text when there is none.
///
/// The host in front is ignored, as Envoy does.
#[must_use]
pub fn type_name(type_url: &str) -> &str {
    type_url.rsplit_once('/').map_or(type_url, |(_, name)| name)
}

macro_rules! type_urls {
    ($($(#[$doc:meta])* $name:ident = $full_name:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = concat!("type.googleapis.com/", $full_name);)*

        #[cfg(test)]
        const ALL: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}

type_urls! {
    /// LDS resource.
    LISTENER = "envoy.config.listener.v3.Listener";
    /// RDS resource.
    ROUTE_CONFIGURATION = "envoy.config.route.v3.RouteConfiguration";
    /// SRDS resource.
    SCOPED_ROUTE_CONFIGURATION = "envoy.config.route.v3.ScopedRouteConfiguration";
    /// VHDS resource.
    VIRTUAL_HOST = "envoy.config.route.v3.VirtualHost";
    /// CDS resource.
    CLUSTER = "envoy.config.cluster.v3.Cluster";
    /// EDS resource.
    CLUSTER_LOAD_ASSIGNMENT = "envoy.config.endpoint.v3.ClusterLoadAssignment";
    /// LEDS resource.
    LB_ENDPOINT = "envoy.config.endpoint.v3.LbEndpoint";
    /// SDS resource.
    SECRET = "envoy.extensions.transport_sockets.tls.v3.Secret";
    /// ECDS resource.
    TYPED_EXTENSION_CONFIG = "envoy.config.core.v3.TypedExtensionConfig";
    /// RTDS resource.
    RUNTIME = "envoy.service.runtime.v3.Runtime";
    /// The envelope of a named resource in delta and wrapped state-of-the-world responses.
    RESOURCE = "envoy.service.discovery.v3.Resource";

    /// Network filter: HTTP.
    HTTP_CONNECTION_MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    /// Network filter: plain TCP.
    TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
    /// Network filter: RBAC on connections.
    NETWORK_RBAC = "envoy.extensions.filters.network.rbac.v3.RBAC";

    /// HTTP filter: the router, always last.
    ROUTER = "envoy.extensions.filters.http.router.v3.Router";
    /// HTTP filter: cross-origin requests.
    CORS = "envoy.extensions.filters.http.cors.v3.Cors";
    /// Per-route configuration of the CORS filter.
    CORS_POLICY = "envoy.extensions.filters.http.cors.v3.CorsPolicy";
    /// HTTP filter: delays and aborts.
    HTTP_FAULT = "envoy.extensions.filters.http.fault.v3.HTTPFault";
    /// HTTP filter: gRPC statistics.
    GRPC_STATS = "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig";
    /// HTTP filter: role based access control.
    HTTP_RBAC = "envoy.extensions.filters.http.rbac.v3.RBAC";
    /// Per-route configuration of the RBAC filter.
    HTTP_RBAC_PER_ROUTE = "envoy.extensions.filters.http.rbac.v3.RBACPerRoute";
    /// HTTP filter: JSON web tokens.
    JWT_AUTHENTICATION = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication";
    /// HTTP filter: external authorization.
    EXT_AUTHZ = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz";
    /// HTTP filter: rate limits decided in the process.
    LOCAL_RATE_LIMIT = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
    /// HTTP filter: rate limits decided by a service.
    RATE_LIMIT = "envoy.extensions.filters.http.ratelimit.v3.RateLimit";
    /// Per-route configuration that may switch any HTTP filter off or replace its configuration.
    ROUTE_FILTER_CONFIG = "envoy.config.route.v3.FilterConfig";

    /// Listener filter: reads the TLS client hello.
    TLS_INSPECTOR = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";
    /// Listener filter: tells HTTP from other protocols.
    HTTP_INSPECTOR = "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector";
    /// Listener filter: the address before redirection.
    ORIGINAL_DST = "envoy.extensions.filters.listener.original_dst.v3.OriginalDst";

    /// Cluster extension: HTTP options towards the upstream.
    HTTP_PROTOCOL_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    /// Transport socket: TLS towards the upstream.
    UPSTREAM_TLS_CONTEXT = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
    /// Transport socket: TLS towards the downstream.
    DOWNSTREAM_TLS_CONTEXT = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
    /// Transport socket: plain text.
    RAW_BUFFER = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";

    /// Retry host predicate: not the hosts already tried.
    PREVIOUS_HOSTS = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate";
    /// Retry priority: not the priorities already tried.
    PREVIOUS_PRIORITIES = "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig";
    /// Path matcher: URI template.
    URI_TEMPLATE_MATCH = "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig";
    /// Path rewriter: URI template.
    URI_TEMPLATE_REWRITE = "envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig";
    /// Access log: file.
    FILE_ACCESS_LOG = "envoy.extensions.access_loggers.file.v3.FileAccessLog";

    /// Load balancing policy: round robin.
    LB_ROUND_ROBIN = "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin";
    /// Load balancing policy: least request (power of two choices).
    LB_LEAST_REQUEST = "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest";
    /// Load balancing policy: random.
    LB_RANDOM = "envoy.extensions.load_balancing_policies.random.v3.Random";
    /// Load balancing policy: ring hash.
    LB_RING_HASH = "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash";
    /// Load balancing policy: Maglev.
    LB_MAGLEV = "envoy.extensions.load_balancing_policies.maglev.v3.Maglev";
    /// Load balancing policy: weights from load reports.
    LB_CLIENT_SIDE_WEIGHTED_ROUND_ROBIN = "envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin";
    /// Load balancing policy: locality first, then a policy within.
    LB_WRR_LOCALITY = "envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality";

    /// A message with its own type URL and a `Struct` for a body, as xDS writes it.
    XDS_TYPED_STRUCT = "xds.type.v3.TypedStruct";
    /// The older name of the same message, which Istio still writes.
    UDPA_TYPED_STRUCT = "udpa.type.v1.TypedStruct";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_url_names_a_message_of_the_api() {
        for (constant, type_url) in ALL {
            assert!(crate::descriptors::message(type_name(type_url)).is_some(), "{constant} = {type_url}");
        }
    }

    #[test]
    fn a_type_name_is_what_follows_the_last_slash() {
        assert_eq!(type_name(CLUSTER), "envoy.config.cluster.v3.Cluster");
        assert_eq!(type_name("a/b/c.D"), "c.D");
        assert_eq!(type_name("c.D"), "c.D");
        assert_eq!(type_name(""), "");
    }
}

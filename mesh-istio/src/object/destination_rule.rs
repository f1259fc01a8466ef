//! `networking.istio.io` DestinationRule, field for field as in Istio's proto.
//!
//! Only shapes; rules are in `validate`, layering is in `select`, meaning is in `lower`. Plain integers: 0 is unset. `Option`: unset
//! differs from zero.

use std::collections::BTreeMap;
use std::time::Duration;

use super::decode::{enumeration, message};

message! {
    /// What happens to traffic for a host after routing.
    pub struct DestinationRule {
        /// Host; short names are of the rule's namespace.
        pub host: String,
        /// Policy for all subsets and ports.
        pub traffic_policy: Option<TrafficPolicy>,
        /// Named parts of the endpoints.
        pub subsets: Vec<Subset>,
        /// Namespaces that may see it.
        pub export_to: Vec<String>,
        /// Callers it is for.
        pub workload_selector: Option<WorkloadSelector>,
    }

    /// `matchLabels`, as in DestinationRule and policies.
    pub struct WorkloadSelector {
        /// Labels that must all be there.
        pub match_labels: BTreeMap<String, String>,
    }

    /// A part of the endpoints with its own policy.
    pub struct Subset {
        /// Name.
        pub name: String,
        /// Labels that select endpoints.
        pub labels: BTreeMap<String, String>,
        /// Overlay of the rule's policy.
        pub traffic_policy: Option<TrafficPolicy>,
    }

    /// A policy; blocks override as units.
    pub struct TrafficPolicy {
        /// How an endpoint is chosen.
        pub load_balancer: Option<LoadBalancerSettings>,
        /// Limits on connections and requests.
        pub connection_pool: Option<ConnectionPoolSettings>,
        /// Ejection of failing endpoints.
        pub outlier_detection: Option<OutlierDetection>,
        /// TLS towards the endpoints.
        pub tls: Option<ClientTlsSettings>,
        /// Policies per port, which replace this one whole.
        pub port_level_settings: Vec<PortTrafficPolicy>,
        /// Tunnelling through a proxy.
        pub tunnel: Option<TunnelSettings>,
        /// PROXY protocol towards the endpoints.
        pub proxy_protocol: Option<ProxyProtocol>,
        /// Limit on concurrent retries as a share of requests.
        pub retry_budget: Option<RetryBudget>,
    }

    /// A policy for one port.
    pub struct PortTrafficPolicy {
        /// Which port of the service.
        pub port: Option<super::PortSelector>,
        /// How an endpoint is chosen.
        pub load_balancer: Option<LoadBalancerSettings>,
        /// Limits on connections and requests.
        pub connection_pool: Option<ConnectionPoolSettings>,
        /// Ejection of failing endpoints.
        pub outlier_detection: Option<OutlierDetection>,
        /// TLS towards the endpoints.
        pub tls: Option<ClientTlsSettings>,
    }

    /// How an endpoint is chosen.
    pub struct LoadBalancerSettings {
        /// One of the simple algorithms.
        pub simple: Option<SimpleLb>,
        /// Or by a hash.
        pub consistent_hash: Option<ConsistentHashLb>,
        /// Preference of near localities.
        pub locality_lb_setting: Option<LocalityLbSetting>,
        /// Preference of the own zone.
        pub zone_aware_lb_setting: Option<ZoneAwareLbSetting>,
        /// Deprecated form of `warmup`.
        pub warmup_duration_secs: Option<Duration>,
        /// Slow start of new endpoints.
        pub warmup: Option<WarmupConfiguration>,
    }

    /// Slow start.
    pub struct WarmupConfiguration {
        /// How long.
        pub duration: Option<Duration>,
        /// Percents to begin with. Unset: 10.
        pub minimum_percent: Option<f64>,
        /// Shape. Unset: 1, linear.
        pub aggression: Option<f64>,
    }

    /// Choice by a hash of the request.
    pub struct ConsistentHashLb {
        /// Of a header.
        pub http_header_name: Option<String>,
        /// Of a cookie.
        pub http_cookie: Option<HttpCookie>,
        /// Of the caller's address.
        pub use_source_ip: Option<bool>,
        /// Of a query parameter.
        pub http_query_parameter_name: Option<String>,
        /// Ketama.
        pub ring_hash: Option<RingHash>,
        /// Maglev.
        pub maglev: Option<MagLev>,
        /// Deprecated form of `ringHash.minimumRingSize`.
        pub minimum_ring_size: u64,
    }

    /// A cookie to hash, made when it has a `ttl`.
    pub struct HttpCookie {
        /// Name.
        pub name: String,
        /// Path.
        pub path: String,
        /// Lifetime; 0: of the session; unset: never made.
        pub ttl: Option<Duration>,
        /// Further attributes.
        pub attributes: Vec<CookieAttribute>,
    }

    /// An attribute of a made cookie.
    pub struct CookieAttribute {
        /// Name.
        pub name: String,
        /// Value; may be empty.
        pub value: String,
    }

    /// Ketama settings.
    pub struct RingHash {
        /// Virtual nodes at least. 0: 1024.
        pub minimum_ring_size: u64,
    }

    /// Maglev settings.
    pub struct MagLev {
        /// A prime. 0: 65537.
        pub table_size: u64,
    }

    /// Preference of near localities.
    pub struct LocalityLbSetting {
        /// Shares by locality.
        pub distribute: Vec<LocalityDistribute>,
        /// Where to fail over.
        pub failover: Vec<LocalityFailover>,
        /// Labels in order of preference.
        pub failover_priority: Vec<String>,
        /// Unset: as the mesh says.
        pub enabled: Option<bool>,
    }

    /// Shares by locality for callers of one.
    pub struct LocalityDistribute {
        /// Locality of callers.
        pub from: String,
        /// Locality to weight.
        pub to: BTreeMap<String, u32>,
    }

    /// Fail-over of one region.
    pub struct LocalityFailover {
        /// From region.
        pub from: String,
        /// To region.
        pub to: String,
    }

    /// Preference of the own zone.
    pub struct ZoneAwareLbSetting {
        /// Unset: as the mesh says.
        pub enabled: Option<bool>,
        /// Where to fail over.
        pub failover: Vec<LocalityFailover>,
        /// Labels in order of preference.
        pub failover_priority: Vec<String>,
        /// Endpoints that make it worthwhile. Unset: 6.
        pub min_cluster_size: Option<u64>,
    }

    /// Limits on connections and requests.
    pub struct ConnectionPoolSettings {
        /// Of connections.
        pub tcp: Option<TcpSettings>,
        /// Of requests.
        pub http: Option<HttpSettings>,
    }

    /// Limits of connections.
    pub struct TcpSettings {
        /// Open connections.
        pub max_connections: i32,
        /// Limit on connecting.
        pub connect_timeout: Option<Duration>,
        /// Keep-alive probes.
        pub tcp_keepalive: Option<TcpKeepalive>,
        /// Age at which a connection is drained.
        pub max_connection_duration: Option<Duration>,
        /// Idle time where `http.idleTimeout` is unset; 0: none.
        pub idle_timeout: Option<Duration>,
    }

    /// Keep-alive probes; unset: as the system has it.
    pub struct TcpKeepalive {
        /// Unanswered probes before the connection is dead.
        pub probes: u32,
        /// Idle time before the first probe.
        pub time: Option<Duration>,
        /// Time between probes.
        pub interval: Option<Duration>,
    }

    /// Limits of requests.
    pub struct HttpSettings {
        /// Requests waiting for a connection.
        pub http1_max_pending_requests: i32,
        /// Requests in flight.
        pub http2_max_requests: i32,
        /// Requests per connection; 1: no keep-alive.
        pub max_requests_per_connection: i32,
        /// Retries in flight.
        pub max_retries: i32,
        /// Idle time of a connection.
        pub idle_timeout: Option<Duration>,
        /// Whether plain HTTP is upgraded to HTTP/2.
        pub h2_upgrade_policy: H2UpgradePolicy,
        /// Use the protocol the client used.
        pub use_client_protocol: bool,
        /// Streams per HTTP/2 connection.
        pub max_concurrent_streams: i32,
        /// HTTP/2 PING.
        pub http2_keep_alive: Option<Http2KeepAlive> = ["http2Keepalive"],
    }

    /// HTTP/2 PING.
    pub struct Http2KeepAlive {
        /// Time between.
        pub interval: Option<Duration>,
        /// Time to answer.
        pub timeout: Option<Duration>,
    }

    /// Limit on concurrent retries as a share of requests.
    pub struct RetryBudget {
        /// Percents. Unset: 20.
        pub percent: Option<Percentage>,
        /// Retries always allowed. Unset: 3.
        pub min_retry_concurrency: Option<u32>,
        /// Window; not used by Envoy.
        pub budget_interval: Option<Duration>,
    }

    /// Percents, wrapped.
    pub struct Percentage {
        /// 0 to 100.
        pub value: f64,
    }

    /// Ejection of failing endpoints.
    pub struct OutlierDetection {
        /// Removed in Istio 1.7; see `Compat`.
        pub consecutive_errors: i32,
        /// Count local errors apart.
        pub split_external_local_origin_errors: bool,
        /// Local errors in a row.
        pub consecutive_local_origin_failures: Option<u32>,
        /// 502, 503, 504 in a row.
        pub consecutive_gateway_errors: Option<u32>,
        /// 5xx in a row.
        pub consecutive_5xx_errors: Option<u32>,
        /// Time between sweeps.
        pub interval: Option<Duration>,
        /// First ejection's length.
        pub base_ejection_time: Option<Duration>,
        /// Share that may be ejected. 0: 10.
        pub max_ejection_percent: i32,
        /// Healthy share below which ejection is ignored.
        pub min_health_percent: i32,
        /// Statuses that count as errors.
        pub outlier_detection_http_error_codes: Vec<u32>,
    }

    /// TLS towards the endpoints.
    pub struct ClientTlsSettings {
        /// Whether and how.
        pub mode: TlsMode,
        /// Certificate file.
        pub client_certificate: String,
        /// Key file.
        pub private_key: String,
        /// CA file.
        pub ca_certificates: String,
        /// Revocation list file.
        pub ca_crl: String,
        /// Secret.
        pub credential_name: String,
        /// Names the peer may have.
        pub subject_alt_names: Vec<String>,
        /// Server name to send.
        pub sni: String,
        /// Do not verify the peer.
        pub insecure_skip_verify: Option<bool>,
    }

    /// Tunnelling through a proxy.
    pub struct TunnelSettings {
        /// CONNECT or POST.
        pub protocol: String,
        /// Host behind the proxy.
        pub target_host: String,
        /// Port behind the proxy.
        pub target_port: u32,
    }

    /// PROXY protocol.
    pub struct ProxyProtocol {
        /// Version.
        pub version: ProxyProtocolVersion,
    }
}

enumeration! {
    /// Simple balancing algorithms.
    pub enum SimpleLb {
        /// As `LeastRequest`.
        Unspecified = 0 "UNSPECIFIED",
        /// Deprecated name of `LeastRequest`.
        LeastConn = 1 "LEAST_CONN",
        /// Random.
        Random = 2 "RANDOM",
        /// To the address that the caller chose.
        Passthrough = 3 "PASSTHROUGH",
        /// In turns.
        RoundRobin = 4 "ROUND_ROBIN",
        /// The one with fewer requests, of two.
        LeastRequest = 5 "LEAST_REQUEST",
    }

    /// Whether plain HTTP is upgraded to HTTP/2.
    pub enum H2UpgradePolicy {
        /// As the mesh says.
        Default = 0 "DEFAULT",
        /// No.
        DoNotUpgrade = 1 "DO_NOT_UPGRADE",
        /// Yes.
        Upgrade = 2 "UPGRADE",
    }

    /// TLS towards the endpoints.
    pub enum TlsMode {
        /// None.
        Disable = 0 "DISABLE",
        /// The server shows a certificate.
        Simple = 1 "SIMPLE",
        /// Both do, from files.
        Mutual = 2 "MUTUAL",
        /// Both do, with the mesh's certificates.
        IstioMutual = 3 "ISTIO_MUTUAL",
    }

    /// Version of the PROXY protocol.
    pub enum ProxyProtocolVersion {
        /// Text.
        V1 = 0 "V1",
        /// Binary.
        V2 = 1 "V2",
    }
}

//! `envoy.config.cluster.v3.Cluster`: an upstream, how its hosts are found, chosen, limited and spoken to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Name;
use super::endpoint::ClusterLoadAssignment;
use super::health_check::HealthCheck;
use super::metadata::{Metadata, Value};
use super::outlier_detection::OutlierDetection;

/// An upstream service (or a subset of one).
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// The name routes refer to.
    pub name: Name,
    /// Where its endpoints come from.
    pub discovery: Discovery,
    /// Limit of one TCP (and TLS) connect, default 5 s.
    pub connect_timeout: Duration,
    /// How a host is picked.
    pub lb_policy: LbPolicy,
    /// What hosts are known by where requests are hashed, and how much of the load one may take.
    pub consistent_hashing: ConsistentHashing,
    /// What localities matter for.
    pub locality_lb: LocalityLb,
    /// How hosts that have just become ready are spared; `None`: not at all.
    pub slow_start: Option<SlowStart>,
    /// `zone_aware_lb_config.fail_traffic_on_panic`: a priority in panic has no host instead of all.
    pub fail_traffic_on_panic: bool,
    /// `common_lb_config.healthy_panic_threshold` in percent, default 50; 0 turns panic off.
    pub healthy_panic_threshold: f64,
    /// `common_lb_config.update_merge_window`, default 1 s: of changes of hosts' health the first is in force at once, and
    /// what follows within this time is when it has passed. Zero: everything at once.
    pub update_merge_window: Duration,
    /// Ejection of hosts that answer badly; `None` leaves it off.
    pub outlier_detection: Option<OutlierDetection>,
    /// How hosts are asked whether they are well; `None` when nobody asks.
    pub health_check: Option<Arc<HealthCheck>>,
    /// `common_lb_config.ignore_new_hosts_until_first_hc`: whether hosts do not count before their first check.
    pub ignore_new_hosts_until_first_hc: bool,
    /// Whether a host that is removed goes at once although it passes its checks.
    pub ignore_health_on_host_removal: bool,
    /// Concurrency limits of this process towards the cluster.
    pub circuit_breakers: CircuitBreakers,
    /// Which HTTP version is spoken to the hosts.
    pub protocol: UpstreamProtocol,
    /// Limits of connections of either HTTP version.
    pub http: HttpConnectionOptions,
    /// HTTP/2 settings; used when HTTP/2 is spoken.
    pub http2: Http2Options,
    /// TCP keep-alive of upstream connections; `None` leaves it off.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// `transport_socket_matches`, in order: the first that fits an endpoint says what secures its connections.
    pub transport_socket_matches: Vec<TransportSocketMatch>,
    /// `metadata`, e.g. the Istio object that made it.
    pub metadata: Metadata,
}

impl Cluster {
    /// A cluster with Envoy's defaults.
    pub fn new(name: impl Into<Name>, discovery: Discovery) -> Self {
        Self {
            name: name.into(),
            discovery,
            connect_timeout: Duration::from_secs(5),
            lb_policy: LbPolicy::RoundRobin,
            consistent_hashing: ConsistentHashing::default(),
            locality_lb: LocalityLb::default(),
            slow_start: None,
            fail_traffic_on_panic: false,
            healthy_panic_threshold: 50.0,
            update_merge_window: Duration::from_secs(1),
            outlier_detection: None,
            health_check: None,
            ignore_new_hosts_until_first_hc: false,
            ignore_health_on_host_removal: false,
            circuit_breakers: CircuitBreakers::default(),
            protocol: UpstreamProtocol::Http1,
            http: HttpConnectionOptions::default(),
            http2: Http2Options::default(),
            tcp_keepalive: None,
            transport_socket_matches: Vec::new(),
            metadata: Metadata::new(),
        }
    }

    /// Whether it matters in which zone its hosts are.
    #[must_use]
    pub const fn heeds_zones(&self) -> bool {
        matches!(self.locality_lb, LocalityLb::ZoneAware(_))
    }

    /// What secures connections to an endpoint with this metadata: the first match that fits, else plain text.
    #[must_use]
    pub fn transport_socket(&self, endpoint: &Metadata) -> TransportSocket {
        let fits = |one: &&TransportSocketMatch| one.fits(endpoint);
        self.transport_socket_matches.iter().find(fits).map_or(TransportSocket::RawBuffer, |one| one.socket)
    }
}

/// `Cluster.TransportSocketMatch`: what secures connections to the endpoints that carry some metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct TransportSocketMatch {
    /// Its name, e.g. `tlsMode-istio`.
    pub name: Name,
    /// What the endpoint's `envoy.transport_socket_match` metadata must contain; empty fits every endpoint.
    pub matches: BTreeMap<String, Value>,
    /// What is used then.
    pub socket: TransportSocket,
}

impl TransportSocketMatch {
    /// Whether an endpoint with this metadata is meant.
    #[must_use]
    pub fn fits(&self, endpoint: &Metadata) -> bool {
        let carried = endpoint.get("envoy.transport_socket_match");
        self.matches.iter().all(|(key, wanted)| carried.and_then(|carried| carried.at([key.as_str()])) == Some(wanted))
    }
}

/// What secures a connection. An endpoint that needs TLS must never be spoken to in plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub enum TransportSocket {
    /// Nothing: plain text.
    #[default]
    RawBuffer,
    /// TLS. Not there yet: such an endpoint is unusable.
    Tls,
}

/// `Cluster.type`: where endpoints come from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Discovery {
    /// `STATIC`: listed in the cluster.
    Static(ClusterLoadAssignment),
    /// `EDS`: sent apart, under `service_name` (by default the cluster's name).
    Eds {
        /// The name asked for.
        service_name: Name,
    },
    /// `STRICT_DNS`: every address of every listed name is a host.
    StrictDns {
        /// The names, as endpoints with DNS addresses.
        endpoints: ClusterLoadAssignment,
        /// When and how they are resolved again.
        refresh: DnsRefresh,
    },
    /// `LOGICAL_DNS`: one host, the first address of one name at connect time.
    LogicalDns {
        /// The name, as one endpoint with a DNS address.
        endpoints: ClusterLoadAssignment,
        /// When and how it is resolved again.
        refresh: DnsRefresh,
    },
    /// `ORIGINAL_DST`: the address that the caller gave (Istio's `PassthroughCluster`).
    OriginalDst,
}

/// `Cluster.dns_refresh_rate` and its companions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsRefresh {
    /// How long an answer is used, default 5 s.
    pub rate: Duration,
    /// Which address families are wanted.
    pub family: DnsLookupFamily,
}

impl Default for DnsRefresh {
    fn default() -> Self {
        Self { rate: Duration::from_secs(5), family: DnsLookupFamily::Auto }
    }
}

/// `Cluster.dns_lookup_family`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DnsLookupFamily {
    /// IPv6, and IPv4 only when there is none.
    #[default]
    Auto,
    /// IPv4 only.
    V4Only,
    /// IPv6 only.
    V6Only,
    /// IPv4, and IPv6 only when there is none.
    V4Preferred,
    /// Both.
    All,
}

/// `Cluster.lb_policy` with its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum LbPolicy {
    /// In turn, by weight.
    RoundRobin,
    /// The least loaded of a few random hosts.
    LeastRequest(LeastRequest),
    /// Uniform; weights are ignored.
    Random,
    /// By hash, over a ring.
    RingHash(RingHash),
    /// By hash, over a table.
    Maglev(Maglev),
}

impl LbPolicy {
    /// Whether hosts are picked by what requests hash to.
    #[must_use]
    pub const fn hashes(&self) -> bool {
        matches!(self, Self::RingHash(_) | Self::Maglev(_))
    }
}

/// `Cluster.RingHashLbConfig`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingHash {
    /// Fewest entries, default 1024.
    pub minimum_ring_size: u32,
    /// Most entries, default and at most 8,388,608.
    pub maximum_ring_size: u32,
    /// What hashes the hosts.
    pub hash_function: HashFunction,
}

impl RingHash {
    /// The largest ring.
    pub const LARGEST: u32 = 8 << 20;
}

impl Default for RingHash {
    fn default() -> Self {
        Self { minimum_ring_size: 1024, maximum_ring_size: Self::LARGEST, hash_function: HashFunction::default() }
    }
}

/// `RingHashLbConfig.HashFunction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum HashFunction {
    /// xxHash64.
    #[default]
    XxHash,
    /// MurmurHash2, 64 bits.
    MurmurHash2,
}

/// `Cluster.MaglevLbConfig`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maglev {
    /// Entries of the table: a prime, at most 5,000,011, default 65,537.
    pub table_size: u32,
}

impl Maglev {
    /// The largest table.
    pub const LARGEST: u32 = 5_000_011;
}

impl Default for Maglev {
    fn default() -> Self {
        Self { table_size: 65_537 }
    }
}

/// `common_lb_config.consistent_hashing_lb_config`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ConsistentHashing {
    /// Hosts are known by their host name instead of their address.
    pub use_hostname_for_hashing: bool,
    /// How much of its part a host may have under way, in percent, at least 100; `None` is no bound.
    pub hash_balance_factor: Option<u32>,
}

/// `common_lb_config.locality_config_specifier`: what localities matter for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LocalityLb {
    /// `zone_aware_lb_config`, in force too when nothing is said: requests stay in the caller's zone, if it is known.
    ZoneAware(ZoneAware),
    /// `locality_weighted_lb_config`: localities take requests by their weights.
    Weighted,
}

impl Default for LocalityLb {
    fn default() -> Self {
        Self::ZoneAware(ZoneAware::default())
    }
}

/// `ZoneAwareLbConfig`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ZoneAware {
    /// For how many requests zones matter, in percent, default 100.
    pub routing_enabled: f64,
    /// Fewest healthy hosts for which zones matter, default 6.
    pub min_cluster_size: u64,
    /// `force_local_zone.min_size`: with so many healthy hosts (default 1) the caller's zone takes everything.
    pub force_local_zone: Option<u32>,
    /// `locality_basis`: zones are as large as the weights of their hosts, and not their number.
    pub by_weight: bool,
}

impl Default for ZoneAware {
    fn default() -> Self {
        Self { routing_enabled: 100.0, min_cluster_size: 6, force_local_zone: None, by_weight: false }
    }
}

/// `Cluster.SlowStartConfig`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    /// How long a host warms up; zero is off.
    pub window: Duration,
    /// Above 1 weights grow fast at first, below 1 slowly; above 0, default 1.
    pub aggression: f64,
    /// The least part of its weight in percent, default 10.
    pub min_weight_percent: f64,
}

/// `Cluster.LeastRequestLbConfig`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeastRequest {
    /// Hosts drawn per pick, at least 2, default 2.
    pub choice_count: u32,
    /// Exponent of the active requests when weights differ, default 1.0.
    pub active_request_bias: f64,
    /// `FULL_SCAN`: look at every host instead of a draw.
    pub full_scan: bool,
}

impl Default for LeastRequest {
    fn default() -> Self {
        Self { choice_count: 2, active_request_bias: 1.0, full_scan: false }
    }
}

/// `Cluster.circuit_breakers`: one set of limits per routing priority.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct CircuitBreakers {
    /// For routes of priority `DEFAULT`.
    pub default: Thresholds,
    /// For routes of priority `HIGH`.
    pub high: Thresholds,
}

/// `CircuitBreakers.Thresholds`: how much this process may have under way towards the cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Open connections, default 1024. Never fails a request by itself.
    pub max_connections: u32,
    /// Requests waiting for a connection, default 1024.
    pub max_pending_requests: u32,
    /// Requests under way, default 1024.
    pub max_requests: u32,
    /// Retries under way, default 3; ignored when `retry_budget` is set.
    pub max_retries: u32,
    /// Retries as a share of what is under way, instead of `max_retries`.
    pub retry_budget: Option<RetryBudget>,
    /// `max_connection_pools`, default unlimited.
    pub max_connection_pools: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_pending_requests: 1024,
            max_requests: 1024,
            max_retries: 3,
            retry_budget: None,
            max_connection_pools: u32::MAX,
        }
    }
}

/// `Thresholds.RetryBudget`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    /// Retries allowed, in percent of active and pending requests, default 20.
    pub budget_percent: f64,
    /// Always allowed at once, default 3.
    pub min_retry_concurrency: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { budget_percent: 20.0, min_retry_concurrency: 3 }
    }
}

/// Which HTTP version is spoken to the hosts (`HttpProtocolOptions.upstream_protocol_options`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum UpstreamProtocol {
    /// HTTP/1.1, the default.
    #[default]
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// What the caller speaks.
    UseDownstream,
}

/// `HttpProtocolOptions` common to both HTTP versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpConnectionOptions {
    /// A connection without requests is closed after this, default 1 h; `None` never.
    pub idle_timeout: Option<Duration>,
    /// A connection is drained after this, default never.
    pub max_connection_duration: Option<Duration>,
    /// Requests per connection before it is drained; `None` is unlimited.
    pub max_requests_per_connection: Option<u32>,
    /// `max_stream_duration` of the cluster, default none.
    pub max_stream_duration: Option<Duration>,
}

impl Default for HttpConnectionOptions {
    fn default() -> Self {
        Self {
            idle_timeout: Some(Duration::from_secs(3600)),
            max_connection_duration: None,
            max_requests_per_connection: None,
            max_stream_duration: None,
        }
    }
}

/// `Http2ProtocolOptions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2Options {
    /// Streams at once on a connection, default 2^31−1 (what the peer allows counts too).
    pub max_concurrent_streams: u32,
    /// Flow-control window of a stream in bytes, default 256 MiB in older Envoys, 16 MiB here.
    pub initial_stream_window_size: u32,
    /// Flow-control window of a connection in bytes, default 24 MiB.
    pub initial_connection_window_size: u32,
    /// Pings on the connection; `None` leaves them off.
    pub keepalive: Option<Http2Keepalive>,
}

impl Default for Http2Options {
    fn default() -> Self {
        Self {
            max_concurrent_streams: (1 << 31) - 1,
            initial_stream_window_size: 16 << 20,
            initial_connection_window_size: 24 << 20,
            keepalive: None,
        }
    }
}

/// `KeepaliveSettings`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2Keepalive {
    /// A ping is sent this often.
    pub interval: Duration,
    /// The connection is closed when an answer takes longer.
    pub timeout: Duration,
}

/// `TcpKeepalive`; `None` leaves the operating system's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TcpKeepalive {
    /// Unanswered probes before the connection is dead.
    pub probes: Option<u32>,
    /// Idle time before the first probe.
    pub time: Option<Duration>,
    /// Time between probes.
    pub interval: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_socket_match_that_fits_an_endpoint_wins_and_an_empty_one_fits_all() {
        let tls_mode = |value: &str| BTreeMap::from([("tlsMode".to_owned(), Value::Text(value.to_owned()))]);
        let entry = |matches, socket| TransportSocketMatch { name: "m".into(), matches, socket };
        let mut cluster = Cluster::new("c", Discovery::OriginalDst);
        let carrying =
            |value| Metadata::from([("envoy.transport_socket_match".to_owned(), Value::Struct(tls_mode(value)))]);
        assert_eq!(cluster.transport_socket(&carrying("istio")), TransportSocket::RawBuffer);
        cluster.transport_socket_matches =
            vec![entry(tls_mode("istio"), TransportSocket::Tls), entry(BTreeMap::new(), TransportSocket::RawBuffer)];
        assert_eq!(cluster.transport_socket(&carrying("istio")), TransportSocket::Tls);
        assert_eq!(cluster.transport_socket(&carrying("disabled")), TransportSocket::RawBuffer);
        assert_eq!(cluster.transport_socket(&Metadata::new()), TransportSocket::RawBuffer);
    }
}

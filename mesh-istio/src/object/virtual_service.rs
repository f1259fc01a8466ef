//! `networking.istio.io` VirtualService, field for field as in Istio's proto.
//!
//! Only shapes; rules are in `validate`, meaning is in `lower`. Durations are exact, enums by name or number.

use std::collections::BTreeMap;
use std::time::Duration;

use super::decode::{StringMatch, enumeration, message};

message! {
    /// How requests for hosts are routed.
    pub struct VirtualService {
        /// Hosts it is for; empty makes it a delegate.
        pub hosts: Vec<String>,
        /// Gateways it is bound to; empty means `mesh`.
        pub gateways: Vec<String>,
        /// HTTP rules, first match wins.
        pub http: Vec<HttpRoute>,
        /// TLS passthrough rules.
        pub tls: Vec<TlsRoute>,
        /// TCP rules.
        pub tcp: Vec<TcpRoute>,
        /// Namespaces that may see it.
        pub export_to: Vec<String>,
    }

    /// One HTTP rule.
    pub struct HttpRoute {
        /// Name, for logs.
        pub name: String,
        /// Conditions, any of which suffices; none matches everything.
        pub r#match: Vec<HttpMatchRequest>,
        /// Destinations with weights.
        pub route: Vec<HttpRouteDestination>,
        /// Answer with a redirect instead.
        pub redirect: Option<HttpRedirect>,
        /// Answer directly instead.
        pub direct_response: Option<HttpDirectResponse>,
        /// Continue in another VirtualService.
        pub delegate: Option<Delegate>,
        /// Change path or authority before forwarding.
        pub rewrite: Option<HttpRewrite>,
        /// Limit on the whole request with its retries. Unset: none.
        pub timeout: Option<Duration>,
        /// Retry policy. Unset: the mesh default.
        pub retries: Option<HttpRetry>,
        /// Faults to inject.
        pub fault: Option<HttpFaultInjection>,
        /// Where a copy goes.
        pub mirror: Option<Destination>,
        /// Deprecated whole percents of copies.
        pub mirror_percent: Option<u32>,
        /// Share of copies. Unset: all.
        pub mirror_percentage: Option<Percent>,
        /// Where several copies go.
        pub mirrors: Vec<HttpMirrorPolicy>,
        /// Cross-origin policy.
        pub cors_policy: Option<CorsPolicy>,
        /// Changes of headers.
        pub headers: Option<Headers>,
    }

    /// Conditions that must all hold.
    pub struct HttpMatchRequest {
        /// Name, appended to the rule's.
        pub name: String,
        /// Path.
        pub uri: Option<StringMatch>,
        /// Scheme.
        pub scheme: Option<StringMatch>,
        /// Method.
        pub method: Option<StringMatch>,
        /// Authority.
        pub authority: Option<StringMatch>,
        /// Headers by lower-case name.
        pub headers: BTreeMap<String, StringMatch>,
        /// Headers that must not match.
        pub without_headers: BTreeMap<String, StringMatch>,
        /// Query parameters.
        pub query_params: BTreeMap<String, StringMatch>,
        /// Port of the service. 0: any.
        pub port: u32,
        /// Labels of the caller.
        pub source_labels: BTreeMap<String, String>,
        /// Namespace of the caller.
        pub source_namespace: String,
        /// Gateways, instead of the VirtualService's.
        pub gateways: Vec<String>,
        /// Exact and prefix match of the path ignore case.
        pub ignore_uri_case: bool,
        /// Prefix of statistics.
        pub stat_prefix: String,
    }

    /// A destination with a share.
    pub struct HttpRouteDestination {
        /// Where to.
        pub destination: Option<Destination>,
        /// Share relative to the sum. 0: none, unless it is the only one.
        pub weight: Option<i32>,
        /// Changes of headers for this destination.
        pub headers: Option<Headers>,
    }

    /// A service, perhaps a part of it.
    pub struct Destination {
        /// Host; short names are of the rule's namespace.
        pub host: String,
        /// Subset, as a DestinationRule names it.
        pub subset: String,
        /// Port; unset: the one that was called.
        pub port: Option<PortSelector>,
    }

    /// A port by number.
    pub struct PortSelector {
        /// 1 to 65535.
        pub number: u32,
    }

    /// A redirect answer.
    pub struct HttpRedirect {
        /// New path.
        pub uri: String,
        /// New authority.
        pub authority: String,
        /// New scheme.
        pub scheme: String,
        /// New port.
        pub port: Option<u32>,
        /// Derived port.
        pub derive_port: Option<DerivePort>,
        /// Status; 0: 301.
        pub redirect_code: u32,
    }

    /// An answer given without an upstream.
    pub struct HttpDirectResponse {
        /// Status.
        pub status: u32,
        /// Body.
        pub body: Option<HttpBody>,
    }

    /// A body of a direct response.
    pub struct HttpBody {
        /// As text.
        pub string: Option<String>,
        /// As base64.
        pub bytes: Option<String>,
    }

    /// A reference to another VirtualService.
    pub struct Delegate {
        /// Name.
        pub name: String,
        /// Namespace; empty: the referring one's.
        pub namespace: String,
    }

    /// Changes of path and authority.
    pub struct HttpRewrite {
        /// New path or prefix.
        pub uri: String,
        /// New authority.
        pub authority: String,
        /// Replacement by regular expression.
        pub uri_regex_rewrite: Option<RegexRewrite>,
    }

    /// A replacement by regular expression.
    pub struct RegexRewrite {
        /// What is replaced (RE2).
        pub r#match: String,
        /// By what, with `\1` for groups.
        pub rewrite: String,
    }

    /// A retry policy.
    pub struct HttpRetry {
        /// How many retries; 0 switches retries off.
        pub attempts: i32,
        /// Limit of each try.
        pub per_try_timeout: Option<Duration>,
        /// Conditions and status codes, separated by commas.
        pub retry_on: String,
        /// Retry at other localities.
        pub retry_remote_localities: Option<bool>,
        /// Do not retry where it failed.
        pub retry_ignore_previous_hosts: Option<bool>,
        /// First back-off.
        pub backoff: Option<Duration>,
    }

    /// Faults to inject.
    pub struct HttpFaultInjection {
        /// Delays.
        pub delay: Option<FaultDelay>,
        /// Aborts.
        pub abort: Option<FaultAbort>,
    }

    /// A delay.
    pub struct FaultDelay {
        /// Deprecated whole percents.
        pub percent: Option<i32>,
        /// Share. Unset: none.
        pub percentage: Option<Percent>,
        /// How long.
        pub fixed_delay: Option<Duration>,
        /// Not supported by Istio.
        pub exponential_delay: Option<Duration>,
    }

    /// An abort.
    pub struct FaultAbort {
        /// Deprecated whole percents.
        pub percent: Option<i32>,
        /// Share. Unset: none.
        pub percentage: Option<Percent>,
        /// HTTP status.
        pub http_status: Option<i32>,
        /// gRPC status by name.
        pub grpc_status: Option<String>,
        /// Not supported by Istio.
        pub http2_error: Option<String>,
    }

    /// Percents from 0 to 100.
    pub struct Percent {
        /// The value.
        pub value: f64,
    }

    /// A mirror with a share.
    pub struct HttpMirrorPolicy {
        /// Where to.
        pub destination: Option<Destination>,
        /// Share. Unset: all.
        pub percentage: Option<Percent>,
    }

    /// A cross-origin policy.
    pub struct CorsPolicy {
        /// Deprecated exact origins.
        pub allow_origin: Vec<String>,
        /// Origins.
        pub allow_origins: Vec<StringMatch>,
        /// Methods.
        pub allow_methods: Vec<String>,
        /// Request headers.
        pub allow_headers: Vec<String>,
        /// Response headers a page may read.
        pub expose_headers: Vec<String>,
        /// How long a preflight answer may be kept.
        pub max_age: Option<Duration>,
        /// Credentials allowed.
        pub allow_credentials: Option<bool>,
        /// What happens to preflights that do not match.
        pub unmatched_preflights: UnmatchedPreflights,
    }

    /// Changes of request and response headers.
    pub struct Headers {
        /// Of the request.
        pub request: Option<HeaderOperations>,
        /// Of the response.
        pub response: Option<HeaderOperations>,
    }

    /// Changes of headers.
    pub struct HeaderOperations {
        /// Overwritten.
        pub set: BTreeMap<String, String>,
        /// Appended.
        pub add: BTreeMap<String, String>,
        /// Removed.
        pub remove: Vec<String>,
    }

    /// One TLS passthrough rule.
    pub struct TlsRoute {
        /// Conditions.
        pub r#match: Vec<TlsMatchAttributes>,
        /// Destinations.
        pub route: Vec<RouteDestination>,
    }

    /// Conditions on a TLS connection.
    pub struct TlsMatchAttributes {
        /// Server names.
        pub sni_hosts: Vec<String>,
        /// Destination addresses.
        pub destination_subnets: Vec<String>,
        /// Port.
        pub port: u32,
        /// Labels of the caller.
        pub source_labels: BTreeMap<String, String>,
        /// Namespace of the caller.
        pub source_namespace: String,
        /// Gateways.
        pub gateways: Vec<String>,
    }

    /// One TCP rule.
    pub struct TcpRoute {
        /// Conditions.
        pub r#match: Vec<L4MatchAttributes>,
        /// Destinations.
        pub route: Vec<RouteDestination>,
    }

    /// Conditions on a connection.
    pub struct L4MatchAttributes {
        /// Destination addresses.
        pub destination_subnets: Vec<String>,
        /// Port.
        pub port: u32,
        /// Source address; unused by Istio.
        pub source_subnet: String,
        /// Labels of the caller.
        pub source_labels: BTreeMap<String, String>,
        /// Namespace of the caller.
        pub source_namespace: String,
        /// Gateways.
        pub gateways: Vec<String>,
    }

    /// A destination of connections with a share.
    pub struct RouteDestination {
        /// Where to.
        pub destination: Option<Destination>,
        /// Share.
        pub weight: i32,
    }
}

enumeration! {
    /// Where a redirect's port comes from.
    pub enum DerivePort {
        /// 80 or 443 by scheme.
        FromProtocolDefault = 0 "FROM_PROTOCOL_DEFAULT",
        /// The port that was called.
        FromRequestPort = 1 "FROM_REQUEST_PORT",
    }

    /// What happens to preflight requests whose origin does not match.
    pub enum UnmatchedPreflights {
        /// As `Forward`.
        Unspecified = 0 "UNSPECIFIED",
        /// Sent upstream.
        Forward = 1 "FORWARD",
        /// Answered locally without cross-origin headers.
        Ignore = 2 "IGNORE",
    }
}

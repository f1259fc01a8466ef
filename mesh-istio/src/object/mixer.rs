//! `config.istio.io` objects of Mixer, as far as quotas need them: handler, instance, rule, QuotaSpec, QuotaSpecBinding.
//!
//! Only shapes; rules are in `validate`, how they join is in `mixer`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::decode::{StringMatch, enumeration, message};

message! {
    /// An adapter of quotas and its limits.
    pub struct Handler {
        /// `memquota` or `redisquota`, in any case.
        pub compiled_adapter: String = ["adapter"],
        /// The adapter's settings.
        pub params: QuotaParams,
    }

    /// Settings of memquota and redisquota.
    pub struct QuotaParams {
        /// The limits, by instance.
        pub quotas: Vec<HandlerQuota>,
        /// How long the same request is known; memquota. Default 1 s.
        pub min_deduplication_duration: Option<Duration>,
        /// Where redisquota counts; here it is this process.
        pub redis_server_url: String,
        /// Connections to it.
        pub connection_pool_size: i64,
    }

    /// The limit of one instance.
    pub struct HandlerQuota {
        /// The instance, such as `requestcountquota.instance.istio-system`.
        pub name: String,
        /// The limit.
        pub max_amount: i64,
        /// The window; zero never ends.
        pub valid_duration: Option<Duration>,
        /// Other limits; the first that fits counts.
        pub overrides: Vec<HandlerOverride>,
        /// How the window is counted.
        pub rate_limit_algorithm: Option<RateLimitAlgorithm>,
        /// Slots of a rolling window of redisquota.
        pub bucket_duration: Option<Duration>,
    }

    /// A limit for some dimensions. Nothing is inherited.
    pub struct HandlerOverride {
        /// All of these must be equal.
        pub dimensions: BTreeMap<String, String>,
        /// The limit.
        pub max_amount: i64,
        /// The window.
        pub valid_duration: Option<Duration>,
    }

    /// What is counted.
    pub struct Instance {
        /// `quota`.
        pub compiled_template: String = ["template"],
        /// The template's settings.
        pub params: InstanceParams,
    }

    /// Settings of the template `quota`.
    pub struct InstanceParams {
        /// What cells are counted by: expressions by name.
        pub dimensions: BTreeMap<String, String>,
    }

    /// Which instances which handler sees, and when.
    pub struct Rule {
        /// The condition; empty always holds.
        pub r#match: String,
        /// Who sees what.
        pub actions: Vec<RuleAction>,
    }

    /// A handler and what it sees.
    pub struct RuleAction {
        /// The handler: `name`, `name.namespace`, `name.handler.namespace`.
        pub handler: String,
        /// Instances, named the same way.
        pub instances: Vec<String>,
        /// A name for the action's output.
        pub name: String,
    }

    /// What requests are charged.
    pub struct QuotaSpec {
        /// All that apply are charged.
        pub rules: Vec<QuotaRule>,
    }

    /// Some requests and what they are charged.
    pub struct QuotaRule {
        /// Any of these; empty: every request.
        pub r#match: Vec<QuotaMatch>,
        /// The charges.
        pub quotas: Vec<QuotaCharge>,
    }

    /// Conditions that must all hold.
    pub struct QuotaMatch {
        /// Attribute by name.
        pub clause: BTreeMap<String, StringMatch>,
    }

    /// One charge.
    pub struct QuotaCharge {
        /// The instance.
        pub quota: String,
        /// How much; unset 1, 0 is nothing.
        pub charge: Option<i64>,
    }

    /// Which services are charged.
    pub struct QuotaSpecBinding {
        /// The services.
        pub services: Vec<BoundService>,
        /// What is charged.
        pub quota_specs: Vec<QuotaSpecReference>,
    }

    /// A service by name, by host, or all of them.
    pub struct BoundService {
        /// Name.
        pub name: String,
        /// Namespace; default the binding's.
        pub namespace: String,
        /// Domain; default the cluster's.
        pub domain: String,
        /// The host name, or `*`.
        pub service: String,
        /// Labels of the service.
        pub labels: BTreeMap<String, String>,
    }

    /// A QuotaSpec by name.
    pub struct QuotaSpecReference {
        /// Name.
        pub name: String,
        /// Namespace; default the binding's.
        pub namespace: String,
    }
}

enumeration! {
    /// How redisquota counts.
    pub enum RateLimitAlgorithm {
        /// The count starts anew when the window is over.
        FixedWindow = 0 "FIXED_WINDOW",
        /// No span of the window's length has more than the limit.
        RollingWindow = 1 "ROLLING_WINDOW",
    }
}

//! Mesh-wide settings that the small istiod needs: the part of Istio's MeshConfig that changes what we lower, and
//! the switches for behaviour that Istio changed between releases.
//!
//! Defaults are Istio's. What is not here is not read yet.

use std::time::Duration;

use crate::object::LocalityLbSetting;

/// Mesh-wide settings, with Istio's names and defaults.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MeshConfig {
    /// DNS suffix of Kubernetes services. Default `cluster.local`.
    pub cluster_domain: String,
    /// Trust domain of SPIFFE identities. Default `cluster.local`.
    pub trust_domain: String,
    /// Namespace whose policies hold for the whole mesh. Default `istio-system`.
    pub root_namespace: String,
    /// What happens to hosts that nobody declared. Default [`OutboundTrafficPolicy::AllowAny`].
    pub outbound_traffic_policy: OutboundTrafficPolicy,
    /// Limit on establishing a connection where no DestinationRule sets one. Default 10 s.
    pub connect_timeout: Duration,
    /// How often DNS names are resolved again when the answer carries no time to live. Default 60 s.
    pub dns_refresh_rate: Duration,
    /// `exportTo` of services without one. Default `["*"]`.
    pub default_service_export_to: Vec<String>,
    /// `exportTo` of VirtualServices without one. Default `["*"]`.
    pub default_virtual_service_export_to: Vec<String>,
    /// `exportTo` of DestinationRules without one. Default `["*"]`.
    pub default_destination_rule_export_to: Vec<String>,
    /// Whether clusters of plain HTTP ports are upgraded to HTTP/2 where no DestinationRule says. Default false.
    pub h2_upgrade: bool,
    /// Which endpoints are preferred by place where no DestinationRule says. Default: near ones, as far as failing ones are found out.
    pub locality_lb_setting: LocalityLbSetting,
    /// Behaviour that differs between Istio releases or from Istio.
    pub compat: Compat,
}

impl Default for MeshConfig {
    fn default() -> Self {
        let all = || vec!["*".to_owned()];
        Self {
            cluster_domain: "cluster.local".to_owned(),
            trust_domain: "cluster.local".to_owned(),
            root_namespace: "istio-system".to_owned(),
            outbound_traffic_policy: OutboundTrafficPolicy::AllowAny,
            connect_timeout: Duration::from_secs(10),
            dns_refresh_rate: Duration::from_secs(60),
            default_service_export_to: all(),
            default_virtual_service_export_to: all(),
            default_destination_rule_export_to: all(),
            h2_upgrade: false,
            locality_lb_setting: LocalityLbSetting { enabled: Some(true), ..LocalityLbSetting::default() },
            compat: Compat::default(),
        }
    }
}

/// `outboundTrafficPolicy.mode`: what happens to a host that nobody declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutboundTrafficPolicy {
    /// Passed through to the address it resolves to (`PassthroughCluster`, route `allow_any`).
    #[default]
    AllowAny,
    /// Answered 502 (`BlackHoleCluster`, route `block_all`).
    RegistryOnly,
}

/// Named departures from present-day Istio. The defaults are documented per field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compat {
    /// Treat consecutive matchless routes of one weighted destination each as one weighted route. Istio gives the first all
    /// traffic. Default false, which is Istio's behaviour (with the warning `VS_SPLIT_ACROSS_ROUTES`).
    pub fold_split_routes: bool,
    /// Quotas join as strictly as in Mixer: `-`, `_` and suffixes of names count (case and namespace do not), and a handler that no rule names limits nothing.
    /// Default false: `-`, `_` and suffixes of names do not count, and such a handler limits the charges of its name (each with the
    /// warning `QUOTA_COMPAT`).
    pub strict_quotas: bool,
    /// The default retry policy retries 503 as Istio 1.5 to 1.23 did. Default false: Istio 1.24 and later.
    pub retries_default_503: bool,
    /// What the removed field `outlierDetection.consecutiveErrors` means. Default [`ConsecutiveErrors::Gateway`].
    pub consecutive_errors: ConsecutiveErrors,
}

/// Meaning of `outlierDetection.consecutiveErrors`, which Istio 1.7 and later accept and ignore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsecutiveErrors {
    /// As in Istio 1.6 and earlier: a threshold of consecutive gateway errors, other 5xx do not eject.
    #[default]
    Gateway,
    /// As in Istio 1.7 and later: no effect of its own; five consecutive 5xx eject, as in any `outlierDetection`.
    Ignore,
}

//! Every kind that Istio or we know by name, its group and its versions.
//!
//! Whether a kind has effect is a column of this table, not a decision made elsewhere. Follows the list of Istio's
//! custom resources and the few core kinds that istiod watches.

use std::fmt;

/// What becomes of objects of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Force {
    /// Parsed and lowered.
    Now,
    /// Known, without effect yet.
    NotYet,
    /// Known, without effect yet, and made to narrow access or to protect traffic.
    NotYetSecurity,
    /// Kubernetes kinds we have no use for.
    Ignored,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $group:literal, $versions:expr, $force:ident;)*) => {
        /// A kind of object. Order is only for determinism.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Kind { $($(#[$doc])* $variant,)* }

        impl Kind {
            /// The kind as written in YAML.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The API group; empty for core Kubernetes.
            #[must_use]
            pub const fn group(self) -> &'static str {
                match self { $(Self::$variant => $group,)* }
            }

            pub(crate) const fn versions(self) -> &'static [&'static str] {
                match self { $(Self::$variant => $versions,)* }
            }

            pub(crate) const fn force(self) -> Force {
                match self { $(Self::$variant => Force::$force,)* }
            }

            /// Every kind that is known by name.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
        }
    };
}

const NETWORKING: &[&str] = &["v1", "v1beta1", "v1alpha3"];
const SECURITY: &[&str] = &["v1", "v1beta1"];
const MIXER: &[&str] = &["v1alpha2"];
const V1: &[&str] = &["v1"];

kinds! {
    /// How requests for a host are routed.
    VirtualService = "VirtualService", "networking.istio.io", NETWORKING, Now;
    /// What happens to traffic after routing.
    DestinationRule = "DestinationRule", "networking.istio.io", NETWORKING, Now;
    /// A service added to the registry by hand.
    ServiceEntry = "ServiceEntry", "networking.istio.io", NETWORKING, Now;
    /// One endpoint, as a VM would be described.
    WorkloadEntry = "WorkloadEntry", "networking.istio.io", NETWORKING, Now;
    /// A Kubernetes service.
    Service = "Service", "", V1, Now;
    /// Endpoints of a Kubernetes service.
    EndpointSlice = "EndpointSlice", "discovery.k8s.io", V1, Now;
    /// A Kubernetes pod: gives endpoints their labels.
    Pod = "Pod", "", V1, Now;
    /// Template of WorkloadEntries.
    WorkloadGroup = "WorkloadGroup", "networking.istio.io", NETWORKING, NotYet;
    /// Which configuration a workload sees.
    Sidecar = "Sidecar", "networking.istio.io", NETWORKING, Now;
    /// A load balancer at the edge.
    Gateway = "Gateway", "networking.istio.io", NETWORKING, Now;
    /// Patches of the generated configuration. Any filter may be in it, also one that guards.
    EnvoyFilter = "EnvoyFilter", "networking.istio.io", &["v1alpha3"], NotYetSecurity;
    /// Settings of the proxy process.
    ProxyConfig = "ProxyConfig", "networking.istio.io", &["v1beta1"], NotYet;
    /// Who may call.
    AuthorizationPolicy = "AuthorizationPolicy", "security.istio.io", SECURITY, NotYetSecurity;
    /// Which tokens are valid.
    RequestAuthentication = "RequestAuthentication", "security.istio.io", SECURITY, NotYetSecurity;
    /// Whether peers must use mutual TLS.
    PeerAuthentication = "PeerAuthentication", "security.istio.io", SECURITY, NotYetSecurity;
    /// Metrics, traces, access logs.
    Telemetry = "Telemetry", "telemetry.istio.io", &["v1", "v1alpha1"], NotYet;
    /// A WebAssembly filter. It may guard.
    WasmPlugin = "WasmPlugin", "extensions.istio.io", &["v1alpha1"], NotYetSecurity;
    /// A filter of any sort. It may guard.
    TrafficExtension = "TrafficExtension", "extensions.istio.io", &["v1alpha1"], NotYetSecurity;
    /// Mixer: an adapter and its settings.
    Handler = "handler", "config.istio.io", MIXER, Now;
    /// Mixer: a template filled with attributes.
    Instance = "instance", "config.istio.io", MIXER, Now;
    /// Mixer: when which handler sees which instance.
    Rule = "rule", "config.istio.io", MIXER, Now;
    /// Mixer: what a request costs.
    QuotaSpec = "QuotaSpec", "config.istio.io", MIXER, Now;
    /// Mixer: which services pay.
    QuotaSpecBinding = "QuotaSpecBinding", "config.istio.io", MIXER, Now;
    /// Mixer, adapter-named form of a handler.
    Memquota = "memquota", "config.istio.io", MIXER, Now;
    /// Mixer, template-named form of an instance.
    Quota = "quota", "config.istio.io", MIXER, Now;
    /// A Kubernetes namespace.
    Namespace = "Namespace", "", V1, Ignored;
    /// The older form of an EndpointSlice.
    Endpoints = "Endpoints", "", V1, NotYet;
}

impl Kind {
    /// The kind of that group and name. Groups compare exactly, kinds by case.
    pub(crate) fn find(group: &str, kind: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.group() == group && known.as_str() == kind)
    }

    /// Whether a group is Istio's, so that an unknown kind in it is a mistake rather than somebody else's business.
    pub(crate) fn is_istio_group(group: &str) -> bool {
        Self::ALL.iter().any(|known| known.group() == group && !group.is_empty() && group.ends_with("istio.io"))
    }

    /// The word in paths of Istio's metadata, such as `virtual-service`.
    pub(crate) fn kebab(self) -> String {
        let mut out = String::new();
        for (n, c) in self.as_str().chars().enumerate() {
            if c.is_ascii_uppercase() && n > 0 {
                out.push('-');
            }
            out.push(c.to_ascii_lowercase());
        }
        out
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

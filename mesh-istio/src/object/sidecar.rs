//! `networking.istio.io` Sidecar, field for field as in Istio's proto.
//!
//! Only shapes; rules are in `validate`, which of several holds and what it shows is in `select`.

use super::decode::{enumeration, message};
use super::{ConnectionPoolSettings, Destination, LabelSelector, Port, ServerTlsSettings};

message! {
    /// Which configuration a workload sees.
    pub struct Sidecar {
        /// Workloads it is for; unset: all of the namespace.
        pub workload_selector: Option<LabelSelector>,
        /// What the workload serves; empty: the ports of its services.
        pub ingress: Vec<IstioIngressListener>,
        /// What the workload calls; empty: everything that is exported to its namespace.
        pub egress: Vec<IstioEgressListener>,
        /// Limits on what the workload serves.
        pub inbound_connection_pool: Option<ConnectionPoolSettings>,
        /// What happens to hosts that nobody declared; unset: as the mesh says.
        pub outbound_traffic_policy: Option<SidecarOutboundTrafficPolicy>,
    }

    /// A port that the workload serves.
    pub struct IstioIngressListener {
        /// The port.
        pub port: Option<Port>,
        /// Address it is reached at.
        pub bind: String,
        /// How traffic comes to the proxy.
        pub capture_mode: CaptureMode,
        /// Where it goes: `127.0.0.1:8080`, `0.0.0.0:8080` (the workload's own address), `unix:///path`.
        pub default_endpoint: String,
        /// TLS towards callers.
        pub tls: Option<ServerTlsSettings>,
        /// Limits.
        pub connection_pool: Option<ConnectionPoolSettings>,
    }

    /// What the workload may call.
    pub struct IstioEgressListener {
        /// The port; unset: every other port.
        pub port: Option<Port>,
        /// Address it is called at.
        pub bind: String,
        /// How traffic comes to the proxy.
        pub capture_mode: CaptureMode,
        /// Hosts, as `namespace/host`.
        pub hosts: Vec<String>,
    }

    /// What happens to hosts that nobody declared.
    pub struct SidecarOutboundTrafficPolicy {
        /// Passed through or answered with an error.
        pub mode: OutboundMode,
        /// Passed to this service instead.
        pub egress_proxy: Option<Destination>,
    }
}

enumeration! {
    /// How traffic comes to a proxy.
    pub enum CaptureMode {
        /// As the mesh has it.
        Default = 0 "DEFAULT",
        /// Redirected.
        Iptables = 1 "IPTABLES",
        /// The application connects to the proxy itself.
        None = 2 "NONE",
    }

    /// What happens to hosts that nobody declared.
    pub enum OutboundMode {
        /// Answered with an error.
        RegistryOnly = 0 "REGISTRY_ONLY",
        /// Passed through.
        AllowAny = 1 "ALLOW_ANY",
    }
}

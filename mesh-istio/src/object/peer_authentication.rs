//! `security.istio.io` PeerAuthentication: whether callers must use mutual TLS, as far as it decides which chains a port has.
//!
//! Only shapes; which of several holds is in `select`, the chains are in `lower`.

use std::collections::BTreeMap;

use super::WorkloadSelector;
use super::decode::{enumeration, message};

message! {
    /// Whether callers must use mutual TLS.
    pub struct PeerAuthentication {
        /// Workloads it is for; unset: all of the namespace.
        pub selector: Option<WorkloadSelector>,
        /// What holds for every port.
        pub mtls: Option<MutualTls>,
        /// What holds for single ports, by the number that the workload listens on.
        pub port_level_mtls: Option<BTreeMap<String, MutualTls>>,
    }

    /// A mode, wrapped.
    pub struct MutualTls {
        /// The mode.
        pub mode: MutualTlsMode,
    }
}

enumeration! {
    /// Whether callers must use mutual TLS.
    pub enum MutualTlsMode {
        /// As the policy above says.
        Unset = 0 "UNSET",
        /// They cannot.
        Disable = 1 "DISABLE",
        /// They may.
        Permissive = 2 "PERMISSIVE",
        /// They must.
        Strict = 3 "STRICT",
    }
}

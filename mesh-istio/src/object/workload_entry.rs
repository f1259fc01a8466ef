//! `networking.istio.io` WorkloadEntry, field for field as in Istio's proto.
//!
//! Also the form of endpoints within a ServiceEntry. Only shapes; rules are in `validate`.

use std::collections::BTreeMap;

use super::decode::message;

message! {
    /// One endpoint.
    pub struct WorkloadEntry {
        /// IP, name, or `unix://` path.
        pub address: String,
        /// Port of this endpoint by name of the service's port; beats `targetPort`.
        pub ports: BTreeMap<String, u32>,
        /// Labels.
        pub labels: BTreeMap<String, String>,
        /// Network.
        pub network: String,
        /// `region/zone/subzone`.
        pub locality: String,
        /// Share relative to the others. 0: 1.
        pub weight: u32,
        /// Identity.
        pub service_account: String,
    }
}

//! `networking.istio.io` ServiceEntry, field for field as in Istio's proto.
//!
//! Only shapes; rules are in `validate`, meaning is in `registry`.

use std::collections::BTreeMap;

use super::WorkloadEntry;
use super::decode::{enumeration, message};

message! {
    /// A service added to the registry by hand.
    pub struct ServiceEntry {
        /// Its names; not expanded.
        pub hosts: Vec<String>,
        /// Virtual addresses or prefixes.
        pub addresses: Vec<String>,
        /// Ports.
        pub ports: Vec<ServiceEntryPort>,
        /// Inside or outside of the mesh.
        pub location: Location,
        /// How its endpoints are found.
        pub resolution: Resolution,
        /// Endpoints given here.
        pub endpoints: Vec<WorkloadEntry>,
        /// Or chosen by label.
        pub workload_selector: Option<LabelSelector>,
        /// Namespaces that may see it.
        pub export_to: Vec<String>,
        /// Names its certificates may have.
        pub subject_alt_names: Vec<String>,
    }

    /// A port of a ServiceEntry.
    pub struct ServiceEntryPort {
        /// Number.
        pub number: u32,
        /// HTTP, HTTPS, GRPC, GRPC-Web, HTTP2, MONGO, TCP, TLS; empty: found out by looking.
        pub protocol: String,
        /// Name, unique within the entry.
        pub name: String,
        /// Port of the endpoints. 0: `number`.
        pub target_port: u32,
    }

    /// `labels`, as in networking v1alpha3.
    pub struct LabelSelector {
        /// Labels that must all be there.
        pub labels: BTreeMap<String, String>,
    }
}

enumeration! {
    /// Inside or outside of the mesh.
    pub enum Location {
        /// Outside.
        MeshExternal = 0 "MESH_EXTERNAL",
        /// Inside.
        MeshInternal = 1 "MESH_INTERNAL",
    }

    /// How endpoints are found.
    pub enum Resolution {
        /// The caller's address is used.
        None = 0 "NONE",
        /// Given as addresses.
        Static = 1 "STATIC",
        /// Names, all of whose addresses are endpoints.
        Dns = 2 "DNS",
        /// A name, whose first address is the endpoint.
        DnsRoundRobin = 3 "DNS_ROUND_ROBIN",
        /// The requested name.
        DynamicDns = 4 "DYNAMIC_DNS",
    }
}

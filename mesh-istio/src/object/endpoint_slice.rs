//! `discovery.k8s.io/v1` EndpointSlice: the fields that decide anything.
//!
//! The fields stand at the top of the document, not in a `spec`. Which Service it belongs to is the label
//! `kubernetes.io/service-name`, read in `registry`.

use super::decode::message;

message! {
    /// Where one endpoint comes from, as far as it names a pod.
    pub struct TargetRef {
        /// `Pod`.
        pub kind: String,
        /// Its name.
        pub name: String,
        /// Its namespace.
        pub namespace: String,
        /// Ignored.
        pub uid: String,
        /// Ignored.
        pub api_version: String,
        /// Ignored.
        pub field_path: String,
        /// Ignored.
        pub resource_version: String,
    }

    /// Whether an endpoint may be used.
    pub struct EndpointConditions {
        /// Unset counts as ready.
        pub ready: Option<bool>,
        /// Answers, perhaps while ending.
        pub serving: Option<bool>,
        /// Is ending.
        pub terminating: Option<bool>,
    }

    /// One endpoint.
    pub struct SliceEndpoint {
        /// Addresses, all of one endpoint.
        pub addresses: Vec<String>,
        /// Whether it may be used.
        pub conditions: EndpointConditions,
        /// Pod behind it.
        pub target_ref: Option<TargetRef>,
        /// Node it runs on.
        pub node_name: Option<String>,
        /// Zone it runs in.
        pub zone: Option<String>,
        /// Host name, for headless services.
        pub hostname: Option<String>,
        /// Hints of the topology controller; Istio does not read them.
        pub hints: Option<Hints>,
    }

    /// Hints of the topology controller.
    pub struct Hints {
        /// Zones it is meant for.
        pub for_zones: Vec<HintName>,
        /// Nodes it is meant for.
        pub for_nodes: Vec<HintName>,
    }

    /// A name in a hint.
    pub struct HintName {
        /// The name.
        pub name: String,
    }

    /// One port of all endpoints of the slice.
    pub struct SlicePort {
        /// Name; equals the name of the Service's port.
        pub name: String,
        /// Number.
        pub port: Option<u32>,
        /// Transport.
        pub protocol: String,
        /// Protocol above the transport.
        pub app_protocol: Option<String>,
    }

    /// Endpoints of a Kubernetes service.
    pub struct EndpointSlice {
        /// `IPv4`, `IPv6` or `FQDN`.
        pub address_type: String,
        /// Endpoints.
        pub endpoints: Vec<SliceEndpoint>,
        /// Ports.
        pub ports: Vec<SlicePort>,
    }
}

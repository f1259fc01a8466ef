//! Core `v1` Service: the fields that decide anything.
//!
//! Kubernetes has many more; they are accepted without a word, as Kubernetes itself has checked them.

use std::collections::BTreeMap;

use super::decode::{Anything, Cursor, Decode, Messages};
use super::node::Node;

/// A Kubernetes service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Virtual address, `None` for a headless service, or empty.
    pub cluster_ip: String,
    /// All virtual addresses.
    pub cluster_ips: Vec<String>,
    /// `ClusterIP`, `NodePort`, `LoadBalancer`, `ExternalName`; empty: `ClusterIP`.
    pub service_type: String,
    /// The name an `ExternalName` service stands for.
    pub external_name: String,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// Labels of its pods.
    pub selector: BTreeMap<String, String>,
    /// Endpoints that are not ready count too.
    pub publish_not_ready_addresses: bool,
    /// Preference of near endpoints, such as `PreferClose`.
    pub traffic_distribution: String,
    /// `Cluster`, or `Local` for endpoints of the caller's node only.
    pub internal_traffic_policy: String,
}

/// A port of a Kubernetes service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServicePort {
    /// Name; may be empty when there is only one.
    pub name: String,
    /// `TCP`, `UDP`, `SCTP`; empty: `TCP`.
    pub protocol: String,
    /// Protocol above the transport.
    pub app_protocol: Option<String>,
    /// Number.
    pub port: u32,
    /// Number of the pods' port; `None`: `port`, or a name that only pods know.
    pub target_port: Option<u32>,
}

impl Decode for Service {
    fn decode(node: &Node, cursor: &mut Cursor) -> Option<Self> {
        let mut fields = cursor.fields(node)?;
        Some(Self {
            cluster_ip: fields.take(cursor, "clusterIP", &[]),
            cluster_ips: fields.take(cursor, "clusterIPs", &[]),
            service_type: fields.take(cursor, "type", &[]),
            external_name: fields.take(cursor, "externalName", &[]),
            ports: fields.take(cursor, "ports", &[]),
            selector: fields.take(cursor, "selector", &[]),
            publish_not_ready_addresses: fields.take(cursor, "publishNotReadyAddresses", &[]),
            traffic_distribution: fields.take(cursor, "trafficDistribution", &[]),
            internal_traffic_policy: fields.take(cursor, "internalTrafficPolicy", &[]),
        })
    }

    fn messages(out: &mut Messages) {
        const FIELDS: &[&str] = &[
            "clusterIP",
            "clusterIPs",
            "type",
            "externalName",
            "ports",
            "selector",
            "publishNotReadyAddresses",
            "trafficDistribution",
            "internalTrafficPolicy",
        ];
        out.insert("Service", FIELDS);
        ServicePort::messages(out);
    }
}

/// A number, or a name that is resolved elsewhere.
#[derive(Default)]
struct IntOrString(Option<u32>);

impl Decode for IntOrString {
    fn decode(node: &Node, cursor: &mut Cursor) -> Option<Self> {
        match node.as_str() {
            Some(_) => Some(Self(None)),
            None => u32::decode(node, cursor).map(|number| Self(Some(number))),
        }
    }
}

impl Decode for ServicePort {
    fn decode(node: &Node, cursor: &mut Cursor) -> Option<Self> {
        let mut fields = cursor.fields(node)?;
        let port = Self {
            name: fields.take(cursor, "name", &[]),
            protocol: fields.take(cursor, "protocol", &[]),
            app_protocol: fields.take(cursor, "appProtocol", &[]),
            port: fields.take(cursor, "port", &[]),
            target_port: fields.take::<IntOrString>(cursor, "targetPort", &[]).0,
        };
        fields.take::<Anything>(cursor, "nodePort", &[]);
        fields.finish(cursor);
        Some(port)
    }

    fn messages(out: &mut Messages) {
        out.insert("ServicePort", &["name", "protocol", "appProtocol", "port", "targetPort"]);
    }
}

//! Objects as users write them: text to typed values, every field with its line.
//!
//! Only reading and the checks of a single object belong here; who is affected is `select`, meaning on the wire is
//! `lower`. Decoding follows the proto3 JSON mapping as Istio applies it, plus the Go duration forms.

mod decode;
mod destination_rule;
mod duration;
mod endpoint_slice;
mod gateway;
mod kind;
mod load;
mod messages;
mod mixer;
pub(crate) mod node;
mod peer_authentication;
mod pod;
mod service;
mod service_entry;
mod sidecar;
mod virtual_service;
mod workload_entry;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use decode::StringMatch;
pub use destination_rule::*;
pub use endpoint_slice::*;
pub use gateway::*;
pub use kind::Kind;
pub use load::{LoadOptions, Loaded, UnknownFields, load_text};
pub use messages::messages;
pub use mixer::*;
pub use peer_authentication::*;
pub use pod::*;
pub use service::*;
pub use service_entry::*;
pub use sidecar::*;
pub use virtual_service::*;
pub use workload_entry::*;

pub(crate) use kind::Force;
pub(crate) use node::Node;

/// Which object: kind, namespace and name. Displays as `Kind/namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Kind.
    pub kind: Kind,
    /// Namespace; `default` where the YAML has none.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// One parsed, valid object and where it came from.
#[derive(Clone, Debug)]
pub struct Object {
    /// Which object.
    pub id: ObjectId,
    /// File as the caller named it.
    pub file: Arc<str>,
    /// First line of its document, counted from 1.
    pub line: u32,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `metadata.creationTimestamp`, when it is RFC 3339 in UTC.
    pub creation_timestamp: Option<String>,
    /// What it says.
    pub spec: Spec,
    /// Lines of its fields, for findings that need other objects to be seen.
    pub(crate) node: Option<Arc<Node>>,
}

/// The typed body of an object.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Spec {
    /// A VirtualService.
    VirtualService(Box<VirtualService>),
    /// A DestinationRule.
    DestinationRule(Box<DestinationRule>),
    /// A ServiceEntry.
    ServiceEntry(Box<ServiceEntry>),
    /// A WorkloadEntry.
    WorkloadEntry(Box<WorkloadEntry>),
    /// A Sidecar.
    Sidecar(Box<Sidecar>),
    /// A PeerAuthentication.
    PeerAuthentication(Box<PeerAuthentication>),
    /// A Gateway.
    Gateway(Box<Gateway>),
    /// A handler of quotas: memquota or redisquota.
    Handler(Box<Handler>),
    /// An instance of the template quota.
    Instance(Box<Instance>),
    /// A rule.
    Rule(Box<Rule>),
    /// A QuotaSpec.
    QuotaSpec(Box<QuotaSpec>),
    /// A QuotaSpecBinding.
    QuotaSpecBinding(Box<QuotaSpecBinding>),
    /// A core Service.
    Service(Box<Service>),
    /// An EndpointSlice.
    EndpointSlice(Box<EndpointSlice>),
    /// A Pod.
    Pod(Box<Pod>),
    /// Of a kind that is known and has no effect yet.
    NotInForce,
}

impl Object {
    /// Istio's "oldest wins": by `creationTimestamp`, then name, then namespace; objects without a timestamp keep their
    /// load order, behind those with one.
    pub(crate) fn age_order(&self, other: &Self) -> Ordering {
        match (&self.creation_timestamp, &other.creation_timestamp) {
            (Some(a), Some(b)) => a
                .cmp(b)
                .then_with(|| self.id.name.cmp(&other.id.name))
                .then_with(|| self.id.namespace.cmp(&other.id.namespace)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
    }

    /// Line of a field, as near as the text has it, else the document's first line.
    pub(crate) fn line_of(&self, field: &str) -> u32 {
        self.node.as_ref().map_or(self.line, |node| node.line_of(field))
    }

    /// The path by which Istio names this object in metadata, such as
    /// `/apis/networking.istio.io/v1/namespaces/default/virtual-service/reviews`.
    #[must_use]
    pub fn config_path(&self) -> String {
        let ObjectId { kind, namespace, name } = &self.id;
        format!("/apis/{}/v1/namespaces/{namespace}/{}/{name}", kind.group(), kind.kebab())
    }
}

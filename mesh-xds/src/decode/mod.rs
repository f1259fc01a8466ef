//! The one place that judges configuration: Envoy v3 messages in, mesh-core resources out.
//!
//! Every field of a resource ends in one of three ways. It is *in force*; or the resource is *refused*, with the
//! path of the field and the reason ([`Invalid`]); or it is listed as *not in force* beside the value
//! ([`Decoded::not_in_force`]). Nothing is dropped in silence, and whatever narrows access (TLS, RBAC, JWT, external
//! authorization, a filter that nobody knows) is refused rather than left out.
//!
//! A message is judged in three steps: the API's own validation rules on all of it, then the decoder of its type,
//! then a walk over the wire bytes for fields that the decoder does not read. What needs a compiled form (regular
//! expressions, format strings, host names taken twice) mesh-core's engines judge when they compile the value.

#![allow(deprecated, reason = "control planes send deprecated fields, so they are decoded like any other")]

mod batch;
mod cluster;
mod config_source;
mod context;
mod endpoint;
mod extension;
mod filter;
mod headers;
mod listener;
mod matcher;
mod rate_limit;
mod reads;
mod refused;
mod route;
mod rules;
mod scalar;

pub use self::batch::{Accepted, Batch, Resource, UnknownType, Verdicts};

use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_core::resource::cluster::Cluster;
use mesh_core::resource::endpoint::ClusterLoadAssignment;
use mesh_core::resource::listener::Listener;
use mesh_core::resource::matcher::HeaderMatcher;
use mesh_core::resource::route::RouteConfiguration;
use mesh_core::resource::{Invalid, Name, Problem, ResourceKind, ResourceName};
use mesh_proto::envoy::config as pb;
use mesh_proto::prost::{self, Message};
use mesh_proto::type_url;
use mesh_proto::unknown::{ReadSet, unread_fields};

use context::Context;
use refused::{At, Refused, refuse};

/// An accepted resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded<T> {
    /// The value, to be compiled.
    pub value: Arc<T>,
    /// What was set and has no effect here, one line each: the path of the field, what it is, how often it occurs.
    /// Empty when all of the resource is in force.
    pub not_in_force: Vec<String>,
}

/// An accepted resource of any kind.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AnyResource {
    /// From LDS.
    Listener(Arc<Listener>),
    /// From RDS.
    RouteConfiguration(Arc<RouteConfiguration>),
    /// From CDS.
    Cluster(Arc<Cluster>),
    /// From EDS.
    ClusterLoadAssignment(Arc<ClusterLoadAssignment>),
}

impl AnyResource {
    /// Its kind and name.
    #[must_use]
    pub fn name(&self) -> ResourceName {
        match self {
            Self::Listener(one) => ResourceName::new(ResourceKind::Listener, Arc::clone(&one.name)),
            Self::RouteConfiguration(one) => ResourceName::new(ResourceKind::RouteConfiguration, Arc::clone(&one.name)),
            Self::Cluster(one) => ResourceName::new(ResourceKind::Cluster, Arc::clone(&one.name)),
            Self::ClusterLoadAssignment(one) => {
                let name = one.cluster_name.as_ref().map(Arc::clone).unwrap_or_default();
                ResourceName::new(ResourceKind::ClusterLoadAssignment, name)
            }
        }
    }
}

/// The kind of resource that a type URL stands for, if it is one that is decoded here.
#[must_use]
pub fn kind(type_url: &str) -> Option<ResourceKind> {
    let name = type_url::type_name(type_url);
    KINDS.iter().find(|(_, url)| type_url::type_name(url) == name).map(|(kind, _)| *kind)
}

/// The type URL of a kind of resource.
#[must_use]
pub fn type_url(kind: ResourceKind) -> &'static str {
    KINDS.iter().find(|(one, _)| *one == kind).map_or("", |(_, url)| url)
}

const KINDS: &[(ResourceKind, &str)] = &[
    (ResourceKind::Listener, type_url::LISTENER),
    (ResourceKind::RouteConfiguration, type_url::ROUTE_CONFIGURATION),
    (ResourceKind::Cluster, type_url::CLUSTER),
    (ResourceKind::ClusterLoadAssignment, type_url::CLUSTER_LOAD_ASSIGNMENT),
];

/// Every field that is in force or refuses its resource, as the full name of its message and its own. Any other field is
/// reported as not in force wherever it is set. For documentation and reports.
#[must_use]
pub fn fields_read() -> BTreeSet<(String, String)> {
    reads::fields()
}

/// Judges an encoded `envoy.config.listener.v3.Listener`.
///
/// # Errors
/// The first field that refuses it, and why.
pub fn listener(bytes: &[u8]) -> Result<Decoded<Listener>, Invalid> {
    judge(
        ResourceKind::Listener,
        bytes,
        &reads::LISTENER,
        |message: &pb::listener::v3::Listener| &message.name,
        listener::listener,
    )
}

/// Judges an encoded `envoy.config.route.v3.RouteConfiguration`.
///
/// # Errors
/// The first field that refuses it, and why.
pub fn route_configuration(bytes: &[u8]) -> Result<Decoded<RouteConfiguration>, Invalid> {
    type Pb = pb::route::v3::RouteConfiguration;
    let decode = |cx: &mut Context, at: &At<'_>, message: Pb| {
        if message.name.is_empty() {
            return Err(refuse(&at.field("name"), Problem::Missing));
        }
        route::configuration(cx, at, message)
    };
    judge(ResourceKind::RouteConfiguration, bytes, &reads::ROUTE_CONFIGURATION, |message: &Pb| &message.name, decode)
}

/// Judges an encoded `envoy.config.cluster.v3.Cluster`, its inline endpoints included.
///
/// # Errors
/// The first field that refuses it, and why.
pub fn cluster(bytes: &[u8]) -> Result<Decoded<Cluster>, Invalid> {
    judge(
        ResourceKind::Cluster,
        bytes,
        &reads::CLUSTER,
        |message: &pb::cluster::v3::Cluster| &message.name,
        cluster::cluster,
    )
}

/// Judges an encoded `envoy.config.endpoint.v3.ClusterLoadAssignment` that was sent apart (EDS).
///
/// # Errors
/// The first field that refuses it, and why.
pub fn load_assignment(bytes: &[u8]) -> Result<Decoded<ClusterLoadAssignment>, Invalid> {
    type Pb = pb::endpoint::v3::ClusterLoadAssignment;
    let decode =
        |_: &mut Context, at: &At<'_>, message: Pb| endpoint::load_assignment(at, message, endpoint::Hosts::Addresses);
    judge(
        ResourceKind::ClusterLoadAssignment,
        bytes,
        &reads::CLUSTER_LOAD_ASSIGNMENT,
        |message: &Pb| &message.cluster_name,
        decode,
    )
}

/// Judges an encoded `envoy.config.route.v3.HeaderMatcher` that stands alone, outside of any resource.
///
/// # Errors
/// The path of the field that refuses it, and why.
pub fn header_matcher(bytes: &[u8]) -> Result<HeaderMatcher, (String, Problem)> {
    type Pb = pb::route::v3::HeaderMatcher;
    let root = At::ROOT;
    let judge = || {
        let message = Pb::decode(bytes).map_err(|error| refuse(&root, format!("malformed HeaderMatcher: {error}")))?;
        rules::check(&<Pb as prost::Name>::full_name(), bytes)?;
        matcher::header(&root, &message)
    };
    judge().map_err(|refused| (refused.field, refused.problem))
}

/// Judges an encoded resource of any kind.
///
/// # Errors
/// The first field that refuses it, and why. A kind that is not decoded here is refused as a whole.
pub fn resource(kind: ResourceKind, bytes: &[u8]) -> Result<Decoded<AnyResource>, Invalid> {
    fn any<T>(decoded: Decoded<T>, wrap: impl FnOnce(Arc<T>) -> AnyResource) -> Decoded<AnyResource> {
        Decoded { value: Arc::new(wrap(decoded.value)), not_in_force: decoded.not_in_force }
    }
    match kind {
        ResourceKind::Listener => listener(bytes).map(|one| any(one, AnyResource::Listener)),
        ResourceKind::RouteConfiguration => {
            route_configuration(bytes).map(|one| any(one, AnyResource::RouteConfiguration))
        }
        ResourceKind::Cluster => cluster(bytes).map(|one| any(one, AnyResource::Cluster)),
        ResourceKind::ClusterLoadAssignment => {
            load_assignment(bytes).map(|one| any(one, AnyResource::ClusterLoadAssignment))
        }
        other => {
            let problem = Problem::Unsupported(format!("a resource of kind {other}"));
            Err(Invalid::new(ResourceName::new(other, Name::default()), "", problem))
        }
    }
}

/// The three steps, and the resource's name on every refusal, as far as it can be read.
fn judge<M, T>(
    kind: ResourceKind,
    bytes: &[u8],
    reads: &ReadSet,
    name: impl Fn(&M) -> &String,
    decode: impl FnOnce(&mut Context, &At<'_>, M) -> Result<T, Refused>,
) -> Result<Decoded<T>, Invalid>
where
    M: Message + prost::Name + Default,
{
    let root = At::ROOT;
    let unnamed = |refused: Refused| refused.of(ResourceName::new(kind, Name::default()));
    let message = M::decode(bytes).map_err(|error| unnamed(refuse(&root, format!("malformed {kind}: {error}"))))?;
    let named = ResourceName::new(kind, name(&message).as_str());
    let refused = |refused: Refused| refused.of(named.clone());
    let type_name = M::full_name();
    rules::check(&type_name, bytes).map_err(refused)?;
    let mut cx = Context::default();
    let value = decode(&mut cx, &root, message).map_err(refused)?;
    let unread = unread_fields(&type_name, bytes, reads).map_err(|error| refused(refuse(&root, error.to_string())))?;
    Ok(Decoded { value: Arc::new(value), not_in_force: cx.into_lines(unread) })
}

//! Many resources at once, each judged on its own: one that is refused takes nothing else along (F08).
//!
//! A batch is what one response, one file or one translation brings. What comes out is an [`Update`] for the
//! compiler of snapshots, the refusals, and what the status page needs to know of the accepted ones. The compiler may still
//! refuse a part of the update (it compiles the regular expressions): [`Verdicts::record`] takes both into the board.

use std::collections::HashSet;
use std::panic;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use mesh_core::resource::{Invalid, Name, Problem, ResourceKind, ResourceName};
use mesh_core::snapshot::status::{InForce, StatusBoard};
use mesh_core::snapshot::{Change, Update};
use mesh_proto::envoy::service::discovery::v3 as discovery;
use mesh_proto::prost::Message;
use mesh_proto::type_url::{RESOURCE, type_name};

use super::{AnyResource, Decoded, kind, resource, type_url};

/// One resource as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The type of `value`; `envoy.service.discovery.v3.Resource`, the envelope, is opened.
    pub type_url: String,
    /// The name it was sent under, if it was sent under one. Must be the resource's own.
    pub name: Option<Name>,
    /// The source's version text.
    pub version: Arc<str>,
    /// The encoded message.
    pub value: Bytes,
}

/// A type that is not decoded here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no type of resource that is decoded here")]
pub struct UnknownType(pub String);

/// Judges resources one by one and collects what became of them.
#[derive(Debug, Default)]
pub struct Batch {
    seen: HashSet<ResourceName>,
    verdicts: Verdicts,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// The accepted resources and the removed names, for `mesh_core::snapshot::Compiler::apply`.
    pub update: Update,
    /// The refused resources, in the order of arrival. Their last good versions stay in force.
    pub refused: Vec<Invalid>,
    /// The accepted resources, in the order of arrival.
    pub accepted: Vec<Accepted>,
    /// The removed names.
    pub removed: Vec<ResourceName>,
}

/// An accepted resource, as the status page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its kind and name.
    pub name: ResourceName,
    /// The source's version text.
    pub version: Arc<str>,
    /// The message as received.
    pub encoded: Bytes,
    /// What was set and has no effect here.
    pub not_in_force: Vec<String>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Judges a resource. Of two with the same name the first counts and the second is refused, as in Envoy.
    ///
    /// # Errors
    /// [`UnknownType`]: nothing was judged. A refusal is no error of this call; it is in [`Verdicts::refused`].
    pub fn add(&mut self, given: Resource) -> Result<(), UnknownType> {
        let given = if type_name(&given.type_url) == type_name(RESOURCE) { open(given)? } else { given };
        let Some(kind) = kind(&given.type_url) else {
            return Err(UnknownType(given.type_url));
        };
        match self.judge(kind, &given) {
            Ok(decoded) => self.accept(decoded, given),
            Err(invalid) => self.verdicts.refused.push(invalid),
        }
        Ok(())
    }

    /// Notes that the source removed a resource.
    pub fn remove(&mut self, name: ResourceName) {
        self.verdicts.update.remove(&name);
        self.verdicts.removed.push(name);
    }

    /// What became of everything.
    #[must_use]
    pub fn finish(self) -> Verdicts {
        self.verdicts
    }

    fn judge(&mut self, kind: ResourceKind, given: &Resource) -> Result<Decoded<AnyResource>, Invalid> {
        let sent_as = || ResourceName::new(kind, given.name.clone().unwrap_or_default());
        // No input is known to make a decoder panic. Should one exist, it costs this resource and not the process (S25).
        let decoded = panic::catch_unwind(|| resource(kind, &given.value))
            .unwrap_or_else(|_| Err(Invalid::new(sent_as(), "", "could not be judged")));
        let decoded = decoded.map_err(|mut invalid| {
            // Of bytes that are no message nothing but the envelope knows the name.
            if invalid.resource.name.is_empty() {
                invalid.resource = sent_as();
            }
            invalid
        })?;
        let own = decoded.value.name();
        if given.name.as_ref().is_some_and(|name| *name != own.name) {
            let why = format!("was sent as {:?}", given.name.as_deref().unwrap_or_default());
            return Err(Invalid::new(own, "name", Problem::Conflict(why)));
        }
        if self.seen.insert(own.clone()) {
            Ok(decoded)
        } else {
            Err(Invalid::new(own, "name", Problem::Conflict("is there twice".to_owned())))
        }
    }

    fn accept(&mut self, decoded: Decoded<AnyResource>, given: Resource) {
        let Verdicts { update, accepted, .. } = &mut self.verdicts;
        let name = decoded.value.name();
        match &*decoded.value {
            AnyResource::Listener(one) => update.listeners.push(Change::Set(Arc::clone(one))),
            AnyResource::RouteConfiguration(one) => update.routes.push(Change::Set(Arc::clone(one))),
            AnyResource::Cluster(one) => update.clusters.push(Change::Set(Arc::clone(one))),
            AnyResource::ClusterLoadAssignment(one) => {
                update.endpoints.push((Arc::clone(&name.name), Some(Arc::clone(one))));
            }
        }
        accepted.push(Accepted {
            name,
            version: given.version,
            encoded: given.value,
            not_in_force: decoded.not_in_force,
        });
    }
}

impl Verdicts {
    /// Enters what became of the batch into the board; `refused` are the compiler's refusals of the same update.
    pub fn record(self, refused: Vec<Invalid>, board: &mut StatusBoard, at: SystemTime) {
        for name in &self.removed {
            board.removed(name);
        }
        let late: HashSet<&ResourceName> = refused.iter().map(|invalid| &invalid.resource).collect();
        for one in self.accepted.into_iter().filter(|one| !late.contains(&one.name)) {
            let in_force = InForce {
                version: one.version,
                since: at,
                type_url: type_url(one.name.kind),
                encoded: one.encoded,
                not_in_force: one.not_in_force.into(),
            };
            board.accepted(one.name, in_force);
        }
        for invalid in self.refused.into_iter().chain(refused) {
            board.refused(invalid, at);
        }
    }
}

/// Takes a resource out of its envelope, which knows its name and version.
fn open(envelope: Resource) -> Result<Resource, UnknownType> {
    let unknown = |_| UnknownType(envelope.type_url.clone());
    let inner = discovery::Resource::decode(envelope.value.clone()).map_err(unknown)?;
    let any = inner.resource.unwrap_or_default();
    Ok(Resource {
        type_url: any.type_url,
        name: if inner.name.is_empty() { envelope.name } else { Some(inner.name.into()) },
        version: if inner.version.is_empty() { envelope.version } else { inner.version.into() },
        value: any.value.into(),
    })
}

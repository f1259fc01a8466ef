//! Requests and responses of both protocol variants, and the one form in which the machine reads a response.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mesh_core::resource::{Name, ResourceKind};
use mesh_proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource as Envelope,
    ResourceError,
};
use mesh_proto::google::rpc::Status;
use mesh_proto::prost::Message;
use mesh_proto::type_url::{RESOURCE, type_name};
use mesh_proto::well_known;

use crate::decode;

/// A message to a server.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// State of the world.
    Sotw(Box<DiscoveryRequest>),
    /// Incremental.
    Delta(Box<DeltaDiscoveryRequest>),
}

/// A message from a server.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// State of the world.
    Sotw(DiscoveryResponse),
    /// Incremental.
    Delta(DeltaDiscoveryResponse),
}

/// A response as the machine reads it.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) kind: ResourceKind,
    /// Of the whole response; what is acknowledged in the state-of-the-world variant.
    pub(super) version: String,
    pub(super) nonce: String,
    pub(super) resources: Vec<Given>,
    pub(super) removed: Vec<Name>,
    /// What the server says it cannot give (gRFC A88).
    pub(super) errors: Vec<(Name, String)>,
    /// Whether what is missing is deleted.
    pub(super) full: bool,
    /// Whether it is of the incremental variant.
    pub(super) delta: bool,
}

/// A resource in a response.
#[derive(Debug)]
pub(super) struct Given {
    /// The name in the envelope, or the one read off the message.
    pub(super) name: Option<Name>,
    pub(super) version: Arc<str>,
    pub(super) type_url: String,
    /// `None` is a heartbeat: the resource lives on.
    pub(super) value: Option<Bytes>,
    pub(super) ttl: Option<Duration>,
}

impl Incoming {
    /// Reads a response; the type URL comes back when it is of a type that is not asked for.
    pub(super) fn read(response: Response) -> Result<Self, String> {
        match response {
            Response::Sotw(response) => {
                let kind = decode::kind(&response.type_url).ok_or(response.type_url)?;
                let version: Arc<str> = response.version_info.as_str().into();
                let resources = response.resources.into_iter();
                Ok(Self {
                    kind,
                    nonce: response.nonce,
                    resources: resources.map(|any| Given::bare(any.type_url, any.value.into(), &version)).collect(),
                    version: response.version_info,
                    removed: Vec::new(),
                    errors: errors(response.resource_errors),
                    full: super::kind::is_full_set(kind),
                    delta: false,
                })
            }
            Response::Delta(response) => {
                let kind = decode::kind(&response.type_url).ok_or(response.type_url)?;
                let removed = response.removed_resources.into_iter();
                let removed = removed.chain(response.removed_resource_names.into_iter().map(|one| one.name));
                Ok(Self {
                    kind,
                    version: response.system_version_info,
                    nonce: response.nonce,
                    resources: response.resources.into_iter().map(Given::enveloped).collect(),
                    removed: removed.map(Name::from).collect(),
                    errors: errors(response.resource_errors),
                    full: false,
                    delta: true,
                })
            }
        }
    }
}

impl Given {
    fn bare(type_url: String, value: Bytes, version: &Arc<str>) -> Self {
        if type_name(&type_url) == type_name(RESOURCE)
            && let Ok(envelope) = Envelope::decode(value.clone())
        {
            let mut given = Self::enveloped(envelope);
            if given.version.is_empty() {
                given.version = Arc::clone(version);
            }
            return given;
        }
        let name = first_field(&value).map(Name::from);
        Self { name, version: Arc::clone(version), type_url, value: Some(value), ttl: None }
    }

    fn enveloped(envelope: Envelope) -> Self {
        let (type_url, value) = match envelope.resource {
            Some(any) => (any.type_url, Some(Bytes::from(any.value))),
            None => (String::new(), None),
        };
        let name = match envelope.name {
            name if name.is_empty() => value.as_deref().and_then(first_field).map(Name::from),
            name => Some(name.into()),
        };
        let ttl = envelope.ttl.and_then(|ttl| well_known::duration(&ttl).ok()).filter(|ttl| !ttl.is_zero());
        Self { name, version: envelope.version.into(), type_url, value, ttl }
    }
}

fn errors(errors: Vec<ResourceError>) -> Vec<(Name, String)> {
    let text = |status: Option<Status>| {
        let status = status.unwrap_or_default();
        format!("the control plane cannot give it: {} (code {})", status.message, status.code)
    };
    let named = |error: ResourceError| Some((error.resource_name?.name.into(), text(error.error_detail)));
    errors.into_iter().filter_map(named).collect()
}

/// The text in field 1 of a message, where every type of resource has its name. Only a hint: whoever uses it compares the
/// whole message as well, or has it judged.
fn first_field(message: &[u8]) -> Option<&str> {
    const FIELD_1_TEXT: u64 = 1 << 3 | 2;
    let mut rest = message;
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        match tag & 7 {
            0 => drop(varint(&mut rest)?),
            1 => rest = rest.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let value = rest.get(..length)?;
                if tag == FIELD_1_TEXT {
                    return std::str::from_utf8(value).ok();
                }
                rest = &rest[length..];
            }
            5 => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    None
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// What a NACK says: every problem by resource, bounded. A server logs it, and a million bad resources are no reason to
/// send it a million lines.
pub(super) fn error_detail(problems: &[String]) -> Status {
    const LONGEST: usize = 4096;
    const LONGEST_EACH: usize = 512;
    const INVALID_ARGUMENT: i32 = 3;
    let mut message = String::new();
    for (number, problem) in problems.iter().enumerate() {
        let problem = cut(problem, LONGEST_EACH);
        if number > 0 && message.len() + problem.len() > LONGEST {
            message.push_str(&format!("; and {} more", problems.len() - number));
            break;
        }
        if number > 0 {
            message.push_str("; ");
        }
        message.push_str(problem);
    }
    Status { code: INVALID_ARGUMENT, message, details: Vec::new() }
}

fn cut(text: &str, longest: usize) -> &str {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use mesh_proto::envoy::config::cluster::v3::Cluster;

    use super::*;

    #[test]
    fn the_name_is_read_off_whatever_comes_before_it() {
        let named = Cluster { name: "é".to_owned(), alt_stat_name: "other".to_owned(), ..Cluster::default() };
        let bytes = named.encode_to_vec();
        assert_eq!(first_field(&bytes), Some("é"));
        // Field 2 as a varint, a fixed 64 and a fixed 32, then the name.
        let odd = [&[0x10, 0x80, 0x01, 0x19, 0, 0, 0, 0, 0, 0, 0, 0, 0x25, 0, 0, 0, 0][..], &[0x0a, 1, b'x']].concat();
        assert_eq!(first_field(&odd), Some("x"));
        for broken in [&b"\x0a\x05ab"[..], b"\x0a", b"\x80", b"\x0b", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"] {
            assert_eq!(first_field(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn a_nack_is_bounded_and_counts_what_it_leaves_out() {
        let problems: Vec<String> = (0..1000).map(|number| format!("Cluster/c{number}: {}", "é".repeat(400))).collect();
        let status = error_detail(&problems);
        assert!(status.message.len() < 4200 && status.message.ends_with(" more"), "{}", status.message);
        assert!(status.message.starts_with("Cluster/c0: é") && status.message.contains("; Cluster/c6: é"));
        assert_eq!(error_detail(&["one".to_owned(), "two".to_owned()]).message, "one; two");
    }
}

//! The walk itself: wire bytes beside descriptors, depth first.
//!
//! Presence follows proto3: a number, string or enum without presence that is zero on the wire is not set. A `TypedStruct`
//! is walked as the message it stands for, since that is how Envoy and our decoder read it. Recursion is bounded by
//! [`MAX_DEPTH`], work by the size of the input.

use std::borrow::Cow;
use std::collections::BTreeMap;

use prost::encoding::WireType;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::MAX_DEPTH;
use crate::any::{self, AnyError};
use crate::descriptors;
use crate::google::protobuf::Any;
use crate::json;
use crate::path::FieldPath;
use crate::type_url::type_name as name_in;
use crate::wire::{Field, Fields, Malformed, Payload};

/// What the walk came across.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// A set field. For a repeated field or a map it comes once, before the elements.
    Field(&'a FieldDescriptor),
    /// A field number that the message does not have.
    UnknownNumber {
        /// The message.
        message: &'a MessageDescriptor,
        /// The number.
        number: u32,
    },
    /// A name in a `TypedStruct` that its type does not have.
    UnknownName {
        /// The message that the `TypedStruct` stands for.
        message: &'a MessageDescriptor,
        /// The path within it.
        name: &'a str,
    },
    /// An `Any` or a `TypedStruct` of a type that has no descriptor; the path is that of the field that holds it.
    UnknownType {
        /// The type as given.
        type_url: &'a str,
    },
}

/// Whether to look below what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descend {
    /// Visit what the field holds.
    Into,
    /// Leave it.
    Skip,
}

/// Why a message could not be walked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WalkError {
    /// The walk was asked to begin with a message that nobody declared.
    #[error("there is no message {0}")]
    UnknownMessage(String),
    /// The bytes at this path are not what the descriptor says.
    #[error("{0}: malformed protobuf")]
    Malformed(String),
    /// Messages nest deeper than [`MAX_DEPTH`].
    #[error("{0}: nested too deeply")]
    TooDeep(String),
    /// A `TypedStruct` at this path does not fit the type that it names.
    #[error("{path}: {problem}")]
    TypedStruct {
        /// Where the `TypedStruct` is.
        path: String,
        /// What does not fit.
        problem: String,
    },
}

/// Visits every set field of an encoded message of type `type_name` (full name or type URL), `Any` payloads included.
///
/// The visitor is called before what the field holds is looked at, and decides whether that happens.
///
/// # Errors
/// [`WalkError`]; the visitor has then seen a part of the message only, so its findings say nothing.
pub fn walk<V>(type_name: &str, bytes: &[u8], visit: &mut V) -> Result<(), WalkError>
where
    V: FnMut(&FieldPath<'_>, Found<'_>) -> Descend,
{
    let name = name_in(type_name);
    let message = descriptors::message(name).ok_or_else(|| WalkError::UnknownMessage(name.to_owned()))?;
    Walk { visit }.payload(&message, bytes, &FieldPath::ROOT, 1)
}

struct Walk<'v, V> {
    visit: &'v mut V,
}

impl<V> Walk<'_, V>
where
    V: FnMut(&FieldPath<'_>, Found<'_>) -> Descend,
{
    /// A message of any kind, the special ones included.
    fn payload(
        &mut self,
        message: &MessageDescriptor,
        bytes: &[u8],
        path: &FieldPath<'_>,
        depth: usize,
    ) -> Result<(), WalkError> {
        if depth > MAX_DEPTH {
            return Err(WalkError::TooDeep(path.to_string()));
        }
        match message.full_name() {
            "google.protobuf.Any" => self.any(message, bytes, path, depth),
            name if json::is_one_value(name) => Ok(()),
            _ => self.message(message, bytes, path, depth),
        }
    }

    fn message(
        &mut self,
        message: &MessageDescriptor,
        bytes: &[u8],
        path: &FieldPath<'_>,
        depth: usize,
    ) -> Result<(), WalkError> {
        // How often each number came by, and whether to descend. A tree, not a list: a hostile message may set very many numbers.
        let mut seen: BTreeMap<u32, (usize, Descend)> = BTreeMap::new();
        let mut fields = Fields::new(bytes);
        while let Some(field) = fields.next().map_err(|_| malformed(path))? {
            let Some(descriptor) = message.get_field(field.number) else {
                if seen.insert(field.number, (0, Descend::Skip)).is_none() {
                    let number = field.number;
                    (self.visit)(&path.number(number), Found::UnknownNumber { message, number });
                }
                continue;
            };
            let here = path.field(descriptor.name());
            check_wire_type(&descriptor, &field).map_err(|_| malformed(&here))?;
            if !is_set(&descriptor, &field) {
                continue;
            }
            let (index, descend) = match seen.get_mut(&field.number) {
                Some((count, descend)) => {
                    *count += 1;
                    (*count, *descend)
                }
                None => {
                    let descend = (self.visit)(&here, Found::Field(&descriptor));
                    seen.insert(field.number, (0, descend));
                    (0, descend)
                }
            };
            let (Descend::Into, Kind::Message(inner), Payload::Bytes(bytes)) =
                (descend, descriptor.kind(), field.payload)
            else {
                continue;
            };
            if descriptor.is_map() {
                self.entry(&inner, bytes, &here, depth)?;
            } else if descriptor.is_list() {
                self.payload(&inner, bytes, &here.index(index), depth + 1)?;
            } else {
                self.payload(&inner, bytes, &here, depth + 1)?;
            }
        }
        Ok(())
    }

    /// One entry of a map: only a message in it has anything to visit.
    fn entry(
        &mut self,
        entry: &MessageDescriptor,
        bytes: &[u8],
        path: &FieldPath<'_>,
        depth: usize,
    ) -> Result<(), WalkError> {
        let Kind::Message(value) = entry.map_entry_value_field().kind() else {
            return Ok(());
        };
        let (key, payload) = self.parts(entry, bytes, path)?;
        let key = match key {
            None => Cow::Borrowed(""),
            Some(Payload::Bytes(text)) => std::str::from_utf8(text).map(Cow::Borrowed).map_err(|_| malformed(path))?,
            Some(Payload::Varint(number)) => Cow::Owned(number.to_string()),
            Some(Payload::Fixed(_) | Payload::Group) => return Err(malformed(path)),
        };
        let here = path.key(&key);
        match payload {
            None => Ok(()),
            Some(Payload::Bytes(bytes)) => self.payload(&value, bytes, &here, depth + 1),
            Some(_) => Err(malformed(&here)),
        }
    }

    fn parts<'b>(
        &mut self,
        message: &MessageDescriptor,
        bytes: &'b [u8],
        path: &FieldPath<'_>,
    ) -> Result<(Option<Payload<'b>>, Option<Payload<'b>>), WalkError> {
        let unknown = |number| {
            (self.visit)(&path.number(number), Found::UnknownNumber { message, number });
        };
        key_and_value(bytes, unknown).map_err(|_| malformed(path))
    }

    fn any(
        &mut self,
        any: &MessageDescriptor,
        bytes: &[u8],
        path: &FieldPath<'_>,
        depth: usize,
    ) -> Result<(), WalkError> {
        let (type_url, value) = self.parts(any, bytes, path)?;
        let (type_url, value) = match (type_url, value) {
            (None, None) => return Ok(()),
            (Some(Payload::Bytes(type_url)), None) => (type_url, &[][..]),
            (Some(Payload::Bytes(type_url)), Some(Payload::Bytes(value))) => (type_url, value),
            (None, Some(Payload::Bytes(value))) => (&[][..], value),
            _ => return Err(malformed(path)),
        };
        let type_url = std::str::from_utf8(type_url).map_err(|_| malformed(path))?;
        let name = name_in(type_url);
        if any::is_typed_struct(name) {
            return self.typed_struct(type_url, value, path, depth);
        }
        let Some(message) = descriptors::message(name) else {
            (self.visit)(path, Found::UnknownType { type_url });
            return Ok(());
        };
        self.payload(&message, value, path, depth + 1)
    }

    fn typed_struct(
        &mut self,
        type_url: &str,
        value: &[u8],
        path: &FieldPath<'_>,
        depth: usize,
    ) -> Result<(), WalkError> {
        let outer = Any { type_url: type_url.to_owned(), value: value.to_vec() };
        let mut unknown = Vec::new();
        let inner = match any::resolve_collecting(&outer, &mut unknown) {
            Ok(inner) => inner,
            Err(AnyError::UnknownType { type_url }) => {
                (self.visit)(path, Found::UnknownType { type_url: &type_url });
                return Ok(());
            }
            Err(AnyError::Decode { .. }) => return Err(malformed(path)),
            Err(error) => {
                return Err(WalkError::TypedStruct { path: path.to_string(), problem: error.to_string() });
            }
        };
        let name = name_in(&inner.type_url);
        let Some(message) = descriptors::message(name) else {
            return Err(WalkError::UnknownMessage(name.to_owned()));
        };
        for name in &unknown {
            (self.visit)(&path.field(name), Found::UnknownName { message: &message, name });
        }
        self.payload(&message, &inner.value, path, depth + 1)
    }
}

fn malformed(path: &FieldPath<'_>) -> WalkError {
    WalkError::Malformed(path.to_string())
}

/// Fields 1 and 2 of a message, the last of each: what a map entry and an `Any` consist of. Numbers besides are handed on.
fn key_and_value(
    bytes: &[u8],
    mut other: impl FnMut(u32),
) -> Result<(Option<Payload<'_>>, Option<Payload<'_>>), Malformed> {
    let (mut key, mut value) = (None, None);
    let mut fields = Fields::new(bytes);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => key = Some(field.payload),
            2 => value = Some(field.payload),
            number => other(number),
        }
    }
    Ok((key, value))
}

fn check_wire_type(descriptor: &FieldDescriptor, field: &Field<'_>) -> Result<(), Malformed> {
    let expected = descriptor.kind().wire_type();
    let packed = descriptor.is_list() && field.wire_type == WireType::LengthDelimited;
    if field.wire_type == expected || packed { Ok(()) } else { Err(Malformed) }
}

fn is_set(descriptor: &FieldDescriptor, field: &Field<'_>) -> bool {
    let empty_list = || {
        // No elements in a packed list; an empty string or message is an element.
        descriptor.is_list()
            && descriptor.kind().wire_type() != WireType::LengthDelimited
            && field.wire_type == WireType::LengthDelimited
            && field.payload.is_zero()
    };
    if descriptor.cardinality() == prost_reflect::Cardinality::Repeated {
        !empty_list()
    } else {
        descriptor.supports_presence() || !field.payload.is_zero()
    }
}

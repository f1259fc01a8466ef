//! `Any` in a place for extensions: which type it holds, `TypedStruct` resolved, and the message in it.

use std::borrow::Cow;

use mesh_proto::any::{self, AnyError};
use mesh_proto::google::protobuf::Any;
use mesh_proto::prost::{Message, Name};
use mesh_proto::type_url::type_name;

use super::refused::{At, Refused, refuse};

/// A typed configuration, whether or not its type is known.
#[derive(Debug)]
pub(super) struct Extension<'a> {
    type_url: String,
    /// The message; for a `TypedStruct` of an unknown type, that struct.
    any: Cow<'a, Any>,
}

impl<'a> Extension<'a> {
    /// Looks into an `Any`.
    ///
    /// # Errors
    /// A `TypedStruct` that is malformed or does not fit the type that it names. Names in it that its type does not
    /// have are reported by the walk over unread fields.
    pub(super) fn of(at: &At<'_>, any: &'a Any) -> Result<Self, Refused> {
        match any::resolve_collecting(any, &mut Vec::new()) {
            Ok(any) => Ok(Self { type_url: any.type_url.clone(), any }),
            Err(AnyError::UnknownType { type_url }) => Ok(Self { type_url, any: Cow::Borrowed(any) }),
            Err(error) => Err(refuse(at, error.to_string())),
        }
    }

    /// The type URL that says what is meant: for a `TypedStruct` the one within.
    pub(super) fn type_url(&self) -> &str {
        &self.type_url
    }

    /// The full name of the type, without what precedes it in the URL.
    pub(super) fn type_name(&self) -> &str {
        type_name(&self.type_url)
    }

    /// The message as it came; for a `TypedStruct` of a type that only this project knows, that struct.
    pub(super) fn any(&self) -> &Any {
        &self.any
    }

    /// The message, which must be of this type.
    ///
    /// # Errors
    /// Another type, or bytes that are no such message.
    pub(super) fn message<M: Message + Name + Default>(&self, at: &At<'_>) -> Result<M, Refused> {
        any::unpack(&self.any).map_err(|error| refuse(at, error.to_string()))
    }
}

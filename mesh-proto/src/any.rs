//! `google.protobuf.Any`: packing, unpacking, and the `TypedStruct` that may stand in for a message.
//!
//! Envoy takes a `TypedStruct` wherever it takes a typed config and reads its `Struct` as the JSON form of the type it names;
//! [`resolve`] does the same. Which types are allowed where is for the decoder to say.

use std::borrow::Cow;

use prost::{Message, Name};

use crate::descriptors;
use crate::google::protobuf::Any;
use crate::json::{self, JsonError};
use crate::type_url::PREFIX;
use crate::typed_struct::XdsTypedStruct;

pub use crate::type_url::type_name;

/// Why an `Any` did not yield the message that was asked for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AnyError {
    /// It holds another type.
    #[error("expected type {expected}, got {actual:?}")]
    WrongType {
        /// The full name that was asked for.
        expected: String,
        /// The type URL that was found.
        actual: String,
    },
    /// It is of the right type, but its bytes are not such a message.
    #[error("malformed {type_name}")]
    Decode {
        /// The full name of the type.
        type_name: String,
        /// What is wrong with the bytes.
        source: prost::DecodeError,
    },
    /// A `TypedStruct` names a type that has no descriptor.
    #[error("type {type_url:?} is unknown")]
    UnknownType {
        /// The type that it names.
        type_url: String,
    },
    /// A `TypedStruct` holds something that its type's JSON form does not allow.
    #[error("{type_name}: {source}")]
    TypedStruct {
        /// The full name of the type that it names.
        type_name: String,
        /// What is not allowed, and where.
        source: JsonError,
    },
}

/// Packs a message under its own type URL. Maps within it are encoded in key order, so equal messages give equal bytes.
#[must_use]
pub fn pack<M: Message + Name>(message: &M) -> Any {
    Any { type_url: format!("{PREFIX}{}", M::full_name()), value: crate::canonical::encode(message) }
}

/// Unpacks a message; what stands before the last `/` of the type URL does not matter.
///
/// # Errors
/// [`AnyError::WrongType`] and [`AnyError::Decode`].
pub fn unpack<M: Message + Name + Default>(any: &Any) -> Result<M, AnyError> {
    let expected = M::full_name();
    if type_name(&any.type_url) != expected {
        return Err(AnyError::WrongType { expected, actual: any.type_url.clone() });
    }
    M::decode(any.value.as_slice()).map_err(|source| AnyError::Decode { type_name: expected, source })
}

/// Whether an `Any` holds an `M`.
#[must_use]
pub fn is<M: Name>(any: &Any) -> bool {
    type_name(&any.type_url) == M::full_name()
}

/// What an `Any` means: itself, or the message that the `TypedStruct` in it stands for.
///
/// # Errors
/// [`AnyError::Decode`] if it is no valid `TypedStruct`, [`AnyError::UnknownType`] if that names a type without a descriptor,
/// [`AnyError::TypedStruct`] if its content is not that type's JSON form; an unknown field is an error, as it is for Envoy.
pub fn resolve(any: &Any) -> Result<Cow<'_, Any>, AnyError> {
    let mut unknown = Vec::new();
    resolve_with(any, json::UnknownFields::Refuse, &mut unknown)
}

/// As [`resolve`], but unknown fields are listed by path instead of refused.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_collecting<'a>(any: &'a Any, unknown: &mut Vec<String>) -> Result<Cow<'a, Any>, AnyError> {
    resolve_with(any, json::UnknownFields::Collect, unknown)
}

/// Whether a full name is that of a `TypedStruct`, old or new.
#[must_use]
pub fn is_typed_struct(type_name: &str) -> bool {
    matches!(type_name, "xds.type.v3.TypedStruct" | "udpa.type.v1.TypedStruct")
}

fn resolve_with<'a>(
    any: &'a Any,
    policy: json::UnknownFields,
    unknown: &mut Vec<String>,
) -> Result<Cow<'a, Any>, AnyError> {
    let outer = type_name(&any.type_url);
    if !is_typed_struct(outer) {
        return Ok(Cow::Borrowed(any));
    }
    // Both have the same fields.
    let typed = XdsTypedStruct::decode(any.value.as_slice())
        .map_err(|source| AnyError::Decode { type_name: outer.to_owned(), source })?;
    let inner = type_name(&typed.type_url);
    if descriptors::message(inner).is_none() {
        return Err(AnyError::UnknownType { type_url: typed.type_url });
    }
    let refused = |source| AnyError::TypedStruct { type_name: inner.to_owned(), source };
    let content = json::to_json_of(&typed.value.clone().unwrap_or_default()).map_err(refused)?;
    let value = json::encode_with(inner, &content, policy, unknown).map_err(refused)?;
    Ok(Cow::Owned(Any { type_url: typed.type_url, value }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test is what unwrap is for")]

    use serde_json::json;

    use super::*;
    use crate::envoy::extensions::filters::http::fault::v3::HttpFault;
    use crate::envoy::extensions::filters::http::router::v3::Router;

    fn typed_struct(type_url: &str, value: serde_json::Value) -> Any {
        let json = json!({ "@type": crate::type_url::UDPA_TYPED_STRUCT, "typeUrl": type_url, "value": value });
        json::from_json(&json).unwrap()
    }

    #[test]
    fn packing_and_unpacking_give_the_same_message() {
        let router = Router { suppress_envoy_headers: true, ..Router::default() };
        let any = pack(&router);
        assert_eq!(any.type_url, crate::type_url::ROUTER);
        assert!(is::<Router>(&any) && !is::<HttpFault>(&any));
        assert_eq!(unpack::<Router>(&any), Ok(router));
    }

    #[test]
    fn another_type_is_an_error_that_names_both() {
        let error = unpack::<HttpFault>(&pack(&Router::default())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected type envoy.extensions.filters.http.fault.v3.HTTPFault, \
             got \"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\""
        );
    }

    #[test]
    fn broken_bytes_are_an_error() {
        let any = Any { type_url: crate::type_url::ROUTER.to_owned(), value: vec![0xff] };
        assert!(matches!(unpack::<Router>(&any), Err(AnyError::Decode { .. })));
    }

    #[test]
    fn a_typed_struct_resolves_to_the_message_it_stands_for() {
        let any = typed_struct(crate::type_url::HTTP_FAULT, json!({ "max_active_faults": 3 }));
        let fault: HttpFault = unpack(&resolve(&any).unwrap()).unwrap();
        assert_eq!(fault.max_active_faults.map(|wrapper| wrapper.value), Some(3));
        let plain = pack(&Router::default());
        assert!(matches!(resolve(&plain), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn a_typed_struct_that_does_not_fit_is_refused() {
        let any = typed_struct(crate::type_url::HTTP_FAULT, json!({ "nope": 3 }));
        assert_eq!(
            resolve(&any).unwrap_err().to_string(),
            "envoy.extensions.filters.http.fault.v3.HTTPFault: \
             nope: unknown field of envoy.extensions.filters.http.fault.v3.HTTPFault"
        );
        let mut unknown = Vec::new();
        assert!(resolve_collecting(&any, &mut unknown).is_ok());
        assert_eq!(unknown, ["nope"]);
        let any = typed_struct("x/no.Such", json!({}));
        assert_eq!(resolve(&any), Err(AnyError::UnknownType { type_url: "x/no.Such".to_owned() }));
    }
}

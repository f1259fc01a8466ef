//! Messages to and from proto3's canonical JSON, `Any` included: the form of Envoy's config files and of its dumps.
//!
//! Written on descriptors rather than on generated code, so every type of the pool converts, by name. Printing never fails because of
//! what an `Any` holds; parsing is strict and says where. Spec: "ProtoJSON Format" of the protobuf documentation. YAML is for
//! whoever reads files: it arrives here as a `serde_json::Value`.
//!
//! ```
//! use mesh_proto::envoy::config::route::v3::VirtualHost;
//! use mesh_proto::json::{from_json, to_json_of};
//!
//! let written = serde_json::json!({ "name": "reviews", "domains": ["*"], "require_tls": "ALL" });
//! let host: VirtualHost = from_json(&written)?;
//! assert_eq!(host.domains, ["*"]);
//! assert_eq!(to_json_of(&host)?["requireTls"], "ALL");
//!
//! let refused = from_json::<VirtualHost>(&serde_json::json!({ "routes": [{ "nmae": "a" }] }));
//! assert_eq!(refused.unwrap_err().to_string(), "routes[0].nmae: unknown field of envoy.config.route.v3.Route");
//! # Ok::<(), mesh_proto::json::JsonError>(())
//! ```

mod error;
mod number;
mod parse;
mod print;
mod scalar;
mod time;

pub use self::error::{JsonError, Problem};

use prost::{Message, Name};
use prost_reflect::DynamicMessage;
use serde_json::Value;

use crate::descriptors;
use crate::path::FieldPath;
use crate::type_url::type_name;

/// How a message is printed. The default is canonical: `lowerCamelCase` names, nothing hidden.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Style {
    /// Print the names of the `.proto` files (`virtual_hosts`), as Envoy's admin endpoint does, instead of `virtualHosts`.
    pub proto_names: bool,
    /// Replace what the API marks as sensitive (private keys, passwords) by `[redacted]`, as Envoy's admin endpoint does.
    pub redact: bool,
}

impl Style {
    /// As `/config_dump` of Envoy prints: names of the `.proto` files, secrets redacted.
    pub const CONFIG_DUMP: Self = Self { proto_names: true, redact: true };
}

/// What becomes of a JSON field that the message does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownFields {
    /// It is an error.
    #[default]
    Refuse,
    /// It is skipped, and its path is listed.
    Collect,
}

/// The canonical JSON of an encoded message; `type_url` is a type URL or a full name.
///
/// An `Any` that cannot be printed expanded, because its type is unknown or its bytes are not such a message, is printed as
/// `{"@type": url, "value": base64}`, so one foreign extension does not hide the rest. Field numbers that nobody knows are not
/// printed (see [`crate::unknown`]).
///
/// # Errors
/// [`Problem::UnknownMessage`], [`Problem::Malformed`], [`Problem::TooDeep`], or [`Problem::Value`] for a duration or timestamp that is
/// out of range.
pub fn to_json(type_url: &str, bytes: &[u8]) -> Result<Value, JsonError> {
    to_json_in(Style::default(), type_url, bytes)
}

/// As [`to_json`], in a style.
///
/// # Errors
/// As [`to_json`].
pub fn to_json_in(style: Style, type_url: &str, bytes: &[u8]) -> Result<Value, JsonError> {
    let name = type_name(type_url);
    let root = FieldPath::ROOT;
    let descriptor =
        descriptors::message(name).ok_or_else(|| JsonError::new(&root, Problem::UnknownMessage(name.to_owned())))?;
    let message = DynamicMessage::decode(descriptor, bytes)
        .map_err(|source| JsonError::new(&root, Problem::Malformed(source)))?;
    print::Printer::new(style).message(&message, &root, 1)
}

/// The canonical JSON of a message.
///
/// # Errors
/// As [`to_json`].
pub fn to_json_of<M: Message + Name>(message: &M) -> Result<Value, JsonError> {
    to_json(&M::full_name(), &message.encode_to_vec())
}

/// A message from its JSON form. Names may be `lowerCamelCase` or those of the `.proto` file.
///
/// # Errors
/// [`JsonError`] with the path of the first thing that is wrong; a field that the message does not have is wrong.
pub fn from_json<M: Message + Name + Default>(json: &Value) -> Result<M, JsonError> {
    typed(&encode(&M::full_name(), json)?)
}

/// As [`from_json`], but fields that the message does not have are skipped; their paths come beside it.
///
/// # Errors
/// As [`from_json`], unknown fields excepted.
pub fn from_json_collecting<M: Message + Name + Default>(json: &Value) -> Result<(M, Vec<String>), JsonError> {
    let mut unknown = Vec::new();
    let bytes = encode_with(&M::full_name(), json, UnknownFields::Collect, &mut unknown)?;
    Ok((typed(&bytes)?, unknown))
}

/// The bytes of a message from its JSON form; `type_url` is a type URL or a full name. Equal JSON gives equal bytes.
///
/// # Errors
/// As [`from_json`], and [`Problem::UnknownMessage`].
pub fn encode(type_url: &str, json: &Value) -> Result<Vec<u8>, JsonError> {
    encode_with(type_url, json, UnknownFields::Refuse, &mut Vec::new())
}

/// As [`encode`]; with [`UnknownFields::Collect`], the paths of fields that the message does not have are added to `unknown`.
///
/// # Errors
/// As [`encode`].
pub fn encode_with(
    type_url: &str,
    json: &Value,
    policy: UnknownFields,
    unknown: &mut Vec<String>,
) -> Result<Vec<u8>, JsonError> {
    let name = type_name(type_url);
    let root = FieldPath::ROOT;
    let descriptor =
        descriptors::message(name).ok_or_else(|| JsonError::new(&root, Problem::UnknownMessage(name.to_owned())))?;
    parse::Parser::new(policy, unknown).message(&descriptor, json, &root, 1)
}

fn typed<M: Message + Default>(bytes: &[u8]) -> Result<M, JsonError> {
    M::decode(bytes).map_err(|source| JsonError::new(&FieldPath::ROOT, Problem::Malformed(source)))
}

/// Whether a well-known type has a JSON form of its own (`Any` apart): it stands for one value rather than for fields.
pub(crate) fn is_one_value(full_name: &str) -> bool {
    matches!(
        full_name.strip_prefix("google.protobuf."),
        Some(
            "BoolValue"
                | "BytesValue"
                | "DoubleValue"
                | "Duration"
                | "Empty"
                | "FieldMask"
                | "FloatValue"
                | "Int32Value"
                | "Int64Value"
                | "ListValue"
                | "StringValue"
                | "Struct"
                | "Timestamp"
                | "UInt32Value"
                | "UInt64Value"
                | "Value"
        )
    )
}

#[cfg(test)]
mod tests;

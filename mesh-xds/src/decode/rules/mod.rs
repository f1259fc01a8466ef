//! The validation rules that Envoy's API carries itself (`validate.rules`), enforced on whole messages.
//!
//! Envoy refuses a resource that breaks one of these rules in any field, whether or not it would use it, so all
//! of them are checked here, `Any` payloads included, before a decoder looks at the message. The rules come from
//! the descriptors; no rule is written down twice. Rules that need more than one field are the decoders'.
//! Spec: protoc-gen-validate.

mod compile;
mod number;
mod text;
mod value;

use mesh_proto::descriptors::prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage, Value};
use mesh_proto::google::protobuf::Any;
use mesh_proto::type_url::type_name;
use mesh_proto::{MAX_DEPTH, any, descriptors};

use super::refused::{At, Refused, refuse};
use compile::{Rules, rules};
use mesh_core::resource::Problem;

/// Checks an encoded message of a type with a descriptor.
///
/// # Errors
/// The first rule that is broken, with its path; bytes that are no such message.
pub(super) fn check(type_name: &str, bytes: &[u8]) -> Result<(), Refused> {
    let at = At::ROOT;
    let Some(descriptor) = descriptors::message(type_name) else {
        return Err(refuse(&at, Problem::Unsupported(format!("type {type_name}"))));
    };
    payload(&descriptor, bytes, &at, 1)
}

fn payload(descriptor: &MessageDescriptor, bytes: &[u8], at: &At<'_>, depth: usize) -> Result<(), Refused> {
    let message = DynamicMessage::decode(descriptor.clone(), bytes)
        .map_err(|error| refuse(at, format!("malformed {}: {error}", descriptor.name())))?;
    message_at(&message, at, depth)
}

fn message_at(message: &DynamicMessage, at: &At<'_>, depth: usize) -> Result<(), Refused> {
    if depth > MAX_DEPTH {
        return Err(refuse(at, "nested too deeply"));
    }
    let descriptor = message.descriptor();
    if descriptor.full_name() == "google.protobuf.Any" {
        return any_at(message, at, depth);
    }
    let rules = rules(&descriptor);
    own_rules(message, &rules, at)?;
    for field in &rules.messages {
        if !message.has_field(field) {
            continue;
        }
        let here = at.field(field.name());
        match &*message.get_field(field) {
            Value::Message(inner) => message_at(inner, &here, depth + 1)?,
            Value::List(list) => {
                for (index, item) in list.iter().enumerate() {
                    if let Value::Message(inner) = item {
                        message_at(inner, &here.index(index), depth + 1)?;
                    }
                }
            }
            Value::Map(map) => {
                for (key, value) in value::by_key(map) {
                    if let Value::Message(inner) = value {
                        message_at(inner, &here.key(&key), depth + 1)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The rules on this message's own fields.
fn own_rules(message: &DynamicMessage, rules: &Rules, at: &At<'_>) -> Result<(), Refused> {
    for oneof in &rules.required_oneofs {
        if !oneof.fields().any(|field| message.has_field(&field)) {
            return Err(refuse(&at.field(oneof.name()), Problem::Missing));
        }
    }
    for (field, rule) in &rules.fields {
        let here = at.field(field.name());
        if field.supports_presence() && !message.has_field(field) {
            // In a oneof it is the chosen member that is required not to be absent: it cannot be.
            if field.containing_oneof().is_none() && value::is_required(rule) {
                return Err(refuse(&here, Problem::Missing));
            }
            continue;
        }
        value::check(rule, &message.get_field(field), &field.kind(), &here)?;
    }
    Ok(())
}

/// What an `Any` holds, if its type is known; what an unknown type means is for the field's decoder to say.
fn any_at(message: &DynamicMessage, at: &At<'_>, depth: usize) -> Result<(), Refused> {
    let malformed = |error: String| refuse(at, error);
    let any: Any = message.transcode_to().map_err(|error| malformed(error.to_string()))?;
    let mut unknown = Vec::new();
    let resolved = match any::resolve_collecting(&any, &mut unknown) {
        Ok(resolved) => resolved,
        Err(any::AnyError::UnknownType { .. }) => return Ok(()),
        Err(error) => return Err(malformed(error.to_string())),
    };
    match descriptors::message(type_name(&resolved.type_url)) {
        Some(descriptor) => payload(&descriptor, &resolved.value, at, depth + 1),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;

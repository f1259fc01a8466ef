//! Messages to JSON.
//!
//! Secrets: inside a field that the API marks as sensitive, strings and bytes become `[redacted]` and everything else is left out, at
//! any depth, as Envoy's `MessageUtil::redact` does. A `TypedStruct` is looked into for the same reason.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value as Proto};
use serde_json::{Map, Value, json};

use super::{JsonError, Problem, Style, UnknownFields, encode_with, is_one_value, number, time};
use crate::path::FieldPath;
use crate::type_url::type_name;
use crate::{MAX_DEPTH, any, descriptors};

const REDACTED: &str = "[redacted]";

/// Prints messages in one style.
pub(super) struct Printer {
    style: Style,
}

/// Where the printer is.
#[derive(Clone, Copy)]
struct At<'a> {
    path: &'a FieldPath<'a>,
    depth: usize,
    /// Within something sensitive.
    hidden: bool,
}

type Printed<T> = Result<T, JsonError>;

impl Printer {
    pub(super) const fn new(style: Style) -> Self {
        Self { style }
    }

    /// The JSON of a message.
    pub(super) fn message(&self, message: &DynamicMessage, path: &FieldPath<'_>, depth: usize) -> Printed<Value> {
        let at = At { path, depth, hidden: false };
        Ok(self.any_message(message, at)?.unwrap_or(Value::Null))
    }

    /// A message of whatever kind; `None` if there is nothing in it that may be shown.
    fn any_message(&self, message: &DynamicMessage, at: At<'_>) -> Printed<Option<Value>> {
        if at.depth > MAX_DEPTH {
            return Err(at.error(Problem::TooDeep));
        }
        let descriptor = message.descriptor();
        match descriptor.full_name() {
            "google.protobuf.Any" => Ok(Some(self.any(message, at))),
            name if is_one_value(name) => self.one_value(name, message, at),
            name if self.style.redact && any::is_typed_struct(name) => self.typed_struct(message, at).map(Some),
            _ => self.fields(message, at).map(|fields| Some(Value::Object(fields))),
        }
    }

    fn fields(&self, message: &DynamicMessage, at: At<'_>) -> Printed<Map<String, Value>> {
        let mut object = Map::new();
        for (field, value) in message.fields() {
            if !message.has_field(&field) {
                continue;
            }
            let path = at.path.field(field.name());
            let hidden = at.hidden || (self.style.redact && descriptors::is_sensitive(&field));
            if let Some(json) = self.field(&field, value, At { path: &path, depth: at.depth, hidden })? {
                object.insert(self.name(&field).to_owned(), json);
            }
        }
        Ok(object)
    }

    fn name<'f>(&self, field: &'f FieldDescriptor) -> &'f str {
        if self.style.proto_names { field.name() } else { field.json_name() }
    }

    fn field(&self, field: &FieldDescriptor, value: &Proto, at: At<'_>) -> Printed<Option<Value>> {
        let kind = field.kind();
        match value {
            Proto::List(items) => {
                let mut array = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let path = at.path.index(index);
                    array.extend(self.value(&kind, item, At { path: &path, ..at })?);
                }
                Ok(Some(Value::Array(array)))
            }
            Proto::Map(entries) => {
                let Some(value_kind) = kind.as_message().map(|entry| entry.map_entry_value_field().kind()) else {
                    return Ok(None);
                };
                let mut object = Map::new();
                for (key, value) in entries {
                    let key = map_key(key);
                    let path = at.path.key(&key);
                    if let Some(json) = self.value(&value_kind, value, At { path: &path, ..at })? {
                        object.insert(key, json);
                    }
                }
                Ok(Some(Value::Object(object)))
            }
            single => self.value(&kind, single, at),
        }
    }

    fn value(&self, kind: &Kind, value: &Proto, at: At<'_>) -> Printed<Option<Value>> {
        if let Proto::Message(message) = value {
            return self.any_message(message, At { depth: at.depth + 1, ..at });
        }
        if at.hidden {
            return Ok(match value {
                Proto::String(_) => Some(Value::from(REDACTED)),
                Proto::Bytes(_) => Some(Value::from(STANDARD.encode(REDACTED))),
                _ => None,
            });
        }
        Ok(Some(scalar(kind, value)))
    }

    /// A well-known message that stands for one value.
    fn one_value(&self, name: &str, message: &DynamicMessage, at: At<'_>) -> Printed<Option<Value>> {
        if at.hidden && matches!(name, "google.protobuf.Struct" | "google.protobuf.Value" | "google.protobuf.ListValue")
        {
            return Ok(Some(Value::from(REDACTED)));
        }
        let out_of_range = |what: &str| at.error(Problem::Value(format!("{what} is out of range")));
        let value = match name {
            "google.protobuf.Empty" => Value::Object(Map::new()),
            "google.protobuf.Duration" => time::print_duration(seconds(message), nanos(message))
                .map(Value::from)
                .ok_or_else(|| out_of_range("duration"))?,
            "google.protobuf.Timestamp" => time::print_timestamp(seconds(message), nanos(message))
                .map(Value::from)
                .ok_or_else(|| out_of_range("timestamp"))?,
            "google.protobuf.FieldMask" => Value::from(field_mask(message)),
            // A `Value` is whichever of its fields is set.
            "google.protobuf.Value" => {
                let Some((field, value)) = message.fields().next() else {
                    return Ok(Some(Value::Null));
                };
                if let Proto::F64(number) = value
                    && !number.is_finite()
                {
                    return Err(at.error(Problem::Value("a Value may not hold a number that is not finite".to_owned())));
                }
                return self.value(&field.kind(), value, at);
            }
            // Wrappers, `Struct` and `ListValue` are their field 1.
            _ => {
                let Some(field) = message.descriptor().get_field(1) else {
                    return Ok(None);
                };
                return self.field(&field, &message.get_field(&field), at);
            }
        };
        Ok((!at.hidden).then_some(value))
    }

    /// An `Any`: expanded, or its type and bytes if that cannot be done.
    fn any(&self, message: &DynamicMessage, at: At<'_>) -> Value {
        let type_url = text(message, 1);
        let value = match message.get_field_by_number(2).as_deref() {
            Some(Proto::Bytes(bytes)) => bytes.clone(),
            _ => Default::default(),
        };
        if type_url.is_empty() && value.is_empty() {
            return Value::Object(Map::new());
        }
        self.expanded(&type_url, &value, at).unwrap_or_else(|| {
            let bytes = if at.hidden { REDACTED.as_bytes() } else { &value };
            json!({ "@type": type_url, "value": STANDARD.encode(bytes) })
        })
    }

    fn expanded(&self, type_url: &str, value: &[u8], at: At<'_>) -> Option<Value> {
        let descriptor = descriptors::message(type_name(type_url))?;
        let wrapped = descriptor.full_name() == "google.protobuf.Any" || is_one_value(descriptor.full_name());
        let message = DynamicMessage::decode(descriptor, value).ok()?;
        let printed = self.any_message(&message, At { depth: at.depth + 1, ..at }).ok()?;
        let mut object = match printed {
            Some(Value::Object(fields)) if !wrapped => fields,
            printed => printed.into_iter().map(|value| ("value".to_owned(), value)).collect(),
        };
        object.insert("@type".to_owned(), Value::from(type_url));
        Some(Value::Object(object))
    }

    /// A `TypedStruct` of a known type, its content read as that type so that its secrets are known for what they are.
    fn typed_struct(&self, message: &DynamicMessage, at: At<'_>) -> Printed<Value> {
        let mut object = self.fields(message, at)?;
        let inner = text(message, 1);
        if !at.hidden
            && descriptors::message(type_name(&inner)).is_some()
            && let Some(content) = object.get_mut("value")
        {
            *content = self.redacted(&inner, content, at).unwrap_or_else(|| Value::from(REDACTED));
        }
        Ok(Value::Object(object))
    }

    fn redacted(&self, type_url: &str, content: &Value, at: At<'_>) -> Option<Value> {
        // Names that the type does not have are dropped here: nobody can tell whether they are secrets.
        let bytes = encode_with(type_url, content, UnknownFields::Collect, &mut Vec::new()).ok()?;
        let message = DynamicMessage::decode(descriptors::message(type_name(type_url))?, bytes.as_slice()).ok()?;
        self.any_message(&message, At { depth: at.depth + 1, ..at }).ok().flatten()
    }
}

impl At<'_> {
    fn error(&self, problem: Problem) -> JsonError {
        JsonError::new(self.path, problem)
    }
}

/// A value that is no message.
fn scalar(kind: &Kind, value: &Proto) -> Value {
    match value {
        Proto::Bool(value) => Value::from(*value),
        Proto::I32(value) => Value::from(*value),
        Proto::U32(value) => Value::from(*value),
        // 64 bits do not survive in a double, so they are strings.
        Proto::I64(value) => Value::from(value.to_string()),
        Proto::U64(value) => Value::from(value.to_string()),
        Proto::F32(value) => number::print_float(*value),
        Proto::F64(value) => number::print_double(*value),
        Proto::String(value) => Value::from(value.as_str()),
        Proto::Bytes(value) => Value::from(STANDARD.encode(value)),
        Proto::EnumNumber(number) => enum_value(kind, *number),
        // Those three are handled by the callers.
        Proto::Message(_) | Proto::List(_) | Proto::Map(_) => Value::Null,
    }
}

fn enum_value(kind: &Kind, number: i32) -> Value {
    match kind.as_enum() {
        Some(descriptor) if descriptor.full_name() == "google.protobuf.NullValue" => Value::Null,
        Some(descriptor) => descriptor.get_value(number).map_or(Value::from(number), |value| Value::from(value.name())),
        None => Value::from(number),
    }
}

fn map_key(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

fn seconds(message: &DynamicMessage) -> i64 {
    message.get_field_by_number(1).and_then(|value| value.as_i64()).unwrap_or(0)
}

fn nanos(message: &DynamicMessage) -> i32 {
    message.get_field_by_number(2).and_then(|value| value.as_i32()).unwrap_or(0)
}

fn text(message: &DynamicMessage, number: u32) -> String {
    message.get_field_by_number(number).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn field_mask(message: &DynamicMessage) -> String {
    let paths = message.get_field_by_number(1);
    let paths = paths.as_deref().and_then(Proto::as_list).unwrap_or_default();
    paths.iter().filter_map(Proto::as_str).map(lower_camel).collect::<Vec<_>>().join(",")
}

fn lower_camel(name: &str) -> String {
    let mut upper = false;
    name.chars().fold(String::with_capacity(name.len()), |mut out, letter| {
        if letter == '_' {
            upper = true;
        } else {
            out.push(if upper { letter.to_ascii_uppercase() } else { letter });
            upper = false;
        }
        out
    })
}

//! JSON to messages, written as wire bytes in field order.
//!
//! Strict where the specification is: one member of a oneof, no `null` in lists, no number that does not fit, no unknown enum name.
//! Lenient where it is: either form of a field's name, quoted numbers, URL-safe base64, `null` for an absent field.

use std::collections::BTreeMap;

use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use super::error::{invalid, wrong};
use super::scalar::{base64, scalar, string, varint};
use super::{JsonError, Problem, UnknownFields, is_one_value, time};
use crate::path::FieldPath;
use crate::type_url::type_name;
use crate::{MAX_DEPTH, descriptors};

type Parsed<T> = Result<T, JsonError>;

/// Reads messages out of JSON.
pub(super) struct Parser<'u> {
    policy: UnknownFields,
    unknown: &'u mut Vec<String>,
}

impl<'u> Parser<'u> {
    pub(super) fn new(policy: UnknownFields, unknown: &'u mut Vec<String>) -> Self {
        Self { policy, unknown }
    }

    /// The bytes of a message of whatever kind.
    pub(super) fn message(
        &mut self,
        message: &MessageDescriptor,
        json: &Value,
        path: &FieldPath<'_>,
        depth: usize,
    ) -> Parsed<Vec<u8>> {
        if depth > MAX_DEPTH {
            return Err(JsonError::new(path, Problem::TooDeep));
        }
        match message.full_name() {
            "google.protobuf.Any" => self.any(json, path, depth),
            name if is_one_value(name) => self.one_value(name, message, json, path, depth),
            _ => self.fields(message, object(json, path)?, path, depth, false),
        }
    }

    /// The fields of an ordinary message; the members of a typed `Any` include its `@type`.
    fn fields(
        &mut self,
        message: &MessageDescriptor,
        members: &Map<String, Value>,
        path: &FieldPath<'_>,
        depth: usize,
        typed: bool,
    ) -> Parsed<Vec<u8>> {
        let mut fields = BTreeMap::new();
        for (name, value) in members {
            if typed && name == "@type" {
                continue;
            }
            let field = message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name));
            let Some(field) = field else {
                self.unknown_field(message, &path.field(name))?;
                continue;
            };
            if value.is_null() && !takes_null(&field) {
                continue;
            }
            if let Some((field, _)) = fields.insert(field.number(), (field, value)) {
                return Err(JsonError::new(&path.field(field.name()), Problem::Twice));
            }
        }
        let mut choices: BTreeMap<String, String> = BTreeMap::new();
        let mut out = Vec::new();
        for (field, value) in fields.values() {
            let path = path.field(field.name());
            if let Some(oneof) = field.containing_oneof() {
                let oneof = oneof.name().to_owned();
                if let Some(other) = choices.insert(oneof.clone(), field.name().to_owned()) {
                    return Err(JsonError::new(&path, Problem::Oneof { oneof, other }));
                }
            }
            self.field(field, value, &path, depth, &mut out)?;
        }
        Ok(out)
    }

    fn unknown_field(&mut self, message: &MessageDescriptor, path: &FieldPath<'_>) -> Parsed<()> {
        match self.policy {
            UnknownFields::Refuse => {
                Err(JsonError::new(path, Problem::UnknownField { message: message.full_name().to_owned() }))
            }
            UnknownFields::Collect => {
                self.unknown.push(path.to_string());
                Ok(())
            }
        }
    }

    fn field(
        &mut self,
        field: &FieldDescriptor,
        json: &Value,
        path: &FieldPath<'_>,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Parsed<()> {
        let kind = field.kind();
        let wire_type = kind.wire_type();
        if let (true, Some(entry)) = (field.is_map(), kind.as_message()) {
            return self.map(field.number(), entry, json, path, depth, out);
        }
        if !field.is_list() {
            let mut payload = Vec::new();
            let zero = self.value(&kind, json, path, depth, &mut payload)?;
            if field.supports_presence() || !zero {
                encode_key(field.number(), wire_type, out);
                out.append(&mut payload);
            }
            return Ok(());
        }
        let Value::Array(items) = json else {
            return Err(wrong(path, "a list", json));
        };
        let packed = field.is_packed() && wire_type != WireType::LengthDelimited;
        let mut payload = Vec::new();
        for (index, item) in items.iter().enumerate() {
            if !packed {
                encode_key(field.number(), wire_type, &mut payload);
            }
            self.value(&kind, item, &path.index(index), depth, &mut payload)?;
        }
        if packed && !payload.is_empty() {
            delimited(field.number(), &payload, out);
        } else {
            out.append(&mut payload);
        }
        Ok(())
    }

    fn map(
        &mut self,
        number: u32,
        entry: &MessageDescriptor,
        json: &Value,
        path: &FieldPath<'_>,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Parsed<()> {
        let (key_kind, value_kind) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
        let mut members: Vec<_> = object(json, path)?.iter().collect();
        members.sort_by_key(|(key, _)| *key);
        for (key, value) in members {
            let path = path.key(key);
            // Defaults are left out, as prost does, so that both encode to the same bytes.
            let (mut payload, mut part) = (Vec::new(), Vec::new());
            if !scalar(&key_kind, &map_key(&key_kind, key), &path, &mut part)? {
                encode_key(1, key_kind.wire_type(), &mut payload);
                payload.append(&mut part);
            }
            part.clear();
            let zero = self.value(&value_kind, value, &path, depth, &mut part)?;
            if !zero && part != [0] {
                encode_key(2, value_kind.wire_type(), &mut payload);
                payload.append(&mut part);
            }
            delimited(number, &payload, out);
        }
        Ok(())
    }

    /// Writes a value behind its key; says whether it is what an absent field means.
    fn value(
        &mut self,
        kind: &Kind,
        json: &Value,
        path: &FieldPath<'_>,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Parsed<bool> {
        let Kind::Message(message) = kind else {
            return scalar(kind, json, path, out);
        };
        let payload = self.message(message, json, path, depth + 1)?;
        encode_varint(payload.len() as u64, out);
        out.extend_from_slice(&payload);
        Ok(false)
    }

    /// A well-known message that stands for one value.
    fn one_value(
        &mut self,
        name: &str,
        message: &MessageDescriptor,
        json: &Value,
        path: &FieldPath<'_>,
        depth: usize,
    ) -> Parsed<Vec<u8>> {
        let mut out = Vec::new();
        match name {
            "google.protobuf.Empty" => {
                for name in object(json, path)?.keys() {
                    self.unknown_field(message, &path.field(name))?;
                }
            }
            // Not canonical, but Envoy's reader takes its fields as well, and files are written so.
            "google.protobuf.Duration" if json.is_object() => {
                return self.fields(message, object(json, path)?, path, depth, false);
            }
            "google.protobuf.Duration" => {
                let text = string(json, "a duration such as \"1.5s\"", path)?;
                let parts = time::parse_duration(text);
                seconds_and_nanos(parts.ok_or_else(|| invalid(path, text, "a duration such as \"1.5s\""))?, &mut out);
            }
            "google.protobuf.Timestamp" => {
                let text = string(json, "a timestamp in RFC 3339", path)?;
                let parts = time::parse_timestamp(text);
                seconds_and_nanos(parts.ok_or_else(|| invalid(path, text, "a timestamp in RFC 3339"))?, &mut out);
            }
            "google.protobuf.FieldMask" => {
                let text = string(json, "a list of field paths", path)?;
                for item in text.split(',').filter(|item| !item.is_empty()) {
                    let item =
                        snake(item).ok_or_else(|| invalid(path, text, "a list of lowerCamelCase field paths"))?;
                    delimited(1, item.as_bytes(), &mut out);
                }
            }
            "google.protobuf.Value" => return self.struct_value(message, json, path, depth),
            // Wrappers, `Struct` and `ListValue` are their field 1.
            _ => {
                if let Some(field) = message.get_field(1) {
                    self.field(&field, json, path, depth, &mut out)?;
                }
            }
        }
        Ok(out)
    }

    /// A `google.protobuf.Value`: any JSON.
    fn struct_value(
        &mut self,
        message: &MessageDescriptor,
        json: &Value,
        path: &FieldPath<'_>,
        depth: usize,
    ) -> Parsed<Vec<u8>> {
        let number = match json {
            Value::Null => 1,
            Value::Number(_) => 2,
            Value::String(_) => 3,
            Value::Bool(_) => 4,
            Value::Object(_) => 5,
            Value::Array(_) => 6,
        };
        let mut out = Vec::new();
        if let Some(field) = message.get_field(number) {
            self.field(&field, json, path, depth, &mut out)?;
        }
        Ok(out)
    }

    fn any(&mut self, json: &Value, path: &FieldPath<'_>, depth: usize) -> Parsed<Vec<u8>> {
        let members = object(json, path)?;
        if members.is_empty() {
            return Ok(Vec::new());
        }
        let Some(type_url) = members.get("@type") else {
            return Err(JsonError::new(path, Problem::MissingType));
        };
        let type_url = string(type_url, "a type URL", &path.field("@type"))?;
        let value = match descriptors::message(type_name(type_url)) {
            Some(message) => self.any_content(&message, members, path, depth + 1)?,
            None => opaque(type_url, members, path)?,
        };
        let mut out = Vec::new();
        delimited(1, type_url.as_bytes(), &mut out);
        if !value.is_empty() {
            delimited(2, &value, &mut out);
        }
        Ok(out)
    }

    fn any_content(
        &mut self,
        message: &MessageDescriptor,
        members: &Map<String, Value>,
        path: &FieldPath<'_>,
        depth: usize,
    ) -> Parsed<Vec<u8>> {
        let name = message.full_name();
        if name != "google.protobuf.Any" && !is_one_value(name) {
            if depth > MAX_DEPTH {
                return Err(JsonError::new(path, Problem::TooDeep));
            }
            return self.fields(message, members, path, depth, true);
        }
        // What is no object in JSON stands in a field `value`.
        for name in members.keys().filter(|name| !matches!(name.as_str(), "@type" | "value")) {
            self.unknown_field(message, &path.field(name))?;
        }
        match members.get("value") {
            Some(value) => self.message(message, value, &path.field("value"), depth),
            None => Err(JsonError::new(path, Problem::Value(format!("\"value\" is required for {name}")))),
        }
    }
}

/// The bytes of an `Any` whose type nobody knows, in the form in which such a one is printed.
fn opaque(type_url: &str, members: &Map<String, Value>, path: &FieldPath<'_>) -> Parsed<Vec<u8>> {
    let bytes = match members.get("value") {
        Some(Value::String(text)) if members.len() == 2 => base64(text),
        _ => None,
    };
    bytes.ok_or_else(|| JsonError::new(path, Problem::UnknownMessage(type_url.to_owned())))
}

fn seconds_and_nanos((seconds, nanos): (i64, i32), out: &mut Vec<u8>) {
    for (number, value) in [(1, seconds), (2, i64::from(nanos))] {
        if value != 0 {
            encode_key(number, WireType::Varint, out);
            varint(value, out);
        }
    }
}

fn delimited(number: u32, payload: &[u8], out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(payload.len() as u64, out);
    out.extend_from_slice(payload);
}

/// A map's key is a string in JSON; what it stands for depends on its kind.
fn map_key(kind: &Kind, key: &str) -> Value {
    match (kind, key) {
        (Kind::Bool, "true") => Value::Bool(true),
        (Kind::Bool, "false") => Value::Bool(false),
        _ => Value::from(key),
    }
}

fn takes_null(field: &FieldDescriptor) -> bool {
    !field.is_list()
        && match field.kind() {
            Kind::Message(message) => message.full_name() == "google.protobuf.Value",
            Kind::Enum(descriptor) => descriptor.full_name() == "google.protobuf.NullValue",
            _ => false,
        }
}

/// `fooBar.baz` as `foo_bar.baz`; `None` if it is not in lowerCamelCase.
fn snake(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    for letter in path.chars() {
        match letter {
            '_' => return None,
            letter if letter.is_ascii_uppercase() => {
                out.push('_');
                out.push(letter.to_ascii_lowercase());
            }
            letter => out.push(letter),
        }
    }
    Some(out)
}

fn object<'j>(json: &'j Value, path: &FieldPath<'_>) -> Parsed<&'j Map<String, Value>> {
    json.as_object().ok_or_else(|| wrong(path, "an object", json))
}

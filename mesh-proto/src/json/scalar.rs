//! Single values from JSON to the wire: everything that is no message.
//!
//! A value is written without its key, and the writer is told whether it is what an absent field means: proto3 leaves such a value out.

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
use prost::encoding::encode_varint;
use prost_reflect::Kind;
use serde_json::Value;

use super::error::{invalid, wrong, wrong_or_invalid};
use super::{JsonError, number};
use crate::path::FieldPath;

const BASE64: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, BASE64);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, BASE64);

type Parsed<T> = Result<T, JsonError>;

/// Writes a value that is no message behind its key; says whether it is zero.
pub(super) fn scalar(kind: &Kind, json: &Value, path: &FieldPath<'_>, out: &mut Vec<u8>) -> Parsed<bool> {
    match kind {
        Kind::Bool => {
            let Value::Bool(value) = json else {
                return Err(wrong(path, "true or false", json));
            };
            encode_varint(u64::from(*value), out);
            Ok(!value)
        }
        Kind::String => {
            let text = string(json, "a string", path)?;
            encode_varint(text.len() as u64, out);
            out.extend_from_slice(text.as_bytes());
            Ok(text.is_empty())
        }
        Kind::Bytes => {
            let text = string(json, "base64", path)?;
            let bytes = base64(text).ok_or_else(|| invalid(path, text, "base64"))?;
            encode_varint(bytes.len() as u64, out);
            out.extend_from_slice(&bytes);
            Ok(bytes.is_empty())
        }
        Kind::Double => {
            let value = number::parse_double(json).ok_or_else(|| wrong_or_invalid(path, "a number", json))?;
            out.extend_from_slice(&value.to_le_bytes());
            Ok(value.to_bits() == 0)
        }
        Kind::Float => {
            let value = number::parse_float(json).ok_or_else(|| wrong_or_invalid(path, "a 32-bit number", json))?;
            out.extend_from_slice(&value.to_le_bytes());
            Ok(value.to_bits() == 0)
        }
        Kind::Enum(descriptor) => {
            let number = match json {
                Value::Null if descriptor.full_name() == "google.protobuf.NullValue" => 0,
                Value::String(name) => descriptor
                    .get_value_by_name(name)
                    .ok_or_else(|| invalid(path, name, &format!("a value of {}", descriptor.full_name())))?
                    .number(),
                _ => integer(json, "an enum name or number", path)?,
            };
            varint(number.into(), out);
            Ok(number == 0)
        }
        Kind::Int32 => integer::<i32>(json, "a 32-bit integer", path).map(|value| varint(value.into(), out)),
        Kind::Int64 => integer::<i64>(json, "a 64-bit integer", path).map(|value| varint(value, out)),
        Kind::Uint32 => integer::<u32>(json, "an unsigned 32-bit integer", path).map(|value| varint(value.into(), out)),
        Kind::Uint64 => integer::<u64>(json, "an unsigned 64-bit integer", path).map(|value| {
            encode_varint(value, out);
            value == 0
        }),
        Kind::Sint32 => integer::<i32>(json, "a 32-bit integer", path).map(|value| zigzag(value.into(), out)),
        Kind::Sint64 => integer::<i64>(json, "a 64-bit integer", path).map(|value| zigzag(value, out)),
        Kind::Fixed32 => {
            integer::<u32>(json, "an unsigned 32-bit integer", path).map(|value| fixed(value.to_le_bytes(), out))
        }
        Kind::Fixed64 => {
            integer::<u64>(json, "an unsigned 64-bit integer", path).map(|value| fixed(value.to_le_bytes(), out))
        }
        Kind::Sfixed32 => integer::<i32>(json, "a 32-bit integer", path).map(|value| fixed(value.to_le_bytes(), out)),
        Kind::Sfixed64 => integer::<i64>(json, "a 64-bit integer", path).map(|value| fixed(value.to_le_bytes(), out)),
        Kind::Message(_) => Err(wrong(path, "a value", json)),
    }
}

pub(super) fn string<'j>(json: &'j Value, expected: &'static str, path: &FieldPath<'_>) -> Parsed<&'j str> {
    json.as_str().ok_or_else(|| wrong(path, expected, json))
}

pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

fn integer<T: TryFrom<i128>>(json: &Value, expected: &'static str, path: &FieldPath<'_>) -> Parsed<T> {
    number::parse_integer(json)
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| wrong_or_invalid(path, expected, json))
}

/// Negative numbers are ten bytes long: sign-extended, as protobuf wants it.
pub(super) fn varint(value: i64, out: &mut Vec<u8>) -> bool {
    encode_varint(value.cast_unsigned(), out);
    value == 0
}

fn zigzag(value: i64, out: &mut Vec<u8>) -> bool {
    encode_varint(((value << 1) ^ (value >> 63)).cast_unsigned(), out);
    value == 0
}

fn fixed<const N: usize>(bytes: [u8; N], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(&bytes);
    bytes.iter().all(|byte| *byte == 0)
}

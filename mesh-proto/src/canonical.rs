//! One encoding for equal messages.
//!
//! prost keeps maps in hash maps, so the same message encodes to other bytes in every run; whoever compares bytes to see what
//! changed, or hashes them into a version, would see changes where there are none. Here entries are ordered by key, at every depth and within
//! every `Any` of a known type.

use prost::encoding::{WireType, encode_key, encode_varint};
use prost::{Message, Name};
use prost_reflect::{Kind, MessageDescriptor};

use crate::MAX_DEPTH;
use crate::descriptors;
use crate::json::is_one_value;
use crate::type_url::type_name;
use crate::wire::{Field, Fields, Malformed, Payload};

/// Encodes a message so that equal messages give equal bytes.
#[must_use]
pub fn encode<M: Message + Name>(message: &M) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    order(&M::full_name(), &bytes).unwrap_or(bytes)
}

/// Puts the map entries of an encoded message (full name or type URL) into key order. Everything else stays where it is.
///
/// `None` if the type has no descriptor, the bytes are malformed, or messages nest deeper than [`MAX_DEPTH`].
#[must_use]
pub fn order(type_url: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let message = descriptors::message(type_name(type_url))?;
    ordered(&message, bytes, 1).ok()
}

fn ordered(message: &MessageDescriptor, bytes: &[u8], depth: usize) -> Result<Vec<u8>, Malformed> {
    if depth > MAX_DEPTH {
        return Err(Malformed);
    }
    if message.full_name() == "google.protobuf.Any" {
        return ordered_any(bytes, depth);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut fields = Fields::new(bytes);
    // prost writes the entries of a map one after the other; that run is what gets sorted.
    let mut run: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut run_number = 0;
    while let Some(field) = fields.next()? {
        if field.number != run_number {
            flush(run_number, &mut run, &mut out);
            run_number = field.number;
        }
        let (Some(descriptor), Payload::Bytes(inner)) = (message.get_field(field.number), field.payload) else {
            out.extend_from_slice(field.raw);
            continue;
        };
        match descriptor.kind() {
            Kind::Message(entry) if descriptor.is_map() => {
                run.push((map_key(inner)?, ordered(&entry, inner, depth)?));
            }
            Kind::Message(inner_type) if !is_leaf(&inner_type) => {
                delimited(field.number, &ordered(&inner_type, inner, depth + 1)?, &mut out);
            }
            _ => out.extend_from_slice(field.raw),
        }
    }
    flush(run_number, &mut run, &mut out);
    Ok(out)
}

/// Messages without a map below them. `Struct` and those that hold one do have maps.
fn is_leaf(message: &MessageDescriptor) -> bool {
    let name = message.full_name();
    is_one_value(name)
        && !matches!(name, "google.protobuf.Struct" | "google.protobuf.Value" | "google.protobuf.ListValue")
}

fn ordered_any(bytes: &[u8], depth: usize) -> Result<Vec<u8>, Malformed> {
    let parts = any_parts(bytes)?;
    let known = parts.and_then(|(type_url, value)| Some((value, descriptors::message(type_name(type_url))?)));
    let Some((value, message)) = known else {
        return Ok(bytes.to_vec());
    };
    let Ok(value) = ordered(&message, value, depth + 1) else {
        // What it holds is for its decoder to refuse.
        return Ok(bytes.to_vec());
    };
    let mut out = Vec::with_capacity(bytes.len());
    let mut fields = Fields::new(bytes);
    while let Some(Field { number, raw, .. }) = fields.next()? {
        if number == 2 {
            delimited(2, &value, &mut out);
        } else {
            out.extend_from_slice(raw);
        }
    }
    Ok(out)
}

/// Type and value of an `Any` that has each exactly once; others are left as they are.
fn any_parts(bytes: &[u8]) -> Result<Option<(&str, &[u8])>, Malformed> {
    let (mut type_url, mut value) = (None, None);
    let mut fields = Fields::new(bytes);
    while let Some(field) = fields.next()? {
        let Payload::Bytes(payload) = field.payload else {
            return Ok(None);
        };
        let slot = match field.number {
            1 => &mut type_url,
            2 => &mut value,
            _ => return Ok(None),
        };
        if slot.replace(payload).is_some() {
            return Ok(None);
        }
    }
    Ok(type_url.zip(value).and_then(|(type_url, value)| Some((std::str::from_utf8(type_url).ok()?, value))))
}

/// The encoded key of a map entry; absent means the default, which sorts first.
fn map_key(entry: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut key = Vec::new();
    let mut fields = Fields::new(entry);
    while let Some(field) = fields.next()? {
        if field.number == 1 {
            key = match field.payload {
                Payload::Bytes(text) => text.to_vec(),
                Payload::Varint(number) => number.to_be_bytes().to_vec(),
                Payload::Fixed(bytes) => bytes.to_vec(),
                Payload::Group => return Err(Malformed),
            };
        }
    }
    Ok(key)
}

fn flush(number: u32, run: &mut Vec<(Vec<u8>, Vec<u8>)>, out: &mut Vec<u8>) {
    // Stable: of two entries with one key the last still wins.
    run.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (_, entry) in run.drain(..) {
        delimited(number, &entry, out);
    }
}

fn delimited(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test is what unwrap is for")]

    use serde_json::json;

    use super::*;
    use crate::envoy::config::cluster::v3::Cluster;
    use crate::google::protobuf::Any;
    use crate::json::from_json;

    fn cluster() -> Cluster {
        let keys: serde_json::Map<_, _> =
            (0..40).map(|i| (format!("key-{i}"), json!({ "a": i, "b": [{ "c": 1, "d": 2 }] }))).collect();
        from_json(&json!({
            "name": "a",
            "metadata": { "filterMetadata": keys },
            "typedExtensionProtocolOptions": { "x": {
                "@type": "type.googleapis.com/envoy.config.core.v3.Metadata",
                "filterMetadata": keys
            }, "y": { "@type": "x/no.Such", "value": "AQID" } }
        }))
        .unwrap()
    }

    #[test]
    fn equal_messages_encode_to_equal_bytes() {
        // Each has hash maps with seeds of their own.
        let first = encode(&cluster());
        for _ in 0..5 {
            assert_eq!(encode(&cluster()), first);
        }
        let name = "envoy.config.cluster.v3.Cluster";
        // What was packed by somebody else in some order is put into order too.
        let shuffled = Any { type_url: name.to_owned(), value: cluster().encode_to_vec() };
        assert_eq!(encode(&shuffled), encode(&crate::any::pack(&cluster())).replace_type(name));
        assert_eq!(Cluster::decode(first.as_slice()).unwrap(), cluster());
    }

    trait ReplaceType {
        fn replace_type(self, type_url: &str) -> Vec<u8>;
    }

    impl ReplaceType for Vec<u8> {
        fn replace_type(self, type_url: &str) -> Vec<u8> {
            let mut any = Any::decode(self.as_slice()).unwrap();
            type_url.clone_into(&mut any.type_url);
            any.encode_to_vec()
        }
    }

    #[test]
    fn everything_but_map_entries_stays_where_it_is() {
        // Field 99 is unknown, name (1) comes last.
        let bytes = b"\x9a\x06\x01x\x0a\x01a";
        assert_eq!(order("envoy.config.cluster.v3.Cluster", bytes).unwrap(), bytes);
    }

    #[test]
    fn what_cannot_be_ordered_is_none() {
        assert_eq!(order("no.Such", &[]), None);
        assert_eq!(order("envoy.config.cluster.v3.Cluster", &[0xff]), None);
    }
}

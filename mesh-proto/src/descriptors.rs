//! What the messages look like: the descriptors of the whole v3 API, decoded once, on first use.
//!
//! `cargo xtask descriptors` makes the embedded file out of the same `.proto` files that the Rust types were generated from. Options
//! are kept, so validation rules and sensitivity can be read; comments are not.

use std::collections::HashSet;
use std::io::Read;
use std::sync::OnceLock;

use flate2::read::GzDecoder;
use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor, Value};

pub use prost_reflect;

static PACKED: &[u8] = include_bytes!("../descriptors.bin.gz");

/// All descriptors: Envoy's v3 API, what it imports, `TypedStruct`, and Google's well-known types.
///
/// The first call unpacks and decodes them (some milliseconds when optimised); later ones only read.
pub fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    // The embedded file is part of the build and a test decodes it. Were it broken all the same, then every type would be
    // unknown, and unknown types are refused.
    POOL.get_or_init(|| unpack().unwrap_or_default())
}

/// The descriptor of a message by its full name, `envoy.config.cluster.v3.Cluster`; `None` if nobody declared it.
#[must_use]
pub fn message(full_name: &str) -> Option<MessageDescriptor> {
    pool().get_message_by_name(full_name)
}

/// Whether the API marks a field as a secret (`udpa.annotations.sensitive`): Envoy hides it in dumps.
#[must_use]
pub fn is_sensitive(field: &FieldDescriptor) -> bool {
    static SENSITIVE: OnceLock<HashSet<String>> = OnceLock::new();
    SENSITIVE.get_or_init(sensitive_fields).contains(field.full_name())
}

fn unpack() -> Option<DescriptorPool> {
    let mut set = Vec::new();
    GzDecoder::new(PACKED).read_to_end(&mut set).ok()?;
    DescriptorPool::decode(set.as_slice()).ok()
}

fn sensitive_fields() -> HashSet<String> {
    let Some(sensitive) = pool().get_extension_by_name("udpa.annotations.sensitive") else {
        return HashSet::new();
    };
    pool()
        .all_messages()
        .flat_map(|message| message.fields().collect::<Vec<_>>())
        .filter(|field| *field.options().get_extension(&sensitive) == Value::Bool(true))
        .map(|field| field.full_name().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test is what unwrap is for")]

    use super::*;

    #[test]
    fn the_embedded_descriptors_decode_and_know_the_resources() {
        assert!(unpack().is_some());
        for name in ["envoy.config.listener.v3.Listener", "udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct"] {
            assert!(message(name).is_some(), "{name}");
        }
    }

    #[test]
    fn private_keys_are_sensitive_and_names_are_not() {
        let certificate = message("envoy.extensions.transport_sockets.tls.v3.TlsCertificate").unwrap();
        assert!(is_sensitive(&certificate.get_field_by_name("private_key").unwrap()));
        assert!(!is_sensitive(&certificate.get_field_by_name("certificate_chain").unwrap()));
    }
}

//! Reads a message type's rules out of its descriptor, once per type.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use mesh_proto::descriptors;
use mesh_proto::descriptors::prost_reflect::{
    DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor, OneofDescriptor, Value,
};
use mesh_proto::validate::FieldRules;

/// The rules of one message type.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Fields with rules of their own.
    pub(super) fields: Vec<(FieldDescriptor, FieldRules)>,
    /// Oneofs of which one member must be set.
    pub(super) required_oneofs: Vec<OneofDescriptor>,
    /// Fields that hold messages to be checked in turn.
    pub(super) messages: Vec<FieldDescriptor>,
}

/// Fields whose rules are not enforced: istiod leaves them out of what it sends to gRPC clients (`GENERATOR=grpc`), which
/// have no use for names of statistics and fetch no secrets.
const NOT_ENFORCED: &[&str] = &[
    "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext.validation_context_sds_secret_config",
    "envoy.config.route.v3.VirtualHost.name",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.stat_prefix",
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.stat_prefix",
];

/// Free-form data that nobody validates.
const NOT_ENTERED: &[&str] =
    &["envoy.config.core.v3.Metadata.filter_metadata", "envoy.config.core.v3.Metadata.typed_filter_metadata"];

/// The rules of a message type; compiled on first use, then shared.
pub(super) fn rules(message: &MessageDescriptor) -> Arc<Rules> {
    static COMPILED: LazyLock<RwLock<HashMap<String, Arc<Rules>>>> = LazyLock::new(RwLock::default);
    let compiled = COMPILED.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(rules) = compiled.get(message.full_name()) {
        return Arc::clone(rules);
    }
    drop(compiled);
    let rules = Arc::new(compile(message));
    let mut compiled = COMPILED.write().unwrap_or_else(PoisonError::into_inner);
    compiled.insert(message.full_name().to_owned(), Arc::clone(&rules));
    rules
}

fn compile(message: &MessageDescriptor) -> Rules {
    let mut rules = Rules::default();
    // Well-known messages have no rules within.
    if message.full_name().starts_with("google.protobuf.") {
        return rules;
    }
    for field in message.fields() {
        let own = of_field(&field).filter(|_| !NOT_ENFORCED.contains(&field.full_name()));
        let skip = own.as_ref().is_some_and(|own| own.message.is_some_and(|rules| rules.skip()));
        if !skip && !NOT_ENTERED.contains(&field.full_name()) && holds_messages(&field) {
            rules.messages.push(field.clone());
        }
        if let Some(own) = own {
            rules.fields.push((field, own));
        }
    }
    rules.required_oneofs = message.oneofs().filter(is_required).collect();
    rules
}

fn holds_messages(field: &FieldDescriptor) -> bool {
    let Kind::Message(inner) = field.kind() else {
        return false;
    };
    if field.is_map() {
        return matches!(inner.map_entry_value_field().kind(), Kind::Message(_));
    }
    inner.full_name() == "google.protobuf.Any" || !inner.full_name().starts_with("google.protobuf.")
}

/// The rules of a field, if it has any.
pub(super) fn of_field(field: &FieldDescriptor) -> Option<FieldRules> {
    static RULES: LazyLock<Option<ExtensionDescriptor>> = LazyLock::new(|| extension("validate.rules"));
    let options = field.options();
    let value = option(&options, RULES.as_ref())?;
    value.as_message()?.transcode_to().ok()
}

fn is_required(oneof: &OneofDescriptor) -> bool {
    static REQUIRED: LazyLock<Option<ExtensionDescriptor>> = LazyLock::new(|| extension("validate.required"));
    let options = oneof.options();
    option(&options, REQUIRED.as_ref()).and_then(|value| value.as_bool()).unwrap_or(false)
}

fn extension(name: &str) -> Option<ExtensionDescriptor> {
    descriptors::pool().get_extension_by_name(name)
}

fn option(options: &DynamicMessage, extension: Option<&ExtensionDescriptor>) -> Option<Value> {
    let extension = extension?;
    options.has_extension(extension).then(|| options.get_extension(extension).into_owned())
}

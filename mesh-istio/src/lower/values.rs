//! Small protobuf values: durations, wrappers, metadata, addresses.
//!
//! No meaning of Istio's objects here.

use std::time::Duration;

use mesh_proto::envoy::config::core::v3 as core;
use mesh_proto::envoy::r#type::v3::{FractionalPercent, fractional_percent::DenominatorType};
use mesh_proto::google::protobuf;
use mesh_proto::google::protobuf::value::Kind;
use mesh_proto::well_known;

/// Any duration a user can write fits: reading has bounded it. What does not fit becomes the longest one.
pub(super) fn duration(value: Duration) -> protobuf::Duration {
    well_known::duration_message(value.min(well_known::MAX_DURATION)).unwrap_or_default()
}

pub(super) fn seconds(value: u64) -> Option<protobuf::Duration> {
    Some(duration(Duration::from_secs(value)))
}

pub(super) fn u32_value(value: u32) -> Option<protobuf::UInt32Value> {
    Some(well_known::uint32_value(value))
}

pub(super) fn bool_value(value: bool) -> Option<protobuf::BoolValue> {
    Some(well_known::bool_value(value))
}

pub(super) fn text(value: impl Into<String>) -> protobuf::Value {
    protobuf::Value { kind: Some(Kind::StringValue(value.into())) }
}

pub(super) fn truth(value: bool) -> protobuf::Value {
    protobuf::Value { kind: Some(Kind::BoolValue(value)) }
}

pub(super) fn object<'a>(fields: impl IntoIterator<Item = (&'a str, protobuf::Value)>) -> protobuf::Struct {
    protobuf::Struct { fields: fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect() }
}

pub(super) fn nested(value: protobuf::Struct) -> protobuf::Value {
    protobuf::Value { kind: Some(Kind::StructValue(value)) }
}

pub(super) fn list(values: Vec<protobuf::Value>) -> protobuf::Value {
    protobuf::Value { kind: Some(Kind::ListValue(protobuf::ListValue { values })) }
}

/// Metadata under Istio's own key.
pub(super) fn istio_metadata(fields: protobuf::Struct) -> core::Metadata {
    core::Metadata { filter_metadata: [("istio".to_owned(), fields)].into(), ..core::Metadata::default() }
}

/// Metadata that names the object which decided.
pub(super) fn config_metadata(path: &str) -> core::Metadata {
    istio_metadata(object([("config", text(path))]))
}

pub(super) fn socket_address(address: &str, port: u32) -> core::SocketAddress {
    core::SocketAddress {
        address: address.to_owned(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port)),
        ..core::SocketAddress::default()
    }
}

/// An IP, a host name, or a `unix://` path.
pub(super) fn address(address: &str, port: u32) -> core::Address {
    use core::address::Address;
    let address = match address.strip_prefix("unix://") {
        Some(path) => Address::Pipe(core::Pipe { path: path.to_owned(), mode: 0 }),
        None => Address::SocketAddress(socket_address(address, port)),
    };
    core::Address { address: Some(address) }
}

/// The config source by which everything that istiod sends refers to the same stream.
pub(super) fn ads() -> core::ConfigSource {
    core::ConfigSource {
        initial_fetch_timeout: seconds(0),
        resource_api_version: core::ApiVersion::V3.into(),
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(core::AggregatedConfigSource {})),
        ..core::ConfigSource::default()
    }
}

/// Percents with a fraction, in Istio's resolution of a millionth.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=1_000_000 before the cast")]
pub(super) fn millionths(percent: f64) -> FractionalPercent {
    let numerator = (percent * 10_000.0).clamp(0.0, 1_000_000.0) as u32;
    FractionalPercent { numerator, denominator: DenominatorType::Million.into() }
}

/// Whole percents.
pub(super) fn hundredths(percent: u32) -> FractionalPercent {
    FractionalPercent { numerator: percent.min(100), denominator: DenominatorType::Hundred.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_keep_four_places() {
        assert_eq!(millionths(25.0).numerator, 250_000);
        assert_eq!(millionths(0.0001).numerator, 1);
        assert_eq!(millionths(100.0).numerator, 1_000_000);
        assert_eq!(hundredths(40).numerator, 40);
    }
}

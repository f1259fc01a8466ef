//! Single values of many messages: durations, percentages, enums, addresses, metadata.
//!
//! Each is checked for what its Rust type cannot hold and Envoy refuses. The rules that the API states itself
//! (`validate.rules`) have been checked before; what is repeated here costs nothing and keeps every function total.

use std::net::IpAddr;
use std::time::Duration;

use http::StatusCode;
use mesh_core::resource::metadata::{Metadata, Value};
use mesh_core::resource::route::FractionalPercent;
use mesh_proto::envoy::config::core::v3 as core;
use mesh_proto::envoy::r#type::v3 as types;
use mesh_proto::google::protobuf::{self, value::Kind};
use mesh_proto::well_known;

use super::refused::{At, Refused, refuse};
use mesh_core::resource::Problem;

/// The longest duration that Envoy takes: what nanoseconds in 64 bits can count, some 292 years.
const LONGEST: Duration = Duration::from_secs(9_223_372_036);

/// A duration; absent stays absent.
pub(super) fn duration(at: &At<'_>, value: Option<protobuf::Duration>) -> Result<Option<Duration>, Refused> {
    let Some(value) = value else {
        return Ok(None);
    };
    let value = well_known::duration(&value).map_err(|error| refuse(at, error.to_string()))?;
    if value > LONGEST { Err(refuse(at, "duration is out of range")) } else { Ok(Some(value)) }
}

/// A duration that is off when it is zero; `default` when absent.
pub(super) fn duration_or_off(
    at: &At<'_>,
    value: Option<protobuf::Duration>,
    default: Option<Duration>,
) -> Result<Option<Duration>, Refused> {
    Ok(match duration(at, value)? {
        None => default,
        Some(Duration::ZERO) => None,
        some => some,
    })
}

/// A wrapped flag; absent is `false`.
pub(super) fn flag(value: Option<protobuf::BoolValue>) -> bool {
    value.is_some_and(|value| value.value)
}

/// A wrapped flag with another default.
pub(super) fn flag_or(value: Option<protobuf::BoolValue>, default: bool) -> bool {
    value.map_or(default, |value| value.value)
}

/// A wrapped number; absent stays absent.
pub(super) fn number(value: Option<protobuf::UInt32Value>) -> Option<u32> {
    value.map(|value| value.value)
}

/// An enum value that this build's API knows.
pub(super) fn known<E: TryFrom<i32>>(at: &At<'_>, value: i32) -> Result<E, Refused> {
    E::try_from(value).map_err(|_| refuse(at, format!("{value} is not a value of this enum")))
}

/// A percentage of 0 to 100; absent stays absent.
pub(super) fn percent(at: &At<'_>, value: Option<types::Percent>) -> Result<Option<f64>, Refused> {
    match value.map(|value| value.value) {
        Some(value) if !(0.0..=100.0).contains(&value) => Err(refuse(at, format!("{value} is not within 0 to 100"))),
        value => Ok(value),
    }
}

/// A share of requests. There is no runtime here: the default value counts, and a key for overriding it goes unread.
pub(super) fn runtime_fraction(
    at: &At<'_>,
    value: &core::RuntimeFractionalPercent,
) -> Result<FractionalPercent, Refused> {
    let at = at.field("default_value");
    match value.default_value {
        None => Err(refuse(&at, Problem::Missing)),
        Some(share) => fraction(&at, share),
    }
}

/// A share of something.
pub(super) fn fraction(at: &At<'_>, share: types::FractionalPercent) -> Result<FractionalPercent, Refused> {
    use types::fractional_percent::DenominatorType;
    let denominator = match known(&at.field("denominator"), share.denominator)? {
        DenominatorType::Hundred => 100,
        DenominatorType::TenThousand => 10_000,
        DenominatorType::Million => 1_000_000,
    };
    Ok(FractionalPercent { numerator: share.numerator, denominator })
}

/// An HTTP status within `100..1000`.
pub(super) fn status(at: &At<'_>, code: u32) -> Result<StatusCode, Refused> {
    let wrong = || refuse(at, format!("{code} is no HTTP status"));
    let code = u16::try_from(code).map_err(|_| wrong())?;
    StatusCode::from_u16(code).map_err(|_| wrong())
}

/// A port; 0 included.
pub(super) fn port(at: &At<'_>, port: u32) -> Result<u16, Refused> {
    u16::try_from(port).map_err(|_| refuse(at, format!("{port} is no port")))
}

/// A text that may be absent by being empty.
pub(super) fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// An address range. As in Envoy, an absent length is 0 (everything), and a length beyond the family's is all bits.
pub(super) fn cidr(at: &At<'_>, range: &core::CidrRange) -> Result<(IpAddr, u8), Refused> {
    let text = &range.address_prefix;
    let ip: IpAddr =
        text.parse().map_err(|_| refuse(&at.field("address_prefix"), format!("{text:?} is no IP address")))?;
    let bits = if ip.is_ipv4() { 32 } else { 128 };
    let length = number(range.prefix_len).unwrap_or(0).min(bits);
    Ok((ip, u8::try_from(length).unwrap_or(128)))
}

/// `Metadata.filter_metadata`; absent is empty.
pub(super) fn metadata(value: Option<core::Metadata>) -> Metadata {
    let namespaces = value.map(|value| value.filter_metadata).unwrap_or_default();
    namespaces.into_iter().map(|(name, fields)| (name, structure(fields))).collect()
}

/// A `google.protobuf.Struct`.
pub(super) fn structure(value: protobuf::Struct) -> Value {
    Value::Struct(value.fields.into_iter().map(|(key, value)| (key, free_form(value))).collect())
}

/// A `google.protobuf.Value`. How deep it nests has been bounded when it was read.
fn free_form(value: protobuf::Value) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::NumberValue(value)) => Value::Number(value),
        Some(Kind::StringValue(value)) => Value::Text(value),
        Some(Kind::ListValue(list)) => Value::List(list.values.into_iter().map(free_form).collect()),
        Some(Kind::StructValue(fields)) => structure(fields),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test is what unwrap is for")]

    use super::*;

    #[test]
    fn durations_that_envoy_cannot_count_are_refused() {
        let of = |seconds, nanos| duration(&At::ROOT, Some(protobuf::Duration { seconds, nanos }));
        assert_eq!(of(9_223_372_036, 0), Ok(Some(LONGEST)));
        assert!(of(9_223_372_037, 0).is_err() && of(-1, 0).is_err() && of(0, -1).is_err());
        assert_eq!(duration(&At::ROOT, None), Ok(None));
        let off = |seconds| duration_or_off(&At::ROOT, Some(protobuf::Duration { seconds, nanos: 0 }), None);
        assert_eq!((off(0), off(1)), (Ok(None), Ok(Some(Duration::from_secs(1)))));
    }

    #[test]
    fn s25_an_address_range_without_a_length_is_every_address_as_in_envoy() {
        let range = |prefix: &str, length: Option<u32>| {
            let prefix_len = length.map(well_known::uint32_value);
            cidr(&At::ROOT, &core::CidrRange { address_prefix: prefix.to_owned(), prefix_len })
        };
        assert_eq!(range("10.0.0.0", None).unwrap().1, 0);
        assert_eq!(range("10.0.0.0", Some(64)).unwrap().1, 32);
        assert_eq!(range("::1", Some(128)).unwrap().1, 128);
        assert!(range("10.0.0", Some(8)).is_err());
    }

    #[test]
    fn a_percentage_outside_of_its_range_is_refused_nan_included() {
        let of = |value| percent(&At::ROOT, Some(types::Percent { value }));
        assert_eq!(of(100.0), Ok(Some(100.0)));
        assert!(of(100.1).is_err() && of(-0.1).is_err() && of(f64::NAN).is_err());
    }
}

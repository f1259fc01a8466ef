//! Google's well-known messages to and from what Rust has for them.
//!
//! Conversions are checked: protobuf's durations are signed and wider than configuration may use, and a negative timeout must be a
//! refusal, never a wrapped number.

use std::time::Duration;

use crate::google::protobuf;

/// The longest duration that protobuf's JSON form can express: about 10,000 years.
pub const MAX_DURATION: Duration = Duration::from_secs(315_576_000_000);

/// A duration that configuration may not use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// Below zero.
    #[error("duration is negative")]
    Negative,
    /// Above [`MAX_DURATION`], or the nanoseconds make more than a second.
    #[error("duration is out of range")]
    OutOfRange,
}

/// A protobuf duration as Rust's.
///
/// # Errors
/// [`DurationError::Negative`] if either part is below zero, [`DurationError::OutOfRange`] if the whole is above [`MAX_DURATION`] or the
/// nanoseconds above 999,999,999: what Envoy rejects as well.
pub fn duration(value: &protobuf::Duration) -> Result<Duration, DurationError> {
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(value.seconds), u32::try_from(value.nanos)) else {
        return Err(DurationError::Negative);
    };
    if nanos > 999_999_999 || seconds > MAX_DURATION.as_secs() {
        return Err(DurationError::OutOfRange);
    }
    let duration = Duration::new(seconds, nanos);
    if duration > MAX_DURATION { Err(DurationError::OutOfRange) } else { Ok(duration) }
}

/// Rust's duration as a protobuf one.
///
/// # Errors
/// [`DurationError::OutOfRange`] above [`MAX_DURATION`].
pub fn duration_message(value: Duration) -> Result<protobuf::Duration, DurationError> {
    if value > MAX_DURATION {
        return Err(DurationError::OutOfRange);
    }
    let seconds = i64::try_from(value.as_secs()).map_err(|_| DurationError::OutOfRange)?;
    let nanos = i32::try_from(value.subsec_nanos()).map_err(|_| DurationError::OutOfRange)?;
    Ok(protobuf::Duration { seconds, nanos })
}

macro_rules! wrappers {
    ($($function:ident: $rust:ty => $wrapper:ident;)*) => {
        $(
            #[doc = concat!("A `google.protobuf.", stringify!($wrapper), "`: a value that is set, zero included.")]
            #[must_use]
            pub fn $function(value: impl Into<$rust>) -> protobuf::$wrapper {
                protobuf::$wrapper { value: value.into() }
            }
        )*
    };
}

wrappers! {
    bool_value: bool => BoolValue;
    uint32_value: u32 => UInt32Value;
    uint64_value: u64 => UInt64Value;
    int64_value: i64 => Int64Value;
    double_value: f64 => DoubleValue;
    string_value: String => StringValue;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(seconds: i64, nanos: i32) -> protobuf::Duration {
        protobuf::Duration { seconds, nanos }
    }

    #[test]
    fn durations_convert_both_ways() {
        for value in [Duration::ZERO, Duration::from_millis(1500), Duration::from_nanos(1), MAX_DURATION] {
            assert_eq!(duration_message(value).map(|message| duration(&message)), Ok(Ok(value)));
        }
    }

    #[test]
    fn durations_out_of_range_are_refused() {
        assert_eq!(duration(&message(-1, 0)), Err(DurationError::Negative));
        assert_eq!(duration(&message(0, -1)), Err(DurationError::Negative));
        assert_eq!(duration(&message(1, -1)), Err(DurationError::Negative));
        assert_eq!(duration(&message(0, 1_000_000_000)), Err(DurationError::OutOfRange));
        assert_eq!(duration(&message(i64::MAX, 0)), Err(DurationError::OutOfRange));
        assert_eq!(duration(&message(315_576_000_000, 1)), Err(DurationError::OutOfRange));
        assert_eq!(duration_message(Duration::MAX), Err(DurationError::OutOfRange));
    }

    #[test]
    fn wrappers_keep_zero() {
        assert_eq!(uint32_value(0u32), protobuf::UInt32Value { value: 0 });
        assert_eq!(string_value("x"), protobuf::StringValue { value: "x".to_owned() });
    }
}

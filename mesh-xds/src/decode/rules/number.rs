//! Numbers and durations against their bounds.

use std::fmt::Display;

use mesh_proto::descriptors::prost_reflect::Value;
use mesh_proto::google::protobuf;
use mesh_proto::validate::DurationRules;
use mesh_proto::validate::field_rules::Type;

/// The bounds of one rule, whatever its type.
struct Bounds<'a, T> {
    only: Option<T>,
    lt: Option<T>,
    lte: Option<T>,
    gt: Option<T>,
    gte: Option<T>,
    one_of: &'a [T],
    none_of: &'a [T],
    ignore_empty: bool,
}

impl<T: PartialOrd + Display + Default> Bounds<'_, T> {
    /// What is wrong with `value`, or nothing. A NaN is outside of every bound, as Envoy treats percentages.
    fn broken(&self, value: &T) -> Option<String> {
        if self.ignore_empty && *value == T::default() {
            return None;
        }
        let say = |word: &str, bound: &T| Some(format!("{value} must be {word} {bound}"));
        match self {
            Self { only: Some(bound), .. } if value != bound => say("equal to", bound),
            Self { lt: Some(bound), .. } if !matches!(value.partial_cmp(bound), Some(o) if o.is_lt()) => {
                say("below", bound)
            }
            Self { lte: Some(bound), .. } if !matches!(value.partial_cmp(bound), Some(o) if o.is_le()) => {
                say("at most", bound)
            }
            Self { gt: Some(bound), .. } if !matches!(value.partial_cmp(bound), Some(o) if o.is_gt()) => {
                say("above", bound)
            }
            Self { gte: Some(bound), .. } if !matches!(value.partial_cmp(bound), Some(o) if o.is_ge()) => {
                say("at least", bound)
            }
            _ if !self.one_of.is_empty() && !self.one_of.contains(value) => {
                Some(format!("{value} is not among the values allowed"))
            }
            _ if self.none_of.contains(value) => Some(format!("{value} is not allowed")),
            _ => None,
        }
    }
}

/// What is wrong with a number; outer `None` when rule and value do not belong together.
pub(super) fn scalar(rules: &Type, value: &Value) -> Option<Option<String>> {
    macro_rules! bounds {
        ($rules:expr, $value:expr) => {
            Some(
                Bounds {
                    only: $rules.r#const,
                    lt: $rules.lt,
                    lte: $rules.lte,
                    gt: $rules.gt,
                    gte: $rules.gte,
                    one_of: &$rules.r#in,
                    none_of: &$rules.not_in,
                    ignore_empty: $rules.ignore_empty(),
                }
                .broken($value),
            )
        };
    }
    match (rules, value) {
        (Type::Float(rules), Value::F32(value)) => bounds!(rules, value),
        (Type::Double(rules), Value::F64(value)) => bounds!(rules, value),
        (Type::Int32(rules), Value::I32(value)) => bounds!(rules, value),
        (Type::Int64(rules), Value::I64(value)) => bounds!(rules, value),
        (Type::Uint32(rules), Value::U32(value)) => bounds!(rules, value),
        (Type::Uint64(rules), Value::U64(value)) => bounds!(rules, value),
        _ => None,
    }
}

/// What is wrong with a duration of so many seconds and nanoseconds.
pub(super) fn duration(rules: &DurationRules, value: &(i64, i32)) -> Option<String> {
    let of = |bound: &Option<protobuf::Duration>| bound.map(|bound| (bound.seconds, bound.nanos));
    let say = |word: &str, bound: (i64, i32)| Some(format!("{} must be {word} {}", text(*value), text(bound)));
    if let Some(bound) = of(&rules.r#const).filter(|bound| value != bound) {
        return say("equal to", bound);
    }
    if let Some(bound) = of(&rules.lt).filter(|bound| value >= bound) {
        return say("below", bound);
    }
    if let Some(bound) = of(&rules.lte).filter(|bound| value > bound) {
        return say("at most", bound);
    }
    if let Some(bound) = of(&rules.gt).filter(|bound| value <= bound) {
        return say("above", bound);
    }
    if let Some(bound) = of(&rules.gte).filter(|bound| value < bound) {
        return say("at least", bound);
    }
    let parts = |one: &protobuf::Duration| (one.seconds, one.nanos) == *value;
    if !rules.r#in.is_empty() && !rules.r#in.iter().any(parts) || rules.not_in.iter().any(parts) {
        return Some(format!("{} is not allowed", text(*value)));
    }
    None
}

fn text((seconds, nanos): (i64, i32)) -> String {
    if nanos == 0 {
        return format!("{seconds}s");
    }
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    let fraction = format!("{:09}", nanos.unsigned_abs());
    format!("{sign}{}.{}s", seconds.unsigned_abs(), fraction.trim_end_matches('0'))
}

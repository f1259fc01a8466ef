//! Numbers between JSON and protobuf: strings for 64 bits, `"NaN"` and the infinities, integers that are written as `1.0` or `1e3`.
//!
//! Nothing is rounded in silence: what does not fit its type exactly is no integer of that type.

use serde_json::{Number, Value};

/// The largest range in which every integer is a double.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A double, printed as an integer when it is one, as other implementations do.
pub(super) fn print_double(value: f64) -> Value {
    let integral = value.fract() == 0.0 && value.abs() <= EXACT && !(value == 0.0 && value.is_sign_negative());
    if integral {
        #[allow(clippy::cast_possible_truncation, reason = "an integer within the exact range of doubles")]
        return Value::from(value as i64);
    }
    Number::from_f64(value).map_or_else(|| Value::from(print_special(value)), Value::Number)
}

/// A float, with no more digits than it takes to read the same float back.
pub(super) fn print_float(value: f32) -> Value {
    let shortest = value.to_string().parse().unwrap_or_else(|_| f64::from(value));
    print_double(shortest)
}

fn print_special(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// An integer in whatever form JSON may give it; `None` if it is none.
pub(super) fn parse_integer(value: &Value) -> Option<i128> {
    match value {
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Some(number.into()),
            (None, Some(number)) => Some(number.into()),
            (None, None) => integral(number.as_f64()?),
        },
        Value::String(text) => parse_integer_text(text),
        _ => None,
    }
}

/// An integer written as text: a map key, or a quoted number.
pub(super) fn parse_integer_text(text: &str) -> Option<i128> {
    if !is_number(text) {
        return None;
    }
    text.parse().ok().or_else(|| integral(text.parse().ok()?))
}

/// A double in whatever form JSON may give it; `None` if it is none.
pub(super) fn parse_double(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64().filter(|number| number.is_finite()),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text if is_number(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
            _ => None,
        },
        _ => None,
    }
}

/// A float; `None` also if it is beyond a float's range.
pub(super) fn parse_float(value: &Value) -> Option<f32> {
    let double = parse_double(value)?;
    #[allow(clippy::cast_possible_truncation, reason = "rounding is what a float does; overflow is checked")]
    let float = double as f32;
    (float.is_finite() || !double.is_finite()).then_some(float)
}

fn integral(number: f64) -> Option<i128> {
    // 2^64 bounds every type that there is, and keeps the cast exact.
    let fits = number.fract() == 0.0 && number.abs() <= 18_446_744_073_709_551_616.0;
    #[allow(clippy::cast_possible_truncation, reason = "an integer within the range of i128")]
    fits.then_some(number as i128)
}

/// Digits with a sign, a fraction and an exponent at most: Rust reads more (`inf`, `+1`), JSON does not.
fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit() || first == '-')
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn integers_come_in_several_forms() {
        for (value, expected) in [
            (json!(5), Some(5)),
            (json!(-5), Some(-5)),
            (json!("5"), Some(5)),
            (json!(5.0), Some(5)),
            (json!("1e3"), Some(1000)),
            (json!(u64::MAX), Some(i128::from(u64::MAX))),
            (json!("18446744073709551615"), Some(i128::from(u64::MAX))),
            (json!(5.5), None),
            (json!("5.5"), None),
            (json!(""), None),
            (json!(" 5"), None),
            (json!("+5"), None),
            (json!("inf"), None),
            (json!("1e400"), None),
            (json!(true), None),
        ] {
            assert_eq!(parse_integer(&value), expected, "{value}");
        }
    }

    #[test]
    fn floats_keep_their_shortest_form() {
        assert_eq!(print_float(0.1), json!(0.1));
        assert_eq!(print_double(100.0), json!(100));
        assert_eq!(print_double(-0.0), json!(-0.0));
        assert_eq!(print_double(f64::NAN), json!("NaN"));
        assert_eq!(print_float(f32::NEG_INFINITY), json!("-Infinity"));
        assert_eq!(parse_float(&json!("Infinity")), Some(f32::INFINITY));
        assert_eq!(parse_float(&json!(1e39)), None);
        assert_eq!(parse_double(&json!("0.5")), Some(0.5));
        assert_eq!(parse_double(&json!("infinity")), None);
        assert_eq!(parse_double(&json!(false)), None);
    }
}

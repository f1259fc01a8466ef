//! Durations as users write them: proto3 JSON (`1.5s`) and Go (`1h30m`, `100ms`).
//!
//! Only the text form is known here; which fields must be at least a millisecond is validation.

use std::time::Duration;

/// Longest duration that protobuf can carry: about 10,000 years.
const MAX_NANOS: u128 = 315_576_000_000 * 1_000_000_000;

/// Reads a duration; `None` when the text is not one, is negative or too long. `0` needs no unit.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let number = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let (digits, behind) = rest.split_at(number);
        let unit_len = behind.len() - behind.trim_start_matches(|c: char| !c.is_ascii_digit() && c != '.').len();
        let (unit, behind) = behind.split_at(unit_len);
        let unit_nanos: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        nanos = nanos.checked_add(scaled(digits, unit_nanos)?)?;
        if nanos > MAX_NANOS {
            return None;
        }
        rest = behind;
    }
    Some(Duration::new(u64::try_from(nanos / 1_000_000_000).ok()?, u32::try_from(nanos % 1_000_000_000).ok()?))
}

/// `digits` (a decimal number with at most one point) times `unit`; what is below a nanosecond is cut off, as in Go.
fn scaled(digits: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() > 20 {
        return None;
    }
    let mut nanos = if whole.is_empty() { 0 } else { whole.parse::<u128>().ok()?.checked_mul(unit)? };
    let mut place = unit;
    for digit in fraction.bytes().take(20) {
        place /= 10;
        nanos = nanos.checked_add(u128::from(digit - b'0') * place)?;
    }
    Some(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proto_and_go_forms_are_read() {
        let cases = [
            ("5s", 5_000_000_000),
            ("1.5s", 1_500_000_000),
            ("0s", 0),
            ("0", 0),
            ("100ms", 100_000_000),
            ("1h30m", 5_400_000_000_000),
            (".5m", 30_000_000_000),
            ("1us", 1_000),
            ("0.000000001s", 1),
            ("0.0000000019s", 1),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_none() {
        for text in ["", "5", "s", "1 s", "-1s", "1x", "1..5s", ".s", "1e3s", "99999999999999999999h", "１s"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}

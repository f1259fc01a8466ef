//! The JSON forms of `Duration` (`"1.5s"`) and `Timestamp` (`"1972-01-01T10:00:20.021Z"`).
//!
//! Fractions have 3, 6 or 9 digits when printed and up to 9 when parsed; ranges are protobuf's: 10,000 years, and the years 1 to 9999.

/// The largest magnitude of a duration's seconds.
const MAX_SECONDS: i64 = 315_576_000_000;
/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z.
const TIMESTAMPS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
const DAY: i64 = 86_400;
const NANOS: i32 = 1_000_000_000;

/// Seconds and nanoseconds as `"1.5s"`; `None` if they are out of range or of different signs.
pub(super) fn print_duration(seconds: i64, nanos: i32) -> Option<String> {
    let mixed = (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0);
    if mixed || !in_range(seconds, nanos) {
        return None;
    }
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    Some(format!("{sign}{}{}s", seconds.unsigned_abs(), fraction(nanos.unsigned_abs())))
}

/// `"1.5s"` as seconds and nanoseconds.
pub(super) fn parse_duration(text: &str) -> Option<(i64, i32)> {
    let number = text.strip_suffix('s')?;
    let (negative, number) = number.strip_prefix('-').map_or((false, number), |rest| (true, rest));
    let (whole, decimals) = number.split_once('.').map_or((number, None), |(whole, rest)| (whole, Some(rest)));
    let seconds: i64 = digits(whole)?;
    let nanos = decimals.map_or(Some(0), parse_fraction)?;
    let (seconds, nanos) = if negative { (-seconds, -nanos) } else { (seconds, nanos) };
    in_range(seconds, nanos).then_some((seconds, nanos))
}

/// Seconds and nanoseconds since 1970 as RFC 3339 in UTC; `None` if out of range.
pub(super) fn print_timestamp(seconds: i64, nanos: i32) -> Option<String> {
    if !TIMESTAMPS.contains(&seconds) || !(0..NANOS).contains(&nanos) {
        return None;
    }
    let (year, month, day) = date_of(seconds.div_euclid(DAY));
    let second = seconds.rem_euclid(DAY);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction = fraction(nanos.unsigned_abs());
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z"))
}

/// RFC 3339 with any offset as seconds and nanoseconds since 1970.
pub(super) fn parse_timestamp(text: &str) -> Option<(i64, i32)> {
    let (date, time) = text.split_once('T')?;
    let (time, offset) = match time.strip_suffix('Z') {
        Some(time) => (time, 0),
        None => {
            let at = time.rfind(['+', '-'])?;
            let (hour, minute) = time.get(at + 1..)?.split_once(':')?;
            let minutes = two(hour, 23)? * 60 + two(minute, 59)?;
            (time.get(..at)?, if time.get(at..)?.starts_with('-') { -minutes * 60 } else { minutes * 60 })
        }
    };
    let (clock, decimals) = time.split_once('.').map_or((time, None), |(clock, rest)| (clock, Some(rest)));
    let (year, month, day) = triple(date, '-')?;
    let (hour, minute, second) = triple(clock, ':')?;
    let year = (year.len() == 4).then(|| digits(year)).flatten()?;
    let (month, day) = (two(month, 12)?, two(day, 31)?);
    let (hour, minute, second) = (two(hour, 23)?, two(minute, 59)?, two(second, 59)?);
    let days = days_of(year, month, day);
    if date_of(days) != (year, month, day) {
        return None; // there is no such day
    }
    let seconds = days * DAY + hour * 3600 + minute * 60 + second - offset;
    let nanos = decimals.map_or(Some(0), parse_fraction)?;
    TIMESTAMPS.contains(&seconds).then_some((seconds, nanos))
}

fn in_range(seconds: i64, nanos: i32) -> bool {
    let most = if seconds.unsigned_abs() == MAX_SECONDS.unsigned_abs() { 0 } else { NANOS.unsigned_abs() - 1 };
    seconds.unsigned_abs() <= MAX_SECONDS.unsigned_abs() && nanos.unsigned_abs() <= most
}

fn fraction(nanos: u32) -> String {
    match nanos {
        0 => String::new(),
        n if n % 1_000_000 == 0 => format!(".{:03}", n / 1_000_000),
        n if n % 1_000 == 0 => format!(".{:06}", n / 1_000),
        n => format!(".{n:09}"),
    }
}

fn parse_fraction(decimals: &str) -> Option<i32> {
    if decimals.is_empty() || decimals.len() > 9 {
        return None;
    }
    let scale = 10_i64.pow(u32::try_from(9 - decimals.len()).ok()?);
    i32::try_from(digits(decimals)? * scale).ok()
}

/// Decimal digits only: no sign, no blank, at most 18 of them so that nothing overflows.
fn digits(text: &str) -> Option<i64> {
    let plain = (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn two(text: &str, most: i64) -> Option<i64> {
    (text.len() == 2).then(|| digits(text)).flatten().filter(|number| *number <= most)
}

fn triple(text: &str, separator: char) -> Option<(&str, &str, &str)> {
    let mut parts = text.split(separator);
    let triple = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then_some(triple)
}

/// Days since 1970 of a date in the Gregorian calendar, years beginning in March so that the leap day comes last.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_of`].
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_and_parse() {
        for (seconds, nanos, text) in [
            (0, 0, "0s"),
            (1, 500_000_000, "1.500s"),
            (0, 1_000, "0.000001s"),
            (0, 1, "0.000000001s"),
            (-1, -500_000_000, "-1.500s"),
            (0, -1_000_000, "-0.001s"),
            (315_576_000_000, 0, "315576000000s"),
        ] {
            assert_eq!(print_duration(seconds, nanos).as_deref(), Some(text));
            assert_eq!(parse_duration(text), Some((seconds, nanos)), "{text}");
        }
        assert_eq!(parse_duration("0.25s"), Some((0, 250_000_000)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in
            ["", "s", "1", "1 s", "+1s", "1.s", ".5s", "1.0000000001s", "1ms", "--1s", "315576000001s", "1e3s", "1.-5s"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        assert_eq!(print_duration(1, -1), None);
        assert_eq!(print_duration(i64::MIN, 0), None);
        assert_eq!(print_duration(0, i32::MIN), None);
    }

    #[test]
    fn timestamps_print_and_parse() {
        for (seconds, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (63_108_020, 21_000_000, "1972-01-01T10:00:20.021Z"),
            (951_782_400, 0, "2000-02-29T00:00:00Z"),
            (-1, 0, "1969-12-31T23:59:59Z"),
            (-62_135_596_800, 0, "0001-01-01T00:00:00Z"),
            (253_402_300_799, 999_999_999, "9999-12-31T23:59:59.999999999Z"),
        ] {
            assert_eq!(print_timestamp(seconds, nanos).as_deref(), Some(text));
            assert_eq!(parse_timestamp(text), Some((seconds, nanos)), "{text}");
        }
        assert_eq!(parse_timestamp("1970-01-01T01:30:00+01:30"), Some((0, 0)));
        assert_eq!(parse_timestamp("1969-12-31T23:00:00-01:00"), Some((0, 0)));
    }

    #[test]
    fn what_is_no_timestamp_is_refused() {
        for text in [
            "",
            "1970-01-01",
            "1970-01-01T00:00:00",
            "1970-13-01T00:00:00Z",
            "1970-02-29T00:00:00Z",
            "1970-00-01T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:00.Z",
            "10000-01-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "1970-01-01T00:00:00+1:00",
            "1970-01-01Té",
        ] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
        assert_eq!(print_timestamp(0, -1), None);
        assert_eq!(print_timestamp(i64::MAX, 0), None);
    }
}

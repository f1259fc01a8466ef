//! Times as `%START_TIME(format)%` prints them: strftime conversions in UTC, with Envoy's sub-second ones.

use std::io::Write as _;
use std::time::SystemTime;

use crate::resource::Problem;

/// A compiled time format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TimeFormat(Box<[Item]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Text(Box<str>),
    Number(Field, usize),
    /// Fraction of the second, in so many digits.
    Fraction(usize),
    /// Seconds with a fraction of so many digits.
    SecondsFraction(usize),
    /// Seconds since 1970.
    Unix,
    Weekday(bool),
    Month(bool),
    HalfOfDay,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Year,
    YearOfCentury,
    Month,
    Day,
    Hour,
    Hour12,
    Minute,
    Second,
    DayOfYear,
}

const WEEKDAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

impl TimeFormat {
    /// Compiles a format; empty is ISO 8601 in milliseconds.
    pub(super) fn compile(format: &str) -> Result<Self, Problem> {
        let mut items = Vec::new();
        parse(if format.is_empty() { "%Y-%m-%dT%H:%M:%E3SZ" } else { format }, &mut items)?;
        Ok(Self(items.into()))
    }

    /// Appends a time. One before 1970 is printed as 1970.
    pub(super) fn render(&self, time: SystemTime, out: &mut Vec<u8>) {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (seconds, nanos) = (since.as_secs(), since.subsec_nanos());
        let date = Date::of(seconds / 86_400);
        let of_day = seconds % 86_400;
        for item in &self.0 {
            // Writing to a vector cannot fail.
            let _ = match item {
                Item::Text(text) => out.write_all(text.as_bytes()),
                Item::Number(field, width) => {
                    let value = match field {
                        Field::Year => date.year,
                        Field::YearOfCentury => date.year % 100,
                        Field::Month => date.month,
                        Field::Day => date.day,
                        Field::Hour => of_day / 3600,
                        Field::Hour12 => (of_day / 3600 + 11) % 12 + 1,
                        Field::Minute => of_day / 60 % 60,
                        Field::Second => of_day % 60,
                        Field::DayOfYear => date.day_of_year,
                    };
                    write!(out, "{value:0width$}")
                }
                Item::Fraction(digits) => out.write_all(&format!("{nanos:09}").as_bytes()[..*digits]),
                Item::SecondsFraction(digits) => {
                    let _ = write!(out, "{:02}.", of_day % 60);
                    out.write_all(&format!("{nanos:09}").as_bytes()[..*digits])
                }
                Item::Unix => write!(out, "{seconds}"),
                Item::Weekday(full) => out.write_all(name(&WEEKDAYS, seconds / 86_400 % 7, *full).as_bytes()),
                Item::Month(full) => out.write_all(name(&MONTHS, date.month - 1, *full).as_bytes()),
                Item::HalfOfDay => out.write_all(if of_day < 43_200 { b"AM" } else { b"PM" }),
            };
        }
    }
}

fn name(names: &[&'static str], at: u64, full: bool) -> &'static str {
    let name = usize::try_from(at).ok().and_then(|at| names.get(at)).copied().unwrap_or_default();
    if full { name } else { name.get(..3).unwrap_or(name) }
}

fn parse(format: &str, items: &mut Vec<Item>) -> Result<(), Problem> {
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        push_text(&rest[..at], items);
        rest = &rest[at + 1..];
        let unknown = || Problem::Value(format!("({format}) is no time format"));
        let mut chars = rest.chars();
        let conversion = chars.next().ok_or_else(unknown)?;
        let mut taken = conversion.len_utf8();
        let number = |field, width| Item::Number(field, width);
        let item = match conversion {
            'Y' => number(Field::Year, 4),
            'y' => number(Field::YearOfCentury, 2),
            'm' => number(Field::Month, 2),
            'd' => number(Field::Day, 2),
            'e' => number(Field::Day, 1),
            'H' => number(Field::Hour, 2),
            'I' => number(Field::Hour12, 2),
            'M' => number(Field::Minute, 2),
            'S' => number(Field::Second, 2),
            'j' => number(Field::DayOfYear, 3),
            's' => Item::Unix,
            'f' => Item::Fraction(9),
            digit @ '1'..='9' if chars.next() == Some('f') => {
                taken += 1;
                Item::Fraction(digit as usize - '0' as usize)
            }
            // `%E3S`
            'E' => {
                let digits = chars.next().filter(|digit| matches!(digit, '1'..='9')).ok_or_else(unknown)?;
                if chars.next() != Some('S') {
                    return Err(unknown());
                }
                taken += 2;
                Item::SecondsFraction(digits as usize - '0' as usize)
            }
            'a' => Item::Weekday(false),
            'A' => Item::Weekday(true),
            'b' | 'h' => Item::Month(false),
            'B' => Item::Month(true),
            'p' => Item::HalfOfDay,
            'Z' => Item::Text("UTC".into()),
            'z' => Item::Text("+0000".into()),
            '%' => Item::Text("%".into()),
            'F' | 'T' | 'D' | 'R' => {
                let long = match conversion {
                    'F' => "%Y-%m-%d",
                    'T' => "%H:%M:%S",
                    'D' => "%m/%d/%y",
                    _ => "%H:%M",
                };
                parse(long, items)?;
                rest = &rest[taken..];
                continue;
            }
            _ => return Err(unknown()),
        };
        items.push(item);
        rest = &rest[taken..];
    }
    push_text(rest, items);
    Ok(())
}

fn push_text(text: &str, items: &mut Vec<Item>) {
    if !text.is_empty() {
        items.push(Item::Text(text.into()));
    }
}

struct Date {
    year: u64,
    month: u64,
    day: u64,
    day_of_year: u64,
}

impl Date {
    /// The date so many days after 1970-01-01, by the proleptic Gregorian calendar.
    fn of(days: u64) -> Self {
        // Counted from 0000-03-01, a leap day is the last of its year (Hinnant's `civil_from_days`).
        let shifted = days + 719_468;
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let from_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * from_march + 2) / 153;
        let day = from_march - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let leap = u64::from((year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400));
        let day_of_year = if month > 2 { from_march + 60 + leap } else { from_march - 305 };
        Self { year, month, day, day_of_year }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn print(format: &str, seconds: u64) -> String {
        let mut out = Vec::new();
        TimeFormat::compile(format)
            .unwrap()
            .render(SystemTime::UNIX_EPOCH + Duration::new(seconds, 123_456_789), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dates_are_gregorian_and_utc() {
        for (seconds, expected) in [
            (0, "1970-01-01 001 Thu Jan 00:00:00"),
            (951_782_400, "2000-02-29 060 Tue Feb 00:00:00"),
            (951_868_800, "2000-03-01 061 Wed Mar 00:00:00"),
            (1_703_980_799, "2023-12-30 364 Sat Dec 23:59:59"),
            (1_735_603_200, "2024-12-31 366 Tue Dec 00:00:00"),
            (4_107_542_400, "2100-03-01 060 Mon Mar 00:00:00"),
        ] {
            assert_eq!(print("%F %j %a %b %T", seconds), expected);
        }
    }

    #[test]
    fn fractions_and_the_default_are_envoys() {
        assert_eq!(print("%f %3f %6f %E3S %s", 61), "123456789 123 123456 01.123 61");
        assert_eq!(print("", 61), "1970-01-01T00:01:01.123Z");
        assert_eq!(
            print("%I %p %y %e %B %A %D %R %Z %z %%", 0),
            "12 AM 70 1 January Thursday 01/01/70 00:00 UTC +0000 %"
        );
    }

    #[test]
    fn unknown_conversions_are_refused() {
        for bad in ["%Q", "%", "%E", "%ExS", "%3d", "%E3M"] {
            assert!(TimeFormat::compile(bad).is_err(), "{bad}");
        }
    }
}

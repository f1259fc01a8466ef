//! How long a request may take: the route's timeouts combined with what the caller asked for.
//!
//! Envoy's rules: a route timeout (15 s when the route says nothing, 0 is none), gRPC deadlines from
//! `grpc-timeout` capped by `grpc_timeout_header_max` or `max_grpc_timeout`, and `max_stream_duration`. The
//! driver owns the clock; this room only computes.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

/// `grpc-timeout`, the deadline of a gRPC call as sent.
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// `x-envoy-expected-rq-timeout-ms`, the time the upstream has.
pub const EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");

/// The timeouts of a route, as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteTimeouts {
    /// `timeout`: the whole response; unset is 15 s, zero is none.
    pub timeout: Option<Duration>,
    /// `idle_timeout`: nothing moves for this long; `None` is the connection manager's.
    pub idle_timeout: Option<Duration>,
    /// `max_stream_duration.max_stream_duration`: the stream's absolute limit.
    pub max_stream_duration: Option<Duration>,
    /// `max_stream_duration.grpc_timeout_header_max`: honour `grpc-timeout` up to this (zero: any).
    pub grpc_timeout_header_max: Option<Duration>,
    /// `max_stream_duration.grpc_timeout_header_offset`, taken off the header's value, up to the maximum.
    pub grpc_timeout_header_offset: Option<Duration>,
    /// `max_grpc_timeout` (deprecated): as `grpc_timeout_header_max`, but a route timeout.
    pub max_grpc_timeout: Option<Duration>,
    /// `grpc_timeout_offset` (deprecated).
    pub grpc_timeout_offset: Option<Duration>,
}

/// Envoy's route timeout when the route says nothing.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

/// What is in force for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Timeouts {
    /// From the end of the request to the end of the response; `None` is no limit.
    pub response: Option<Duration>,
    /// From the start of the request to the end of the stream; `None` is no limit.
    pub stream: Option<Duration>,
    /// Each try, until its response headers; `None` is no limit.
    pub per_try: Option<Duration>,
    /// Without anything moving in either direction; `None` is no limit.
    pub idle: Option<Duration>,
    /// Whether `response` came from a gRPC deadline, and must be sent on as `grpc-timeout`.
    pub from_grpc: bool,
    /// Whether `stream` came from a gRPC deadline, and is sent on as `grpc-timeout`.
    pub stream_from_grpc: bool,
    /// Whether a try that takes longer than `per_try` goes on while the next one runs (`hedge_on_per_try_timeout`).
    pub hedge: bool,
}

impl Timeouts {
    /// The time that the upstream has for a try, when this much is `left` of the whole; `None` is any.
    #[must_use]
    #[inline]
    pub fn expected(&self, left: Option<Duration>) -> Option<Duration> {
        match (left, self.per_try) {
            // With hedging a try may take as long as the whole.
            (left, Some(_)) if self.hedge => left,
            (Some(left), Some(per_try)) => Some(left.min(per_try)),
            (left, per_try) => left.or(per_try),
        }
    }

    /// The same with a limit for the whole that the request asked for, and one for each try; zero is none.
    #[must_use]
    pub fn with_asked(self, whole: Option<Duration>, per_try: Option<Duration>) -> Self {
        let response = whole.map_or(self.response, set);
        Self { response, per_try: shorter(per_try, response), ..self }
    }
}

/// The limit of a try, if there is one and it is shorter than the whole: it never fires first otherwise.
fn shorter(per_try: Option<Duration>, whole: Option<Duration>) -> Option<Duration> {
    per_try.and_then(set).filter(|per_try| whole.is_none_or(|whole| *per_try < whole))
}

impl Default for RouteTimeouts {
    fn default() -> Self {
        Self::UNSET
    }
}

impl RouteTimeouts {
    /// A route that says nothing.
    pub const UNSET: Self = Self {
        timeout: None,
        idle_timeout: None,
        max_stream_duration: None,
        grpc_timeout_header_max: None,
        grpc_timeout_header_offset: None,
        max_grpc_timeout: None,
        grpc_timeout_offset: None,
    };

    /// What applies to a request with this `grpc-timeout`; `per_try` is the retry policy's, `grpc` whether the
    /// caller speaks gRPC. A route without an idle timeout has none here: the connection manager's counts then.
    #[must_use]
    pub fn decide(&self, grpc_timeout: Option<&HeaderValue>, grpc: bool, per_try: Option<Duration>) -> Timeouts {
        let mut response = set(self.timeout.unwrap_or(DEFAULT_TIMEOUT));
        let mut stream = self.max_stream_duration.and_then(set);
        let (mut from_grpc, mut stream_from_grpc) = (false, false);
        if self.max_grpc_timeout.is_some() || self.grpc_timeout_header_max.is_some() {
            let header = grpc_timeout.and_then(parse_grpc_timeout);
            if let Some(max) = self.max_grpc_timeout
                && grpc
            {
                response = route_deadline(header, max, self.grpc_timeout_offset);
                from_grpc = true;
            }
            if let Some(max) = self.grpc_timeout_header_max
                && let Some(header) = header
            {
                stream = Some(stream_deadline(header, max, self.grpc_timeout_header_offset));
                stream_from_grpc = true;
            }
        }
        let per_try = shorter(per_try, response);
        let idle = self.idle_timeout.and_then(set);
        Timeouts { response, stream, per_try, idle, from_grpc, stream_from_grpc, hedge: false }
    }
}

/// The smaller of header and maximum, where zero is none and no header means the maximum.
fn route_deadline(header: Option<Duration>, max: Duration, offset: Option<Duration>) -> Option<Duration> {
    let header = header.and_then(set).map(|value| match offset {
        // An offset that would leave nothing is not applied.
        Some(offset) if value > offset => value - offset,
        _ => value,
    });
    match (header, set(max)) {
        (Some(header), Some(max)) => Some(header.min(max)),
        (header, max) => header.or(max),
    }
}

/// The header up to the maximum, where a maximum of zero is none; the offset comes off that, and may leave nothing.
fn stream_deadline(header: Duration, max: Duration, offset: Option<Duration>) -> Duration {
    let capped = set(max).map_or(header, |max| header.min(max));
    capped.saturating_sub(offset.unwrap_or_default())
}

fn set(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}

/// Reads `grpc-timeout`: up to 8 digits and a unit of `H M S m u n`. Anything else is `None`.
#[must_use]
pub fn parse_grpc_timeout(value: &HeaderValue) -> Option<Duration> {
    let bytes = value.as_bytes();
    let (unit, digits) = bytes.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Writes a duration as `grpc-timeout` in milliseconds, as Envoy does; longer ones in the unit that fits 8 digits.
#[must_use]
pub fn format_grpc_timeout(timeout: Duration) -> HeaderValue {
    let millis = timeout.as_millis().max(1);
    let text = if millis < 100_000_000 {
        format!("{millis}m")
    } else if timeout.as_secs() < 100_000_000 {
        format!("{}S", timeout.as_secs())
    } else {
        format!("{}H", (timeout.as_secs() / 3600).min(99_999_999))
    };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("99999999H"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn header(grpc_timeout: Option<&'static str>) -> Option<HeaderValue> {
        grpc_timeout.map(HeaderValue::from_static)
    }

    #[test]
    fn an_unset_route_timeout_is_fifteen_seconds_and_zero_is_none() {
        assert_eq!(RouteTimeouts::UNSET.decide(header(None).as_ref(), true, None).response, Some(DEFAULT_TIMEOUT));
        let none = RouteTimeouts { timeout: Some(Duration::ZERO), ..RouteTimeouts::UNSET };
        assert_eq!(none.decide(header(None).as_ref(), true, None).response, None);
    }

    #[test]
    fn grpc_timeout_counts_only_when_the_route_honours_it() {
        assert_eq!(
            RouteTimeouts::UNSET.decide(header(Some("1S")).as_ref(), true, None).response,
            Some(DEFAULT_TIMEOUT)
        );
        let istio = RouteTimeouts {
            timeout: Some(Duration::ZERO),
            max_grpc_timeout: Some(Duration::ZERO),
            ..RouteTimeouts::UNSET
        };
        assert_eq!(istio.decide(header(Some("1S")).as_ref(), true, None).response, Some(SECOND));
        assert_eq!(istio.decide(header(None).as_ref(), true, None).response, None);
        let capped = RouteTimeouts { max_grpc_timeout: Some(SECOND), ..RouteTimeouts::UNSET };
        assert_eq!(capped.decide(header(Some("5S")).as_ref(), true, None).response, Some(SECOND));
    }

    #[test]
    fn the_offset_is_taken_off_unless_nothing_would_be_left() {
        let route = RouteTimeouts {
            max_grpc_timeout: Some(Duration::ZERO),
            grpc_timeout_offset: Some(Duration::from_millis(100)),
            ..RouteTimeouts::UNSET
        };
        assert_eq!(route.decide(header(Some("1S")).as_ref(), true, None).response, Some(Duration::from_millis(900)));
        assert_eq!(route.decide(header(Some("50m")).as_ref(), true, None).response, Some(Duration::from_millis(50)));
    }

    #[test]
    fn the_offset_of_a_stream_comes_off_the_capped_value_and_may_leave_nothing() {
        let route = |max, offset| RouteTimeouts {
            grpc_timeout_header_max: Some(Duration::from_millis(max)),
            grpc_timeout_header_offset: Some(Duration::from_millis(offset)),
            ..RouteTimeouts::UNSET
        };
        for (max, offset, sent, expected) in
            [(0, 100, "1S", 900), (500, 100, "1S", 400), (0, 100, "50m", 0), (500, 600, "1S", 0), (0, 0, "0m", 0)]
        {
            let timeouts = route(max, offset).decide(header(Some(sent)).as_ref(), true, None);
            assert_eq!(timeouts.stream, Some(Duration::from_millis(expected)), "{max} {offset} {sent}");
        }
        assert_eq!(route(500, 100).decide(None, true, None).stream, None, "without the header it does not apply");
    }

    #[test]
    fn the_older_deadline_is_for_grpc_callers_and_a_header_of_zero_is_none() {
        let route =
            RouteTimeouts { timeout: Some(SECOND), max_grpc_timeout: Some(Duration::ZERO), ..RouteTimeouts::UNSET };
        assert_eq!(route.decide(header(Some("5S")).as_ref(), false, None).response, Some(SECOND));
        assert_eq!(route.decide(header(Some("0S")).as_ref(), true, None).response, None);
    }

    #[test]
    fn the_upstream_is_told_the_shortest_limit() {
        let timeouts = Timeouts { response: Some(10 * SECOND), per_try: Some(4 * SECOND), ..Timeouts::default() };
        for (left, hedge, expected) in [
            (Some(10 * SECOND), false, Some(4 * SECOND)),
            (Some(3 * SECOND), false, Some(3 * SECOND)),
            (Some(10 * SECOND), true, Some(10 * SECOND)),
            (Some(Duration::ZERO), false, Some(Duration::ZERO)),
            (None, false, Some(4 * SECOND)),
            (None, true, None),
        ] {
            assert_eq!(Timeouts { hedge, ..timeouts }.expected(left), expected, "{left:?}, hedging {hedge}");
        }
    }

    #[test]
    fn what_a_request_asks_for_replaces_the_routes_limits_and_zero_is_none() {
        let route = Timeouts { response: Some(10 * SECOND), per_try: Some(4 * SECOND), ..Timeouts::default() };
        let asked = |whole, per_try| {
            let timeouts = route.with_asked(whole, per_try);
            (timeouts.response, timeouts.per_try)
        };
        assert_eq!(asked(None, Some(SECOND)), (Some(10 * SECOND), Some(SECOND)));
        assert_eq!(asked(Some(Duration::ZERO), Some(20 * SECOND)), (None, Some(20 * SECOND)));
        assert_eq!(asked(Some(SECOND), Some(SECOND)), (Some(SECOND), None));
        assert_eq!(asked(Some(SECOND), Some(Duration::ZERO)), (Some(SECOND), None));
        assert_eq!(asked(Some(Duration::MAX), Some(Duration::MAX)), (Some(Duration::MAX), None));
    }

    #[test]
    fn a_try_timeout_not_shorter_than_the_whole_is_ignored() {
        let route = RouteTimeouts { timeout: Some(SECOND), ..RouteTimeouts::UNSET };
        assert_eq!(route.decide(header(None).as_ref(), true, Some(SECOND)).per_try, None);
        assert_eq!(route.decide(header(None).as_ref(), true, Some(SECOND / 2)).per_try, Some(SECOND / 2));
    }

    #[test]
    fn grpc_timeout_is_read_and_written_in_every_unit() {
        for (text, expected) in [("2H", 7_200_000), ("3M", 180_000), ("4S", 4_000), ("5m", 5)] {
            assert_eq!(parse_grpc_timeout(&HeaderValue::from_static(text)), Some(Duration::from_millis(expected)));
        }
        for bad in ["", "5", "S", "123456789S", "1x", "-1S", "1.5S"] {
            assert_eq!(parse_grpc_timeout(&HeaderValue::from_static(bad)), None, "{bad}");
        }
        assert_eq!(format_grpc_timeout(5 * SECOND), "5000m");
        assert_eq!(format_grpc_timeout(Duration::from_secs(200_000)), "200000S");
        assert_eq!(format_grpc_timeout(Duration::from_nanos(1)), "1m");
    }

    proptest::proptest! {
        #[test]
        fn no_limit_is_nothing_and_a_try_has_less_than_the_whole(
            limits in proptest::collection::vec(proptest::option::of(any_duration()), 9),
            digits in 0..=99_999_999u32,
            unit in proptest::sample::select(vec!['H', 'M', 'S', 'm', 'u', 'n', 'x']),
            grpc: bool,
            hedge: bool,
        ) {
            let route = RouteTimeouts {
                timeout: limits[0],
                idle_timeout: limits[1],
                max_stream_duration: limits[2],
                grpc_timeout_header_max: limits[3],
                grpc_timeout_header_offset: limits[4],
                max_grpc_timeout: limits[5],
                grpc_timeout_offset: limits[6],
            };
            let sent = HeaderValue::from_str(&format!("{digits}{unit}")).unwrap();
            let timeouts = route.decide(Some(&sent), grpc, limits[7]).with_asked(limits[8], limits[7]);
            let timeouts = Timeouts { hedge, ..timeouts };
            proptest::prop_assert!(timeouts.response.is_none_or(|whole| !whole.is_zero()));
            proptest::prop_assert!(timeouts.per_try.is_none_or(|one| !one.is_zero()));
            if let (Some(whole), Some(per_try)) = (timeouts.response, timeouts.per_try) {
                proptest::prop_assert!(per_try < whole);
            }
            for left in [timeouts.response, Some(Duration::ZERO), None] {
                let told = timeouts.expected(left);
                proptest::prop_assert!(told.is_none_or(|told| parse_grpc_timeout(&format_grpc_timeout(told)).is_some()));
            }
        }
    }

    fn any_duration() -> impl proptest::strategy::Strategy<Value = Duration> {
        let hostile =
            vec![Duration::ZERO, Duration::from_nanos(1), SECOND, Duration::from_secs(315_576_000_000), Duration::MAX];
        proptest::sample::select(hostile)
    }
}

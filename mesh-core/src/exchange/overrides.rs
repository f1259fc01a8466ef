//! What a request from within asks for itself with `x-envoy-*` headers, and how it is combined with its route.
//!
//! Envoy's router filter: limits replace the route's, retry tokens come on top of them, hedging is switched on or off.
//! Who counts as being within, and that nobody else is heard, is `reserved`'s.

use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode};

use crate::engine::local_reply::{LocalReply, OVERLOADED};
use crate::engine::retry::{AskedRetry, Retry, number};
use crate::engine::routing::CompiledRoute;
use crate::engine::timeout::{EXPECTED_TIMEOUT, Timeouts};
use crate::resource::listener::HttpConnectionManager;

const TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-upstream-rq-timeout-ms");
const PER_TRY_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-upstream-rq-per-try-timeout-ms");
const HEDGE: HeaderName = HeaderName::from_static("x-envoy-hedge-on-per-try-timeout");
const ALT_RESPONSE: HeaderName = HeaderName::from_static("x-envoy-upstream-rq-timeout-alt-response");

/// What differs from the route for one request.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    timeout: Option<Duration>,
    per_try_timeout: Option<Duration>,
    hedge: Option<bool>,
    asked: Option<AskedRetry>,
    /// The route's policy with what is asked for, once the route is known.
    retry: Option<Retry>,
    manner: Manner,
}

/// How answers that are made here differ from what everybody gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Manner {
    /// A timeout is answered with 204 (`x-envoy-upstream-rq-timeout-alt-response`).
    timeout_is_empty: bool,
    /// No `x-envoy-*` headers are added (`suppress_envoy_headers`).
    silent: bool,
}

impl Overrides {
    /// Nothing is asked for, and no headers of the mesh's own are added.
    pub(super) fn silent() -> Self {
        Self { manner: Manner { silent: true, ..Manner::default() }, ..Self::default() }
    }

    /// What the headers of a request from within ask for.
    pub(super) fn read(headers: &HeaderMap, manager: &HttpConnectionManager) -> Self {
        let millis = |name: &HeaderName| headers.get(name).and_then(number).map(Duration::from_millis);
        let whole = if manager.respect_expected_rq_timeout && headers.contains_key(&EXPECTED_TIMEOUT) {
            &EXPECTED_TIMEOUT
        } else {
            &TIMEOUT
        };
        Self {
            timeout: millis(whole),
            per_try_timeout: millis(&PER_TRY_TIMEOUT),
            hedge: match headers.get(&HEDGE).map(http::HeaderValue::as_bytes) {
                Some(b"true") => Some(true),
                Some(b"false") => Some(false),
                _ => None,
            },
            asked: AskedRetry::read(headers),
            retry: None,
            manner: Manner {
                timeout_is_empty: headers.contains_key(&ALT_RESPONSE),
                silent: manager.suppress_envoy_headers,
            },
        }
    }

    /// Combines what is asked for with the route that was chosen.
    #[cold]
    pub(super) fn settle(&mut self, route: &CompiledRoute, timeouts: &mut Timeouts) {
        let policy = route.retry().map(|policy| &**policy);
        self.retry = self.asked.as_ref().and_then(|asked| Retry::asked(policy, asked));
        let per_try = self.per_try_timeout.or_else(|| policy?.per_try_timeout());
        *timeouts = timeouts.with_asked(self.timeout, per_try);
        timeouts.hedge = self.hedge.unwrap_or(timeouts.hedge);
    }

    /// The retry policy with what is asked for; `None` leaves the route's.
    pub(super) const fn retry(&self) -> Option<&Retry> {
        self.retry.as_ref()
    }

    pub(super) const fn manner(&self) -> Manner {
        self.manner
    }
}

impl Manner {
    /// Whether no headers of the mesh's own are added.
    pub(super) const fn is_silent(self) -> bool {
        self.silent
    }

    /// An answer in this manner.
    pub(super) fn apply(self, mut reply: LocalReply, is_timeout: bool) -> LocalReply {
        if self.silent {
            reply.headers.remove(OVERLOADED);
        }
        if self.timeout_is_empty && is_timeout {
            reply.status = StatusCode::NO_CONTENT;
            reply.body = bytes::Bytes::new();
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::routing::{ClusterId, RouteTable};
    use crate::resource::listener::RouteSource;
    use crate::resource::retry::{RetryOn, RetryPolicy};
    use crate::resource::route::{Forward, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost};

    const SECOND: Duration = Duration::from_secs(1);

    fn table(forward: Forward) -> RouteTable {
        let route = Route::new(RouteMatch::prefix("/"), RouteAction::Forward(Box::new(forward)));
        let host =
            VirtualHost { name: "h".into(), domains: vec!["*".into()], routes: vec![route], ..VirtualHost::default() };
        let config = RouteConfiguration { virtual_hosts: vec![host], ..RouteConfiguration::default() };
        RouteTable::compile(&config, &mut |_| ClusterId(0)).unwrap()
    }

    fn read(pairs: &[(&'static str, &str)], respects: bool) -> Overrides {
        let headers =
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
        let manager = HttpConnectionManager {
            respect_expected_rq_timeout: respects,
            ..HttpConnectionManager::new(RouteSource::Rds("r".into()))
        };
        Overrides::read(&headers, &manager)
    }

    /// Whole, per try, and whether it hedges.
    fn limits(pairs: &[(&'static str, &str)], respects: bool) -> (Option<Duration>, Option<Duration>, bool) {
        let policy =
            RetryPolicy { retry_on: RetryOn::FIVE_XX, per_try_timeout: Some(2 * SECOND), ..RetryPolicy::default() };
        let forward = Forward { timeout: Some(10 * SECOND), retry_policy: Some(Arc::new(policy)), ..Forward::to("c") };
        let table = table(forward);
        let route = &table.routes()[0];
        let mut timeouts = route.timeouts().decide(None, false, route.retry().unwrap().per_try_timeout());
        read(pairs, respects).settle(route, &mut timeouts);
        (timeouts.response, timeouts.per_try, timeouts.hedge)
    }

    #[test]
    fn limits_that_are_asked_for_replace_the_routes() {
        let whole = "x-envoy-upstream-rq-timeout-ms";
        let per_try = "x-envoy-upstream-rq-per-try-timeout-ms";
        let hedge = "x-envoy-hedge-on-per-try-timeout";
        let expected = "x-envoy-expected-rq-timeout-ms";
        let seconds = |count: u32| Some(count * SECOND);
        for (pairs, respects, limits_are) in [
            (&[][..], false, (seconds(10), seconds(2), false)),
            (&[(whole, "5000")], false, (seconds(5), seconds(2), false)),
            (&[(whole, " 1000 ")], false, (seconds(1), None, false)),
            (&[(whole, "0"), (per_try, "20000")], false, (None, seconds(20), false)),
            (&[(per_try, "0")], false, (seconds(10), None, false)),
            (&[(whole, "soon"), (per_try, "-1")], false, (seconds(10), seconds(2), false)),
            (&[(hedge, "true")], false, (seconds(10), seconds(2), true)),
            (&[(hedge, "yes")], false, (seconds(10), seconds(2), false)),
            (&[(expected, "3000"), (whole, "5000")], false, (seconds(5), seconds(2), false)),
            (&[(expected, "3000"), (whole, "5000")], true, (seconds(3), seconds(2), false)),
            (&[(whole, "5000")], true, (seconds(5), seconds(2), false)),
        ] {
            assert_eq!(limits(pairs, respects), limits_are, "{pairs:?}, respecting: {respects}");
        }
        let most = u64::MAX.to_string();
        let longest = Some(Duration::from_millis(u64::MAX));
        assert_eq!(limits(&[(whole, &most), (per_try, &most)], false), (longest, None, false));
    }

    #[test]
    fn a_timeout_is_answered_with_nothing_when_that_is_asked_for() {
        let manner = read(&[("x-envoy-upstream-rq-timeout-alt-response", "")], false).manner();
        let answer = manner.apply(LocalReply::response_timeout(), true);
        assert_eq!(
            (answer.status, answer.body.len(), &*answer.details),
            (StatusCode::NO_CONTENT, 0, "response_timeout")
        );
        assert_eq!(manner.apply(LocalReply::overflow(), false), LocalReply::overflow());
        let silent = Overrides::silent().manner().apply(LocalReply::overflow(), false);
        assert!(silent.headers.is_empty() && silent.status == StatusCode::SERVICE_UNAVAILABLE);
    }
}

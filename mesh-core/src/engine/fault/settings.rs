//! A fault's configuration, compiled: whom it hits and what it does, one draw for each kind.

use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};

use crate::engine::facts::RequestFacts;
use crate::engine::local_reply::LocalReply;
use crate::engine::matcher::HeaderMatch;
use crate::engine::random::Random;
use crate::resource::filter::{AbortError, Fault};
use crate::resource::metadata::Value;
use crate::resource::route::FractionalPercent;
use crate::resource::{FieldPath, Name, Problem};

/// `x-envoy-fault-delay-request`: milliseconds.
const DELAY: HeaderName = HeaderName::from_static("x-envoy-fault-delay-request");
/// Of how many requests.
const DELAY_PERCENTAGE: HeaderName = HeaderName::from_static("x-envoy-fault-delay-request-percentage");
/// `x-envoy-fault-abort-request`: an HTTP status.
const ABORT: HeaderName = HeaderName::from_static("x-envoy-fault-abort-request");
/// `x-envoy-fault-abort-grpc-request`: a gRPC status.
const ABORT_GRPC: HeaderName = HeaderName::from_static("x-envoy-fault-abort-grpc-request");
/// Of how many requests.
const ABORT_PERCENTAGE: HeaderName = HeaderName::from_static("x-envoy-fault-abort-request-percentage");
/// `x-envoy-fault-throughput-response`: KiB a second.
const THROUGHPUT: HeaderName = HeaderName::from_static("x-envoy-fault-throughput-response");
/// Of how many responses.
const THROUGHPUT_PERCENTAGE: HeaderName = HeaderName::from_static("x-envoy-fault-throughput-response-percentage");
/// Which proxy the request comes from.
const DOWNSTREAM_NODE: HeaderName = HeaderName::from_static("x-envoy-downstream-service-node");

/// What a filter or a route asks for. What hits nobody is left out.
#[derive(Clone, Debug, Default)]
pub struct FaultSettings {
    delay: Option<(Option<Duration>, FractionalPercent)>,
    abort: Option<(Abort, FractionalPercent)>,
    body: Option<Bytes>,
    rate: Option<(Option<u64>, FractionalPercent)>,
    upstream_cluster: Option<Name>,
    downstream_nodes: Box<[String]>,
    headers: Box<[HeaderMatch]>,
    pub(super) max_active: Option<u32>,
    pub(super) metadata: Option<Value>,
}

#[derive(Clone, Copy, Debug)]
enum Abort {
    Http(StatusCode),
    Grpc(u32),
    Header,
}

impl FaultSettings {
    /// Compiles a configuration; `at` is its place.
    ///
    /// # Errors
    /// Where and what: a status out of 200 to 599, a delay or a rate of 0, a fraction of nothing, a matcher that does not
    /// compile.
    pub fn compile(config: &Fault, at: &FieldPath) -> Result<Self, (FieldPath, Problem)> {
        let mut settings = Self {
            upstream_cluster: config.upstream_cluster.clone(),
            downstream_nodes: config.downstream_nodes.clone().into(),
            max_active: config.max_active_faults,
            metadata: config.filter_metadata.clone(),
            ..Self::default()
        };
        if let Some(delay) = &config.delay {
            let at = at.field("delay");
            if delay.fixed == Some(Duration::ZERO) {
                return Err((at.field("fixed_delay"), Problem::Value("must be greater than 0".to_owned())));
            }
            // As in Envoy, what is less than a millisecond is nothing.
            let whole =
                |time: Duration| time.saturating_sub(Duration::from_nanos(u64::from(time.subsec_nanos()) % 1_000_000));
            let fixed = delay.fixed.map(whole);
            settings.delay = hits(delay.percentage, &at)?.map(|share| (fixed, share));
        }
        if let Some(abort) = &config.abort {
            let at = at.field("abort");
            let error = match abort.error {
                AbortError::Http(status) => {
                    let known = StatusCode::from_u16(status).ok().filter(|_| (200..600).contains(&status));
                    let wrong = || Problem::Value(format!("{status} is not within 200 to 599"));
                    Abort::Http(known.ok_or_else(|| (at.field("http_status"), wrong()))?)
                }
                AbortError::Grpc(status) => Abort::Grpc(status),
                AbortError::Header => Abort::Header,
            };
            settings.abort = hits(abort.percentage, &at)?.map(|share| (error, share));
            settings.body = (!abort.response_body.is_empty()).then(|| Bytes::from(abort.response_body.clone()));
        }
        if let Some(limit) = &config.response_rate_limit {
            let at = at.field("response_rate_limit");
            if limit.fixed_kbps == Some(0) {
                let at = at.field("fixed_limit").field("limit_kbps");
                return Err((at, Problem::Value("must be greater than 0".to_owned())));
            }
            settings.rate = hits(limit.percentage, &at)?.map(|share| (limit.fixed_kbps, share));
        }
        let headers = config.headers.iter().enumerate().map(|(number, matcher)| {
            HeaderMatch::compile(matcher).map_err(|problem| (at.field("headers").index(number), problem))
        });
        settings.headers = headers.collect::<Result<_, _>>()?;
        Ok(settings)
    }

    /// Whether it never does anything.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.delay.is_none() && self.abort.is_none() && self.rate.is_none()
    }

    /// Whether a request is one of those that it is for. `cluster` is where its route sends it.
    pub(super) fn is_for(&self, request: &RequestFacts<'_>, cluster: Option<&str>) -> bool {
        self.upstream_cluster.as_deref().is_none_or(|wanted| cluster == Some(wanted))
            && (self.downstream_nodes.is_empty()
                || text(request.headers, &DOWNSTREAM_NODE)
                    .is_some_and(|node| self.downstream_nodes.iter().any(|wanted| wanted == node)))
            && self.headers.iter().all(|matcher| matcher.matches(request))
    }

    /// The bytes a second that this request's response may have.
    pub(super) fn rate(&self, headers: &HeaderMap, random: &mut Random) -> Option<NonZeroU64> {
        let (fixed, share) = self.rate?;
        if !falls(share, fixed.is_none().then_some(&THROUGHPUT_PERCENTAGE), headers, random) {
            return None;
        }
        let kbps: u64 = fixed.or_else(|| number(headers, &THROUGHPUT))?;
        NonZeroU64::new(kbps.saturating_mul(1024))
    }

    /// How long this request waits.
    pub(super) fn delay(&self, headers: &HeaderMap, random: &mut Random) -> Option<Duration> {
        let (fixed, share) = self.delay?;
        if !falls(share, fixed.is_none().then_some(&DELAY_PERCENTAGE), headers, random) {
            return None;
        }
        let delay = fixed.or_else(|| number(headers, &DELAY).map(Duration::from_millis))?;
        (!delay.is_zero()).then_some(delay)
    }

    /// What this request is answered.
    pub(super) fn abort(&self, headers: &HeaderMap, random: &mut Random) -> Option<LocalReply> {
        let (error, share) = self.abort?;
        let by_header = matches!(error, Abort::Header);
        if !falls(share, by_header.then_some(&ABORT_PERCENTAGE), headers, random) {
            return None;
        }
        let of_grpc = |status| LocalReply::fault_abort(StatusCode::OK).with_grpc_status(status);
        let mut reply = match error {
            Abort::Http(status) => LocalReply::fault_abort(status),
            Abort::Grpc(status) => of_grpc(status),
            // An HTTP status goes before one of gRPC.
            Abort::Header => {
                let status = number(headers, &ABORT).filter(|status| (200..600).contains(status));
                match status.and_then(|status: u16| StatusCode::from_u16(status).ok()) {
                    Some(status) => LocalReply::fault_abort(status),
                    None => of_grpc(number(headers, &ABORT_GRPC)?),
                }
            }
        };
        if let Some(body) = &self.body {
            reply.body = body.clone();
        }
        Some(reply)
    }
}

/// A share that anybody falls into.
fn hits(share: FractionalPercent, at: &FieldPath) -> Result<Option<FractionalPercent>, (FieldPath, Problem)> {
    share.judge().map_err(|problem| (at.field("percentage"), problem))?;
    Ok((share.numerator > 0).then_some(share))
}

/// One draw. A header may make the share smaller.
fn falls(share: FractionalPercent, by_header: Option<&HeaderName>, headers: &HeaderMap, random: &mut Random) -> bool {
    let asked = by_header.and_then(|name| number(headers, name)).unwrap_or(u32::MAX);
    FractionalPercent { numerator: share.numerator.min(asked), ..share }.takes(random.bits())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn number<T: FromStr>(headers: &HeaderMap, name: &HeaderName) -> Option<T> {
    text(headers, name)?.trim().parse().ok()
}

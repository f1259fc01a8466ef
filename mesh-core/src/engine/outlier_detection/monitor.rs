//! What requests do: count how they ended. No lock, no allocation; a success costs one atomic addition.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use http::HeaderMap;

use crate::engine::retry::{Outcome, Reset};
use crate::resource::outlier_detection::OutlierDetection;
use crate::state::{ClusterState, EndpointState, Origin, Streak};

/// How an attempt ended, as far as its host is judged by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Observation {
    /// The host answered with this HTTP status (or a gRPC status that stands for it).
    Status(u16),
    /// The host could not be reached, or the stream was reset before an answer.
    Failed,
    /// The host could not be reached, or did not answer, in time.
    TimedOut,
    /// There is a connection for the attempt, an old one or a new one: said before what comes of it.
    Connected,
}

impl Observation {
    /// What an outcome says of the host; `None` when it says nothing. `grpc`: the caller speaks gRPC.
    #[must_use]
    pub fn of(outcome: &Outcome<'_>, grpc: bool) -> Option<Self> {
        Some(match outcome {
            Outcome::Response { status, headers } => {
                // A status in the headers is that of a trailers-only answer; one in real trailers comes too late.
                let mapped = if grpc { trailers_only(headers) } else { None };
                Self::Status(mapped.unwrap_or(status.as_u16()))
            }
            // Our own limits are not the host's fault.
            Outcome::Reset(Reset::Overflow) => return None,
            Outcome::Reset(Reset::ConnectTimeout) | Outcome::TryTimeout => Self::TimedOut,
            Outcome::Reset(_) => Self::Failed,
        })
    }
}

fn trailers_only(headers: &HeaderMap) -> Option<u16> {
    let status = headers.get("grpc-status")?.to_str().ok()?.trim().parse().ok()?;
    Some(http_status(status))
}

/// The HTTP status that a gRPC status counts as (google.rpc.Code).
const fn http_status(grpc: u32) -> u16 {
    match grpc {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        // UNKNOWN, INTERNAL, DATA_LOSS, and whatever nobody defined.
        _ => 500,
    }
}

/// Tells the control side that something was detected. Called on the request path: it must not block.
#[derive(Clone, Default)]
pub struct Bell(Option<Arc<dyn Fn() + Send + Sync>>);

impl Bell {
    /// A bell that calls `ring`.
    pub fn new(ring: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(ring)))
    }

    fn ring(&self) {
        if let Some(ring) = &self.0 {
            ring();
        }
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bell").field(&self.0.is_some()).finish()
    }
}

/// The request path's half of a cluster's outlier detection.
#[derive(Debug)]
pub struct Monitor {
    limits: [u32; 3],
    is_split: bool,
    errors: Option<Box<[Range<u16>]>>,
    bell: Bell,
}

impl Monitor {
    /// Compiles the settings.
    #[must_use]
    pub fn new(config: &OutlierDetection, bell: Bell) -> Self {
        let mut limits = [0; 3];
        limits[Streak::GatewayFailure as usize] = config.consecutive_gateway_failure;
        limits[Streak::FiveXx as usize] = config.consecutive_5xx;
        limits[Streak::LocalOrigin as usize] = config.consecutive_local_origin_failure;
        let errors = config.errors.as_ref().map(|ranges| ranges.clone().into_boxed_slice());
        Self { limits, is_split: config.split_external_local_origin_errors, errors, bell }
    }

    /// Counts how an attempt to `endpoint` of `cluster` ended.
    pub fn observe(&self, cluster: &ClusterState, endpoint: &EndpointState, observation: Observation) {
        let detected = match (observation, self.is_split) {
            (Observation::Status(status), _) => self.status(endpoint, self.judged(status)),
            (Observation::Failed, false) => self.status(endpoint, 503),
            (Observation::TimedOut, false) => self.status(endpoint, 504),
            (Observation::Failed | Observation::TimedOut, true) => self.local(endpoint, false),
            (Observation::Connected, true) => self.local(endpoint, true),
            // What the host answers over the connection is what counts.
            (Observation::Connected, false) => false,
        };
        if detected && cluster.raise_detected() {
            self.bell.ring();
        }
    }

    /// The status that counts: where a list says what is an error, anything else is none.
    fn judged(&self, status: u16) -> u16 {
        match &self.errors {
            None => status,
            Some(errors) if errors.iter().any(|range| range.contains(&status)) => 500,
            Some(_) => 200,
        }
    }

    fn status(&self, endpoint: &EndpointState, status: u16) -> bool {
        let outcomes = endpoint.outcomes();
        let is_failure = (500..600).contains(&status);
        outcomes.count(Origin::External, !is_failure);
        if !is_failure {
            outcomes.end(Streak::FiveXx);
            outcomes.end(Streak::GatewayFailure);
            return false;
        }
        let gateway = if matches!(status, 502..=504) {
            outcomes.add(Streak::GatewayFailure, self.limit(Streak::GatewayFailure))
        } else {
            outcomes.end(Streak::GatewayFailure);
            false
        };
        outcomes.add(Streak::FiveXx, self.limit(Streak::FiveXx)) || gateway
    }

    fn local(&self, endpoint: &EndpointState, success: bool) -> bool {
        let outcomes = endpoint.outcomes();
        outcomes.count(Origin::Local, success);
        if success {
            outcomes.end(Streak::LocalOrigin);
            return false;
        }
        outcomes.add(Streak::LocalOrigin, self.limit(Streak::LocalOrigin))
    }

    const fn limit(&self, streak: Streak) -> u32 {
        self.limits[streak as usize]
    }
}

//! Why a request has no upstream response, with the flag that Envoy would log and whether a retry is safe.

use std::error::Error as StdError;

use http::StatusCode;
use mesh_core::engine::local_reply::{LocalReply, ResponseFlags};
use mesh_core::engine::retry::Reset;
use mesh_core::exchange::Unpicked;

/// An error of any kind, as bodies and inner services bring them.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Why there is no response, or no more of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The route names a cluster that does not exist.
    #[error("the cluster does not exist")]
    NoCluster,
    /// No host of the cluster can be picked.
    #[error("no healthy upstream")]
    NoHealthyHost,
    /// A circuit breaker threshold is reached.
    #[error("overflow: the cluster's limits are reached")]
    Overflow,
    /// A rate limit has no token for the request.
    #[error("local_rate_limited")]
    RateLimited,
    /// A part of the requests is not sent, as the control plane has it (`drop_overloads`), and this is one.
    #[error("drop overload")]
    DropOverload,
    /// The attempt was reset before a response.
    #[error("upstream connect error or disconnect/reset before headers. reset reason: {}", .reset.reason())]
    Reset {
        /// How.
        reset: Reset,
        /// What the connection said.
        #[source]
        source: Option<BoxError>,
    },
    /// The response broke off after its headers.
    #[error("the response ended early: {}", .reset.reason())]
    ResponseReset {
        /// How.
        reset: Reset,
        /// What the connection said.
        #[source]
        source: Option<BoxError>,
    },
    /// One try took longer than its own limit.
    #[error("per-try timeout")]
    TryTimeout,
    /// The request took longer than the route allows.
    #[error("upstream request timeout")]
    Timeout,
    /// The stream took longer than it may last at all.
    #[error("downstream duration timeout")]
    MaxDuration,
    /// Nothing moved in either direction for as long as the route or its listener allows.
    #[error("stream timeout")]
    StreamIdle {
        /// Whether the request had been sent whole: the upstream is to blame then, else the caller.
        request_complete: bool,
    },
    /// The request's own body failed.
    #[error("the request body failed")]
    RequestBody(#[source] BoxError),
    /// Retries ended without success; the last try's error is the source.
    #[error("retried, and the latest attempt failed too")]
    RetriesExhausted {
        /// The last try's error.
        #[source]
        last: Box<Self>,
    },
    /// The request asks for an upgrade that the upstream's protocol cannot make.
    #[error("the upgrade is not possible")]
    UpgradeFailed,
    /// A limit refused another try; the failed try's error is the source.
    #[error("overflow: the limit of retries is reached")]
    RetryOverflow {
        /// The last try's error.
        #[source]
        last: Box<Self>,
    },
    /// An inner service failed in a way of its own.
    #[error("upstream service error")]
    Upstream(#[source] BoxError),
}

impl Error {
    /// The reset, if this is one before the response.
    #[must_use]
    pub fn reset(&self) -> Option<Reset> {
        match self {
            Self::Reset { reset, .. } => Some(*reset),
            Self::Overflow => Some(Reset::Overflow),
            Self::RetriesExhausted { last } | Self::RetryOverflow { last } => last.reset(),
            _ => None,
        }
    }

    /// Whether a timeout of the route or of the last try passed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::TryTimeout | Self::Timeout => true,
            Self::RetriesExhausted { last } => last.is_timeout(),
            _ => false,
        }
    }

    /// The flags that Envoy's access log would show.
    #[must_use]
    pub fn response_flags(&self) -> ResponseFlags {
        match self {
            Self::NoCluster => ResponseFlags::NC,
            Self::NoHealthyHost => ResponseFlags::UH,
            Self::Overflow => ResponseFlags::UO,
            Self::RateLimited => ResponseFlags::RL,
            Self::DropOverload => ResponseFlags::DO,
            Self::Reset { reset, .. } | Self::ResponseReset { reset, .. } => flags_of(*reset),
            Self::TryTimeout | Self::Timeout => ResponseFlags::UT,
            Self::StreamIdle { .. } => ResponseFlags::SI,
            Self::MaxDuration | Self::UpgradeFailed | Self::Upstream(_) => ResponseFlags::NONE,
            Self::RequestBody(_) => ResponseFlags::DC,
            Self::RetriesExhausted { last } => ResponseFlags::URX | last.response_flags(),
            Self::RetryOverflow { last } => ResponseFlags::UO | last.response_flags(),
        }
    }

    /// Whether the upstream cannot have begun to work on the request, so that sending it again is safe
    /// whatever its method.
    #[must_use]
    pub fn is_retry_safe(&self) -> bool {
        match self {
            Self::NoCluster
            | Self::NoHealthyHost
            | Self::Overflow
            | Self::DropOverload
            | Self::RateLimited
            | Self::UpgradeFailed => true,
            Self::Reset { reset, .. } => reset.is_unprocessed(),
            Self::RetriesExhausted { last } | Self::RetryOverflow { last } => last.is_retry_safe(),
            _ => false,
        }
    }

    /// The answer that a caller gets in place of a response.
    #[must_use]
    pub fn local_reply(&self) -> LocalReply {
        self.reply(false)
    }

    fn reply(&self, retried: bool) -> LocalReply {
        match self {
            Self::NoCluster => LocalReply::cluster_not_found(StatusCode::SERVICE_UNAVAILABLE),
            Self::NoHealthyHost => LocalReply::no_healthy_upstream(),
            Self::Overflow => LocalReply::overflow(),
            Self::RateLimited => LocalReply::local_rate_limited(StatusCode::TOO_MANY_REQUESTS),
            Self::DropOverload => LocalReply::drop_overload(),
            Self::Reset { reset, source } | Self::ResponseReset { reset, source } => {
                let connecting = matches!(reset, Reset::ConnectFailure);
                let transport = source.as_ref().filter(|_| connecting).map(ToString::to_string).unwrap_or_default();
                LocalReply::upstream_reset(*reset, retried, &transport)
            }
            Self::TryTimeout => LocalReply::per_try_timeout(retried),
            Self::Timeout => LocalReply::response_timeout(),
            Self::MaxDuration => LocalReply::max_duration_timeout(),
            Self::StreamIdle { request_complete } => LocalReply::stream_idle_timeout(*request_complete),
            Self::UpgradeFailed => LocalReply::upgrade_failed(),
            Self::RequestBody(_) => LocalReply::new(
                StatusCode::BAD_REQUEST,
                "the request body failed",
                "downstream_remote_disconnect",
                ResponseFlags::DC,
            ),
            Self::Upstream(_) => {
                LocalReply::upstream_reset(Reset::ConnectionTermination { request_sent: true }, retried, "")
            }
            Self::RetriesExhausted { last } => last.reply(true),
            Self::RetryOverflow { last } => last.reply(retried).with_flags(ResponseFlags::UO),
        }
    }
}

const fn flags_of(reset: Reset) -> ResponseFlags {
    match reset {
        Reset::ConnectFailure | Reset::ConnectTimeout => ResponseFlags::UF,
        Reset::Overflow => ResponseFlags::UO,
        Reset::ProtocolError => ResponseFlags::UPE,
        Reset::RemoteReset | Reset::RemoteRefused => ResponseFlags::UR,
        _ => ResponseFlags::UC,
    }
}

impl From<Unpicked> for Error {
    fn from(unpicked: Unpicked) -> Self {
        match unpicked {
            Unpicked::NoCluster => Self::NoCluster,
            Unpicked::NoHealthyHost => Self::NoHealthyHost,
            Unpicked::Overflow => Self::Overflow,
            Unpicked::DropOverload => Self::DropOverload,
        }
    }
}

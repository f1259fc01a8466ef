//! How an attempt ended, as far as retries and statistics care.

use http::{HeaderMap, StatusCode};

use crate::resource::retry::RetryOn;

/// The end of an attempt, before a byte of its response went to the caller.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// Response headers arrived.
    Response {
        /// Their status.
        status: StatusCode,
        /// The headers; a trailers-only gRPC response has its `grpc-status` here.
        headers: &'a HeaderMap,
    },
    /// There was no response.
    Reset(Reset),
    /// The try's own timeout passed.
    TryTimeout,
}

/// Why there was no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reset {
    /// The connection was refused or broke while being made.
    ConnectFailure,
    /// The connection was not made in time.
    ConnectTimeout,
    /// The connection ended (FIN or RST) before response headers.
    ConnectionTermination {
        /// Whether any byte of the request may have been sent.
        request_sent: bool,
    },
    /// The peer reset the stream.
    RemoteReset,
    /// The peer never processed the request: `REFUSED_STREAM`, or a GOAWAY that excludes it.
    RemoteRefused,
    /// The peer broke the protocol.
    ProtocolError,
    /// A limit of ours refused the attempt; never retried.
    Overflow,
}

impl Reset {
    /// Envoy's reason, as in `... reset reason: connection termination`.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ConnectFailure => "remote connection failure",
            Self::ConnectTimeout => "connection timeout",
            Self::ConnectionTermination { .. } => "connection termination",
            Self::RemoteReset => "remote reset",
            Self::RemoteRefused => "remote refused stream reset",
            Self::ProtocolError => "protocol error",
            Self::Overflow => "overflow",
        }
    }

    /// Whether the peer cannot have begun to process the request, so that a retry is safe for any method.
    #[must_use]
    pub const fn is_unprocessed(self) -> bool {
        matches!(
            self,
            Self::ConnectFailure
                | Self::ConnectTimeout
                | Self::RemoteRefused
                | Self::Overflow
                | Self::ConnectionTermination { request_sent: false }
        )
    }

    /// The tokens that retry this reset.
    pub(super) const fn tokens(self) -> RetryOn {
        const ANY: RetryOn = RetryOn::FIVE_XX.union(RetryOn::GATEWAY_ERROR).union(RetryOn::RESET);
        match self {
            Self::Overflow => RetryOn::NONE,
            Self::ConnectFailure | Self::ConnectTimeout => {
                ANY.union(RetryOn::CONNECT_FAILURE).union(RetryOn::RESET_BEFORE_REQUEST)
            }
            Self::ConnectionTermination { request_sent: false } => ANY.union(RetryOn::RESET_BEFORE_REQUEST),
            Self::RemoteRefused => ANY.union(RetryOn::REFUSED_STREAM),
            Self::ConnectionTermination { request_sent: true } | Self::RemoteReset | Self::ProtocolError => ANY,
        }
    }
}

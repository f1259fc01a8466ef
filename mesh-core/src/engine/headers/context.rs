//! What format operators may print.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};

use crate::engine::facts::{ConnectionFacts, RequestFacts};
use crate::engine::response_flags::ResponseFlags;
use crate::resource::endpoint::Address;
use crate::resource::metadata::Metadata;

/// Everything known at the time of formatting. What is `None` or empty prints as missing.
#[derive(Clone, Copy, Debug)]
pub struct FormatContext<'a> {
    /// The downstream connection.
    pub connection: &'a ConnectionFacts,
    /// What filters found out.
    pub dynamic_metadata: &'a Metadata,
    /// Text by key that filters left for one another (`%FILTER_STATE%`).
    pub filter_state: Option<&'a BTreeMap<String, String>>,
    /// The request's head.
    pub request: Option<RequestFacts<'a>>,
    /// The response's head.
    pub response: Option<ResponseFacts<'a>>,
    /// The upstream that was chosen.
    pub upstream: Option<UpstreamFacts<'a>>,
    /// The route's name.
    pub route_name: &'a str,
    /// The cluster's name.
    pub cluster_name: &'a str,
    /// `%RESPONSE_FLAGS%`.
    pub flags: ResponseFlags,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub details: &'a str,
    /// The response is an answer of our own, which Envoy formats before it has a `%RESPONSE_CODE%`.
    pub made_here: bool,
    /// `%TRACE_ID%`.
    pub trace_id: &'a str,
    /// When the request began.
    pub start_time: Option<SystemTime>,
    /// How long it has taken.
    pub duration: Option<Duration>,
    /// Bytes of the response's body.
    pub bytes_sent: u64,
    /// Bytes of the request's body.
    pub bytes_received: u64,
    /// How many tries there were, for `x-envoy-attempt-count` in responses.
    pub attempts: Option<u32>,
    /// This process.
    pub node: Option<&'a NodeFacts>,
}

impl<'a> FormatContext<'a> {
    /// The context of a request that has not been sent yet. The request itself is filled in by whoever applies.
    #[must_use]
    pub const fn for_request(connection: &'a ConnectionFacts, dynamic_metadata: &'a Metadata) -> Self {
        Self {
            connection,
            dynamic_metadata,
            filter_state: None,
            request: None,
            response: None,
            upstream: None,
            route_name: "",
            cluster_name: "",
            flags: ResponseFlags::NONE,
            details: "",
            made_here: false,
            trace_id: "",
            start_time: None,
            duration: None,
            bytes_sent: 0,
            bytes_received: 0,
            attempts: None,
            node: None,
        }
    }
}

/// The head of a response.
#[derive(Clone, Copy, Debug)]
pub struct ResponseFacts<'a> {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// The upstream of a request.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamFacts<'a> {
    /// The host's address.
    pub host: &'a Address,
    /// The host's metadata.
    pub metadata: &'a Metadata,
}

/// What is known of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// `%HOSTNAME%`.
    pub hostname: String,
    /// `%ENVIRONMENT(X)%`.
    pub environment: BTreeMap<String, String>,
}

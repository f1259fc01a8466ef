//! Rate limits as configured: `envoy.config.route.v3.RateLimit`, what it makes of a request, and buckets of tokens.
//!
//! A rate limit describes a request by entries (a *descriptor*); a filter holds the buckets that descriptors draw from.

use std::net::IpAddr;
use std::time::Duration;

use super::matcher::HeaderMatcher;
use super::route::QueryParameterMatcher;

/// `envoy.type.v3.TokenBucket`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    /// The most tokens there are, and how many there are at first. 0 lets nothing pass.
    pub max_tokens: u32,
    /// How many are added every interval, above 0.
    pub tokens_per_fill: u32,
    /// The interval, 50 ms or more.
    pub fill_interval: Duration,
}

/// `RateLimit`: how to describe a request.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// Only filters of the same stage look at it, 0 to 10.
    pub stage: u32,
    /// It describes nothing here: `disable_key` (there is no runtime to ask; Envoy's local limit skips it as well), or
    /// `apply_on_stream_done`. A route that has one still has a rate limit.
    pub disabled: bool,
    /// One entry each, in order; one that makes none drops the descriptor.
    pub actions: Vec<RateLimitAction>,
    /// What a request costs.
    pub hits: Hits,
    /// `x_ratelimit_option`: whether responses tell the state of its bucket; `None` leaves it to the filter.
    pub x_ratelimit_headers: Option<bool>,
}

impl RateLimit {
    /// A limit of stage 0 by these actions, one token a request.
    #[must_use]
    pub const fn by(actions: Vec<RateLimitAction>) -> Self {
        Self { stage: 0, disabled: false, actions, hits: Hits::Take(1), x_ratelimit_headers: None }
    }
}

/// `hits_addend`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hits {
    /// So many tokens are taken, default 1.
    Take(u32),
    /// `is_negative_hits`: so many are given back.
    Give(u32),
}

/// `RateLimit.Action`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RateLimitAction {
    /// `source_cluster`: the service cluster of this node.
    SourceCluster,
    /// `destination_cluster`: the cluster of the request's route.
    DestinationCluster,
    /// `request_headers`: the first value of a header.
    RequestHeader {
        /// The header.
        name: String,
        /// The entry's key.
        key: String,
        /// Without the header there is no entry, but the descriptor stays.
        skip_if_absent: bool,
    },
    /// `query_parameters`: the first value of a query parameter.
    QueryParameter {
        /// The parameter.
        name: String,
        /// The entry's key.
        key: String,
        /// Without the parameter there is no entry, but the descriptor stays.
        skip_if_absent: bool,
    },
    /// `remote_address`: the caller's address.
    RemoteAddress,
    /// `masked_remote_address`: the caller's network.
    MaskedRemoteAddress {
        /// Bits of an IPv4 address, default 32.
        v4_prefix_len: u8,
        /// Bits of an IPv6 address, default 128.
        v6_prefix_len: u8,
    },
    /// `remote_address_match`: a fixed value, for some callers.
    RemoteAddressMatch {
        /// The entry's key, default `remote_address_match`.
        key: String,
        /// The entry's value.
        value: String,
        /// Address and bits; any of them.
        ranges: Vec<(IpAddr, u8)>,
        /// Callers outside of all ranges instead.
        invert: bool,
    },
    /// `generic_key`: a fixed value.
    GenericKey {
        /// The entry's key, default `generic_key`.
        key: String,
        /// The entry's value.
        value: String,
    },
    /// `header_value_match`: a fixed value, when all headers match.
    HeaderValueMatch {
        /// The entry's key, default `header_match`.
        key: String,
        /// The entry's value.
        value: String,
        /// `false`: when they do not match.
        expect_match: bool,
        /// The conditions, at least one.
        headers: Vec<HeaderMatcher>,
    },
    /// `query_parameter_value_match`: a fixed value, when all query parameters match.
    QueryParameterValueMatch {
        /// The entry's key, default `query_match`.
        key: String,
        /// The entry's value.
        value: String,
        /// `false`: when they do not match.
        expect_match: bool,
        /// The conditions, at least one.
        query_parameters: Vec<QueryParameterMatcher>,
    },
    /// `metadata`, or the older `dynamic_metadata`: a text in metadata.
    Metadata {
        /// The entry's key.
        key: String,
        /// Whose metadata.
        source: MetadataSource,
        /// The namespace.
        namespace: String,
        /// The path in it.
        path: Vec<String>,
        /// Taken where there is no text or an empty one; empty is none.
        default_value: String,
        /// Without a text there is no entry, but the descriptor stays.
        skip_if_absent: bool,
    },
}

/// `RateLimit.Action.MetaData.Source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataSource {
    /// What filters told.
    Dynamic,
    /// The route's.
    Route,
}

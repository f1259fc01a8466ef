//! `RateLimit`, wherever it stands: in a virtual host, a route, or the filter itself. `TokenBucket` too.
//!
//! An action that cannot be carried out refuses the resource: without it a limit would not hold.

use std::net::IpAddr;

use mesh_core::resource::Problem;
use mesh_core::resource::rate_limit::{Hits, MetadataSource, RateLimit, RateLimitAction, TokenBucket};
use mesh_proto::envoy::config::core::v3::CidrRange;
use mesh_proto::envoy::config::route::v3 as pb;
use mesh_proto::envoy::r#type::metadata::v3::MetadataKey;
use mesh_proto::envoy::r#type::v3 as types;
use pb::rate_limit::action::{self, ActionSpecifier as Specifier};
use pb::rate_limit::{Action, HitsAddend, XRateLimitOption};

use super::matcher;
use super::refused::{At, Refused, refuse, unsupported};
use super::route::query_parameter;
use super::scalar::{cidr, duration, flag_or, known, number};

/// Where a list of rate limits stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a virtual host or a route.
    Route,
    /// In the filter: Envoy takes fewer fields there.
    Filter,
}

/// `rate_limits`; `at` is the list.
pub(super) fn rate_limits(at: &At<'_>, list: &[pb::RateLimit], place: Place) -> Result<Vec<RateLimit>, Refused> {
    list.iter().enumerate().map(|(index, one)| rate_limit(&at.index(index), one, place)).collect()
}

fn rate_limit(at: &At<'_>, message: &pb::RateLimit, place: Place) -> Result<RateLimit, Refused> {
    if place == Place::Filter {
        let set = [
            ("stage", message.stage.is_some()),
            ("disable_key", !message.disable_key.is_empty()),
            ("limit", message.limit.is_some()),
        ];
        if let Some((field, _)) = set.iter().find(|(_, set)| *set) {
            return Err(refuse(&at.field(field), "may not be set in a filter's own rate limits"));
        }
    }
    let actions_at = at.field("actions");
    let actions = message.actions.iter().enumerate().map(|(index, one)| action(&actions_at.index(index), one));
    Ok(RateLimit {
        stage: number(message.stage).unwrap_or(0),
        disabled: !message.disable_key.is_empty() || message.apply_on_stream_done,
        actions: actions.collect::<Result<_, _>>()?,
        hits: match &message.hits_addend {
            None => Hits::Take(1),
            Some(addend) => hits(&at.field("hits_addend"), addend)?,
        },
        x_ratelimit_headers: match known(&at.field("x_ratelimit_option"), message.x_ratelimit_option)? {
            XRateLimitOption::Unspecified => None,
            XRateLimitOption::Off => Some(false),
            XRateLimitOption::DraftVersion03 => Some(true),
        },
    })
}

fn hits(at: &At<'_>, message: &HitsAddend) -> Result<Hits, Refused> {
    if !message.format.is_empty() {
        return Err(unsupported(&at.field("format"), "a cost by format string"));
    }
    let Some(number) = message.number else {
        return Err(refuse(&at.field("number"), Problem::Missing));
    };
    let number = u32::try_from(number.value).map_err(|_| refuse(&at.field("number"), "is above 1000000000"))?;
    Ok(if message.is_negative_hits { Hits::Give(number) } else { Hits::Take(number) })
}

fn action(at: &At<'_>, message: &Action) -> Result<RateLimitAction, Refused> {
    let keyed = |key: &str, default: &str| if key.is_empty() { default.to_owned() } else { key.to_owned() };
    Ok(match &message.action_specifier {
        None => return Err(refuse(&at.field("action_specifier"), Problem::Missing)),
        Some(Specifier::SourceCluster(_)) => RateLimitAction::SourceCluster,
        Some(Specifier::DestinationCluster(_)) => RateLimitAction::DestinationCluster,
        Some(Specifier::RequestHeaders(one)) => RateLimitAction::RequestHeader {
            name: one.header_name.clone(),
            key: one.descriptor_key.clone(),
            skip_if_absent: one.skip_if_absent,
        },
        Some(Specifier::QueryParameters(one)) => RateLimitAction::QueryParameter {
            name: one.query_parameter_name.clone(),
            key: one.descriptor_key.clone(),
            skip_if_absent: one.skip_if_absent,
        },
        Some(Specifier::RemoteAddress(_)) => RateLimitAction::RemoteAddress,
        Some(Specifier::MaskedRemoteAddress(one)) => {
            let at = at.field("masked_remote_address");
            let bits = |field: &str, value, most: u8| match number(value) {
                None => Ok(most),
                Some(bits) => u8::try_from(bits)
                    .ok()
                    .filter(|bits| *bits <= most)
                    .ok_or_else(|| refuse(&at.field(field), format!("{bits} is above {most}"))),
            };
            RateLimitAction::MaskedRemoteAddress {
                v4_prefix_len: bits("v4_prefix_mask_len", one.v4_prefix_mask_len, 32)?,
                v6_prefix_len: bits("v6_prefix_mask_len", one.v6_prefix_mask_len, 128)?,
            }
        }
        Some(Specifier::RemoteAddressMatch(one)) => {
            let at = at.field("remote_address_match");
            let Some(matcher) = &one.address_matcher else {
                return Err(refuse(&at.field("address_matcher"), Problem::Missing));
            };
            let at = at.field("address_matcher");
            let at = at.field("ranges");
            // The same message under another name.
            let ranges = matcher.ranges.iter().enumerate().map(|(index, range)| {
                let range = CidrRange { address_prefix: range.address_prefix.clone(), prefix_len: range.prefix_len };
                cidr(&at.index(index), &range)
            });
            RateLimitAction::RemoteAddressMatch {
                key: keyed(&one.descriptor_key, "remote_address_match"),
                value: one.descriptor_value.clone(),
                ranges: ranges.collect::<Result<Vec<(IpAddr, u8)>, _>>()?,
                invert: matcher.invert_match,
            }
        }
        Some(Specifier::GenericKey(one)) => RateLimitAction::GenericKey {
            key: keyed(&one.descriptor_key, "generic_key"),
            value: one.descriptor_value.clone(),
        },
        Some(Specifier::HeaderValueMatch(one)) => {
            let at = at.field("header_value_match");
            RateLimitAction::HeaderValueMatch {
                key: keyed(&one.descriptor_key, "header_match"),
                value: one.descriptor_value.clone(),
                expect_match: flag_or(one.expect_match, true),
                headers: matcher::headers(&at.field("headers"), &one.headers)?,
            }
        }
        Some(Specifier::QueryParameterValueMatch(one)) => {
            let at = at.field("query_parameter_value_match");
            let at = at.field("query_parameters");
            let parameters =
                one.query_parameters.iter().enumerate().map(|(index, one)| query_parameter(&at.index(index), one));
            RateLimitAction::QueryParameterValueMatch {
                key: keyed(&one.descriptor_key, "query_match"),
                value: one.descriptor_value.clone(),
                expect_match: flag_or(one.expect_match, true),
                query_parameters: parameters.collect::<Result<_, _>>()?,
            }
        }
        Some(Specifier::DynamicMetadata(one)) => {
            let at = at.field("dynamic_metadata");
            let (namespace, path) = metadata_key(&at.field("metadata_key"), one.metadata_key.as_ref())?;
            RateLimitAction::Metadata {
                key: one.descriptor_key.clone(),
                source: MetadataSource::Dynamic,
                namespace,
                path,
                default_value: one.default_value.clone(),
                skip_if_absent: false,
            }
        }
        Some(Specifier::Metadata(one)) => metadata(&at.field("metadata"), one)?,
        Some(Specifier::Extension(extension)) => {
            let what = format!("a rate limit descriptor by extension {:?}", extension.name);
            return Err(unsupported(&at.field("extension"), what));
        }
    })
}

fn metadata(at: &At<'_>, message: &action::MetaData) -> Result<RateLimitAction, Refused> {
    use action::meta_data::Source;
    let source_at = at.field("source");
    let source = match known(&source_at, message.source)? {
        Source::Dynamic => MetadataSource::Dynamic,
        Source::RouteEntry => MetadataSource::Route,
        Source::ClusterEntry | Source::ClusterLocalityEntry => {
            return Err(unsupported(&source_at, "a descriptor from metadata of clusters"));
        }
    };
    let (namespace, path) = metadata_key(&at.field("metadata_key"), message.metadata_key.as_ref())?;
    Ok(RateLimitAction::Metadata {
        key: message.descriptor_key.clone(),
        source,
        namespace,
        path,
        default_value: message.default_value.clone(),
        skip_if_absent: message.skip_if_absent,
    })
}

fn metadata_key(at: &At<'_>, message: Option<&MetadataKey>) -> Result<(String, Vec<String>), Refused> {
    use mesh_proto::envoy::r#type::metadata::v3::metadata_key::path_segment::Segment;
    let Some(message) = message else {
        return Err(refuse(at, Problem::Missing));
    };
    let path_at = at.field("path");
    let path = message.path.iter().enumerate().map(|(index, one)| match &one.segment {
        Some(Segment::Key(key)) => Ok(key.clone()),
        Some(Segment::Index(_)) => Err(unsupported(&path_at.index(index).field("index"), "a place in a list")),
        None => Err(refuse(&path_at.index(index).field("segment"), Problem::Missing)),
    });
    Ok((message.key.clone(), path.collect::<Result<_, _>>()?))
}

/// A `TokenBucket`. Which intervals are too short the engine says.
pub(super) fn token_bucket(at: &At<'_>, message: &types::TokenBucket) -> Result<TokenBucket, Refused> {
    let at_interval = at.field("fill_interval");
    let Some(fill_interval) = duration(&at_interval, message.fill_interval)? else {
        return Err(refuse(&at_interval, Problem::Missing));
    };
    Ok(TokenBucket {
        max_tokens: message.max_tokens,
        tokens_per_fill: number(message.tokens_per_fill).unwrap_or(1),
        fill_interval,
    })
}

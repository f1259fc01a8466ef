//! Rate limits of routes, virtual hosts and filters, compiled: from a request to its descriptors.

use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use super::descriptor::{Descriptor, Descriptors, Entry, Text};
use crate::engine::facts::RequestFacts;
use crate::engine::matcher::{HeaderKey, HeaderMatch, StringMatch};
use crate::resource::metadata::{Metadata, Value};
use crate::resource::rate_limit::{Hits, MetadataSource, RateLimit, RateLimitAction};
use crate::resource::route::{QueryParameterMatcher, QuerySpecifier};
use crate::resource::{FieldPath, Problem};

/// The highest stage there is.
pub const MAX_STAGE: u32 = 10;

/// A list of rate limits, compiled.
#[derive(Clone, Debug, Default)]
pub struct RateLimits(Arc<[Policy]>);

/// What a route and its virtual host say, for routes of which one says something.
#[derive(Clone, Debug)]
pub struct RouteRateLimits {
    /// The route's.
    pub route: RateLimits,
    /// The virtual host's.
    pub virtual_host: RateLimits,
    /// `include_vh_rate_limits`: the virtual host's count whatever the filter says.
    pub include_virtual_host: bool,
}

/// One rate limit.
#[derive(Debug)]
struct Policy {
    stage: u32,
    disabled: bool,
    actions: Box<[Action]>,
    hits: Hits,
    x_ratelimit_headers: Option<bool>,
}

/// What actions look at.
#[derive(Clone, Copy, Debug)]
pub struct ActionCx<'a> {
    /// The request.
    pub facts: &'a RequestFacts<'a>,
    /// The cluster that was chosen.
    pub cluster: Option<&'a str>,
    /// The route's metadata.
    pub route_metadata: &'a Metadata,
    /// The service cluster of this node.
    pub service_cluster: &'a str,
}

impl RateLimits {
    /// Compiles a list; `at` is its place.
    ///
    /// # Errors
    /// Where and what is wrong: a stage above 10, no actions, a header or matcher that does not compile.
    pub fn compile(config: &[RateLimit], at: &FieldPath) -> Result<Self, (FieldPath, Problem)> {
        let policies = config.iter().enumerate().map(|(index, one)| Policy::compile(one, &at.index(index)));
        Ok(Self(policies.collect::<Result<_, _>>()?))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what those of `stage` (`None`: all of them) say of a request.
    pub fn describe<'a>(&'a self, stage: Option<u32>, cx: &ActionCx<'a>, out: &mut Descriptors<'a>) {
        let counts = |one: &&Policy| !one.disabled && stage.is_none_or(|stage| stage == one.stage);
        for policy in self.0.iter().filter(counts) {
            policy.describe(cx, out);
        }
    }
}

impl Policy {
    fn compile(config: &RateLimit, at: &FieldPath) -> Result<Self, (FieldPath, Problem)> {
        if config.stage > MAX_STAGE {
            let why = format!("{} is above {MAX_STAGE}", config.stage);
            return Err((at.field("stage"), Problem::Value(why)));
        }
        let actions_at = at.field("actions");
        if config.actions.is_empty() {
            return Err((actions_at, Problem::Missing));
        }
        let actions =
            config.actions.iter().enumerate().map(|(index, one)| Action::compile(one, &actions_at.index(index)));
        Ok(Self {
            stage: config.stage,
            disabled: config.disabled,
            actions: actions.collect::<Result<_, _>>()?,
            hits: config.hits,
            x_ratelimit_headers: config.x_ratelimit_headers,
        })
    }

    /// In place: a descriptor is large, and moving it costs more than describing.
    fn describe<'a>(&'a self, cx: &ActionCx<'a>, out: &mut Descriptors<'a>) {
        out.push(Descriptor {
            entries: SmallVec::new(),
            hits: self.hits,
            x_ratelimit_headers: self.x_ratelimit_headers,
        });
        let Some(descriptor) = out.last_mut() else { return };
        for action in &self.actions {
            match action.entry(cx) {
                Made::Entry(entry) => descriptor.entries.push(entry),
                Made::Left => {}
                Made::Nothing => {
                    out.pop();
                    return;
                }
            }
        }
    }
}

/// What an action makes of a request.
enum Made<'a> {
    Entry(Entry<'a>),
    /// No entry, and that is all right.
    Left,
    /// No entry, so that there is no descriptor.
    Nothing,
}

#[derive(Debug)]
enum Action {
    SourceCluster,
    DestinationCluster,
    Header { name: HeaderKey, key: Box<str>, skip: bool },
    Query { name: Box<str>, key: Box<str>, skip: bool },
    Remote,
    Masked { v4: u8, v6: u8 },
    RemoteMatch { fixed: Fixed, ranges: Box<[(IpAddr, u8)]>, invert: bool },
    Always(Fixed),
    HeaderMatch { fixed: Fixed, expect: bool, headers: Box<[HeaderMatch]> },
    QueryMatch { fixed: Fixed, expect: bool, parameters: Box<[Parameter]> },
    Metadata(Box<FromMetadata>),
}

#[derive(Debug)]
struct Fixed {
    key: Box<str>,
    value: Box<[u8]>,
}

#[derive(Debug)]
struct Parameter {
    name: Box<str>,
    /// `Err` says whether it must be there.
    want: Result<StringMatch, bool>,
}

#[derive(Debug)]
struct FromMetadata {
    key: Box<str>,
    source: MetadataSource,
    namespace: Box<str>,
    path: Box<[Box<str>]>,
    default_value: Box<[u8]>,
    skip: bool,
}

impl Action {
    fn compile(config: &RateLimitAction, at: &FieldPath) -> Result<Self, (FieldPath, Problem)> {
        let named = |text: &str, at: FieldPath| {
            if text.is_empty() { Err((at, Problem::Missing)) } else { Ok(Box::<str>::from(text)) }
        };
        let fixed = |key: &str, value: &str, at: &FieldPath| {
            let value = named(value, at.field("descriptor_value"))?;
            Ok(Fixed { key: named(key, at.field("descriptor_key"))?, value: value.into_boxed_bytes() })
        };
        Ok(match config {
            RateLimitAction::SourceCluster => Self::SourceCluster,
            RateLimitAction::DestinationCluster => Self::DestinationCluster,
            RateLimitAction::RequestHeader { name, key, skip_if_absent } => {
                let at = at.field("request_headers");
                let name = HeaderKey::parse(name).map_err(|problem| (at.field("header_name"), problem))?;
                Self::Header { name, key: named(key, at.field("descriptor_key"))?, skip: *skip_if_absent }
            }
            RateLimitAction::QueryParameter { name, key, skip_if_absent } => {
                let at = at.field("query_parameters");
                let name = named(name, at.field("query_parameter_name"))?;
                Self::Query { name, key: named(key, at.field("descriptor_key"))?, skip: *skip_if_absent }
            }
            RateLimitAction::RemoteAddress => Self::Remote,
            RateLimitAction::MaskedRemoteAddress { v4_prefix_len, v6_prefix_len } => {
                let at = at.field("masked_remote_address");
                let bits = |bits: u8, most: u8, field: &str| {
                    let wrong = || (at.field(field), Problem::Value(format!("{bits} is above {most}")));
                    if bits > most { Err(wrong()) } else { Ok(bits) }
                };
                Self::Masked {
                    v4: bits(*v4_prefix_len, 32, "v4_prefix_mask_len")?,
                    v6: bits(*v6_prefix_len, 128, "v6_prefix_mask_len")?,
                }
            }
            RateLimitAction::RemoteAddressMatch { key, value, ranges, invert } => Self::RemoteMatch {
                fixed: fixed(key, value, &at.field("remote_address_match"))?,
                ranges: ranges.clone().into(),
                invert: *invert,
            },
            RateLimitAction::GenericKey { key, value } => Self::Always(fixed(key, value, &at.field("generic_key"))?),
            RateLimitAction::HeaderValueMatch { key, value, expect_match, headers } => {
                let at = at.field("header_value_match");
                let list = at.field("headers");
                Self::HeaderMatch {
                    fixed: fixed(key, value, &at)?,
                    expect: *expect_match,
                    headers: each(headers, &list, HeaderMatch::compile)?,
                }
            }
            RateLimitAction::QueryParameterValueMatch { key, value, expect_match, query_parameters } => {
                let at = at.field("query_parameter_value_match");
                let list = at.field("query_parameters");
                Self::QueryMatch {
                    fixed: fixed(key, value, &at)?,
                    expect: *expect_match,
                    parameters: each(query_parameters, &list, Parameter::compile)?,
                }
            }
            RateLimitAction::Metadata { key, source, namespace, path, default_value, skip_if_absent } => {
                let at = at.field("metadata");
                let key_at = at.field("metadata_key");
                let steps = path.iter().enumerate().map(|(index, step)| {
                    let at = key_at.field("path").index(index);
                    named(step, at.field("key"))
                });
                Self::Metadata(Box::new(FromMetadata {
                    key: named(key, at.field("descriptor_key"))?,
                    source: *source,
                    namespace: named(namespace, key_at.field("key"))?,
                    path: steps.collect::<Result<_, _>>()?,
                    default_value: default_value.clone().into_bytes().into(),
                    skip: *skip_if_absent,
                }))
            }
        })
    }

    #[inline]
    fn entry<'a>(&'a self, cx: &ActionCx<'a>) -> Made<'a> {
        let remote = || cx.facts.connection.remote.map(|remote| remote.ip().to_canonical());
        let found = |skip: bool, entry: Option<Entry<'a>>| match entry {
            Some(entry) => Made::Entry(entry),
            None if skip => Made::Left,
            None => Made::Nothing,
        };
        match self {
            Self::SourceCluster => Made::Entry(Entry::new("source_cluster", cx.service_cluster.as_bytes())),
            Self::DestinationCluster => {
                found(false, cx.cluster.map(|cluster| Entry::new("destination_cluster", cluster.as_bytes())))
            }
            Self::Header { name, key, skip } => found(*skip, name.first(cx.facts).map(|value| Entry::new(key, value))),
            Self::Query { name, key, skip } => {
                let value = parameter(cx.facts.query(), name);
                found(*skip, value.map(|value| Entry { key, value }))
            }
            Self::Remote => found(false, remote().map(|ip| Entry { key: "remote_address", value: address(ip, None) })),
            Self::Masked { v4, v6 } => found(
                false,
                remote().map(|ip| {
                    let bits = if ip.is_ipv4() { *v4 } else { *v6 };
                    Entry { key: "masked_remote_address", value: address(masked(ip, bits), Some(bits)) }
                }),
            ),
            Self::RemoteMatch { fixed, ranges, invert } => {
                let within = |ip| ranges.iter().any(|(net, bits)| within(*net, *bits, ip));
                fixed.when(remote().is_some_and(|ip| within(ip) != *invert))
            }
            Self::Always(fixed) => fixed.when(true),
            Self::HeaderMatch { fixed, expect, headers } => {
                fixed.when(headers.iter().all(|one| one.matches(cx.facts)) == *expect)
            }
            Self::QueryMatch { fixed, expect, parameters } => {
                fixed.when(parameters.iter().all(|one| one.matches(cx.facts.query())) == *expect)
            }
            Self::Metadata(from) => found(from.skip, from.entry(cx)),
        }
    }
}

impl Fixed {
    fn when(&self, holds: bool) -> Made<'_> {
        if holds { Made::Entry(Entry::new(&self.key, &self.value)) } else { Made::Nothing }
    }
}

impl Parameter {
    fn compile(config: &QueryParameterMatcher) -> Result<Self, Problem> {
        if config.name.is_empty() {
            return Err(Problem::from("needs a name"));
        }
        let want = match &config.specifier {
            QuerySpecifier::Present(present) => Err(*present),
            QuerySpecifier::String(string) => Ok(StringMatch::compile(string)?),
        };
        Ok(Self { name: config.name.as_str().into(), want })
    }

    fn matches(&self, query: Option<&str>) -> bool {
        let value = parameter(query, &self.name);
        match &self.want {
            Err(present) => value.is_some() == *present,
            Ok(string) => value.is_some_and(|value| string.matches(value.bytes())),
        }
    }
}

impl FromMetadata {
    fn entry<'a>(&'a self, cx: &ActionCx<'a>) -> Option<Entry<'a>> {
        let metadata = match self.source {
            MetadataSource::Dynamic => cx.facts.dynamic_metadata,
            MetadataSource::Route => cx.route_metadata,
        };
        let value = metadata.get(&*self.namespace).and_then(|value| value.at(self.path.iter().map(|key| &**key)));
        let text = value.and_then(Value::as_text).map(str::as_bytes).filter(|text| !text.is_empty());
        let text = text.or((!self.default_value.is_empty()).then_some(&*self.default_value))?;
        Some(Entry::new(&self.key, text))
    }
}

fn each<T, U>(
    list: &[T],
    at: &FieldPath,
    compile: impl Fn(&T) -> Result<U, Problem>,
) -> Result<Box<[U]>, (FieldPath, Problem)> {
    if list.is_empty() {
        return Err((at.clone(), Problem::Missing));
    }
    list.iter().enumerate().map(|(index, one)| compile(one).map_err(|problem| (at.index(index), problem))).collect()
}

fn address<'a>(ip: IpAddr, bits: Option<u8>) -> Text<'a> {
    let mut sink = Sink(SmallVec::new());
    // It takes whatever is written to it.
    let _ = match bits {
        None => write!(sink, "{ip}"),
        Some(bits) => write!(sink, "{ip}/{bits}"),
    };
    Text::Made(sink.0)
}

struct Sink(SmallVec<[u8; 64]>);

impl fmt::Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

fn masked(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            IpAddr::V4((u32::from(ip) & mask).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            IpAddr::V6((u128::from(ip) & mask).into())
        }
    }
}

fn within(net: IpAddr, bits: u8, ip: IpAddr) -> bool {
    net.is_ipv4() == ip.is_ipv4() && masked(net, bits) == masked(ip, bits)
}

/// The first value of a query parameter. Unlike route matching this compares decoded text, as Envoy does here.
fn parameter<'q>(query: Option<&'q str>, name: &str) -> Option<Text<'q>> {
    query?.split('&').filter(|parameter| !parameter.is_empty()).find_map(|parameter| {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (decoded(key).bytes() == name.as_bytes()).then(|| decoded(value))
    })
}

/// Without percent signs; what is no escape stays as it is written.
fn decoded(text: &str) -> Text<'_> {
    let bytes = text.as_bytes();
    if !bytes.contains(&b'%') {
        return Text::Borrowed(bytes);
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (mut out, mut rest) = (SmallVec::new(), bytes);
    while let [first, tail @ ..] = rest {
        let escaped = match tail {
            [high, low, ..] if *first == b'%' => digit(high).zip(digit(low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                out.push(high << 4 | low);
                rest = &tail[2..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    Text::Made(out)
}

#[cfg(test)]
mod tests;

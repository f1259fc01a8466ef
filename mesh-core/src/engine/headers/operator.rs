//! The command operators: what stands between two percent signs.

use super::strftime::TimeFormat;
use crate::engine::matcher::HeaderKey;
use crate::resource::Problem;

/// One operator with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operator {
    pub(super) command: Command,
    /// `:N`: at most so many bytes.
    pub(super) max_length: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    RequestHeader(HeaderKey, Option<HeaderKey>),
    ResponseHeader(HeaderKey, Option<HeaderKey>),
    RemoteAddress,
    RemoteIp,
    RemotePort,
    LocalAddress,
    LocalIp,
    LocalPort,
    PeerUriSan,
    PeerSubject,
    TlsVersion,
    ServerName,
    Protocol,
    ResponseCode,
    ResponseFlags,
    ResponseCodeDetails,
    UpstreamHost,
    UpstreamCluster,
    UpstreamMetadata(MetadataPath),
    DynamicMetadata(MetadataPath),
    FilterState(Box<str>),
    StartTime(TimeFormat),
    Duration,
    BytesSent,
    BytesReceived,
    Hostname,
    Environment(Box<str>),
    RouteName,
    TraceId,
}

/// A namespace and the keys below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MetadataPath {
    pub(super) namespace: Box<str>,
    pub(super) keys: Box<[Box<str>]>,
}

/// What an operator takes between its parentheses.
enum Takes {
    Nothing(Command),
    Required(fn(&str) -> Result<Command, Problem>, bool),
    Optional(fn(&str) -> Result<Command, Problem>),
}

impl Operator {
    /// Reads an operator behind its first `%`; also how much of `text` it takes, its last `%` included.
    pub(super) fn parse(text: &str) -> Result<(Self, usize), Problem> {
        let stray = || Problem::from("a % that begins no operator (a literal one is written %%)");
        let end = text
            .find(|char: char| !(char.is_ascii_uppercase() || char.is_ascii_digit() || char == '_'))
            .ok_or_else(stray)?;
        let (name, rest) = text.split_at(end);
        if name.is_empty() {
            return Err(stray());
        }
        let (parameters, rest) = match rest.strip_prefix('(') {
            Some(rest) => {
                let (parameters, rest) = closed(rest).ok_or_else(stray)?;
                (Some(parameters), rest)
            }
            None => (None, rest),
        };
        let (max_length, rest) = match rest.strip_prefix(':') {
            Some(rest) => {
                let digits = rest.find('%').ok_or_else(stray)?;
                let length = rest[..digits].parse().map_err(|_| stray())?;
                (Some(length), &rest[digits..])
            }
            None => (None, rest),
        };
        let rest = rest.strip_prefix('%').ok_or_else(stray)?;
        let wrong = |why: &str| Problem::Value(format!("%{name}% {why}"));
        let (command, length_allowed) = match (takes(name)?, parameters) {
            (Takes::Nothing(command), None) => (command, false),
            (Takes::Nothing(_), Some(_)) => return Err(wrong("takes no parameters")),
            (Takes::Required(read, length), Some(parameters)) if !parameters.is_empty() => (read(parameters)?, length),
            (Takes::Required(..), _) => return Err(wrong("needs parameters")),
            (Takes::Optional(read), parameters) => (read(parameters.unwrap_or_default())?, false),
        };
        if max_length.is_some() && !length_allowed {
            return Err(wrong("takes no length"));
        }
        Ok((Self { command, max_length }, text.len() - rest.len()))
    }

    pub(super) const fn reads_request(&self) -> bool {
        matches!(self.command, Command::RequestHeader(..))
    }
}

/// Splits at the parenthesis that ends the parameters: the first that a `%` or a length follows.
fn closed(text: &str) -> Option<(&str, &str)> {
    text.match_indices(')').map(|(at, _)| (&text[..at], &text[at + 1..])).find(|(_, rest)| {
        let rest = rest
            .strip_prefix(':')
            .map_or(*rest, |length| length.trim_start_matches(|char: char| char.is_ascii_digit()));
        rest.starts_with('%')
    })
}

fn takes(name: &str) -> Result<Takes, Problem> {
    Ok(match name {
        "REQ" | "REQUEST_HEADER" => {
            Takes::Required(|text| header(text).map(|(name, or)| Command::RequestHeader(name, or)), true)
        }
        "RESP" | "RESPONSE_HEADER" => {
            Takes::Required(|text| header(text).map(|(name, or)| Command::ResponseHeader(name, or)), true)
        }
        "DOWNSTREAM_REMOTE_ADDRESS" | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => Takes::Nothing(Command::RemoteAddress),
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => {
            Takes::Nothing(Command::RemoteIp)
        }
        "DOWNSTREAM_REMOTE_PORT" | "DOWNSTREAM_DIRECT_REMOTE_PORT" => Takes::Nothing(Command::RemotePort),
        "DOWNSTREAM_LOCAL_ADDRESS" => Takes::Nothing(Command::LocalAddress),
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => Takes::Nothing(Command::LocalIp),
        "DOWNSTREAM_LOCAL_PORT" => Takes::Nothing(Command::LocalPort),
        "DOWNSTREAM_PEER_URI_SAN" => Takes::Nothing(Command::PeerUriSan),
        "DOWNSTREAM_PEER_SUBJECT" => Takes::Nothing(Command::PeerSubject),
        "DOWNSTREAM_TLS_VERSION" => Takes::Nothing(Command::TlsVersion),
        "REQUESTED_SERVER_NAME" => Takes::Nothing(Command::ServerName),
        "PROTOCOL" => Takes::Nothing(Command::Protocol),
        "RESPONSE_CODE" => Takes::Nothing(Command::ResponseCode),
        "RESPONSE_FLAGS" => Takes::Nothing(Command::ResponseFlags),
        "RESPONSE_CODE_DETAILS" => Takes::Nothing(Command::ResponseCodeDetails),
        "UPSTREAM_HOST" => Takes::Nothing(Command::UpstreamHost),
        "UPSTREAM_CLUSTER" => Takes::Nothing(Command::UpstreamCluster),
        "UPSTREAM_METADATA" => Takes::Required(|text| metadata(text).map(Command::UpstreamMetadata), true),
        "DYNAMIC_METADATA" => Takes::Required(|text| metadata(text).map(Command::DynamicMetadata), true),
        "FILTER_STATE" => Takes::Required(filter_state, true),
        "START_TIME" => Takes::Optional(|text| TimeFormat::compile(text).map(Command::StartTime)),
        "DURATION" => Takes::Nothing(Command::Duration),
        "BYTES_SENT" => Takes::Nothing(Command::BytesSent),
        "BYTES_RECEIVED" => Takes::Nothing(Command::BytesReceived),
        "HOSTNAME" => Takes::Nothing(Command::Hostname),
        "ENVIRONMENT" => Takes::Required(|text| Ok(Command::Environment(text.into())), true),
        "ROUTE_NAME" => Takes::Nothing(Command::RouteName),
        "TRACE_ID" => Takes::Nothing(Command::TraceId),
        "CEL" => return Err(Problem::Unsupported("the format operator %CEL()%".to_owned())),
        other => return Err(Problem::Value(format!("%{other}% is no operator"))),
    })
}

/// `NAME` or `NAME?ALTERNATIVE`.
fn header(text: &str) -> Result<(HeaderKey, Option<HeaderKey>), Problem> {
    let (name, alternative) = match text.split_once('?') {
        Some((name, alternative)) => (name, Some(HeaderKey::parse(alternative)?)),
        None => (text, None),
    };
    Ok((HeaderKey::parse(name)?, alternative))
}

/// `namespace:key:key`, or the older `["namespace", "key"]`.
fn metadata(text: &str) -> Result<MetadataPath, Problem> {
    let wrong = || Problem::Value(format!("({text}) is no metadata path"));
    let mut names: Vec<Box<str>> = match text.strip_prefix('[') {
        Some(list) => list
            .strip_suffix(']')
            .ok_or_else(wrong)?
            .split(',')
            .map(|name| Some(name.trim().strip_prefix('"')?.strip_suffix('"')?.into()))
            .collect::<Option<_>>()
            .ok_or_else(wrong)?,
        None => text.split(':').map(Into::into).collect(),
    };
    if names.is_empty() || names.iter().any(|name| name.is_empty()) {
        return Err(wrong());
    }
    let namespace = names.remove(0);
    Ok(MetadataPath { namespace, keys: names.into() })
}

/// `key`, `key:PLAIN` or `key:TYPED`: a state is text here, which both print alike.
fn filter_state(text: &str) -> Result<Command, Problem> {
    let (key, form) = text.rsplit_once(':').unwrap_or((text, "TYPED"));
    match form {
        "PLAIN" | "TYPED" if !key.is_empty() => Ok(Command::FilterState(key.into())),
        _ => Err(Problem::Unsupported(format!("the form of %FILTER_STATE({text})%"))),
    }
}

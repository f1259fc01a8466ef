//! Mixer's attributes with their types.

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Integer,
    Bool,
    Ip,
    Time,
    Duration,
    Map,
}

impl Type {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "number",
            Self::Bool => "bool",
            Self::Ip => "address",
            Self::Time => "time",
            Self::Duration => "duration",
            Self::Map => "map",
        }
    }
}

/// The type of an attribute; `None` when nobody knows it.
pub(crate) fn attribute(name: &str) -> Option<Type> {
    ATTRIBUTES.iter().find(|(_, names)| names.contains(&name)).map(|(kind, _)| *kind)
}

const ATTRIBUTES: &[(Type, &[&str])] = &[
    (
        Type::Text,
        &[
            "source.uid",
            "source.name",
            "source.namespace",
            "source.workload.name",
            "source.workload.namespace",
            "source.workload.uid",
            "source.principal",
            "source.user",
            "source.owner",
            "destination.uid",
            "destination.name",
            "destination.namespace",
            "destination.owner",
            "destination.principal",
            "destination.user",
            "destination.workload.name",
            "destination.workload.namespace",
            "destination.workload.uid",
            "destination.container.name",
            "destination.service",
            "destination.service.host",
            "destination.service.name",
            "destination.service.namespace",
            "destination.service.uid",
            "request.path",
            "request.url_path",
            "request.host",
            "request.method",
            "request.http_method",
            "request.scheme",
            "request.id",
            "request.reason",
            "request.useragent",
            "request.referer",
            "request.api_key",
            "request.auth.principal",
            "request.auth.audiences",
            "request.auth.presenter",
            "request.auth.raw_claims",
            "connection.id",
            "connection.sni",
            "connection.requested_server_name",
            "context.protocol",
            "context.reporter.kind",
            "context.reporter.uid",
            "api.service",
            "api.version",
            "api.operation",
            "api.protocol",
            "check.error_message",
            "quota.cache_hit",
        ],
    ),
    (Type::Integer, &["destination.port", "origin.port", "request.size", "request.total_size"]),
    (Type::Bool, &["connection.mtls"]),
    (Type::Ip, &["source.ip", "destination.ip", "origin.ip"]),
    (Type::Time, &["request.time", "context.time"]),
    (Type::Duration, &["connection.duration"]),
    (
        Type::Map,
        &["source.labels", "destination.labels", "request.headers", "request.query_params", "request.auth.claims"],
    ),
];

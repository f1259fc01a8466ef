//! Which fields the decoders read, message by message. Whatever else is set is reported as not in force.
//!
//! This table stands beside the decoders and must say what they do: a field belongs here when leaving it out of a
//! resource changes what is decoded, or when its value is judged (a refusal, a remark). A field that is decoded and that
//! nothing acts on yet does not belong here: whoever sets it must be told. The tests take every field of
//! the table out of a configuration and demand that the outcome differs.

mod clusters;
mod filters;
mod listeners;
mod routes;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use mesh_proto::descriptors;
use mesh_proto::unknown::ReadSet;

use self::clusters::{CLUSTERS, ENDPOINTS, UPSTREAM};
use self::filters::FILTERS;
use self::listeners::{DOWNSTREAM, LISTENERS};
use self::routes::{LEVELS, ROUTES};

/// Message, fields.
type Row = (&'static str, &'static [&'static str]);

const SHARED: &[Row] = &[
    ("envoy.config.core.v3.Address", &["socket_address", "pipe"]),
    ("envoy.config.core.v3.CidrRange", &["*"]),
    ("envoy.config.core.v3.ConfigSource", &["ads", "self", "resource_api_version"]),
    ("envoy.config.core.v3.DataSource", &["inline_bytes", "inline_string"]),
    ("envoy.config.core.v3.HeaderValue", &["key", "value", "raw_value"]),
    ("envoy.config.core.v3.HeaderValueOption", &["header", "append", "append_action", "keep_empty_value"]),
    (
        "envoy.config.core.v3.Http2ProtocolOptions",
        &[
            "max_concurrent_streams",
            "initial_stream_window_size",
            "initial_connection_window_size",
            "connection_keepalive",
        ],
    ),
    ("envoy.config.core.v3.KeepaliveSettings", &["interval", "timeout"]),
    ("envoy.config.core.v3.Locality", &["region", "zone", "sub_zone"]),
    ("envoy.config.core.v3.Metadata", &["filter_metadata"]),
    ("envoy.config.core.v3.Pipe", &["path"]),
    ("envoy.config.core.v3.RuntimeDouble", &["default_value"]),
    ("envoy.config.core.v3.RuntimeFractionalPercent", &["default_value"]),
    ("envoy.config.core.v3.SocketAddress", &["protocol", "address", "port_value"]),
    ("envoy.config.core.v3.TcpKeepalive", &["keepalive_probes", "keepalive_time", "keepalive_interval"]),
    ("envoy.config.core.v3.TransportSocket", &["name", "typed_config"]),
    ("envoy.config.core.v3.TypedExtensionConfig", &["name", "typed_config"]),
    ("envoy.type.matcher.v3.DoubleMatcher", &["range", "exact"]),
    ("envoy.type.matcher.v3.ListMatcher", &["one_of"]),
    ("envoy.type.matcher.v3.MetadataMatcher", &["filter", "path", "value", "invert"]),
    ("envoy.type.matcher.v3.MetadataMatcher.PathSegment", &["key"]),
    ("envoy.type.matcher.v3.OrMatcher", &["value_matchers"]),
    ("envoy.type.matcher.v3.RegexMatchAndSubstitute", &["pattern", "substitution"]),
    ("envoy.type.matcher.v3.RegexMatcher", &["regex"]),
    ("envoy.type.matcher.v3.StringMatcher", &["exact", "prefix", "suffix", "safe_regex", "contains", "ignore_case"]),
    (
        "envoy.type.matcher.v3.ValueMatcher",
        &["null_match", "double_match", "string_match", "bool_match", "present_match", "list_match", "or_match"],
    ),
    ("envoy.type.v3.DoubleRange", &["start", "end"]),
    ("envoy.type.v3.FractionalPercent", &["numerator", "denominator"]),
    ("envoy.type.v3.Int64Range", &["start", "end"]),
    ("envoy.type.v3.Percent", &["value"]),
];

/// What the decoder of listeners reads.
pub(super) static LISTENER: LazyLock<ReadSet> =
    LazyLock::new(|| set(&[SHARED, LEVELS, ROUTES, LISTENERS, DOWNSTREAM, FILTERS]));
/// What the decoder of route configurations reads.
pub(super) static ROUTE_CONFIGURATION: LazyLock<ReadSet> = LazyLock::new(|| set(&[SHARED, LEVELS, ROUTES, FILTERS]));
/// What the decoder of clusters reads.
pub(super) static CLUSTER: LazyLock<ReadSet> = LazyLock::new(|| set(&[SHARED, CLUSTERS, ENDPOINTS, UPSTREAM]));
/// What the decoder of load assignments reads.
pub(super) static CLUSTER_LOAD_ASSIGNMENT: LazyLock<ReadSet> = LazyLock::new(|| set(&[SHARED, ENDPOINTS]));

/// A name that the API lacks would leave its table out, and everything in it would be reported: loud, and safe. A test
/// keeps it from happening.
fn set(tables: &[&[Row]]) -> ReadSet {
    let mut set = ReadSet::default();
    for table in tables {
        set.extend(&ReadSet::new(table).unwrap_or_default());
    }
    set
}

const ALL: &[&[Row]] = &[SHARED, LEVELS, ROUTES, LISTENERS, DOWNSTREAM, FILTERS, CLUSTERS, UPSTREAM, ENDPOINTS];

/// Every field that some decoder reads: the full name of its message, and its own.
pub(super) fn fields() -> BTreeSet<(String, String)> {
    let mut out = BTreeSet::new();
    for (message, fields) in ALL.iter().copied().flatten() {
        for field in *fields {
            if *field == "*" {
                let all =
                    descriptors::message(message).into_iter().flat_map(|message| message.fields().collect::<Vec<_>>());
                out.extend(all.map(|field| ((*message).to_owned(), field.name().to_owned())));
            } else {
                out.insert(((*message).to_owned(), (*field).to_owned()));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;

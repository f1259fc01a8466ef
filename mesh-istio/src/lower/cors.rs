//! `corsPolicy` as the per-route configuration of the CORS filter.

use mesh_proto::any::pack;
use mesh_proto::envoy::config::core::v3::RuntimeFractionalPercent;
use mesh_proto::envoy::extensions::filters::http::cors::v3::CorsPolicy as EnvoyCors;
use mesh_proto::google::protobuf::Any;

use super::route_match::string;
use super::values::{bool_value, hundredths};
use crate::object::{CorsPolicy, StringMatch, UnmatchedPreflights};

pub(super) fn lower(cors: &CorsPolicy) -> Any {
    let deprecated = cors.allow_origin.iter().map(|origin| StringMatch::Exact(origin.clone()));
    let origins: Vec<_> = if cors.allow_origins.is_empty() {
        deprecated.filter_map(|origin| string(&origin)).collect()
    } else {
        cors.allow_origins.iter().filter_map(string).collect()
    };
    pack(&EnvoyCors {
        allow_origin_string_match: origins,
        allow_methods: cors.allow_methods.join(","),
        allow_headers: cors.allow_headers.join(","),
        expose_headers: cors.expose_headers.join(","),
        max_age: cors.max_age.map(|age| age.as_secs().to_string()).unwrap_or_default(),
        allow_credentials: cors.allow_credentials.and_then(bool_value),
        filter_enabled: Some(RuntimeFractionalPercent {
            default_value: Some(hundredths(100)),
            ..RuntimeFractionalPercent::default()
        }),
        forward_not_matching_preflights: bool_value(cors.unmatched_preflights != UnmatchedPreflights::Ignore),
        ..EnvoyCors::default()
    })
}

//! `envoy.extensions.filters.http.cors.v3`.

use mesh_core::resource::filter::CorsPolicy;
use mesh_proto::envoy::extensions::filters::http::cors::v3 as pb;

use super::super::extension::Extension;
use super::super::matcher;
use super::super::refused::{At, Refused};
use super::super::scalar::runtime_fraction;

/// The filter says nothing itself.
pub(super) fn config(at: &At<'_>, config: &Extension<'_>) -> Result<(), Refused> {
    let pb::Cors {} = config.message(at)?;
    Ok(())
}

pub(super) fn per_route(at: &At<'_>, config: &Extension<'_>) -> Result<CorsPolicy, Refused> {
    let message: pb::CorsPolicy = config.message(at)?;
    let origins = at.field("allow_origin_string_match");
    let origins = message
        .allow_origin_string_match
        .iter()
        .enumerate()
        .map(|(index, one)| matcher::string(&origins.index(index), one));
    let share = |field, share: Option<_>| {
        let at = at.field(field);
        share.map(|share| runtime_fraction(&at, &share)).transpose()
    };
    Ok(CorsPolicy {
        allow_origins: origins.collect::<Result<_, _>>()?,
        allow_methods: message.allow_methods,
        allow_headers: message.allow_headers,
        expose_headers: message.expose_headers,
        max_age: message.max_age,
        allow_credentials: message.allow_credentials.map(|flag| flag.value),
        allow_private_network_access: message.allow_private_network_access.map(|flag| flag.value),
        forward_not_matching_preflights: message.forward_not_matching_preflights.map(|flag| flag.value),
        filter_enabled: share("filter_enabled", message.filter_enabled)?,
        shadow_enabled: share("shadow_enabled", message.shadow_enabled)?,
    })
}

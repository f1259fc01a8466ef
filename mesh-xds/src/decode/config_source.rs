//! `ConfigSource`: where another resource is to be fetched from.
//!
//! There is one source of resources per process, so "by ADS", "from where this came from" and nothing at all mean the same.

use mesh_proto::envoy::config::core::v3::{ConfigSource, config_source::ConfigSourceSpecifier};

use super::context::Context;
use super::refused::{At, Refused, unsupported};

/// Refuses a source other than the one there is.
pub(super) fn check(cx: &mut Context, at: &At<'_>, source: Option<&ConfigSource>) -> Result<(), Refused> {
    let Some(source) = source else {
        return Ok(());
    };
    if !source.authorities.is_empty() {
        cx.not_in_force(&at.field("authorities"), "there is one source of resources");
    }
    let field = match &source.config_source_specifier {
        None | Some(ConfigSourceSpecifier::Ads(_) | ConfigSourceSpecifier::Self_(_)) => return Ok(()),
        Some(ConfigSourceSpecifier::ApiConfigSource(_)) => "api_config_source",
        Some(ConfigSourceSpecifier::Path(_)) => "path",
        Some(ConfigSourceSpecifier::PathConfigSource(_)) => "path_config_source",
    };
    Err(unsupported(&at.field(field), "a config source other than ADS"))
}

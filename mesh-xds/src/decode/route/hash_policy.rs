//! `HashPolicy`: what consistent hashing is to go by.

use mesh_core::resource::Problem;
use mesh_core::resource::route::{HashPolicy, HashSpecifier};
use mesh_proto::envoy::config::route::v3::route_action as pb;

use super::super::matcher::regex_rewrite;
use super::super::refused::{At, Refused, refuse};
use super::super::scalar::duration;

pub(super) fn policies(at: &At<'_>, policies: &[pb::HashPolicy]) -> Result<Vec<HashPolicy>, Refused> {
    let policies = policies.iter().enumerate();
    let policies = policies.map(|(index, one)| {
        let specifier = specifier(&at.index(index), one.policy_specifier.as_ref())?;
        Ok(specifier.map(|specifier| HashPolicy { specifier, terminal: one.terminal }))
    });
    policies.filter_map(Result::transpose).collect()
}

/// `None` for `connection_properties` that name none: it hashes nothing.
fn specifier(
    at: &At<'_>,
    specifier: Option<&pb::hash_policy::PolicySpecifier>,
) -> Result<Option<HashSpecifier>, Refused> {
    use pb::hash_policy::PolicySpecifier;
    Ok(Some(match specifier {
        None => return Err(refuse(&at.field("policy_specifier"), Problem::Missing)),
        Some(PolicySpecifier::Header(header)) => HashSpecifier::Header {
            name: header.header_name.clone(),
            regex_rewrite: match &header.regex_rewrite {
                Some(regex) => Some(regex_rewrite(&at.field("header").field("regex_rewrite"), regex)?),
                None => None,
            },
        },
        Some(PolicySpecifier::Cookie(cookie)) => HashSpecifier::Cookie {
            name: cookie.name.clone(),
            ttl: duration(&at.field("cookie").field("ttl"), cookie.ttl)?,
            path: cookie.path.clone(),
            attributes: cookie
                .attributes
                .iter()
                .map(|attribute| (attribute.name.clone(), attribute.value.clone()))
                .collect(),
        },
        Some(PolicySpecifier::ConnectionProperties(properties)) => {
            if !properties.source_ip {
                return Ok(None);
            }
            HashSpecifier::SourceIp
        }
        Some(PolicySpecifier::QueryParameter(parameter)) => HashSpecifier::QueryParameter(parameter.name.clone()),
        Some(PolicySpecifier::FilterState(state)) => HashSpecifier::FilterState(state.key.clone()),
    }))
}

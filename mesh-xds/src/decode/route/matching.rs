//! `RouteMatch`: a condition that is dropped makes a route take requests that are not for it, so none is.

use mesh_core::resource::Problem;
use mesh_core::resource::route::{
    CookieMatcher, PathSpecifier, QueryParameterMatcher, QuerySpecifier, RouteMatch, TlsContextMatch,
};
use mesh_proto::envoy::config::core::v3::TypedExtensionConfig;
use mesh_proto::envoy::config::route::v3 as pb;
use mesh_proto::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;

use super::super::extension::Extension;
use super::super::matcher;
use super::super::refused::{At, Refused, refuse, unsupported};
use super::super::scalar::runtime_fraction;

pub(super) fn route_match(at: &At<'_>, message: &pb::RouteMatch) -> Result<RouteMatch, Refused> {
    if !message.filter_state.is_empty() {
        return Err(unsupported(&at.field("filter_state"), "a match on filter state"));
    }
    let runtime_fraction = match &message.runtime_fraction {
        Some(fraction) => Some(runtime_fraction(&at.field("runtime_fraction"), fraction)?),
        None => None,
    };
    let query_at = at.field("query_parameters");
    let query = message.query_parameters.iter().enumerate();
    let cookies_at = at.field("cookies");
    let cookies = message.cookies.iter().enumerate();
    let metadata_at = at.field("dynamic_metadata");
    let metadata = message.dynamic_metadata.iter().enumerate();
    Ok(RouteMatch {
        path: path(at, message.path_specifier.as_ref())?,
        case_sensitive: message.case_sensitive.is_none_or(|flag| flag.value),
        runtime_fraction,
        headers: matcher::headers(&at.field("headers"), &message.headers)?,
        query_parameters: query.map(|(i, one)| query_parameter(&query_at.index(i), one)).collect::<Result<_, _>>()?,
        cookies: cookies.map(|(i, one)| cookie(&cookies_at.index(i), one)).collect::<Result<_, _>>()?,
        grpc: message.grpc.is_some(),
        tls_context: message.tls_context.map(|tls| TlsContextMatch {
            presented: tls.presented.map(|flag| flag.value),
            validated: tls.validated.map(|flag| flag.value),
        }),
        dynamic_metadata: metadata
            .map(|(i, one)| matcher::metadata(&metadata_at.index(i), one))
            .collect::<Result<_, _>>()?,
    })
}

fn path(at: &At<'_>, specifier: Option<&pb::route_match::PathSpecifier>) -> Result<PathSpecifier, Refused> {
    use pb::route_match::PathSpecifier as Pb;
    Ok(match specifier {
        None => return Err(refuse(&at.field("path_specifier"), Problem::Missing)),
        Some(Pb::Prefix(prefix)) => PathSpecifier::Prefix(prefix.clone()),
        Some(Pb::Path(path)) => PathSpecifier::Path(path.clone()),
        Some(Pb::PathSeparatedPrefix(prefix)) => PathSpecifier::PathSeparatedPrefix(prefix.clone()),
        Some(Pb::SafeRegex(regex)) => PathSpecifier::SafeRegex(regex.regex.clone()),
        Some(Pb::ConnectMatcher(_)) => PathSpecifier::Connect,
        Some(Pb::PathMatchPolicy(policy)) => {
            PathSpecifier::UriTemplate(uri_template(&at.field("path_match_policy"), policy)?)
        }
    })
}

fn uri_template(at: &At<'_>, policy: &TypedExtensionConfig) -> Result<String, Refused> {
    let at = at.field("typed_config");
    let Some(any) = &policy.typed_config else {
        return Err(refuse(&at, Problem::Missing));
    };
    let extension = Extension::of(&at, any)?;
    if extension.type_name() != "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig" {
        return Err(unsupported(&at, format!("a path matcher of type {}", extension.type_url())));
    }
    let config: UriTemplateMatchConfig = extension.message(&at)?;
    Ok(config.path_template)
}

pub(in crate::decode) fn query_parameter(
    at: &At<'_>,
    message: &pb::QueryParameterMatcher,
) -> Result<QueryParameterMatcher, Refused> {
    use pb::query_parameter_matcher::QueryParameterMatchSpecifier as Specifier;
    let specifier = match &message.query_parameter_match_specifier {
        None => QuerySpecifier::Present(true),
        Some(Specifier::PresentMatch(present)) => QuerySpecifier::Present(*present),
        Some(Specifier::StringMatch(string)) => {
            QuerySpecifier::String(matcher::string(&at.field("string_match"), string)?)
        }
    };
    Ok(QueryParameterMatcher { name: message.name.clone(), specifier })
}

fn cookie(at: &At<'_>, message: &pb::CookieMatcher) -> Result<CookieMatcher, Refused> {
    let string_at = at.field("string_match");
    let Some(string) = &message.string_match else {
        return Err(refuse(&string_at, Problem::Missing));
    };
    Ok(CookieMatcher {
        name: message.name.clone(),
        string_match: matcher::string(&string_at, string)?,
        invert_match: message.invert_match,
    })
}

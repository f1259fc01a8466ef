//! `Route.action`: forward, redirect, answer, or leave to the server.

use bytes::Bytes;
use http::StatusCode;
use mesh_core::resource::Problem;
use mesh_core::resource::route::{DirectResponse, PathRedirect, Redirect, RouteAction, SchemeRedirect};
use mesh_proto::envoy::config::core::v3::data_source::Specifier;
use mesh_proto::envoy::config::route::v3 as pb;

use super::super::context::Context;
use super::super::matcher::regex_rewrite;
use super::super::refused::{At, Refused, refuse, unsupported};
use super::super::scalar::{known, non_empty, port, status};
use super::forward;

/// `at` is the route.
pub(super) fn action(cx: &mut Context, at: &At<'_>, action: Option<pb::route::Action>) -> Result<RouteAction, Refused> {
    use pb::route::Action;
    Ok(match action {
        None => return Err(refuse(&at.field("action"), Problem::Missing)),
        Some(Action::Route(message)) => {
            RouteAction::Forward(Box::new(forward::forward(cx, &at.field("route"), message)?))
        }
        Some(Action::Redirect(message)) => RouteAction::Redirect(redirect(&at.field("redirect"), &message)?),
        Some(Action::DirectResponse(message)) => {
            RouteAction::DirectResponse(direct_response(&at.field("direct_response"), message)?)
        }
        Some(Action::NonForwardingAction(_)) => RouteAction::NonForwarding,
        Some(Action::FilterAction(_)) => return Err(unsupported(&at.field("filter_action"), "a filter action")),
    })
}

fn redirect(at: &At<'_>, message: &pb::RedirectAction) -> Result<Redirect, Refused> {
    use pb::redirect_action::{PathRewriteSpecifier as Path, RedirectResponseCode as Code, SchemeRewriteSpecifier};
    let path = match &message.path_rewrite_specifier {
        None => None,
        Some(Path::PathRedirect(path)) => non_empty(path).map(PathRedirect::Path),
        Some(Path::PrefixRewrite(prefix)) => non_empty(prefix).map(PathRedirect::Prefix),
        Some(Path::RegexRewrite(regex)) => Some(PathRedirect::Regex(regex_rewrite(&at.field("regex_rewrite"), regex)?)),
        Some(Path::PathRewrite(_)) => {
            return Err(unsupported(&at.field("path_rewrite"), "a path rewrite by format string"));
        }
    };
    Ok(Redirect {
        scheme: match &message.scheme_rewrite_specifier {
            Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => Some(SchemeRedirect::Https),
            Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => non_empty(scheme).map(SchemeRedirect::Scheme),
            Some(SchemeRewriteSpecifier::HttpsRedirect(false)) | None => None,
        },
        host: non_empty(&message.host_redirect),
        port: Some(port(&at.field("port_redirect"), message.port_redirect)?).filter(|port| *port != 0),
        path,
        response_code: match known(&at.field("response_code"), message.response_code)? {
            Code::MovedPermanently => StatusCode::MOVED_PERMANENTLY,
            Code::Found => StatusCode::FOUND,
            Code::SeeOther => StatusCode::SEE_OTHER,
            Code::TemporaryRedirect => StatusCode::TEMPORARY_REDIRECT,
            Code::PermanentRedirect => StatusCode::PERMANENT_REDIRECT,
        },
        strip_query: message.strip_query,
    })
}

fn direct_response(at: &At<'_>, message: pb::DirectResponseAction) -> Result<DirectResponse, Refused> {
    let body = match message.body.map(|source| source.specifier) {
        None => Bytes::new(),
        Some(Some(Specifier::InlineString(text))) => text.into(),
        Some(Some(Specifier::InlineBytes(bytes))) => bytes.into(),
        Some(Some(Specifier::Filename(_))) => {
            return Err(unsupported(&at.field("body").field("filename"), "a body from a file"));
        }
        Some(Some(Specifier::EnvironmentVariable(_))) => {
            return Err(unsupported(&at.field("body").field("environment_variable"), "a body from the environment"));
        }
        Some(None) => return Err(refuse(&at.field("body").field("specifier"), Problem::Missing)),
    };
    if message.body_format.is_some() {
        return Err(unsupported(&at.field("body_format"), "a body by format string"));
    }
    Ok(DirectResponse { status: status(&at.field("status"), message.status)?, body })
}

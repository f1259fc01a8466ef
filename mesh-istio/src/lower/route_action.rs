//! What a route does: forward with weights, rewrites, retries and mirrors; redirect; answer directly.

use mesh_proto::envoy::config::core::v3::{DataSource, RuntimeFractionalPercent, data_source};
use mesh_proto::envoy::config::route::v3::redirect_action::{
    PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier,
};
use mesh_proto::envoy::config::route::v3::route::Action;
use mesh_proto::envoy::config::route::v3::route_action::{ClusterSpecifier, HostRewriteSpecifier, RequestMirrorPolicy};
use mesh_proto::envoy::config::route::v3::weighted_cluster::{ClusterWeight, cluster_weight};
use mesh_proto::envoy::config::route::v3::{DirectResponseAction, RedirectAction, Route, RouteAction, WeightedCluster};
use mesh_proto::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use mesh_proto::envoy::r#type::v3::FractionalPercent;

use super::route::Place;
use super::values::{bool_value, duration, hundredths, millionths, seconds, u32_value};
use super::{hash, headers, names, retry, route_match};
use crate::object::{DerivePort, Destination, HttpDirectResponse, HttpRedirect, HttpRoute, HttpRouteDestination};

/// Standard base64, as proto3 JSON writes bytes.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

/// Sets the action of a route that forwards, and what its destinations say of headers.
#[allow(deprecated, reason = "istiod still writes max_grpc_timeout")]
pub(super) fn forward(place: &Place<'_>, http: &HttpRoute, out: &mut Route) {
    let mut action = RouteAction {
        timeout: http.timeout.map(duration).or_else(|| seconds(0)),
        max_grpc_timeout: http.timeout.map(duration).or_else(|| seconds(0)),
        ..RouteAction::default()
    };
    let hashes: Vec<_> = http.route.iter().map(|target| hash_policy(place, target)).collect();
    let hashed = http.route.len() == 1 && hashes.iter().any(Option::is_some);
    action.retry_policy = retry::lower(http.retries.as_ref(), hashed, &place.scope.mesh.compat);
    let mut authority = None;
    if let Some(rewrite) = &http.rewrite {
        if let Some(regex) = &rewrite.uri_regex_rewrite {
            action.regex_rewrite = Some(RegexMatchAndSubstitute {
                pattern: Some(route_match::regex(&regex.r#match)),
                substitution: regex.rewrite.clone(),
            });
        } else {
            action.prefix_rewrite.clone_from(&rewrite.uri);
        }
        authority = Some(rewrite.authority.clone()).filter(|authority| !authority.is_empty());
    }
    let operations = headers::lower(http.headers.as_ref());
    authority = authority.or(operations.authority);
    out.request_headers_to_add = operations.request_add;
    out.request_headers_to_remove = operations.request_remove;
    out.response_headers_to_add = operations.response_add;
    out.response_headers_to_remove = operations.response_remove;
    action.request_mirror_policies = mirrors(place, http);

    // A weight of 0 beside others gets nothing; alone, a weight means nothing.
    let single = http.route.len() == 1;
    let targets: Vec<_> =
        http.route.iter().zip(hashes).filter(|(target, _)| single || target.weight.unwrap_or(0) > 0).collect();
    action.hash_policy = targets.iter().filter_map(|(_, hash)| hash.clone()).collect();
    if let [(target, _)] = targets.as_slice() {
        let operations = headers::lower(target.headers.as_ref());
        out.request_headers_to_add.extend(operations.request_add);
        out.request_headers_to_remove.extend(operations.request_remove);
        out.response_headers_to_add.extend(operations.response_add);
        out.response_headers_to_remove.extend(operations.response_remove);
        authority = authority.or(operations.authority);
        action.cluster_specifier = Some(ClusterSpecifier::Cluster(cluster(place, target.destination.as_ref())));
    } else {
        let clusters = targets.iter().map(|(target, _)| weighted(place, target)).collect();
        action.cluster_specifier =
            Some(ClusterSpecifier::WeightedClusters(WeightedCluster { clusters, ..WeightedCluster::default() }));
    }
    action.host_rewrite_specifier = authority.map(HostRewriteSpecifier::HostRewriteLiteral);
    out.action = Some(Action::Route(action));
}

fn weighted(place: &Place<'_>, target: &HttpRouteDestination) -> ClusterWeight {
    let operations = headers::lower(target.headers.as_ref());
    ClusterWeight {
        name: cluster(place, target.destination.as_ref()),
        weight: u32_value(target.weight.and_then(|weight| u32::try_from(weight).ok()).unwrap_or(0)),
        request_headers_to_add: operations.request_add,
        request_headers_to_remove: operations.request_remove,
        response_headers_to_add: operations.response_add,
        response_headers_to_remove: operations.response_remove,
        host_rewrite_specifier: operations.authority.map(cluster_weight::HostRewriteSpecifier::HostRewriteLiteral),
        ..ClusterWeight::default()
    }
}

fn hash_policy(
    place: &Place<'_>,
    target: &HttpRouteDestination,
) -> Option<mesh_proto::envoy::config::route::v3::route_action::HashPolicy> {
    hash::lower(&place.scope.policy_of_destination(target.destination.as_ref()?, &place.object.id.namespace))
}

/// The cluster of a destination: its port, else the one that was called. Nothing checks here that it exists: a request finds out (`NC`).
fn cluster(place: &Place<'_>, destination: Option<&Destination>) -> String {
    let Some(destination) = destination else {
        return String::new();
    };
    let host = place.scope.host(destination, &place.object.id.namespace);
    let port = destination.port.as_ref().map_or(place.port, |port| port.number);
    names::outbound_cluster(port, &destination.subset, &host)
}

fn mirrors(place: &Place<'_>, http: &HttpRoute) -> Vec<RequestMirrorPolicy> {
    let policy = |destination: &Destination, share: FractionalPercent| RequestMirrorPolicy {
        cluster: cluster(place, Some(destination)),
        runtime_fraction: Some(RuntimeFractionalPercent {
            default_value: Some(share),
            ..RuntimeFractionalPercent::default()
        }),
        trace_sampled: bool_value(false),
        disable_shadow_host_suffix_append: true,
        ..RequestMirrorPolicy::default()
    };
    let one = http.mirror.as_ref().and_then(|destination| {
        let share = match (&http.mirror_percentage, http.mirror_percent) {
            (Some(percent), _) => millionths(percent.value),
            (None, Some(percent)) => hundredths(percent),
            (None, None) => hundredths(100),
        };
        (share.numerator > 0).then(|| policy(destination, share))
    });
    let several = http.mirrors.iter().filter_map(|mirror| {
        let share = mirror.percentage.as_ref().map_or_else(|| hundredths(100), |percent| millionths(percent.value));
        (share.numerator > 0).then(|| mirror.destination.as_ref().map(|destination| policy(destination, share)))?
    });
    one.into_iter().chain(several).collect()
}

/// `None` when the status is one that Envoy cannot send: the route then has no action, as in istiod.
pub(super) fn redirect(redirect: &HttpRedirect, port: u32) -> Option<Action> {
    let code = match redirect.redirect_code {
        0 | 301 => RedirectResponseCode::MovedPermanently,
        302 => RedirectResponseCode::Found,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => return None,
    };
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Some(Action::Redirect(RedirectAction {
        host_redirect: redirect.authority.clone(),
        path_rewrite_specifier: text(&redirect.uri).map(PathRewriteSpecifier::PathRedirect),
        scheme_rewrite_specifier: text(&redirect.scheme).map(SchemeRewriteSpecifier::SchemeRedirect),
        port_redirect: match (redirect.port, redirect.derive_port) {
            (Some(port), _) => port,
            (None, Some(DerivePort::FromRequestPort)) => port,
            // Derived from the scheme: Envoy's default.
            (None, Some(DerivePort::FromProtocolDefault) | None) => 0,
        },
        response_code: code.into(),
        ..RedirectAction::default()
    }))
}

pub(super) fn direct_response(response: &HttpDirectResponse) -> Action {
    let body = response.body.as_ref().and_then(|body| match (&body.string, &body.bytes) {
        (Some(text), _) => Some(data_source::Specifier::InlineString(text.clone())),
        (None, Some(text)) => base64(text).map(data_source::Specifier::InlineBytes),
        (None, None) => None,
    });
    Action::DirectResponse(DirectResponseAction {
        status: response.status,
        body: body.map(|specifier| DataSource { specifier: Some(specifier), ..DataSource::default() }),
        ..DirectResponseAction::default()
    })
}

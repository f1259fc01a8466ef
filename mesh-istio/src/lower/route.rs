//! The HTTP rules of one VirtualService as routes, in order, up to the first that takes everything.
//!
//! Conditions on the caller and on the port are decided here, once: such rules are emitted or not. Follows istiod's
//! `BuildHTTPRoutesForVirtualService`.

use std::borrow::Cow;

use mesh_proto::envoy::config::route::v3::route::Action;
use mesh_proto::envoy::config::route::v3::route_action::ClusterSpecifier;
use mesh_proto::envoy::config::route::v3::route_match::PathSpecifier;
use mesh_proto::envoy::config::route::v3::{Decorator, Route, RouteAction};

use super::scope::Scope;
use super::values::{config_metadata, seconds};
use super::{cors, fault, filters, hash, headers, names, retry, route_action, route_match};
use crate::object::{HttpMatchRequest, HttpRoute, Object};
use crate::registry::{RegistryService, ServicePort};
use crate::select::{effective, is_bound, labels_match};
use crate::validate::matches::split_run;

/// Where a rule is lowered to: for which caller, of which object, for which port and gateway (or the mesh).
pub(super) struct Place<'a> {
    pub(super) scope: &'a Scope<'a>,
    pub(super) object: &'a Object,
    pub(super) port: u32,
    pub(super) gateway: &'a str,
}

/// The routes of a VirtualService's rules for callers of `place.port`. Empty when none is for this caller and port.
pub(super) fn of_virtual_service(place: &Place<'_>, http: &[HttpRoute]) -> Vec<Route> {
    let mut out = Vec::new();
    for http in rules(place, http).iter() {
        if http.r#match.is_empty() {
            out.push(lower(place, http, None));
            // Nothing behind a rule without conditions is ever reached.
            return out;
        }
        for block in http.r#match.iter().filter(|block| applies(place, block)) {
            let route = lower(place, http, Some(block));
            let last = route.r#match.as_ref().is_some_and(route_match::is_catch_all);
            out.push(route);
            if last {
                return out;
            }
        }
    }
    out
}

/// The rules, with a split that was written as several rules folded into one where that was asked for.
fn rules<'a>(place: &Place<'_>, rules: &'a [HttpRoute]) -> Cow<'a, [HttpRoute]> {
    let start = rules.iter().position(|http| http.r#match.is_empty());
    let Some(start) = start.filter(|_| place.scope.mesh.compat.fold_split_routes) else {
        return Cow::Borrowed(rules);
    };
    let run = split_run(rules, start);
    if run < 2 {
        return Cow::Borrowed(rules);
    }
    let mut folded = rules[start].clone();
    folded.route = rules[start..start + run].iter().flat_map(|http| http.route.iter().cloned()).collect();
    Cow::Owned(rules[..start].iter().cloned().chain([folded]).collect())
}

/// The conditions that are known before any request: port, gateway, labels and namespace of the caller.
fn applies(place: &Place<'_>, block: &HttpMatchRequest) -> bool {
    if block.port != 0 && block.port != place.port {
        return false;
    }
    // Claims are only matched at gateways; ignoring the condition would match more than was asked for.
    if block.headers.keys().chain(block.without_headers.keys()).any(|name| name.starts_with("@request.auth.claims")) {
        return false;
    }
    if !block.gateways.is_empty() {
        return is_bound(place.object, &block.gateways, place.gateway);
    }
    let proxy = place.scope.proxy;
    labels_match(&block.source_labels, &proxy.labels)
        && (block.source_namespace.is_empty() || block.source_namespace == proxy.namespace)
}

fn lower(place: &Place<'_>, http: &HttpRoute, block: Option<&HttpMatchRequest>) -> Route {
    let mut out = Route {
        name: match block.map(|block| block.name.as_str()).filter(|name| !name.is_empty()) {
            Some(name) if http.name.is_empty() => name.to_owned(),
            Some(name) => format!("{}.{name}", http.name),
            None => http.name.clone(),
        },
        r#match: Some(route_match::lower(block)),
        metadata: Some(config_metadata(&place.object.config_path())),
        ..Route::default()
    };
    if let Some(redirect) = &http.redirect {
        out.action = route_action::redirect(redirect, place.port);
    } else if let Some(response) = &http.direct_response {
        let operations = headers::lower(http.headers.as_ref());
        out.response_headers_to_add = operations.response_add;
        out.response_headers_to_remove = operations.response_remove;
        out.action = Some(route_action::direct_response(response));
    } else {
        route_action::forward(place, http, &mut out);
    }
    out.decorator =
        Some(Decorator { operation: operation(&out, &place.object.id.name, place.port), ..Decorator::default() });
    if let Some(fault) = &http.fault {
        out.typed_per_filter_config.insert(filters::FAULT.to_owned(), fault::lower(fault));
    }
    if let Some(cors) = &http.cors_policy {
        out.typed_per_filter_config.insert(filters::CORS.to_owned(), cors::lower(cors));
    }
    out
}

/// The name of the operation in traces: host and port of the only destination, else name and port of the VirtualService; then the path.
fn operation(route: &Route, virtual_service: &str, port: u32) -> String {
    let path = match route.r#match.as_ref().and_then(|m| m.path_specifier.as_ref()) {
        Some(PathSpecifier::Prefix(prefix)) => format!("{prefix}*"),
        Some(PathSpecifier::Path(path)) => path.clone(),
        Some(PathSpecifier::SafeRegex(regex)) => regex.regex.clone(),
        _ => "/*".to_owned(),
    };
    if let Some(Action::Route(RouteAction { cluster_specifier: Some(ClusterSpecifier::Cluster(cluster)), .. })) =
        &route.action
        && let [_, port, _, host] = cluster.split('|').collect::<Vec<_>>().as_slice()
    {
        return format!("{host}:{port}{path}");
    }
    format!("{virtual_service}:{port}{path}")
}

/// The route of a service that no VirtualService is for.
#[allow(deprecated, reason = "istiod still writes max_grpc_timeout")]
pub(super) fn of_service(scope: &Scope<'_>, service: &RegistryService, port: &ServicePort) -> Route {
    let policy = effective(scope.rule(service).and_then(|rule| rule.traffic_policy), None, port.number);
    let hash = hash::lower(&policy);
    Route {
        name: "default".to_owned(),
        r#match: Some(route_match::everything()),
        decorator: Some(Decorator {
            operation: format!("{}:{}/*", service.hostname, port.number),
            ..Decorator::default()
        }),
        action: Some(Action::Route(RouteAction {
            timeout: seconds(0),
            max_grpc_timeout: seconds(0),
            retry_policy: retry::lower(None, hash.is_some(), &scope.mesh.compat),
            hash_policy: hash.into_iter().collect(),
            cluster_specifier: Some(ClusterSpecifier::Cluster(names::outbound_cluster(
                port.number,
                "",
                &service.hostname,
            ))),
            ..RouteAction::default()
        })),
        ..Route::default()
    }
}

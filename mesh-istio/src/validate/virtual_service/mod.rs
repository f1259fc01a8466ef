//! Rules of a VirtualService.
//!
//! Follows Istio's `ValidateVirtualService`: here the whole and its rules, beside it matches, actions, headers and policies. Which rules can be
//! reached is in `matches`.

mod action;
mod destination;
mod headers;
mod policies;
mod request;

use super::{Rules, matches, names};
use crate::finding::code;
use crate::object::{HttpRoute, VirtualService};
use crate::select::host;
use destination::destinations;

pub(super) fn check(rules: &mut Rules<'_>, spec: &VirtualService) {
    let delegate = spec.hosts.is_empty();
    if delegate {
        for (name, set) in
            [("gateways", !spec.gateways.is_empty()), ("tls", !spec.tls.is_empty()), ("tcp", !spec.tcp.is_empty())]
        {
            if set {
                rules.refuse(
                    code::EXCLUSIVE,
                    &format!("spec.{name}"),
                    "a VirtualService without hosts is a delegate and may not set it",
                );
            }
        }
    }
    if spec.http.is_empty() && spec.tls.is_empty() && spec.tcp.is_empty() {
        rules.refuse(code::REQUIRED, "spec", "at least one of http, tls and tcp is required");
    }
    let for_mesh = spec.gateways.is_empty() || spec.gateways.iter().any(|gateway| gateway == "mesh");
    hosts(rules, spec, for_mesh);
    gateways(rules, spec);
    rules.export_to(&spec.export_to, false);
    for (index, route) in spec.http.iter().enumerate() {
        http_route(rules, &format!("spec.http[{index}]"), route, delegate, for_mesh && spec.gateways.len() < 2);
    }
    if !spec.http.is_empty() {
        matches::check(rules, &spec.http);
    }
    for (index, route) in spec.tls.iter().enumerate() {
        let at = format!("spec.tls[{index}]");
        rules.not_in_force(&at, "TLS routes have no effect yet");
        if route.r#match.is_empty() {
            rules.refuse(code::REQUIRED, &at, "a TLS route needs a match");
        }
        for (m, block) in route.r#match.iter().enumerate() {
            if block.sni_hosts.is_empty() {
                rules.refuse(
                    code::REQUIRED,
                    &format!("{at}.match[{m}].sniHosts"),
                    "at least one server name is required",
                );
            }
            for sni in &block.sni_hosts {
                if !spec.hosts.iter().any(|host| host::subset_of(sni, host)) {
                    let reason = format!("{sni:?} is not within the hosts of the VirtualService");
                    rules.refuse(code::BAD_HOST, &format!("{at}.match[{m}].sniHosts"), reason);
                }
            }
        }
        let weights: Vec<_> = route.route.iter().map(|target| (target.destination.as_ref(), target.weight)).collect();
        destinations(rules, &at, &weights);
    }
    for (index, route) in spec.tcp.iter().enumerate() {
        let at = format!("spec.tcp[{index}]");
        rules.not_in_force(&at, "TCP routes have no effect yet");
        let weights: Vec<_> = route.route.iter().map(|target| (target.destination.as_ref(), target.weight)).collect();
        destinations(rules, &at, &weights);
    }
}

fn hosts(rules: &mut Rules<'_>, spec: &VirtualService, for_mesh: bool) {
    for (index, name) in spec.hosts.iter().enumerate() {
        let at = format!("spec.hosts[{index}]");
        if name == "*" && for_mesh {
            rules.refuse(code::BAD_HOST, &at, "\"*\" alone is not allowed for the mesh gateway");
        } else if !names::is_wildcard_domain(name) && !names::is_ip(name) {
            rules.refuse(code::BAD_HOST, &at, format!("{name:?} is neither a host name nor an IP address"));
        }
        if let Some(other) = spec.hosts[..index].iter().find(|other| host::matches(other, name)) {
            rules.refuse(code::DUPLICATE_VALUE, &at, format!("{name:?} overlaps {other:?} of the same VirtualService"));
        }
    }
}

fn gateways(rules: &mut Rules<'_>, spec: &VirtualService) {
    for (index, gateway) in spec.gateways.iter().enumerate() {
        let at = format!("spec.gateways[{index}]");
        match gateway.split_once('/') {
            Some((namespace, name)) => {
                if !(namespace == "." || names::is_dns_label(namespace)) || !names::is_dns_label(name) {
                    rules.refuse(code::INVALID_VALUE, &at, format!("{gateway:?} is not namespace/name"));
                }
            }
            None if gateway.contains('.') && names::is_fqdn(gateway) => {
                rules.warn(code::DEPRECATED_FIELD, &at, "a gateway as a host name is deprecated: write namespace/name");
            }
            None if names::is_dns_label(gateway) => {}
            None => rules.refuse(code::INVALID_VALUE, &at, format!("{gateway:?} is not the name of a gateway")),
        }
    }
}

fn http_route(rules: &mut Rules<'_>, at: &str, route: &HttpRoute, delegate: bool, mesh_only: bool) {
    let exclusive = |rules: &mut Rules<'_>, with: &str, fields: &[(&str, bool)]| {
        for (name, set) in fields {
            if *set {
                rules.refuse(code::EXCLUSIVE, &format!("{at}.{name}"), format!("not allowed together with {with}"));
            }
        }
    };
    let (has_route, has_fault, has_rewrite) = (!route.route.is_empty(), route.fault.is_some(), route.rewrite.is_some());
    if let Some(reference) = &route.delegate {
        exclusive(rules, "delegate", &[("route", has_route), ("redirect", route.redirect.is_some())]);
        if delegate {
            rules.refuse(code::EXCLUSIVE, &format!("{at}.delegate"), "a delegate may not delegate");
        }
        if reference.name.is_empty() {
            rules.refuse(code::REQUIRED, &format!("{at}.delegate.name"), "the name of the delegate is required");
        }
    } else if let Some(redirect) = &route.redirect {
        exclusive(
            rules,
            "redirect",
            &[
                ("route", has_route),
                ("fault", has_fault),
                ("rewrite", has_rewrite),
                ("directResponse", route.direct_response.is_some()),
            ],
        );
        action::redirect(rules, at, route, redirect);
    } else if let Some(response) = &route.direct_response {
        exclusive(rules, "directResponse", &[("route", has_route), ("fault", has_fault), ("rewrite", has_rewrite)]);
        action::direct_response(rules, at, response);
    } else if !has_route {
        rules.refuse(code::REQUIRED, at, "one of route, redirect and directResponse is required");
    }
    for (index, block) in route.r#match.iter().enumerate() {
        request::match_request(rules, &format!("{at}.match[{index}]"), block, mesh_only);
    }
    let weights: Vec<_> =
        route.route.iter().map(|target| (target.destination.as_ref(), target.weight.unwrap_or(0))).collect();
    destinations(rules, at, &weights);
    for (index, target) in route.route.iter().enumerate() {
        headers::headers(rules, &format!("{at}.route[{index}].headers"), target.headers.as_ref());
    }
    headers::headers(rules, &format!("{at}.headers"), route.headers.as_ref());
    rules.duration(&format!("{at}.timeout"), route.timeout);
    if let Some(policy) = &route.retries {
        policies::retries(rules, &format!("{at}.retries"), policy);
    }
    if let Some(policy) = &route.fault {
        policies::fault(rules, &format!("{at}.fault"), policy);
    }
    if let Some(policy) = &route.cors_policy {
        policies::cors(rules, &format!("{at}.corsPolicy"), policy);
    }
    if let Some(policy) = &route.rewrite {
        action::rewrite(rules, &format!("{at}.rewrite"), route, policy);
    }
    policies::mirrors(rules, at, route);
}

//! Which HTTP rules of a VirtualService can be reached at all, and the split that is written as several rules.
//!
//! Only warnings: Istio accepts all of it. Follows the analysis of Istio's `ValidateVirtualService` (rule not used, match not
//! used) and its IST0130.

use super::Rules;
use crate::finding::code;
use crate::object::{HttpMatchRequest, HttpRoute, StringMatch};

pub(super) fn check(rules: &mut Rules<'_>, routes: &[HttpRoute]) {
    split_across_routes(rules, routes);
    let mut catch_all: Option<usize> = None;
    let mut earlier: Vec<(usize, &HttpMatchRequest)> = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let at = format!("spec.http[{index}]");
        if let Some(first) = catch_all {
            let reason = if route.r#match.is_empty() {
                format!(
                    "never reached: rule {first} has no match and takes every request (only the last rule can have no match)"
                )
            } else {
                format!("never reached: rule {first}, defined before, has no match and takes every request")
            };
            rules.warn(code::VS_UNREACHABLE_RULE, &at, reason);
            continue;
        }
        if route.r#match.is_empty() {
            catch_all = Some(index);
            continue;
        }
        let mut shadowed = 0;
        let mut words = Vec::new();
        for (m, block) in route.r#match.iter().enumerate() {
            if let Some((other, first)) = earlier.iter().find(|(_, first)| covers(first, block)) {
                shadowed += 1;
                let how = if *first == block { "the same match" } else { "a prefix that covers it" };
                let place =
                    if *other == index { "earlier in this rule".to_owned() } else { format!("in rule {other}") };
                words.push((format!("{at}.match[{m}]"), format!("never decides: {how} stands {place}")));
            }
            earlier.push((index, block));
        }
        if shadowed == route.r#match.len() {
            rules.warn(code::VS_UNREACHABLE_RULE, &at, "never reached: all its matches are used by prior rules");
        } else {
            for (at, reason) in words {
                rules.warn(code::VS_INEFFECTIVE_MATCH, &at, reason);
            }
        }
    }
}

/// Whether every request that `later` matches is matched by `first` already, as far as Istio looks.
fn covers(first: &HttpMatchRequest, later: &HttpMatchRequest) -> bool {
    // Names decide nothing.
    let mut same = later.clone();
    same.name.clone_from(&first.name);
    same.stat_prefix.clone_from(&first.stat_prefix);
    if *first == same {
        return true;
    }
    let (first_uri, later_uri) = (first.uri.as_ref(), later.uri.as_ref());
    same.uri.clone_from(&first.uri);
    let others_equal = *first == same;
    let Some(StringMatch::Prefix(prefix)) = first_uri else {
        return false;
    };
    let fold = |text: &str| {
        if first.ignore_uri_case { text.to_ascii_lowercase() } else { text.to_owned() }
    };
    let within = match later_uri {
        Some(StringMatch::Prefix(text) | StringMatch::Exact(text)) => fold(text).starts_with(&fold(prefix)),
        _ => false,
    };
    if !within {
        return false;
    }
    // An earlier match that asks for nothing but the path covers later ones whatever else they ask.
    let mut only_path = HttpMatchRequest {
        uri: first.uri.clone(),
        ignore_uri_case: first.ignore_uri_case,
        ..HttpMatchRequest::default()
    };
    only_path.name.clone_from(&first.name);
    only_path.stat_prefix.clone_from(&first.stat_prefix);
    others_equal || (only_path == *first && first.ignore_uri_case == later.ignore_uri_case)
}

/// The range of consecutive rules, from `start`, that have no match and one weighted destination each.
pub(crate) fn split_run(routes: &[HttpRoute], start: usize) -> usize {
    let plain = |route: &HttpRoute| {
        route.r#match.is_empty()
            && route.route.len() == 1
            && route.route[0].weight.is_some_and(|weight| weight != 0 && weight != 100)
            && route.redirect.is_none()
            && route.direct_response.is_none()
            && route.delegate.is_none()
    };
    routes[start..].iter().take_while(|route| plain(route)).count()
}

fn split_across_routes(rules: &mut Rules<'_>, routes: &[HttpRoute]) {
    let Some(start) = routes.iter().position(|route| route.r#match.is_empty()) else {
        return;
    };
    let run = split_run(routes, start);
    if run < 2 {
        return;
    }
    let mut effective = Vec::new();
    let mut corrected = String::new();
    for (n, route) in routes[start..start + run].iter().enumerate() {
        let target = &route.route[0];
        let Some(destination) = &target.destination else {
            return;
        };
        let weight = target.weight.unwrap_or(0);
        let mut name = destination.host.clone();
        let mut yaml = format!("host: {}", destination.host);
        if !destination.subset.is_empty() {
            name.push_str(&format!(" subset {}", destination.subset));
            yaml.push_str(&format!(", subset: {}", destination.subset));
        }
        if let Some(port) = &destination.port {
            yaml.push_str(&format!(", port: {{number: {}}}", port.number));
        }
        effective.push(format!("{name} {}%", if n == 0 { 100 } else { 0 }));
        if n > 0 {
            corrected.push_str(", ");
        }
        corrected.push_str(&format!("{{destination: {{{yaml}}}, weight: {weight}}}"));
    }
    let reason = format!(
        "a split written as {run} rules is no split: the first matchless rule takes everything ({}); write one rule: route: [{corrected}]",
        effective.join(", ")
    );
    rules.warn(code::VS_SPLIT_ACROSS_ROUTES, &format!("spec.http[{start}]"), reason);
}

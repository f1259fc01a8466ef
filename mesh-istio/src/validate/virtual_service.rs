//! Rules of a VirtualService.
//!
//! Follows Istio's `ValidateVirtualService`; which rules can be reached is in `matches`.

use super::{Rules, matches, names};
use crate::finding::code;
use crate::object::{
    CorsPolicy, Destination, HeaderOperations, Headers, HttpDirectResponse, HttpFaultInjection,
    HttpMatchRequest, HttpRedirect, HttpRetry, HttpRewrite, HttpRoute, Percent, StringMatch,
    VirtualService,
};
use crate::select::host;

/// Largest body of a direct response, and the size from which it is worth a word.
const MAX_BODY: usize = 1 << 20;
const LARGE_BODY: usize = 100 << 10;

pub(super) fn check(rules: &mut Rules<'_>, spec: &VirtualService) {
    let delegate = spec.hosts.is_empty();
    if delegate {
        for (name, set) in [
            ("gateways", !spec.gateways.is_empty()),
            ("tls", !spec.tls.is_empty()),
            ("tcp", !spec.tcp.is_empty()),
        ] {
            if set {
                rules.refuse(
                    code::EXCLUSIVE,
                    &format!("spec.{name}"),
                    "a VirtualService without hosts is a delegate and may not set it",
                );
            }
        }
        rules.not_in_force(
            "spec.hosts",
            "a VirtualService without hosts is a delegate, which has no effect yet",
        );
    }
    if spec.http.is_empty() && spec.tls.is_empty() && spec.tcp.is_empty() {
        rules.refuse(
            code::REQUIRED,
            "spec",
            "at least one of http, tls and tcp is required",
        );
    }
    let for_mesh =
        spec.gateways.is_empty() || spec.gateways.iter().any(|gateway| gateway == "mesh");
    hosts(rules, spec, for_mesh);
    gateways(rules, spec, for_mesh);
    rules.export_to(&spec.export_to, false);
    for (index, route) in spec.http.iter().enumerate() {
        http_route(
            rules,
            &format!("spec.http[{index}]"),
            route,
            delegate,
            for_mesh && spec.gateways.len() < 2,
        );
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
        let weights: Vec<_> = route
            .route
            .iter()
            .map(|target| (target.destination.as_ref(), target.weight))
            .collect();
        destinations(rules, &at, &weights);
    }
    for (index, route) in spec.tcp.iter().enumerate() {
        let at = format!("spec.tcp[{index}]");
        rules.not_in_force(&at, "TCP routes have no effect yet");
        let weights: Vec<_> = route
            .route
            .iter()
            .map(|target| (target.destination.as_ref(), target.weight))
            .collect();
        destinations(rules, &at, &weights);
    }
}

fn hosts(rules: &mut Rules<'_>, spec: &VirtualService, for_mesh: bool) {
    for (index, name) in spec.hosts.iter().enumerate() {
        let at = format!("spec.hosts[{index}]");
        if name == "*" && for_mesh {
            rules.refuse(
                code::BAD_HOST,
                &at,
                "\"*\" alone is not allowed for the mesh gateway",
            );
        } else if !names::is_wildcard_domain(name) && !names::is_ip(name) {
            rules.refuse(
                code::BAD_HOST,
                &at,
                format!("{name:?} is neither a host name nor an IP address"),
            );
        }
        if let Some(other) = spec.hosts[..index]
            .iter()
            .find(|other| host::matches(other, name))
        {
            rules.refuse(
                code::DUPLICATE_VALUE,
                &at,
                format!("{name:?} overlaps {other:?} of the same VirtualService"),
            );
        }
    }
}

fn gateways(rules: &mut Rules<'_>, spec: &VirtualService, for_mesh: bool) {
    for (index, gateway) in spec.gateways.iter().enumerate() {
        let at = format!("spec.gateways[{index}]");
        match gateway.split_once('/') {
            Some((namespace, name)) => {
                if !(namespace == "." || names::is_dns_label(namespace))
                    || !names::is_dns_label(name)
                {
                    rules.refuse(
                        code::INVALID_VALUE,
                        &at,
                        format!("{gateway:?} is not namespace/name"),
                    );
                }
            }
            None if gateway.contains('.') && names::is_fqdn(gateway) => {
                rules.warn(
                    code::DEPRECATED_FIELD,
                    &at,
                    "a gateway as a host name is deprecated: write namespace/name",
                );
            }
            None if names::is_dns_label(gateway) => {}
            None => rules.refuse(
                code::INVALID_VALUE,
                &at,
                format!("{gateway:?} is not the name of a gateway"),
            ),
        }
    }
    let overridden = spec
        .http
        .iter()
        .flat_map(|route| &route.r#match)
        .any(|block| block.gateways.iter().any(|gateway| gateway == "mesh"));
    if !for_mesh && !overridden {
        let list = spec.gateways.join(", ");
        rules.warn(
            code::VS_NOT_FOR_MESH,
            "spec.gateways",
            format!("bound only to gateways {list}: no effect within the mesh (add \"mesh\")"),
        );
    }
}

fn http_route(rules: &mut Rules<'_>, at: &str, route: &HttpRoute, delegate: bool, mesh_only: bool) {
    let exclusive = |rules: &mut Rules<'_>, with: &str, fields: &[(&str, bool)]| {
        for (name, set) in fields {
            if *set {
                rules.refuse(
                    code::EXCLUSIVE,
                    &format!("{at}.{name}"),
                    format!("not allowed together with {with}"),
                );
            }
        }
    };
    let (has_route, has_fault, has_rewrite) = (
        !route.route.is_empty(),
        route.fault.is_some(),
        route.rewrite.is_some(),
    );
    if let Some(reference) = &route.delegate {
        exclusive(
            rules,
            "delegate",
            &[("route", has_route), ("redirect", route.redirect.is_some())],
        );
        if delegate {
            rules.refuse(
                code::EXCLUSIVE,
                &format!("{at}.delegate"),
                "a delegate may not delegate",
            );
        }
        if reference.name.is_empty() {
            rules.refuse(
                code::REQUIRED,
                &format!("{at}.delegate.name"),
                "the name of the delegate is required",
            );
        }
        rules.not_in_force(
            &format!("{at}.delegate"),
            "delegation has no effect yet: the rule is passed over",
        );
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
        check_redirect(rules, at, route, redirect);
    } else if let Some(response) = &route.direct_response {
        exclusive(
            rules,
            "directResponse",
            &[
                ("route", has_route),
                ("fault", has_fault),
                ("rewrite", has_rewrite),
            ],
        );
        direct_response(rules, at, response);
    } else if !has_route {
        rules.refuse(
            code::REQUIRED,
            at,
            "one of route, redirect and directResponse is required",
        );
    }
    for (index, block) in route.r#match.iter().enumerate() {
        match_request(rules, &format!("{at}.match[{index}]"), block, mesh_only);
    }
    let weights: Vec<_> = route
        .route
        .iter()
        .map(|target| (target.destination.as_ref(), target.weight.unwrap_or(0)))
        .collect();
    destinations(rules, at, &weights);
    for (index, target) in route.route.iter().enumerate() {
        headers(
            rules,
            &format!("{at}.route[{index}].headers"),
            target.headers.as_ref(),
        );
    }
    headers(rules, &format!("{at}.headers"), route.headers.as_ref());
    rules.duration(&format!("{at}.timeout"), route.timeout);
    if let Some(policy) = &route.retries {
        retries(rules, &format!("{at}.retries"), policy);
    }
    if let Some(policy) = &route.fault {
        fault(rules, &format!("{at}.fault"), policy);
    }
    if let Some(policy) = &route.cors_policy {
        cors(rules, &format!("{at}.corsPolicy"), policy);
    }
    if let Some(policy) = &route.rewrite {
        rewrite(rules, &format!("{at}.rewrite"), route, policy);
    }
    mirrors(rules, at, route);
}

fn match_request(rules: &mut Rules<'_>, at: &str, block: &HttpMatchRequest, mesh_only: bool) {
    if let Some(uri) = &block.uri {
        string_match(rules, &format!("{at}.uri"), uri, true);
    }
    for (name, value) in [
        ("scheme", &block.scheme),
        ("method", &block.method),
        ("authority", &block.authority),
    ] {
        if let Some(value) = value {
            string_match(rules, &format!("{at}.{name}"), value, false);
        }
    }
    for (list, values) in [
        ("headers", &block.headers),
        ("withoutHeaders", &block.without_headers),
    ] {
        for (name, value) in values {
            let at = format!("{at}.{list}[{name}]");
            if name.starts_with("@request.auth.claims") {
                if mesh_only {
                    rules.refuse(
                        code::INVALID_VALUE,
                        &at,
                        "claims can only be matched at a gateway",
                    );
                } else {
                    rules.not_in_force(&at, "matching of claims has no effect yet");
                }
                continue;
            }
            header_name(rules, &at, name, true);
            if !value.is_present() {
                string_match(rules, &at, value, false);
            }
        }
    }
    for (name, value) in &block.query_params {
        if !value.is_present() {
            let at = format!("{at}.queryParams[{name}]");
            match value {
                // An empty exact value matches `?key` and `?key=`.
                StringMatch::Exact(_) => {}
                value => string_match(rules, &at, value, false),
            }
        }
    }
    if block.port != 0 {
        rules.port(&format!("{at}.port"), block.port);
    }
    if !block.source_labels.is_empty() {
        rules.selector(&format!("{at}.sourceLabels"), &block.source_labels);
    }
    if !block.source_namespace.is_empty() && !names::is_dns_label(&block.source_namespace) {
        rules.refuse(
            code::INVALID_VALUE,
            &format!("{at}.sourceNamespace"),
            format!("{:?} is no namespace", block.source_namespace),
        );
    }
    if !block.stat_prefix.is_empty() {
        rules.not_in_force(
            &format!("{at}.statPrefix"),
            "statistics by route have no effect yet",
        );
    }
}

fn string_match(rules: &mut Rules<'_>, at: &str, value: &StringMatch, empty_prefix: bool) {
    match value {
        StringMatch::Regex(regex) => rules.regex(&format!("{at}.regex"), regex),
        StringMatch::Prefix(prefix) if prefix.is_empty() && !empty_prefix => {
            rules.refuse(
                code::INVALID_VALUE,
                &format!("{at}.prefix"),
                "an empty prefix matches everything",
            );
        }
        StringMatch::Prefix(_) | StringMatch::Exact(_) | StringMatch::Present => {}
    }
}

fn header_name(rules: &mut Rules<'_>, at: &str, name: &str, pseudo: bool) {
    let known = matches!(
        name,
        ":method" | ":scheme" | ":authority" | ":path" | ":status"
    );
    if !(names::is_token(name) || (pseudo && known)) {
        rules.refuse(
            code::INVALID_VALUE,
            at,
            format!("{name:?} is not the name of a header"),
        );
    }
}

fn destinations(rules: &mut Rules<'_>, at: &str, targets: &[(Option<&Destination>, i32)]) {
    let mut sum: u64 = 0;
    for (index, (destination, weight)) in targets.iter().enumerate() {
        match u32::try_from(*weight) {
            Ok(weight) => sum += u64::from(weight),
            Err(_) => rules.refuse(
                code::BAD_WEIGHT,
                &format!("{at}.route[{index}].weight"),
                format!("{weight} is below 0"),
            ),
        }
        check_destination(
            rules,
            &format!("{at}.route[{index}].destination"),
            *destination,
        );
    }
    if targets.len() > 1 && sum == 0 && targets.iter().all(|(_, weight)| *weight == 0) {
        rules.refuse(
            code::BAD_WEIGHT,
            &format!("{at}.route"),
            "the sum of the weights is 0: nothing would be routed",
        );
    }
    if sum > u64::from(u32::MAX) {
        rules.refuse(
            code::BAD_WEIGHT,
            &format!("{at}.route"),
            format!("the sum of the weights, {sum}, does not fit 32 bits"),
        );
    }
}

fn check_destination(rules: &mut Rules<'_>, at: &str, destination: Option<&Destination>) {
    let Some(destination) = destination else {
        rules.refuse(code::REQUIRED, at, "a destination is required");
        return;
    };
    if destination.host.is_empty() {
        rules.refuse(
            code::REQUIRED,
            &format!("{at}.host"),
            "the host of the destination is required",
        );
    } else if destination.host == "*" || !names::is_wildcard_domain(&destination.host) {
        rules.refuse(
            code::BAD_HOST,
            &format!("{at}.host"),
            format!("{:?} is not the host of a destination", destination.host),
        );
    }
    if !destination.subset.is_empty() && !names::is_dns_label(&destination.subset) {
        rules.refuse(
            code::INVALID_VALUE,
            &format!("{at}.subset"),
            format!("{:?} is not the name of a subset", destination.subset),
        );
    }
    if let Some(port) = &destination.port {
        rules.port(&format!("{at}.port.number"), port.number);
    }
}

fn check_redirect(rules: &mut Rules<'_>, at: &str, route: &HttpRoute, redirect: &HttpRedirect) {
    let at_redirect = format!("{at}.redirect");
    if redirect.port.is_some() && redirect.derive_port.is_some() {
        rules.refuse(
            code::EXCLUSIVE,
            &format!("{at_redirect}.port"),
            "only one of port and derivePort may be set",
        );
    }
    let port = redirect.port.is_some() || redirect.derive_port.is_some();
    if redirect.uri.is_empty()
        && redirect.authority.is_empty()
        && redirect.scheme.is_empty()
        && !port
    {
        rules.refuse(
            code::REQUIRED,
            &at_redirect,
            "at least one of uri, authority, scheme and port is required",
        );
    }
    if let Some(port) = redirect.port {
        rules.port(&format!("{at_redirect}.port"), port);
    }
    if !redirect.scheme.is_empty() && redirect.scheme != "http" && redirect.scheme != "https" {
        rules.refuse(
            code::INVALID_VALUE,
            &format!("{at_redirect}.scheme"),
            "must be http or https",
        );
    }
    match redirect.redirect_code {
        0 | 301 | 302 | 303 | 307 | 308 => {}
        status @ 300..=399 => {
            rules.warn(
                code::INEFFECTIVE,
                &format!("{at_redirect}.redirectCode"),
                format!("{status} is accepted and not usable: the rule has no action"),
            );
        }
        status => rules.refuse(
            code::INVALID_VALUE,
            &format!("{at_redirect}.redirectCode"),
            format!("{status} is no redirect"),
        ),
    }
    if route.retries.is_some() || route.timeout.is_some() {
        rules.warn(
            code::INEFFECTIVE,
            at,
            "timeout and retries have no effect on a redirect",
        );
    }
}

fn direct_response(rules: &mut Rules<'_>, at: &str, response: &HttpDirectResponse) {
    let at = format!("{at}.directResponse");
    if !(200..=599).contains(&response.status) {
        rules.refuse(
            code::INVALID_VALUE,
            &format!("{at}.status"),
            format!("{} is no status: 200 to 599", response.status),
        );
    }
    let Some(body) = &response.body else { return };
    if body.string.is_some() && body.bytes.is_some() {
        rules.refuse(
            code::EXCLUSIVE,
            &format!("{at}.body"),
            "only one of string and bytes may be set",
        );
    }
    let length = match (&body.string, &body.bytes) {
        (Some(text), _) => text.len(),
        (None, Some(text)) => match crate::lower::base64(text) {
            Some(bytes) => bytes.len(),
            None => {
                rules.refuse(
                    code::INVALID_VALUE,
                    &format!("{at}.body.bytes"),
                    "not base64",
                );
                0
            }
        },
        (None, None) => 0,
    };
    if length > MAX_BODY {
        rules.refuse(
            code::INVALID_VALUE,
            &format!("{at}.body"),
            "larger than 1 MiB",
        );
    } else if length > LARGE_BODY {
        rules.warn(
            code::INEFFECTIVE,
            &format!("{at}.body"),
            "larger than 100 KiB: every snapshot carries it",
        );
    }
}

fn rewrite(rules: &mut Rules<'_>, at: &str, route: &HttpRoute, rewrite: &HttpRewrite) {
    if rewrite.uri.is_empty() && rewrite.authority.is_empty() && rewrite.uri_regex_rewrite.is_none()
    {
        rules.refuse(
            code::REQUIRED,
            at,
            "at least one of uri, authority and uriRegexRewrite is required",
        );
    }
    if let Some(regex) = &rewrite.uri_regex_rewrite {
        if !rewrite.uri.is_empty() {
            rules.refuse(
                code::EXCLUSIVE,
                &format!("{at}.uriRegexRewrite"),
                "not allowed together with uri",
            );
        }
        rules.regex(&format!("{at}.uriRegexRewrite.match"), &regex.r#match);
    }
    let in_headers = route
        .headers
        .as_ref()
        .and_then(|headers| headers.request.as_ref())
        .is_some_and(|operations| {
            operations
                .set
                .keys()
                .chain(operations.add.keys())
                .any(|key| is_authority(key))
        });
    if !rewrite.authority.is_empty() && in_headers {
        rules.refuse(
            code::EXCLUSIVE,
            &format!("{at}.authority"),
            "the authority is set in headers.request too",
        );
    }
}

fn is_authority(key: &str) -> bool {
    key.eq_ignore_ascii_case("host") || key == ":authority"
}

fn headers(rules: &mut Rules<'_>, at: &str, headers: Option<&Headers>) {
    let Some(headers) = headers else { return };
    for (side, operations) in [
        ("request", &headers.request),
        ("response", &headers.response),
    ] {
        let Some(HeaderOperations { set, add, remove }) = operations else {
            continue;
        };
        for (list, values) in [("set", set), ("add", add)] {
            for (name, value) in values {
                let at = format!("{at}.{side}.{list}[{name}]");
                if side == "request" && is_authority(name) {
                    continue;
                }
                if is_authority(name) || name.starts_with(':') {
                    rules.refuse(
                        code::INVALID_VALUE,
                        &at,
                        format!("{name} may not be changed here"),
                    );
                } else {
                    header_name(rules, &at, name, false);
                }
                header_value(rules, &at, value);
            }
        }
        for (index, name) in remove.iter().enumerate() {
            let at = format!("{at}.{side}.remove[{index}]");
            if is_authority(name) || name.starts_with(':') {
                rules.refuse(
                    code::INVALID_VALUE,
                    &at,
                    format!("{name} may not be removed"),
                );
            } else {
                header_name(rules, &at, name, false);
            }
        }
    }
}

fn header_value(rules: &mut Rules<'_>, at: &str, value: &str) {
    if value
        .bytes()
        .any(|byte| byte < 0x20 && byte != b'\t' || byte == 0x7f)
    {
        rules.refuse(
            code::INVALID_VALUE,
            at,
            "control characters are not allowed in a header",
        );
    }
    // `%%` is a literal percent sign; what remains must come in pairs around format operators.
    if !value
        .replace("%%", "")
        .matches('%')
        .count()
        .is_multiple_of(2)
    {
        rules.refuse(
            code::INVALID_VALUE,
            at,
            "single % in a header: write %% for a percent sign",
        );
    }
}

/// Envoy's conditions, for HTTP and for gRPC.
const RETRY_ON: &[&str] = &[
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

fn retries(rules: &mut Rules<'_>, at: &str, policy: &HttpRetry) {
    if policy.attempts < 0 {
        rules.refuse(
            code::INVALID_VALUE,
            &format!("{at}.attempts"),
            format!("{} is below 0", policy.attempts),
        );
    }
    if policy.attempts == 0
        && (policy.per_try_timeout.is_some()
            || !policy.retry_on.is_empty()
            || policy.retry_remote_localities.is_some())
    {
        rules.refuse(
            code::EXCLUSIVE,
            at,
            "attempts is 0, which switches retries off: the other fields must not be set",
        );
    }
    rules.duration(&format!("{at}.perTryTimeout"), policy.per_try_timeout);
    rules.duration(&format!("{at}.backoff"), policy.backoff);
    if policy.retry_on.is_empty() {
        return;
    }
    for condition in policy.retry_on.split(',') {
        let at = format!("{at}.retryOn");
        let trimmed = condition.trim();
        if trimmed != condition {
            rules.warn(
                code::INEFFECTIVE,
                &at,
                format!(
                    "blanks around {trimmed:?} are ignored here and refused by Istio's webhook"
                ),
            );
        }
        let status = trimmed
            .parse::<u32>()
            .is_ok_and(|status| (100..=599).contains(&status));
        if !status && !RETRY_ON.contains(&trimmed) {
            rules.refuse(
                code::INVALID_VALUE,
                &at,
                format!("{trimmed:?} is neither a retry condition nor a status"),
            );
        }
    }
}

fn percentage(rules: &mut Rules<'_>, at: &str, value: Option<&Percent>) {
    let Some(Percent { value }) = value else {
        return;
    };
    if *value != 0.0 && !(0.0001..=100.0).contains(value) {
        rules.refuse(
            code::INVALID_VALUE,
            &format!("{at}.value"),
            format!("{value} is not 0 and not within 0.0001 to 100"),
        );
    }
}

fn fault(rules: &mut Rules<'_>, at: &str, fault: &HttpFaultInjection) {
    if fault.delay.is_none() && fault.abort.is_none() {
        rules.refuse(code::REQUIRED, at, "a fault needs delay or abort");
    }
    if let Some(delay) = &fault.delay {
        let at = format!("{at}.delay");
        percentage(
            rules,
            &format!("{at}.percentage"),
            delay.percentage.as_ref(),
        );
        deprecated_percent(rules, &at, delay.percent);
        if delay.exponential_delay.is_some() {
            rules.refuse(
                code::INVALID_VALUE,
                &format!("{at}.exponentialDelay"),
                "exponentialDelay is not supported",
            );
        } else if delay.fixed_delay.is_none() {
            rules.refuse(
                code::REQUIRED,
                &format!("{at}.fixedDelay"),
                "fixedDelay is required",
            );
        }
        rules.duration(&format!("{at}.fixedDelay"), delay.fixed_delay);
        if delay.percentage.is_none() && delay.percent.is_none() {
            rules.warn(
                code::INEFFECTIVE,
                &at,
                "percentage is unset, which means 0: no request is delayed",
            );
        }
    }
    if let Some(abort) = &fault.abort {
        let at = format!("{at}.abort");
        percentage(
            rules,
            &format!("{at}.percentage"),
            abort.percentage.as_ref(),
        );
        deprecated_percent(rules, &at, abort.percent);
        match (abort.http_status, &abort.grpc_status, &abort.http2_error) {
            (_, _, Some(_)) => rules.refuse(
                code::INVALID_VALUE,
                &format!("{at}.http2Error"),
                "http2Error is not supported",
            ),
            (Some(_), Some(_), None) => rules.refuse(
                code::EXCLUSIVE,
                &at,
                "only one of httpStatus and grpcStatus may be set",
            ),
            (Some(status), None, None) if !(200..=599).contains(&status) => {
                rules.refuse(
                    code::INVALID_VALUE,
                    &format!("{at}.httpStatus"),
                    format!("{status} is no status: 200 to 599"),
                );
            }
            (None, Some(name), None) if crate::lower::grpc_status(name).is_none() => {
                rules.refuse(
                    code::INVALID_VALUE,
                    &format!("{at}.grpcStatus"),
                    format!("{name:?} is not the name of a gRPC status"),
                );
            }
            (None, None, None) => rules.warn(
                code::INEFFECTIVE,
                &at,
                "an abort without httpStatus and grpcStatus has no effect",
            ),
            _ => {}
        }
        if abort.percentage.is_none() && abort.percent.is_none() {
            rules.warn(
                code::INEFFECTIVE,
                &at,
                "percentage is unset, which means 0: no request is aborted",
            );
        }
    }
}

fn deprecated_percent(rules: &mut Rules<'_>, at: &str, percent: Option<i32>) {
    let Some(percent) = percent else { return };
    rules.warn(
        code::DEPRECATED_FIELD,
        &format!("{at}.percent"),
        "deprecated: write percentage.value",
    );
    if !(0..=100).contains(&percent) {
        rules.refuse(
            code::INVALID_VALUE,
            &format!("{at}.percent"),
            format!("{percent} is not within 0 to 100"),
        );
    }
}

fn cors(rules: &mut Rules<'_>, at: &str, cors: &CorsPolicy) {
    const METHODS: &[&str] = &[
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*",
    ];
    if !cors.allow_origin.is_empty() {
        rules.warn(
            code::DEPRECATED_FIELD,
            &format!("{at}.allowOrigin"),
            "deprecated: write allowOrigins with exact",
        );
    }
    for (index, origin) in cors.allow_origins.iter().enumerate() {
        let at = format!("{at}.allowOrigins[{index}]");
        match origin {
            StringMatch::Exact(text) | StringMatch::Prefix(text) if text.is_empty() => {
                rules.refuse(code::INVALID_VALUE, &at, "an origin must not be empty");
            }
            StringMatch::Present => rules.refuse(
                code::REQUIRED,
                &at,
                "one of exact, prefix and regex is required",
            ),
            origin => string_match(rules, &at, origin, false),
        }
    }
    for (index, method) in cors.allow_methods.iter().enumerate() {
        if !METHODS.contains(&method.as_str()) {
            rules.refuse(
                code::INVALID_VALUE,
                &format!("{at}.allowMethods[{index}]"),
                format!("{method:?} is no method"),
            );
        }
    }
    for (list, headers) in [
        ("allowHeaders", &cors.allow_headers),
        ("exposeHeaders", &cors.expose_headers),
    ] {
        for (index, name) in headers.iter().enumerate() {
            header_name(rules, &format!("{at}.{list}[{index}]"), name, false);
        }
    }
    if let Some(age) = cors.max_age {
        rules.duration(&format!("{at}.maxAge"), Some(age));
        if age.subsec_nanos() != 0 {
            rules.refuse(
                code::BAD_DURATION,
                &format!("{at}.maxAge"),
                "must be whole seconds",
            );
        }
    }
}

fn mirrors(rules: &mut Rules<'_>, at: &str, route: &HttpRoute) {
    if route.mirror.is_some() && !route.mirrors.is_empty() {
        rules.refuse(
            code::EXCLUSIVE,
            &format!("{at}.mirrors"),
            "not allowed together with mirror",
        );
    }
    if let Some(mirror) = &route.mirror {
        check_destination(rules, &format!("{at}.mirror"), Some(mirror));
    }
    for (index, mirror) in route.mirrors.iter().enumerate() {
        let at = format!("{at}.mirrors[{index}]");
        check_destination(
            rules,
            &format!("{at}.destination"),
            mirror.destination.as_ref(),
        );
        mirror_percentage(
            rules,
            &format!("{at}.percentage"),
            mirror.percentage.as_ref(),
        );
    }
    if let Some(percent) = route.mirror_percent {
        rules.warn(
            code::DEPRECATED_FIELD,
            &format!("{at}.mirrorPercent"),
            "deprecated: write mirrorPercentage.value",
        );
        if percent > 100 {
            rules.refuse(
                code::INVALID_VALUE,
                &format!("{at}.mirrorPercent"),
                format!("{percent} is more than 100"),
            );
        }
    }
    mirror_percentage(
        rules,
        &format!("{at}.mirrorPercentage"),
        route.mirror_percentage.as_ref(),
    );
}

fn mirror_percentage(rules: &mut Rules<'_>, at: &str, value: Option<&Percent>) {
    let Some(Percent { value }) = value else {
        return;
    };
    if !(0.0..=100.0).contains(value) {
        rules.refuse(
            code::INVALID_VALUE,
            &format!("{at}.value"),
            format!("{value} is not within 0 to 100"),
        );
    }
}

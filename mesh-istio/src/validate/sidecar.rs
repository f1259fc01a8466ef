//! Rules of a Sidecar.
//!
//! Follows Istio's `ValidateSidecar`.

use std::net::SocketAddr;

use super::destination_rule::connections::connection_pool;
use super::{Rules, gateway, names};
use crate::finding::code;
use crate::object::{
    CaptureMode, ConnectionPoolSettings, H2UpgradePolicy, IstioEgressListener, IstioIngressListener, OutboundMode,
    ServerTlsMode, Sidecar,
};
use crate::registry::Protocol;

pub(super) fn check(rules: &mut Rules<'_>, spec: &Sidecar) {
    if spec.ingress.is_empty()
        && spec.egress.is_empty()
        && spec.outbound_traffic_policy.is_none()
        && spec.inbound_connection_pool.is_none()
    {
        rules.refuse(code::REQUIRED, "spec", "an empty configuration selects nothing");
    }
    if let Some(selector) = &spec.workload_selector {
        rules.selector("spec.workloadSelector.labels", &selector.labels);
    }
    for (index, listener) in spec.ingress.iter().enumerate() {
        let at = format!("spec.ingress[{index}]");
        ingress(rules, &at, listener);
        let number = |one: &IstioIngressListener| one.port.as_ref().map(|port| port.number);
        if listener.port.is_some() && spec.ingress[..index].iter().any(|other| number(other) == number(listener)) {
            rules.refuse(code::DUPLICATE_VALUE, &format!("{at}.port.number"), "another ingress listener has the port");
        }
    }
    let mut catch_all = false;
    for (index, listener) in spec.egress.iter().enumerate() {
        let at = format!("spec.egress[{index}]");
        match &listener.port {
            None if catch_all => {
                rules.refuse(code::EXCLUSIVE, &at, "only one egress listener may be without a port");
            }
            None => catch_all = true,
            Some(_) if catch_all => {
                rules.refuse(code::INVALID_VALUE, &at, "the egress listener without a port must be the last");
            }
            Some(_) => {}
        }
        egress(rules, &at, listener);
        let place = |one: &IstioEgressListener| one.port.as_ref().map(|port| (port.number, one.bind.clone()));
        if listener.port.is_some() && spec.egress[..index].iter().any(|other| place(other) == place(listener)) {
            rules.refuse(code::DUPLICATE_VALUE, &format!("{at}.port.number"), "another egress listener has the port");
        }
    }
    pool(rules, "spec.inboundConnectionPool", spec.inbound_connection_pool.as_ref());
    if let Some(policy) = &spec.outbound_traffic_policy
        && let Some(proxy) = &policy.egress_proxy
    {
        let at = "spec.outboundTrafficPolicy.egressProxy";
        if policy.mode == OutboundMode::RegistryOnly {
            rules.refuse(code::EXCLUSIVE, at, "not allowed together with REGISTRY_ONLY");
        }
        if proxy.host.is_empty() || !names::is_fqdn(&proxy.host) {
            rules.refuse(code::BAD_HOST, &format!("{at}.host"), format!("{:?} is not a host", proxy.host));
        }
        match &proxy.port {
            None => rules.refuse(code::REQUIRED, &format!("{at}.port"), "the port is required"),
            Some(port) => rules.port(&format!("{at}.port.number"), port.number),
        }
    }
}

fn ingress(rules: &mut Rules<'_>, at: &str, listener: &IstioIngressListener) {
    match &listener.port {
        None => rules.refuse(code::REQUIRED, &format!("{at}.port"), "the port is required"),
        Some(port) => {
            gateway::port(rules, &format!("{at}.port"), port);
        }
    }
    if !listener.bind.is_empty() {
        if !names::is_ip(&listener.bind) {
            let reason = format!("{:?} is not an address", listener.bind);
            rules.refuse(code::INVALID_VALUE, &format!("{at}.bind"), reason);
        } else if listener.bind != "0.0.0.0" && listener.bind != "::" {
            let reason = "nothing is bound here: the port is served at whatever address the application listens on";
            rules.not_in_force(&format!("{at}.bind"), reason);
        }
    }
    endpoint(rules, &format!("{at}.defaultEndpoint"), &listener.default_endpoint);
    if let Some(tls) = &listener.tls {
        let at = format!("{at}.tls");
        if tls.https_redirect {
            rules.refuse(code::EXCLUSIVE, &format!("{at}.httpsRedirect"), "not allowed in a Sidecar");
        }
        if matches!(tls.mode, ServerTlsMode::IstioMutual | ServerTlsMode::AutoPassthrough | ServerTlsMode::Passthrough)
        {
            rules.refuse(code::INVALID_VALUE, &format!("{at}.mode"), "must be SIMPLE, MUTUAL or OPTIONAL_MUTUAL");
        } else {
            gateway::tls_settings(rules, &at, tls);
        }
        // Accepting it would serve the port in plain text.
        rules.refuse(code::SECURITY_NOT_IN_FORCE, &at, "TLS of servers is not built yet");
    }
    pool(rules, &format!("{at}.connectionPool"), listener.connection_pool.as_ref());
}

/// Where requests go: a port of the own address, of loopback, or a socket.
fn endpoint(rules: &mut Rules<'_>, at: &str, text: &str) {
    if text.is_empty() {
        return;
    }
    if let Some(path) = text.strip_prefix("unix://") {
        if !(path.starts_with('/') || path.starts_with('@')) {
            rules.refuse(code::INVALID_VALUE, at, "UDS must be an absolute path or abstract socket");
        }
    } else {
        let known = ["127.0.0.1", "0.0.0.0", "::1", "::"];
        let good = text
            .parse::<SocketAddr>()
            .is_ok_and(|address| address.port() != 0 && known.contains(&address.ip().to_string().as_str()));
        if !good {
            let reason = "must be 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, [::]:PORT or unix://PATH";
            rules.refuse(code::INVALID_VALUE, at, reason);
        }
    }
}

fn egress(rules: &mut Rules<'_>, at: &str, listener: &IstioEgressListener) {
    if let Some(port) = &listener.port {
        let at = format!("{at}.port");
        if Protocol::parse(&port.protocol) == Protocol::HttpProxy {
            rules.not_in_force(
                &format!("{at}.protocol"),
                "a port for an HTTP proxy has no effect: call the hosts themselves",
            );
        }
        // A socket has no port.
        if port.number != 0 || !listener.bind.starts_with("unix://") {
            gateway::port(rules, &at, port);
        }
    }
    if listener.bind.starts_with("unix://") {
        if listener.capture_mode == CaptureMode::Iptables {
            rules.refuse(
                code::EXCLUSIVE,
                &format!("{at}.captureMode"),
                "sockets of the file system are not redirected",
            );
        }
        rules.not_in_force(&format!("{at}.bind"), "sockets of the file system are not listened on");
    } else if !listener.bind.is_empty() && !names::is_ip(&listener.bind) {
        let reason = format!("{:?} is neither an address nor unix://", listener.bind);
        rules.refuse(code::INVALID_VALUE, &format!("{at}.bind"), reason);
    } else if !listener.bind.is_empty() && listener.port.is_none() {
        rules.refuse(code::REQUIRED, &format!("{at}.port"), "an address to listen on needs a port");
    }
    if listener.hosts.is_empty() {
        rules.refuse(code::REQUIRED, &format!("{at}.hosts"), "at least one host is required");
    }
    for (index, text) in listener.hosts.iter().enumerate() {
        let at = format!("{at}.hosts[{index}]");
        let Some((namespace, host)) = text.split_once('/') else {
            rules.refuse(code::BAD_HOST, &at, format!("{text:?} is not namespace/host"));
            continue;
        };
        let bare = namespace.strip_prefix('~').filter(|rest| !rest.is_empty()).unwrap_or(namespace);
        if !matches!(bare, "*" | "." | "~") && !names::is_dns_label(bare) {
            rules.refuse(code::BAD_HOST, &at, format!("{namespace:?} is neither a namespace nor \"*\", \".\", \"~\""));
        }
        if namespace == "~" && host != "*" {
            rules.refuse(code::BAD_HOST, &at, "\"~\" (nothing) goes with \"*\" only");
        } else if !names::is_wildcard_domain(host) && !names::is_ip(host) {
            rules.refuse(code::BAD_HOST, &at, format!("{host:?} is not a host"));
        }
        if listener.hosts[..index].contains(text) {
            rules.warn(code::INEFFECTIVE, &at, format!("{text:?} is written twice"));
        } else if text != "*/*" && !text.starts_with('~') && listener.hosts.iter().any(|other| other == "*/*") {
            rules.warn(code::INEFFECTIVE, &at, "\"*/*\" beside it takes everything");
        }
    }
}

fn pool(rules: &mut Rules<'_>, at: &str, pool: Option<&ConnectionPoolSettings>) {
    connection_pool(rules, at, pool);
    if pool.is_some() {
        rules.not_in_force(at, "limits on what is served have no effect yet");
    }
    if pool.and_then(|pool| pool.http.as_ref()).is_some_and(|http| http.h2_upgrade_policy != H2UpgradePolicy::Default) {
        rules.refuse(code::EXCLUSIVE, &format!("{at}.http.h2UpgradePolicy"), "not allowed for what is served");
    }
}

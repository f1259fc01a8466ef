//! Rules of a Gateway, and of a server's TLS.
//!
//! Follows Istio's `ValidateGateway`.

use super::{Rules, names};
use crate::finding::code;
use crate::object::{Gateway, Port, Server, ServerTlsMode, ServerTlsSettings};
use crate::registry::Protocol;

pub(super) fn check(rules: &mut Rules<'_>, spec: &Gateway) {
    if spec.servers.is_empty() {
        rules.refuse(code::REQUIRED, "spec.servers", "at least one server is required");
    }
    if !spec.selector.is_empty() {
        rules.selector("spec.selector", &spec.selector);
    }
    for (index, one) in spec.servers.iter().enumerate() {
        let at = format!("spec.servers[{index}]");
        server(rules, &at, one);
        let name = |server: &Server| server.port.as_ref().map(|port| port.name.clone()).unwrap_or_default();
        if !name(one).is_empty() && spec.servers[..index].iter().any(|other| name(other) == name(one)) {
            let reason = format!("port name {:?} is written twice", name(one));
            rules.refuse(code::DUPLICATE_VALUE, &format!("{at}.port.name"), reason);
        }
    }
}

fn server(rules: &mut Rules<'_>, at: &str, server: &Server) {
    if server.hosts.is_empty() {
        rules.refuse(code::REQUIRED, &format!("{at}.hosts"), "at least one host is required");
    }
    for (index, text) in server.hosts.iter().enumerate() {
        let at = format!("{at}.hosts[{index}]");
        let (namespace, host) = text.split_once('/').unwrap_or(("*", text));
        if !matches!(namespace, "*" | ".") && !names::is_dns_label(namespace) {
            rules.refuse(code::BAD_HOST, &at, format!("{namespace:?} is no namespace"));
        } else if !names::is_wildcard_domain(host) && !names::is_ip(host) {
            rules.refuse(code::BAD_HOST, &at, format!("{host:?} is not a host"));
        }
    }
    if !server.bind.is_empty() && !names::is_ip(&server.bind) {
        if server.bind.starts_with("unix://") {
            rules.not_in_force(&format!("{at}.bind"), "sockets of the file system are not listened on");
        } else {
            let reason = format!("{:?} is neither an address nor unix://", server.bind);
            rules.refuse(code::INVALID_VALUE, &format!("{at}.bind"), reason);
        }
    }
    if !server.default_endpoint.is_empty() {
        rules.warn(code::INEFFECTIVE, &format!("{at}.defaultEndpoint"), "no effect in Istio");
    }
    let Some(listened) = &server.port else {
        rules.refuse(code::REQUIRED, &format!("{at}.port"), "the port is required");
        return;
    };
    let protocol = port(rules, &format!("{at}.port"), listened);
    if listened.name.is_empty() {
        rules.refuse(code::REQUIRED, &format!("{at}.port.name"), "the name of a port is required");
    }
    let tls_at = format!("{at}.tls");
    match (&server.tls, protocol.is_tls()) {
        (None, true) => {
            rules.refuse(code::REQUIRED, &tls_at, format!("a server for {} needs tls", listened.protocol));
        }
        (Some(tls), true) => {
            tls_settings(rules, &tls_at, tls);
            let reason = format!("TLS of servers is not built yet: nothing listens on port {}", listened.number);
            rules.security_not_in_force(&tls_at, reason);
        }
        (Some(tls), false) if protocol.is_http() => {
            // Only the redirect makes sense without TLS.
            let more = ServerTlsSettings { https_redirect: tls.https_redirect, ..ServerTlsSettings::default() };
            if *tls != more {
                rules.refuse(code::EXCLUSIVE, &tls_at, "a server for plain HTTP may only set httpsRedirect");
            }
        }
        (Some(tls), false) => {
            tls_settings(rules, &tls_at, tls);
            if tls.https_redirect {
                rules.refuse(code::EXCLUSIVE, &format!("{tls_at}.httpsRedirect"), "only HTTP can be redirected");
            }
        }
        (None, false) => {}
    }
    if !protocol.is_http() && !protocol.is_tls() {
        rules.not_in_force(
            &format!("{at}.port.protocol"),
            format!("only HTTP is served at a gateway yet: nothing listens on port {}", listened.number),
        );
    }
}

/// Number and protocol of a port.
pub(super) fn port(rules: &mut Rules<'_>, at: &str, port: &Port) -> Protocol {
    rules.port(&format!("{at}.number"), port.number);
    if port.target_port != 0 {
        rules.port(&format!("{at}.targetPort"), port.target_port);
        rules.warn(code::DEPRECATED_FIELD, &format!("{at}.targetPort"), "deprecated, and no effect in Istio");
    }
    let protocol = Protocol::parse(&port.protocol);
    if matches!(protocol, Protocol::Auto | Protocol::Udp) {
        let reason = format!("{:?} is not a protocol", port.protocol);
        rules.refuse(code::INVALID_VALUE, &format!("{at}.protocol"), reason);
    }
    protocol
}

/// Which certificates a mode needs, and which it may not have.
pub(super) fn tls_settings(rules: &mut Rules<'_>, at: &str, tls: &ServerTlsSettings) {
    use ServerTlsMode::{AutoPassthrough, IstioMutual, Mutual, OptionalMutual, Passthrough, Simple};
    let files = !tls.server_certificate.is_empty() || !tls.private_key.is_empty();
    let secrets = !tls.credential_name.is_empty() || !tls.credential_names.is_empty();
    let listed = !tls.tls_certificates.is_empty();
    match tls.mode {
        IstioMutual => {
            if files || secrets || listed || !tls.ca_certificates.is_empty() {
                let reason = "ISTIO_MUTUAL uses the certificates of the mesh: no files and no credentialName";
                rules.refuse(code::EXCLUSIVE, at, reason);
            }
        }
        Passthrough | AutoPassthrough => {
            if files || secrets || listed || !tls.ca_certificates.is_empty() {
                rules.warn(code::INEFFECTIVE, at, "certificates have no effect where TLS is passed through");
            }
        }
        Simple | Mutual | OptionalMutual => {
            if usize::from(files) + usize::from(secrets) + usize::from(listed) > 1 {
                let reason = "only one of certificate files, credentialName and tlsCertificates may be set";
                rules.refuse(code::EXCLUSIVE, &format!("{at}.credentialName"), reason);
            }
            if !secrets && !listed {
                for (name, value) in [("serverCertificate", &tls.server_certificate), ("privateKey", &tls.private_key)]
                {
                    if value.is_empty() {
                        let reason = "serverCertificate and privateKey, or credentialName, are required";
                        rules.refuse(code::REQUIRED, &format!("{at}.{name}"), reason);
                    }
                }
                if tls.mode != Simple && tls.ca_certificates.is_empty() {
                    let reason = "callers are verified: caCertificates, or credentialName, is required";
                    rules.refuse(code::REQUIRED, &format!("{at}.caCertificates"), reason);
                }
            }
        }
    }
    if !tls.credential_name.is_empty() && !tls.credential_names.is_empty() {
        let reason = "not allowed together with credentialName";
        rules.refuse(code::EXCLUSIVE, &format!("{at}.credentialNames"), reason);
    }
    for (name, hashes) in [
        ("verifyCertificateSpki", &tls.verify_certificate_spki),
        ("verifyCertificateHash", &tls.verify_certificate_hash),
    ] {
        if hashes.iter().any(String::is_empty) {
            rules.refuse(code::INVALID_VALUE, &format!("{at}.{name}"), "a hash must not be empty");
        }
    }
}

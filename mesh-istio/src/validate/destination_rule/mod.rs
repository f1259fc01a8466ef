//! Rules of a DestinationRule.
//!
//! Follows Istio's `ValidateDestinationRule` and the CEL rules of the schema: here the whole and its policies, beside it load balancing and
//! connections. What later releases of this crate bring into force is reported field by field.

pub(super) mod connections;
mod load_balancer;
mod locality;

use super::{Rules, names};
use crate::finding::code;
use crate::object::{ClientTlsSettings, DestinationRule, TlsMode, TrafficPolicy};
use connections::{connection_pool, outlier_detection};
use load_balancer::load_balancer;

pub(super) fn check(rules: &mut Rules<'_>, spec: &DestinationRule) {
    if spec.host.is_empty() {
        rules.refuse(code::REQUIRED, "spec.host", "the host is required");
    } else if !names::is_wildcard_domain(&spec.host) && !names::is_ip(&spec.host) {
        rules.refuse(code::BAD_HOST, "spec.host", format!("{:?} is not a host", spec.host));
    }
    rules.export_to(&spec.export_to, false);
    if let Some(selector) = &spec.workload_selector {
        rules.selector("spec.workloadSelector.matchLabels", &selector.match_labels);
        let own = rules.object.id.namespace.clone();
        if spec.export_to.iter().any(|namespace| namespace != "." && *namespace != own) {
            rules.refuse(
                code::BAD_EXPORT_TO,
                "spec.exportTo",
                "a rule with workloadSelector is for its own namespace only",
            );
        }
    }
    if let Some(policy) = &spec.traffic_policy {
        traffic_policy(rules, "spec.trafficPolicy", policy);
    }
    for (index, subset) in spec.subsets.iter().enumerate() {
        let at = format!("spec.subsets[{index}]");
        if !names::is_dns_label(&subset.name) {
            rules.refuse(
                code::INVALID_VALUE,
                &format!("{at}.name"),
                format!("{:?} is not the name of a subset", subset.name),
            );
        } else if spec.subsets[..index].iter().any(|other| other.name == subset.name) {
            rules.refuse(
                code::DUPLICATE_VALUE,
                &format!("{at}.name"),
                format!("subset {:?} is defined twice", subset.name),
            );
        }
        for (key, value) in &subset.labels {
            if !names::is_label_key(key) || !names::is_label_value(value) {
                rules.refuse(
                    code::BAD_SELECTOR,
                    &format!("{at}.labels[{key}]"),
                    format!("{key}={value} is not a valid label"),
                );
            }
        }
        if let Some(policy) = &subset.traffic_policy {
            traffic_policy(rules, &format!("{at}.trafficPolicy"), policy);
        }
    }
}

fn traffic_policy(rules: &mut Rules<'_>, at: &str, policy: &TrafficPolicy) {
    if *policy == TrafficPolicy::default() {
        rules.refuse(code::REQUIRED, at, "a policy needs at least one setting");
    }
    load_balancer(
        rules,
        &format!("{at}.loadBalancer"),
        policy.load_balancer.as_ref(),
        policy.outlier_detection.is_some(),
    );
    connection_pool(rules, &format!("{at}.connectionPool"), policy.connection_pool.as_ref());
    outlier_detection(rules, &format!("{at}.outlierDetection"), policy.outlier_detection.as_ref());
    tls(rules, &format!("{at}.tls"), policy.tls.as_ref());
    for (index, port) in policy.port_level_settings.iter().enumerate() {
        let at = format!("{at}.portLevelSettings[{index}]");
        match &port.port {
            None => rules.refuse(code::REQUIRED, &format!("{at}.port"), "the port is required"),
            Some(selector) => rules.port(&format!("{at}.port.number"), selector.number),
        }
        if port.load_balancer.is_none()
            && port.connection_pool.is_none()
            && port.outlier_detection.is_none()
            && port.tls.is_none()
        {
            rules.refuse(
                code::REQUIRED,
                &at,
                "one of loadBalancer, connectionPool, outlierDetection and tls is required",
            );
        }
        load_balancer(
            rules,
            &format!("{at}.loadBalancer"),
            port.load_balancer.as_ref(),
            port.outlier_detection.is_some(),
        );
        connection_pool(rules, &format!("{at}.connectionPool"), port.connection_pool.as_ref());
        outlier_detection(rules, &format!("{at}.outlierDetection"), port.outlier_detection.as_ref());
        tls(rules, &format!("{at}.tls"), port.tls.as_ref());
    }
    if let Some(tunnel) = &policy.tunnel {
        let at = format!("{at}.tunnel");
        if policy.proxy_protocol.is_some() {
            rules.refuse(code::EXCLUSIVE, &at, "not allowed together with proxyProtocol");
        }
        if tunnel.target_host.is_empty() || !(names::is_fqdn(&tunnel.target_host) || names::is_ip(&tunnel.target_host))
        {
            rules.refuse(
                code::BAD_HOST,
                &format!("{at}.targetHost"),
                format!("{:?} is neither a host nor an address", tunnel.target_host),
            );
        }
        rules.port(&format!("{at}.targetPort"), tunnel.target_port);
        if !matches!(tunnel.protocol.as_str(), "" | "CONNECT" | "POST") {
            rules.refuse(code::INVALID_VALUE, &format!("{at}.protocol"), "must be CONNECT or POST");
        }
        rules.not_in_force(&at, "tunnels have no effect yet");
    }
    if policy.proxy_protocol.is_some() {
        rules.not_in_force(&format!("{at}.proxyProtocol"), "the PROXY protocol has no effect yet");
    }
    if let Some(budget) = &policy.retry_budget {
        if let Some(percent) = &budget.percent
            && !(0.0..=100.0).contains(&percent.value)
        {
            rules.refuse(
                code::INVALID_VALUE,
                &format!("{at}.retryBudget.percent.value"),
                format!("{} is not within 0 to 100", percent.value),
            );
        }
        if budget.budget_interval.is_some() {
            rules.not_in_force(
                &format!("{at}.retryBudget.budgetInterval"),
                "the window has no effect: retries count against requests in flight",
            );
        }
    }
}

fn tls(rules: &mut Rules<'_>, at: &str, tls: Option<&ClientTlsSettings>) {
    let Some(tls) = tls else { return };
    let files = !tls.client_certificate.is_empty() || !tls.private_key.is_empty() || !tls.ca_certificates.is_empty();
    let insecure = tls.insecure_skip_verify == Some(true);
    match tls.mode {
        TlsMode::Disable => return,
        TlsMode::IstioMutual => {
            if files || !tls.credential_name.is_empty() {
                rules.refuse(
                    code::EXCLUSIVE,
                    at,
                    "ISTIO_MUTUAL uses the certificates of the mesh: no files and no credentialName",
                );
            }
        }
        TlsMode::Mutual if tls.credential_name.is_empty() => {
            for (name, value) in [("clientCertificate", &tls.client_certificate), ("privateKey", &tls.private_key)] {
                if value.is_empty() {
                    rules.refuse(
                        code::REQUIRED,
                        &format!("{at}.{name}"),
                        "MUTUAL needs clientCertificate and privateKey, or credentialName",
                    );
                }
            }
        }
        TlsMode::Mutual | TlsMode::Simple => {}
    }
    if !tls.credential_name.is_empty() && files {
        rules.refuse(code::EXCLUSIVE, &format!("{at}.credentialName"), "not allowed together with certificate files");
    }
    if insecure && (!tls.ca_certificates.is_empty() || !tls.subject_alt_names.is_empty()) {
        rules.refuse(
            code::EXCLUSIVE,
            &format!("{at}.insecureSkipVerify"),
            "not allowed together with caCertificates and subjectAltNames",
        );
    }
    if tls.subject_alt_names.iter().any(String::is_empty) {
        rules.refuse(code::INVALID_VALUE, &format!("{at}.subjectAltNames"), "a name must not be empty");
    }
    rules.security_not_in_force(
        &format!("{at}.mode"),
        "TLS towards upstreams is not built yet: the cluster carries it, so that nobody sends plain text instead",
    );
}

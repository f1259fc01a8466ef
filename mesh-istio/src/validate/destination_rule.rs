//! Rules of a DestinationRule.
//!
//! Follows Istio's `ValidateDestinationRule` and the CEL rules of the schema. What later releases of this crate bring into force
//! is reported field by field.

use super::{Rules, names};
use crate::finding::code;
use crate::object::{
    ClientTlsSettings, ConnectionPoolSettings, ConsistentHashLb, DestinationRule, H2UpgradePolicy,
    LoadBalancerSettings, LocalityLbSetting, OutlierDetection, SimpleLb, TlsMode, TrafficPolicy,
};

pub(super) fn check(rules: &mut Rules<'_>, spec: &DestinationRule) {
    if spec.host.is_empty() {
        rules.refuse(code::REQUIRED, "spec.host", "the host is required");
    } else if !names::is_wildcard_domain(&spec.host) && !names::is_ip(&spec.host) {
        rules.refuse(
            code::BAD_HOST,
            "spec.host",
            format!("{:?} is not a host", spec.host),
        );
    }
    rules.export_to(&spec.export_to, false);
    if let Some(selector) = &spec.workload_selector {
        rules.selector("spec.workloadSelector.matchLabels", &selector.match_labels);
        let own = rules.object.id.namespace.clone();
        if spec
            .export_to
            .iter()
            .any(|namespace| namespace != "." && *namespace != own)
        {
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
        } else if spec.subsets[..index]
            .iter()
            .any(|other| other.name == subset.name)
        {
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
    connection_pool(
        rules,
        &format!("{at}.connectionPool"),
        policy.connection_pool.as_ref(),
    );
    outlier_detection(
        rules,
        &format!("{at}.outlierDetection"),
        policy.outlier_detection.as_ref(),
    );
    tls(rules, &format!("{at}.tls"), policy.tls.as_ref());
    for (index, port) in policy.port_level_settings.iter().enumerate() {
        let at = format!("{at}.portLevelSettings[{index}]");
        match &port.port {
            None => rules.refuse(
                code::REQUIRED,
                &format!("{at}.port"),
                "the port is required",
            ),
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
        connection_pool(
            rules,
            &format!("{at}.connectionPool"),
            port.connection_pool.as_ref(),
        );
        outlier_detection(
            rules,
            &format!("{at}.outlierDetection"),
            port.outlier_detection.as_ref(),
        );
        tls(rules, &format!("{at}.tls"), port.tls.as_ref());
    }
    if let Some(tunnel) = &policy.tunnel {
        let at = format!("{at}.tunnel");
        if policy.proxy_protocol.is_some() {
            rules.refuse(
                code::EXCLUSIVE,
                &at,
                "not allowed together with proxyProtocol",
            );
        }
        if tunnel.target_host.is_empty()
            || !(names::is_fqdn(&tunnel.target_host) || names::is_ip(&tunnel.target_host))
        {
            rules.refuse(
                code::BAD_HOST,
                &format!("{at}.targetHost"),
                format!("{:?} is neither a host nor an address", tunnel.target_host),
            );
        }
        rules.port(&format!("{at}.targetPort"), tunnel.target_port);
        if !matches!(tunnel.protocol.as_str(), "" | "CONNECT" | "POST") {
            rules.refuse(
                code::INVALID_VALUE,
                &format!("{at}.protocol"),
                "must be CONNECT or POST",
            );
        }
        rules.not_in_force(&at, "tunnels have no effect yet");
    }
    if policy.proxy_protocol.is_some() {
        rules.not_in_force(
            &format!("{at}.proxyProtocol"),
            "the PROXY protocol has no effect yet",
        );
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

fn load_balancer(
    rules: &mut Rules<'_>,
    at: &str,
    settings: Option<&LoadBalancerSettings>,
    outlier_detection: bool,
) {
    let Some(settings) = settings else { return };
    if settings.simple.is_some() && settings.consistent_hash.is_some() {
        rules.refuse(
            code::EXCLUSIVE,
            at,
            "only one of simple and consistentHash may be set",
        );
    }
    if settings.simple == Some(SimpleLb::LeastConn) {
        rules.warn(
            code::DEPRECATED_FIELD,
            &format!("{at}.simple"),
            "LEAST_CONN is deprecated: write LEAST_REQUEST",
        );
    }
    if let Some(hash) = &settings.consistent_hash {
        consistent_hash(rules, &format!("{at}.consistentHash"), hash);
    }
    let warmed = matches!(
        settings.simple,
        None | Some(
            SimpleLb::Unspecified
                | SimpleLb::LeastConn
                | SimpleLb::LeastRequest
                | SimpleLb::RoundRobin
        )
    ) && settings.consistent_hash.is_none();
    if let Some(duration) = settings.warmup_duration_secs {
        rules.warn(
            code::DEPRECATED_FIELD,
            &format!("{at}.warmupDurationSecs"),
            "deprecated: write warmup.duration",
        );
        rules.duration(&format!("{at}.warmupDurationSecs"), Some(duration));
        if settings.warmup.is_some() {
            rules.refuse(
                code::EXCLUSIVE,
                &format!("{at}.warmup"),
                "not allowed together with warmupDurationSecs",
            );
        }
    }
    if let Some(warmup) = &settings.warmup {
        let at = format!("{at}.warmup");
        match warmup.duration {
            None => rules.refuse(
                code::REQUIRED,
                &format!("{at}.duration"),
                "the duration is required",
            ),
            some => rules.duration(&format!("{at}.duration"), some),
        }
        if warmup
            .minimum_percent
            .is_some_and(|percent| !(0.0..=100.0).contains(&percent))
        {
            rules.refuse(
                code::INVALID_VALUE,
                &format!("{at}.minimumPercent"),
                "must be within 0 to 100",
            );
        }
        if warmup
            .aggression
            .is_some_and(|aggression| aggression <= 0.0)
        {
            rules.refuse(
                code::INVALID_VALUE,
                &format!("{at}.aggression"),
                "must be above 0",
            );
        }
    }
    if (settings.warmup.is_some() || settings.warmup_duration_secs.is_some()) && !warmed {
        rules.warn(
            code::INEFFECTIVE,
            &format!("{at}.warmup"),
            "slow start works with ROUND_ROBIN and LEAST_REQUEST only",
        );
    }
    if let Some(locality) = &settings.locality_lb_setting {
        locality_lb(
            rules,
            &format!("{at}.localityLbSetting"),
            locality,
            outlier_detection,
        );
    }
    if let Some(zone) = &settings.zone_aware_lb_setting {
        let at = format!("{at}.zoneAwareLbSetting");
        if settings.locality_lb_setting.is_some() {
            rules.refuse(
                code::EXCLUSIVE,
                &at,
                "not allowed together with localityLbSetting",
            );
        }
        let _ = zone;
        rules.not_in_force(&at, "zone aware routing has no effect yet");
    }
}

fn consistent_hash(rules: &mut Rules<'_>, at: &str, hash: &ConsistentHashLb) {
    let keys = [
        hash.http_header_name.is_some(),
        hash.http_cookie.is_some(),
        hash.use_source_ip.is_some(),
        hash.http_query_parameter_name.is_some(),
    ];
    match keys.iter().filter(|set| **set).count() {
        0 => rules.refuse(
            code::REQUIRED,
            at,
            "a key is required: httpHeaderName, httpCookie, useSourceIp or httpQueryParameterName",
        ),
        1 => {}
        _ => rules.refuse(code::EXCLUSIVE, at, "only one key may be set"),
    }
    if hash
        .http_header_name
        .as_deref()
        .is_some_and(|name| !names::is_token(name))
    {
        rules.refuse(
            code::INVALID_VALUE,
            &format!("{at}.httpHeaderName"),
            "not the name of a header",
        );
    }
    if hash.http_query_parameter_name.as_deref() == Some("") {
        rules.refuse(
            code::INVALID_VALUE,
            &format!("{at}.httpQueryParameterName"),
            "the name must not be empty",
        );
    }
    if let Some(cookie) = &hash.http_cookie {
        let at = format!("{at}.httpCookie");
        if cookie.name.is_empty() {
            rules.refuse(
                code::REQUIRED,
                &format!("{at}.name"),
                "the name of the cookie is required",
            );
        }
        for (index, attribute) in cookie.attributes.iter().enumerate() {
            let at = format!("{at}.attributes[{index}].name");
            if attribute.name.is_empty() {
                rules.refuse(code::REQUIRED, &at, "the name of an attribute is required");
            } else if cookie.attributes[..index]
                .iter()
                .any(|other| other.name == attribute.name)
            {
                rules.refuse(
                    code::DUPLICATE_VALUE,
                    &at,
                    format!("attribute {:?} is written twice", attribute.name),
                );
            }
        }
    }
    if hash.ring_hash.is_some() && hash.maglev.is_some() {
        rules.refuse(
            code::EXCLUSIVE,
            &format!("{at}.maglev"),
            "not allowed together with ringHash",
        );
    }
    if hash.minimum_ring_size != 0 {
        rules.warn(
            code::DEPRECATED_FIELD,
            &format!("{at}.minimumRingSize"),
            "deprecated: write ringHash.minimumRingSize",
        );
        if hash.ring_hash.is_some() || hash.maglev.is_some() {
            rules.refuse(
                code::EXCLUSIVE,
                &format!("{at}.minimumRingSize"),
                "not allowed together with ringHash and maglev",
            );
        }
    }
    if let Some(maglev) = &hash.maglev {
        let at = format!("{at}.maglev.tableSize");
        if maglev.table_size >= 5_000_011 {
            rules.refuse(code::INVALID_VALUE, &at, "must be below 5000011");
        } else if !is_prime(maglev.table_size) {
            rules.refuse(code::INVALID_VALUE, &at, "must be a prime");
        }
    }
}

fn is_prime(number: u64) -> bool {
    number >= 2
        && (2..)
            .take_while(|divisor| divisor * divisor <= number)
            .all(|divisor| !number.is_multiple_of(divisor))
}

fn locality_lb(
    rules: &mut Rules<'_>,
    at: &str,
    setting: &LocalityLbSetting,
    outlier_detection: bool,
) {
    if !setting.distribute.is_empty()
        && (!setting.failover.is_empty() || !setting.failover_priority.is_empty())
    {
        rules.refuse(
            code::EXCLUSIVE,
            at,
            "distribute is not allowed together with failover and failoverPriority",
        );
    }
    for (index, distribute) in setting.distribute.iter().enumerate() {
        let sum: u64 = distribute
            .to
            .values()
            .map(|weight| u64::from(*weight))
            .sum();
        if sum != 100
            || distribute
                .to
                .values()
                .any(|weight| !(1..=100).contains(weight))
        {
            rules.refuse(
                code::BAD_WEIGHT,
                &format!("{at}.distribute[{index}].to"),
                format!("weights must be 1 to 100 and add up to 100, not {sum}"),
            );
        }
    }
    for (index, failover) in setting.failover.iter().enumerate() {
        let at = format!("{at}.failover[{index}]");
        if failover.from == failover.to {
            rules.refuse(code::INVALID_VALUE, &at, "from and to must differ");
        }
        if [&failover.from, &failover.to]
            .iter()
            .any(|region| region.contains(['/', '*']))
        {
            rules.refuse(code::INVALID_VALUE, &at, "regions only: no / and no *");
        }
    }
    if (!setting.failover.is_empty() || !setting.failover_priority.is_empty()) && !outlier_detection
    {
        rules.warn(
            code::INEFFECTIVE,
            at,
            "failover has no effect without outlierDetection",
        );
    }
    rules.not_in_force(at, "locality load balancing has no effect yet");
}

fn connection_pool(rules: &mut Rules<'_>, at: &str, pool: Option<&ConnectionPoolSettings>) {
    let Some(pool) = pool else { return };
    if pool.tcp.is_none() && pool.http.is_none() {
        rules.refuse(
            code::REQUIRED,
            at,
            "at least one of tcp and http is required",
        );
    }
    let negative = |rules: &mut Rules<'_>, field: String, value: i32| {
        if value < 0 {
            rules.refuse(code::INVALID_VALUE, &field, format!("{value} is below 0"));
        }
    };
    if let Some(tcp) = &pool.tcp {
        let at = format!("{at}.tcp");
        negative(rules, format!("{at}.maxConnections"), tcp.max_connections);
        rules.duration(&format!("{at}.connectTimeout"), tcp.connect_timeout);
        rules.duration(
            &format!("{at}.maxConnectionDuration"),
            tcp.max_connection_duration,
        );
        if let Some(keepalive) = &tcp.tcp_keepalive {
            for (name, value) in [("time", keepalive.time), ("interval", keepalive.interval)] {
                rules.duration(&format!("{at}.tcpKeepalive.{name}"), value);
                if value.is_some_and(|value| value.subsec_nanos() != 0) {
                    rules.warn(
                        code::INEFFECTIVE,
                        &format!("{at}.tcpKeepalive.{name}"),
                        "only whole seconds count",
                    );
                }
            }
        }
    }
    if let Some(http) = &pool.http {
        let at = format!("{at}.http");
        negative(
            rules,
            format!("{at}.http1MaxPendingRequests"),
            http.http1_max_pending_requests,
        );
        negative(
            rules,
            format!("{at}.http2MaxRequests"),
            http.http2_max_requests,
        );
        negative(
            rules,
            format!("{at}.maxRequestsPerConnection"),
            http.max_requests_per_connection,
        );
        negative(rules, format!("{at}.maxRetries"), http.max_retries);
        negative(
            rules,
            format!("{at}.maxConcurrentStreams"),
            http.max_concurrent_streams,
        );
        rules.duration(&format!("{at}.idleTimeout"), http.idle_timeout);
        if http.use_client_protocol && http.h2_upgrade_policy == H2UpgradePolicy::Upgrade {
            rules.refuse(
                code::EXCLUSIVE,
                &format!("{at}.useClientProtocol"),
                "not allowed together with h2UpgradePolicy UPGRADE",
            );
        }
        if let Some(keepalive) = &http.http2_keep_alive {
            for (name, value) in [
                ("interval", keepalive.interval),
                ("timeout", keepalive.timeout),
            ] {
                let at = format!("{at}.http2KeepAlive.{name}");
                if value.is_none() {
                    rules.refuse(
                        code::REQUIRED,
                        &at,
                        "interval and timeout are both required",
                    );
                }
                rules.duration(&at, value);
            }
        }
    }
}

fn outlier_detection(rules: &mut Rules<'_>, at: &str, outlier: Option<&OutlierDetection>) {
    let Some(outlier) = outlier else { return };
    if outlier.consecutive_errors != 0 {
        let replaced = outlier.consecutive_5xx_errors.is_some()
            || outlier.consecutive_gateway_errors.is_some();
        let meaning = if replaced {
            "ignored beside its replacements"
        } else {
            "taken as consecutiveGatewayErrors; Istio ignores it"
        };
        rules.warn(
            code::DEPRECATED_FIELD,
            &format!("{at}.consecutiveErrors"),
            format!("removed in Istio 1.7 ({meaning}): write consecutiveGatewayErrors or consecutive5xxErrors"),
        );
        if outlier.consecutive_errors < 0 {
            rules.refuse(
                code::INVALID_VALUE,
                &format!("{at}.consecutiveErrors"),
                format!("{} is below 0", outlier.consecutive_errors),
            );
        }
    }
    for (name, value) in [
        ("interval", outlier.interval),
        ("baseEjectionTime", outlier.base_ejection_time),
    ] {
        rules.duration(&format!("{at}.{name}"), value);
    }
    for (name, value) in [
        ("maxEjectionPercent", outlier.max_ejection_percent),
        ("minHealthPercent", outlier.min_health_percent),
    ] {
        if !(0..=100).contains(&value) {
            rules.refuse(
                code::INVALID_VALUE,
                &format!("{at}.{name}"),
                format!("{value} is not within 0 to 100"),
            );
        }
    }
    if outlier
        .consecutive_local_origin_failures
        .is_some_and(|count| count > 0)
        && !outlier.split_external_local_origin_errors
    {
        rules.refuse(
            code::EXCLUSIVE,
            &format!("{at}.consecutiveLocalOriginFailures"),
            "needs splitExternalLocalOriginErrors",
        );
    }
    for (index, status) in outlier
        .outlier_detection_http_error_codes
        .iter()
        .enumerate()
    {
        if !(100..=599).contains(status) {
            rules.refuse(
                code::INVALID_VALUE,
                &format!("{at}.outlierDetectionHttpErrorCodes[{index}]"),
                format!("{status} is no status"),
            );
        }
    }
    if !outlier.outlier_detection_http_error_codes.is_empty() {
        rules.not_in_force(
            &format!("{at}.outlierDetectionHttpErrorCodes"),
            "other errors than 5xx have no effect yet",
        );
    }
}

fn tls(rules: &mut Rules<'_>, at: &str, tls: Option<&ClientTlsSettings>) {
    let Some(tls) = tls else { return };
    let files = !tls.client_certificate.is_empty()
        || !tls.private_key.is_empty()
        || !tls.ca_certificates.is_empty();
    let insecure = tls.insecure_skip_verify == Some(true);
    match tls.mode {
        TlsMode::Disable => return,
        TlsMode::IstioMutual => {
            if files || !tls.credential_name.is_empty() {
                rules.refuse(code::EXCLUSIVE, at, "ISTIO_MUTUAL uses the certificates of the mesh: no files and no credentialName");
            }
        }
        TlsMode::Mutual if tls.credential_name.is_empty() => {
            for (name, value) in [
                ("clientCertificate", &tls.client_certificate),
                ("privateKey", &tls.private_key),
            ] {
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
        rules.refuse(
            code::EXCLUSIVE,
            &format!("{at}.credentialName"),
            "not allowed together with certificate files",
        );
    }
    if insecure && (!tls.ca_certificates.is_empty() || !tls.subject_alt_names.is_empty()) {
        rules.refuse(
            code::EXCLUSIVE,
            &format!("{at}.insecureSkipVerify"),
            "not allowed together with caCertificates and subjectAltNames",
        );
    }
    if tls.subject_alt_names.iter().any(String::is_empty) {
        rules.refuse(
            code::INVALID_VALUE,
            &format!("{at}.subjectAltNames"),
            "a name must not be empty",
        );
    }
    rules.security_not_in_force(&format!("{at}.mode"), "TLS towards upstreams is not built yet: the cluster carries it, so that nobody sends plain text instead");
}

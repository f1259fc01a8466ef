//! Numbers that nobody should write, in every field that takes one: each is refused with object, field and reason in one line, or lowered.
//!
//! The tables have a row for each numeric field: where it stands (`@` for the value), its path, and which values are good.

use mesh_istio::{MeshConfig, ProxyContext, Severity, World, lower};

use crate::support::SERVICES;

/// Whole numbers around every limit there is.
const WHOLE: [i128; 17] = [
    i128::MIN + 1,
    -2_147_483_649,
    -2_147_483_648,
    -1,
    0,
    1,
    99,
    100,
    101,
    65_535,
    65_536,
    2_147_483_647,
    2_147_483_648,
    4_294_967_295,
    4_294_967_296,
    18_446_744_073_709_551_615,
    18_446_744_073_709_551_616,
];

/// What is no whole number.
const NOT_WHOLE: [&str; 8] = ["0.5", "1e300", ".nan", ".inf", "-.inf", "'NaN'", "'1x'", "true"];

const I32_MAX: i128 = 2_147_483_647;
const U32_MAX: i128 = 4_294_967_295;
const U64_MAX: i128 = 18_446_744_073_709_551_615;

const fn positive_i32(value: i128) -> bool {
    value >= 0 && value <= I32_MAX
}

const fn u32(value: i128) -> bool {
    value >= 0 && value <= U32_MAX
}

const fn u64(value: i128) -> bool {
    value >= 0 && value <= U64_MAX
}

const fn percent(value: i128) -> bool {
    value >= 0 && value <= 100
}

const fn port(value: i128) -> bool {
    value >= 1 && value <= 65_535
}

const fn port_or_unset(value: i128) -> bool {
    value >= 0 && value <= 65_535
}

const fn status(value: i128) -> bool {
    value >= 200 && value <= 599
}

/// Kind, `spec` with `@` for the value, path below `spec`, which values are good.
type Row<T> = (&'static str, &'static str, &'static str, fn(T) -> bool);

#[rustfmt::skip]
const INTEGERS: &[Row<i128>] = &[
    ("DestinationRule", "trafficPolicy: {connectionPool: {tcp: {maxConnections: @}}}", "trafficPolicy.connectionPool.tcp.maxConnections", positive_i32),
    ("DestinationRule", "trafficPolicy: {connectionPool: {tcp: {tcpKeepalive: {probes: @}}}}", "trafficPolicy.connectionPool.tcp.tcpKeepalive.probes", u32),
    ("DestinationRule", "trafficPolicy: {connectionPool: {http: {http1MaxPendingRequests: @}}}", "trafficPolicy.connectionPool.http.http1MaxPendingRequests", positive_i32),
    ("DestinationRule", "trafficPolicy: {connectionPool: {http: {http2MaxRequests: @}}}", "trafficPolicy.connectionPool.http.http2MaxRequests", positive_i32),
    ("DestinationRule", "trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: @}}}", "trafficPolicy.connectionPool.http.maxRequestsPerConnection", positive_i32),
    ("DestinationRule", "trafficPolicy: {connectionPool: {http: {maxRetries: @}}}", "trafficPolicy.connectionPool.http.maxRetries", positive_i32),
    ("DestinationRule", "trafficPolicy: {connectionPool: {http: {maxConcurrentStreams: @}}}", "trafficPolicy.connectionPool.http.maxConcurrentStreams", positive_i32),
    ("DestinationRule", "trafficPolicy: {outlierDetection: {consecutiveErrors: @}}", "trafficPolicy.outlierDetection.consecutiveErrors", positive_i32),
    ("DestinationRule", "trafficPolicy: {outlierDetection: {consecutive5xxErrors: @}}", "trafficPolicy.outlierDetection.consecutive5xxErrors", u32),
    ("DestinationRule", "trafficPolicy: {outlierDetection: {consecutiveGatewayErrors: @}}", "trafficPolicy.outlierDetection.consecutiveGatewayErrors", u32),
    ("DestinationRule", "trafficPolicy: {outlierDetection: {splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: @}}", "trafficPolicy.outlierDetection.consecutiveLocalOriginFailures", u32),
    ("DestinationRule", "trafficPolicy: {outlierDetection: {maxEjectionPercent: @}}", "trafficPolicy.outlierDetection.maxEjectionPercent", percent),
    ("DestinationRule", "trafficPolicy: {outlierDetection: {minHealthPercent: @}}", "trafficPolicy.outlierDetection.minHealthPercent", percent),
    ("DestinationRule", "trafficPolicy: {outlierDetection: {outlierDetectionHttpErrorCodes: [@]}}", "trafficPolicy.outlierDetection.outlierDetectionHttpErrorCodes[0]", |value| (100..=599).contains(&value)),
    ("DestinationRule", "trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, minimumRingSize: @}}}", "trafficPolicy.loadBalancer.consistentHash.minimumRingSize", u64),
    ("DestinationRule", "trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, ringHash: {minimumRingSize: @}}}}", "trafficPolicy.loadBalancer.consistentHash.ringHash.minimumRingSize", u64),
    // Of the numbers here only 101 is a prime below 5000011.
    ("DestinationRule", "trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: @}}}}", "trafficPolicy.loadBalancer.consistentHash.maglev.tableSize", |value| value == 101),
    ("DestinationRule", "trafficPolicy: {loadBalancer: {zoneAwareLbSetting: {minClusterSize: @}}}", "trafficPolicy.loadBalancer.zoneAwareLbSetting.minClusterSize", u64),
    ("DestinationRule", "trafficPolicy: {retryBudget: {minRetryConcurrency: @}}", "trafficPolicy.retryBudget.minRetryConcurrency", u32),
    ("DestinationRule", "trafficPolicy: {portLevelSettings: [{port: {number: @}, connectionPool: {http: {}}}]}", "trafficPolicy.portLevelSettings[0].port.number", port),
    ("DestinationRule", "trafficPolicy: {tunnel: {targetHost: a.b, targetPort: @}}", "trafficPolicy.tunnel.targetPort", port),
    ("DestinationRule", "subsets: [{name: v1, trafficPolicy: {connectionPool: {http: {maxRetries: @}}}}]", "subsets[0].trafficPolicy.connectionPool.http.maxRetries", positive_i32),
    ("VirtualService", "http: [{route: [{destination: {host: a}, weight: @}]}]", "http[0].route[0].weight", positive_i32),
    ("VirtualService", "http: [{route: [{destination: {host: a, port: {number: @}}}]}]", "http[0].route[0].destination.port.number", port),
    ("VirtualService", "http: [{match: [{port: @}], ROUTE}]", "http[0].match[0].port", port_or_unset),
    ("VirtualService", "http: [{retries: {attempts: @}, ROUTE}]", "http[0].retries.attempts", positive_i32),
    ("VirtualService", "http: [{mirror: {host: b}, mirrorPercent: @, ROUTE}]", "http[0].mirrorPercent", percent),
    ("VirtualService", "http: [{redirect: {uri: /, redirectCode: @}}]", "http[0].redirect.redirectCode", |value| {
        value == 0
    }),
    ("VirtualService", "http: [{redirect: {port: @}}]", "http[0].redirect.port", port),
    ("VirtualService", "http: [{directResponse: {status: @}}]", "http[0].directResponse.status", status),
    ("VirtualService", "http: [{fault: {delay: {fixedDelay: 1s, percent: @}}, ROUTE}]", "http[0].fault.delay.percent", percent),
    ("VirtualService", "http: [{fault: {abort: {httpStatus: @, percentage: {value: 1}}}, ROUTE}]", "http[0].fault.abort.httpStatus", status),
    ("ServiceEntry", "hosts: [x.com], resolution: STATIC, ports: [{name: http, number: @, protocol: HTTP}]", "ports[0].number", port),
    ("ServiceEntry", "hosts: [x.com], resolution: STATIC, ports: [{name: http, number: 80, targetPort: @, protocol: HTTP}]", "ports[0].targetPort", port_or_unset),
    ("ServiceEntry", "hosts: [x.com], resolution: STATIC, ports: [{name: http, number: 80, protocol: HTTP}], endpoints: [{address: 10.0.0.1, weight: @}]", "endpoints[0].weight", u32),
    ("ServiceEntry", "hosts: [x.com], resolution: STATIC, ports: [{name: http, number: 80, protocol: HTTP}], endpoints: [{address: 10.0.0.1, ports: {http: @}}]", "endpoints[0].ports[http]", port),
    ("WorkloadEntry", "address: 10.0.0.1, weight: @", "weight", u32),
    ("WorkloadEntry", "address: 10.0.0.1, ports: {http: @}", "ports[http]", port),
    ("Gateway", "servers: [{port: {number: @, protocol: HTTP, name: http}, hosts: ['*']}]", "servers[0].port.number", port),
    ("Gateway", "servers: [{port: {number: 80, targetPort: @, protocol: HTTP, name: http}, hosts: ['*']}]", "servers[0].port.targetPort", port_or_unset),
    ("Sidecar", "ingress: [{port: {number: @, protocol: HTTP, name: http}}]", "ingress[0].port.number", port),
    ("Sidecar", "ingress: [{port: {number: 80, protocol: HTTP, name: http}, connectionPool: {http: {maxRetries: @}}}]", "ingress[0].connectionPool.http.maxRetries", positive_i32),
    ("Sidecar", "egress: [{port: {number: @, protocol: HTTP, name: http}, hosts: ['*/*']}]", "egress[0].port.number", port),
    ("Sidecar", "inboundConnectionPool: {tcp: {maxConnections: @}}", "inboundConnectionPool.tcp.maxConnections", positive_i32),
    ("Sidecar", "outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a.b, port: {number: @}}}", "outboundTrafficPolicy.egressProxy.port.number", port),
    ("Service", "ports: [{name: http, port: @}]", "ports[0].port", port),
];

#[rustfmt::skip]
const FRACTIONS: &[Row<f64>] = &[
    ("DestinationRule", "trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 1s, minimumPercent: @}}}", "trafficPolicy.loadBalancer.warmup.minimumPercent", |value| (0.0..=100.0).contains(&value)),
    ("DestinationRule", "trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 1s, aggression: @}}}", "trafficPolicy.loadBalancer.warmup.aggression", |value| value > 0.0),
    ("DestinationRule", "trafficPolicy: {retryBudget: {percent: {value: @}}}", "trafficPolicy.retryBudget.percent.value", |value| (0.0..=100.0).contains(&value)),
    ("VirtualService", "http: [{mirror: {host: b}, mirrorPercentage: {value: @}, ROUTE}]", "http[0].mirrorPercentage.value", |value| (0.0..=100.0).contains(&value)),
    ("VirtualService", "http: [{mirrors: [{destination: {host: b}, percentage: {value: @}}], ROUTE}]", "http[0].mirrors[0].percentage.value", |value| (0.0..=100.0).contains(&value)),
    ("VirtualService", "http: [{fault: {delay: {fixedDelay: 1s, percentage: {value: @}}}, ROUTE}]", "http[0].fault.delay.percentage.value", share),
    ("VirtualService", "http: [{fault: {abort: {httpStatus: 500, percentage: {value: @}}}, ROUTE}]", "http[0].fault.abort.percentage.value", share),
];

fn share(value: f64) -> bool {
    value == 0.0 || (0.0001..=100.0).contains(&value)
}

/// Nanoseconds; a millisecond at least, in whole ones.
fn ordinary(nanos: u128) -> bool {
    nanos >= 1_000_000 && nanos.is_multiple_of(1_000_000)
}

const fn any(_: u128) -> bool {
    true
}

#[rustfmt::skip]
const DURATIONS: &[Row<u128>] = &[
    ("DestinationRule", "trafficPolicy: {connectionPool: {tcp: {connectTimeout: @}}}", "trafficPolicy.connectionPool.tcp.connectTimeout", ordinary),
    ("DestinationRule", "trafficPolicy: {connectionPool: {tcp: {maxConnectionDuration: @}}}", "trafficPolicy.connectionPool.tcp.maxConnectionDuration", ordinary),
    ("DestinationRule", "trafficPolicy: {connectionPool: {tcp: {idleTimeout: @}}}", "trafficPolicy.connectionPool.tcp.idleTimeout", any),
    ("DestinationRule", "trafficPolicy: {connectionPool: {tcp: {tcpKeepalive: {time: @}}}}", "trafficPolicy.connectionPool.tcp.tcpKeepalive.time", ordinary),
    ("DestinationRule", "trafficPolicy: {connectionPool: {tcp: {tcpKeepalive: {interval: @}}}}", "trafficPolicy.connectionPool.tcp.tcpKeepalive.interval", ordinary),
    ("DestinationRule", "trafficPolicy: {connectionPool: {http: {idleTimeout: @}}}", "trafficPolicy.connectionPool.http.idleTimeout", ordinary),
    ("DestinationRule", "trafficPolicy: {connectionPool: {http: {http2KeepAlive: {interval: @, timeout: 1s}}}}", "trafficPolicy.connectionPool.http.http2KeepAlive.interval", ordinary),
    ("DestinationRule", "trafficPolicy: {connectionPool: {http: {http2KeepAlive: {interval: 1s, timeout: @}}}}", "trafficPolicy.connectionPool.http.http2KeepAlive.timeout", ordinary),
    ("DestinationRule", "trafficPolicy: {outlierDetection: {interval: @}}", "trafficPolicy.outlierDetection.interval", ordinary),
    ("DestinationRule", "trafficPolicy: {outlierDetection: {baseEjectionTime: @}}", "trafficPolicy.outlierDetection.baseEjectionTime", ordinary),
    ("DestinationRule", "trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: @}}}", "trafficPolicy.loadBalancer.warmup.duration", ordinary),
    ("DestinationRule", "trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN, warmupDurationSecs: @}}", "trafficPolicy.loadBalancer.warmupDurationSecs", ordinary),
    ("DestinationRule", "trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: c, ttl: @}}}}", "trafficPolicy.loadBalancer.consistentHash.httpCookie.ttl", any),
    ("DestinationRule", "trafficPolicy: {retryBudget: {budgetInterval: @}}", "trafficPolicy.retryBudget.budgetInterval", any),
    ("VirtualService", "http: [{timeout: @, ROUTE}]", "http[0].timeout", ordinary),
    ("VirtualService", "http: [{retries: {attempts: 1, perTryTimeout: @}, ROUTE}]", "http[0].retries.perTryTimeout", ordinary),
    ("VirtualService", "http: [{retries: {attempts: 1, backoff: @}, ROUTE}]", "http[0].retries.backoff", ordinary),
    ("VirtualService", "http: [{fault: {delay: {fixedDelay: @, percentage: {value: 1}}}, ROUTE}]", "http[0].fault.delay.fixedDelay", ordinary),
    ("VirtualService", "http: [{corsPolicy: {allowOrigins: [{exact: x}], maxAge: @}, ROUTE}]", "http[0].corsPolicy.maxAge", |nanos| nanos > 0 && nanos.is_multiple_of(1_000_000_000)),
];

/// Durations with their nanoseconds; `None`: not one, below 0 or beyond what a message can carry.
const DURATION_TEXTS: &[(&str, Option<u128>)] = &[
    ("-1s", None),
    ("0s", Some(0)),
    ("1ns", Some(1)),
    ("999us", Some(999_000)),
    ("1ms", Some(1_000_000)),
    ("1.5ms", Some(1_500_000)),
    ("1s", Some(1_000_000_000)),
    ("876000h", Some(3_153_600_000 * 1_000_000_000)),
    ("315576000000s", Some(315_576_000_000 * 1_000_000_000)),
    ("315576000001s", None),
    ("18446744073709551616s", None),
    ("99999999999999999999h", None),
    ("1e9s", None),
    ("NaN", None),
    ("''", None),
    ("5", None),
    (".inf", None),
];

fn document(kind: &str, spec: &str, value: &str) -> String {
    let spec = spec.replace('@', value).replace("ROUTE", "route: [{destination: {host: a}}]");
    let (version, spec) = match kind {
        "Service" => ("v1", spec),
        "DestinationRule" => ("networking.istio.io/v1", format!("host: a, {spec}")),
        "VirtualService" => ("networking.istio.io/v1", format!("hosts: [a], {spec}")),
        _ => ("networking.istio.io/v1", spec),
    };
    format!("{SERVICES}apiVersion: {version}\nkind: {kind}\nmetadata: {{name: hostile}}\nspec: {{{spec}}}\n")
}

/// Loads and lowers the object, and says whether it is taken. When it is not, there is one finding, of one line, about the field.
fn taken(kind: &str, spec: &str, path: &str, value: &str) -> bool {
    let world = World::load([("x", document(kind, spec, value))]);
    let refused: Vec<_> = world.findings().iter().filter(|finding| finding.severity == Severity::Refused).collect();
    let proxy = ProxyContext::new("default").ip("10.0.0.1".parse().unwrap()).locality("r/z/s");
    let lowered = lower(&world, &proxy, &MeshConfig::default());
    // A Sidecar may hide it, as it is asked to.
    let is_seen = kind == "Sidecar" || lowered.clusters.iter().any(|cluster| cluster.name.contains("||a."));
    assert!(is_seen, "{kind} {spec} {value}: the service beside it is lost");
    let Some(first) = refused.first() else {
        return true;
    };
    let line = first.to_string();
    assert_eq!(refused.len(), 1, "{kind} {spec} {value}: {refused:?}");
    assert_eq!(first.field, format!("spec.{path}"), "{kind} {spec} {value}: {line}");
    assert!(first.object.as_ref().is_some_and(|id| id.name == "hostile"), "{line}");
    assert!(!line.contains('\n') && !first.reason.is_empty(), "{line}");
    false
}

#[test]
fn whole_numbers_out_of_their_range_are_refused_by_field() {
    for (kind, spec, path, good) in INTEGERS {
        for value in WHOLE {
            assert_eq!(taken(kind, spec, path, &value.to_string()), good(value), "{kind} {spec} {value}");
        }
        for value in NOT_WHOLE {
            assert!(!taken(kind, spec, path, value), "{kind} {spec} {value}");
        }
    }
}

#[test]
fn fractions_out_of_their_range_are_refused_by_field() {
    for (kind, spec, path, good) in FRACTIONS {
        for value in [-1e308, -1.0, -0.0001, 0.0, 0.00001, 0.0001, 0.5, 99.9999, 100.0, 100.0001, 1e308] {
            assert_eq!(taken(kind, spec, path, &format!("{value:?}")), good(value), "{kind} {spec} {value}");
        }
        for value in [".nan", "'NaN'", ".inf", "-.inf", "'inf'", "'1e999'", "x", "[]"] {
            assert!(!taken(kind, spec, path, value), "{kind} {spec} {value}");
        }
    }
}

#[test]
fn durations_out_of_their_range_are_refused_by_field() {
    for (kind, spec, path, good) in DURATIONS {
        for (value, nanos) in DURATION_TEXTS {
            assert_eq!(taken(kind, spec, path, value), nanos.is_some_and(good), "{kind} {spec} {value}");
        }
    }
}

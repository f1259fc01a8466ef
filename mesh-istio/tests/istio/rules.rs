//! The rules of single objects, one row each: what is written, what is said and where.

use mesh_istio::{Finding, Severity};

use crate::support::{destination_rule, virtual_service, world};

/// What is said of one severity, as `code field`.
fn said(text: &str, severity: Severity) -> Vec<String> {
    let world = world(text);
    let all = world.findings().iter().filter(|finding: &&Finding| finding.severity == severity);
    all.map(|finding| format!("{} {}", finding.code, finding.field)).collect()
}

const TO_A: &str = "route: [{destination: {host: a}}]";

#[test]
fn rules_of_virtual_services_refuse() {
    let rows: &[(&str, &str)] = &[
        ("{}", "REQUIRED spec.http[0]"),
        ("{redirect: {uri: /x}, route: [{destination: {host: a}}]}", "EXCLUSIVE_FIELDS spec.http[0].route"),
        ("{directResponse: {status: 200}, rewrite: {uri: /}}", "EXCLUSIVE_FIELDS spec.http[0].rewrite"),
        ("{directResponse: {status: 700}}", "INVALID_VALUE spec.http[0].directResponse.status"),
        ("{redirect: {}}", "REQUIRED spec.http[0].redirect"),
        ("{redirect: {scheme: ftp}}", "INVALID_VALUE spec.http[0].redirect.scheme"),
        ("{redirect: {uri: /, redirectCode: 200}}", "INVALID_VALUE spec.http[0].redirect.redirectCode"),
        ("{redirect: {port: 1, derivePort: FROM_REQUEST_PORT}}", "EXCLUSIVE_FIELDS spec.http[0].redirect.port"),
        ("{route: [{}]}", "REQUIRED spec.http[0].route[0].destination"),
        ("{route: [{destination: {host: '*'}}]}", "BAD_HOST spec.http[0].route[0].destination.host"),
        ("{route: [{destination: {host: a, subset: V_1}}]}", "INVALID_VALUE spec.http[0].route[0].destination.subset"),
        (
            "{route: [{destination: {host: a, port: {number: 70000}}}]}",
            "INVALID_VALUE spec.http[0].route[0].destination.port.number",
        ),
        ("{timeout: 0s, TO_A}", "BAD_DURATION spec.http[0].timeout"),
        ("{timeout: 1.5ms, TO_A}", "BAD_DURATION spec.http[0].timeout"),
        ("{retries: {attempts: 0, perTryTimeout: 1s}, TO_A}", "EXCLUSIVE_FIELDS spec.http[0].retries"),
        ("{retries: {attempts: -1}, TO_A}", "INVALID_VALUE spec.http[0].retries.attempts"),
        ("{retries: {attempts: 1, retryOn: '5xx,often'}, TO_A}", "INVALID_VALUE spec.http[0].retries.retryOn"),
        ("{fault: {}, TO_A}", "REQUIRED spec.http[0].fault"),
        (
            "{fault: {delay: {exponentialDelay: 1s, percentage: {value: 1}}}, TO_A}",
            "INVALID_VALUE spec.http[0].fault.delay.exponentialDelay",
        ),
        (
            "{fault: {abort: {httpStatus: 1, percentage: {value: 1}}}, TO_A}",
            "INVALID_VALUE spec.http[0].fault.abort.httpStatus",
        ),
        (
            "{fault: {abort: {grpcStatus: SAD, percentage: {value: 1}}}, TO_A}",
            "INVALID_VALUE spec.http[0].fault.abort.grpcStatus",
        ),
        (
            "{fault: {abort: {httpStatus: 500, percentage: {value: 101}}}, TO_A}",
            "INVALID_VALUE spec.http[0].fault.abort.percentage.value",
        ),
        ("{mirror: {host: a}, mirrors: [{destination: {host: a}}], TO_A}", "EXCLUSIVE_FIELDS spec.http[0].mirrors"),
        (
            "{mirror: {host: a}, mirrorPercentage: {value: -1}, TO_A}",
            "INVALID_VALUE spec.http[0].mirrorPercentage.value",
        ),
        ("{rewrite: {}, TO_A}", "REQUIRED spec.http[0].rewrite"),
        (
            "{rewrite: {authority: x}, headers: {request: {set: {Host: z}}}, TO_A}",
            "EXCLUSIVE_FIELDS spec.http[0].rewrite.authority",
        ),
        ("{corsPolicy: {allowMethods: [FETCH]}, TO_A}", "INVALID_VALUE spec.http[0].corsPolicy.allowMethods[0]"),
        ("{corsPolicy: {maxAge: 1500ms}, TO_A}", "BAD_DURATION spec.http[0].corsPolicy.maxAge"),
        (
            "{headers: {response: {set: {':status': '1'}}}, TO_A}",
            "INVALID_VALUE spec.http[0].headers.response.set[:status]",
        ),
        ("{headers: {request: {add: {x: 'a%b'}}}, TO_A}", "INVALID_VALUE spec.http[0].headers.request.add[x]"),
        ("{headers: {request: {remove: [host]}}, TO_A}", "INVALID_VALUE spec.http[0].headers.request.remove[0]"),
        ("{match: [{method: {prefix: ''}}], TO_A}", "INVALID_VALUE spec.http[0].match[0].method.prefix"),
        ("{match: [{uri: {exact: a, prefix: b}}], TO_A}", "EXCLUSIVE_FIELDS spec.http[0].match[0].uri"),
        ("{match: [{headers: {x: null}}], TO_A}", "WRONG_TYPE spec.http[0].match[0].headers[x]"),
        ("{match: [{headers: {'a b': {}}}], TO_A}", "INVALID_VALUE spec.http[0].match[0].headers[a b]"),
        ("{match: [{sourceLabels: {'*': x}}], TO_A}", "BAD_SELECTOR spec.http[0].match[0].sourceLabels[*]"),
    ];
    for (http, expected) in rows {
        let text = virtual_service(&format!("[{}]", http.replace("TO_A", TO_A)));
        assert_eq!(said(&text, Severity::Refused), [*expected], "{http}");
    }
}

#[test]
fn rules_of_the_whole_virtual_service_refuse() {
    let rows: &[(&str, &str)] = &[
        ("hosts: ['*']", "BAD_HOST spec.hosts[0]"),
        ("hosts: ['a b']", "BAD_HOST spec.hosts[0]"),
        ("hosts: ['*.com', '*.foo.com']", "DUPLICATE_VALUE spec.hosts[1]"),
        ("hosts: []\n  gateways: [g]", "EXCLUSIVE_FIELDS spec.gateways"),
        ("hosts: [a]\n  gateways: ['a/b/c', mesh]", "INVALID_VALUE spec.gateways[0]"),
        ("hosts: [a]\n  exportTo: ['*', x]", "BAD_EXPORT_TO spec.exportTo[0]"),
        ("hosts: [a]\n  exportTo: [., default]", "BAD_EXPORT_TO spec.exportTo[1]"),
        ("hosts: [a]\n  exportTo: ['~']", "BAD_EXPORT_TO spec.exportTo[0]"),
        (
            "hosts: [a]\n  tls: [{match: [{sniHosts: [z.com]}], route: [{destination: {host: a}}]}]",
            "BAD_HOST spec.tls[0].match[0].sniHosts",
        ),
    ];
    for (head, expected) in rows {
        let text = virtual_service(&format!("[{{{TO_A}}}]")).replace("hosts: [a]", head);
        assert_eq!(said(&text, Severity::Refused), [*expected], "{head}");
    }
}

#[test]
fn rules_of_destination_rules_refuse() {
    let rows: &[(&str, &str)] = &[
        ("trafficPolicy: {}", "REQUIRED spec.trafficPolicy"),
        ("subsets: [{name: v1}, {name: v1}]", "DUPLICATE_VALUE spec.subsets[1].name"),
        ("subsets: [{name: V1}]", "INVALID_VALUE spec.subsets[0].name"),
        ("workloadSelector: {matchLabels: {a: b}}, exportTo: ['*']", "BAD_EXPORT_TO spec.exportTo"),
        ("trafficPolicy: {connectionPool: {}}", "REQUIRED spec.trafficPolicy.connectionPool"),
        (
            "trafficPolicy: {connectionPool: {tcp: {maxConnections: -1}}}",
            "INVALID_VALUE spec.trafficPolicy.connectionPool.tcp.maxConnections",
        ),
        (
            "trafficPolicy: {connectionPool: {http: {h2UpgradePolicy: UPGRADE, useClientProtocol: true}}}",
            "EXCLUSIVE_FIELDS spec.trafficPolicy.connectionPool.http.useClientProtocol",
        ),
        (
            "trafficPolicy: {connectionPool: {http: {http2KeepAlive: {interval: 1s}}}}",
            "REQUIRED spec.trafficPolicy.connectionPool.http.http2KeepAlive.timeout",
        ),
        (
            "trafficPolicy: {outlierDetection: {maxEjectionPercent: 101}}",
            "INVALID_VALUE spec.trafficPolicy.outlierDetection.maxEjectionPercent",
        ),
        (
            "trafficPolicy: {outlierDetection: {consecutiveLocalOriginFailures: 1}}",
            "EXCLUSIVE_FIELDS spec.trafficPolicy.outlierDetection.consecutiveLocalOriginFailures",
        ),
        (
            "trafficPolicy: {loadBalancer: {simple: RANDOM, consistentHash: {useSourceIp: true}}}",
            "EXCLUSIVE_FIELDS spec.trafficPolicy.loadBalancer",
        ),
        (
            "trafficPolicy: {loadBalancer: {consistentHash: {}}}",
            "REQUIRED spec.trafficPolicy.loadBalancer.consistentHash",
        ),
        (
            "trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 100}}}}",
            "INVALID_VALUE spec.trafficPolicy.loadBalancer.consistentHash.maglev.tableSize",
        ),
        (
            "trafficPolicy: {loadBalancer: {localityLbSetting: {distribute: [{from: x, to: {y: 50}}]}}}",
            "BAD_WEIGHT spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to",
        ),
        (
            "trafficPolicy: {portLevelSettings: [{port: {number: 80}}]}",
            "REQUIRED spec.trafficPolicy.portLevelSettings[0]",
        ),
        (
            "trafficPolicy: {portLevelSettings: [{loadBalancer: {simple: RANDOM}}]}",
            "REQUIRED spec.trafficPolicy.portLevelSettings[0].port",
        ),
        ("trafficPolicy: {tls: {mode: MUTUAL, privateKey: k}}", "REQUIRED spec.trafficPolicy.tls.clientCertificate"),
        ("trafficPolicy: {tls: {mode: ISTIO_MUTUAL, caCertificates: x}}", "EXCLUSIVE_FIELDS spec.trafficPolicy.tls"),
        (
            "trafficPolicy: {retryBudget: {percent: {value: 120}}}",
            "INVALID_VALUE spec.trafficPolicy.retryBudget.percent.value",
        ),
    ];
    for (spec, expected) in rows {
        assert_eq!(said(&destination_rule(spec), Severity::Refused), [*expected], "{spec}");
    }
}

#[test]
fn rules_of_services_refuse_and_report() {
    let service = |spec: &str| format!("apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec: {{{spec}}}\n");
    let refused = |spec: &str| said(&service(spec), Severity::Refused);
    assert_eq!(refused("ports: [{port: 0}]"), ["INVALID_VALUE spec.ports[0].port"]);
    assert_eq!(refused("ports: [{port: 80, name: a}, {port: 80, name: b}]"), ["DUPLICATE_VALUE spec.ports[1].port"]);
    assert_eq!(refused("ports: [{port: 80, name: a}, {port: 80, name: b, protocol: UDP}]"), Vec::<String>::new());
    assert_eq!(refused("ports: [{port: 80}, {port: 81, name: b}]"), ["REQUIRED spec.ports[0].name"]);
    assert_eq!(
        said(&service("internalTrafficPolicy: Local, externalName: x, type: ExternalName"), Severity::NotInForce),
        ["FIELD_NOT_IN_FORCE spec.internalTrafficPolicy", "FIELD_NOT_IN_FORCE spec.externalName"]
    );
}

#[test]
fn rules_that_cannot_be_reached_are_named() {
    let warnings = |http: &str| said(&virtual_service(&http.replace("TO_A", TO_A)), Severity::Warning);
    assert_eq!(warnings("[{TO_A}, {TO_A}]"), ["VS_UNREACHABLE_RULE spec.http[1]"]);
    assert_eq!(warnings("[{TO_A}, {match: [{uri: {prefix: /x}}], TO_A}]"), ["VS_UNREACHABLE_RULE spec.http[1]"]);
    assert_eq!(
        warnings("[{match: [{uri: {exact: /x}}], TO_A}, {match: [{name: other, uri: {exact: /x}}], TO_A}]"),
        ["VS_UNREACHABLE_RULE spec.http[1]"]
    );
    assert_eq!(
        warnings(
            "[{match: [{uri: {prefix: /x}}], TO_A}, {match: [{uri: {prefix: /xy}, method: {exact: GET}}, {uri: {exact: /z}}], TO_A}]"
        ),
        ["VS_INEFFECTIVE_MATCH spec.http[1].match[0]"]
    );
    // A prefix with a condition of its own covers nothing that lacks the condition.
    assert_eq!(
        warnings("[{match: [{uri: {prefix: /x}, method: {exact: GET}}], TO_A}, {match: [{uri: {prefix: /xy}}], TO_A}]"),
        Vec::<String>::new()
    );
    assert_eq!(warnings("[{match: [{uri: {exact: /x}}], TO_A}, {TO_A}]"), Vec::<String>::new());
}

#[test]
fn a_split_over_rules_is_named_with_what_to_write_instead() {
    let http = "[{route: [{destination: {host: a, subset: v1}, weight: 60}]}, {route: [{destination: {host: b, port: {number: 80}}, weight: 40}]}]";
    let world = world(&virtual_service(http));
    let finding = world.findings().iter().find(|finding| finding.code == "VS_SPLIT_ACROSS_ROUTES").unwrap();
    assert_eq!(
        finding.reason,
        "a split written as 2 rules is no split: the first matchless rule takes everything (a subset v1 100%, b 0%); write one rule: \
         route: [{destination: {host: a, subset: v1}, weight: 60}, {destination: {host: b, port: {number: 80}}, weight: 40}]"
    );
    // Weights of 100 are no split.
    assert!(
        !said(&virtual_service(&http.replace("60", "100")), Severity::Warning)
            .iter()
            .any(|line| line.starts_with("VS_SPLIT"))
    );
}

#[test]
fn deprecated_fields_are_named() {
    assert_eq!(
        said(
            &destination_rule(
                "trafficPolicy: {loadBalancer: {simple: LEAST_CONN, warmupDurationSecs: 5s}, outlierDetection: {consecutiveErrors: 3}}"
            ),
            Severity::Warning
        ),
        [
            "DEPRECATED_FIELD spec.trafficPolicy.loadBalancer.simple",
            "DEPRECATED_FIELD spec.trafficPolicy.loadBalancer.warmupDurationSecs",
            "DEPRECATED_FIELD spec.trafficPolicy.outlierDetection.consecutiveErrors"
        ]
    );
    assert_eq!(
        said(
            &virtual_service("[{route: [{destination: {host: a}}], mirror: {host: b}, mirror_percent: 5}]"),
            Severity::Warning
        ),
        ["DEPRECATED_FIELD spec.http[0].mirrorPercent"]
    );
}

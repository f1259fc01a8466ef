//! What Istio fields without effect come to on the whole way: translated, judged, reported at the object that set them.

use crate::{folder, mesh, path};

/// `spec` of a DestinationRule or an HTTP rule of a VirtualService for the host `a`, and what is said of it.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    (
        "trafficPolicy: {outlierDetection: {outlierDetectionHttpErrorCodes: [429]}}",
        "outlierDetectionHttpErrorCodes: other errors than 5xx have no effect yet",
    ),
    ("trafficPolicy: {loadBalancer: {zoneAwareLbSetting: {enabled: true}}}", "zone aware routing has no effect yet"),
    (
        "trafficPolicy: {tunnel: {protocol: CONNECT, targetHost: b.example, targetPort: 80}}",
        "tunnel: tunnels have no effect yet",
    ),
    ("trafficPolicy: {proxyProtocol: {version: V1}}", "the PROXY protocol has no effect yet"),
    (
        "trafficPolicy: {retryBudget: {percent: {value: 10}, budgetInterval: 1s}}",
        "retryBudget.budgetInterval: the window has no effect",
    ),
    ("retries: {attempts: 1, retryOn: 5xx, retryRemoteLocalities: true}", "RetryPolicy.retry_priority is not in force"),
    (
        "mirrors: [{destination: {host: a}, percentage: {value: 1}}]",
        "RequestMirrorPolicy.trace_sampled is not in force",
    ),
];

/// The service `a`, and the object.
fn with(spec: &str) -> String {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{name: http, port: 80}]}\n---\n";
    let object = if spec.starts_with("trafficPolicy") {
        format!("kind: DestinationRule\nmetadata: {{name: o}}\nspec: {{host: a, {spec}}}\n")
    } else {
        format!(
            "kind: VirtualService\nmetadata: {{name: o}}\nspec: {{hosts: [a], http: [{{route: [{{destination: {{host: a}}}}], {spec}}}]}}\n"
        )
    };
    format!("{service}apiVersion: networking.istio.io/v1\n{object}")
}

#[test]
fn what_has_no_effect_yet_of_translated_objects_is_reported() {
    for (spec, said) in WITHOUT_EFFECT {
        let folder = folder(&with(spec));
        let run = mesh(&["check", path(&folder)]);
        let section = run.out.split("not in force\n").nth(1).unwrap_or_default();
        let found = section.lines().any(|line| line.contains("/default/o  ") && line.contains(said));
        assert!(found && run.code == 0, "{spec}: {}", run.out);
    }
    // Names to be resolved by request are of another kind of object.
    let folder = folder(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: o}\nspec: {hosts: ['*.example'], resolution: DYNAMIC_DNS, ports: [{number: 80, name: http, protocol: HTTP}]}\n",
    );
    let out = mesh(&["check", path(&folder)]).out;
    assert!(out.contains("DYNAMIC_DNS has no effect yet: the entry is passed over"), "{out}");
}

#[test]
fn tls_towards_a_service_is_refused_as_a_whole_and_never_left_out() {
    for mode in ["SIMPLE", "ISTIO_MUTUAL"] {
        let folder = folder(&with(&format!("trafficPolicy: {{tls: {{mode: {mode}}}}}")));
        let run = mesh(&["check", path(&folder)]);
        assert_eq!(run.code, 1, "{}", run.out);
        assert!(run.out.contains("DestinationRule/default/o  TLS towards upstreams is not supported"), "{}", run.out);
        let explained = mesh(&["explain", path(&folder), "GET", "http://a/"]);
        assert!(explained.out.contains("503 (NC)") && explained.code == 1, "{}", explained.out);
    }
    let folder = folder(&with("trafficPolicy: {tls: {mode: DISABLE}}"));
    assert_eq!(mesh(&["check", path(&folder), "--strict"]).code, 0);
}

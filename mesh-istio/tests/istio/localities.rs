//! Which endpoints are preferred by place, from objects to assignments.

use mesh_istio::{Lowered, MeshConfig, ProxyContext, Severity, World};
use mesh_proto::json;

use crate::support::{cluster, lowered_for, of};

const NEAR: &str = "outbound|80||a.default.svc.cluster.local";

/// A service `a` with an endpoint at each of three places, and a DestinationRule with that `trafficPolicy`.
fn text(policy: &str) -> String {
    let service = "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.default.svc.cluster.local]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints:
  - {address: 10.1.0.1, locality: r1/z1/s1, weight: 3}
  - {address: 10.1.0.2, locality: r1/z2/s1}
  - {address: 10.1.0.3, locality: r2/z1/s1}
---
";
    let rule = format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: a}}\nspec: {{host: a.default.svc.cluster.local, trafficPolicy: {policy}}}\n"
    );
    if policy.is_empty() { service.to_owned() } else { format!("{service}{rule}") }
}

/// `addresses priority/weight` of every group.
fn groups(lowered: &Lowered) -> Vec<String> {
    let found = lowered.endpoints.iter().find(|assignment| assignment.cluster_name == NEAR).unwrap();
    let found = json::to_json_of(found).unwrap();
    let one = |group: &serde_json::Value| {
        let endpoints = group["lbEndpoints"].as_array().into_iter().flatten();
        let addresses: Vec<_> = endpoints
            .map(|endpoint| endpoint["endpoint"]["address"]["socketAddress"]["address"].as_str().unwrap())
            .collect();
        format!(
            "{} {}/{}",
            addresses.join("+"),
            group["priority"].as_u64().unwrap_or_default(),
            group["loadBalancingWeight"]
        )
    };
    found["endpoints"].as_array().unwrap().iter().map(one).collect()
}

fn at(policy: &str, locality: &str) -> Lowered {
    lowered_for(&text(policy), &ProxyContext::new("default").locality(locality), &MeshConfig::default())
}

fn weighs_localities(lowered: &Lowered) -> bool {
    cluster(lowered, NEAR)["commonLbConfig"].get("localityWeightedLbConfig").is_some()
}

const PLAIN: [&str; 3] = ["10.1.0.1 0/3", "10.1.0.2 0/1", "10.1.0.3 0/1"];

#[test]
fn near_endpoints_come_first_once_failing_ones_are_found_out() {
    let near = at("{outlierDetection: {interval: 1s}}", "r1/z2/s1");
    assert_eq!(groups(&near), ["10.1.0.1 1/3", "10.1.0.2 0/1", "10.1.0.3 2/1"]);
    assert!(!weighs_localities(&near));
    assert_eq!(groups(&at("", "r1/z2/s1")), PLAIN);
    assert_eq!(groups(&at("{loadBalancer: {simple: RANDOM}}", "r1/z2/s1")), PLAIN);
    // Subsets and ports have policies of their own.
    let of_port = "{portLevelSettings: [{port: {number: 80}, outlierDetection: {interval: 1s}}]}";
    assert_eq!(groups(&at(of_port, "r1/z2/s1")), groups(&near));
}

#[test]
fn the_mesh_or_the_rule_switches_preference_by_place_off() {
    let policy = "{outlierDetection: {interval: 1s}, loadBalancer: {localityLbSetting: {enabled: false}}}";
    assert_eq!(groups(&at(policy, "r1/z2/s1")), PLAIN);
    let mut mesh = MeshConfig::default();
    mesh.locality_lb_setting.enabled = Some(false);
    let proxy = ProxyContext::new("default").locality("r1/z2/s1");
    let detecting = "{outlierDetection: {interval: 1s}}";
    assert_eq!(groups(&lowered_for(&text(detecting), &proxy, &mesh)), PLAIN);
    // The rule's setting replaces the mesh's as a whole.
    let on = "{outlierDetection: {interval: 1s}, loadBalancer: {localityLbSetting: {enabled: true}}}";
    assert_eq!(groups(&lowered_for(&text(on), &proxy, &mesh)), ["10.1.0.1 1/3", "10.1.0.2 0/1", "10.1.0.3 2/1"]);
}

#[test]
fn shares_by_place_need_no_outlier_detection() {
    let policy = "{loadBalancer: {localityLbSetting: {distribute: [{from: r1/*, to: {r1/z1/*: 70, r2/*: 30}}]}}}";
    let shared = at(policy, "r1/z2/s1");
    // Who is not listed gets nothing.
    assert_eq!(groups(&shared), ["10.1.0.1 0/70", " 0/1", "10.1.0.3 0/30"]);
    assert!(weighs_localities(&shared));
    assert_eq!(groups(&at(policy, "r2/z1/s1")), PLAIN);
}

#[test]
fn regions_and_labels_order_fail_over() {
    let regions =
        "{outlierDetection: {interval: 1s}, loadBalancer: {localityLbSetting: {failover: [{from: r1, to: r2}]}}}";
    let lowered = at(regions, "r1/z1/s1");
    assert_eq!(groups(&lowered), ["10.1.0.1 0/3", "10.1.0.2 1/1", "10.1.0.3 2/1"]);
    assert!(weighs_localities(&lowered));
    let labels = "{outlierDetection: {interval: 1s}, loadBalancer: {localityLbSetting: {failoverPriority: [topology.kubernetes.io/zone]}}}";
    assert_eq!(groups(&at(labels, "r1/z1/s1")), ["10.1.0.1 0/3", "10.1.0.2 1/1", "10.1.0.3 0/1"]);
}

#[test]
fn what_the_registry_knows_of_the_own_address_is_the_callers_place() {
    let proxy = ProxyContext::new("default").ip("10.1.0.3".parse().unwrap()).locality("r1/z1/s1");
    let lowered = lowered_for(&text("{outlierDetection: {interval: 1s}}"), &proxy, &MeshConfig::default());
    assert_eq!(groups(&lowered), ["10.1.0.1 1/3", "10.1.0.2 1/1", "10.1.0.3 0/1"]);
}

#[test]
fn a_service_that_prefers_near_endpoints_needs_no_rule() {
    let slice = "\
apiVersion: v1
kind: Service
metadata: {name: a}
spec: {ports: [{name: http, port: 80}], trafficDistribution: PREFERENCE}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: a-1, labels: {kubernetes.io/service-name: a}}
addressType: IPv4
ports: [{name: http, port: 80}]
endpoints:
- {addresses: [10.1.0.1], zone: z1, nodeName: n1}
- {addresses: [10.1.0.2], zone: z2, nodeName: n2}
- {addresses: [10.1.0.3], zone: z2, nodeName: n3}
";
    let proxy = ProxyContext::new("default").locality("/z2/").label("kubernetes.io/hostname", "n3");
    let got = |preference: &str| {
        groups(&lowered_for(&slice.replace("PREFERENCE", preference), &proxy, &MeshConfig::default()))
    };
    for preference in ["PreferClose", "PreferSameZone"] {
        assert_eq!(got(preference), ["10.1.0.1 1/1", "10.1.0.2+10.1.0.3 0/2"]);
    }
    assert_eq!(got("PreferSameNode"), ["10.1.0.1 2/1", "10.1.0.3 0/1", "10.1.0.2 1/1"]);
    let refused = World::load([("x", slice.replace("PREFERENCE", "Far"))]);
    assert_eq!(
        of(refused.findings(), Severity::Refused),
        [
            "INVALID_VALUE x:4: Service/default/a: spec.trafficDistribution: \"Far\": must be PreferClose, PreferSameZone or PreferSameNode"
        ]
    );
}

#[test]
fn settings_by_place_that_contradict_themselves_are_refused_by_field() {
    for (setting, field) in [
        ("{distribute: [{from: a, to: {b: 100}}], failover: [{from: a, to: b}]}", "localityLbSetting: distribute"),
        ("{distribute: [{from: a, to: {b: 100}}], failoverPriority: [x]}", "localityLbSetting: distribute"),
        ("{distribute: [{from: a, to: {b: 0, c: 100}}]}", "distribute[0].to: weights"),
        ("{distribute: [{from: a, to: {b: 101}}]}", "distribute[0].to: weights"),
        ("{distribute: [{from: a}]}", "distribute[0].to: weights"),
        ("{distribute: [{from: a, to: {b: -1}}]}", "distribute[0].to[b]: expected a number that fits u32"),
        ("{distribute: [{from: a, to: {b: 4294967296}}]}", "distribute[0].to[b]: expected a number that fits u32"),
        ("{distribute: [{from: '', to: {b: 100}}]}", "distribute[0].from: \"\" is not region"),
        ("{distribute: [{from: a//b, to: {b: 100}}]}", "distribute[0].from: \"a//b\" is not region"),
        ("{distribute: [{from: a/b/c/d, to: {b: 100}}]}", "distribute[0].from: \"a/b/c/d\" is not region"),
        ("{distribute: [{from: '*/b', to: {b: 100}}]}", "distribute[0].from: \"*/b\": \"*\" may stand once"),
        ("{distribute: [{from: 'a/b*', to: {b: 100}}]}", "distribute[0].from: \"a/b*\": \"*\" may stand once"),
        (
            "{distribute: [{from: a/*, to: {b: 100}}, {from: a/z1, to: {b: 100}}]}",
            "distribute[1].from: \"a/z1\" overlaps with \"a/*\"",
        ),
        ("{distribute: [{from: a, to: {b/*: 50, b/z1: 50}}]}", "distribute[0].to[b/z1]: \"b/z1\" overlaps"),
        ("{failover: [{from: a, to: a}]}", "failover[0]: from and to must differ"),
        ("{failover: [{from: a/b, to: c}]}", "failover[0]: regions only"),
        ("{failover: [{from: '*', to: c}]}", "failover[0]: regions only"),
        ("{failoverPriority: ['a=b=c']}", "failoverPriority[0]: \"a=b=c\" is neither a label"),
        ("{failoverPriority: ['']}", "failoverPriority[0]: \"\" is neither a label"),
        (
            "{failover: [{from: a, to: b}], failoverPriority: [topology.kubernetes.io/region]}",
            "failoverPriority[0]: topology.kubernetes.io/region is not allowed together with failover",
        ),
    ] {
        let text = text(&format!("{{outlierDetection: {{}}, loadBalancer: {{localityLbSetting: {setting}}}}}"));
        let said = of(World::load([("x", text)]).findings(), Severity::Refused);
        assert!(said.len() == 1 && said[0].contains(field), "{setting}: {said:?}");
    }
    let without = text("{loadBalancer: {localityLbSetting: {failover: [{from: a, to: b}]}}}");
    let warned = of(World::load([("x", without)]).findings(), Severity::Warning);
    assert!(warned.len() == 1 && warned[0].contains("failover has no effect without outlierDetection"), "{warned:?}");
}

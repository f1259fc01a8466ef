//! Bad input: one clear line each, valid siblings load, nothing panics.

use mesh_istio::{LoadOptions, MeshConfig, Severity, World, check, load_text};
use proptest::prelude::*;

use crate::support::{SERVICES, destination_rule, of, virtual_service, world};

/// Loads a bad document between two good ones: the good ones stay, and exactly the given lines are said.
fn refuses(bad: &str, lines: &[&str]) {
    let text =
        format!("{SERVICES}{bad}\n---\n{}", SERVICES.replace("name: a}", "name: c}").replace("name: b}", "name: d}"));
    let world = world(&text);
    assert_eq!(of(world.findings(), Severity::Refused), lines, "for {bad}");
    assert_eq!(world.objects().len(), 4, "siblings of {bad}");
}

#[test]
fn a_syntax_error_costs_its_document_only() {
    refuses("kind: [", &["YAML_SYNTAX mesh.yaml:13: not YAML: unclosed bracket '['"]);
}

#[test]
fn an_unknown_kind_of_istio_is_refused() {
    refuses(
        "apiVersion: networking.istio.io/v1\nkind: VirtualServcie\nmetadata: {name: a}",
        &["UNKNOWN_KIND mesh.yaml:13: unknown kind VirtualServcie in networking.istio.io/v1 (object a)"],
    );
}

#[test]
fn an_unknown_version_is_refused() {
    refuses(
        "apiVersion: networking.istio.io/v2\nkind: VirtualService\nmetadata: {name: a}",
        &[
            "UNKNOWN_VERSION mesh.yaml:13: VirtualService/default/a: apiVersion: VirtualService has no version v2 (known: v1, v1beta1, v1alpha3)",
        ],
    );
}

#[test]
fn a_document_that_is_no_object_is_refused() {
    refuses(
        "scrape_configs: []",
        &["NOT_AN_OBJECT mesh.yaml:13: no Kubernetes object: apiVersion and kind are required"],
    );
}

#[test]
fn an_unknown_field_warns_and_refuses_when_strict() {
    let text = format!("{SERVICES}{}", virtual_service("[{route: [{destination: {host: a}, wieght: 5}]}]"));
    let line = "UNKNOWN_FIELD mesh.yaml:18: VirtualService/default/a: spec.http[0].route[0].wieght: unknown field";
    let lenient = world(&text);
    assert_eq!(of(lenient.findings(), Severity::Warning), [line]);
    assert_eq!(lenient.objects().len(), 3);
    let strict = World::load_with([("mesh.yaml", text)], &LoadOptions::strict());
    assert_eq!(of(strict.findings(), Severity::Refused), [line]);
    assert_eq!(strict.objects().len(), 2);
}

#[test]
fn a_wrong_type_is_refused_at_its_field() {
    refuses(
        &virtual_service("[{timeout: 5, route: [{destination: {host: a}, weight: lots}]}]"),
        &[
            "WRONG_TYPE mesh.yaml:18: VirtualService/default/a: spec.http[0].route[0].weight: expected a whole number, found the string \"lots\"",
            "WRONG_TYPE mesh.yaml:18: VirtualService/default/a: spec.http[0].timeout: expected a duration such as \"5s\", found the number 5",
        ],
    );
}

#[test]
fn a_dangling_host_is_one_line_at_its_field() {
    let text = format!("{SERVICES}{}", virtual_service("\n  - route:\n    - destination: {host: nobody}"));
    assert_eq!(
        of(&check(&world(&text), &MeshConfig::default()), Severity::Warning),
        [
            "DANGLING_HOST mesh.yaml:20: VirtualService/default/a: spec.http[0].route[0].destination.host: no service has the host nobody.default.svc.cluster.local: requests are answered 503 (NC)"
        ]
    );
}

#[test]
fn a_dangling_subset_is_one_line_at_its_field() {
    let text = format!(
        "{SERVICES}{}{}",
        destination_rule("subsets: [{name: v1, labels: {version: v1}}]"),
        virtual_service(
            "[{route: [{destination: {host: a, subset: v1}}, {destination: {host: a, subset: v2}, weight: 1}]}]"
        )
    );
    let warnings = of(&check(&world(&text), &MeshConfig::default()), Severity::Warning);
    // The weightless destination is never used, so nothing is said of it.
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].starts_with(
            "DANGLING_SUBSET mesh.yaml:23: VirtualService/default/a: spec.http[0].route[1].destination.subset:"
        ),
        "{warnings:?}"
    );
}

#[test]
fn a_negative_weight_is_refused() {
    refuses(
        &virtual_service("[{route: [{destination: {host: a}, weight: -1}, {destination: {host: b}, weight: 2}]}]"),
        &["BAD_WEIGHT mesh.yaml:18: VirtualService/default/a: spec.http[0].route[0].weight: -1 is below 0"],
    );
}

#[test]
fn weights_that_add_up_to_nothing_are_refused() {
    refuses(
        &virtual_service("[{route: [{destination: {host: a}}, {destination: {host: b}, weight: 0}]}]"),
        &[
            "BAD_WEIGHT mesh.yaml:18: VirtualService/default/a: spec.http[0].route: the sum of the weights is 0: nothing would be routed",
        ],
    );
}

#[test]
fn a_bad_regular_expression_is_refused() {
    refuses(
        &virtual_service("[{match: [{uri: {regex: \"a(\"}}], route: [{destination: {host: a}}]}]"),
        &[
            "BAD_REGEX mesh.yaml:18: VirtualService/default/a: spec.http[0].match[0].uri.regex: regular expression \"a(\": unclosed group",
        ],
    );
}

#[test]
fn a_regular_expression_over_a_mebibyte_is_refused() {
    refuses(
        &virtual_service(
            r#"[{match: [{headers: {x: {regex: "(\\w{100}){100}"}}}], route: [{destination: {host: a}}]}]"#,
        ),
        &[
            "BAD_REGEX mesh.yaml:18: VirtualService/default/a: spec.http[0].match[0].headers[x].regex: regular expression needs more than 1048576 bytes when compiled",
        ],
    );
}

#[test]
fn two_virtual_services_of_one_host_are_named_both() {
    let http = "[{route: [{destination: {host: a}}]}]";
    let text =
        format!("{SERVICES}{}{}", virtual_service(http), virtual_service(http).replace("name: a}", "name: second}"));
    let world = world(&text);
    assert_eq!(world.objects().len(), 4);
    assert_eq!(
        of(&check(&world, &MeshConfig::default()), Severity::Warning),
        [
            "VS_DUPLICATE_HOST mesh.yaml:24: VirtualService/default/second: spec.hosts[0]: a.default.svc.cluster.local is claimed by VirtualService/default/a (mesh.yaml:13) already, which wins: this rule has no effect there"
        ]
    );
}

#[test]
fn two_service_entries_of_one_host_are_named_both() {
    let entry = |name: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}}}\nspec: {{hosts: [x.com], resolution: DNS, ports: [{{number: 80, name: http, protocol: HTTP}}]}}\n---\n"
        )
    };
    let text = format!("{}{}", entry("one"), entry("two"));
    let warnings = of(&check(&world(&text), &MeshConfig::default()), Severity::Warning);
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].starts_with("SE_DUPLICATE_HOST mesh.yaml:9: ServiceEntry/default/two: spec.hosts[0]: x.com is declared by ServiceEntry/default/one (mesh.yaml:1)"), "{warnings:?}");
}

#[test]
fn the_second_object_of_one_name_is_refused() {
    let world = world(&format!("{SERVICES}{SERVICES}"));
    assert_eq!(world.objects().len(), 2);
    assert_eq!(
        of(world.findings(), Severity::Refused)[0],
        "DUPLICATE_OBJECT mesh.yaml:13: Service/default/a: metadata.name: already defined in mesh.yaml:1"
    );
}

#[test]
fn a_refused_object_keeps_its_last_good_version() {
    let good = load_text("f", &virtual_service("[{route: [{destination: {host: a}}]}]"), &LoadOptions::default());
    let bad =
        load_text("f", &virtual_service("[{route: [{destination: {host: a}, weight: -1}]}]"), &LoadOptions::default());
    assert!(bad.objects.is_empty());
    let kept = bad.keep_last_good(&good.objects);
    assert_eq!(kept.objects.len(), 1);
    // An object that is gone is gone.
    let gone = load_text("f", SERVICES, &LoadOptions::default()).keep_last_good(&good.objects);
    assert_eq!(gone.objects.len(), 2);
    // Unless its document can no longer be read.
    let unreadable =
        load_text("f", &format!("{SERVICES}kind: ["), &LoadOptions::default()).keep_last_good(&good.objects);
    assert_eq!(unreadable.objects.len(), 3);
}

#[test]
fn kinds_without_effect_are_listed_and_those_that_guard_stand_out() {
    let text = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\n---\napiVersion: networking.istio.io/v1\nkind: WorkloadGroup\nmetadata: {name: g}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n";
    let world = world(text);
    let said: Vec<_> =
        world.findings().iter().map(|finding| (finding.severity, finding.code, finding.weakens_security())).collect();
    assert_eq!(
        said,
        [
            (Severity::NotInForce, "SECURITY_NOT_IN_FORCE", true),
            (Severity::NotInForce, "KIND_NOT_IN_FORCE", false),
            (Severity::Note, "KIND_IGNORED", false),
        ]
    );
}

#[test]
fn lists_and_json_are_opened() {
    let list = "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {\"name\": \"a\"}, \"spec\": {\"ports\": []}}, {\"kind\": \"Service\"}]}";
    let world = world(list);
    assert_eq!(world.objects().len(), 1);
    assert_eq!(of(world.findings(), Severity::Refused).len(), 1);
}

proptest! {
    #[test]
    fn no_text_panics(text in "[ -~\n\u{e9}\u{0}]{0,400}") {
        let _ = World::load([("f", text)]);
    }

    #[test]
    fn no_mutation_of_a_valid_file_panics(at in 0usize..700, with in "[-:{}\\[\\]\",0-9a-z\n \u{feff}]{0,6}") {
        let mut text = format!(
            "{SERVICES}{}{}",
            destination_rule("trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}}, outlierDetection: {interval: 1s}}, subsets: [{name: v1, labels: {a: b}}]"),
            virtual_service("[{match: [{uri: {regex: a.*}, headers: {x: {exact: y}}}], route: [{destination: {host: a, subset: v1}, weight: 1}], retries: {attempts: 1, retryOn: 5xx}}]")
        );
        let at = at.min(text.len());
        text.insert_str(at, &with);
        let world = World::load([("f", text)]);
        let _ = mesh_istio::lower(&world, &mesh_istio::ProxyContext::new("default"), &MeshConfig::default());
    }
}

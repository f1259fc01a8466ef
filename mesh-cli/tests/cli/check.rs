//! `mesh check`: a line for each kind of bad input, the summary, the exit codes.

use serde_json::Value;

use crate::{folder, mesh, path};

const REPORT: &str = r#"refused
  broken/01-syntax.yaml:7                                           not YAML: unclosed bracket '['
  broken/02-unknown.yaml:1                                          unknown kind VirtualServcie in networking.istio.io/v1 (object a)
  broken/03-values.yaml:7   VirtualService/default/wrong-type       spec.http[0].timeout: expected a duration such as "5s", found the number 5
  broken/03-values.yaml:19  VirtualService/default/negative-weight  spec.http[0].route[0].weight: -1 is below 0
  broken/03-values.yaml:30  VirtualService/default/sum-of-zero      spec.http[0].route: the sum of the weights is 0: nothing would be routed
  broken/03-values.yaml:41  VirtualService/default/bad-regex        spec.http[0].match[0].uri.regex: regular expression "a(": unclosed group
  broken/03-values.yaml:52  VirtualService/default/huge-regex       spec.http[0].match[0].uri.regex: regular expression needs more than 1048576 bytes when compiled

warnings
  broken/02-unknown.yaml:13               VirtualService/default/unknown-field   spec.http[0].route[0].wieght: unknown field
  broken/04-dangling.yaml:10              VirtualService/default/dangling        spec.http[0].route[0].destination.host: no service has the host nobody.default.svc.cluster.local: requests are answered 503 (NC)
  broken/04-dangling.yaml:12              VirtualService/default/dangling        spec.http[1].route[0].destination.subset: no DestinationRule defines subset v9 of reviews.default.svc.cluster.local: requests are answered 503 (NC)
  broken/04-dangling.yaml:18              VirtualService/default/second-claim    spec.hosts[0]: reviews.default.svc.cluster.local is claimed by VirtualService/default/dangling (broken/04-dangling.yaml:1) already, which wins: this rule has no effect there
  broken/below/05-without-effect.yaml:18  VirtualService/default/ratings-copies  spec.hosts[0]: ratings.default.svc.cluster.local is claimed by VirtualService/default/unknown-field (broken/02-unknown.yaml:5) already, which wins: this rule has no effect there

"#;

#[test]
fn every_kind_of_bad_input_gives_one_line_with_file_line_object_field_and_reason() {
    let run = mesh(&["check", "broken"]);
    assert_eq!(run.code, 1);
    assert!(run.out.starts_with(REPORT), "{}", run.out);
}

#[test]
fn what_has_no_effect_is_listed_with_the_object_that_asked_for_it() {
    let run = mesh(&["check", "broken"]);
    let section = run.out.split("not in force\n").nth(1).unwrap();
    let line = |object: &str| section.lines().find(|line| line.contains(object)).unwrap_or_default();
    assert!(
        line("AuthorizationPolicy/default/deny-all").ends_with("has no effect yet (protects nothing)"),
        "{section}"
    );
    let copies = line("VirtualService/default/ratings-copies");
    assert!(copies.starts_with("  broken/below/05-without-effect.yaml:14 "), "{section}");
    assert!(
        copies.contains("RequestMirrorPolicy.trace_sampled is not in force (in RouteConfiguration/9080)"),
        "{section}"
    );
    // One line for the object, although several fields of its translation say the same.
    assert_eq!(section.lines().filter(|line| line.contains("ratings-copies")).count(), 1, "{section}");
}

#[test]
fn valid_siblings_of_what_is_refused_are_counted_and_summed_up() {
    let run = mesh(&["check", "broken"]);
    let last = run.out.lines().last().unwrap();
    assert!(last.starts_with("5 files, 8 objects in 1 namespace: 7 refused, 5 warnings, "), "{last}");
}

#[test]
fn a_good_folder_gives_one_line_and_exits_with_0() {
    let run = mesh(&["check", "shop", "--strict"]);
    assert_eq!(
        (run.code, run.out.as_str()),
        (
            0,
            "2 files, 9 objects in 1 namespace: 0 refused, 0 warnings, 0 not in force (1 object of no concern passed over)\n"
        )
    );
}

#[test]
fn strict_fails_for_warnings_and_for_protection_without_effect() {
    let warned = folder(
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: []}\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\nspec: {host: b}\n",
    );
    let unprotected =
        folder("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a}\nspec: {}\n");
    let harmless = folder("apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: a}\nspec: {}\n");
    for (folder, strict) in [(&warned, 1), (&unprotected, 1), (&harmless, 0)] {
        assert_eq!(mesh(&["check", path(folder)]).code, 0);
        assert_eq!(mesh(&["check", path(folder), "--strict"]).code, strict);
    }
}

#[test]
fn json_says_the_same_as_the_text() {
    let run = mesh(&["check", "broken", "--format", "json"]);
    assert_eq!(run.code, 1);
    let report: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((&report["good"], &report["files"], &report["objects"]), (&false.into(), &5.into(), &8.into()));
    let remarks = report["remarks"].as_array().unwrap();
    let negative = remarks.iter().find(|remark| remark["code"] == "BAD_WEIGHT").unwrap();
    assert_eq!(
        (&negative["severity"], &negative["file"], &negative["line"], &negative["object"], &negative["field"]),
        (
            &"refused".into(),
            &"broken/03-values.yaml".into(),
            &19.into(),
            &"VirtualService/default/negative-weight".into(),
            &"spec.http[0].route[0].weight".into()
        )
    );
    let unprotected = remarks.iter().find(|remark| remark["weakens_security"] == true).unwrap();
    assert_eq!(unprotected["object"], "AuthorizationPolicy/default/deny-all");
    let text = mesh(&["check", "broken"]).out;
    assert!(remarks.iter().all(|remark| text.contains(remark["file"].as_str().unwrap())));
}

#[test]
fn a_file_that_is_no_text_is_refused_and_its_siblings_are_read() {
    let folder = folder("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: []}\n");
    std::fs::write(folder.path().join("other.yaml"), [0xff, 0xfe]).unwrap();
    let run = mesh(&["check", path(&folder)]);
    assert_eq!(run.code, 1);
    assert!(run.out.contains("other.yaml  the file is not UTF-8"), "{}", run.out);
    assert!(run.out.contains("2 files, 1 object in 1 namespace: 1 refused"), "{}", run.out);
}

#[test]
fn objects_of_every_namespace_are_judged_for_a_workload_there() {
    // Exported to its own namespace only: a workload of another one never sees it.
    let folder = folder(
        "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: there}\nspec: {ports: [{name: http, port: 80}]}\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a, namespace: there}\nspec:\n  hosts: [a]\n  exportTo: [\".\"]\n  http: [{mirrors: [{destination: {host: a}}], route: [{destination: {host: a}}]}]\n",
    );
    let run = mesh(&["check", path(&folder)]);
    assert!(run.out.contains("VirtualService/there/a  RequestMirrorPolicy.trace_sampled"), "{}", run.out);
    assert!(run.out.contains("in 2 namespaces"), "{}", run.out);
}

#[test]
fn a_split_over_several_routes_is_warned_about_unless_it_is_folded() {
    let rule = |host: &str, weight: u8| format!("  - route: [{{destination: {{host: {host}}}, weight: {weight}}}]\n");
    let service = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{name: http, port: 80}}]}}\n---\n"
        )
    };
    let folder = folder(&format!(
        "{}{}apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: a}}\nspec:\n  hosts: [a]\n  http:\n{}{}",
        service("a"),
        service("b"),
        rule("a", 60),
        rule("b", 40)
    ));
    let run = mesh(&["check", path(&folder)]);
    assert!(run.out.contains("a split written as 2 rules is no split"), "{}", run.out);
    let url = "http://a/";
    let plain = mesh(&["explain", path(&folder), "GET", url]).out;
    assert!(plain.contains("cluster outbound|80||a.default.svc.cluster.local") && !plain.contains("to 60%"), "{plain}");
    let folded = mesh(&["explain", path(&folder), "GET", url, "--fold-split-routes"]).out;
    assert!(folded.contains("to 60% outbound|80||a.") && folded.contains("to 40% outbound|80||b."), "{folded}");
}

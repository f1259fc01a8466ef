//! `mesh route-check`: every field of Envoy's format, each kind of failure, and Envoy's own suites.

use std::path::{Path, PathBuf};

use crate::{folder, mesh};

#[test]
fn every_field_of_a_route_test_is_checked_against_what_the_engine_does() {
    let run = mesh(&["route-check", "routes/routes.yaml", "routes/pass.json"]);
    assert_eq!((run.code, run.out.as_str()), (0, "13 passed, 0 failed\n"), "{}", run.err);
    assert!(run.err.contains("routes/routes.yaml:7: not in force: virtual_hosts[0].virtual_clusters"), "{}", run.err);
}

#[test]
fn each_difference_is_a_line_with_file_line_test_field_and_what_it_is_instead() {
    let run = mesh(&["route-check", "routes/routes.yaml", "routes/fail.yaml"]);
    let expected = r#"routes/fail.yaml:5: forwarded: cluster_name: expected "staff", got "web" (virtual host shop, routes[6])
routes/fail.yaml:6: forwarded: virtual_cluster_name: expected "order", got "other" (virtual host shop, routes[6])
routes/fail.yaml:7: forwarded: virtual_host_name: expected "safe", got "shop" (virtual host shop, routes[6])
routes/fail.yaml:8: forwarded: path_rewrite: expected "/staff", got "/me" (virtual host shop, routes[6])
routes/fail.yaml:9: forwarded: host_rewrite: expected "staff.example", got "shop.example" (virtual host shop, routes[6])
routes/fail.yaml:10: forwarded: path_redirect: expected "https://shop.example/", got "" (virtual host shop, routes[6])
routes/fail.yaml:11: forwarded: code_redirect: expected "301", got "0" (virtual host shop, routes[6])
routes/fail.yaml:13: forwarded: request_header_matches: expected header x-from exact "nobody", but it is "127.0.0.1" (virtual host shop, routes[6])
routes/fail.yaml:15: forwarded: request_header_matches: expected header x-absent present, but it is not there (virtual host shop, routes[6])
routes/fail.yaml:17: forwarded: response_header_matches: expected header x-from present, but it is not there (virtual host shop, routes[6])
routes/fail.yaml:24: no host: cluster_name: expected "web", got "" (no virtual host)
routes/fail.yaml:25: no path: input: not a request: invalid uri character
1 passed, 3 failed
"#;
    assert_eq!((run.code, run.out.as_str()), (1, expected));
}

#[test]
fn files_that_are_no_routes_or_no_tests_exit_with_2_and_say_where() {
    let dir = folder("");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good =
        "virtual_hosts:\n- name: a\n  domains: ['*']\n  routes:\n  - match: {prefix: /}\n    route: {cluster: a}\n";
    let test = |fields: &str| format!("tests:\n- test_name: t\n{fields}");
    let input = "  input: {authority: a, path: /, method: GET}\n";
    for (routes, tests, expected) in [
        ("virtual_hosts: [", "", "routes.yaml:1: "),
        ("virtual_hosts:\n- nmae: a\n", "", "routes.yaml:2: virtual_hosts[0].nmae: unknown field"),
        (
            &*good.replace("prefix: /", "safe_regex: {regex: '('}"),
            "",
            "routes.yaml:5: virtual_hosts[0].routes[0].match",
        ),
        (&*good.replace("'*'", "a, A"), "", "routes.yaml:3: virtual_hosts[0].domains[1]"),
        (good, "tests: []\n", "tests.yaml:1: tests: there is no test"),
        (good, &*test(input), "tests.yaml:2: tests[0].validate: is required"),
        (good, &*test(&format!("{input}  validate: {{}}\n")), "tests.yaml:4: tests[0].validate: nothing is expected"),
        (good, &*test(&format!("{input}  validate: {{cluster: a}}\n")), "tests[0].validate.cluster: unknown field"),
        (
            good,
            &*test("  input: {authority: a, path: /, method: GET, ssl: 1}\n  validate: {cluster_name: a}\n"),
            "tests.yaml:3: tests[0].input.ssl: true or false is required",
        ),
        (
            good,
            &*test(&format!(
                "{input}  validate:\n    request_header_matches:\n    - name: a\n      string_match: {{safe_regex: {{regex: '('}}}}\n"
            )),
            "tests.yaml:6: tests[0].validate.request_header_matches[0]: \"(\" is no regular expression",
        ),
    ] {
        let run = mesh(&["route-check", &file("routes.yaml", routes), &file("tests.yaml", tests)]);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{expected}");
        assert!(run.err.contains(expected), "{expected}: {}", run.err);
    }
}

/// Envoy's own suites pass, through decode and engine.
#[test]
fn the_suites_of_envoys_router_check_tool_pass() {
    let Some(folder) = conformance("envoy/router_check") else {
        println!("conformance: 0 ran, 8 skipped");
        return;
    };
    let mut suites: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    suites.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    suites.sort();
    assert!(!suites.is_empty());
    for routes in &suites {
        let tests = routes.with_extension("golden.proto.json");
        let run = mesh(&["route-check", routes.to_str().unwrap(), tests.to_str().unwrap()]);
        assert!(run.code == 0 && run.out.ends_with(" passed, 0 failed\n"), "{routes:?}: {}{}", run.out, run.err);
    }
    println!("conformance: {} ran, 0 skipped", suites.len());
}

/// A folder of the conformance data; `None` when it is not there, unless it is required to be.
fn conformance(name: &str) -> Option<PathBuf> {
    let given = std::env::var("MESH_CONFORMANCE_DATA").ok();
    let root = match given.as_deref() {
        None | Some("" | "required") => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        Some(path) => PathBuf::from(path),
    };
    let found = root.join(name);
    if found.is_dir() {
        return Some(found);
    }
    assert_ne!(given.as_deref(), Some("required"), "{} is required and not there", found.display());
    None
}

//! The command, as `make demo` runs it.

use std::process::{Command, Output};

fn bookinfo(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bookinfo")).args(args).output().unwrap()
}

#[test]
fn a_timed_run_ends_with_a_summary_and_success() {
    let ended = bookinfo(&["--for", "3s", "--rate", "200", "--base-port", "0"]);
    let out = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success(), "{out}\n{}", String::from_utf8_lossy(&ended.stderr));
    for edge in
        [("readers", "productpage"), ("productpage-v1", "reviews"), ("reviews-v2", "ratings"), ("details-v1", "isbn")]
    {
        assert!(out.lines().any(|line| line.starts_with(edge.0) && line.contains(edge.1)), "{edge:?} in\n{out}");
    }
    assert!(out.contains("0 failed"), "{out}");
    assert!(out.contains("good  reviews v2"), "{out}");
}

#[test]
fn a_run_whose_requests_fail_ends_with_failure() {
    let folder = tempfile::tempdir().unwrap();
    // A folder with no service in it but the page's: whatever the page needs is missing.
    let service = "\
apiVersion: v1
kind: Service
metadata: {name: productpage, namespace: default}
spec:
  selector: {app: productpage}
  ports: [{name: http, port: 9080}]
";
    std::fs::write(folder.path().join("services.yaml"), service).unwrap();
    let dir = folder.path().to_str().unwrap();
    let ended = bookinfo(&["--for", "1s", "--rate", "50", "--base-port", "0", "--mesh-dir", dir]);
    let out = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{out}\n{}", String::from_utf8_lossy(&ended.stderr));
    assert!(out.contains("BAD"), "{out}");
}

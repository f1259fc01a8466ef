//! Recorded exchanges with a real Envoy, and a few of our own, through our data plane on the wire.
#![allow(clippy::unwrap_used, reason = "a test that unwraps names its own failure")]

mod statistics;
mod validation;

use std::sync::Arc;

use mesh_tests::upstream::Upstreams;
use mesh_tests::{data, observed, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_exchange_that_needs_no_later_feature_comes_out_as_envoys() {
    let Some(path) = data::find("envoy-observed/http.json") else {
        return data::report(0, 1);
    };
    let groups = observed::read(&std::fs::read_to_string(path).unwrap());
    let upstreams = Arc::new(Upstreams::start().await);
    let report = run::run(groups, &upstreams).await;
    println!("{report}");
    data::report(report.ran, report.skipped());
    assert!(report.ran > 0, "nothing ran");
    assert!(report.failures.is_empty(), "{} cases differ:\n{report}", report.failures.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_exchanges_come_out_as_envoys_rules_say() {
    let groups = observed::read(&data::fixture("wire.json"));
    let upstreams = Arc::new(Upstreams::start().await);
    let report = run::run(groups, &upstreams).await;
    assert_eq!(report.skipped(), 0, "{report}");
    assert!(report.failures.is_empty(), "{report}");
}

#[tokio::test]
async fn an_exchange_that_comes_out_otherwise_is_reported_field_by_field() {
    let right = data::fixture("wire.json");
    let wrong = right.replace(r#""observed": { "status": 418"#, r#""observed": { "status": 419"#);
    let wrong = wrong.replace(r#""body": "no tea""#, r#""body": "no coffee""#);
    let upstreams = Arc::new(Upstreams::start().await);
    let report = run::run(observed::read(&wrong), &upstreams).await;
    let [(name, lines)] = &report.failures[..] else { panic!("{report}") };
    assert_eq!(name, "direct/1");
    assert_eq!(lines[0], "Origin: status: Envoy 419, ours 418");
    assert_eq!(lines.len(), 4, "status and body, in both forms: {lines:?}");
}

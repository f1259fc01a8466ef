//! Recorded cases of balancing, ejection, health checks, limits and pools, each checked in the engine or on the wire.
//!
//! Whose is what: `balance` is for the load balancer (policies, priorities, localities, hashes, slow start, drops);
//! `health` for ejection, checks, breakers and pools; `later` for features that are not there yet.
#![allow(clippy::unwrap_used, reason = "a test that unwraps names its own failure")]

mod balance;
mod checks;
mod hash_picks;
mod health;
mod later;
mod outliers;
mod shares;

use mesh_tests::{data, lb};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_case_that_needs_no_later_feature_comes_out_as_envoys() {
    let Some(path) = data::find("envoy-observed/lb.json") else {
        return data::report(0, 1);
    };
    let cases = lb::read(&std::fs::read_to_string(path).unwrap());
    let report = lb::run(&cases, &[balance::CASES, health::CASES, later::CASES]).await;
    println!("{report}");
    data::report(report.ran, report.skipped());
    assert!(report.ran > 0, "nothing ran");
    assert!(report.failures.is_empty(), "{} cases differ:\n{report}", report.failures.len());
}

//! A real Envoy and `examples/gateway`, on the same static configuration before the same servers: both get the same
//! requests, and must do the same with them. `make interop` runs it; see README.md beside this file.
//!
//! One process of each serves all cases: a case is a listener of its own, found by its name, and clusters of its own
//! where it counts anything.
#![allow(clippy::unwrap_used, reason = "a test that unwraps names its own failure")]

mod case;
mod client;
mod compare;
mod config;
mod exchange;
mod proxy;

use std::sync::Arc;

use mesh_tests::upstream::Upstreams;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::case::Case;
use crate::exchange::{Exchange, run};
use crate::proxy::Proxy;

/// How often a case that hangs on timers is asked.
const MOST_ROUNDS: usize = 3;

/// Cases at the same time.
const BESIDE: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_and_the_gateway_do_the_same_with_every_request() {
    let cases = case::all();
    let upstreams = Arc::new(Upstreams::start().await);
    let folder = proxy::folder();
    let config = folder.join("envoy.json");
    std::fs::write(&config, serde_json::to_string_pretty(&config::of(&cases, &upstreams)).unwrap()).unwrap();
    let envoy = Proxy::envoy(&folder, &config, cases.len() + 1).await;
    // How this Envoy calls its own machine: the gateway is told, because nothing else would tell it the same.
    let node = exchange::node_address(&envoy, &upstreams).await;
    let gateway = Proxy::gateway(&folder, &config, &node).await;
    let (envoy, gateway) = (Arc::new(envoy), Arc::new(gateway));
    let (beside, mut running) = (Arc::new(Semaphore::new(BESIDE)), JoinSet::new());
    for case in cases {
        let (beside, upstreams) = (Arc::clone(&beside), Arc::clone(&upstreams));
        let (envoy, gateway) = (Arc::clone(&envoy), Arc::clone(&gateway));
        running.spawn(async move {
            let _place = beside.acquire().await;
            let differences = compared(&case, &envoy, &gateway, &upstreams).await;
            (case, differences)
        });
    }
    let (mut cases, mut requests, mut failed) = (0, 0, Vec::new());
    while let Some(done) = running.join_next().await {
        let (case, differences) = done.unwrap();
        cases += 1;
        requests += case.requests.iter().map(|request| request.times).sum::<usize>();
        failed.extend(differences.iter().map(|line| format!("{}: {line}", case.name)));
    }
    failed.sort();
    println!("interop: {cases} cases, {requests} requests");
    assert!(cases > 0, "no case has that name");
    assert!(failed.is_empty(), "{} differences:\n{}", failed.len(), failed.join("\n"));
}

/// Differences that stay: what hangs on timers is asked again on a machine that is too busy to keep them.
async fn compared(case: &Case, envoy: &Proxy, gateway: &Proxy, upstreams: &Upstreams) -> Vec<String> {
    let rounds = if case.hangs_on_timers() { MOST_ROUNDS } else { 1 };
    let mut lines = Vec::new();
    for round in 0..rounds {
        lines = once(case, round, envoy, gateway, upstreams).await;
        if lines.is_empty() {
            break;
        }
    }
    lines
}

async fn once(case: &Case, round: usize, envoy: &Proxy, gateway: &Proxy, upstreams: &Upstreams) -> Vec<String> {
    let (theirs, ours) = tokio::join!(run(case, round, envoy, upstreams), run(case, round, gateway, upstreams));
    let pairs = case.requests.iter().zip(theirs.iter().zip(&ours)).enumerate();
    let mut lines: Vec<String> = Vec::new();
    for (number, (request, (theirs, ours))) in pairs {
        let differences = match request.shares {
            Some(within) => compare::shares(theirs, ours, within),
            None => theirs
                .iter()
                .zip(ours)
                .flat_map(|(theirs, ours): (&Exchange, &Exchange)| {
                    compare::differences(theirs, ours).into_iter().chain(compare::silence(theirs, request.silent))
                })
                .collect(),
        };
        lines.extend(differences.into_iter().map(|line| format!("request {} ({}): {line}", number + 1, request.path)));
    }
    lines.dedup();
    lines
}

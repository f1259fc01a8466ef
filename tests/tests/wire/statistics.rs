//! What only shows over many requests: weights, and the waits between tries.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mesh_tests::edge::{Edge, Form, clusters, listener, request};
use mesh_tests::observed;
use mesh_tests::upstream::Upstreams;
use serde_json::{Value, json};

async fn edge(upstreams: &Upstreams, parts: &Value) -> Edge {
    let mut resources = clusters::clusters(upstreams);
    resources.push(listener(parts));
    Edge::new(&resources).unwrap()
}

fn get(headers: &[(&str, &str)]) -> observed::Request {
    observed::Request {
        method: "GET".to_owned(),
        path: "/".to_owned(),
        host: Some("a.test".to_owned()),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_of_3_and_7_are_30_and_70_percent_of_what_arrives() {
    const TASKS: usize = 16;
    const EACH: usize = 500;
    let upstreams = Arc::new(Upstreams::start().await);
    let weighted = json!({ "clusters": [{ "name": "up", "weight": 3 }, { "name": "up2", "weight": 7 }] });
    let routes = json!([{ "match": { "prefix": "/" }, "route": { "weighted_clusters": weighted } }]);
    let edge = edge(&upstreams, &json!({ "routes": routes })).await;
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (edge, id) = (edge.clone(), format!("w{task}"));
            tokio::spawn(async move {
                for _ in 0..EACH {
                    let request = request(&get(&[]), Form::Absolute, &id).unwrap();
                    assert_eq!(edge.send(request).await.status, 200);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let mut shares: BTreeMap<u16, f64> = BTreeMap::new();
    for task in 0..TASKS {
        for arrival in upstreams.journal.of(&format!("w{task}")) {
            *shares.entry(arrival.seen.port).or_default() += 100.0 / (TASKS * EACH) as f64;
        }
    }
    // One standard deviation is 0.51 %.
    assert!((shares[&21001] - 30.0).abs() < 3.0 && (shares[&21002] - 70.0).abs() < 3.0, "{shares:?}");
}

/// The gaps between the tries of one request, over `runs` of them: the least of each.
async fn least_gaps(upstreams: &Upstreams, policy: Value, script: &str, runs: usize) -> Vec<Duration> {
    let routes = json!([{ "match": { "prefix": "/" }, "route": { "cluster": "up", "retry_policy": policy } }]);
    let edge = edge(upstreams, &json!({ "routes": routes })).await;
    let mut least: Vec<Duration> = Vec::new();
    for run in 0..runs {
        let id = format!("gap-{}-{run}", script.len());
        edge.send(request(&get(&[("x-up", script)]), Form::Origin, &id).unwrap()).await;
        let arrivals = upstreams.journal.of(&id);
        let gaps: Vec<Duration> = arrivals.windows(2).map(|two| two[1].at - two[0].at).collect();
        least = match least.is_empty() {
            true => gaps,
            false => least.iter().zip(&gaps).map(|(least, gap)| *least.min(gap)).collect(),
        };
    }
    least
}

#[tokio::test]
async fn the_wait_before_a_try_stays_below_the_doubling_interval_and_its_cap() {
    let upstreams = Upstreams::start().await;
    let least = least_gaps(&upstreams, json!({ "retry_on": "5xx", "num_retries": 6 }), "s=503", 12).await;
    // [0, interval) each time: the least of twelve is far below the interval, however busy the machine.
    let intervals = [25, 50, 100, 200, 250, 250].map(Duration::from_millis);
    assert_eq!(least.len(), intervals.len());
    for (retry, (least, interval)) in least.iter().zip(intervals).enumerate() {
        assert!(*least < interval, "retry {}: {least:?} of {interval:?}", retry + 1);
    }
}

//! One request through one proxy: what the caller got, and what arrived at the servers.

use std::time::Duration;

use mesh_tests::upstream::{Arrival, Upstreams};

use crate::case::{Case, Request};
use crate::client::{self, Answer};
use crate::config::PROBE;
use crate::proxy::Proxy;

/// Between requests that are under way at the same time.
const APART: Duration = Duration::from_millis(100);

/// What came of a request.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) id: String,
    pub(crate) answer: Answer,
    pub(crate) arrivals: Vec<Arrival>,
}

/// Sends all requests of a case; for each, what came of every time that it was sent.
pub(crate) async fn run(case: &Case, round: usize, proxy: &Proxy, upstreams: &Upstreams) -> Vec<Vec<Exchange>> {
    let mut all = Vec::with_capacity(case.requests.len());
    for (number, request) in case.requests.iter().enumerate() {
        tokio::time::sleep(Duration::from_secs_f64(request.after)).await;
        let id = |time: usize| format!("{}-{}-{round}-{number:02}-{time:04}", proxy.letter, case.name);
        let mut exchanges = Vec::with_capacity(request.times);
        if request.at_once {
            let sending = (0..request.times).map(|time| {
                let (address, request, id) = (proxy.address(&case.name), request.clone(), id(time));
                tokio::spawn(async move {
                    // In order, each well before the one before it ends.
                    tokio::time::sleep(APART * u32::try_from(time).unwrap()).await;
                    (client::send(address, &request, &id).await, id)
                })
            });
            for sent in sending.collect::<Vec<_>>() {
                let (answer, id) = sent.await.unwrap();
                let arrivals = upstreams.journal.of(&id);
                exchanges.push(Exchange { id, answer, arrivals });
            }
        } else {
            for time in 0..request.times {
                exchanges.push(once(case, request, proxy, upstreams, id(time)).await);
            }
        }
        all.push(exchanges);
    }
    all
}

async fn once(case: &Case, request: &Request, proxy: &Proxy, upstreams: &Upstreams, id: String) -> Exchange {
    let answer = client::send(proxy.address(&case.name), request, &id).await;
    if request.shares.is_none() {
        // Copies for mirrors may arrive a little later.
        tokio::time::sleep(Duration::from_millis(if case.listener.to_string().contains("mirror") { 300 } else { 5 }))
            .await;
    }
    let arrivals = upstreams.journal.of(&id);
    Exchange { id, answer, arrivals }
}

/// The address by which a proxy names a caller on its own machine.
pub(crate) async fn node_address(proxy: &Proxy, upstreams: &Upstreams) -> String {
    let probe: Request = serde_json::from_str("{}").unwrap();
    let answer = client::send(proxy.address(PROBE), &probe, "probe").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let arrival = upstreams.journal.of("probe").pop().unwrap();
    let (_, value) = arrival.headers.iter().find(|(name, _)| name == "x-forwarded-for").unwrap();
    value.clone()
}

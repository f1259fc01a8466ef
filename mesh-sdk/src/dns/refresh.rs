//! When names are asked for: at once when a cluster arrives, then at the cluster's refresh rate, spread a
//! little so that many clusters do not ask at the same time. One task per cluster, ended with the cluster.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::resource::Name;
use mesh_core::resource::cluster::{Cluster, Discovery, DnsRefresh};
use mesh_core::resource::endpoint::ClusterLoadAssignment;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::{Resolver, answers};

/// An answer that takes longer counts as none.
const LONGEST_LOOKUP: Duration = Duration::from_secs(20);
/// A rate below this would only keep the resolver busy (Envoy refuses less than 1 ms).
const SHORTEST_RATE: Duration = Duration::from_millis(1);

/// What became of one round of questions.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The cluster.
    pub(crate) cluster: Name,
    /// Which registration of the cluster asked: answers for an older one are void.
    pub(crate) round: u64,
    /// Its endpoints, if any name ever had an answer.
    pub(crate) assignment: Option<ClusterLoadAssignment>,
}

/// All clusters whose names are being resolved.
#[derive(Debug)]
pub(crate) struct Refresher {
    resolver: Resolver,
    answers: mpsc::Sender<Resolved>,
    clusters: HashMap<Name, Asking>,
    rounds: u64,
}

#[derive(Debug)]
struct Asking {
    config: Arc<Cluster>,
    round: u64,
    answered: bool,
    task: AbortHandle,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Refresher {
    /// Nothing is asked yet; answers will arrive at `answers`.
    pub(crate) fn new(resolver: Resolver, answers: mpsc::Sender<Resolved>) -> Self {
        Self { resolver, answers, clusters: HashMap::new(), rounds: 0 }
    }

    /// Asks for the names of exactly these clusters from now on. Those whose names are the same go on undisturbed.
    pub(crate) fn follow(&mut self, clusters: impl Iterator<Item = Arc<Cluster>>) {
        let mut wanted = HashSet::new();
        for config in clusters {
            let Discovery::StrictDns { endpoints, refresh } = &config.discovery else { continue };
            wanted.insert(Arc::clone(&config.name));
            if let Some(known) = self.clusters.get_mut(&config.name)
                && known.config.discovery == config.discovery
            {
                known.config = config;
                continue;
            }
            self.rounds += 1;
            let asker = Asker {
                cluster: Arc::clone(&config.name),
                round: self.rounds,
                listed: endpoints.clone(),
                refresh: *refresh,
                resolver: self.resolver.clone(),
                answers: BTreeMap::new(),
                failing: HashSet::new(),
            };
            let task = tokio::spawn(asker.run(self.answers.clone())).abort_handle();
            let asking = Asking { round: self.rounds, answered: false, task, config: Arc::clone(&config) };
            self.clusters.insert(Arc::clone(&config.name), asking);
        }
        self.clusters.retain(|name, _| wanted.contains(name));
    }

    /// Takes an answer in; `None` if nobody waits for it any more.
    pub(crate) fn accept(&mut self, resolved: Resolved) -> Option<(Name, Option<ClusterLoadAssignment>)> {
        let asking = self.clusters.get_mut(&resolved.cluster).filter(|asking| asking.round == resolved.round)?;
        asking.answered = true;
        Some((resolved.cluster, resolved.assignment))
    }

    /// A cluster whose names have never been answered, not even by an error.
    pub(crate) fn unanswered(&self) -> Option<&Name> {
        self.clusters.iter().filter(|(_, asking)| !asking.answered).map(|(name, _)| name).min()
    }
}

/// Asks for the names of one cluster.
struct Asker {
    cluster: Name,
    round: u64,
    listed: ClusterLoadAssignment,
    refresh: DnsRefresh,
    resolver: Resolver,
    answers: BTreeMap<Arc<str>, Vec<IpAddr>>,
    failing: HashSet<Arc<str>>,
}

impl Asker {
    async fn run(mut self, sender: mpsc::Sender<Resolved>) {
        let names = answers::names(&self.listed);
        let mut sent = None;
        loop {
            let mut lookups = JoinSet::new();
            for name in &names {
                let (name, asked) = (Arc::clone(name), self.resolver.0.resolve(name));
                lookups.spawn(async move {
                    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time");
                    let answer = tokio::time::timeout(LONGEST_LOOKUP, asked).await.map_err(late);
                    (name, answer.and_then(|answer| answer))
                });
            }
            while let Some(answer) = lookups.join_next().await {
                if let Ok((name, answer)) = answer {
                    self.take(name, answer);
                }
            }
            let next =
                (!self.answers.is_empty() || names.is_empty()).then(|| answers::expand(&self.listed, &self.answers));
            // The first round is told even if it failed: somebody may wait for it.
            if sent.as_ref() != Some(&next) {
                let told = Resolved { cluster: Arc::clone(&self.cluster), round: self.round, assignment: next.clone() };
                if sender.send(told).await.is_err() {
                    return;
                }
                sent = Some(next);
            }
            let rate = self.refresh.rate.max(SHORTEST_RATE);
            tokio::time::sleep(rate + rate.mul_f64(fastrand::f64() / 10.0)).await;
        }
    }

    fn take(&mut self, name: Arc<str>, answer: io::Result<Vec<IpAddr>>) {
        match answer {
            Ok(addresses) => {
                self.failing.remove(&name);
                self.answers.insert(name, answers::wanted(self.refresh.family, addresses));
            }
            Err(error) => {
                if self.failing.insert(Arc::clone(&name)) {
                    let kept = self.answers.get(&name).map_or(0, Vec::len);
                    tracing::warn!(%error, name = &*name, cluster = &*self.cluster, kept, "a name was not resolved; the last answer stays");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use mesh_core::resource::cluster::DnsLookupFamily;
    use mesh_core::resource::endpoint::{Address, Endpoint, HealthStatus, LocalityEndpoints};
    use mesh_core::resource::metadata::Metadata;

    use super::*;
    use crate::dns::Addresses;

    fn cluster(name: &str, host: &str) -> Arc<Cluster> {
        let endpoint = Endpoint {
            address: Address::Dns { host: host.into(), port: 80 },
            hostname: String::new(),
            weight: 1,
            health: HealthStatus::Unknown,
            metadata: Metadata::new(),
        };
        let group = LocalityEndpoints { endpoints: vec![endpoint], ..LocalityEndpoints::default() };
        let endpoints = ClusterLoadAssignment { localities: vec![group], ..ClusterLoadAssignment::default() };
        let refresh = DnsRefresh { rate: Duration::from_secs(5), family: DnsLookupFamily::V4Only };
        Arc::new(Cluster::new(name, Discovery::StrictDns { endpoints, refresh }))
    }

    fn hosts(assignment: Option<&ClusterLoadAssignment>) -> Vec<String> {
        let groups = assignment.map(|one| one.localities.as_slice()).unwrap_or_default();
        groups.iter().flat_map(|group| &group.endpoints).map(|endpoint| endpoint.address.to_string()).collect()
    }

    /// Answers from a script, the last line again and again.
    fn scripted(script: Vec<Option<[u8; 4]>>) -> Resolver {
        let script = Mutex::new(script);
        Resolver(Arc::new(move |_: &str| -> Addresses {
            let mut script = script.lock().unwrap();
            let next = if script.len() > 1 { script.remove(0) } else { script[0] };
            Box::pin(async move { next.map(|ip| vec![ip.into()]).ok_or_else(|| io::Error::other("no such name")) })
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn answers_change_at_the_refresh_rate_and_a_failure_keeps_the_last_one() {
        let (sender, mut answers) = mpsc::channel(8);
        let resolver = scripted(vec![Some([10, 0, 0, 1]), None, Some([10, 0, 0, 1]), Some([10, 0, 0, 2])]);
        let mut refresher = Refresher::new(resolver, sender);
        let started = tokio::time::Instant::now();
        refresher.follow([cluster("c", "a")].into_iter());
        assert_eq!(refresher.unanswered().map(|name| &**name), Some("c"));
        let first = refresher.accept(answers.recv().await.unwrap()).unwrap();
        assert_eq!(hosts(first.1.as_ref()), ["10.0.0.1:80"]);
        assert_eq!(refresher.unanswered(), None);
        let second = refresher.accept(answers.recv().await.unwrap()).unwrap();
        assert_eq!(hosts(second.1.as_ref()), ["10.0.0.2:80"], "the failure and the same answer said nothing");
        let waited = started.elapsed();
        assert!(waited >= Duration::from_secs(15) && waited <= Duration::from_millis(16_600), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_never_resolves_is_answered_with_nothing() {
        let (sender, mut answers) = mpsc::channel(8);
        let mut refresher = Refresher::new(scripted(vec![None]), sender);
        refresher.follow([cluster("c", "a")].into_iter());
        assert_eq!(refresher.accept(answers.recv().await.unwrap()), Some(("c".into(), None)));
        assert_eq!(refresher.unanswered(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_goes_or_changes_its_names_is_asked_for_no_more() {
        let (sender, mut answers) = mpsc::channel(8);
        let mut refresher = Refresher::new(scripted(vec![Some([10, 0, 0, 1])]), sender);
        refresher.follow([cluster("c", "a")].into_iter());
        let stale = answers.recv().await.unwrap();
        refresher.follow([cluster("c", "b")].into_iter());
        assert!(refresher.accept(stale).is_none());
        let current = answers.recv().await.unwrap();
        assert!(refresher.accept(current).is_some());
        refresher.follow(std::iter::empty());
        assert_eq!((refresher.clusters.len(), refresher.unanswered()), (0, None));
    }
}

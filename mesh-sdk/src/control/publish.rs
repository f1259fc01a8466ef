//! The one way into force: objects → Envoy resources → judged → compiled → published, and noted on the board.
//!
//! Only resources whose bytes differ from what was judged last go on; a refused one keeps its last good version.
//! Pure but for the clock on the board and the log.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use mesh_core::engine::outlier_detection::Bell;
use mesh_core::resource::cluster::Cluster;
use mesh_core::resource::endpoint::ClusterLoadAssignment;
use mesh_core::resource::{Name, ResourceKind, ResourceName};
use mesh_core::snapshot::{Compiler, RequestCompat, Snapshot, Update};
use mesh_istio::{Finding, Kind, Lowered, MeshConfig, Object, ProxyContext, Severity, World, lower};
use mesh_proto::canonical;
use mesh_proto::envoy::config::core::v3::TrafficDirection;
use mesh_proto::prost;
use mesh_xds::decode::{self, Batch, Resource};
use tokio::time::Instant;

use super::health::{Checker, Done, Watch};
use crate::source::{Given, Reading};
use crate::view::View;

/// Makes snapshots and publishes them.
#[derive(Debug)]
pub(crate) struct Publisher {
    proxy: ProxyContext,
    mesh: MeshConfig,
    compiler: Compiler,
    watch: Watch,
    checker: Checker,
    view: Arc<View>,
    /// What was judged last, accepted or refused.
    judged: BTreeMap<ResourceName, Bytes>,
    /// What the log has said already.
    said: BTreeSet<String>,
    /// Fields without effect that the log has named already.
    fields: BTreeSet<String>,
    pushes: u64,
}

impl Publisher {
    /// Nothing is in force yet. `bell` is rung when requests find that a host answers badly: [`Self::health`] is due then.
    pub(crate) fn new(
        proxy: ProxyContext,
        mesh: MeshConfig,
        compat: RequestCompat,
        bell: Bell,
        view: Arc<View>,
    ) -> Self {
        let compiler = Compiler::new(fastrand::u64(..)).with_compat(compat).with_bell(bell);
        Self {
            proxy,
            mesh,
            compiler: compiler.with_service_cluster(view.workload.as_str()),
            watch: Watch::new(),
            checker: Checker::default(),
            view,
            judged: BTreeMap::new(),
            said: BTreeSet::new(),
            fields: BTreeSet::new(),
            pushes: 0,
        }
    }

    /// Namespace of the workload, and of objects that name none.
    pub(crate) fn namespace(&self) -> &str {
        &self.proxy.namespace
    }

    /// The clusters in force.
    pub(crate) fn clusters(&self) -> impl Iterator<Item = Arc<Cluster>> {
        self.compiler.current().clusters().map(|cluster| Arc::clone(cluster.config()))
    }

    /// Puts what all sources give in force: objects as they are translated, resources as they are.
    pub(crate) fn readings(&mut self, readings: &[Reading]) {
        let given: Vec<Given> = readings.iter().filter_map(|reading| reading.resources.clone()).flatten().collect();
        if readings.iter().all(|reading| reading.resources.is_some()) {
            // Nobody spoke of Istio: no listener of its own making is to take what the resources leave.
            let findings: Vec<Finding> = readings.iter().flat_map(|reading| &reading.findings).cloned().collect();
            self.log(&findings);
            self.view.replace_findings(findings.into());
            return self.resources(given);
        }
        let world = World::from_objects(in_order(readings));
        // No objects are known to make the translation panic. Should some exist, what is in force stays so.
        let lowered = panic::catch_unwind(AssertUnwindSafe(|| lower(&world, &self.proxy, &self.mesh)));
        let of_all = lowered.as_ref().map(|lowered| lowered.findings.as_slice()).unwrap_or_default();
        let said = readings.iter().flat_map(|reading| &reading.findings).chain(world.findings()).chain(of_all);
        let mut findings: Vec<Finding> = said.cloned().collect();
        findings.sort();
        findings.dedup();
        self.log(&findings);
        self.view.replace_findings(findings.into());
        match lowered {
            Ok(mut lowered) => {
                if let Some(unprotected) = self.unprotected() {
                    // Nobody is served without the protection that was asked for: without an inbound listener no port
                    // of ours is open, as if its configuration had not arrived.
                    lowered.listeners.retain(|listener| listener.traffic_direction != TrafficDirection::Inbound as i32);
                    tracing::error!(
                        "no port is served, because a policy for this workload is not in force: {unprotected}"
                    );
                }
                self.resources(encode(&lowered).into_iter().chain(given).collect());
            }
            Err(_) => {
                tracing::error!("objects could not be translated: this is a defect; the configuration stays as it was")
            }
        }
    }

    /// A policy on who may call this workload that has no effect: because this version cannot enforce its kind, or
    /// because it was refused.
    fn unprotected(&self) -> Option<Finding> {
        let concerns = |finding: &&Finding| {
            let lost = matches!(finding.severity, Severity::NotInForce | Severity::Refused);
            lost && finding.object.as_ref().is_some_and(|object| {
                matches!(
                    object.kind,
                    Kind::AuthorizationPolicy | Kind::PeerAuthentication | Kind::RequestAuthentication
                ) && (object.namespace == self.proxy.namespace || object.namespace == self.mesh.root_namespace)
            })
        };
        self.view.findings().iter().find(concerns).cloned()
    }

    /// Puts resolved names in force.
    pub(crate) fn resolved(&mut self, resolved: Vec<(Name, Option<ClusterLoadAssignment>)>) {
        if resolved.is_empty() {
            return;
        }
        let resolved = resolved.into_iter().map(|(cluster, assignment)| (cluster, assignment.map(Arc::new))).collect();
        let (next, _) = self.compiler.apply_at(Instant::now().into_std(), Update { resolved, ..Update::default() });
        self.publish(&next);
    }

    /// Puts in force what was found out of hosts.
    pub(crate) fn health(&mut self) {
        let changed = self.watch.run();
        self.made_again(changed);
        self.begin_checks();
    }

    /// Puts in force what came of a health check.
    pub(crate) fn checked(&mut self, done: Done) {
        let changed = self.watch.checked(&done);
        self.made_again(changed);
        if self.watch.is_checked(done.key()) {
            self.checker.keep(done);
        }
        self.begin_checks();
    }

    /// Waits for a health check that ends; for ever, when none is under way.
    ///
    /// # Cancel safety
    /// No end is lost.
    pub(crate) async fn check_done(&mut self) -> Done {
        self.checker.done().await
    }

    /// A cluster with a host that waits for its first health check.
    pub(crate) fn unchecked(&self) -> Option<&Name> {
        self.watch.unchecked()
    }

    fn begin_checks(&mut self) {
        self.checker.begin(self.watch.take_checks());
    }

    /// When [`health`](Self::health) is due, if ever.
    pub(crate) fn health_due(&self) -> Option<Instant> {
        self.watch.wake_at()
    }

    /// Makes the balancers of clusters again whose hosts' health changed.
    fn made_again(&mut self, mut changed: Vec<Name>) {
        while !changed.is_empty() {
            let (next, _) =
                self.compiler.apply_at(Instant::now().into_std(), Update { health: changed, ..Update::default() });
            self.view.snapshots.publish(&next);
            tracing::debug!(version = next.version(), workload = self.view.workload, "health in force");
            changed = self.watch.follow(&next);
        }
    }

    /// Judges what changed, compiles and publishes it.
    fn resources(&mut self, given: Vec<Given>) {
        let (changed, removed) = self.difference(given);
        if changed.is_empty() && removed.is_empty() && self.pushes > 0 {
            return;
        }
        self.pushes += 1;
        let version: Arc<str> = self.pushes.to_string().into();
        let mut batch = Batch::new();
        for Given { name, bytes } in changed {
            let type_url = decode::type_url(name.kind).to_owned();
            let resource = Resource { type_url, name: Some(name.name), version: Arc::clone(&version), value: bytes };
            if let Err(unknown) = batch.add(resource) {
                // Only kinds that decode has a type URL for are given.
                tracing::error!(%unknown, "a resource was left out");
            }
        }
        for name in removed {
            batch.remove(name);
        }
        let mut verdicts = batch.finish();
        let (next, not_compiled) =
            self.compiler.apply_at(Instant::now().into_std(), std::mem::take(&mut verdicts.update));
        self.publish(&next);
        for refused in verdicts.refused.iter().chain(&not_compiled) {
            tracing::warn!(version = &*version, "refused, the last good version stays: {refused}");
        }
        self.log_fields(verdicts.accepted.iter().flat_map(|accepted| &accepted.not_in_force));
        verdicts.record(not_compiled, &mut self.view.board(), SystemTime::now());
    }

    /// What is new or other than what was judged last, and what is there no more.
    fn difference(&mut self, given: Vec<Given>) -> (Vec<Given>, Vec<ResourceName>) {
        let mut before = std::mem::take(&mut self.judged);
        let mut changed = Vec::new();
        for resource in given {
            let same = before.remove(&resource.name).is_some_and(|bytes| bytes == resource.bytes);
            let second = self.judged.insert(resource.name.clone(), resource.bytes.clone()).is_some();
            if !same || second {
                changed.push(resource);
            }
        }
        (changed, before.into_keys().collect())
    }

    fn publish(&mut self, next: &Arc<Snapshot>) {
        self.view.snapshots.publish(next);
        self.view.tell_published();
        tracing::debug!(version = next.version(), workload = self.view.workload, "configuration in force");
        let changed = self.watch.follow(next);
        self.made_again(changed);
        let Self { checker, watch, .. } = self;
        checker.retain(|key| watch.is_checked(key));
    }

    /// Says once in the life of the mesh that a kind of field has no effect; where it is set is on `/coverage`.
    fn log_fields<'a>(&mut self, lines: impl Iterator<Item = &'a String>) {
        let before = self.fields.len();
        for line in lines {
            let what = line.split_once(": ").map_or(line.as_str(), |(_, what)| what);
            let what = what.split_once(" (and ").map_or(what, |(what, _)| what);
            if !self.fields.contains(what) {
                tracing::debug!("{what}");
                self.fields.insert(what.to_owned());
            }
        }
        if self.fields.len() > before {
            tracing::info!(fields = self.fields.len(), "fields of resources have no effect here: see /coverage");
        }
    }

    /// Says each finding once, for as long as it stands.
    fn log(&mut self, findings: &[Finding]) {
        let mut standing = BTreeSet::new();
        for finding in findings {
            let line = finding.to_string();
            if !self.said.contains(&line) {
                match finding.severity {
                    Severity::Note => tracing::debug!("{}: {line}", finding.severity.as_str()),
                    severity => tracing::warn!("{}: {line}", severity.as_str()),
                }
            }
            standing.insert(line);
        }
        self.said = standing;
    }
}

/// Objects of all sources in order; last good versions only where no newer object has their place.
fn in_order(readings: &[Reading]) -> Vec<Arc<Object>> {
    let fresh = || readings.iter().flat_map(|reading| &reading.objects[..reading.fresh]);
    let known: BTreeSet<_> = fresh().map(|object| &object.id).collect();
    let kept = readings.iter().flat_map(|reading| &reading.objects[reading.fresh..]);
    fresh().chain(kept.filter(|object| !known.contains(&object.id))).cloned().collect()
}

fn encode(lowered: &Lowered) -> Vec<Given> {
    fn all<M: prost::Message + prost::Name>(
        kind: ResourceKind,
        messages: &[M],
        name: impl Fn(&M) -> &str,
    ) -> impl Iterator<Item = Given> {
        messages.iter().map(move |message| Given {
            name: ResourceName::new(kind, name(message)),
            bytes: canonical::encode(message).into(),
        })
    }
    all(ResourceKind::Cluster, &lowered.clusters, |one| &one.name)
        .chain(all(ResourceKind::ClusterLoadAssignment, &lowered.endpoints, |one| &one.cluster_name))
        .chain(all(ResourceKind::Listener, &lowered.listeners, |one| &one.name))
        .chain(all(ResourceKind::RouteConfiguration, &lowered.routes, |one| &one.name))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use mesh_core::state::Lane;
    use mesh_istio::LoadOptions;
    use mesh_tower::pool::Connector;

    use super::*;
    use crate::client::HttpClient;
    use crate::source::read_literal;

    fn publisher() -> Publisher {
        Publisher::new(
            ProxyContext::new("default"),
            MeshConfig::default(),
            RequestCompat::default(),
            Bell::default(),
            Arc::new(View::new("test".to_owned())),
        )
    }

    fn reading(services: &[(&str, u16)]) -> [Reading; 1] {
        let service = |(name, port): &(&str, u16)| {
            format!(
                "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}}}\nspec:\n  \
                 hosts: [{name}.example]\n  resolution: STATIC\n  ports: [{{number: {port}, name: http, protocol: HTTP}}]\n  \
                 endpoints: [{{address: 127.0.0.1}}]\n---\n"
            )
        };
        [read_literal(1, &services.iter().map(service).collect::<String>(), &LoadOptions::default())]
    }

    #[test]
    fn only_what_changed_is_published_and_the_board_knows_since_when() {
        let mut publisher = publisher();
        publisher.readings(&reading(&[("a", 80), ("b", 81)]));
        let first = Arc::clone(publisher.compiler.current());
        publisher.readings(&reading(&[("a", 80), ("b", 81)]));
        assert_eq!(publisher.compiler.current().version(), first.version(), "nothing changed");
        publisher.readings(&reading(&[("a", 80), ("b", 82)]));
        let second = Arc::clone(publisher.compiler.current());
        assert_eq!(publisher.view.snapshots.pin(Lane::default()).version(), second.version());
        let a = |snapshot: &Snapshot| Arc::clone(snapshot.cluster_by_name("outbound|80||a.example").unwrap());
        assert!(Arc::ptr_eq(&a(&first), &a(&second)));
        assert!(second.cluster_by_name("outbound|81||b.example").is_none());
        let version = |name: &str| {
            let status = publisher.view.board().find(&ResourceName::new(ResourceKind::Cluster, name)).cloned();
            status.and_then(|status| status.in_force).map(|in_force| in_force.version.to_string())
        };
        assert_eq!(version("outbound|80||a.example").as_deref(), Some("1"));
        assert_eq!(version("outbound|82||b.example").as_deref(), Some("2"));
        assert_eq!(version("outbound|81||b.example"), None);
    }

    #[tokio::test]
    async fn ten_thousand_idle_clients_keep_no_old_snapshot_alive() {
        let mut publisher = publisher();
        let outbound = mesh_tower::outbound::outbound(publisher.view.snapshots.clone(), Connector::current());
        let clients: Vec<_> = (0..10_000).map(|_| HttpClient(outbound.clone())).collect();
        let mut made: Vec<Weak<Snapshot>> = Vec::new();
        for port in 80..90 {
            publisher.readings(&reading(&[("a", port)]));
            made.push(Arc::downgrade(publisher.compiler.current()));
            let alive = made.iter().filter(|snapshot| snapshot.strong_count() > 0).count();
            assert!(alive <= 2, "{alive} snapshots are alive");
        }
        let distinct: BTreeSet<_> = made.iter().map(Weak::as_ptr).collect();
        assert_eq!((clients.len(), distinct.len()), (10_000, 10));
    }

    #[test]
    fn an_object_of_one_source_stands_in_for_a_last_good_one_of_another() {
        let [newer] = reading(&[("a", 81)]);
        let [mut kept] = reading(&[("a", 80), ("b", 80)]);
        kept.fresh = 0;
        let objects = in_order(&[kept, newer]);
        let names: Vec<_> = objects.iter().map(|object| object.id.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(
            matches!(&objects[0].spec, mesh_istio::object::Spec::ServiceEntry(entry) if entry.ports[0].number == 81)
        );
    }
}

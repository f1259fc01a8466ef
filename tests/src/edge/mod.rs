//! An edge before our data plane: a listener's configuration in force, and requests through the outbound stack.
//!
//! The configuration goes the one way that there is: JSON → bytes → `mesh_xds::decode` → snapshot. The recorded Envoy was asked
//! over HTTP/1.1; ours is asked in this process, with an `http::Request` in either of its forms.

mod answer;
mod body;
pub mod clusters;
mod listener;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Request, Uri, header};
use mesh_core::engine::routing::path::{self, Prepared};
use mesh_core::exchange::filters::FilterOutcome;
use mesh_core::exchange::{Accepted, Unpicked};
use mesh_core::resource::endpoint::Address;
use mesh_core::snapshot::health::Health;
use mesh_core::snapshot::{Cluster, Compiler, RequestCompat, SnapshotStore, Update};
use mesh_core::state::Lane;
use mesh_istio::Lowered;
use mesh_proto::prost::Message;
use mesh_proto::type_url::{CLUSTER, CLUSTER_LOAD_ASSIGNMENT, LISTENER, ROUTE_CONFIGURATION};
use mesh_tower::outbound::{Outbound, outbound};
use mesh_tower::pool::Connector;
use mesh_xds::decode::{Batch, Resource};
use serde_json::Value;
use tower::ServiceExt;

pub use self::answer::Answer;
pub use self::body::Upload;
pub use self::listener::listener;
use crate::observed;

/// A configuration in force.
#[derive(Clone, Debug)]
pub struct Edge {
    stack: Outbound,
    snapshots: SnapshotStore,
    control: Arc<Mutex<Control>>,
    /// What was set and has no effect, over all resources.
    pub not_in_force: Arc<[String]>,
}

/// Who makes snapshots and watches hosts, with the time that passed for it.
#[derive(Debug)]
struct Control {
    compiler: Compiler,
    health: Health,
    now: Duration,
}

/// A resource in Envoy's JSON.
#[derive(Clone, Debug)]
pub struct Given {
    /// Its type URL.
    pub type_url: &'static str,
    /// It.
    pub json: Value,
}

/// The two forms of a request that name its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A path, and a `Host` header: as an HTTP/1.1 server sees it.
    Origin,
    /// An absolute URI without `Host`: as an HTTP client writes it.
    Absolute,
}

impl Edge {
    /// Puts resources in force.
    ///
    /// # Errors
    /// One line for each refusal, by the JSON form, decode or the compiler.
    pub fn new(resources: &[Given]) -> Result<Self, String> {
        let encode = |Given { type_url, json }: &Given| {
            let bytes = mesh_proto::json::encode(type_url, json).map_err(|error| error.to_string())?;
            Ok((*type_url, bytes))
        };
        Self::of_encoded(resources.iter().map(encode).collect::<Result<Vec<_>, String>>()?)
    }

    /// Puts what a translation of Istio's objects made in force.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_lowered(lowered: &Lowered) -> Result<Self, String> {
        fn encode<M: Message>(type_url: &'static str, messages: &[M]) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
            messages.iter().map(move |message| (type_url, message.encode_to_vec()))
        }
        let clusters = encode(CLUSTER, &lowered.clusters).chain(encode(CLUSTER_LOAD_ASSIGNMENT, &lowered.endpoints));
        let listeners = encode(LISTENER, &lowered.listeners).chain(encode(ROUTE_CONFIGURATION, &lowered.routes));
        Self::of_encoded(clusters.chain(listeners))
    }

    fn of_encoded(resources: impl IntoIterator<Item = (&'static str, Vec<u8>)>) -> Result<Self, String> {
        let mut batch = Batch::new();
        for (type_url, value) in resources {
            let given =
                Resource { type_url: type_url.to_owned(), name: None, version: "1".into(), value: value.into() };
            batch.add(given).map_err(|error| error.to_string())?;
        }
        let verdicts = batch.finish();
        let mut lines: Vec<String> = verdicts.refused.iter().map(ToString::to_string).collect();
        let not_in_force = verdicts.accepted.iter().flat_map(|one| one.not_in_force.iter().cloned()).collect();
        let edge = Self::of(verdicts.update, not_in_force);
        if let Err(refused) = &edge {
            lines.push(refused.clone());
        }
        if lines.is_empty() { edge } else { Err(lines.join("\n")) }
    }

    fn of(update: Update, not_in_force: Arc<[String]>) -> Result<Self, String> {
        // Balancers start at a place of their own in every edge, as processes do.
        let seed = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0);
        let mut compiler = Compiler::new(seed).with_compat(RequestCompat::envoy());
        let (snapshot, refused) = compiler.apply(update);
        if !refused.is_empty() {
            let lines: Vec<String> = refused.iter().map(ToString::to_string).collect();
            return Err(lines.join("\n"));
        }
        let mut health = Health::new(seed);
        health.follow(&snapshot, Duration::ZERO);
        let control = Arc::new(Mutex::new(Control { compiler, health, now: Duration::ZERO }));
        let snapshots = SnapshotStore::new(snapshot);
        let stack = outbound(snapshots.clone(), Connector::current());
        Ok(Self { stack, snapshots, control, not_in_force })
    }

    /// Lets time pass for whoever watches the hosts, and puts in force what was found out of them. There is no other
    /// clock for that: ejections begin and end when a test says so.
    pub fn pass(&self, time: Duration) {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let end = control.now + time;
        loop {
            let changes = {
                let Control { health, now, .. } = &mut *control;
                health.run(*now)
            };
            self.put_in_force(&mut control, Update { health: changes.health, ..Update::default() });
            match control.health.wake_at().filter(|due| *due <= end && *due > control.now) {
                Some(due) => control.now = due,
                None if control.now < end => control.now = end,
                None => return,
            }
        }
    }

    /// Puts a change in force.
    pub fn push(&self, update: Update) {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        self.put_in_force(&mut control, update);
    }

    fn put_in_force(&self, control: &mut Control, mut update: Update) {
        while !update.is_empty() {
            let (snapshot, refused) = control.compiler.apply(update);
            assert!(refused.is_empty(), "{refused:?}");
            self.snapshots.publish(&snapshot);
            let changes = control.health.follow(&snapshot, control.now);
            update = Update { health: changes.health, ..Update::default() };
        }
    }

    /// A cluster in force.
    #[must_use]
    pub fn cluster(&self, name: &str) -> Option<Arc<Cluster>> {
        self.snapshots.pin(Lane::default()).cluster_by_name(name).map(Arc::clone)
    }

    /// The address of the host that a request's first try picks; nothing is sent.
    ///
    /// # Errors
    /// Why there is none.
    ///
    /// # Panics
    /// When the request is answered before a host is picked.
    pub fn pick_host(&self, request: Request<()>, seed: u64) -> Result<Address, Unpicked> {
        let (now, lane) = (Instant::now(), Lane::default());
        let accepted = Accepted::new(request, self.snapshots.pin(lane), lane, seed, now);
        let Ok(routed) = accepted.route() else { panic!("the request has no route") };
        let FilterOutcome::Forward(filtered, _) = routed.filter(now) else { panic!("a filter answers the request") };
        let (head, body, mut plan) = filtered.into_parts();
        let picked = plan.attempt(Request::from_parts(head, body), None).pick()?;
        let host = picked.target().host().ok_or(Unpicked::NoHealthyHost)?;
        Ok(host.endpoint.address.clone())
    }

    /// The port of [`Self::pick_host`].
    ///
    /// # Errors
    /// As there; a host with another kind of address is none.
    pub fn pick(&self, request: Request<()>, seed: u64) -> Result<u16, Unpicked> {
        match self.pick_host(request, seed)? {
            Address::Socket(address) => Ok(address.port()),
            _ => Err(Unpicked::NoHealthyHost),
        }
    }

    /// Sends a request through the whole stack and reads its response to the end.
    ///
    /// # Panics
    /// When the stack itself fails: its errors are answers.
    pub async fn send(&self, request: Request<Upload>) -> Answer {
        let before = self.attempts();
        let started = Instant::now();
        let response = self.stack.clone().oneshot(request).await;
        let mut answer = Answer::read(response.expect("every failure has an answer")).await;
        answer.elapsed = started.elapsed();
        let after = self.attempts();
        let change = |name: &String, count: &u64| count - before.get(name).copied().unwrap_or(0);
        let changed = after.iter().map(|(name, count)| (name.clone(), change(name, count)));
        answer.attempts = changed.filter(|(_, count)| *count > 0).collect();
        answer
    }

    /// What the judge of paths answers to a path as it was sent; `None` when it lets the path pass.
    #[must_use]
    pub fn judge_path(&self, path_and_query: &str) -> Option<Answer> {
        let snapshot = self.snapshots.pin(Lane::default());
        let (_, scope) = snapshot.outbound(0);
        match path::prepare(path_and_query, scope?.manager.path) {
            Prepared::Reply(reply) => Some(Answer::local(*reply)),
            Prepared::Unchanged | Prepared::Changed(_) => None,
        }
    }

    /// The configuration in force, for whoever asks the engine alone.
    #[must_use]
    pub const fn snapshots(&self) -> &SnapshotStore {
        &self.snapshots
    }

    /// Attempts by cluster so far.
    #[must_use]
    pub fn attempts(&self) -> BTreeMap<String, u64> {
        let snapshot = self.snapshots.pin(Lane::default());
        snapshot
            .clusters()
            .map(|cluster| (cluster.config().name.to_string(), cluster.state().counts().requests))
            .collect()
    }
}

/// A recorded request as ours; `None` when `http::Request` cannot say it in that form.
#[must_use]
pub fn request(recorded: &observed::Request, form: Form, id: &str) -> Option<Request<Upload>> {
    let uri: Uri = match (form, &recorded.host) {
        (Form::Origin, _) => recorded.path.parse().ok()?,
        (Form::Absolute, Some(host)) if !host.is_empty() => format!("http://{host}{}", recorded.path).parse().ok()?,
        (Form::Absolute, _) => return None,
    };
    // A fragment is no part of an `http::Uri`: it would be gone before anybody could judge it.
    if uri.path_and_query().map(|path| path.as_str()) != Some(&recorded.path) {
        return None;
    }
    let mut builder = Request::builder().method(recorded.method.as_str()).uri(uri).header("x-id", id);
    if let (Form::Origin, Some(host)) = (form, &recorded.host) {
        builder = builder.header(header::HOST, HeaderValue::from_str(host).ok()?);
    }
    for (name, value) in &recorded.headers {
        // What an HTTP/1.1 server does: blanks around a value are not part of it.
        let value = HeaderValue::from_str(value.trim_matches([' ', '\t'])).ok()?;
        builder = builder.header(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
    }
    let upload = Upload::new(recorded.body_size());
    builder.body(if recorded.is_unfinished() { upload.unfinished() } else { upload }).ok()
}

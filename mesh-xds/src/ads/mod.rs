//! The aggregated discovery service as a function of events: no socket, no clock, no randomness of its own.
//!
//! [`Ads::on`] takes what happened and returns what is to be done; whoever drives it never waits between the two. Both variants of
//! the protocol are spoken, on one stream per server: state of the world and incremental. Every resource is judged by
//! [`crate::decode`]; what is refused is named in the NACK, and takes nothing else along.
//!
//! Follows xDS' transport protocol, gRFCs A27, A40 (ordering), A46 (NACK per resource), A53 and A88 (errors of data),
//! A57 (does not exist), A71 (fallback).

mod backoff;
mod entry;
mod kind;
mod link;
mod message;
mod references;
mod status;
mod store;
mod timers;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_core::engine::random::Random;
use mesh_core::resource::{Name, ResourceName};
use mesh_proto::envoy::config::core::v3::Node;

use self::kind::{KINDS, index};
use self::link::{Link, State, Turn};
use self::message::Incoming;
use self::store::Store;

pub use self::message::{Request, Response};
pub use self::status::{ServerState, ServerStatus, Status, TypeStatus};
use crate::decode::Verdicts;

/// A variant of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// `DeltaAggregatedResources`: what changed.
    #[default]
    Delta,
    /// `StreamAggregatedResources`: state of the world.
    Sotw,
}

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerOptions {
    /// Which variant.
    pub protocol: Protocol,
    /// `ignore_resource_deletion` (gRFC A53): nothing that it removes is dropped, in use or not.
    pub ignore_resource_deletion: bool,
    /// `fail_on_data_errors` (gRFC A88): what it removes is dropped although it is in use.
    pub fail_on_data_errors: bool,
}

/// How much is held at most. A response beyond is refused as a whole; what is in force stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Resources of all types, default 200,000.
    pub max_resources: usize,
    /// Their encoded bytes, default 256 MiB.
    pub max_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_resources: 200_000, max_bytes: 256 << 20 }
    }
}

/// What the machine is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// The servers, in order of preference (gRFC A71).
    pub servers: Vec<ServerOptions>,
    /// Who we are.
    pub node: Node,
    /// Whether all listeners and clusters are asked for, as a sidecar does; else only those watched, and what they name.
    pub everything: bool,
    /// How much is held at most.
    pub limits: Limits,
    /// How long something asked for may take to arrive before it counts as absent, and something held waits for others:
    /// 15 s in Envoy (`initial_fetch_timeout`) and gRPC.
    pub patience: Duration,
}

impl Config {
    /// Everything from one server.
    #[must_use]
    pub fn new(node: Node, server: ServerOptions) -> Self {
        Self {
            servers: vec![server],
            node,
            everything: true,
            limits: Limits::default(),
            patience: Duration::from_secs(15),
        }
    }
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// Begin.
    Start,
    /// The stream to a server is open.
    Opened(usize),
    /// The stream to a server ended, or could not be opened.
    Closed {
        /// Which.
        server: usize,
        /// Why.
        why: String,
        /// It ended because of what the server sent (a message too large, bytes that are no message): whatever came before
        /// on the stream is then no reason to come back soon.
        garbage: bool,
    },
    /// A server answered.
    Received {
        /// Which.
        server: usize,
        /// With what.
        response: Response,
    },
    /// Resources are in use from now on. Twice is once.
    Watch(Vec<ResourceName>),
    /// Resources are no longer in use.
    Unwatch(Vec<ResourceName>),
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug)]
pub enum Effect {
    /// Open a stream to a server.
    Connect(usize),
    /// Close the stream to a server; no event follows.
    Disconnect(usize),
    /// Send a request.
    Send {
        /// To which server.
        server: usize,
        /// What.
        request: Request,
    },
    /// Put something in force, and note what was refused.
    Publish(Verdicts),
    /// Come back with [`Event::Tick`] at this moment, if nothing happens before.
    WakeAt(Instant),
}

/// The client's side of aggregated discovery.
#[derive(Debug)]
pub struct Ads {
    node: Node,
    links: Vec<Link>,
    /// The server whose resources count.
    active: usize,
    store: Store,
    watched: BTreeSet<ResourceName>,
    random: Random,
    started: bool,
    synced: bool,
}

impl Ads {
    /// Knows nothing and does nothing before [`Event::Start`]. `seed` spreads the tries of many clients.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            node: config.node,
            links: config.servers.into_iter().map(Link::new).collect(),
            active: 0,
            store: Store::new(config.everything, config.limits, config.patience),
            watched: BTreeSet::new(),
            random: Random::from_seed(seed),
            started: false,
            synced: false,
        }
    }

    /// Takes an event; the effects are to be done in order.
    pub fn on(&mut self, now: Instant, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Start if !self.started => {
                self.started = true;
                self.connect(0, &mut effects);
            }
            Event::Start => {}
            Event::Opened(server) => self.opened(now, server),
            Event::Closed { server, why, garbage } => self.closed(now, server, why, garbage, &mut effects),
            Event::Received { server, response } => self.received(now, server, response, &mut effects),
            Event::Watch(names) => {
                for name in names {
                    if self.watched.insert(name.clone()) {
                        self.store.use_resource(&name, true);
                    }
                }
            }
            Event::Unwatch(names) => {
                for name in names {
                    if self.watched.remove(&name) {
                        self.store.use_resource(&name, false);
                    }
                }
            }
            Event::Tick => {}
        }
        self.due(now, &mut effects);
        self.store.sweep();
        effects.extend(self.store.take_out().map(Effect::Publish));
        self.ask(now, &mut effects);
        self.synced = self.synced || self.is_synced();
        effects.extend(self.next_wake().map(Effect::WakeAt));
        effects
    }

    /// What there is to tell.
    #[must_use]
    pub fn status(&self) -> Status {
        let server = |(number, link): (usize, &Link)| ServerStatus {
            state: match link.state {
                State::Idle => ServerState::Idle,
                State::Waiting(until) => ServerState::Waiting(until),
                State::Connecting => ServerState::Connecting,
                State::Open => ServerState::Open,
            },
            active: number == self.active,
            last_error: link.last_error.clone(),
            unknown_types: link.unknown_types.clone(),
        };
        let streams = self.links.get(self.active).into_iter().flat_map(Link::streams);
        let types = self.store.tables.iter().zip(KINDS).zip(streams).map(|((table, kind), stream)| {
            let names = |which: fn(&entry::Entry) -> bool| {
                let mut names: Vec<ResourceName> = table
                    .entries
                    .iter()
                    .filter(|(_, entry)| which(entry))
                    .map(|(name, _)| ResourceName::new(kind, Arc::clone(name)))
                    .collect();
                names.sort();
                names
            };
            TypeStatus {
                kind,
                resources: table.given(),
                version: stream.version.clone(),
                nacks: stream.nacks,
                last_problem: stream.last_problem.clone(),
                held: names(|entry| entry.held().is_some()),
                kept: names(|entry| entry.deleted),
                absent: names(|entry| entry.absent),
            }
        });
        Status {
            servers: self.links.iter().enumerate().map(server).collect(),
            types: types.collect(),
            synced: self.synced,
        }
    }

    /// Whether everything asked for was in force at some moment. Stays true.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.synced
    }

    /// The good resources that the server has, with their versions: the client's view of the server.
    pub fn resources(&self) -> impl Iterator<Item = (ResourceName, &Arc<str>, &bytes::Bytes)> {
        self.store.tables.iter().zip(KINDS).flat_map(|(table, kind)| {
            table.entries.iter().filter(|(_, entry)| !entry.deleted).filter_map(move |(name, entry)| {
                let good = entry.good.as_ref()?;
                Some((ResourceName::new(kind, Arc::clone(name)), &good.version, &good.encoded))
            })
        })
    }

    fn connect(&mut self, server: usize, effects: &mut Vec<Effect>) {
        if let Some(link) = self.links.get_mut(server) {
            link.state = State::Connecting;
            effects.push(Effect::Connect(server));
        }
    }

    fn opened(&mut self, now: Instant, server: usize) {
        if let Some(link) = self.links.get_mut(server).filter(|link| link.state == State::Connecting) {
            link.opened();
            self.store.opened(now);
        }
    }

    fn closed(&mut self, now: Instant, server: usize, why: String, garbage: bool, effects: &mut Vec<Effect>) {
        let Some(link) = self.links.get_mut(server).filter(|link| link.state != State::Idle) else { return };
        if link.responded && !garbage {
            link.backoff.reset();
        }
        let failed = !std::mem::take(&mut link.responded);
        link.state = State::Waiting(now + link.backoff.next(&mut self.random));
        link.last_error = Some(why);
        if self.links.iter().all(|link| link.state != State::Open) {
            self.store.disconnected();
        }
        // The next server is only for what nobody has given yet (gRFC A71).
        let next = server + 1;
        if failed && self.store.is_waiting() && self.links.get(next).is_some_and(|next| next.state == State::Idle) {
            self.connect(next, effects);
        }
    }

    fn received(&mut self, now: Instant, server: usize, response: Response, effects: &mut Vec<Effect>) {
        let Some(link) = self.links.get_mut(server).filter(|link| link.state == State::Open) else { return };
        link.responded = true;
        link.last_error = None;
        let mut incoming = match Incoming::read(response) {
            Ok(incoming) => incoming,
            Err(type_url) => {
                const MOST: usize = 16;
                if link.unknown_types.len() < MOST && !link.unknown_types.contains(&type_url) {
                    link.unknown_types.push(type_url);
                }
                return;
            }
        };
        let Some(at) = index(incoming.kind) else { return };
        if self.active != server {
            self.active = server;
            self.store.other_server();
        }
        // Those that stood in for it are needed no more.
        for later in server + 1..self.links.len() {
            if self.links[later].state != State::Idle {
                self.links[later].state = State::Idle;
                effects.push(Effect::Disconnect(later));
            }
        }
        let (nonce, version) = (std::mem::take(&mut incoming.nonce), std::mem::take(&mut incoming.version));
        let problems = self.store.receive(now, server, self.links[server].options, incoming);
        self.links[server].answer(now, at, nonce, version, problems);
    }

    /// What is due by now.
    fn due(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for server in 0..self.links.len() {
            if matches!(self.links[server].state, State::Waiting(until) if until <= now) {
                self.connect(server, effects);
            }
        }
        let options = self.links.get(self.active).map(|link| link.options).unwrap_or_default();
        for timer in self.store.timers.due(now) {
            self.store.due(now, timer, self.active, options);
        }
    }

    /// Sends what this turn has to ask and to answer: at most one request per server and type.
    fn ask(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for (at, kind) in KINDS.into_iter().enumerate() {
            let table = &mut self.store.tables[at];
            let turn = subscriptions(table);
            let mut asked: Vec<Name> = Vec::new();
            for (server, link) in self.links.iter_mut().enumerate().filter(|(_, link)| link.state == State::Open) {
                let first = link.streams().nth(at).is_some_and(|stream| !stream.opened);
                let request = link.request(now, at, table, &turn, &self.node, || known(table, server));
                if let Some(request) = request {
                    if first {
                        asked.extend(table.asked.iter().cloned());
                    } else {
                        asked.extend(turn.added.iter().map(|name| Name::from(name.as_str())));
                    }
                    effects.push(Effect::Send { server, request });
                }
            }
            self.store.asked(now, kind, asked.iter());
        }
    }

    fn is_synced(&self) -> bool {
        let open = self.links.iter().any(|link| link.state == State::Open);
        open && !self.store.is_waiting() && self.store.held().is_empty()
    }

    fn next_wake(&self) -> Option<Instant> {
        let retry = self.links.iter().filter_map(|link| match link.state {
            State::Waiting(until) => Some(until),
            _ => None,
        });
        let answers = self.links.iter().filter_map(Link::next_answer);
        retry.chain(answers).chain(self.store.timers.next()).min()
    }
}

/// The difference between what is used and what was asked for; what was asked for is then what is used.
fn subscriptions(table: &mut entry::Table) -> Turn {
    let mut turn = Turn::default();
    let touched = std::mem::take(&mut table.touched);
    if table.wildcard {
        return turn;
    }
    for name in touched {
        if table.is_used(&name) {
            if table.asked.insert(Arc::clone(&name)) {
                turn.added.push(name.to_string());
            }
        } else if table.asked.remove(&name) {
            turn.dropped.push(name.to_string());
        }
    }
    turn.added.sort_unstable();
    turn.dropped.sort_unstable();
    turn
}

/// The versions that a server gave, for it to leave out of its first response.
fn known(table: &entry::Table, server: usize) -> HashMap<String, String> {
    let of =
        table.entries.iter().filter(|(name, entry)| entry.server == server && !entry.deleted && table.is_wanted(name));
    of.filter_map(|(name, entry)| Some((name.to_string(), entry.good.as_ref()?.version.to_string()))).collect()
}

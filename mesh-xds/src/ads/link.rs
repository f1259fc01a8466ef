//! One server: whether its stream is open, what was said on it, and when it is tried again.
//!
//! ```text
//!   Idle ──▶ Connecting ──▶ Open ──┐
//!                 ▲           │    │ closed
//!                 └── Waiting ◀────┘
//! ```
//!
//! Nonces and what was subscribed live as long as a stream; resources live beside it, in the store.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use mesh_proto::envoy::config::core::v3::Node;
use mesh_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};

use super::backoff::Backoff;
use super::entry::Table;
use super::kind::{COUNT, KINDS};
use super::message::{Request, error_detail};
use super::{Protocol, ServerOptions};
use crate::decode;

/// The NACKs of one type are at least this far apart: a server that answers each with the same again is no hot loop (F09).
const NACK_INTERVAL: Duration = Duration::from_secs(1);

/// One server of the list.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) options: ServerOptions,
    pub(super) state: State,
    pub(super) backoff: Backoff,
    /// Whether this stream brought a response.
    pub(super) responded: bool,
    /// Why the last stream ended or could not be opened.
    pub(super) last_error: Option<String>,
    /// Types of responses that nobody asked for, to be reported.
    pub(super) unknown_types: Vec<String>,
    streams: [TypeStream; COUNT],
    node_sent: bool,
}

/// Where a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not needed.
    Idle,
    /// Tried again at this moment.
    Waiting(Instant),
    /// Asked for.
    Connecting,
    /// There.
    Open,
}

/// What was said on a stream about one type.
#[derive(Debug, Default)]
pub(super) struct TypeStream {
    /// Whether the type was asked for.
    pub(super) opened: bool,
    /// Of the last response.
    nonce: String,
    /// The last acknowledged version; what a NACK says is still in force.
    pub(super) version: String,
    /// The answer that the last response still needs.
    due: Option<Due>,
    last_nack: Option<Instant>,
    pub(super) nacks: u64,
    /// Why the last response was refused, until one is accepted.
    pub(super) last_problem: Option<String>,
}

#[derive(Debug)]
struct Due {
    problems: Vec<String>,
    not_before: Instant,
}

/// Names whose subscription began and ended in this turn.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) added: Vec<String>,
    pub(super) dropped: Vec<String>,
}

impl Turn {
    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.dropped.is_empty()
    }
}

impl Link {
    pub(super) fn new(options: ServerOptions) -> Self {
        Self {
            options,
            state: State::Idle,
            backoff: Backoff::default(),
            responded: false,
            last_error: None,
            unknown_types: Vec::new(),
            streams: Default::default(),
            node_sent: false,
        }
    }

    pub(super) fn opened(&mut self) {
        self.state = State::Open;
        self.responded = false;
        self.node_sent = false;
        self.streams = Default::default();
    }

    pub(super) fn streams(&self) -> impl Iterator<Item = &TypeStream> {
        self.streams.iter()
    }

    /// A response was taken in; it needs an answer, which is an ACK without problems.
    pub(super) fn answer(&mut self, now: Instant, at: usize, nonce: String, version: String, problems: Vec<String>) {
        let stream = &mut self.streams[at];
        stream.nonce = nonce;
        let mut not_before = now;
        if problems.is_empty() {
            stream.version = version;
            stream.last_problem = None;
        } else {
            stream.last_problem = problems.first().cloned();
            not_before = stream.last_nack.map_or(now, |last| (last + NACK_INTERVAL).max(now));
        }
        stream.due = Some(Due { problems, not_before });
    }

    /// When an answer that waits is to be sent.
    pub(super) fn next_answer(&self) -> Option<Instant> {
        if self.state != State::Open {
            return None;
        }
        self.streams.iter().filter_map(|stream| Some(stream.due.as_ref()?.not_before)).min()
    }

    /// The request of one type that this turn needs, if it needs one.
    pub(super) fn request(
        &mut self,
        now: Instant,
        at: usize,
        table: &Table,
        turn: &Turn,
        node: &Node,
        known: impl FnOnce() -> HashMap<String, String>,
    ) -> Option<Request> {
        let stream = &mut self.streams[at];
        let first = !stream.opened;
        if first && !table.wildcard && table.asked.is_empty() {
            // A first request without names would ask for everything.
            return None;
        }
        let due = stream.due.as_ref().is_some_and(|due| due.not_before <= now);
        if !first && turn.is_empty() && !due {
            return None;
        }
        stream.opened = true;
        // Any request that carries the nonce is the answer.
        let due = stream.due.take();
        let (nonce, error_detail) = match due {
            Some(Due { problems, .. }) if problems.is_empty() => (stream.nonce.clone(), None),
            Some(Due { problems, .. }) => {
                stream.last_nack = Some(now);
                stream.nacks += 1;
                (stream.nonce.clone(), Some(error_detail(&problems)))
            }
            None => (String::new(), None),
        };
        let node = (!std::mem::replace(&mut self.node_sent, true)).then(|| node.clone());
        let type_url = decode::type_url(KINDS[at]).to_owned();
        Some(match self.options.protocol {
            Protocol::Sotw => {
                let mut resource_names: Vec<String> = table.asked.iter().map(|name| name.to_string()).collect();
                resource_names.sort_unstable();
                Request::Sotw(Box::new(DiscoveryRequest {
                    version_info: stream.version.clone(),
                    node,
                    resource_names,
                    type_url,
                    // The nonce of the last response goes into every request: without it a server takes it for a first one.
                    response_nonce: stream.nonce.clone(),
                    error_detail,
                    ..DiscoveryRequest::default()
                }))
            }
            Protocol::Delta => {
                let (subscribe, unsubscribe) = if first {
                    let mut all: Vec<String> = table.asked.iter().map(|name| name.to_string()).collect();
                    all.sort_unstable();
                    (all, Vec::new())
                } else {
                    (turn.added.clone(), turn.dropped.clone())
                };
                Request::Delta(Box::new(DeltaDiscoveryRequest {
                    node,
                    type_url,
                    resource_names_subscribe: subscribe,
                    resource_names_unsubscribe: unsubscribe,
                    initial_resource_versions: if first { known() } else { HashMap::new() },
                    response_nonce: nonce,
                    error_detail,
                    ..DeltaDiscoveryRequest::default()
                }))
            }
        })
    }
}

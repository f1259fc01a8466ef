//! What the machine tells about itself, for readiness, admin pages and errors.

use std::time::Instant;

use mesh_core::resource::{ResourceKind, ResourceName};

/// The state of the client at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Every server of the list, in order of preference.
    pub servers: Vec<ServerStatus>,
    /// Every type of resource.
    pub types: Vec<TypeStatus>,
    /// Whether everything asked for has arrived, or is known not to exist, and is in force.
    pub synced: bool,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerStatus {
    /// What it is doing.
    pub state: ServerState,
    /// Whether its resources are the ones that count.
    pub active: bool,
    /// Why its last stream ended or could not be opened.
    pub last_error: Option<String>,
    /// Types that it sent without being asked.
    pub unknown_types: Vec<String>,
}

/// What a server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// Not needed, because one before it answers.
    Idle,
    /// Tried again at this moment.
    Waiting(Instant),
    /// Being connected to.
    Connecting,
    /// Its stream is open.
    Open,
}

/// One type of resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeStatus {
    /// Which.
    pub kind: ResourceKind,
    /// How many there are, refused ones included.
    pub resources: usize,
    /// The last acknowledged version on the active server's stream; empty before the first, and with incremental streams what
    /// the server calls its own.
    pub version: String,
    /// How many responses were refused on this stream.
    pub nacks: u64,
    /// Why the last response was refused, until one is accepted.
    pub last_problem: Option<String>,
    /// What waits for other resources.
    pub held: Vec<ResourceName>,
    /// What the server removed and what is kept because it is in use (`does_not_exist_but_cached`).
    pub kept: Vec<ResourceName>,
    /// What was asked for and does not exist.
    pub absent: Vec<ResourceName>,
}

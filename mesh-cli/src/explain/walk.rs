//! The steps of one outbound request: listener, route table, virtual host, route, and its final head.
//!
//! Asked of the very code that serves requests: [`RouteTable::explain`](mesh_core::engine::routing::RouteTable::explain) for
//! the reasons, [`Accepted`] for what becomes of the request. Nothing is drawn that a reader would have to know of: shares
//! are read from the configuration.

use std::sync::Arc;
use std::time::Instant;

use http::Request;
use mesh_core::engine::facts::{ConnectionFacts, RequestFacts};
use mesh_core::engine::local_reply::LocalReply;
use mesh_core::engine::routing::path::{Prepared, prepare};
use mesh_core::engine::routing::{CompiledRoute, Explanation};
use mesh_core::engine::timeout::Timeouts;
use mesh_core::exchange::Accepted;
use mesh_core::exchange::filters::FilterOutcome;
use mesh_core::resource::metadata::Metadata;
use mesh_core::resource::route::{Route, VirtualHost};
use mesh_core::snapshot::{HttpScope, Snapshot, SnapshotStore, Table};
use mesh_core::state::Lane;

/// One request's way.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) snapshot: Arc<Snapshot>,
    /// The port that was called.
    pub(super) port: u16,
    /// The connection manager that takes it; `None`: nobody listens there.
    pub(super) scope: Option<HttpScope>,
    /// Its routes, as far as they have arrived.
    pub(super) table: Option<Arc<Table>>,
    /// Which of them, and why.
    pub(super) explanation: Option<Explanation>,
    /// What becomes of the request then.
    pub(super) end: End,
}

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum End {
    /// It is answered without an upstream.
    Answered(LocalReply),
    /// It is sent on, with this head and within these limits.
    Forwarded { head: Box<Request<()>>, timeouts: Timeouts },
}

impl Walk {
    pub(super) fn new(snapshot: &Arc<Snapshot>, request: &Request<()>) -> Self {
        let authority = request.uri().authority();
        let port = authority.and_then(http::uri::Authority::port_u16).unwrap_or(80);
        let scope = scope(snapshot, authority.map_or("", |authority| authority.as_str()), port).cloned();
        let table = scope.as_ref().and_then(|scope| snapshot.table(scope.table)).map(Arc::clone);
        let explanation = scope.as_ref().zip(table.as_ref()).and_then(|(scope, table)| explain(scope, table, request));
        Self { snapshot: Arc::clone(snapshot), port, scope, table, explanation, end: end(snapshot, request) }
    }

    /// The virtual host, as configured.
    pub(super) fn virtual_host(&self) -> Option<&VirtualHost> {
        let name = &self.explanation.as_ref()?.virtual_host.as_ref()?.name;
        self.table.as_ref()?.config.virtual_hosts.iter().find(|host| host.name == *name)
    }

    /// A route of the virtual host, as configured.
    pub(super) fn route_at(&self, index: usize) -> Option<&Route> {
        self.virtual_host()?.routes.get(index)
    }

    /// The route that takes the request, as configured and as compiled.
    pub(super) fn route(&self) -> Option<(&Route, &CompiledRoute)> {
        let explanation = self.explanation.as_ref()?;
        let (_, index, _) = explanation.route.as_ref()?;
        let compiled = self.table.as_ref()?.routes.route(explanation.decision.ok()?);
        Some((self.route_at(*index)?, compiled))
    }
}

/// The connection manager for a host and port, by the rule of the request path: API listeners by name; of several for one
/// port the one that names the host.
fn scope<'a>(snapshot: &'a Snapshot, authority: &str, port: u16) -> Option<&'a HttpScope> {
    if let Some(scope) = snapshot.api_listener(authority) {
        return Some(scope);
    }
    let (declared, fallback) = snapshot.outbound(port);
    let knows =
        |scope: &&HttpScope| snapshot.table(scope.table).is_some_and(|table| table.routes.names_host_itself(authority));
    declared.iter().find(knows).or_else(|| declared.first()).or(fallback)
}

fn explain(scope: &HttpScope, table: &Table, request: &Request<()>) -> Option<Explanation> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let prepared = match prepare(path, scope.manager.path) {
        Prepared::Unchanged => None,
        Prepared::Changed(path) => Some(path),
        Prepared::Reply(_) => return None,
    };
    let (connection, metadata) = (ConnectionFacts::default(), Metadata::new());
    let mut facts = RequestFacts::of(request, &connection, &metadata);
    if let Some(path) = &prepared {
        facts.path = path;
    }
    Some(table.routes.explain(&facts, 0))
}

/// Draws are repeated this often before a route is said to lead nowhere: one of its clusters may be missing.
const DRAWS: u64 = 64;

fn end(snapshot: &Arc<Snapshot>, request: &Request<()>) -> End {
    let store = SnapshotStore::new(Arc::clone(snapshot));
    let mut answer = LocalReply::no_route();
    for seed in 0..DRAWS {
        let now = Instant::now();
        let pin = store.pin(Lane::default());
        let routed = match Accepted::new(request.clone(), pin, Lane::default(), seed, now).route() {
            Ok(routed) => routed,
            Err(answered) => {
                answer = answered.reply;
                continue;
            }
        };
        match routed.filter(now) {
            FilterOutcome::Forward(filtered, _) => {
                let timeouts = *filtered.plan().timeouts();
                return End::Forwarded { head: Box::new(filtered.request().clone()), timeouts };
            }
            FilterOutcome::Reply(answered, _) => answer = answered.reply,
            // No filters are made here.
            FilterOutcome::Ask(..) => {}
        }
    }
    End::Answered(answer)
}

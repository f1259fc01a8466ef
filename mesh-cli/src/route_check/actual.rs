//! What becomes of a test's request: the engine's decision, the heads as they are sent on, by the words of Envoy's tool.
//!
//! A redirect and a direct response have no cluster, no virtual host and no rewrites; what they have is where they
//! lead (`path_redirect`) and their status (`code_redirect`).

use http::{Request, Response, header};
use mesh_core::engine::facts::{ConnectionFacts, RequestFacts, TlsFacts};
use mesh_core::engine::headers::FormatContext;
use mesh_core::engine::local_reply::LocalReply;
use mesh_core::engine::routing::{Action, ClusterRef, Decided, NoRoute, RouteDecision, RouteTable};
use mesh_core::resource::metadata::Metadata;

use super::suite::{Input, TextField};

/// What became of a request.
pub(super) struct Actual {
    pub(super) request: Request<()>,
    pub(super) response: Response<()>,
    connection: ConnectionFacts,
    metadata: Metadata,
    cluster: String,
    virtual_cluster: String,
    virtual_host: String,
    path_rewrite: String,
    host_rewrite: String,
    path_redirect: String,
    code_redirect: String,
    /// The route that was taken, in words.
    pub(super) route: String,
}

impl Actual {
    /// # Errors
    /// The request is none, or the route makes something of it that cannot be sent.
    pub(super) fn of(routes: &RouteTable, input: &Input) -> Result<Self, String> {
        let mut actual = Self::undecided(input)?;
        let facts = actual.facts();
        let decision = match routes.decide_as_drawn(&facts, input.random_value) {
            Ok(decision) => decision,
            Err(none @ (NoRoute::VirtualHost | NoRoute::Route)) => {
                actual.route = none.to_string();
                return Ok(actual);
            }
        };
        let route = describe(routes, decision);
        match routes.action(decision, &facts) {
            Decided::Reply(reply) => {
                let (location, status) = (where_to(routes, decision, &reply, &facts), reply.status.as_u16());
                actual.answer(routes, decision, *reply);
                actual.path_redirect = location;
                actual.code_redirect = status.to_string();
            }
            // The server that was called answers: no cluster, and nothing is rewritten.
            Decided::NonForwarding => actual.virtual_host = name(routes, decision),
            decided @ (Decided::Forward(_) | Decided::ForwardByName(_)) => {
                let named = if let Decided::ForwardByName(name) = decided { name.to_owned() } else { String::new() };
                let virtual_cluster = routes.virtual_cluster(decision, &facts).map(ToString::to_string);
                let other = || if routes.has_virtual_clusters(decision) { "other" } else { "" }.to_owned();
                actual.virtual_cluster = virtual_cluster.unwrap_or_else(other);
                actual.cluster = match routes.cluster(decision) {
                    Some(ClusterRef::Cluster(_, name)) => name.to_string(),
                    Some(ClusterRef::Header(_)) | None => named,
                };
                actual.virtual_host = name(routes, decision);
                actual.forward(routes, decision)?;
            }
        }
        actual.route = route;
        Ok(actual)
    }

    /// The value of a field of `validate`.
    pub(super) fn text(&self, field: TextField) -> &str {
        match field {
            TextField::Cluster => &self.cluster,
            TextField::VirtualCluster => &self.virtual_cluster,
            TextField::VirtualHost => &self.virtual_host,
            TextField::PathRewrite => &self.path_rewrite,
            TextField::HostRewrite => &self.host_rewrite,
            TextField::PathRedirect => &self.path_redirect,
            TextField::CodeRedirect => &self.code_redirect,
        }
    }

    /// The request as it is now.
    pub(super) fn facts(&self) -> RequestFacts<'_> {
        RequestFacts::of(&self.request, &self.connection, &self.metadata)
    }

    fn undecided(input: &Input) -> Result<Self, String> {
        let bad = |error| format!("input: not a request: {error}");
        let mut request = Request::builder().method(input.method.clone()).uri(&*input.path).body(()).map_err(bad)?;
        *request.headers_mut() = input.request_headers.clone();
        let host = header::HeaderValue::from_str(&input.authority).map_err(|error| bad(error.into()))?;
        request.headers_mut().insert(header::HOST, host);
        let mut response = Response::new(());
        *response.headers_mut() = input.response_headers.clone();
        let loopback = Some(([127, 0, 0, 1], 0).into());
        let tls = input.ssl.then(TlsFacts::default);
        Ok(Self {
            request,
            response,
            connection: ConnectionFacts { remote: loopback, local: loopback, protocol: "HTTP/1.1", tls, slots: None },
            metadata: input.dynamic_metadata.clone(),
            cluster: String::new(),
            virtual_cluster: String::new(),
            virtual_host: String::new(),
            path_rewrite: String::new(),
            host_rewrite: String::new(),
            path_redirect: String::new(),
            // As of a code that nobody set.
            code_redirect: "0".to_owned(),
            route: String::new(),
        })
    }

    /// Gives both heads the form in which the route sends them on.
    fn forward(&mut self, routes: &RouteTable, decision: RouteDecision) -> Result<(), String> {
        let cx = FormatContext::for_request(&self.connection, &self.metadata);
        routes.apply_request(decision, &mut self.request, &cx).map_err(|failed| failed.to_string())?;
        let facts = RequestFacts::of(&self.request, &self.connection, &self.metadata);
        let (path, host) = (facts.path.to_owned(), facts.authority.to_owned());
        let cx = FormatContext { request: Some(facts), ..cx };
        routes.apply_response(decision, &mut self.response, &cx);
        (self.path_rewrite, self.host_rewrite) = (path, host);
        Ok(())
    }

    /// The answer that the route makes, with its header changes.
    fn answer(&mut self, routes: &RouteTable, decision: RouteDecision, reply: LocalReply) {
        let facts = RequestFacts::of(&self.request, &self.connection, &self.metadata);
        let cx = FormatContext { request: Some(facts), ..FormatContext::for_request(&self.connection, &self.metadata) };
        let (head, body) = reply.into_head(false);
        let mut response = Response::from_parts(head, ());
        if !body.is_empty() {
            response.headers_mut().insert(header::CONTENT_LENGTH, body.len().into());
        }
        routes.apply_response(decision, &mut response, &cx);
        self.response = response;
    }
}

fn name(routes: &RouteTable, decision: RouteDecision) -> String {
    routes.virtual_host_name(decision).map(ToString::to_string).unwrap_or_default()
}

/// Where an answer leads: its location, or for a direct response the address that was asked for.
fn where_to(routes: &RouteTable, decision: RouteDecision, reply: &LocalReply, facts: &RequestFacts<'_>) -> String {
    let location = reply.headers.get(header::LOCATION).and_then(|location| location.to_str().ok());
    match (location, routes.route(decision).action()) {
        (Some(location), _) => location.to_owned(),
        (None, Action::DirectResponse { .. }) => {
            format!("{}://{}{}", facts.scheme, facts.authority, facts.path)
        }
        (None, _) => String::new(),
    }
}

/// `virtual host a, route "b"`.
fn describe(routes: &RouteTable, decision: RouteDecision) -> String {
    let (host, route) = (name(routes, decision), routes.route(decision));
    let place = routes.routes().iter().filter(|one| one.virtual_host() == route.virtual_host());
    let number = place.take_while(|one| !std::ptr::eq(*one, route)).count();
    match (route.action(), &**route.name()) {
        (Action::RequireTls, _) => format!("virtual host {host}, require_tls"),
        (_, "") => format!("virtual host {host}, routes[{number}]"),
        (_, name) => format!("virtual host {host}, route {name}"),
    }
}

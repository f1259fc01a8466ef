//! The routing engine as a whole. What one file does is tested beside it.

mod finalize;
mod matching;
mod properties;
mod refusals;
mod replies;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{ClusterId, ClusterRef, Decided, RouteDecision, RouteTable};
use crate::engine::facts::{ConnectionFacts, RequestFacts};
use crate::engine::local_reply::LocalReply;
use crate::resource::Invalid;
use crate::resource::metadata::Metadata;
use crate::resource::route::{Forward, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost};

/// A request that facts can be made of.
#[derive(Clone, Debug)]
struct Asked {
    method: Method,
    scheme: &'static str,
    authority: String,
    path: String,
    headers: HeaderMap,
    connection: ConnectionFacts,
    metadata: Metadata,
}

impl Asked {
    fn get(path: &str) -> Self {
        Self {
            method: Method::GET,
            scheme: "http",
            authority: "a.test".into(),
            path: path.into(),
            headers: HeaderMap::new(),
            connection: ConnectionFacts::default(),
            metadata: Metadata::new(),
        }
    }

    fn host(mut self, authority: &str) -> Self {
        self.authority = authority.into();
        self
    }

    fn scheme(mut self, scheme: &'static str) -> Self {
        self.scheme = scheme;
        self
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        self
    }

    fn facts(&self) -> RequestFacts<'_> {
        RequestFacts {
            method: &self.method,
            scheme: self.scheme,
            authority: &self.authority,
            path: &self.path,
            headers: &self.headers,
            connection: &self.connection,
            dynamic_metadata: &self.metadata,
        }
    }
}

fn route(matches: RouteMatch, cluster: &str) -> Route {
    Route::new(matches, RouteAction::Forward(Box::new(Forward::to(cluster))))
}

fn forward(matches: RouteMatch, forward: Forward) -> Route {
    Route::new(matches, RouteAction::Forward(Box::new(forward)))
}

fn host(domains: &[&str], routes: Vec<Route>) -> VirtualHost {
    VirtualHost {
        name: domains.join(" ").into(),
        domains: domains.iter().map(|&domain| domain.to_owned()).collect(),
        routes,
        ..VirtualHost::default()
    }
}

fn config(virtual_hosts: Vec<VirtualHost>) -> RouteConfiguration {
    RouteConfiguration { name: "rc".into(), virtual_hosts, ..RouteConfiguration::default() }
}

/// One virtual host `*` with these routes.
fn routes(routes: Vec<Route>) -> RouteConfiguration {
    config(vec![host(&["*"], routes)])
}

fn try_compile(config: &RouteConfiguration) -> Result<RouteTable, Invalid> {
    let mut next = 0;
    RouteTable::compile(config, &mut |_| {
        next += 1;
        ClusterId(next)
    })
}

fn compile(config: &RouteConfiguration) -> RouteTable {
    try_compile(config).unwrap()
}

fn decide(table: &RouteTable, asked: &Asked) -> RouteDecision {
    table.decide(&asked.facts(), 7).unwrap()
}

/// The name of the cluster that a request goes to; empty without a route.
fn cluster(table: &RouteTable, asked: &Asked, random: u64) -> String {
    let Ok(decision) = table.decide(&asked.facts(), random) else { return String::new() };
    match table.cluster(decision) {
        Some(ClusterRef::Cluster(_, name)) => name.to_string(),
        other => format!("{other:?}"),
    }
}

fn reply(table: &RouteTable, asked: &Asked) -> LocalReply {
    match table.action(decide(table, asked), &asked.facts()) {
        Decided::Reply(reply) => *reply,
        other => panic!("{other:?} is no reply"),
    }
}

//! Why a request takes the route it takes: the same comparison as [`RouteTable::decide`], with reasons.

use std::fmt;

use super::condition::Mismatch;
use super::route::{Action, ClusterRef};
use super::table::{NoRoute, RouteDecision, RouteTable};
use crate::engine::facts::RequestFacts;
use crate::resource::Name;

/// How a request was decided upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The host that was asked for.
    pub authority: String,
    /// The virtual host and which of its domains matched.
    pub virtual_host: Option<Matched>,
    /// The routes that were passed over, in order.
    pub skipped: Vec<Skipped>,
    /// The decision.
    pub decision: Result<RouteDecision, NoRoute>,
    /// The route's name and place in its virtual host, and what it does; `None` without a route.
    pub route: Option<(Name, usize, String)>,
}

/// The virtual host of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    /// Its name.
    pub name: Name,
    /// The domain that matched, in lower case.
    pub domain: String,
}

/// A route that did not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its place in the virtual host.
    pub index: usize,
    /// Its name; may be empty.
    pub name: Name,
    /// The first condition that did not hold.
    pub mismatch: Mismatch,
    /// That condition in words.
    pub reason: String,
}

impl RouteTable {
    /// Explains what [`Self::decide`] decides for the same arguments.
    #[must_use]
    pub fn explain(&self, facts: &RequestFacts<'_>, random: u64) -> Explanation {
        let mut explanation = Explanation {
            authority: facts.authority.to_owned(),
            virtual_host: None,
            skipped: Vec::new(),
            decision: Err(NoRoute::VirtualHost),
            route: None,
        };
        let found =
            self.hosts.find(facts.authority).and_then(|(number, by)| Some((number, by, self.virtual_host(number)?)));
        let Some((number, by, host)) = found else { return explanation };
        explanation.virtual_host =
            Some(Matched { name: Name::clone(&host.name), domain: self.hosts.domain(facts.authority, by) });
        explanation.decision = Err(NoRoute::Route);
        if host.asks_for_tls(facts) {
            explanation.decision = Ok(self.require_tls(number));
            explanation.route = Some((Name::default(), 0, "require_tls: redirect to https".to_owned()));
            return explanation;
        }
        let view = self.view_drawn(facts, random);
        for (index, at) in host.routes.clone().enumerate() {
            let name = Name::clone(&self.routes[at].name);
            match self.conditions[at].check(&view) {
                Ok(()) => {
                    let decision = self.chosen_drawn(number, at, facts, random);
                    explanation.route = Some((name, index, self.describe(decision)));
                    explanation.decision = Ok(decision);
                    break;
                }
                Err(mismatch) => {
                    let reason = self.conditions[at].describe(mismatch, &view);
                    explanation.skipped.push(Skipped { index, name, mismatch, reason });
                }
            }
        }
        explanation
    }

    /// What a decision does, in words.
    fn describe(&self, decision: RouteDecision) -> String {
        match &self.route(decision).action {
            Action::Forward(_) => match self.cluster(decision) {
                Some(ClusterRef::Cluster(_, name)) if decision.entry == u32::MAX => format!("cluster {name}"),
                Some(ClusterRef::Cluster(_, name)) => format!("cluster {name}, drawn by weight"),
                Some(ClusterRef::Header(name)) => format!("the cluster that header {name} names"),
                None => "no cluster".to_owned(),
            },
            Action::Redirect(_) => "redirect".to_owned(),
            Action::RequireTls => "redirect to https".to_owned(),
            Action::DirectResponse { status, .. } => format!("direct response {}", status.as_u16()),
            Action::NonForwarding => "served by the server that was called".to_owned(),
            Action::NoRoute => "no route".to_owned(),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.virtual_host {
            None => return write!(f, "host {}: no virtual host (404 NR)", self.authority),
            Some(host) => writeln!(f, "host {}: virtual host {} (domain {})", self.authority, host.name, host.domain)?,
        }
        for skipped in &self.skipped {
            writeln!(f, "  route {}: {}", Label(skipped.index, &skipped.name), skipped.reason)?;
        }
        match &self.route {
            Some((name, index, action)) => write!(f, "  route {}: matches: {action}", Label(*index, name)),
            None => f.write_str("  no route matches (404 NR)"),
        }
    }
}

/// `#2` or `#2 (name)`.
struct Label<'a>(usize, &'a str);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.1.is_empty() { write!(f, "#{}", self.0) } else { write!(f, "#{} ({})", self.0, self.1) }
    }
}

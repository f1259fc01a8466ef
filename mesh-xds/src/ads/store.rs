//! What the servers gave, and when it comes into force.
//!
//! ```text
//!              judged            everything it names is in force, refused or absent,
//!   received ────────▶ good ──────────────────────────────────────────────────────────▶ in force
//!      │                 │  else                                            ▲
//!      └─▶ refused       └────▶ held (the version before stays in force) ───┘ when the last of them arrives, or after 15 s
//! ```
//!
//! Make before break: endpoints come into force at once, a cluster with its endpoints, a route with its clusters, a
//! listener with its routes. What a server removes while something in force names it is kept and marked (gRFCs A53, A88),
//! until nothing does. Work is in proportion to what changed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mesh_core::resource::{Invalid, Name, Problem, ResourceKind, ResourceName};
use mesh_core::snapshot::{Change, Compiler, Update};
use mesh_proto::type_url::{RESOURCE, type_name};

use super::entry::{Entry, Good, Held, Table};
use super::kind::{COUNT, KINDS, index};
use super::message::{Given, Incoming};
use super::references::{self, References};
use super::timers::{Timer, Timers};
use super::{Limits, ServerOptions};
use crate::decode::{self, Accepted, AnyResource, Batch, Resource, Verdicts};

/// All resources, of every type.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) tables: [Table; COUNT],
    pub(super) timers: Timers,
    /// Who is held because of a resource.
    waiters: HashMap<ResourceName, Vec<ResourceName>>,
    /// What this turn puts in force.
    out: Verdicts,
    /// What this turn put in force.
    fresh: HashSet<ResourceName>,
    limits: Limits,
    patience: Duration,
    /// Whether a server is there, so that waiting may end.
    connected: bool,
}

impl Store {
    pub(super) fn new(everything: bool, limits: Limits, patience: Duration) -> Self {
        let table = |kind| {
            let wildcard = everything && matches!(kind, ResourceKind::Cluster | ResourceKind::Listener);
            Table { wildcard, ..Table::default() }
        };
        Self {
            tables: KINDS.map(table),
            timers: Timers::default(),
            waiters: HashMap::new(),
            out: Verdicts::default(),
            fresh: HashSet::new(),
            limits,
            patience,
            connected: false,
        }
    }

    /// What this turn puts in force, if anything.
    pub(super) fn take_out(&mut self) -> Option<Verdicts> {
        let out = std::mem::take(&mut self.out);
        self.fresh.clear();
        let nothing =
            out.update.is_empty() && out.refused.is_empty() && out.accepted.is_empty() && out.removed.is_empty();
        (!nothing).then_some(out)
    }

    /// A stream is open: what waits may stop waiting after a while.
    pub(super) fn opened(&mut self, now: Instant) {
        if std::mem::replace(&mut self.connected, true) {
            return;
        }
        let until = now + self.patience;
        for name in self.held() {
            if let Some(held) = self.entry_mut(&name).and_then(Entry::held_mut) {
                held.until = until;
            }
            self.timers.add(until, Timer::Held(name));
        }
    }

    /// No stream is open: nobody can answer, so nothing is given up (gRFC A57, F04).
    pub(super) fn disconnected(&mut self) {
        self.connected = false;
        self.timers.disconnected();
    }

    /// The names were asked for on an open stream; those of which nothing is known get their time to arrive.
    pub(super) fn asked<'a>(&mut self, now: Instant, kind: ResourceKind, names: impl Iterator<Item = &'a Name>) {
        let Some(table) = index(kind).map(|at| &self.tables[at]) else { return };
        for name in names {
            if table.entries.get(name).is_none_or(|entry| !entry.is_given() && !entry.absent) {
                self.timers.add(now + self.patience, Timer::DoesNotExist(ResourceName::new(kind, Arc::clone(name))));
            }
        }
    }

    /// Begins or ends the use of a resource.
    pub(super) fn use_resource(&mut self, name: &ResourceName, more: bool) {
        if let Some(at) = index(name.kind) {
            self.tables[at].use_name(&name.name, more);
        }
    }

    /// Takes a response in. What comes back are the problems for a NACK; none is an ACK.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        server: usize,
        options: ServerOptions,
        mut incoming: Incoming,
    ) -> Vec<String> {
        let kind = incoming.kind;
        let Some(at) = index(kind) else { return Vec::new() };
        if let Err(problem) = self.within_limits(at, &incoming) {
            return vec![problem];
        }
        let mut problems = Vec::new();
        let mut seen = HashSet::new();
        // Of bytes that do not even tell a name nobody knows what they stand for: nothing is deleted meanwhile.
        let mut complete = incoming.full;
        let mut fresh = Vec::new();
        for given in std::mem::take(&mut incoming.resources) {
            let Some(name) = given.name.clone() else {
                complete = false;
                fresh.push(given);
                continue;
            };
            let second = !seen.insert(Arc::clone(&name));
            if !self.tables[at].is_wanted(&name) {
                continue;
            }
            if second {
                let twice = Problem::Conflict("is there twice".to_owned());
                let invalid = Invalid::new(ResourceName::new(kind, name), "name", twice);
                problems.push(invalid.to_string());
                self.out.refused.push(invalid);
                continue;
            }
            match self.unchanged(now, at, server, &name, &given) {
                Unchanged::Good => {}
                Unchanged::Refused(problem) => problems.push(problem),
                Unchanged::No => fresh.push(given),
            }
        }
        self.judge(now, at, server, fresh, &mut problems);
        let removed = if complete {
            let entries = self.tables[at].entries.iter();
            entries
                .filter(|(name, entry)| entry.is_given() && !seen.contains(*name))
                .map(|(name, _)| name.clone())
                .collect()
        } else {
            incoming.removed.into_iter().filter(|name| !seen.contains(name)).collect::<Vec<_>>()
        };
        removed.into_iter().for_each(|name| self.removed_by_server(&ResourceName::new(kind, name), options));
        for (name, why) in incoming.errors {
            self.failed(&ResourceName::new(kind, name), why, options);
        }
        if !std::mem::replace(&mut self.tables[at].answered, true) {
            self.recheck();
        }
        if std::mem::take(&mut self.tables[at].unconfirmed) && incoming.delta && self.tables[at].wildcard {
            self.timers.add(now + self.patience, Timer::Unconfirmed(kind));
        }
        problems
    }

    /// Another server than before answers from now on.
    pub(super) fn other_server(&mut self) {
        self.tables.iter_mut().for_each(|table| table.unconfirmed = true);
    }

    /// What a timer was for happens, if there is still a reason.
    pub(super) fn due(&mut self, now: Instant, timer: Timer, active: usize, options: ServerOptions) {
        match timer {
            Timer::DoesNotExist(name) => {
                let used = self.table(&name).is_some_and(|table| table.is_used(&name.name));
                if used && self.entry(&name).is_none_or(|entry| !entry.is_given()) {
                    self.absent(&name);
                }
            }
            Timer::Held(name) => {
                let Some(held) = self.entry(&name).and_then(Entry::held).filter(|held| held.until <= now) else {
                    return;
                };
                for dependency in held.missing.clone() {
                    if self.entry(&dependency).is_none_or(|entry| !entry.is_given()) {
                        self.absent(&dependency);
                    }
                }
                // Held ones that it waits for come into force by their own timers, or by this: the first that ends.
                self.put_in_force(&name);
            }
            Timer::Expires(name) => {
                if self.entry(&name).and_then(|entry| entry.expires).is_some_and(|expires| expires <= now) {
                    self.gone(&name);
                }
            }
            Timer::Unconfirmed(kind) => {
                let Some(at) = index(kind) else { return };
                let entries = self.tables[at].entries.iter();
                let other = entries.filter(|(_, entry)| entry.is_given() && entry.server != active);
                let names: Vec<Name> = other.map(|(name, _)| Arc::clone(name)).collect();
                names.into_iter().for_each(|name| self.removed_by_server(&ResourceName::new(kind, name), options));
            }
        }
    }

    /// Lets go of what nobody uses any more; at the end of a turn, since uses may end and begin again within one.
    pub(super) fn sweep(&mut self) {
        // The end of one may end the use of others: routes, then clusters, then endpoints.
        loop {
            let mut unused = Vec::new();
            for (table, kind) in self.tables.iter().zip(KINDS) {
                for name in &table.touched {
                    let Some(entry) = table.entries.get(name) else { continue };
                    if !table.is_used(name) && (!table.wildcard || entry.deleted || !entry.is_given()) {
                        unused.push(ResourceName::new(kind, Arc::clone(name)));
                    }
                }
            }
            if unused.is_empty() {
                return;
            }
            unused.iter().for_each(|name| self.forget(name));
        }
    }

    /// What has been accepted and waits.
    pub(super) fn held(&self) -> Vec<ResourceName> {
        let of = |(table, kind): (&Table, ResourceKind)| {
            let held = table.entries.iter().filter(|(_, entry)| entry.held().is_some());
            held.map(|(name, _)| ResourceName::new(kind, Arc::clone(name))).collect::<Vec<_>>()
        };
        self.tables.iter().zip(KINDS).flat_map(of).collect()
    }

    /// Whether something in use has neither arrived nor been found absent.
    pub(super) fn is_waiting(&self) -> bool {
        self.tables.iter().any(|table| {
            let unknown = |name: &Name| table.entries.get(name).is_none_or(|entry| !entry.is_given() && !entry.absent);
            if table.wildcard { !table.answered } else { table.used.keys().any(unknown) }
        })
    }

    fn table(&self, name: &ResourceName) -> Option<&Table> {
        Some(&self.tables[index(name.kind)?])
    }

    fn entry(&self, name: &ResourceName) -> Option<&Entry> {
        self.table(name)?.entries.get(&name.name)
    }

    fn entry_mut(&mut self, name: &ResourceName) -> Option<&mut Entry> {
        self.tables[index(name.kind)?].entries.get_mut(&name.name)
    }

    /// Refuses a response as a whole that would take more than there may be (F23): what is in force stays.
    fn within_limits(&self, at: usize, incoming: &Incoming) -> Result<(), String> {
        let table = &self.tables[at];
        let size = |given: &Given| given.value.as_ref().map_or(0, Bytes::len);
        let (mut count, mut bytes) = (0, 0);
        for (number, table) in self.tables.iter().enumerate() {
            if number != at || !incoming.full {
                count += table.entries.len();
                bytes += table.bytes;
            }
        }
        for given in &incoming.resources {
            let before = given.name.as_ref().and_then(|name| table.entries.get(name));
            let before = before.filter(|_| !incoming.full);
            count += usize::from(before.is_none());
            bytes += size(given);
            // A name that is there twice is taken off twice: it is refused later, and must not wrap here.
            let replaced = before.and_then(|entry| entry.good.as_ref()).map_or(0, |good| good.encoded.len());
            bytes = bytes.saturating_sub(replaced);
        }
        let Limits { max_resources, max_bytes } = self.limits;
        if count > max_resources {
            return Err(format!(
                "{}: {count} resources are more than the {max_resources} that are held here",
                KINDS[at]
            ));
        }
        if bytes > max_bytes {
            return Err(format!(
                "{}: {bytes} bytes of resources are more than the {max_bytes} that are held here",
                KINDS[at]
            ));
        }
        Ok(())
    }

    /// What is the same as before needs no judgement.
    fn unchanged(&mut self, now: Instant, at: usize, server: usize, name: &Name, given: &Given) -> Unchanged {
        let Some(entry) = self.tables[at].entries.get_mut(name) else { return Unchanged::No };
        let Some(value) = &given.value else {
            // A heartbeat.
            if let Some(expires) = expires(now, given) {
                entry.expires = Some(expires);
                self.timers.add(expires, Timer::Expires(ResourceName::new(KINDS[at], Arc::clone(name))));
            }
            return Unchanged::Good;
        };
        if let Some((bytes, invalid)) = &entry.refused {
            return if bytes == value { Unchanged::Refused(invalid.to_string()) } else { Unchanged::No };
        }
        match &mut entry.good {
            Some(good) if good.encoded == *value => {
                good.version = Arc::clone(&given.version);
                entry.deleted = false;
                entry.server = server;
                entry.expires = expires(now, given);
                if let Some(expires) = entry.expires {
                    self.timers.add(expires, Timer::Expires(ResourceName::new(KINDS[at], Arc::clone(name))));
                }
                Unchanged::Good
            }
            _ => Unchanged::No,
        }
    }

    fn judge(&mut self, now: Instant, at: usize, server: usize, fresh: Vec<Given>, problems: &mut Vec<String>) {
        let kind = KINDS[at];
        let mut batch = Batch::new();
        let mut ends = HashMap::new();
        let mut bytes = HashMap::new();
        for given in fresh {
            // A heartbeat of something that is not there.
            let Some(value) = given.value else { continue };
            if decode::kind(&given.type_url) != Some(kind) && type_name(&given.type_url) != type_name(RESOURCE) {
                problems.push(format!("{kind}/{}: is a {:?}", given.name.unwrap_or_default(), given.type_url));
                continue;
            }
            if let Some(name) = &given.name {
                if let Some(ttl) = given.ttl {
                    ends.insert(Arc::clone(name), ttl);
                }
                bytes.insert(Arc::clone(name), value.clone());
            }
            let resource = Resource { type_url: given.type_url, name: given.name, version: given.version, value };
            if let Err(unknown) = batch.add(resource) {
                problems.push(unknown.to_string());
            }
        }
        let Verdicts { update, mut refused, accepted, .. } = batch.finish();
        // What only shows when it is compiled is a reason for a NACK as well, and belongs into the same one.
        let late = match kind {
            ResourceKind::Listener | ResourceKind::RouteConfiguration => Compiler::new(0).apply(update.clone()).1,
            _ => Vec::new(),
        };
        let spoilt: HashSet<ResourceName> = late.iter().map(|invalid| invalid.resource.clone()).collect();
        let mut good = HashSet::new();
        for (resource, accepted) in resources(update).zip(accepted) {
            if !spoilt.contains(&accepted.name) {
                good.insert(Arc::clone(&accepted.name.name));
                let expires = ends.get(&accepted.name.name).and_then(|ttl| now.checked_add(*ttl));
                self.accept(now, server, resource, accepted, expires);
            }
        }
        refused.extend(late);
        for invalid in refused {
            problems.push(invalid.to_string());
            let name = invalid.resource.clone();
            // The second of two of the same name spoils nothing but itself.
            if !name.name.is_empty() && !good.contains(&name.name) && self.tables[at].is_wanted(&name.name) {
                let entry = self.tables[at].entries.entry(Arc::clone(&name.name)).or_default();
                if let Some(bytes) = bytes.remove(&name.name) {
                    entry.refused = Some((bytes, invalid.clone()));
                }
                entry.server = server;
                self.settled(&name);
            }
            self.out.refused.push(invalid);
        }
    }

    fn accept(
        &mut self,
        now: Instant,
        server: usize,
        resource: AnyResource,
        accepted: Accepted,
        expires: Option<Instant>,
    ) {
        let name = accepted.name.clone();
        let Some(at) = index(name.kind) else { return };
        let references = references::of(&resource);
        references.iter().for_each(|one| self.use_resource(one, true));
        let until = now + self.patience;
        let held = Box::new(Held { resource, accepted, missing: HashSet::new(), until });
        let table = &mut self.tables[at];
        let entry = table.entries.entry(Arc::clone(&name.name)).or_default();
        let replacing = entry.live.is_some();
        table.bytes += held.accepted.encoded.len();
        let good = Good {
            version: Arc::clone(&held.accepted.version),
            encoded: held.accepted.encoded.clone(),
            references: Arc::clone(&references),
            held: Some(held),
        };
        let before = entry.good.replace(good);
        (entry.refused, entry.absent, entry.deleted) = (None, false, false);
        (entry.server, entry.expires) = (server, expires);
        if let Some(before) = before {
            table.bytes -= before.encoded.len();
            before.references.iter().for_each(|one| self.use_resource(one, false));
        }
        if let Some(expires) = expires {
            self.timers.add(expires, Timer::Expires(name.clone()));
        }
        let missing: HashSet<ResourceName> =
            references.iter().filter(|one| !self.is_settled(one, replacing)).cloned().collect();
        if missing.is_empty() {
            return self.put_in_force(&name);
        }
        for one in &missing {
            self.waiters.entry(one.clone()).or_default().push(name.clone());
        }
        if self.connected {
            self.timers.add(until, Timer::Held(name.clone()));
        }
        if let Some(held) = self.entry_mut(&name).and_then(Entry::held_mut) {
            held.missing = missing;
        }
    }

    /// Whether a resource need not be waited for. Of a type that is sent whole, what is not there does not exist; but something
    /// in force is not given up for it at once, since it may come with the next response.
    fn is_settled(&self, name: &ResourceName, replacing: bool) -> bool {
        let Some(table) = self.table(name) else { return true };
        match table.entries.get(&name.name) {
            Some(entry) => entry.is_settled(),
            None => table.wildcard && table.answered && !replacing,
        }
    }

    /// Puts the newest version in force, if it is held.
    fn put_in_force(&mut self, name: &ResourceName) {
        let Some(entry) = self.entry_mut(name) else { return };
        let Some(good) = &mut entry.good else { return };
        let Some(held) = good.held.take() else { return };
        let references = Arc::clone(&good.references);
        let before = entry.live.replace(Arc::clone(&references));
        references.iter().for_each(|one| self.use_resource(one, true));
        before.iter().flat_map(|before| before.iter()).for_each(|one| self.use_resource(one, false));
        let update = &mut self.out.update;
        match held.resource {
            AnyResource::Listener(one) => update.listeners.push(Change::Set(one)),
            AnyResource::RouteConfiguration(one) => update.routes.push(Change::Set(one)),
            AnyResource::Cluster(one) => update.clusters.push(Change::Set(one)),
            AnyResource::ClusterLoadAssignment(one) => update.endpoints.push((Arc::clone(&name.name), Some(one))),
        }
        self.out.accepted.push(held.accepted);
        self.fresh.insert(name.clone());
        self.settled(name);
    }

    /// Nobody needs to wait for `name` any more.
    fn settled(&mut self, name: &ResourceName) {
        if self.entry(name).is_some_and(|entry| !entry.is_settled()) {
            return;
        }
        for waiter in self.waiters.remove(name).unwrap_or_default() {
            let Some(held) = self.entry_mut(&waiter).and_then(Entry::held_mut) else { continue };
            held.missing.remove(name);
            if held.missing.is_empty() {
                self.put_in_force(&waiter);
            }
        }
    }

    /// Looks at everything held again: a type that is sent whole was answered for the first time.
    fn recheck(&mut self) {
        for name in self.held() {
            let Some(entry) = self.entry(&name) else { continue };
            let replacing = entry.live.is_some();
            let Some(held) = entry.held() else { continue };
            let missing: HashSet<ResourceName> =
                held.missing.iter().filter(|one| !self.is_settled(one, replacing)).cloned().collect();
            let none = missing.is_empty();
            if let Some(held) = self.entry_mut(&name).and_then(Entry::held_mut) {
                held.missing = missing;
            }
            if none {
                self.put_in_force(&name);
            }
        }
    }

    /// It does not exist; whoever waited for it goes on without.
    fn absent(&mut self, name: &ResourceName) {
        let Some(at) = index(name.kind) else { return };
        self.tables[at].entries.entry(Arc::clone(&name.name)).or_default().absent = true;
        self.settled(name);
    }

    /// The server says that it is no more.
    fn removed_by_server(&mut self, name: &ResourceName, options: ServerOptions) {
        let used = self.table(name).is_some_and(|table| table.is_used(&name.name));
        match self.entry_mut(name) {
            Some(entry) if entry.good.is_some() => {
                let keep = options.ignore_resource_deletion || (used && !options.fail_on_data_errors);
                if keep { entry.deleted = true } else { self.gone(name) }
            }
            Some(_) => self.gone(name),
            None if used => self.absent(name),
            None => {}
        }
    }

    /// The server cannot give it: what is there is kept and marked (gRFC A88).
    fn failed(&mut self, name: &ResourceName, why: String, options: ServerOptions) {
        let Some(table) = self.table(name) else { return };
        if !table.is_wanted(&name.name) {
            return;
        }
        let used = table.is_used(&name.name);
        self.out.refused.push(Invalid::new(name.clone(), "", Problem::Value(why)));
        match self.entry_mut(name) {
            Some(entry) if entry.good.is_some() && !options.fail_on_data_errors => entry.deleted = true,
            Some(_) => self.gone(name),
            None if used => self.absent(name),
            None => {}
        }
    }

    /// It is gone, in use or not.
    fn gone(&mut self, name: &ResourceName) {
        let used = self.table(name).is_some_and(|table| table.is_used(&name.name));
        self.forget(name);
        if used {
            self.absent(name);
        }
    }

    /// Removes everything known of it.
    fn forget(&mut self, name: &ResourceName) {
        let Some(at) = index(name.kind) else { return };
        let table = &mut self.tables[at];
        let Some(entry) = table.entries.remove(&name.name) else { return };
        let mut ended: Vec<References> = Vec::new();
        let given = entry.is_given();
        if let Some(good) = entry.good {
            table.bytes -= good.encoded.len();
            ended.push(good.references);
        }
        if let Some(references) = entry.live {
            self.out.update.remove(name);
            ended.push(references);
        }
        if given {
            if self.fresh.remove(name) {
                self.out.accepted.retain(|one| one.name != *name);
            }
            self.out.removed.push(name.clone());
        }
        ended.iter().flat_map(|references| references.iter()).for_each(|one| self.use_resource(one, false));
    }
}

/// Whether something was judged before.
enum Unchanged {
    Good,
    /// And was refused, for the reason that the text tells.
    Refused(String),
    No,
}

fn expires(now: Instant, given: &Given) -> Option<Instant> {
    given.ttl.and_then(|ttl| now.checked_add(ttl))
}

/// What an update sets, in order. A batch of one type has its accepted resources in the same order.
fn resources(update: Update) -> impl Iterator<Item = AnyResource> {
    fn set<T>(changes: Vec<Change<T>>) -> impl Iterator<Item = Arc<T>> {
        changes.into_iter().filter_map(|change| match change {
            Change::Set(one) => Some(one),
            Change::Remove(_) => None,
        })
    }
    set(update.listeners)
        .map(AnyResource::Listener)
        .chain(set(update.routes).map(AnyResource::RouteConfiguration))
        .chain(set(update.clusters).map(AnyResource::Cluster))
        .chain(update.endpoints.into_iter().filter_map(|(_, one)| one).map(AnyResource::ClusterLoadAssignment))
}

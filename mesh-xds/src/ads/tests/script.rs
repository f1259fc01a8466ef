//! A server made of lines, and what a client driven by it has in force.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mesh_core::resource::{ResourceKind, ResourceName};
use mesh_core::snapshot::{Change, Update};
use mesh_proto::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse, Resource};
use mesh_proto::google::protobuf::Any;
use mesh_proto::{json, type_url};

use crate::ads::{Ads, Config, Effect, Event, Limits, Protocol, Request, Response, ServerOptions};
use crate::decode;

/// A resource as a server gives it.
pub(super) type Given = (String, Any);

fn given(type_url: &str, name: &str, text: &str) -> Given {
    let bytes = json::encode(type_url, &serde_json::from_str(text).unwrap()).unwrap();
    (name.to_owned(), Any { type_url: type_url.to_owned(), value: bytes })
}

pub(super) fn cluster(name: &str) -> Given {
    let text = format!(r#"{{"name":"{name}","type":"EDS","eds_cluster_config":{{"eds_config":{{"ads":{{}}}}}}}}"#);
    given(type_url::CLUSTER, name, &text)
}

pub(super) fn bad_cluster(name: &str) -> Given {
    given(type_url::CLUSTER, name, &format!(r#"{{"name":"{name}","type":"EDS"}}"#))
}

pub(super) fn endpoints(name: &str, port: u16) -> Given {
    let address = format!(r#"{{"socket_address":{{"address":"127.0.0.1","port_value":{port}}}}}"#);
    let text = format!(
        r#"{{"cluster_name":"{name}","endpoints":[{{"lb_endpoints":[{{"endpoint":{{"address":{address}}}}}]}}]}}"#
    );
    given(type_url::CLUSTER_LOAD_ASSIGNMENT, name, &text)
}

pub(super) fn listener(name: &str, routes: &str) -> Given {
    let manager = format!(
        r#"{{"@type":"{}","stat_prefix":"s","rds":{{"config_source":{{"ads":{{}}}},"route_config_name":"{routes}"}},"http_filters":[{{"name":"envoy.filters.http.router","typed_config":{{"@type":"{}"}}}}]}}"#,
        type_url::HTTP_CONNECTION_MANAGER,
        type_url::ROUTER
    );
    given(type_url::LISTENER, name, &format!(r#"{{"name":"{name}","api_listener":{{"api_listener":{manager}}}}}"#))
}

pub(super) fn routes(name: &str, clusters: &[&str]) -> Given {
    let route = |cluster: &&str| format!(r#"{{"match":{{"prefix":"/{cluster}"}},"route":{{"cluster":"{cluster}"}}}}"#);
    let all: Vec<String> = clusters.iter().map(route).collect();
    let host = format!(r#"{{"name":"h","domains":["*"],"routes":[{}]}}"#, all.join(","));
    given(type_url::ROUTE_CONFIGURATION, name, &format!(r#"{{"name":"{name}","virtual_hosts":[{host}]}}"#))
}

pub(super) fn names(kind: ResourceKind, names: &[&str]) -> Vec<ResourceName> {
    names.iter().map(|name| ResourceName::new(kind, *name)).collect()
}

pub(super) struct Script {
    pub(super) ads: Ads,
    pub(super) now: Instant,
    pub(super) server: usize,
    protocol: Protocol,
    nonces: u32,
    requests: Vec<String>,
    in_force: BTreeSet<String>,
    wake: Option<Instant>,
}

impl Script {
    fn new(protocol: Protocol, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(Default::default(), ServerOptions { protocol, ..ServerOptions::default() });
        change(&mut config);
        let mut script = Self {
            ads: Ads::new(config, 1),
            now: Instant::now(),
            server: 0,
            protocol,
            nonces: 0,
            requests: Vec::new(),
            in_force: BTreeSet::new(),
            wake: None,
        };
        script.on(Event::Start);
        script
    }

    pub(super) fn open(protocol: Protocol) -> Self {
        Self::open_with(protocol, false)
    }

    pub(super) fn open_with(protocol: Protocol, fail_on_data_errors: bool) -> Self {
        let mut script = Self::new(protocol, |config| config.servers[0].fail_on_data_errors = fail_on_data_errors);
        script.opens();
        script
    }

    pub(super) fn limited(protocol: Protocol, max_resources: usize) -> Self {
        let limits = Limits { max_resources, ..Limits::default() };
        let mut script = Self::new(protocol, |config| config.limits = limits);
        script.opens();
        script
    }

    pub(super) fn named(protocol: Protocol) -> Self {
        let mut script = Self::new(protocol, |config| config.everything = false);
        script.opens();
        script
    }

    pub(super) fn two_servers() -> Self {
        Self::new(Protocol::Delta, |config| config.servers.push(config.servers[0]))
    }

    pub(super) fn opens(&mut self) {
        self.opens_server(0);
    }

    pub(super) fn opens_server(&mut self, server: usize) {
        self.on(Event::Opened(server));
    }

    pub(super) fn closes(&mut self) {
        self.closes_server(0);
    }

    pub(super) fn closes_server(&mut self, server: usize) {
        self.on(Event::Closed { server, why: "gone".to_owned(), garbage: false });
    }

    /// Gives one cluster with its endpoints, a listener and routes.
    pub(super) fn up(&mut self) {
        self.gives("1", &[cluster("c")], &[]);
        self.gives("1", &[endpoints("c", 80)], &[]);
        self.gives("1", &[listener("l", "r")], &[]);
        self.gives("1", &[routes("r", &["c"])], &[]);
    }

    /// Gives resources of one type; `removed` counts in the incremental variant, the other has a full set.
    pub(super) fn gives(&mut self, version: &str, given: &[Given], removed: &[&str]) {
        self.gives_some(&given[0].1.type_url.clone(), version, given, removed);
    }

    /// As [`gives`](Self::gives), and nothing is possible.
    pub(super) fn gives_some(&mut self, type_url: &str, version: &str, given: &[Given], removed: &[&str]) {
        let type_url = type_url.to_owned();
        self.nonces += 1;
        let nonce = self.nonces.to_string();
        let response = match self.protocol {
            Protocol::Sotw => Response::Sotw(DiscoveryResponse {
                version_info: version.to_owned(),
                resources: given.iter().map(|(_, any)| any.clone()).collect(),
                type_url,
                nonce,
                ..DiscoveryResponse::default()
            }),
            Protocol::Delta => {
                let resource = |(name, any): &Given| Resource {
                    name: name.clone(),
                    version: version.to_owned(),
                    resource: Some(any.clone()),
                    ..Resource::default()
                };
                Response::Delta(DeltaDiscoveryResponse {
                    system_version_info: version.to_owned(),
                    resources: given.iter().map(resource).collect(),
                    type_url,
                    removed_resources: removed.iter().map(|name| name.split_once('/').unwrap().1.to_owned()).collect(),
                    nonce,
                    ..DeltaDiscoveryResponse::default()
                })
            }
        };
        self.on(Event::Received { server: self.server, response });
    }

    pub(super) fn gives_type(&mut self, type_url: &str) {
        let response = DiscoveryResponse { type_url: type_url.to_owned(), ..DiscoveryResponse::default() };
        self.on(Event::Received { server: self.server, response: Response::Sotw(response) });
    }

    pub(super) fn watch(&mut self, names: Vec<ResourceName>) {
        self.on(Event::Watch(names));
    }

    pub(super) fn unwatch(&mut self, names: Vec<ResourceName>) {
        self.on(Event::Unwatch(names));
    }

    /// Lets time pass, waking the machine whenever it asked for it.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(wake) = self.wake.filter(|wake| *wake <= end) {
            self.now = self.now.max(wake);
            self.on(Event::Tick);
            assert!(self.wake.is_none_or(|next| next > wake), "it asks for a moment that has passed");
        }
        self.now = end;
    }

    /// What was asked and answered since the last call, one line a request and its answer.
    pub(super) fn asked(&mut self) -> Vec<String> {
        std::mem::take(&mut self.requests)
    }

    /// What is in force, by kind and name.
    pub(super) fn in_force(&self) -> Vec<String> {
        self.in_force.iter().cloned().collect()
    }

    pub(super) fn held(&self) -> Vec<String> {
        self.ads.status().types.iter().flat_map(|one| &one.held).map(ToString::to_string).collect()
    }

    fn on(&mut self, event: Event) {
        self.wake = None;
        for effect in self.ads.on(self.now, event) {
            match effect {
                Effect::Send { request, .. } => self.requests.push(line(&request)),
                Effect::Publish(verdicts) => self.apply(verdicts.update),
                Effect::WakeAt(at) => self.wake = Some(at),
                Effect::Connect(_) | Effect::Disconnect(_) => {}
            }
        }
    }

    fn apply(&mut self, update: Update) {
        fn each<T>(changes: Vec<Change<T>>, name: impl Fn(&T) -> String) -> Vec<(String, bool)> {
            let one = |change| match change {
                Change::Set(one) => (name(&one), true),
                Change::Remove(name) => (name.to_string(), false),
            };
            changes.into_iter().map(one).collect()
        }
        let all = [
            ("Listener", each(update.listeners, |one| one.name.to_string())),
            ("RouteConfiguration", each(update.routes, |one| one.name.to_string())),
            ("Cluster", each(update.clusters, |one| one.name.to_string())),
            (
                "ClusterLoadAssignment",
                update.endpoints.into_iter().map(|(name, one)| (name.to_string(), one.is_some())).collect(),
            ),
        ];
        for (kind, changes) in all {
            for (name, set) in changes {
                let name = format!("{kind}/{name}");
                if set {
                    self.in_force.insert(name)
                } else {
                    self.in_force.remove(&name)
                };
            }
        }
    }
}

fn line(request: &Request) -> String {
    let (type_url, wildcard, names, nonce, error, version, known) = match request {
        Request::Sotw(one) => {
            let first = one.response_nonce.is_empty();
            let names = if first { one.resource_names.clone() } else { Vec::new() };
            let wildcard = first && names.is_empty();
            (
                &one.type_url,
                wildcard,
                names,
                &one.response_nonce,
                &one.error_detail,
                one.version_info.clone(),
                Vec::new(),
            )
        }
        Request::Delta(one) => {
            let mut known: Vec<_> =
                one.initial_resource_versions.iter().map(|(name, version)| format!("{name}={version}")).collect();
            known.sort();
            let names = one.resource_names_subscribe.clone();
            let nothing = names.is_empty() && one.resource_names_unsubscribe.is_empty();
            let wildcard = nothing && one.response_nonce.is_empty();
            (&one.type_url, wildcard, names, &one.response_nonce, &one.error_detail, "1".to_owned(), known)
        }
    };
    let mut line = decode::kind(type_url).unwrap().to_string();
    match error {
        Some(error) => line.push_str(&format!(" NACK  {}", error.message)),
        None if !nonce.is_empty() => line.push_str(&format!(" ACK {version}")),
        None => {}
    }
    if wildcard {
        line.push_str(" *");
    }
    names.iter().for_each(|name| line.push_str(&format!(" +{name}")));
    if !known.is_empty() {
        line.push_str(&format!(" known {}", known.join(",")));
    }
    line
}

/// A cluster that differs from others of its name by its time limit.
pub(super) fn timed_cluster(name: &str, seconds: u8) -> Given {
    let config = r#""type":"EDS","eds_cluster_config":{"eds_config":{"ads":{}}}"#;
    given(type_url::CLUSTER, name, &format!(r#"{{"name":"{name}","connect_timeout":"{seconds}s",{config}}}"#))
}

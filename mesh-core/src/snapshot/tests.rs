#![allow(clippy::cast_possible_truncation, reason = "the numbers drawn are below 100")]

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::engine::random::Random;
use crate::resource::cluster::{
    Cluster as ClusterConfig, Discovery, Thresholds, TransportSocket, TransportSocketMatch,
};
use crate::resource::endpoint::{Address, ClusterLoadAssignment, Endpoint, HealthStatus, LocalityEndpoints};
use crate::resource::listener::{
    ChainHandler, Direction, FilterChain, FilterChainMatch, HttpConnectionManager, ListenerAddress, RouteSource,
};
use crate::resource::metadata::{Metadata, Value};
use crate::resource::route::{Forward, Route, RouteAction, RouteMatch, VirtualHost};
use crate::state::{Finding, Lane};

fn eds(name: &str) -> ClusterConfig {
    ClusterConfig::new(name, Discovery::Eds { service_name: name.into() })
}

fn assignment(ports: impl IntoIterator<Item = u16>) -> Arc<ClusterLoadAssignment> {
    let endpoint = |port| Endpoint {
        address: Address::Socket(([127, 0, 0, 1], port).into()),
        hostname: String::new(),
        weight: 1,
        health: HealthStatus::Healthy,
        metadata: Metadata::new(),
    };
    let group =
        LocalityEndpoints { endpoints: ports.into_iter().map(endpoint).collect(), ..LocalityEndpoints::default() };
    Arc::new(ClusterLoadAssignment { localities: vec![group], ..ClusterLoadAssignment::default() })
}

fn routes(name: &str, cluster: &str) -> RouteConfiguration {
    let route = Route::new(RouteMatch::prefix("/"), RouteAction::Forward(Box::new(Forward::to(cluster))));
    let host =
        VirtualHost { name: "all".into(), domains: vec!["*".into()], routes: vec![route], ..VirtualHost::default() };
    RouteConfiguration { name: name.into(), virtual_hosts: vec![host], ..RouteConfiguration::default() }
}

fn listener(name: &str, port: u16, source: RouteSource) -> Listener {
    let manager = Arc::new(HttpConnectionManager::new(source));
    Listener {
        name: name.into(),
        address: Some(ListenerAddress { ip: [0, 0, 0, 0].into(), port }),
        direction: Direction::Outbound,
        use_original_dst: false,
        bind_to_port: false,
        filter_chains: vec![FilterChain {
            name: name.into(),
            matches: FilterChainMatch::default(),
            handler: ChainHandler::Http(manager),
            transport_socket: false,
        }],
        default_filter_chain: None,
        api_listener: None,
        metadata: Metadata::new(),
    }
}

fn set<T>(value: T) -> Change<T> {
    Change::Set(Arc::new(value))
}

/// Everything that a request could see of a snapshot, by name.
fn view(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let mut view = BTreeMap::new();
    for cluster in snapshot.clusters() {
        let hosts: Vec<_> = cluster.balancer().hosts().iter().map(|host| host.endpoint.address.to_string()).collect();
        assert_eq!(snapshot.cluster_by_name(&cluster.config().name).map(|one| one.id()), Some(cluster.id()));
        view.insert(format!("cluster {}", cluster.config().name), format!("{:?} {hosts:?}", cluster.config()));
    }
    for table in snapshot.tables() {
        // Each number that the table holds must lead to the cluster of that name, or to none.
        let reached: Vec<_> = table
            .routes
            .routes()
            .iter()
            .flat_map(|route| route.cluster_ids())
            .map(|(id, name)| (name.to_string(), snapshot.cluster(id).map(|cluster| cluster.config().name.to_string())))
            .collect();
        assert!(reached.iter().all(|(name, found)| found.as_ref().is_none_or(|found| found == name)), "{reached:?}");
        let key = format!(
            "table {} {:?}",
            table.config.name,
            table.routes.routes()[0].cluster_ids().map(|(_, name)| name.to_string()).collect::<Vec<_>>()
        );
        view.insert(key, format!("{:?} {reached:?}", table.config));
    }
    for listener in snapshot.listeners() {
        view.insert(format!("listener {}", listener.name), format!("{listener:?}"));
        if let Some(address) = listener.address {
            let (declared, fallback) = snapshot.outbound(address.port);
            let scopes: Vec<_> = declared
                .iter()
                .chain(fallback)
                .map(|scope| {
                    (scope.listener.to_string(), snapshot.table(scope.table).map(|table| table.config.name.to_string()))
                })
                .collect();
            view.insert(format!("port {}", address.port), format!("{scopes:?}"));
        }
    }
    view
}

#[test]
fn a_snapshot_built_by_1000_random_increments_equals_one_built_at_once() {
    let mut random = Random::from_seed(11);
    let mut step_by_step = Compiler::new(1);
    let (mut clusters, mut tables, mut listeners, mut endpoints) =
        (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for _ in 0..1_000 {
        let mut update = Update::default();
        for _ in 0..=random.below(3) {
            let name = format!("n{}", random.below(12));
            let gone = random.below(4) == 0;
            match random.below(4) {
                0 if gone => {
                    clusters.remove(&name);
                    update.clusters.push(Change::Remove(name.into()));
                }
                0 => {
                    let mut cluster = eds(&name);
                    cluster.circuit_breakers.default =
                        Thresholds { max_requests: random.below(9) as u32, ..Thresholds::default() };
                    if random.below(3) == 0 {
                        cluster.discovery = Discovery::Static((*assignment([random.below(99) as u16])).clone());
                    }
                    clusters.insert(name, Arc::new(cluster.clone()));
                    update.clusters.push(set(cluster));
                }
                1 if gone => {
                    endpoints.remove(&name);
                    update.endpoints.push((name.into(), None));
                }
                1 => {
                    let assignment =
                        assignment((0..random.below(5)).map(|_| random.below(50) as u16).collect::<BTreeSet<_>>());
                    endpoints.insert(name.clone(), Arc::clone(&assignment));
                    update.endpoints.push((name.into(), Some(assignment)));
                }
                2 if gone => {
                    tables.remove(&name);
                    update.routes.push(Change::Remove(name.into()));
                }
                2 => {
                    let table = routes(&name, &format!("n{}", random.below(12)));
                    tables.insert(name, Arc::new(table.clone()));
                    update.routes.push(set(table));
                }
                _ if gone => {
                    listeners.remove(&name);
                    update.listeners.push(Change::Remove(name.into()));
                }
                _ => {
                    let source = if random.below(2) == 0 {
                        RouteSource::Rds(format!("n{}", random.below(12)).into())
                    } else {
                        RouteSource::Inline(Arc::new(routes("inline", &format!("n{}", random.below(12)))))
                    };
                    let listener = listener(&name, random.below(4) as u16, source);
                    listeners.insert(name, Arc::new(listener.clone()));
                    update.listeners.push(set(listener));
                }
            }
        }
        let (_, refused) = step_by_step.apply(update);
        assert_eq!(refused, []);
    }
    let mut at_once = Compiler::new(2);
    let (whole, refused) = at_once.apply(Update {
        listeners: listeners.into_values().map(Change::Set).collect(),
        routes: tables.into_values().map(Change::Set).collect(),
        clusters: clusters.into_values().map(Change::Set).collect(),
        endpoints: endpoints.into_iter().map(|(name, assignment)| (name.into(), Some(assignment))).collect(),
        ..Update::default()
    });
    assert_eq!(refused, []);
    let (left, right) = (view(step_by_step.current()), view(&whole));
    assert_eq!(left.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>());
    for (name, value) in &left {
        assert_eq!(Some(value), right.get(name), "{name}");
    }
    assert!(left.len() > 20, "the increments left something behind");
}

#[test]
fn what_did_not_change_keeps_its_arc_and_its_state() {
    let mut compiler = Compiler::new(1);
    let (first, _) = compiler.apply(Update {
        clusters: vec![set(eds("a")), set(eds("b"))],
        endpoints: vec![("a".into(), Some(assignment([1, 2]))), ("b".into(), Some(assignment([3])))],
        routes: vec![set(routes("r", "a"))],
        ..Update::default()
    });
    let under_way = first.cluster_by_name("a").unwrap().balancer().hosts()[0].state.begin();
    let (second, _) =
        compiler.apply(Update { endpoints: vec![("a".into(), Some(assignment([1, 7])))], ..Update::default() });
    assert!(Arc::ptr_eq(first.cluster_by_name("b").unwrap(), second.cluster_by_name("b").unwrap()));
    assert!(Arc::ptr_eq(first.tables().next().unwrap(), second.tables().next().unwrap()));
    let (before, after) = (first.cluster_by_name("a").unwrap(), second.cluster_by_name("a").unwrap());
    assert!(Arc::ptr_eq(before.state(), after.state()));
    assert_eq!(after.balancer().hosts()[0].state.active(), 1, "the kept endpoint knows what is under way");
    assert!(Arc::ptr_eq(&before.balancer().hosts()[0].transport, &after.balancer().hosts()[0].transport));
    assert_eq!(after.balancer().hosts()[1].state.active(), 0);
    drop(under_way);
}

#[test]
fn a_host_found_unhealthy_is_out_of_the_next_snapshot_and_comes_back() {
    let mut compiler = Compiler::new(1);
    let update = Update {
        clusters: vec![set(eds("a"))],
        endpoints: vec![("a".into(), Some(assignment([1, 2])))],
        ..Update::default()
    };
    let (first, _) = compiler.apply(update);
    let before = first.cluster_by_name("a").unwrap();
    let state = &before.balancer().hosts()[0].state;
    let again = |compiler: &mut Compiler| {
        let (next, _) = compiler.apply(Update { health: vec!["a".into()], ..Update::default() });
        next.cluster_by_name("a").unwrap().balancer().eligible().len()
    };
    assert!(state.note(Finding::Ejected, true) && !state.note(Finding::Ejected, true));
    assert_eq!(again(&mut compiler), 1);
    assert_eq!(before.balancer().eligible().len(), 2, "a pinned snapshot stays as it is");
    assert!(state.note(Finding::Ejected, false));
    assert_eq!(again(&mut compiler), 2);
}

#[test]
fn an_endpoint_that_asks_for_tls_is_never_a_host_in_plain_text() {
    let tls_mode = BTreeMap::from([("tlsMode".to_owned(), Value::Text("istio".to_owned()))]);
    let mut cluster = eds("a");
    cluster.transport_socket_matches = vec![TransportSocketMatch {
        name: "tlsMode-istio".into(),
        matches: tls_mode.clone(),
        socket: TransportSocket::Tls,
    }];
    let mut endpoints = (*assignment([1, 2])).clone();
    endpoints.localities[0].endpoints[0].metadata =
        Metadata::from([("envoy.transport_socket_match".to_owned(), Value::Struct(tls_mode))]);
    let (snapshot, _) = Compiler::new(1).apply(Update {
        clusters: vec![set(cluster)],
        endpoints: vec![("a".into(), Some(Arc::new(endpoints)))],
        ..Update::default()
    });
    let hosts = snapshot.cluster_by_name("a").unwrap().balancer().hosts();
    let addresses: Vec<_> = hosts.iter().map(|host| host.endpoint.address.clone()).collect();
    assert_eq!(addresses, [Address::Socket(([127, 0, 0, 1], 2).into())]);
}

#[test]
fn a_changed_connection_setting_takes_new_connections_and_keeps_the_counts() {
    let mut compiler = Compiler::new(1);
    let (first, _) = compiler.apply(Update {
        clusters: vec![set(eds("a"))],
        endpoints: vec![("a".into(), Some(assignment([1])))],
        ..Update::default()
    });
    let mut changed = eds("a");
    changed.connect_timeout = std::time::Duration::from_secs(1);
    let (second, _) = compiler.apply(Update { clusters: vec![set(changed)], ..Update::default() });
    let host = |snapshot: &Snapshot| snapshot.cluster_by_name("a").unwrap().balancer().hosts()[0].clone();
    assert!(Arc::ptr_eq(&host(&first).state, &host(&second).state));
    assert!(!Arc::ptr_eq(&host(&first).transport, &host(&second).transport));
}

#[test]
fn f08_a_refused_table_keeps_its_last_good_version_and_its_siblings_load() {
    let mut compiler = Compiler::new(1);
    let _ = compiler.apply(Update { routes: vec![set(routes("r", "a"))], ..Update::default() });
    let mut bad = routes("r", "b");
    bad.virtual_hosts[0].domains.push("*".into());
    let (next, refused) = compiler.apply(Update { routes: vec![set(bad), set(routes("s", "c"))], ..Update::default() });
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].resource.to_string(), "RouteConfiguration/r");
    let names: Vec<_> = next.tables().map(|table| table.config.name.to_string()).collect();
    assert_eq!(names, ["r", "s"]);
    let kept = next.tables().find(|table| &*table.config.name == "r").unwrap();
    assert_eq!(*kept.config, routes("r", "a"));
}

#[test]
fn a_route_finds_a_cluster_that_arrives_later() {
    let mut compiler = Compiler::new(1);
    let (first, _) = compiler.apply(Update { routes: vec![set(routes("r", "late"))], ..Update::default() });
    assert!(first.cluster_by_name("late").is_none());
    let (second, _) = compiler.apply(Update { clusters: vec![set(eds("late"))], ..Update::default() });
    assert!(Arc::ptr_eq(first.tables().next().unwrap(), second.tables().next().unwrap()));
    let (id, _) = second.tables().next().unwrap().routes.routes()[0].cluster_ids().next().unwrap();
    assert_eq!(second.cluster(id).map(|cluster| cluster.config().name.to_string()), Some("late".to_owned()));
}

#[test]
fn pins_of_different_lanes_see_the_published_version() {
    let mut compiler = Compiler::new(1);
    let store = SnapshotStore::new(Arc::clone(compiler.current()));
    let (next, _) = compiler.apply(Update { clusters: vec![set(eds("a"))], ..Update::default() });
    store.publish(&next);
    for thread in 0..Lane::COUNT {
        assert_eq!(store.pin(Lane::of_thread(thread)).version(), 1);
    }
}

#[test]
fn routes_in_a_listener_that_do_not_compile_refuse_the_listener_by_name() {
    let mut compiler = Compiler::new(1);
    let mut bad = routes("inline", "a");
    bad.virtual_hosts[0].domains.push("*".into());
    let (next, refused) = compiler.apply(Update {
        listeners: vec![
            set(listener("l", 80, RouteSource::Inline(Arc::new(bad)))),
            set(listener("ok", 81, RouteSource::Rds("r".into()))),
        ],
        ..Update::default()
    });
    assert_eq!(refused.len(), 1);
    let text = refused[0].to_string();
    assert!(text.starts_with("Listener/l: filter_chains[0].route_config.virtual_hosts[0]"), "{text}");
    assert_eq!(next.listeners().map(|one| one.name.to_string()).collect::<Vec<_>>(), ["ok"]);
}

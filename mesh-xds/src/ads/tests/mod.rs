//! Event and effect scripts, by the numbers of the faults that they cover.

#![allow(clippy::unwrap_used, reason = "a failing test is what unwrap is for")]

mod property;
mod script;

use std::time::Duration;

use mesh_core::resource::{ResourceKind, ResourceName};

use self::script::{Script, cluster, endpoints, listener, names, routes};
use super::{Protocol, ServerState};

const BOTH: [Protocol; 2] = [Protocol::Delta, Protocol::Sotw];
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_client_comes_up_in_the_order_clusters_endpoints_listeners_routes() {
    for protocol in BOTH {
        let mut script = Script::open(protocol);
        assert_eq!(script.asked(), ["Cluster *", "Listener *"], "{protocol:?}");
        script.gives("1", &[cluster("c")], &[]);
        assert_eq!(script.asked(), ["Cluster ACK 1", "ClusterLoadAssignment +c"]);
        assert!(script.in_force().is_empty(), "a cluster waits for its endpoints");
        script.gives("1", &[endpoints("c", 80)], &[]);
        assert_eq!(script.in_force(), ["Cluster/c", "ClusterLoadAssignment/c"]);
        script.gives("1", &[listener("l", "r")], &[]);
        script.gives("1", &[routes("r", &["c"])], &[]);
        assert_eq!(script.in_force(), ["Cluster/c", "ClusterLoadAssignment/c", "Listener/l", "RouteConfiguration/r"]);
        assert!(script.ads.synced());
    }
}

#[test]
fn f03_f05_tries_are_spread_out_and_only_a_response_starts_over() {
    let mut script = Script::open(Protocol::Delta);
    script.up();
    let before = script.in_force();
    let mut waits = Vec::new();
    for _ in 0..12 {
        script.closes();
        let ServerState::Waiting(until) = script.ads.status().servers[0].state else { panic!("it waits") };
        waits.push(until - script.now);
        script.pass(until - script.now);
        script.opens();
    }
    assert!(waits[0] <= 1200 * SECOND / 1000 && waits[11] >= 90 * SECOND, "{waits:?}");
    assert_eq!(script.in_force(), before, "nothing is dropped meanwhile");
    script.gives("2", &[cluster("c")], &[]);
    script.closes();
    let ServerState::Waiting(until) = script.ads.status().servers[0].state else { panic!("it waits") };
    assert!(until - script.now <= 1200 * SECOND / 1000);
}

#[test]
fn f04_nothing_is_given_up_while_no_server_is_there() {
    let mut script = Script::open(Protocol::Delta);
    script.gives("1", &[cluster("c")], &[]);
    script.closes();
    script.pass(3600 * SECOND);
    assert!(script.in_force().is_empty());
    script.opens();
    script.pass(14 * SECOND);
    assert!(script.in_force().is_empty(), "the time starts again with the stream");
    script.pass(2 * SECOND);
    assert_eq!(script.in_force(), ["Cluster/c"]);
}

#[test]
fn f07_types_that_nobody_asked_for_are_reported_and_harm_nothing() {
    let mut script = Script::open(Protocol::Sotw);
    script.gives_type("type.googleapis.com/some.Other");
    assert_eq!(script.ads.status().servers[0].unknown_types, ["type.googleapis.com/some.Other"]);
    script.up();
    assert!(script.ads.synced());
}

#[test]
fn f08_one_bad_resource_among_many_is_named_and_takes_nothing_along() {
    for protocol in BOTH {
        let mut script = Script::open(protocol);
        script.asked();
        let mut given: Vec<_> = (0..999).map(|number| cluster(&format!("c{number}"))).collect();
        given.push(script::bad_cluster("bad"));
        script.gives("1", &given, &[]);
        let asked = script.asked();
        assert!(asked[0].starts_with("Cluster NACK  Cluster/bad: "), "{protocol:?} {asked:?}");
        script.gives("1", &(0..999).map(|n| endpoints(&format!("c{n}"), 80)).collect::<Vec<_>>(), &[]);
        assert_eq!(script.in_force().iter().filter(|name| name.starts_with("Cluster/")).count(), 999);
    }
}

#[test]
fn f09_a_server_that_repeats_what_was_refused_gets_one_nack_a_second() {
    for protocol in BOTH {
        let mut script = Script::open(protocol);
        script.asked();
        let mut nacks = 0;
        for _ in 0..100 {
            script.gives("1", &[script::bad_cluster("bad")], &[]);
            nacks += script.asked().iter().filter(|line| line.contains("NACK")).count();
            script.pass(SECOND / 50);
        }
        assert!((2..=3).contains(&nacks), "{protocol:?}: {nacks}");
    }
}

#[test]
fn f10_routes_wait_for_the_clusters_they_name_and_the_old_ones_serve_meanwhile() {
    for protocol in BOTH {
        let mut script = Script::open(protocol);
        script.up();
        script.gives("2", &[routes("r", &["c", "new"])], &[]);
        assert_eq!(script.held(), ["RouteConfiguration/r"]);
        script.gives("2", &[cluster("c"), cluster("new")], &[]);
        assert_eq!(script.held(), ["Cluster/new", "RouteConfiguration/r"]);
        script.gives("2", &[endpoints("new", 80)], &[]);
        assert!(script.held().is_empty());
        script.gives("3", &[routes("r", &["c", "never"])], &[]);
        script.pass(14 * SECOND);
        assert_eq!(script.held(), ["RouteConfiguration/r"]);
        script.pass(2 * SECOND);
        assert!(script.held().is_empty(), "then requests learn that the cluster is missing");
    }
}

#[test]
fn f11_a_cluster_whose_endpoints_never_come_is_in_force_without_them_after_a_while() {
    for protocol in BOTH {
        let mut script = Script::open(protocol);
        script.up();
        script.gives("2", &[cluster("c"), cluster("slow")], &[]);
        script.pass(14 * SECOND);
        assert_eq!(script.held(), ["Cluster/slow"]);
        script.pass(2 * SECOND);
        assert!(script.held().is_empty() && script.in_force().contains(&"Cluster/slow".to_owned()));
        assert!(script.in_force().contains(&"Cluster/c".to_owned()));
    }
}

#[test]
fn f12_a_removed_cluster_stays_while_routes_name_it_unless_the_server_is_to_be_believed() {
    for protocol in BOTH {
        for believe in [false, true] {
            let mut script = Script::open_with(protocol, believe);
            script.up();
            script.gives("2", &[cluster("other")], &["Cluster/c"]);
            assert_eq!(script.in_force().contains(&"Cluster/c".to_owned()), !believe, "{protocol:?}");
            if !believe {
                assert_eq!(script.ads.status().types[0].kept, [ResourceName::new(ResourceKind::Cluster, "c")]);
                script.gives("2", &[endpoints("other", 80)], &[]);
                script.gives("3", &[routes("r", &["other"])], &[]);
                assert!(!script.in_force().iter().any(|name| name.ends_with("/c")), "nothing names it any more");
            }
        }
    }
}

#[test]
fn f14_a_version_that_goes_back_is_a_version_like_any_other() {
    for protocol in BOTH {
        let mut script = Script::open(protocol);
        script.up();
        script.gives("9", &[endpoints("c", 81)], &[]);
        script.gives("1", &[endpoints("c", 80)], &[]);
        assert_eq!(script.asked().last().unwrap(), "ClusterLoadAssignment ACK 1");
    }
}

#[test]
fn f21_the_next_server_stands_in_only_for_what_nobody_has_given() {
    let mut script = Script::two_servers();
    script.closes_server(0);
    assert_eq!(script.ads.status().servers[1].state, ServerState::Connecting);
    script.opens_server(1);
    script.server = 1;
    script.up();
    assert!(script.ads.synced() && script.ads.status().servers[1].active);
    script.pass(2 * SECOND);
    script.opens_server(0);
    script.server = 0;
    script.gives("7", &[cluster("c")], &[]);
    let status = script.ads.status();
    assert!(status.servers[0].active && status.servers[1].state == ServerState::Idle);
    script.closes_server(0);
    assert_eq!(script.ads.status().servers[1].state, ServerState::Idle, "everything is there already");
}

#[test]
fn f23_more_than_may_be_held_is_refused_as_a_whole_and_what_is_in_force_stays() {
    for protocol in BOTH {
        let mut script = Script::limited(protocol, 10);
        script.up();
        script.asked();
        let before = script.in_force();
        script.gives("2", &(0..50).map(|n| cluster(&format!("c{n}"))).collect::<Vec<_>>(), &[]);
        assert_eq!(script.in_force(), before);
        assert!(script.asked()[0].contains("are more than the 10 that are held here"), "{protocol:?}");
    }
}

#[test]
fn f23_a_name_that_is_there_twice_and_much_smaller_than_before_does_not_wrap_the_count() {
    for protocol in BOTH {
        let mut script = Script::named(protocol);
        let wide = (0..100).map(|n| format!("c{n}")).collect::<Vec<_>>();
        let wide: Vec<&str> = wide.iter().map(String::as_str).collect();
        script.watch(names(ResourceKind::RouteConfiguration, &["r"]));
        script.gives("1", &[routes("r", &wide)], &[]);
        script.asked();
        script.gives("2", &[routes("r", &["a"]), routes("r", &["a"])], &[]);
        assert!(script.asked().iter().any(|one| one.contains("is there twice")), "{protocol:?}");
    }
}

#[test]
fn f28_what_is_removed_and_added_in_one_message_is_there_and_versions_are_told_on_reconnect() {
    let mut script = Script::open(Protocol::Delta);
    script.up();
    script.gives("2", &[cluster("c")], &["Cluster/c"]);
    assert!(script.in_force().contains(&"Cluster/c".to_owned()));
    script.closes();
    script.pass(2 * SECOND);
    script.asked();
    script.opens();
    let asked = script.asked();
    assert_eq!(asked[0], "Cluster * known c=2");
    assert_eq!(asked[1], "ClusterLoadAssignment +c known c=1");
}

#[test]
fn three_hundred_clusters_cost_one_request_for_their_endpoints() {
    for protocol in BOTH {
        let mut script = Script::open(protocol);
        script.asked();
        let given: Vec<_> = (0..300).map(|number| cluster(&format!("c{number}"))).collect();
        script.gives("1", &given, &[]);
        assert_eq!(script.asked().len(), 2, "{protocol:?}");
        script.gives("1", &(0..300).map(|n| endpoints(&format!("c{n}"), 80)).collect::<Vec<_>>(), &[]);
        assert_eq!(script.in_force().len(), 600);
    }
}

#[test]
fn a_client_that_watches_names_holds_what_they_lead_to_and_nothing_else() {
    for protocol in BOTH {
        let mut script = Script::named(protocol);
        assert!(script.asked().is_empty());
        script.watch(names(ResourceKind::Listener, &["a:80"]));
        assert_eq!(script.asked(), ["Listener +a:80"]);
        script.gives("1", &[listener("a:80", "r"), listener("b:80", "s")], &[]);
        assert_eq!(script.asked(), ["Listener ACK 1", "RouteConfiguration +r"]);
        script.gives("1", &[routes("r", &["c"])], &[]);
        assert_eq!(script.asked(), ["Cluster +c", "RouteConfiguration ACK 1"]);
        script.gives("1", &[cluster("c")], &[]);
        script.gives("1", &[endpoints("c", 80)], &[]);
        assert_eq!(
            script.in_force(),
            ["Cluster/c", "ClusterLoadAssignment/c", "Listener/a:80", "RouteConfiguration/r"]
        );
        script.unwatch(names(ResourceKind::Listener, &["a:80"]));
        assert!(script.in_force().is_empty());
    }
}

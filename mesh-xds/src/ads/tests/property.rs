//! Random servers: after every change the client has what the server has, and the last good version of what is bad.

use std::collections::BTreeMap;
use std::time::Duration;

use mesh_core::resource::ResourceKind;
use mesh_proto::type_url;
use proptest::prelude::*;

use super::script::{Given, Script, bad_cluster, cluster, timed_cluster};
use crate::ads::Protocol;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A cluster in a version of its own.
    Set(u8, u8),
    /// A version of a cluster that is no good.
    Spoil(u8),
    Remove(u8),
    /// The stream ends; the change after it happens before the next one is open.
    Reconnect,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..6u8, 1..9u8).prop_map(|(name, version)| Step::Set(name, version)),
        1 => (0..6u8).prop_map(Step::Spoil),
        2 => (0..6u8).prop_map(Step::Remove),
        1 => Just(Step::Reconnect),
    ];
    prop::collection::vec(step, 1..40)
}

/// What the server has: the version (0 is bad), by name.
type World = BTreeMap<String, u8>;

fn given(name: &str, version: u8) -> Given {
    match version {
        0 => bad_cluster(name),
        1 => cluster(name),
        _ => timed_cluster(name, version),
    }
}

/// Sends what the client does not have; `has` is what it was told.
fn push(script: &mut Script, protocol: Protocol, world: &World, has: &mut World, number: usize) {
    let changed = |(name, version): &(&String, &u8)| protocol == Protocol::Sotw || has.get(*name) != Some(*version);
    let some: Vec<Given> = world.iter().filter(changed).map(|(name, version)| given(name, *version)).collect();
    let removed: Vec<String> =
        has.keys().filter(|name| !world.contains_key(*name)).map(|one| format!("Cluster/{one}")).collect();
    let removed: Vec<&str> = removed.iter().map(String::as_str).collect();
    script.gives_some(type_url::CLUSTER, &number.to_string(), &some, &removed);
    *has = world.clone();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_client_has_what_the_server_has_after_every_change(steps in steps(), delta in any::<bool>()) {
        let protocol = if delta { Protocol::Delta } else { Protocol::Sotw };
        let mut script = Script::open(protocol);
        let (mut world, mut has, mut good) = (World::new(), World::new(), BTreeMap::<String, Given>::new());
        let mut open = true;
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Set(name, version) => {
                    world.insert(format!("c{name}"), version);
                }
                Step::Spoil(name) => {
                    world.insert(format!("c{name}"), 0);
                }
                Step::Remove(name) => {
                    world.remove(&format!("c{name}"));
                }
                Step::Reconnect => {
                    if std::mem::take(&mut open) {
                        script.closes();
                    }
                    continue;
                }
            }
            if !open {
                script.pass(Duration::from_secs(200));
                script.asked();
                script.opens();
                open = true;
                // An incremental server leaves out what the client says that it has, in the version that it says.
                let known = script.asked().first().and_then(|line| line.split_once("known ").map(|(_, all)| all.to_owned()));
                let known: Vec<String> = known.iter().flat_map(|all| all.split(',')).filter_map(|one| Some(one.split_once('=')?.0.to_owned())).collect();
                let had = std::mem::take(&mut has);
                has = had.into_iter().filter(|(name, _)| known.contains(name)).collect();
            }
            push(&mut script, protocol, &world, &mut has, number);
            good.retain(|name, _| world.contains_key(name));
            for (name, version) in world.iter().filter(|(_, version)| **version > 0) {
                good.insert(name.clone(), given(name, *version));
            }
            let mut found: Vec<(String, Vec<u8>)> = script
                .ads
                .resources()
                .filter(|(name, ..)| name.kind == ResourceKind::Cluster)
                .map(|(name, _, bytes)| (name.name.to_string(), bytes.to_vec()))
                .collect();
            found.sort();
            let expected: Vec<(String, Vec<u8>)> = good.iter().map(|(name, (_, any))| (name.clone(), any.value.clone())).collect();
            prop_assert_eq!(found, expected, "after {} {:?}", number, protocol);
        }
    }
}

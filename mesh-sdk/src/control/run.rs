//! The loop: first every source is read and put in force, then whatever changes is.
//!
//! Sources and resolvers are tasks that send what they found; only this loop publishes, one thing at a time.

use std::future::pending;

use mesh_istio::LoadOptions;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::health::Caller;
use super::publish::Publisher;
use super::{Plan, Started};
use crate::admin;
use crate::build_error::BuildError;
use crate::dns::Refresher;
use crate::source::directory::Directory;
use crate::source::envoy_config::EnvoyConfig;
use crate::source::{Reading, SourceConfig, read_literal};
use crate::view::{Readiness, View};

pub(super) async fn run(plan: Plan, first: oneshot::Sender<Result<Started, BuildError>>) {
    let view = std::sync::Arc::clone(&plan.view);
    let (answered, mut answers) = mpsc::channel(64);
    let refresher = Refresher::new(plan.resolver, answered);
    let caller = Caller::default();
    let mut publisher = Publisher::new(plan.proxy, plan.mesh, plan.compat, caller.bell(), std::sync::Arc::clone(&view));
    let (mut readings, mut changes) = match open(plan.sources, publisher.namespace()).await {
        Ok(opened) => opened,
        Err(error) => {
            let _ = first.send(Err(error));
            return;
        }
    };
    let mut names = refresher;
    publisher.readings(&readings);
    names.follow(publisher.clusters());
    settle(&view, &names, &publisher);
    let started = match plan.admin {
        Some(address) => match admin::start(address, std::sync::Arc::clone(&view)).await {
            Ok(address) => Started { admin: Some(address) },
            Err(source) => {
                let _ = first.send(Err(BuildError::Admin { address, source }));
                return;
            }
        },
        None => Started { admin: None },
    };
    if first.send(Ok(started)).is_err() {
        return;
    }
    loop {
        tokio::select! {
            (source, reading) = next(&mut changes) => {
                readings[source] = reading;
                publisher.readings(&readings);
                names.follow(publisher.clusters());
            }
            Some(resolved) = answers.recv() => {
                let accepted = std::iter::once(resolved).chain(std::iter::from_fn(|| answers.try_recv().ok()));
                publisher.resolved(accepted.filter_map(|resolved| names.accept(resolved)).collect());
            }
            () = caller.called() => publisher.health(),
            () = until(publisher.health_due()) => publisher.health(),
            done = publisher.check_done() => publisher.checked(done),
        }
        settle(&view, &names, &publisher);
    }
}

type Changes = mpsc::Receiver<(usize, Reading)>;

/// Reads every source once, in the order named, and follows those that can change.
async fn open(sources: Vec<SourceConfig>, namespace: &str) -> Result<(Vec<Reading>, Changes), BuildError> {
    let (changed, changes) = mpsc::channel(16);
    let mut readings = Vec::with_capacity(sources.len());
    let mut options = LoadOptions::default();
    options.namespace = namespace.to_owned();
    for (number, source) in sources.into_iter().enumerate() {
        match source {
            SourceConfig::Literal(text) => readings.push(read_literal(number + 1, &text, &options)),
            SourceConfig::Directory(path) => {
                let (mut directory, reading) = Directory::open(path, options.clone()).await?;
                readings.push(reading);
                let changed = changed.clone();
                tokio::spawn(async move {
                    loop {
                        let reading = directory.changed().await;
                        if changed.send((number, reading)).await.is_err() {
                            return;
                        }
                    }
                });
            }
            SourceConfig::EnvoyConfig(path) => {
                let (mut config, reading) = EnvoyConfig::open(path).await?;
                readings.push(reading);
                let changed = changed.clone();
                tokio::spawn(async move {
                    loop {
                        let reading = config.changed().await;
                        if changed.send((number, reading)).await.is_err() {
                            return;
                        }
                    }
                });
            }
        }
    }
    Ok((readings, changes))
}

/// The next change; never, when nothing can change.
async fn next(changes: &mut Changes) -> (usize, Reading) {
    match changes.recv().await {
        Some(change) => change,
        None => pending().await,
    }
}

/// Waits for a moment; for ever, when there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => pending().await,
    }
}

/// Says what the mesh waits for before it is ready. Once it is, it stays so, and nobody is asked any more.
fn settle(view: &View, names: &Refresher, publisher: &Publisher) {
    if !matches!(*view.readiness().borrow(), Readiness::Waiting(_)) {
        return;
    }
    view.set_readiness(match names.unanswered() {
        Some(cluster) => Readiness::Waiting(format!("waiting for the names of cluster {cluster} to be resolved")),
        None => match publisher.unchecked() {
            Some(cluster) => {
                Readiness::Waiting(format!("waiting for the first health check of a host of cluster {cluster}"))
            }
            None => Readiness::Live,
        },
    });
}

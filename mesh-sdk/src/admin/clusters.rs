//! `/clusters`: the endpoints of every cluster with what is counted of them, in Envoy's text form or as
//! `envoy.admin.v3.Clusters`. Only what is counted here is listed; Envoy's other lines are left out.

use std::fmt::{self, Write};
use std::sync::Arc;

use mesh_core::engine::load_balancing::{Host, endpoints};
use mesh_core::resource::cluster::{Discovery, Thresholds};
use mesh_core::resource::endpoint::{Address, ClusterLoadAssignment, Endpoint, HealthStatus, Locality};
use mesh_core::snapshot::{Cluster, Pin};
use mesh_core::state::{EjectionCause, Finding, Lane, Load, Origin, Slot};
use serde_json::{Value, json};

use super::Page;
use super::query::Query;
use crate::view::View;

pub(super) fn page(view: &View, query: &Query) -> Page {
    let pin = view.snapshots.pin(Lane::default());
    let clusters = sorted(&pin);
    if query.wants_json() {
        let statuses: Vec<_> = clusters.iter().map(|cluster| status(cluster)).collect();
        return Page::json(&json!({ "cluster_statuses": statuses }));
    }
    let mut text = String::new();
    for cluster in clusters {
        // Writing to a String does not fail.
        let _ = lines(&mut text, cluster);
    }
    Page::text(text)
}

fn sorted(pin: &Pin) -> Vec<&Arc<Cluster>> {
    let mut clusters: Vec<_> = pin.clusters().collect();
    clusters.sort_by(|a, b| a.config().name.cmp(&b.config().name));
    clusters
}

/// One host with where it is.
struct Placed<'a> {
    host: &'a Host,
    priority: u32,
    locality: Locality,
}

fn placed(cluster: &Cluster) -> Vec<Placed<'_>> {
    let listed = match &cluster.config().discovery {
        Discovery::Static(listed) | Discovery::LogicalDns { endpoints: listed, .. } => Some(listed),
        _ => cluster.assignment().map(|assignment| &**assignment),
    };
    let of = |host| {
        let (priority, locality) = place(listed, host).unwrap_or_default();
        Placed { host, priority, locality }
    };
    cluster.balancer().hosts().iter().map(of).collect()
}

fn place(listed: Option<&ClusterLoadAssignment>, host: &Host) -> Option<(u32, Locality)> {
    let same = |endpoint: &&Endpoint| endpoint.address == host.endpoint.address;
    let group = listed?.localities.iter().find(|group| group.endpoints.iter().any(|endpoint| same(&endpoint)))?;
    let priority =
        endpoints(listed?).find(|(_, endpoint)| same(endpoint)).map_or(group.priority, |(priority, _)| priority);
    Some((priority, group.locality.clone()))
}

fn lines(out: &mut String, cluster: &Cluster) -> fmt::Result {
    let config = cluster.config();
    let name = &config.name;
    writeln!(out, "{name}::observability_name::{name}")?;
    for (priority, limits) in [("default", config.circuit_breakers.default), ("high", config.circuit_breakers.high)] {
        let Thresholds { max_connections, max_pending_requests, max_requests, max_retries, .. } = limits;
        writeln!(out, "{name}::{priority}_priority::max_connections::{max_connections}")?;
        writeln!(out, "{name}::{priority}_priority::max_pending_requests::{max_pending_requests}")?;
        writeln!(out, "{name}::{priority}_priority::max_requests::{max_requests}")?;
        writeln!(out, "{name}::{priority}_priority::max_retries::{max_retries}")?;
    }
    writeln!(out, "{name}::added_via_api::true")?;
    if let Discovery::Eds { service_name } = &config.discovery {
        writeln!(out, "{name}::eds_service_name::{service_name}")?;
    }
    for (statistic, value) in totals(cluster) {
        writeln!(out, "{name}::{statistic}::{value}")?;
    }
    for (statistic, value) in outliers(cluster) {
        writeln!(out, "{name}::outlier_detection::{statistic}::{value}")?;
    }
    for Placed { host, priority, locality } in placed(cluster) {
        let at = format!("{name}::{}", host.endpoint.address);
        for (statistic, value, _) in statistics(host) {
            writeln!(out, "{at}::{statistic}::{value}")?;
        }
        writeln!(out, "{at}::hostname::{}", host.endpoint.hostname)?;
        writeln!(out, "{at}::health_flags::{}", health_flags(host))?;
        writeln!(out, "{at}::weight::{}", host.endpoint.weight)?;
        writeln!(out, "{at}::region::{}", locality.region)?;
        writeln!(out, "{at}::zone::{}", locality.zone)?;
        writeln!(out, "{at}::sub_zone::{}", locality.sub_zone)?;
        writeln!(out, "{at}::priority::{priority}")?;
        for (statistic, origin) in [("success_rate", Origin::External), ("local_origin_success_rate", Origin::Local)] {
            // As Envoy says that it is not known.
            writeln!(out, "{at}::{statistic}::{}", host.state.outcomes().success_rate(origin).unwrap_or(-1.0))?;
        }
    }
    Ok(())
}

/// The cluster's own counts: ours, beside Envoy's lines, named after Envoy's statistics where there is one.
fn totals(cluster: &Cluster) -> [(&'static str, u64); 12] {
    let counts = cluster.state().counts();
    let load = |load| [0, 1].map(|priority| u64::from(cluster.state().load(Slot { load, priority }))).iter().sum();
    [
        ("upstream_rq_total", counts.requests),
        ("upstream_rq_retry", counts.retries),
        ("upstream_rq_5xx", counts.responses_5xx),
        ("upstream_rq_other", counts.responses_other),
        ("upstream_rq_without_response", counts.failures),
        ("upstream_rq_pending_overflow", counts.overflows),
        ("upstream_rq_retry_overflow", counts.retry_overflows),
        ("upstream_rq_timeout", counts.timeouts),
        ("mirrors_dropped", counts.mirrors_dropped),
        ("upstream_rq_active", load(Load::Requests)),
        ("upstream_rq_pending_active", load(Load::Pending)),
        ("upstream_cx_active", load(Load::Connections)),
    ]
}

/// Envoy's statistics below `outlier_detection`; none where it is off.
fn outliers(cluster: &Cluster) -> Vec<(String, u64)> {
    if cluster.monitor().is_none() {
        return Vec::new();
    }
    let counts = cluster.state().ejections().counts();
    let all = [
        ("ejections_active", counts.active),
        ("ejections_enforced_total", counts.enforced_total()),
        ("ejections_overflow", counts.overflow),
    ];
    let by_cause = EjectionCause::ALL.into_iter().flat_map(|cause| {
        let name = cause.as_str();
        [
            (format!("ejections_detected_{name}"), counts.detected_of(cause)),
            (format!("ejections_enforced_{name}"), counts.enforced_of(cause)),
        ]
    });
    all.into_iter().map(|(name, count)| (name.to_owned(), count)).chain(by_cause).collect()
}

fn statistics(host: &Host) -> [(&'static str, u64, &'static str); 4] {
    let (active, error, total) = (u64::from(host.state.active()), host.state.errors(), host.state.total());
    [
        ("rq_active", active, "GAUGE"),
        ("rq_error", error, "COUNTER"),
        ("rq_success", total.saturating_sub(error).saturating_sub(active), "COUNTER"),
        ("rq_total", total, "COUNTER"),
    ]
}

/// The flags that Envoy sets: for what was found out here, and for what the control plane says.
fn health_flags(host: &Host) -> String {
    let said = match host.endpoint.health {
        HealthStatus::Unknown | HealthStatus::Healthy => "",
        HealthStatus::Degraded => "/degraded_eds_health",
        HealthStatus::Unhealthy | HealthStatus::Draining | HealthStatus::Timeout => "/failed_eds_health",
    };
    let found = [
        (Finding::CheckFailed, "/failed_active_hc"),
        (Finding::Ejected, "/failed_outlier_check"),
        (Finding::Degraded, "/degraded_active_hc"),
        (Finding::Unchecked, "/pending_active_hc"),
    ];
    let holding = found.into_iter().filter(|(finding, _)| host.state.is(*finding)).map(|(_, flag)| flag);
    let flags: String = holding.chain([said]).collect();
    if flags.is_empty() { "healthy".to_owned() } else { flags }
}

fn status(cluster: &Cluster) -> Value {
    let config = cluster.config();
    let hosts: Vec<_> = placed(cluster).iter().map(host_status).collect();
    let thresholds = |priority: &str, limits: &Thresholds| {
        json!({
            "priority": priority,
            "max_connections": limits.max_connections,
            "max_pending_requests": limits.max_pending_requests,
            "max_requests": limits.max_requests,
            "max_retries": limits.max_retries,
        })
    };
    let breakers = &config.circuit_breakers;
    let mut status = json!({
        "name": &*config.name,
        "added_via_api": true,
        "host_statuses": hosts,
        "circuit_breakers": { "thresholds": [thresholds("DEFAULT", &breakers.default), thresholds("HIGH", &breakers.high)] },
        "observability_name": &*config.name,
    });
    if let Discovery::Eds { service_name } = &config.discovery {
        status["eds_service_name"] = (**service_name).into();
    }
    status
}

fn host_status(placed: &Placed<'_>) -> Value {
    let endpoint = &placed.host.endpoint;
    let health = match endpoint.health {
        // Envoy has no word for "not said": what may be used is healthy.
        HealthStatus::Unknown | HealthStatus::Healthy => "HEALTHY",
        HealthStatus::Degraded => "DEGRADED",
        HealthStatus::Unhealthy => "UNHEALTHY",
        HealthStatus::Draining => "DRAINING",
        HealthStatus::Timeout => "TIMEOUT",
    };
    // 64-bit numbers are strings in protobuf's JSON, and zero is left out.
    let statistics = statistics(placed.host).map(|(name, value, kind)| match value {
        0 => json!({ "name": name, "type": kind }),
        value => json!({ "name": name, "type": kind, "value": value.to_string() }),
    });
    let Locality { region, zone, sub_zone } = &placed.locality;
    let mut health = json!({ "eds_health_status": health });
    for (finding, field) in [
        (Finding::CheckFailed, "failed_active_health_check"),
        (Finding::Ejected, "failed_outlier_check"),
        (Finding::Degraded, "failed_active_degraded_check"),
        (Finding::Unchecked, "pending_active_hc"),
    ] {
        if placed.host.state.is(finding) {
            health[field] = true.into();
        }
    }
    json!({
        "address": address(&endpoint.address),
        "stats": statistics,
        "health_status": health,
        "weight": endpoint.weight,
        "hostname": endpoint.hostname,
        "priority": placed.priority,
        "locality": { "region": region, "zone": zone, "sub_zone": sub_zone },
    })
}

fn address(address: &Address) -> Value {
    match address {
        Address::Socket(socket) => {
            json!({ "socket_address": { "address": socket.ip().to_string(), "port_value": socket.port() } })
        }
        Address::Dns { host, port } => json!({ "socket_address": { "address": &**host, "port_value": port } }),
        Address::Pipe(path) => json!({ "pipe": { "path": &**path } }),
        other => json!({ "pipe": { "path": other.to_string() } }),
    }
}

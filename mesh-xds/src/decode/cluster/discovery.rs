//! `Cluster.type`: where a cluster's endpoints come from.

use mesh_core::resource::Problem;
use mesh_core::resource::cluster::{Discovery, DnsLookupFamily, DnsRefresh};
use mesh_core::resource::endpoint::ClusterLoadAssignment;
use mesh_proto::envoy::config::cluster::v3 as pb;
use pb::cluster::{ClusterDiscoveryType, DiscoveryType, LbPolicy};

use super::super::config_source;
use super::super::context::Context;
use super::super::endpoint::{Hosts, load_assignment};
use super::super::refused::{At, Refused, conflict, refuse, unsupported};
use super::super::scalar::{duration, known};

/// `at` is the cluster.
pub(super) fn discovery(cx: &mut Context, at: &At<'_>, message: &pb::Cluster) -> Result<Discovery, Refused> {
    let kind = match &message.cluster_discovery_type {
        None => DiscoveryType::Static,
        Some(ClusterDiscoveryType::Type(kind)) => known(&at.field("type"), *kind)?,
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            return Err(unsupported(&at.field("cluster_type"), format!("cluster type {:?}", custom.name)));
        }
    };
    let inline_at = at.field("load_assignment");
    let inline = |hosts| match message.load_assignment.clone() {
        Some(assignment) => load_assignment(&inline_at, assignment, hosts),
        None => Ok(ClusterLoadAssignment::default()),
    };
    match kind {
        DiscoveryType::Static => Ok(Discovery::Static(inline(Hosts::Addresses)?)),
        DiscoveryType::Eds => eds(cx, at, message),
        DiscoveryType::StrictDns => {
            Ok(Discovery::StrictDns { endpoints: inline(Hosts::Names)?, refresh: refresh(at, message)? })
        }
        DiscoveryType::LogicalDns => {
            let endpoints = inline(Hosts::Names)?;
            if !matches!(endpoints.localities.as_slice(), [only] if only.endpoints.len() == 1) {
                return Err(refuse(&inline_at, "LOGICAL_DNS needs exactly one locality with exactly one endpoint"));
            }
            Ok(Discovery::LogicalDns { endpoints, refresh: refresh(at, message)? })
        }
        DiscoveryType::OriginalDst => {
            if message.load_assignment.is_some() {
                return Err(conflict(&inline_at, "ORIGINAL_DST has no endpoints of its own"));
            }
            if known::<LbPolicy>(&at.field("lb_policy"), message.lb_policy)? != LbPolicy::ClusterProvided
                && message.load_balancing_policy.is_none()
            {
                return Err(conflict(&at.field("lb_policy"), "ORIGINAL_DST needs CLUSTER_PROVIDED"));
            }
            Ok(Discovery::OriginalDst)
        }
    }
}

fn eds(cx: &mut Context, at: &At<'_>, message: &pb::Cluster) -> Result<Discovery, Refused> {
    let at = at.field("eds_cluster_config");
    let Some(config) = &message.eds_cluster_config else {
        return Err(refuse(&at, Problem::Missing));
    };
    config_source::check(cx, &at.field("eds_config"), config.eds_config.as_ref())?;
    let name = if config.service_name.is_empty() { &message.name } else { &config.service_name };
    Ok(Discovery::Eds { service_name: name.as_str().into() })
}

fn refresh(at: &At<'_>, message: &pb::Cluster) -> Result<DnsRefresh, Refused> {
    use pb::cluster::DnsLookupFamily as Pb;
    let default = DnsRefresh::default();
    Ok(DnsRefresh {
        rate: duration(&at.field("dns_refresh_rate"), message.dns_refresh_rate)?.unwrap_or(default.rate),
        family: match known(&at.field("dns_lookup_family"), message.dns_lookup_family)? {
            Pb::Auto => DnsLookupFamily::Auto,
            Pb::V4Only => DnsLookupFamily::V4Only,
            Pb::V6Only => DnsLookupFamily::V6Only,
            Pb::V4Preferred => DnsLookupFamily::V4Preferred,
            Pb::All => DnsLookupFamily::All,
        },
    })
}

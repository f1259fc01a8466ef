//! `WeightedCluster`: a split of requests over clusters.

use mesh_core::resource::Problem;
use mesh_core::resource::route::{ClusterSpecifier, WeightedCluster, WeightedClusters};
use mesh_proto::envoy::config::route::v3 as pb;
use pb::weighted_cluster::cluster_weight::HostRewriteSpecifier;
use pb::weighted_cluster::{ClusterWeight, RandomValueSpecifier};

use super::super::context::Context;
use super::super::headers::mutations;
use super::super::refused::{At, Refused, conflict, refuse};
use super::super::scalar::{metadata, non_empty, number};
use super::per_filter_config;

pub(super) fn clusters(
    cx: &mut Context,
    at: &At<'_>,
    message: pb::WeightedCluster,
) -> Result<WeightedClusters, Refused> {
    let random_value_header = match message.random_value_specifier {
        Some(RandomValueSpecifier::HeaderName(name)) => non_empty(&name),
        Some(RandomValueSpecifier::UseHashPolicy(flag)) => {
            if flag.value {
                cx.not_in_force(&at.field("use_hash_policy"), "clusters are drawn at random, not by hash");
            }
            None
        }
        None => None,
    };
    let list = at.field("clusters");
    let mut clusters = Vec::with_capacity(message.clusters.len());
    for (index, entry) in message.clusters.into_iter().enumerate() {
        clusters.push(cluster(cx, &list.index(index), entry)?);
    }
    let total: u64 = clusters.iter().map(|entry| u64::from(entry.weight)).sum();
    if total == 0 {
        return Err(refuse(&list, "the sum of the weights must be greater than 0"));
    }
    if total > u64::from(u32::MAX) {
        return Err(refuse(&list, format!("the sum of the weights, {total}, is above {}", u32::MAX)));
    }
    Ok(WeightedClusters { clusters, random_value_header })
}

fn cluster(cx: &mut Context, at: &At<'_>, message: ClusterWeight) -> Result<WeightedCluster, Refused> {
    let cluster = match (message.name.as_str(), message.cluster_header.as_str()) {
        ("", "") => return Err(refuse(&at.field("name"), Problem::Missing)),
        (name, "") => ClusterSpecifier::Cluster(name.into()),
        ("", header) => ClusterSpecifier::ClusterHeader(header.to_owned()),
        _ => return Err(conflict(at, "name and cluster_header are both set")),
    };
    let Some(weight) = number(message.weight) else {
        return Err(refuse(&at.field("weight"), Problem::Missing));
    };
    Ok(WeightedCluster {
        cluster,
        weight,
        metadata_match: metadata(message.metadata_match),
        request_headers: mutations(at, "request", &message.request_headers_to_add, &message.request_headers_to_remove)?,
        response_headers: mutations(
            at,
            "response",
            &message.response_headers_to_add,
            &message.response_headers_to_remove,
        )?,
        per_filter_config: per_filter_config(cx, at, message.typed_per_filter_config)?,
        host_rewrite_literal: message
            .host_rewrite_specifier
            .and_then(|HostRewriteSpecifier::HostRewriteLiteral(host)| non_empty(&host)),
    })
}

//! `loadBalancer` as policy and policy settings of a cluster. The default is least request.
//!
//! The key of a consistent hash belongs to routes (`hash`), the order of localities to endpoints (`select::locality`).

use mesh_proto::envoy::config::cluster::v3::Cluster;
use mesh_proto::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, LbConfig, LbPolicy, LeastRequestLbConfig, MaglevLbConfig, RingHashLbConfig,
    RoundRobinLbConfig, SlowStartConfig,
};
use mesh_proto::envoy::config::core::v3::RuntimeDouble;
use mesh_proto::envoy::r#type::v3::Percent;
use mesh_proto::well_known::uint64_value;

use super::values::duration;
use crate::object::{LoadBalancerSettings, SimpleLb};

const DEFAULT_RING_SIZE: u64 = 1024;

pub(super) fn apply(cluster: &mut Cluster, settings: Option<&LoadBalancerSettings>) {
    // What the caller's address decides has no choice to make.
    if cluster.cluster_discovery_type == Some(ClusterDiscoveryType::Type(DiscoveryType::OriginalDst.into())) {
        cluster.set_lb_policy(LbPolicy::ClusterProvided);
        return;
    }
    let Some(settings) = settings else {
        cluster.set_lb_policy(LbPolicy::LeastRequest);
        return;
    };
    if let Some(hash) = &settings.consistent_hash {
        if let Some(maglev) = &hash.maglev {
            cluster.set_lb_policy(LbPolicy::Maglev);
            let table_size = Some(maglev.table_size).filter(|size| *size > 0).map(uint64_value);
            cluster.lb_config = Some(LbConfig::MaglevLbConfig(MaglevLbConfig { table_size }));
            return;
        }
        let size = hash.ring_hash.as_ref().map_or(hash.minimum_ring_size, |ring| ring.minimum_ring_size);
        cluster.set_lb_policy(LbPolicy::RingHash);
        cluster.lb_config = Some(LbConfig::RingHashLbConfig(RingHashLbConfig {
            minimum_ring_size: Some(uint64_value(if size == 0 { DEFAULT_RING_SIZE } else { size })),
            ..RingHashLbConfig::default()
        }));
        return;
    }
    let slow_start_config = slow_start(settings);
    match settings.simple.unwrap_or_default() {
        SimpleLb::Unspecified | SimpleLb::LeastConn | SimpleLb::LeastRequest => {
            cluster.set_lb_policy(LbPolicy::LeastRequest);
            if slow_start_config.is_some() {
                cluster.lb_config = Some(LbConfig::LeastRequestLbConfig(LeastRequestLbConfig {
                    slow_start_config,
                    ..LeastRequestLbConfig::default()
                }));
            }
        }
        SimpleLb::RoundRobin => {
            cluster.set_lb_policy(LbPolicy::RoundRobin);
            if slow_start_config.is_some() {
                cluster.lb_config = Some(LbConfig::RoundRobinLbConfig(RoundRobinLbConfig { slow_start_config }));
            }
        }
        SimpleLb::Random => cluster.set_lb_policy(LbPolicy::Random),
        SimpleLb::Passthrough => {
            cluster.set_lb_policy(LbPolicy::ClusterProvided);
            cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::OriginalDst.into()));
            cluster.eds_cluster_config = None;
        }
    }
}

fn slow_start(settings: &LoadBalancerSettings) -> Option<SlowStartConfig> {
    let warmup = settings.warmup.as_ref();
    let window = warmup.and_then(|warmup| warmup.duration).or(settings.warmup_duration_secs)?;
    Some(SlowStartConfig {
        slow_start_window: Some(duration(window)),
        aggression: Some(RuntimeDouble {
            default_value: warmup.and_then(|warmup| warmup.aggression).unwrap_or(1.0),
            // Envoy requires a key; this one is what istiod writes, and nobody sets it.
            runtime_key: "(".to_owned(),
        }),
        min_weight_percent: Some(Percent { value: warmup.and_then(|warmup| warmup.minimum_percent).unwrap_or(10.0) }),
    })
}

//! What balancers go by besides their policy: localities, hashes, slow start. Each part exists twice, in `Cluster` and in
//! the policies of `load_balancing_policy`.

use mesh_core::resource::Problem;
use mesh_core::resource::cluster::{
    Cluster, ConsistentHashing, HashFunction, LbPolicy, LocalityLb, Maglev, RingHash, SlowStart, ZoneAware,
};
use mesh_proto::envoy::config::cluster::v3 as pb;
use mesh_proto::envoy::config::core::v3::RuntimeDouble;
use mesh_proto::envoy::extensions::load_balancing_policies::common::v3 as common;
use mesh_proto::envoy::r#type::v3::Percent;
use mesh_proto::google::protobuf::{Duration, UInt64Value};
use pb::cluster::common_lb_config::LocalityConfigSpecifier;
use pb::cluster::{LbConfig, ring_hash_lb_config};

use super::super::context::Context;
use super::super::refused::{At, Refused, refuse};
use super::super::scalar::{duration, known, number, percent};

/// A policy and what goes with it.
#[derive(Clone, Debug)]
pub(super) struct Balancing {
    pub(super) policy: LbPolicy,
    pub(super) consistent_hashing: ConsistentHashing,
    pub(super) locality_lb: LocalityLb,
    pub(super) fail_traffic_on_panic: bool,
    pub(super) slow_start: Option<SlowStart>,
}

impl Balancing {
    /// A policy alone.
    pub(super) fn of(policy: LbPolicy) -> Self {
        Self {
            policy,
            consistent_hashing: ConsistentHashing::default(),
            locality_lb: LocalityLb::default(),
            fail_traffic_on_panic: false,
            slow_start: None,
        }
    }

    /// As the fields of a cluster say that are beside `lb_policy`; `at` is the cluster.
    pub(super) fn of_cluster(
        cx: &mut Context,
        at: &At<'_>,
        policy: LbPolicy,
        message: &pb::Cluster,
    ) -> Result<Self, Refused> {
        let mut out = Self::of(policy);
        let common_at = at.field("common_lb_config");
        if let Some(common) = &message.common_lb_config {
            match &common.locality_config_specifier {
                None => {}
                Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_)) => out.locality_lb = LocalityLb::Weighted,
                Some(LocalityConfigSpecifier::ZoneAwareLbConfig(zones)) => {
                    let at = common_at.field("zone_aware_lb_config");
                    without_zone(cx, &at);
                    out.locality_lb =
                        LocalityLb::ZoneAware(zone_aware(&at, zones.routing_enabled, zones.min_cluster_size)?);
                    out.fail_traffic_on_panic = zones.fail_traffic_on_panic;
                }
            }
            if let Some(hashing) = &common.consistent_hashing_lb_config {
                out.consistent_hashing = consistent_hashing(
                    &common_at.field("consistent_hashing_lb_config"),
                    hashing.use_hostname_for_hashing,
                    number(hashing.hash_balance_factor),
                )?;
            }
        }
        let slow_start_of = |name: &str, config: Option<&pb::cluster::SlowStartConfig>| {
            let Some(config) = config else { return Ok(None) };
            let at = at.field(name);
            let at = at.field("slow_start_config");
            slow_start(&at, config.slow_start_window, config.aggression.as_ref(), config.min_weight_percent)
        };
        out.slow_start = match (&out.policy, &message.lb_config) {
            (LbPolicy::RoundRobin, Some(LbConfig::RoundRobinLbConfig(config))) => {
                slow_start_of("round_robin_lb_config", config.slow_start_config.as_ref())?
            }
            (LbPolicy::LeastRequest(_), Some(LbConfig::LeastRequestLbConfig(config))) => {
                slow_start_of("least_request_lb_config", config.slow_start_config.as_ref())?
            }
            _ => None,
        };
        Ok(out)
    }

    /// As a policy of `load_balancing_policy` says of its localities.
    pub(super) fn localities(
        mut self,
        cx: &mut Context,
        at: &At<'_>,
        config: Option<&common::LocalityLbConfig>,
    ) -> Result<Self, Refused> {
        use common::locality_lb_config::LocalityConfigSpecifier as Specifier;
        use common::locality_lb_config::zone_aware_lb_config::LocalityBasis;
        match config.and_then(|config| config.locality_config_specifier.as_ref()) {
            None => {}
            Some(Specifier::LocalityWeightedLbConfig(_)) => self.locality_lb = LocalityLb::Weighted,
            Some(Specifier::ZoneAwareLbConfig(zones)) => {
                let at = at.field("locality_lb_config");
                let at = at.field("zone_aware_lb_config");
                without_zone(cx, &at);
                let forced = zones.force_local_zone.as_ref();
                let basis: LocalityBasis = known(&at.field("locality_basis"), zones.locality_basis)?;
                self.locality_lb = LocalityLb::ZoneAware(ZoneAware {
                    force_local_zone: forced.map(|forced| number(forced.min_size).unwrap_or(1)),
                    by_weight: basis == LocalityBasis::HealthyHostsWeight,
                    ..zone_aware(&at, zones.routing_enabled, zones.min_cluster_size)?
                });
                self.fail_traffic_on_panic = zones.fail_traffic_on_panic;
            }
        }
        Ok(self)
    }

    /// As a policy that hashes says.
    pub(super) fn hashing(
        mut self,
        at: &At<'_>,
        config: Option<&common::ConsistentHashingLbConfig>,
        by_weight: bool,
    ) -> Result<Self, Refused> {
        if let Some(config) = config {
            let factor = number(config.hash_balance_factor);
            let at = at.field("consistent_hashing_lb_config");
            self.consistent_hashing = consistent_hashing(&at, config.use_hostname_for_hashing, factor)?;
        }
        if by_weight {
            self.locality_lb = LocalityLb::Weighted;
        }
        Ok(self)
    }

    /// As a policy of `load_balancing_policy` says of hosts that have just become ready.
    pub(super) fn slow_start(mut self, at: &At<'_>, config: Option<&common::SlowStartConfig>) -> Result<Self, Refused> {
        if let Some(config) = config {
            let (window, aggression) = (config.slow_start_window, config.aggression.as_ref());
            self.slow_start =
                slow_start(&at.field("slow_start_config"), window, aggression, config.min_weight_percent)?;
        }
        Ok(self)
    }

    pub(super) fn put_into(self, cluster: &mut Cluster) {
        cluster.lb_policy = self.policy;
        cluster.consistent_hashing = self.consistent_hashing;
        cluster.locality_lb = self.locality_lb;
        cluster.fail_traffic_on_panic = self.fail_traffic_on_panic;
        cluster.slow_start = self.slow_start;
    }
}

/// `ring_hash_lb_config`; `at` is it.
pub(super) fn ring_of_cluster(at: &At<'_>, config: Option<&LbConfig>) -> Result<RingHash, Refused> {
    use ring_hash_lb_config::HashFunction as Pb;
    let Some(LbConfig::RingHashLbConfig(config)) = config else { return Ok(RingHash::default()) };
    let function = match known(&at.field("hash_function"), config.hash_function)? {
        Pb::XxHash => HashFunction::XxHash,
        Pb::MurmurHash2 => HashFunction::MurmurHash2,
    };
    ring(at, config.minimum_ring_size, config.maximum_ring_size, function)
}

/// A ring; `at` is the message with its sizes.
pub(super) fn ring(
    at: &At<'_>,
    minimum: Option<UInt64Value>,
    maximum: Option<UInt64Value>,
    hash_function: HashFunction,
) -> Result<RingHash, Refused> {
    let default = RingHash::default();
    let size = |name: &str, value: Option<UInt64Value>, default: u32| match value.map(|value| value.value) {
        None => Ok(default),
        Some(value) => u32::try_from(value)
            .ok()
            .filter(|value| *value <= RingHash::LARGEST)
            .ok_or_else(|| refuse(&at.field(name), format!("{value} is above {}", RingHash::LARGEST))),
    };
    let minimum_ring_size = size("minimum_ring_size", minimum, default.minimum_ring_size)?;
    let maximum_ring_size = size("maximum_ring_size", maximum, default.maximum_ring_size)?;
    if minimum_ring_size > maximum_ring_size {
        let why = format!("{minimum_ring_size} is above maximum_ring_size, {maximum_ring_size}");
        return Err(refuse(&at.field("minimum_ring_size"), why));
    }
    Ok(RingHash { minimum_ring_size, maximum_ring_size, hash_function })
}

/// A table; `at` is its size.
pub(super) fn maglev(at: &At<'_>, size: Option<UInt64Value>) -> Result<Maglev, Refused> {
    let Some(UInt64Value { value: size }) = size else { return Ok(Maglev::default()) };
    match u32::try_from(size) {
        Ok(table_size) if table_size <= Maglev::LARGEST && is_prime(table_size) => Ok(Maglev { table_size }),
        Ok(table_size) if table_size <= Maglev::LARGEST => Err(refuse(at, format!("{size} is no prime number"))),
        _ => Err(refuse(at, format!("{size} is above {}", Maglev::LARGEST))),
    }
}

fn is_prime(number: u32) -> bool {
    number >= 2 && (2..).take_while(|by| by * by <= number).all(|by| !number.is_multiple_of(by))
}

pub(super) fn consistent_hashing(
    at: &At<'_>,
    use_hostname_for_hashing: bool,
    factor: Option<u32>,
) -> Result<ConsistentHashing, Refused> {
    if let Some(factor) = factor.filter(|factor| *factor < 100) {
        return Err(refuse(&at.field("hash_balance_factor"), format!("{factor} must be at least 100")));
    }
    Ok(ConsistentHashing { use_hostname_for_hashing, hash_balance_factor: factor })
}

/// Nothing says yet in which zone the callers' own service has how many hosts, without which Envoy sends to all zones, too.
fn without_zone(cx: &mut Context, at: &At<'_>) {
    cx.not_in_force(at, "zone aware routing is not in force: the hosts of the own service are not known by zone");
}

fn zone_aware(at: &At<'_>, enabled: Option<Percent>, least: Option<UInt64Value>) -> Result<ZoneAware, Refused> {
    let default = ZoneAware::default();
    Ok(ZoneAware {
        routing_enabled: percent(&at.field("routing_enabled"), enabled)?.unwrap_or(default.routing_enabled),
        min_cluster_size: least.map_or(default.min_cluster_size, |least| least.value),
        ..default
    })
}

/// `None` where the window is zero: it is off.
fn slow_start(
    at: &At<'_>,
    window: Option<Duration>,
    aggression: Option<&RuntimeDouble>,
    min_weight_percent: Option<Percent>,
) -> Result<Option<SlowStart>, Refused> {
    let window = duration(&at.field("slow_start_window"), window)?;
    let aggression_at = at.field("aggression");
    let aggression = match aggression {
        None => 1.0,
        Some(value) if value.default_value > 0.0 && value.default_value.is_finite() => value.default_value,
        Some(value) if value.default_value.is_nan() => return Err(refuse(&aggression_at, "is not a number")),
        Some(_) => return Err(refuse(&aggression_at, "must be above 0")),
    };
    let min_weight_percent = percent(&at.field("min_weight_percent"), min_weight_percent)?.unwrap_or(10.0);
    Ok(window.filter(|window| !window.is_zero()).map(|window| SlowStart { window, aggression, min_weight_percent }))
}

/// A policy that must be there.
pub(super) fn required<'a, T>(at: &At<'_>, value: Option<&'a T>) -> Result<&'a T, Refused> {
    value.ok_or_else(|| refuse(at, Problem::Missing))
}

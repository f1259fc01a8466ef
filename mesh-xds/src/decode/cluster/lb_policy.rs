//! `lb_policy` and its successor `load_balancing_policy`.
//!
//! A policy that chooses hosts well but is not there yet (by load reports, say) is replaced by round robin, with a
//! remark: the cluster goes on serving. One that says which hosts may be chosen at all is refused.

use mesh_core::resource::Problem;
use mesh_core::resource::cluster::{HashFunction, LbPolicy, LeastRequest, LocalityLb};
use mesh_proto::envoy::config::cluster::v3 as pb;
use mesh_proto::envoy::config::core::v3::RuntimeDouble;
use mesh_proto::envoy::extensions::load_balancing_policies::least_request::v3::{
    self as least_request, least_request::SelectionMethod,
};
use mesh_proto::envoy::extensions::load_balancing_policies::maglev::v3::Maglev as MaglevPolicy;
use mesh_proto::envoy::extensions::load_balancing_policies::random::v3::Random as RandomPolicy;
use mesh_proto::envoy::extensions::load_balancing_policies::ring_hash::v3 as ring_hash;
use mesh_proto::envoy::extensions::load_balancing_policies::round_robin::v3::RoundRobin;
use mesh_proto::envoy::extensions::load_balancing_policies::wrr_locality::v3::WrrLocality;
use mesh_proto::google::protobuf::UInt32Value;
use pb::cluster::{ClusterDiscoveryType, DiscoveryType, LbConfig, LbPolicy as Pb};

use super::super::context::Context;
use super::super::extension::Extension;
use super::super::refused::{At, Refused, conflict, refuse};
use super::super::scalar::{flag, known, number};
use super::balancing::{Balancing, maglev, required, ring, ring_of_cluster};

/// Policies of the list that round robin stands in for.
const REPLACED: &[&str] = &[
    "envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin",
    "envoy.extensions.load_balancing_policies.load_aware_locality.v3.LoadAwareLocality",
    "envoy.extensions.load_balancing_policies.pick_first.v3.PickFirst",
];

const CLUSTER_PROVIDED: &str = "envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided";

/// How deep policies may nest.
const DEEPEST: usize = 8;

/// `at` is the cluster.
pub(super) fn lb_policy(cx: &mut Context, at: &At<'_>, message: &pb::Cluster) -> Result<Balancing, Refused> {
    let original_dst =
        message.cluster_discovery_type == Some(ClusterDiscoveryType::Type(DiscoveryType::OriginalDst.into()));
    if let Some(policies) = &message.load_balancing_policy {
        return listed(cx, &at.field("load_balancing_policy"), policies, original_dst, 1);
    }
    let at_policy = at.field("lb_policy");
    let policy = match known(&at_policy, message.lb_policy)? {
        Pb::RoundRobin => LbPolicy::RoundRobin,
        Pb::Random => LbPolicy::Random,
        Pb::LeastRequest => {
            let at = at.field("least_request_lb_config");
            LbPolicy::LeastRequest(match &message.lb_config {
                Some(LbConfig::LeastRequestLbConfig(config)) => {
                    least(&at, config.choice_count, config.active_request_bias.as_ref(), false)?
                }
                _ => LeastRequest::default(),
            })
        }
        Pb::RingHash => {
            LbPolicy::RingHash(ring_of_cluster(&at.field("ring_hash_lb_config"), message.lb_config.as_ref())?)
        }
        Pb::Maglev => {
            let size = match &message.lb_config {
                Some(LbConfig::MaglevLbConfig(config)) => config.table_size,
                _ => None,
            };
            let at = at.field("maglev_lb_config");
            LbPolicy::Maglev(maglev(&at.field("table_size"), size)?)
        }
        Pb::ClusterProvided if original_dst => LbPolicy::RoundRobin,
        Pb::ClusterProvided => return Err(conflict(&at_policy, "CLUSTER_PROVIDED needs type ORIGINAL_DST")),
        Pb::LoadBalancingPolicyConfig => return Err(refuse(&at.field("load_balancing_policy"), Problem::Missing)),
    };
    Balancing::of_cluster(cx, at, policy, message)
}

fn replaced(cx: &mut Context, at: &At<'_>, name: &str) -> Balancing {
    cx.not_in_force(at, format!("{name} is not in force, ROUND_ROBIN is used"));
    Balancing::of(LbPolicy::RoundRobin)
}

/// The first policy of the list that is known, as in Envoy; of those, one that is in force is preferred.
fn listed(
    cx: &mut Context,
    at: &At<'_>,
    list: &pb::LoadBalancingPolicy,
    original_dst: bool,
    depth: usize,
) -> Result<Balancing, Refused> {
    let list_at = at.field("policies");
    let mut stand_in = None;
    for (index, policy) in list.policies.iter().enumerate() {
        let at = list_at.index(index);
        let at = at.field("typed_extension_config");
        let at = at.field("typed_config");
        let Some(any) = policy.typed_extension_config.as_ref().and_then(|config| config.typed_config.as_ref()) else {
            return Err(refuse(&at, Problem::Missing));
        };
        let extension = Extension::of(&at, any)?;
        match extension.type_name() {
            "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin" => {
                let config: RoundRobin = extension.message(&at)?;
                let out = Balancing::of(LbPolicy::RoundRobin).slow_start(&at, config.slow_start_config.as_ref())?;
                return out.localities(cx, &at, config.locality_lb_config.as_ref());
            }
            "envoy.extensions.load_balancing_policies.random.v3.Random" => {
                let config: RandomPolicy = extension.message(&at)?;
                return Balancing::of(LbPolicy::Random).localities(cx, &at, config.locality_lb_config.as_ref());
            }
            "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest" => {
                let config: least_request::LeastRequest = extension.message(&at)?;
                let method: SelectionMethod = known(&at.field("selection_method"), config.selection_method)?;
                let full_scan = flag(config.enable_full_scan) || method == SelectionMethod::FullScan;
                let least = least(&at, config.choice_count, config.active_request_bias.as_ref(), full_scan)?;
                let out = Balancing::of(LbPolicy::LeastRequest(least));
                let out = out.slow_start(&at, config.slow_start_config.as_ref())?;
                return out.localities(cx, &at, config.locality_lb_config.as_ref());
            }
            "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash" => {
                let config: ring_hash::RingHash = extension.message(&at)?;
                let function = match known(&at.field("hash_function"), config.hash_function)? {
                    ring_hash::ring_hash::HashFunction::MurmurHash2 => HashFunction::MurmurHash2,
                    _ => HashFunction::XxHash,
                };
                let ring = ring(&at, config.minimum_ring_size, config.maximum_ring_size, function)?;
                let by_weight = config.locality_weighted_lb_config.is_some();
                let out = Balancing::of(LbPolicy::RingHash(ring));
                return out.hashing(&at, config.consistent_hashing_lb_config.as_ref(), by_weight);
            }
            "envoy.extensions.load_balancing_policies.maglev.v3.Maglev" => {
                let config: MaglevPolicy = extension.message(&at)?;
                let table = maglev(&at.field("table_size"), config.table_size)?;
                let by_weight = config.locality_weighted_lb_config.is_some();
                let out = Balancing::of(LbPolicy::Maglev(table));
                return out.hashing(&at, config.consistent_hashing_lb_config.as_ref(), by_weight);
            }
            "envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality" if depth < DEEPEST => {
                let config: WrrLocality = extension.message(&at)?;
                let at = at.field("endpoint_picking_policy");
                let inner = required(&at, config.endpoint_picking_policy.as_ref())?;
                let inner = listed(cx, &at, inner, original_dst, depth + 1)?;
                return Ok(Balancing { locality_lb: LocalityLb::Weighted, ..inner });
            }
            CLUSTER_PROVIDED if original_dst => return Ok(Balancing::of(LbPolicy::RoundRobin)),
            name if REPLACED.contains(&name) && stand_in.is_none() => {
                stand_in = Some((index, name.rsplit_once('.').map_or(name, |(_, name)| name).to_owned()));
            }
            _ => {}
        }
    }
    match stand_in {
        Some((index, name)) => Ok(replaced(cx, &list_at.index(index), &name)),
        None => Err(refuse(&list_at, "none of these policies is supported")),
    }
}

fn least(
    at: &At<'_>,
    choice_count: Option<UInt32Value>,
    bias: Option<&RuntimeDouble>,
    full_scan: bool,
) -> Result<LeastRequest, Refused> {
    let default = LeastRequest::default();
    let bias_at = at.field("active_request_bias");
    let active_request_bias = match bias {
        None => default.active_request_bias,
        Some(bias) if bias.default_value.is_nan() => return Err(refuse(&bias_at, "is not a number")),
        // Below zero Envoy goes on with zero.
        Some(bias) => bias.default_value.max(0.0),
    };
    let choice_count = number(choice_count).unwrap_or(default.choice_count);
    if choice_count < 2 {
        return Err(refuse(&at.field("choice_count"), format!("{choice_count} must be at least 2")));
    }
    Ok(LeastRequest { choice_count, active_request_bias, full_scan })
}

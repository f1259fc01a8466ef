//! `lb_policy` and its successor `load_balancing_policy`.
//!
//! A policy that chooses hosts well but is not there yet (by hash, by load reports) is replaced by round robin, with a
//! remark: the cluster goes on serving. One that says which hosts may be chosen at all is refused.

use mesh_core::resource::Problem;
use mesh_core::resource::cluster::{LbPolicy, LeastRequest};
use mesh_proto::envoy::config::cluster::v3 as pb;
use mesh_proto::envoy::config::core::v3::RuntimeDouble;
use mesh_proto::envoy::extensions::load_balancing_policies::least_request::v3::{
    self as least_request, least_request::SelectionMethod,
};
use mesh_proto::envoy::extensions::load_balancing_policies::wrr_locality::v3::WrrLocality;
use mesh_proto::google::protobuf::UInt32Value;
use pb::cluster::{ClusterDiscoveryType, DiscoveryType, LbConfig, LbPolicy as Pb};

use super::super::context::Context;
use super::super::extension::Extension;
use super::super::refused::{At, Refused, conflict, refuse};
use super::super::scalar::{flag, known, number};

/// Policies of the list that round robin stands in for.
const REPLACED: &[&str] = &[
    "envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin",
    "envoy.extensions.load_balancing_policies.load_aware_locality.v3.LoadAwareLocality",
    "envoy.extensions.load_balancing_policies.maglev.v3.Maglev",
    "envoy.extensions.load_balancing_policies.pick_first.v3.PickFirst",
    "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash",
];

const CLUSTER_PROVIDED: &str = "envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided";

/// How deep policies may nest.
const DEEPEST: usize = 8;

/// `at` is the cluster.
pub(super) fn lb_policy(cx: &mut Context, at: &At<'_>, message: &pb::Cluster) -> Result<LbPolicy, Refused> {
    let original_dst =
        message.cluster_discovery_type == Some(ClusterDiscoveryType::Type(DiscoveryType::OriginalDst.into()));
    if let Some(policies) = &message.load_balancing_policy {
        return listed(cx, &at.field("load_balancing_policy"), policies, original_dst, 1);
    }
    let at_policy = at.field("lb_policy");
    match known(&at_policy, message.lb_policy)? {
        Pb::RoundRobin => Ok(LbPolicy::RoundRobin),
        Pb::Random => Ok(LbPolicy::Random),
        Pb::LeastRequest => {
            let at = at.field("least_request_lb_config");
            Ok(LbPolicy::LeastRequest(match &message.lb_config {
                Some(LbConfig::LeastRequestLbConfig(config)) => {
                    least(&at, config.choice_count, config.active_request_bias.as_ref(), false)?
                }
                _ => LeastRequest::default(),
            }))
        }
        Pb::RingHash => replaced(cx, &at_policy, "RING_HASH"),
        Pb::Maglev => replaced(cx, &at_policy, "MAGLEV"),
        Pb::ClusterProvided if original_dst => Ok(LbPolicy::RoundRobin),
        Pb::ClusterProvided => Err(conflict(&at_policy, "CLUSTER_PROVIDED needs type ORIGINAL_DST")),
        Pb::LoadBalancingPolicyConfig => Err(refuse(&at.field("load_balancing_policy"), Problem::Missing)),
    }
}

fn replaced(cx: &mut Context, at: &At<'_>, name: &str) -> Result<LbPolicy, Refused> {
    cx.not_in_force(at, format!("{name} is not in force, ROUND_ROBIN is used"));
    Ok(LbPolicy::RoundRobin)
}

/// The first policy of the list that is known, as in Envoy; of those, one that is in force is preferred.
fn listed(
    cx: &mut Context,
    at: &At<'_>,
    list: &pb::LoadBalancingPolicy,
    original_dst: bool,
    depth: usize,
) -> Result<LbPolicy, Refused> {
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
            "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin" => return Ok(LbPolicy::RoundRobin),
            "envoy.extensions.load_balancing_policies.random.v3.Random" => return Ok(LbPolicy::Random),
            "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest" => {
                let config: least_request::LeastRequest = extension.message(&at)?;
                let method: SelectionMethod = known(&at.field("selection_method"), config.selection_method)?;
                let full_scan = flag(config.enable_full_scan) || method == SelectionMethod::FullScan;
                let config = least(&at, config.choice_count, config.active_request_bias.as_ref(), full_scan)?;
                return Ok(LbPolicy::LeastRequest(config));
            }
            "envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality" if depth < DEEPEST => {
                let config: WrrLocality = extension.message(&at)?;
                let at = at.field("endpoint_picking_policy");
                let Some(inner) = &config.endpoint_picking_policy else {
                    return Err(refuse(&at, Problem::Missing));
                };
                cx.not_in_force(&at, "the weights of localities are not in force");
                return listed(cx, &at, inner, original_dst, depth + 1);
            }
            CLUSTER_PROVIDED if original_dst => return Ok(LbPolicy::RoundRobin),
            name if REPLACED.contains(&name) && stand_in.is_none() => {
                stand_in = Some((index, name.rsplit_once('.').map_or(name, |(_, name)| name).to_owned()));
            }
            _ => {}
        }
    }
    match stand_in {
        Some((index, name)) => replaced(cx, &list_at.index(index), &name),
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

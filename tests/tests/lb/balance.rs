//! Policies, priorities, localities, zones, slow start, hashes.

use mesh_core::resource::cluster::LbPolicy;
use mesh_core::resource::endpoint::{ClusterLoadAssignment, Endpoint, HealthStatus, LocalityEndpoints};
use mesh_tests::lb::Check::{Engine, Waits};
use mesh_tests::lb::{Case, Family, Simulation, endpoint, same_order};

use super::shares;

pub(super) const CASES: Family = &[
    ("rr_weighted_1_2_3", Engine(round_robin)),
    ("rr_equal_3", Engine(round_robin)),
    ("lr_2hosts_one_busy", Waits("a simulation of requests beside one another")),
    ("lr_b0_equal_latency", Waits("a simulation of requests beside one another")),
    ("lr_b0_heavy_slow", Waits("a simulation of requests beside one another")),
    ("lr_b1_equal_latency", Waits("a simulation of requests beside one another")),
    ("lr_b1_heavy_slow", Waits("a simulation of requests beside one another")),
    ("random_weights_ignored", Engine(shares::random)),
    ("locality_weighted_1_2_X_4of4", Engine(shares::localities)),
    ("locality_weighted_1_2_X_3of4", Engine(shares::localities)),
    ("locality_weighted_1_2_X_1of4", Engine(shares::localities)),
    ("locality_weighted_1_2_X_0of4", Engine(shares::localities)),
    ("locality_weight_unset", Waits("the settings of its cluster, which the recording leaves out")),
    ("prio_p_75", Engine(shares::levels)),
    ("prio_p_25", Engine(shares::levels)),
    ("prio_p_0", Engine(shares::levels)),
    ("prio_p_25_25", Engine(shares::levels)),
    ("prio_p_70", Engine(shares::levels)),
    ("prio_p_57", Engine(shares::levels)),
    ("prio_p_50_opf100", Engine(shares::levels)),
    ("prio_p_0of4_1of8", Engine(shares::levels)),
    ("prio_p_0_0_pt0", Engine(shares::levels)),
    ("prio_p_25_25_pt0", Engine(shares::levels)),
    ("prio_p_50_25", Engine(shares::levels)),
    ("prio_p_deg25", Engine(shares::levels)),
    ("prio_p_degall", Engine(shares::levels)),
    ("panic_s_2of4", Engine(shares::levels)),
    ("panic_s_1of4_pt0", Engine(shares::levels)),
    ("panic_s_0of4_pt0", Engine(shares::levels)),
    ("panic_s_1of4_fail", Engine(shares::levels)),
    ("panic_s_2of4_pt80", Engine(shares::levels)),
    ("panic_s_deg3", Engine(shares::levels)),
    ("p_mix", Engine(shares::levels)),
    ("hs", Engine(shares::levels)),
    ("lw_panic", Waits("the settings of its cluster, which the recording leaves out")),
    ("p_wph", Waits("the settings of its cluster, which the recording leaves out")),
    ("zone_za_direct", Waits("a cluster of its own kind, named to zone-aware routing")),
    ("zone_za_default", Waits("a cluster of its own kind, named to zone-aware routing")),
    ("ring_bounded_load_150_one_key", Waits("a check of several tries by hash")),
    ("drop_overload_50", Engine(shares::dropped)),
    ("slow_start_ss", Waits("an edge with a clock for balancing")),
    ("slow_start_ss_lr", Waits("an edge with a clock for balancing")),
    ("cookie_ck_ttl0", Waits("a check of made cookies on the wire")),
    ("cookie_ck_ttl60", Waits("a check of made cookies on the wire")),
    ("cookie_ck_attr", Waits("a check of made cookies on the wire")),
    ("cookie_ck_nottl", Waits("a check of made cookies on the wire")),
    ("zone_aware_za_force", Waits("a cluster of its own kind, named to zone-aware routing")),
    ("ring_retry_same_key", Waits("a check of several tries by hash")),
    ("hash_retry_previous_hosts_mg", Waits("a check of several tries by hash")),
    ("drop_overloads_two_categories_rejected", Engine(shares::two_categories)),
    ("maglev_header_keys", Engine(super::hash_picks::keys)),
];

fn round_robin(case: &Case) -> Vec<String> {
    let recorded = case.observed["order"].as_str().unwrap();
    let mut simulation = Simulation::new(weighted(case), |cluster| cluster.lb_policy = LbPolicy::RoundRobin);
    same_order(recorded, &simulation.order(recorded.len()))
}

/// `hosts` of the same weight, or one for each of `weights`.
fn weighted(case: &Case) -> ClusterLoadAssignment {
    let config = &case.cluster_config;
    let weights: Vec<u32> = match config["weights"].as_array() {
        Some(weights) => weights.iter().map(|weight| u32::try_from(weight.as_u64().unwrap()).unwrap()).collect(),
        None => (0..config["hosts"].as_u64().unwrap()).map(|_| 1).collect(),
    };
    let one = |(number, weight)| Endpoint { weight, ..endpoint(number, HealthStatus::Healthy) };
    let group = LocalityEndpoints { endpoints: (1..).zip(weights).map(one).collect(), ..LocalityEndpoints::default() };
    ClusterLoadAssignment { localities: vec![group], ..ClusterLoadAssignment::default() }
}

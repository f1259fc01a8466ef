//! Policies, priorities, localities, zones, slow start, hashes.

use mesh_core::resource::cluster::LbPolicy;
use mesh_core::resource::endpoint::{ClusterLoadAssignment, Endpoint, HealthStatus, LocalityEndpoints};
use mesh_tests::lb::Check::{Engine, Waits};
use mesh_tests::lb::{Case, Family, Simulation, endpoint, same_order};

pub(super) const CASES: Family = &[
    ("rr_weighted_1_2_3", Engine(round_robin)),
    ("rr_equal_3", Engine(round_robin)),
    ("lr_2hosts_one_busy", Waits("load balancing")),
    ("lr_b0_equal_latency", Waits("load balancing")),
    ("lr_b0_heavy_slow", Waits("load balancing")),
    ("lr_b1_equal_latency", Waits("load balancing")),
    ("lr_b1_heavy_slow", Waits("load balancing")),
    ("random_weights_ignored", Waits("load balancing")),
    ("locality_weighted_1_2_X_4of4", Waits("load balancing")),
    ("locality_weighted_1_2_X_3of4", Waits("load balancing")),
    ("locality_weighted_1_2_X_1of4", Waits("load balancing")),
    ("locality_weighted_1_2_X_0of4", Waits("load balancing")),
    ("locality_weight_unset", Waits("load balancing")),
    ("prio_p_75", Waits("load balancing")),
    ("prio_p_25", Waits("load balancing")),
    ("prio_p_0", Waits("load balancing")),
    ("prio_p_25_25", Waits("load balancing")),
    ("prio_p_70", Waits("load balancing")),
    ("prio_p_57", Waits("load balancing")),
    ("prio_p_50_opf100", Waits("load balancing")),
    ("prio_p_0of4_1of8", Waits("load balancing")),
    ("prio_p_0_0_pt0", Waits("load balancing")),
    ("prio_p_25_25_pt0", Waits("load balancing")),
    ("prio_p_50_25", Waits("load balancing")),
    ("prio_p_deg25", Waits("load balancing")),
    ("prio_p_degall", Waits("load balancing")),
    ("panic_s_2of4", Waits("load balancing")),
    ("panic_s_1of4_pt0", Waits("load balancing")),
    ("panic_s_0of4_pt0", Waits("load balancing")),
    ("panic_s_1of4_fail", Waits("load balancing")),
    ("panic_s_2of4_pt80", Waits("load balancing")),
    ("panic_s_deg3", Waits("load balancing")),
    ("p_mix", Waits("load balancing")),
    ("hs", Waits("load balancing")),
    ("lw_panic", Waits("load balancing")),
    ("p_wph", Waits("load balancing")),
    ("zone_za_direct", Waits("load balancing")),
    ("zone_za_default", Waits("load balancing")),
    ("ring_bounded_load_150_one_key", Waits("load balancing")),
    ("drop_overload_50", Waits("load balancing")),
    ("slow_start_ss", Waits("load balancing")),
    ("slow_start_ss_lr", Waits("load balancing")),
    ("cookie_ck_ttl0", Waits("load balancing")),
    ("cookie_ck_ttl60", Waits("load balancing")),
    ("cookie_ck_attr", Waits("load balancing")),
    ("cookie_ck_nottl", Waits("load balancing")),
    ("zone_aware_za_force", Waits("load balancing")),
    ("ring_retry_same_key", Waits("load balancing")),
    ("hash_retry_previous_hosts_mg", Waits("load balancing")),
    ("drop_overloads_two_categories_rejected", Waits("load balancing")),
    ("maglev_header_keys", Waits("load balancing")),
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

use super::*;
use crate::resource::cluster::{Discovery, LbPolicy, LeastRequest, LocalityLb, RingHash, SlowStart};
use crate::resource::endpoint::{Address, HealthStatus};
use crate::resource::metadata::Metadata;

struct Placed {
    priority: u32,
    host: Host,
}

fn host(port: u16, weight: u32, health: HealthStatus, priority: u32) -> Placed {
    let endpoint = Endpoint {
        address: Address::Socket(([127, 0, 0, 1], port).into()),
        hostname: String::new(),
        weight,
        health,
        metadata: Metadata::new(),
    };
    Placed { priority, host: Host { endpoint: Arc::new(endpoint), state: Arc::default(), transport: Arc::default() } }
}

fn hosts(weights: &[u32]) -> Vec<Placed> {
    (1u16..).zip(weights).map(|(port, weight)| host(port, *weight, HealthStatus::Healthy, 0)).collect()
}

fn compile(policy: &LbPolicy, panic_threshold: f64, hosts: Vec<Placed>, seed: u64) -> LoadBalancer {
    let mut config = Cluster::new("c", Discovery::OriginalDst);
    config.lb_policy = *policy;
    config.healthy_panic_threshold = panic_threshold;
    let anywhere = Locality::default();
    let group =
        |one: Placed| HostGroup { priority: one.priority, locality: &anywhere, weight: None, hosts: vec![one.host] };
    let state = Arc::default();
    LoadBalancer::compile(&config, hosts.into_iter().map(group).collect(), &Known::new(&state), seed)
}

fn pick(balancer: &LoadBalancer, random: &mut Random) -> Option<HostIndex> {
    balancer.pick(PickFor::default(), random, Lane::default())
}

fn pick_avoiding(balancer: &LoadBalancer, tried: HostIndex, random: &mut Random) -> Option<HostIndex> {
    balancer.pick_wanted(PickFor::default(), 5, |index, _| index != tried, random, Lane::default())
}

fn shares(balancer: &LoadBalancer, picks: u32) -> Vec<f64> {
    let mut random = Random::from_seed(7);
    let mut seen = vec![0u32; balancer.hosts().len()];
    for _ in 0..picks {
        seen[pick(balancer, &mut random).unwrap().0 as usize] += 1;
    }
    seen.into_iter().map(|n| f64::from(n) / f64::from(picks)).collect()
}

#[test]
fn round_robin_takes_turns_exactly() {
    let balancer = compile(&LbPolicy::RoundRobin, 50.0, hosts(&[1, 1, 1]), 3);
    assert_eq!(shares(&balancer, 300), [1.0 / 3.0; 3]);
}

#[test]
fn weighted_round_robin_shares_are_exact() {
    let balancer = compile(&LbPolicy::RoundRobin, 50.0, hosts(&[1, 2, 5]), 3);
    assert_eq!(shares(&balancer, 800), [0.125, 0.25, 0.625]);
}

#[test]
fn random_ignores_weights() {
    let balancer = compile(&LbPolicy::Random, 50.0, hosts(&[1, 99]), 3);
    assert!((shares(&balancer, 40_000)[0] - 0.5).abs() < 0.02);
}

#[test]
fn of_two_hosts_the_permanently_busier_one_still_gets_a_quarter() {
    let balancer = compile(&LbPolicy::LeastRequest(LeastRequest::default()), 50.0, hosts(&[1, 1]), 3);
    let _busy = balancer.hosts()[0].state.begin();
    assert!((shares(&balancer, 40_000)[0] - 0.25).abs() < 0.02);
}

#[test]
fn full_scan_never_picks_the_busier_host_and_draws_ties() {
    let config = LeastRequest { full_scan: true, ..LeastRequest::default() };
    let balancer = compile(&LbPolicy::LeastRequest(config), 50.0, hosts(&[1, 1, 1]), 3);
    let _busy = balancer.hosts()[0].state.begin();
    let shares = shares(&balancer, 10_000);
    assert_eq!(shares[0], 0.0);
    assert!((shares[1] - 0.5).abs() < 0.03);
}

#[test]
fn unequal_weights_shrink_with_load() {
    let balancer = compile(&LbPolicy::LeastRequest(LeastRequest::default()), 50.0, hosts(&[1, 3]), 3);
    let idle = shares(&balancer, 40_000);
    assert!((idle[1] - 0.75).abs() < 0.01, "{idle:?}");
    // With two under way the heavier host weighs 3/3 = 1, as much as the other one.
    let _busy = [balancer.hosts()[1].state.begin(), balancer.hosts()[1].state.begin()];
    let busy = shares(&balancer, 40_000);
    assert!((busy[1] - 0.5).abs() < 0.01, "{busy:?}");
}

#[test]
fn a_bias_of_zero_is_plain_weights_under_any_load() {
    let config = LeastRequest { active_request_bias: 0.0, ..LeastRequest::default() };
    let balancer = compile(&LbPolicy::LeastRequest(config), 50.0, hosts(&[1, 3]), 3);
    let _busy = [balancer.hosts()[1].state.begin(), balancer.hosts()[1].state.begin()];
    assert!((shares(&balancer, 40_000)[1] - 0.75).abs() < 0.01);
}

#[test]
fn the_first_priority_with_enough_usable_hosts_takes_everything() {
    let group = vec![
        host(1, 1, HealthStatus::Unhealthy, 0),
        host(2, 1, HealthStatus::Unknown, 1),
        host(3, 1, HealthStatus::Healthy, 1),
        host(4, 1, HealthStatus::Healthy, 2),
    ];
    let balancer = compile(&LbPolicy::RoundRobin, 50.0, group, 3);
    assert_eq!(shares(&balancer, 10), [0.0, 0.5, 0.5, 0.0]);
}

#[test]
fn nobody_usable_is_panic_or_nobody_by_the_threshold() {
    let sick = || vec![host(1, 1, HealthStatus::Unhealthy, 0), host(2, 1, HealthStatus::Timeout, 0)];
    let mut random = Random::from_seed(1);
    let panicking = compile(&LbPolicy::RoundRobin, 50.0, sick(), 3);
    assert!(pick(&panicking, &mut random).is_some());
    let strict = compile(&LbPolicy::RoundRobin, 0.0, sick(), 3);
    assert_eq!(pick(&strict, &mut random), None);
    assert_eq!(pick(&LoadBalancer::empty(), &mut random), None);
}

#[test]
fn a_retry_avoids_hosts_already_tried_while_there_is_another() {
    let balancer = compile(&LbPolicy::RoundRobin, 50.0, hosts(&[1, 1]), 3);
    let mut random = Random::from_seed(1);
    let first = pick(&balancer, &mut random).unwrap();
    for _ in 0..10 {
        assert_ne!(pick_avoiding(&balancer, first, &mut random), Some(first));
    }
    let alone = compile(&LbPolicy::RoundRobin, 50.0, hosts(&[1]), 3);
    let only = pick(&alone, &mut random).unwrap();
    assert_eq!(pick_avoiding(&alone, only, &mut random), Some(only));
}

#[test]
fn a_host_is_as_healthy_as_the_worst_that_is_known_of_it_and_counts_for_nothing_before_its_first_check() {
    use crate::state::Finding::{CheckFailed, Degraded, Ejected, Unchecked};
    for (said, found, health) in [
        (HealthStatus::Unknown, &[][..], Health::Healthy),
        (HealthStatus::Healthy, &[Degraded], Health::Degraded),
        (HealthStatus::Degraded, &[], Health::Degraded),
        (HealthStatus::Healthy, &[Degraded, CheckFailed], Health::Unhealthy),
        (HealthStatus::Healthy, &[CheckFailed, Unchecked], Health::Excluded),
        (HealthStatus::Healthy, &[Ejected, Unchecked], Health::Unhealthy),
        (HealthStatus::Draining, &[Unchecked], Health::Unhealthy),
    ] {
        let host = host(1, 1, said, 0).host;
        for finding in found {
            assert!(host.state.note(*finding, true));
        }
        assert_eq!(host.health(), health, "{said:?} {found:?}");
    }
}

/// Hosts of localities, each with its weight and the health of its hosts.
fn localities(
    configure: impl FnOnce(&mut Cluster),
    groups: &[(Option<u32>, &[HealthStatus])],
    state: &Arc<ClusterState>,
) -> LoadBalancer {
    let mut config = Cluster::new("c", Discovery::OriginalDst);
    configure(&mut config);
    let places: Vec<Locality> =
        (0..groups.len()).map(|at| Locality { zone: at.to_string(), ..Locality::default() }).collect();
    let mut port = 0;
    let groups = groups.iter().zip(&places).map(|((weight, healths), locality)| HostGroup {
        priority: 0,
        locality,
        weight: *weight,
        hosts: healths
            .iter()
            .map(|health| {
                port += 1;
                host(port, 1, *health, 0).host
            })
            .collect(),
    });
    LoadBalancer::compile(&config, groups.collect(), &Known::new(state), 3)
}

#[test]
fn localities_take_their_weight_as_far_as_they_are_available() {
    use HealthStatus::{Healthy as H, Unhealthy as U};
    let share = |x: &[HealthStatus]| {
        let weighted = |config: &mut Cluster| config.locality_lb = LocalityLb::Weighted;
        let balancer = localities(weighted, &[(Some(1), x), (Some(2), &[H; 4]), (None, &[H; 2])], &Arc::default());
        let shares = shares(&balancer, 60_000);
        assert_eq!(shares[x.len() + 4..], [0.0, 0.0], "a locality without a weight has no part");
        shares[..x.len()].iter().sum::<f64>()
    };
    for (x, expected) in
        [(&[H, H, H, H], 0.333), (&[H, H, H, U], 0.333), (&[H, H, U, U], 0.259), (&[H, U, U, U], 0.149), (&[U; 4], 0.0)]
    {
        let found = share(x);
        assert!((found - expected).abs() < 0.002, "{x:?}: {found}");
    }
    let unweighted = localities(|_| {}, &[(Some(1), &[H]), (Some(9), &[H])], &Arc::default());
    assert_eq!(shares(&unweighted, 1_000), [0.5, 0.5], "weights count only where the cluster says so");
}

#[test]
fn a_full_host_is_passed_over_for_one_with_room() {
    use crate::state::{Load, Slot};
    let state: Arc<ClusterState> = Arc::default();
    let bounded = |config: &mut Cluster| {
        config.lb_policy = LbPolicy::RingHash(RingHash::default());
        config.consistent_hashing.hash_balance_factor = Some(150);
    };
    let balancer = localities(bounded, &[(None, &[HealthStatus::Healthy; 4])], &state);
    let request = PickFor { hash: RequestHash::new(0x1234_5678_9abc), now: None };
    let mut random = Random::from_seed(1);
    let mut under_way = Vec::new();
    for _ in 0..20 {
        let at = balancer.pick(request, &mut random, Lane::default()).unwrap();
        let admitted = state.admit(Slot { load: Load::Requests, priority: 0 }, u32::MAX, Lane::default());
        under_way.push((balancer.host(at).unwrap().state.begin(), admitted));
    }
    let mut active: Vec<u32> = balancer.hosts().iter().map(|host| host.state.active()).collect();
    active.sort_unstable();
    assert_eq!(active, [0, 2, 9, 9], "as recorded of Envoy");
}

#[test]
fn a_failed_priority_takes_nothing_when_panic_has_to_fail() {
    use HealthStatus::{Healthy as H, Unhealthy as U};
    let failing = |config: &mut Cluster| config.fail_traffic_on_panic = true;
    let balancer = localities(failing, &[(None, &[H, U, U, U])], &Arc::default());
    assert_eq!(pick(&balancer, &mut Random::from_seed(1)), None);
    let balancer = localities(failing, &[(None, &[H, H, H, U])], &Arc::default());
    assert!(pick(&balancer, &mut Random::from_seed(1)).is_some());
}

#[test]
fn a_new_host_warms_up_and_so_does_one_whose_checks_pass_again() {
    use crate::state::Finding::CheckFailed;
    let start = now();
    let mut config = Cluster::new("c", Discovery::OriginalDst);
    let window = std::time::Duration::from_secs(10);
    config.slow_start = Some(SlowStart { window, aggression: 1.0, min_weight_percent: 10.0 });
    let (state, place) = (Arc::default(), Locality::default());
    let compile = |hosts: Vec<Host>, now: Option<Instant>, previous: Option<&LoadBalancer>| {
        let known = Known { now, previous, ..Known::new(&state) };
        let group = HostGroup { priority: 0, locality: &place, weight: None, hosts };
        LoadBalancer::compile(&config, vec![group], &known, 5)
    };
    let second = |balancer: &LoadBalancer, now: Instant| {
        let mut random = Random::from_seed(3);
        let of = PickFor { now: Some(now), ..PickFor::default() };
        let picks = (0..2_000).map(|_| balancer.pick(of, &mut random, Lane::default()).unwrap());
        picks.filter(|picked| picked.0 == 1).count() as f64 / 2_000.0
    };
    let after = |millis| start + std::time::Duration::from_millis(millis);
    let [one, two] = [host(1, 1, HealthStatus::Healthy, 0).host, host(2, 1, HealthStatus::Healthy, 0).host];
    let old = compile(vec![one.clone()], None, None);
    let both = compile(vec![one.clone(), two.clone()], Some(start), Some(&old));
    for (millis, expected) in [(200, 0.09), (3_200, 0.24), (6_200, 0.38), (10_000, 0.5)] {
        let share = second(&both, after(millis));
        assert!((share - expected).abs() < 0.01, "{millis}: {share}");
    }
    two.state.note(CheckFailed, true);
    let failing = compile(vec![one.clone(), two.clone()], Some(after(20_000)), Some(&both));
    two.state.note(CheckFailed, false);
    let again = compile(vec![one, two], Some(after(30_000)), Some(&failing));
    assert!(second(&again, after(30_200)) < 0.1);
    assert!((second(&again, after(41_000)) - 0.5).abs() < 0.01);
}

/// Some time; tests go on from it.
#[allow(clippy::disallowed_methods, reason = "a beginning for times that tests say")]
fn now() -> Instant {
    Instant::now()
}

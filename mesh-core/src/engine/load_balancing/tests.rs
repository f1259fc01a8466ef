use super::*;
use crate::resource::cluster::LeastRequest;
use crate::resource::endpoint::{Address, HealthStatus};
use crate::resource::metadata::Metadata;

fn host(port: u16, weight: u32, health: HealthStatus, priority: u32) -> PriorityHost {
    let endpoint = Endpoint {
        address: Address::Socket(([127, 0, 0, 1], port).into()),
        hostname: String::new(),
        weight,
        health,
        metadata: Metadata::new(),
    };
    PriorityHost {
        priority,
        host: Host { endpoint: Arc::new(endpoint), state: Arc::default(), transport: Arc::default() },
    }
}

fn hosts(weights: &[u32]) -> Vec<PriorityHost> {
    (1u16..).zip(weights).map(|(port, weight)| host(port, *weight, HealthStatus::Healthy, 0)).collect()
}

fn shares(balancer: &LoadBalancer, picks: u32) -> Vec<f64> {
    let mut random = Random::from_seed(7);
    let mut seen = vec![0u32; balancer.hosts().len()];
    for _ in 0..picks {
        seen[balancer.pick(&mut random, Lane::default()).unwrap().0 as usize] += 1;
    }
    seen.into_iter().map(|n| f64::from(n) / f64::from(picks)).collect()
}

#[test]
fn round_robin_takes_turns_exactly() {
    let balancer = LoadBalancer::compile(&LbPolicy::RoundRobin, 50.0, hosts(&[1, 1, 1]), 3);
    assert_eq!(shares(&balancer, 300), [1.0 / 3.0; 3]);
}

#[test]
fn weighted_round_robin_shares_are_exact() {
    let balancer = LoadBalancer::compile(&LbPolicy::RoundRobin, 50.0, hosts(&[1, 2, 5]), 3);
    assert_eq!(shares(&balancer, 800), [0.125, 0.25, 0.625]);
}

#[test]
fn random_ignores_weights() {
    let balancer = LoadBalancer::compile(&LbPolicy::Random, 50.0, hosts(&[1, 99]), 3);
    assert!((shares(&balancer, 40_000)[0] - 0.5).abs() < 0.02);
}

#[test]
fn of_two_hosts_the_permanently_busier_one_still_gets_a_quarter() {
    let balancer = LoadBalancer::compile(&LbPolicy::LeastRequest(LeastRequest::default()), 50.0, hosts(&[1, 1]), 3);
    let _busy = balancer.hosts()[0].state.begin();
    assert!((shares(&balancer, 40_000)[0] - 0.25).abs() < 0.02);
}

#[test]
fn full_scan_never_picks_the_busier_host_and_draws_ties() {
    let config = LeastRequest { full_scan: true, ..LeastRequest::default() };
    let balancer = LoadBalancer::compile(&LbPolicy::LeastRequest(config), 50.0, hosts(&[1, 1, 1]), 3);
    let _busy = balancer.hosts()[0].state.begin();
    let shares = shares(&balancer, 10_000);
    assert_eq!(shares[0], 0.0);
    assert!((shares[1] - 0.5).abs() < 0.03);
}

#[test]
fn unequal_weights_shrink_with_load() {
    let balancer = LoadBalancer::compile(&LbPolicy::LeastRequest(LeastRequest::default()), 50.0, hosts(&[1, 3]), 3);
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
    let balancer = LoadBalancer::compile(&LbPolicy::LeastRequest(config), 50.0, hosts(&[1, 3]), 3);
    let _busy = [balancer.hosts()[1].state.begin(), balancer.hosts()[1].state.begin()];
    assert!((shares(&balancer, 40_000)[1] - 0.75).abs() < 0.01);
}

#[test]
fn the_first_priority_with_a_usable_host_takes_everything() {
    let group = vec![
        host(1, 1, HealthStatus::Unhealthy, 0),
        host(2, 1, HealthStatus::Unknown, 1),
        host(3, 1, HealthStatus::Draining, 1),
        host(4, 1, HealthStatus::Healthy, 2),
    ];
    let balancer = LoadBalancer::compile(&LbPolicy::RoundRobin, 50.0, group, 3);
    assert_eq!(shares(&balancer, 10), [0.0, 1.0, 0.0, 0.0]);
}

#[test]
fn nobody_usable_is_panic_or_nobody_by_the_threshold() {
    let sick = || vec![host(1, 1, HealthStatus::Unhealthy, 0), host(2, 1, HealthStatus::Timeout, 0)];
    let mut random = Random::from_seed(1);
    let panicking = LoadBalancer::compile(&LbPolicy::RoundRobin, 50.0, sick(), 3);
    assert!(panicking.pick(&mut random, Lane::default()).is_some());
    let strict = LoadBalancer::compile(&LbPolicy::RoundRobin, 0.0, sick(), 3);
    assert_eq!(strict.pick(&mut random, Lane::default()), None);
    assert_eq!(LoadBalancer::empty().pick(&mut random, Lane::default()), None);
}

#[test]
fn a_retry_avoids_hosts_already_tried_while_there_is_another() {
    let balancer = LoadBalancer::compile(&LbPolicy::RoundRobin, 50.0, hosts(&[1, 1]), 3);
    let mut random = Random::from_seed(1);
    let first = balancer.pick(&mut random, Lane::default()).unwrap();
    for _ in 0..10 {
        assert_ne!(balancer.pick_wanted(5, |index, _| index != first, &mut random, Lane::default()), Some(first));
    }
    let alone = LoadBalancer::compile(&LbPolicy::RoundRobin, 50.0, hosts(&[1]), 3);
    let only = alone.pick(&mut random, Lane::default()).unwrap();
    assert_eq!(alone.pick_wanted(5, |index, _| index != only, &mut random, Lane::default()), Some(only));
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
